"""Convolution of channels-last images, y = f(windows of x times W + b), as products of matrices.

With X (n oh ow, kh kw c) the windows of x, a row for each output pixel (Chellapilla, Puri, Simard, IWFHR 2006),

    z = X W + 1 b^T,  y = f(z)          W (kh kw c, f), b (f,), z and y (n oh ow, f)

    dz = dy * f'(z)
    dW += X^T dz,  db += 1^T dz         (kh kw c, n oh ow) (n oh ow, f)
    dX = dz W^T                         (n oh ow, f) (f, kh kw c);  dx: each pixel's sum over the windows that see it

X is never made whole. Many channels: pieces of image rows times one cell of the window after another, straight
from x. Few channels: panels of windows, copied together.

This is the plain twin of two faster kernels, winograd.pyx and conv_batch_inner.pyx, which compute the same function
and are tested against it.

A 1-D convolution is one of images of height 1. Groups are independent convolutions: group g reads the channels
from g cg on and writes the filters from g fg on of W (kh, kw, cg, f).
"""
from functools import partial

from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.blas cimport gemm
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t
from ldl_cy._kernels.panels cimport Window, im2col, im2row, row2im

from ldl_cy._engine.vec import ACTIVATIONS, default_slope
from ldl_cy._kernels.folded import with_norm

# OpenBLAS runs products of up to this many multiplications unpacked and without locks.
SMALL_PRODUCT = 10**6
# Numbers of the output that stay in cache while one cell of the window after another is added.
BLOCK = 2**14
# Fewer channels than this make poor runs of memory and poor columns of a product.
FEW = 16

# Algorithms for products with windows
cdef enum:
    TAPS                        # a product for each cell of the window and piece of an output row: no copies
    IM2ROW                      # panels of windows, a row for each
    IM2COL                      # a column for each, of images of one channel
    IM2COL_T                    # the same, with products (filters, pixels), where filters are few too

ctypedef struct Conv:
    Window s
    Py_ssize_t groups
    Py_ssize_t cg               # channels and filters of a group
    Py_ssize_t fg
    int fwd_algo
    int bwd_weights_algo        # TAPS, IM2ROW or IM2COL
    int bwd_data_algo           # TAPS or IM2ROW
    Py_ssize_t copy             # size of theta's copy in derived, up to a whole cache line
    Py_ssize_t y_panel          # pixels of a panel
    Py_ssize_t dW_panel
    Py_ssize_t dx_panel
    Py_ssize_t piece            # TAPS: at most so many pixels in a product
    Py_ssize_t rows             # TAPS: output rows done together, so that they stay in cache, or,
    Py_ssize_t cols             # where even one is too long, a part of one
    int activation
    int use_bias
    double slope


cdef enum Wanted:
    WANT_Y
    WANT_DX
    WANT_DW


