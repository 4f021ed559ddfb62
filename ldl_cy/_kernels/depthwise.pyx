"""Depthwise convolution: every channel has a window of its own.

    z[oy, ox, c] = b[c] + sum_(ky, kx) x[iy, ix, c] W[ky, kx, c],  y = f(z)
    iy = oy sh + ky dh - top,  ix = ox sw + kx dw - left;  x is 0 outside of the image

    dz = dy * f'(z)
    dW[ky, kx, c] += sum_(oy, ox) x[iy, ix, c] dz[oy, ox, c],  db[c] += sum_(oy, ox) dz[oy, ox, c]
    dx[iy, ix, c] = sum over the (oy, ox, ky, kx) that meet there of dz[oy, ox, c] W[ky, kx, c]

The kernel of ``layers.Conv1D`` and ``Conv2D`` with as many groups and filters as channels. There is no product
of matrices here; the loops over channels are plain, so that the compiler vectorises them.
"""
from functools import partial

from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._kernels.panels cimport Window

from ldl_cy._engine.vec import ACTIVATIONS, default_slope
from ldl_cy._kernels.folded import with_norm

ctypedef struct Depthwise:
    Window s
    int activation
    int use_bias
    double slope


cdef inline void multiply_add(
    Py_ssize_t c, const floating *a, const floating *b, floating *total,
) noexcept nogil:
    """total += a b"""
    cdef Py_ssize_t j
    for j in range(c):
        total[j] += a[j] * b[j]


cdef enum Wanted:
    WANT_Y
    WANT_DX
    WANT_DW


cdef inline void add_windows(
    Wanted wanted, const Window *s,
    floating *x,                # (h, w, c) or dx
    floating *W,                # (kh, kw, c) or dW
    floating *z,                # (oh, ow, c) or dz
) noexcept nogil:
    """z += windows of x times W, or one of its two gradients, of one image."""
    cdef:
        Py_ssize_t oy, ox, ky, kx, iy, ix, low, high
        floating *tap
        floating *pixel
        floating *out
    for oy in range(s.oh):
        for ky in range(s.kh):
            iy = oy * s.sh + ky * s.dh - s.top
            if iy < 0 or iy >= s.h:
                continue
            for kx in range(s.kw):
                # the output pixels low <= ox < high see the image through this cell
                ix = kx * s.dw - s.left
                low = 0 if ix >= 0 else (s.sw - 1 - ix) // s.sw
                high = 0 if ix >= s.w else min(s.ow, (s.w - 1 - ix) // s.sw + 1)
                tap = W + (ky * s.kw + kx) * s.c
                for ox in range(low, high):
                    pixel = x + (iy * s.w + ix + ox * s.sw) * s.c
                    out = z + (oy * s.ow + ox) * s.c
                    if wanted == WANT_Y:
                        multiply_add(s.c, pixel, tap, out)          # z += x W
                    elif wanted == WANT_DX:
                        multiply_add(s.c, out, tap, pixel)          # dx += dz W
                    else:
                        multiply_add(s.c, out, pixel, tap)          # dW += dz x


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # W (kh, kw, 1, c), b (c,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, c)
    floating *cache,            # z (n, oh, ow, c) where the activation's derivative needs it
    floating *scratch,
) noexcept nogil:
    cdef:
        const Depthwise *v = <const Depthwise*>&op.sizes[0]
        Py_ssize_t c = v.s.c, pixels = v.s.oh * v.s.ow, i
        const floating *b = theta + op.n_params - c if v.use_bias else NULL
        floating *z = cache if op.cache_size and cache != NULL else y
    # z = b + windows of x times W,  y = f(z)
    for i in range(call.n):
        vec.fill_rows(pixels, c, b, z + i * op.y_size, c)
        add_windows(WANT_Y, &v.s, <floating*>x + i * op.x_size, <floating*>theta, z + i * op.y_size)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate(v.activation, <floating>v.slope, pixels, c, z + i * op.y_size, y + i * op.y_size)


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # W (kh, kw, 1, c), b (c,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, c)
    floating *dy,               # (n, oh, ow, c), becomes dz
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad,             # dW, db or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const Depthwise *v = <const Depthwise*>&op.sizes[0]
        Py_ssize_t c = v.s.c, pixels = call.n * v.s.oh * v.s.ow, i
        floating *a = cache if op.cache_size else y
    # dz = dy * f'(z)
    if v.activation != vec.LDL_IDENTITY:
        vec.activate_grad(v.activation, <floating>v.slope, pixels, c, a, dy, dy)
    # db += 1^T dz
    if grad != NULL and v.use_bias:
        vec.add_column_sums(pixels, c, dy, grad + op.n_params - c)
    if dx != NULL:
        memset(dx, 0, call.n * op.x_size * sizeof(floating))
    for i in range(call.n):
        if grad != NULL:
            add_windows(WANT_DW, &v.s, <floating*>x + i * op.x_size, grad, dy + i * op.y_size)
        if dx != NULL:
            add_windows(WANT_DX, &v.s, dx + i * op.x_size, <floating*>theta, dy + i * op.y_size)


def depthwise(str dtype, *, image, kernel, strides, dilation, padding, output, str activation="identity",
              bint use_bias=True):
    """The kernel of a depthwise convolution: image (h, w, c), padding (top, left)."""
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef Depthwise *v = <Depthwise*>&op.sizes[0]
    assert_fits(sizeof(Depthwise), sizeof(op.sizes))
    cdef Window *s = &v.s
    s.h, s.w, s.c = image
    s.kh, s.kw = kernel
    s.sh, s.sw = strides
    s.dh, s.dw = dilation
    s.top, s.left = padding
    s.oh, s.ow = output
    v.activation, v.slope, v.use_bias = ACTIVATIONS.index(activation), default_slope(activation), use_bias
    op.x_size = s.h * s.w * s.c
    op.y_size = s.oh * s.ow * s.c
    op.n_params = s.kh * s.kw * s.c + (s.c if use_bias else 0)
    op.cache_size = op.y_size if vec.ldl_keeps_z(v.activation) else 0
    op.flops = 2.0 * s.kh * s.kw * op.y_size
    if dtype == "float32":
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    made.name, made.dtype = "depthwise", dtype
    made.config = {"image": image, "kernel": kernel, "strides": strides, "dilation": dilation,
                   "activation": activation}
    if activation == "identity":
        make = partial(depthwise, dtype, image=image, kernel=kernel, strides=strides, dilation=dilation,
                       padding=padding, output=output)
        made.folder = partial(with_norm, make, s.c, use_bias)
    return made
