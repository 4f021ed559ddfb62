"""Convolution of channels-last images: y = f(windows of x times W + b), panel after panel through gemm.

A 1-D convolution is one of images of height 1. Groups are convolutions side by side: group g reads the
channels g cg .. and writes the filters g fg .. of W (kh, kw, cg, f).
"""
from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.blas cimport gemm
from ldl_cy._engine.op cimport Call, Kernel, Op, backward_t, forward_t, prepare_t
from ldl_cy._kernels.panels cimport Window, im2col, im2row, row2im

from ldl_cy._engine.vec import ACTIVATIONS, default_slope

# OpenBLAS runs products of up to this many multiplications unpacked and without locks.
SMALL_PRODUCT = 10**6
# Fewer channels than this make poor runs of memory and poor columns of a product.
FEW = 16

# Where dx comes from
cdef enum:
    ROTATED                     # a convolution of dz with the rotated kernel (stride 1)
    SCATTERED                   # the windows of dx += dz W^T

ctypedef struct Plan:           # one convolution
    Window s
    Py_ssize_t groups
    Py_ssize_t cg               # channels and filters of a group
    Py_ssize_t fg
    Py_ssize_t panel            # pixels of a panel
    Py_ssize_t rows             # rows of the kernel in a panel
    int columns                 # panels by im2col
    int upright                 # with im2col: the product is (fg, panel)

ctypedef struct Conv:
    Plan y
    Py_ssize_t dx_panel
    Py_ssize_t dx_rows
    Py_ssize_t grad_panel
    int dx
    int activation
    int use_bias
    double slope


cdef inline bint pointwise(const Window *s) noexcept nogil:
    """Windows of one pixel that cover the image: the image is its own panel."""
    return (s.kh == 1 and s.kw == 1 and s.sh == 1 and s.sw == 1 and s.top == 0 and s.left == 0
            and s.oh == s.h and s.ow == s.w)


cdef inline void convolve(
    const Plan *p, Py_ssize_t n,
    const floating *x,          # (n, h, w, c)
    const floating *W,          # (kh, kw, cg, f)
    const floating *b,          # (f,) or NULL
    floating *z,                # (n, oh, ow, f)
    floating *y,                # (n, oh, ow, f), may be z
    int activation, floating slope,
    floating *scratch,
) noexcept nogil:
    cdef:
        const Window *s = &p.s
        Py_ssize_t c = s.c, f = p.groups * p.fg, pixels = n * s.oh * s.ow, run = s.kw * p.cg
        Py_ssize_t k = s.kh * run
        Py_ssize_t first = 0, m, g, i, j, ky, rows
        floating *panel = scratch
        floating *upright = scratch + p.panel * k
        bint plain = pointwise(s)
    while first < pixels:
        m = min(p.panel, pixels - first)
        if not p.upright:
            vec.fill_rows(m, f, b, z + first * f, f)
        for g in range(p.groups):
            if plain:
                # z = x W
                gemm(False, False, m, p.fg, p.cg, <floating>1, x + first * c + g * p.cg, c, W + g * p.fg, f,
                     <floating>1, z + first * f + g * p.fg, f)
            elif p.upright:
                # z^T = b 1^T + W^T panel: the pixels lie along memory, not the few filters
                im2col(s, x, first, m, g * p.cg, p.cg, panel)
                for j in range(p.fg):
                    for i in range(m):
                        upright[j * m + i] = b[g * p.fg + j] if b != NULL else 0
                gemm(True, False, p.fg, m, k, <floating>1, W + g * p.fg, f, panel, m, <floating>1, upright, m)
                vec.transpose(p.fg, m, upright, m, z + first * f + g * p.fg, f)
            elif p.columns:
                # z += panel^T W
                im2col(s, x, first, m, g * p.cg, p.cg, panel)
                gemm(True, False, m, p.fg, k, <floating>1, panel, m, W + g * p.fg, f,
                     <floating>1, z + first * f + g * p.fg, f)
            else:
                # z += panel W, a few rows of the kernel at a time
                ky = 0
                while ky < s.kh:
                    rows = min(p.rows, s.kh - ky)
                    im2row(s, x, first, m, ky, ky + rows, g * p.cg, p.cg, panel)
                    gemm(False, False, m, p.fg, rows * run, <floating>1, panel, rows * run,
                         W + ky * run * f + g * p.fg, f, <floating>1, z + first * f + g * p.fg, f)
                    ky += rows
        if activation != vec.LDL_IDENTITY:
            vec.activate(activation, slope, m, f, z + first * f, y + first * f)
        first += m


