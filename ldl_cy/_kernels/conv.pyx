"""Convolution of channels-last images, y = f(windows of x times W + b), as products of matrices.

With X (n oh ow, kh kw c) the windows of x, a row for each output pixel (Chellapilla, Puri, Simard, IWFHR 2006),

    z = X W + 1 b^T,  y = f(z)          W (kh kw c, f), b (f,), z and y (n oh ow, f)

    dz = dy * f'(z)
    dW += X^T dz,  db += 1^T dz         (kh kw c, n oh ow) (n oh ow, f)
    dX = dz W^T                         (n oh ow, f) (f, kh kw c);  dx: each pixel's sum over the windows that see it

X is never made whole: panels of some windows are copied together, multiplied with packed weights, and forgotten. 1x1
windows at stride 1 are pixels, which need no copy; nor do short windows in the forward pass
(_engine/vec/conv_image.h), to the same bits.

This is the plain twin of four faster kernels, winograd.pyx, conv_time.pyx, conv_batch_inner.pyx and depthwise.pyx,
which compute the same function and are tested against it.

A 1-D convolution is one of images of height 1. Groups are independent convolutions: group g reads the channels
from g cg on and writes the filters from g fg on of W (kh, kw, cg, f).
"""
from functools import partial

from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.conv_image cimport conv_image, conv_image_scratch, has_conv_image
from ldl_cy._engine.gemm_packed cimport PANEL, gemm_by_panels, gemm_packed, pack, packed_size
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t
from ldl_cy._engine.window cimport Window
from ldl_cy._kernels.panels cimport im2col, im2row, row2im

from ldl_cy._engine.vec import ACTIVATIONS, default_slope
from ldl_cy._kernels.folded import with_norm

# Rows of a panel are a multiple of those of a tile of a product, which has 6, 8 or 12.
ROWS = 24
# Numbers of a panel, which stays in the L2 cache between copy and product, and its rows: with fewer, dW would be read
# and written too often.
PANEL_NUMBERS = 2**16
FEWEST_ROWS = 2 * ROWS
MOST_ROWS = 5 * ROWS
# Numbers of a panel at most: of windows of more than 87,000 numbers it has fewer rows, but three or more, so that no
# row is the last one alone (next_panel).
LARGEST_PANEL = 2**22
# Numbers of packed weights at most: larger ones are packed a piece at a time, where they are used.
LARGEST_COPY = 2**23
# Numbers of a window at most that is read where it is, at stride 1: the copy of a short one takes as long as a third of
# its product (3x3 of 3 channels, 64 filters, one row: 47 us with the copy, 39 without, 68 and 49 with AVX2).
SHORT_WINDOW = 200
# Numbers of the input and output of a piece of a 1x1 convolution, likewise.
PIECE_NUMBERS = 2**16

# What the rows of X are
cdef enum:
    PIXELS                      # pixels of x, where they are
    IM2ROW                      # panels of windows, a row for each
    IM2COL                      # a column for each, of images of one channel

ctypedef struct Conv:
    Window s
    Py_ssize_t groups
    Py_ssize_t cg               # channels and filters of a group
    Py_ssize_t fg
    Py_ssize_t k                # numbers of a window: kh kw cg
    Py_ssize_t panel            # pixels of a panel
    Py_ssize_t packed           # numbers of a group's packed W, and of its W^T
    Py_ssize_t packed_t
    int copies                  # derived holds packed weights
    int windows                 # PIXELS, IM2ROW or IM2COL
    int per_image               # forward reads windows where they are
    int activation
    int use_bias
    double slope