cdef inline void add_taps(
    Wanted wanted, const Conv *v,
    const floating *x,          # (h, w, c)
    const floating *W,          # (kh, kw, cg, f);  dx: (kh, kw, f, cg);  dW: NULL
    const floating *z,          # (oh, ow, f) or dz
    floating *to,               # z, dx or dW (kh, kw, cg, f): added to
    Py_ssize_t row0, Py_ssize_t row1, Py_ssize_t col0, Py_ssize_t col1,
) noexcept nogil:
    """The share of the output pixels in rows row0 .. row1 - 1, columns col0 .. col1 - 1 of one image."""
    cdef:
        const Window *s = &v.s
        Py_ssize_t c = s.c, cg = v.cg, fg = v.fg, f = v.groups * v.fg
        Py_ssize_t ky, kx, oy, ox, iy, ix, low, high, m, g, at, tap, pixel
    for ky in range(s.kh):
        for kx in range(s.kw):
            tap = (ky * s.kw + kx) * cg * f
            # the output pixels low <= ox < high see the image through this cell
            ix = kx * s.dw - s.left
            low = col0 if ix >= 0 else max(col0, (s.sw - 1 - ix) // s.sw)
            high = 0 if ix >= s.w else min(col1, (s.w - 1 - ix) // s.sw + 1)
            for oy in range(row0, row1):
                iy = oy * s.sh + ky * s.dh - s.top
                if iy < 0 or iy >= s.h:
                    continue
                ox = low
                while ox < high:
                    m = min(v.piece, high - ox)
                    pixel = (iy * s.w + ix + ox * s.sw) * c
                    at = (oy * s.ow + ox) * f
                    for g in range(v.groups):
                        if wanted == WANT_Y:
                            # z += x W   (m, cg) (cg, fg), W of this cell
                            gemm(False, False, m, fg, cg, <floating>1, x + pixel + g * cg, s.sw * c,
                                 W + tap + g * fg, f, <floating>1, to + at + g * fg, f)
                        elif wanted == WANT_DX:
                            # dx += dz W^T   (m, fg) (fg, cg)
                            gemm(False, False, m, cg, fg, <floating>1, z + at + g * fg, f,
                                 W + tap + g * fg * cg, cg, <floating>1, to + pixel + g * cg, s.sw * c)
                        else:
                            # dW += x^T dz   (cg, m) (m, fg)
                            gemm(True, False, cg, fg, m, <floating>1, x + pixel + g * cg, s.sw * c,
                                 z + at + g * fg, f, <floating>1, to + tap + g * fg, f)
                    ox += m


cdef inline void forward_taps(
    const Conv *v, Py_ssize_t n,
    const floating *x,          # (n, h, w, c)
    const floating *W,          # (kh, kw, cg, f)
    const floating *b,          # (f,) or NULL
    floating *z,                # (n, oh, ow, f)
    floating *y,                # (n, oh, ow, f), may be z
) noexcept nogil:
    cdef:
        const Window *s = &v.s
        Py_ssize_t f = v.groups * v.fg, i, top, row, rows, col, cols, at
    row = col = 0
    while row < n * s.oh:
        # a block ends with its image
        rows, cols = min(v.rows, s.oh - row % s.oh), min(v.cols, s.ow - col)
        i, top, at = row // s.oh, row % s.oh, (row * s.ow + col) * f
        vec.fill_rows(rows * cols, f, b, z + at, f)
        add_taps(WANT_Y, v, x + i * s.h * s.w * s.c, W, <const floating*>NULL, z + i * s.oh * s.ow * f,
                 top, top + rows, col, col + cols)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate(v.activation, <floating>v.slope, rows * cols, f, z + at, y + at)
        col += cols
        if col == s.ow:
            col = 0
            row += rows


cdef inline void forward_panels(
    const Conv *v, Py_ssize_t n,
    const floating *x,          # (n, h, w, c)
    const floating *W,          # (kh, kw, cg, f)
    const floating *b,          # (f,) or NULL; IM2COL and IM2COL_T: also the last row of W
    floating *z,                # (n, oh, ow, f)
    floating *y,                # (n, oh, ow, f), may be z
    floating *panel,            # (k + 1, y_panel) and, IM2COL_T, (f, y_panel)
) noexcept nogil:
    cdef:
        const Window *s = &v.s
        Py_ssize_t f = v.groups * v.fg, pixels = n * s.oh * s.ow, k = s.kh * s.kw * v.cg
        Py_ssize_t k1 = k + v.use_bias, first = 0, m, g
        floating *zt = panel + (k + 1) * v.y_panel
        floating *to
    while first < pixels:
        m = min(v.y_panel, pixels - first)
        to = z + first * f
        if v.fwd_algo == IM2ROW:
            vec.fill_rows(m, f, b, to, f)
            for g in range(v.groups):
                # z += panel W   (m, k) (k, fg)
                im2row(s, x, first, m, g * v.cg, v.cg, panel)
                gemm(False, False, m, v.fg, k, <floating>1, panel, k, W + g * v.fg, f,
                     <floating>1, to + g * v.fg, f)
        else:
            im2col(s, x, first, m, panel)
            if v.fwd_algo == IM2COL:
                # z = panel^T W + 1 b^T   (m, k + 1) (k + 1, f): a row of ones in the panel brings the bias
                gemm(True, False, m, f, k1, <floating>1, panel, m, W, f, <floating>0, to, f)
            else:
                # z^T = W^T panel + b 1^T   (f, k + 1) (k + 1, m): pixels are contiguous, not the few filters
                gemm(True, False, f, m, k1, <floating>1, W, f, panel, m, <floating>0, zt, m)
                vec.transpose(f, m, zt, m, to, f)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate(v.activation, <floating>v.slope, m, f, to, y + first * f)
        first += m


cdef inline void backward_weights_panels(
    const Conv *v, Py_ssize_t n,
    const floating *x,          # (n, h, w, c)
    const floating *dz,         # (n, oh, ow, f)
    floating *dW,               # (kh, kw, cg, f), db (f,)
    floating *panel,            # (k + 1, dW_panel)
) noexcept nogil:
    cdef:
        const Window *s = &v.s
        Py_ssize_t f = v.groups * v.fg, pixels = n * s.oh * s.ow, k = s.kh * s.kw * v.cg
        Py_ssize_t first = 0, m, g
    while first < pixels:
        m = min(v.dW_panel, pixels - first)
        if v.bwd_weights_algo == IM2ROW:
            for g in range(v.groups):
                # dW += panel^T dz   (k, m) (m, fg)
                im2row(s, x, first, m, g * v.cg, v.cg, panel)
                gemm(True, False, k, v.fg, m, <floating>1, panel, k, dz + first * f + g * v.fg, f,
                     <floating>1, dW + g * v.fg, f)
        else:
            # dW += panel dz   (k + 1, m) (m, f), and with the row of ones db += 1^T dz
            im2col(s, x, first, m, panel)
            gemm(False, False, k + v.use_bias, f, m, <floating>1, panel, m, dz + first * f, f,
                 <floating>1, dW, f)
        first += m


cdef inline void backward_data_panels(
    const Conv *v, Py_ssize_t n,
    const floating *dz,         # (n, oh, ow, f)
    const floating *Wt,         # (f, kh, kw, cg)
    floating *dx,               # (n, h, w, c): added to
    floating *panel,            # (dx_panel, k)
) noexcept nogil:
    cdef:
        const Window *s = &v.s
        Py_ssize_t f = v.groups * v.fg, pixels = n * s.oh * s.ow, k = s.kh * s.kw * v.cg
        Py_ssize_t first = 0, m, g
    while first < pixels:
        m = min(v.dx_panel, pixels - first)
        for g in range(v.groups):
            # panel = dz W^T   (m, fg) (fg, k), then added to the windows of dx
            gemm(False, False, m, k, v.fg, <floating>1, dz + first * f + g * v.fg, f, Wt + g * v.fg * k, k,
                 <floating>0, panel, k)
            row2im(s, dx, first, m, g * v.cg, v.cg, panel)
        first += m


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (kh, kw, cg, f), b (f,)
    const floating *state,
    floating *derived,          # W, b, and W^T of bwd_data_algo: TAPS (kh, kw, f, cg), IM2ROW (f, kh, kw, cg)
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        Py_ssize_t taps = v.s.kh * v.s.kw, f = v.groups * v.fg, t
        floating *Wt = derived + v.copy
    # Within theta W begins anywhere. Here it begins with a cache line, and no vector of it crosses one:
    # products are up to 1.5 times as fast.
    memcpy(derived, theta, op.n_params * sizeof(floating))
    if not call.backward:
        return
    if v.bwd_data_algo == IM2ROW:
        vec.transpose(taps * v.cg, f, theta, f, Wt, taps * v.cg)
        return
    for t in range(taps):
        vec.transpose(v.cg, f, theta + t * v.cg * f, f, Wt + t * v.cg * f, v.cg)


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # W, b
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f)
    floating *cache,            # z (n, oh, ow, f) where the activation's derivative needs it
    floating *scratch,
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        const floating *b = derived + op.n_params - v.groups * v.fg if v.use_bias else NULL
        floating *z = cache if op.cache_size and cache != NULL else y
    if v.fwd_algo == TAPS:
        forward_taps(v, call.n, x, derived, b, z, y)
    else:
        forward_panels(v, call.n, x, derived, b, z, y, scratch)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # W, b
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f)
    floating *dy,               # (n, oh, ow, f), becomes dz
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad,             # dW, db or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        const Window *s = &v.s
        Py_ssize_t n = call.n, f = v.groups * v.fg, i, top, row, rows, col, cols
        floating *a = cache if op.cache_size else y
    # dz = dy * f'(z)
    if v.activation != vec.LDL_IDENTITY:
        vec.activate_grad(v.activation, <floating>v.slope, n * s.oh * s.ow, f, a, dy, dy)
    # db += 1^T dz
    if grad != NULL and v.use_bias and v.bwd_weights_algo != IM2COL:
        vec.add_column_sums(n * s.oh * s.ow, f, dy, grad + op.n_params - f)
    if grad != NULL and v.bwd_weights_algo != TAPS:
        backward_weights_panels(v, n, x, dy, grad, scratch)
    if dx != NULL:
        memset(dx, 0, n * op.x_size * sizeof(floating))
        if v.bwd_data_algo != TAPS:
            backward_data_panels(v, n, dy, derived + v.copy, dx, scratch)
    row = col = 0
    while row < n * s.oh:
        rows, cols = min(v.rows, s.oh - row % s.oh), min(v.cols, s.ow - col)
        i, top = row // s.oh, row % s.oh
        if grad != NULL and v.bwd_weights_algo == TAPS:
            add_taps(WANT_DW, v, x + i * op.x_size, <const floating*>NULL, dy + i * op.y_size, grad,
                     top, top + rows, col, col + cols)
        if dx != NULL and v.bwd_data_algo == TAPS:
            add_taps(WANT_DX, v, <const floating*>NULL, derived + v.copy, dy + i * op.y_size,
                     dx + i * op.x_size, top, top + rows, col, col + cols)
        col += cols
        if col == s.ow:
            col = 0
            row += rows