cdef inline void add_kernel_gradient(
    const Plan *p, Py_ssize_t n, Py_ssize_t panel_size,
    const floating *x,          # (n, h, w, c)
    const floating *dz,         # (n, oh, ow, f)
    floating *dW,               # (kh, kw, cg, f)
    floating *panel,
) noexcept nogil:
    cdef:
        const Window *s = &p.s
        Py_ssize_t c = s.c, f = p.groups * p.fg, pixels = n * s.oh * s.ow, k = s.kh * s.kw * p.cg
        Py_ssize_t first = 0, m, g
        bint plain = pointwise(s)
    while first < pixels:
        m = min(panel_size, pixels - first)
        for g in range(p.groups):
            if plain:
                # dW += x^T dz
                gemm(True, False, p.cg, p.fg, m, <floating>1, x + first * c + g * p.cg, c,
                     dz + first * f + g * p.fg, f, <floating>1, dW + g * p.fg, f)
            elif p.columns:
                # dW += panel dz
                im2col(s, x, first, m, g * p.cg, p.cg, panel)
                gemm(False, False, k, p.fg, m, <floating>1, panel, m, dz + first * f + g * p.fg, f,
                     <floating>1, dW + g * p.fg, f)
            else:
                # dW += panel^T dz
                im2row(s, x, first, m, 0, s.kh, g * p.cg, p.cg, panel)
                gemm(True, False, k, p.fg, m, <floating>1, panel, k, dz + first * f + g * p.fg, f,
                     <floating>1, dW + g * p.fg, f)
        first += m


cdef inline void scatter(
    const Conv *v, Py_ssize_t n,
    const floating *dz,         # (n, oh, ow, f)
    const floating *Wt,         # (f, kh, kw, cg)
    floating *dx,               # (n, h, w, c)
    floating *panel,
) noexcept nogil:
    cdef:
        const Plan *p = &v.y
        const Window *s = &p.s
        Py_ssize_t f = p.groups * p.fg, pixels = n * s.oh * s.ow, k = s.kh * s.kw * p.cg
        Py_ssize_t first = 0, m, g
    memset(dx, 0, n * s.h * s.w * s.c * sizeof(floating))
    while first < pixels:
        m = min(v.dx_panel, pixels - first)
        for g in range(p.groups):
            # the windows of dx += dz W^T
            gemm(False, False, m, k, p.fg, <floating>1, dz + first * f + g * p.fg, f, Wt + g * p.fg * k, k,
                 <floating>0, panel, k)
            row2im(s, dx, first, m, 0, s.kh, g * p.cg, p.cg, panel)
        first += m