cdef inline Py_ssize_t next_panel(const Conv *v, Py_ssize_t left) noexcept nogil:
    """Pixels of a panel where that many are left: never one of several alone, which might round differently."""
    return v.panel - 1 if left == v.panel + 1 else min(v.panel, left)


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (kh, kw, cg, f), b (f,)
    const floating *state,
    floating *derived,          # W (groups, k, fg) and W^T (groups, fg, k), packed
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        Py_ssize_t f = v.groups * v.fg, g
        floating *Wt = derived + v.groups * v.packed
    for g in range(v.groups if v.copies else 0):
        pack(False, v.k, v.fg, theta + g * v.fg, f, derived + g * v.packed)
        if call.backward:
            pack(True, v.fg, v.k, theta + g * v.fg, f, Wt + g * v.packed_t)


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # W, b (f,)
    const floating *state,
    const floating *derived,    # W (groups, k, fg), packed
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f)
    floating *cache,            # z (n, oh, ow, f) where the activation's derivative needs it
    floating *scratch,          # of gemm_by_panels, then a panel
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        const Window *s = &v.s
        Py_ssize_t f = v.groups * v.fg, pixels = call.n * s.oh * s.ow, first = 0, m, g, i, lda = v.k
        const floating *b = theta + op.n_params - f if v.use_bias else NULL
        const floating *b_g = NULL
        floating *panel = scratch + PANEL
        const floating *X = panel
        floating *z = cache if op.cache_size and cache != NULL else y
    if v.per_image:
        for i in range(call.n):
            conv_image(s, f, x + i * op.x_size, derived, b, v.activation == vec.LDL_RELU, False, z + i * op.y_size,
                       scratch)
        if v.activation not in (vec.LDL_IDENTITY, vec.LDL_RELU):
            vec.activate(v.activation, <floating>v.slope, pixels, f, z, y)
        return
    while first < pixels:
        m = next_panel(v, pixels - first)
        if v.windows == IM2COL:
            im2col(s, x, first, m, panel)
            lda = m
        for g in range(v.groups):
            if v.windows == IM2ROW:
                im2row(s, x, first, m, g * v.cg, v.cg, panel)
            elif v.windows == PIXELS:
                X, lda = x + first * s.c + g * v.cg, s.c
            if b != NULL:
                b_g = b + g * v.fg
            # z = X W + 1 b^T   (m, k) (k, fg)
            if v.copies:
                gemm_packed(v.windows == IM2COL, m, v.fg, v.k, X, lda, derived + g * v.packed, b_g, 0,
                            z + first * f + g * v.fg, f)
            else:
                gemm_by_panels(v.windows == IM2COL, False, m, v.fg, v.k, X, lda, theta + g * v.fg, f, b_g, 0,
                               z + first * f + g * v.fg, f, scratch)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate(v.activation, <floating>v.slope, m, f, z + first * f, y + first * f)
        first += m