def panel_size(k, n, most):
    """Pixels of a panel, so that pixels * k * n stays a small product; fixed for a layer."""
    pixels = SMALL_PRODUCT // max(1, k * n)
    # no small product possible: a long one then, which pays for OpenBLAS's packing
    return 256 if pixels < 8 else min(pixels, most) // 8 * 8


def conv(str dtype, *, image, kernel, strides, dilation, padding, output, Py_ssize_t filters,
         Py_ssize_t groups=1, str activation="identity", bint use_bias=True):
    """The kernel of ``layers.Conv1D`` and ``Conv2D``: image (h, w, c), padding (top, left)."""
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef Conv *v = <Conv*>&op.sizes[0]
    assert_fits(sizeof(Conv), sizeof(op.sizes))
    cdef Window *s = &v.s
    if activation == "identity":
        make = partial(conv, dtype, image=image, kernel=kernel, strides=strides, dilation=dilation, padding=padding,
                       output=output, filters=filters, groups=groups)
        made.folder = partial(with_norm, make, filters, use_bias)
    pointwise = kernel == strides == (1, 1) and image[:2] == output
    if pointwise:
        # every pixel is its own window: rows may be as long as the image
        image, output = (1, image[0] * image[1], image[2]), (1, output[0] * output[1])
    s.h, s.w, s.c = image
    s.kh, s.kw = kernel
    s.sh, s.sw = strides
    s.dh, s.dw = dilation
    s.top, s.left = padding
    s.oh, s.ow = output
    v.groups, v.cg, v.fg = groups, s.c // groups, filters // groups
    v.activation, v.slope, v.use_bias = ACTIVATIONS.index(activation), default_slope(activation), use_bias
    k = s.kh * s.kw * v.cg
    if v.cg >= FEW or pointwise:
        v.fwd_algo = TAPS
    elif s.c > 1:
        v.fwd_algo = IM2ROW
    else:
        v.fwd_algo = IM2COL if v.fg >= FEW else IM2COL_T
    v.piece = max(8, min(s.ow, SMALL_PRODUCT // max(1, v.cg * v.fg)))
    v.rows = max(1, BLOCK // (s.ow * filters))
    v.cols = min(s.ow, max(64, BLOCK // filters))
    # short pieces make poor sums of dW
    v.bwd_weights_algo = IM2ROW if v.fwd_algo == TAPS and s.ow < FEW else min(v.fwd_algo, IM2COL)
    v.bwd_data_algo = TAPS if min(v.cg, v.fg) >= FEW or pointwise else IM2ROW
    v.y_panel = v.dW_panel = panel_size(k, v.fg, 64 if IM2ROW in (v.fwd_algo, v.bwd_weights_algo) else 256)
    v.dx_panel = panel_size(k, v.fg, 64)
    op.x_size = s.h * s.w * s.c
    op.y_size = s.oh * s.ow * filters
    op.n_params = k * filters + (filters if use_bias else 0)
    v.copy = (op.n_params + 15) // 16 * 16
    op.n_derived = v.copy + k * filters
    op.cache_size = op.y_size if vec.ldl_keeps_z(v.activation) else 0
    op.scratch_fixed = max(
        0 if v.fwd_algo == TAPS else v.y_panel * (k + 1 + (filters if v.fwd_algo == IM2COL_T else 0)),
        0 if v.bwd_weights_algo == TAPS else v.dW_panel * (k + 1),
        0 if v.bwd_data_algo == TAPS else v.dx_panel * k)
    op.flops = 2.0 * s.oh * s.ow * k * filters
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    made.name, made.dtype = "conv", dtype
    made.config = {"image": image, "kernel": kernel, "strides": strides, "dilation": dilation,
                   "filters": filters, "groups": groups, "activation": activation}
    return made