cdef inline Plan rotated(const Conv *v) noexcept nogil:
    """The convolution of dz that gives dx: filters and channels change places."""
    cdef Plan p = v.y
    p.s.h, p.s.w, p.s.c = v.y.s.oh, v.y.s.ow, v.y.groups * v.y.fg
    p.s.oh, p.s.ow = v.y.s.h, v.y.s.w
    p.s.top = (p.s.kh - 1) * p.s.dh - v.y.s.top
    p.s.left = (p.s.kw - 1) * p.s.dw - v.y.s.left
    p.cg, p.fg = v.y.fg, v.y.cg
    p.panel, p.rows = v.dx_panel, v.dx_rows
    p.columns = p.upright = False
    return p


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (kh, kw, cg, f), b (f,)
    const floating *state,
    floating *derived,          # ROTATED: (kh, kw, fg, c);  SCATTERED: (f, kh, kw, cg)
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        const Plan *p = &v.y
        Py_ssize_t taps = p.s.kh * p.s.kw, f = p.groups * p.fg, t, g
    if v.dx == SCATTERED:
        vec.transpose(taps * p.cg, f, theta, f, derived, taps * p.cg)
        return
    for t in range(taps):
        for g in range(p.groups):
            # the last tap first, each transposed
            vec.transpose(p.cg, p.fg, theta + t * p.cg * f + g * p.fg, f,
                          derived + (taps - 1 - t) * p.fg * p.s.c + g * p.cg, p.s.c)


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f)
    floating *cache,            # z (n, oh, ow, f) where the activation's derivative needs it
    floating *scratch,
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        const Plan *p = &v.y
        const floating *b = theta + op.n_params - p.groups * p.fg if v.use_bias else NULL
    convolve(p, call.n, x, theta, b, cache if op.cache_size and cache != NULL else y, y,
             v.activation, <floating>v.slope, scratch)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, h, w, c)
    const floating *y,          # (n, oh, ow, f)
    floating *dy,               # (n, oh, ow, f), becomes dz
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad,             # dW, db or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const Conv *v = <const Conv*>&op.sizes[0]
        Plan p
        Py_ssize_t pixels = call.n * v.y.s.oh * v.y.s.ow, f = v.y.groups * v.y.fg
    # dz = dy f'(z)
    if v.activation != vec.LDL_IDENTITY:
        vec.activate_grad(v.activation, <floating>v.slope, pixels, f, cache if op.cache_size else y, dy, dy)
    if grad != NULL:
        add_kernel_gradient(&v.y, call.n, v.grad_panel, x, dy, grad, scratch)
        # db += 1^T dz
        if v.use_bias:
            vec.add_column_sums(pixels, f, dy, grad + op.n_params - f)
    if dx != NULL:
        if v.dx == SCATTERED:
            scatter(v, call.n, dy, derived, dx, scratch)
        else:
            p = rotated(v)
            convolve(&p, call.n, dy, derived, NULL, dx, dx, vec.LDL_IDENTITY, <floating>1, scratch)


def plan(filters, height, run, most=64):
    """(pixels, rows of the kernel) of a panel, so that the product stays small; fixed for a layer."""
    for rows in range(height, 0, -1):
        pixels = SMALL_PRODUCT // max(1, rows * run * filters)
        if pixels >= 16 or (rows == height and pixels >= 8):
            return min(pixels, most) // 8 * 8, rows
    # no small product left: then a long one, which pays for OpenBLAS's packing
    return 256, height


def conv(str dtype, *, image, kernel, strides, dilation, padding, output, Py_ssize_t filters,
         Py_ssize_t groups=1, str activation="identity", bint use_bias=True):
    """The kernel of ``layers.Conv1D`` and ``Conv2D``: image (h, w, c), padding (top, left), else (height, width)."""
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef Conv *v = <Conv*>&op.sizes[0]
    cdef Plan *p = &v.y
    cdef Window *s = &p.s
    assert sizeof(Conv) <= sizeof(op.sizes)
    s.h, s.w, s.c = image
    s.kh, s.kw = kernel
    s.sh, s.sw = strides
    s.dh, s.dw = dilation
    s.top, s.left = padding
    s.oh, s.ow = output
    p.groups, p.cg, p.fg = groups, s.c // groups, filters // groups
    v.activation, v.slope, v.use_bias = ACTIVATIONS.index(activation), default_slope(activation), use_bias
    run, k = s.kw * p.cg, s.kh * s.kw * p.cg
    p.columns = run < FEW and not pointwise(s)
    p.upright = p.columns and p.fg < FEW
    p.panel, p.rows = plan(p.fg, s.kh, run, 256 if p.columns else 64)
    v.dx = ROTATED if s.sh == s.sw == 1 and (p.cg >= FEW or pointwise(s)) else SCATTERED
    if v.dx == ROTATED:
        v.dx_panel, v.dx_rows = plan(p.cg, s.kh, s.kw * p.fg)
    else:
        v.dx_panel, v.dx_rows = plan(k, 1, p.fg)
    v.grad_panel = plan(p.fg, 1, k, 256 if p.columns else 64)[0]
    op.x_size = s.h * s.w * s.c
    op.y_size = s.oh * s.ow * filters
    op.n_params = k * filters + (filters if use_bias else 0)
    op.n_derived = k * filters
    op.cache_size = op.y_size if vec.ldl_keeps_z(v.activation) else 0
    op.scratch_fixed = max(
        p.panel * p.rows * run if not p.columns else p.panel * (k + (p.fg if p.upright else 0)),
        v.grad_panel * k,
        v.dx_panel * (v.dx_rows * s.kw * p.fg if v.dx == ROTATED else k))
    if pointwise(s):
        op.scratch_fixed = 0
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