cdef inline void add_weights_gradient(
    const Conv *v, Py_ssize_t first, Py_ssize_t m,
    const floating *x,          # (n, h, w, c)
    const floating *dz,         # (m, f) of the pixels from first on
    floating *dW,               # (kh, kw, cg, f), db (f,)
    floating *panel, floating *scratch,
) noexcept nogil:
    cdef:
        Py_ssize_t f = v.groups * v.fg, g
        floating *to
    if v.windows == IM2COL:
        # dW += X^T dz   (k + 1, m) (m, f), and with the row of ones db += 1^T dz
        im2col(&v.s, x, first, m, panel)
        gemm_by_panels(False, False, v.k + v.use_bias, f, m, <const floating*>panel, m, dz, f, <const floating*>dW, f,
                       dW, f, scratch)
        return
    if v.use_bias:
        vec.add_column_sums(m, f, dz, dW + v.k * f)
    for g in range(v.groups):
        # dW += X^T dz   (k, m) (m, fg)
        to = dW + g * v.fg
        if v.windows == PIXELS:
            gemm_by_panels(True, False, v.k, v.fg, m, x + first * v.s.c + g * v.cg, v.s.c, dz + g * v.fg, f,
                           <const floating*>to, f, to, f, scratch)
        else:
            im2row(&v.s, x, first, m, g * v.cg, v.cg, panel)
            gemm_by_panels(True, False, v.k, v.fg, m, <const floating*>panel, v.k, dz + g * v.fg, f,
                           <const floating*>to, f, to, f, scratch)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # W^T (groups, fg, k), packed, after W
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f)
    floating *dy,               # (n, oh, ow, f), becomes dz
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad,             # dW, db or NULL
    floating *cache,
    floating *scratch,          # of gemm_by_panels, then a panel
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        const Window *s = &v.s
        Py_ssize_t f = v.groups * v.fg, pixels = call.n * s.oh * s.ow, first = 0, m, g, ldx = v.k
        const floating *Wt = derived + v.groups * v.packed
        floating *a = cache if op.cache_size else y
        floating *panel = scratch + PANEL
        floating *dX = panel
        floating *dz
    if dx != NULL and v.windows != PIXELS:
        memset(dx, 0, call.n * op.x_size * sizeof(floating))
    while first < pixels:
        m, dz = next_panel(v, pixels - first), dy + first * f
        # dz = dy * f'(z)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate_grad(v.activation, <floating>v.slope, m, f, a + first * f, dz, dz)
        if grad != NULL:
            add_weights_gradient(v, first, m, x, <const floating*>dz, grad, panel, scratch)
        for g in range(v.groups if dx != NULL else 0):
            # dX = dz W^T   (m, fg) (fg, k), then added to the windows of dx
            if v.windows == PIXELS:
                dX, ldx = dx + first * s.c + g * v.cg, s.c
            if v.copies:
                gemm_packed(False, m, v.k, v.fg, <const floating*>dz + g * v.fg, f, Wt + g * v.packed_t,
                            <const floating*>NULL, 0, dX, ldx)
            else:
                gemm_by_panels(False, True, m, v.k, v.fg, <const floating*>dz + g * v.fg, f, theta + g * v.fg, f,
                               <const floating*>NULL, 0, dX, ldx, scratch)
            if v.windows != PIXELS:
                row2im(s, dx, first, m, g * v.cg, v.cg, panel)
        first += m


def conv(str dtype, *, image, kernel, strides, dilation, padding, output, Py_ssize_t filters,
         Py_ssize_t groups=1, str activation="identity", bint use_bias=True, per_image=None):
    """The kernel of ``layers.Conv1D`` and ``Conv2D``: image (h, w, c), padding (top, left).

    ``per_image``: whether forward reads windows in place, where it can; None: where that is faster.
    """
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
    v.k = s.kh * s.kw * v.cg
    if pointwise:
        v.windows, v.panel = PIXELS, max(FEWEST_ROWS, PIECE_NUMBERS // (s.c + filters) // ROWS * ROWS)
    else:
        v.windows = IM2COL if s.c == 1 else IM2ROW
        fewest = min(FEWEST_ROWS, max(3, LARGEST_PANEL // v.k))
        v.panel = max(fewest, min(MOST_ROWS, PANEL_NUMBERS // v.k // ROWS * ROWS))
    op.x_size = s.h * s.w * s.c
    op.y_size = s.oh * s.ow * filters
    op.n_params = v.k * filters + (filters if use_bias else 0)
    v.packed, v.packed_t = packed_size(v.k, v.fg), packed_size(v.fg, v.k)
    v.copies = groups * max(v.packed, v.packed_t) <= LARGEST_COPY
    op.n_derived = groups * (v.packed + v.packed_t) if v.copies else 0
    op.cache_size = op.y_size if vec.ldl_keeps_z(v.activation) else 0
    op.scratch_fixed = PANEL + (0 if pointwise else v.panel * (v.k + 1))
    v.per_image = (v.copies and groups == 1 and not pointwise and has_conv_image(s)
                   and (v.k <= SHORT_WINDOW and strides == (1, 1) if per_image is None else per_image))
    if v.per_image:
        op.scratch_fixed = max(op.scratch_fixed, conv_image_scratch(s))
    op.flops = 2.0 * s.oh * s.ow * v.k * filters
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
