"""Depthwise convolution: every channel has a window of its own.

    z[oy, ox, c] = b[c] + sum_(ky, kx) x[iy, ix, c] W[ky, kx, c],  y = f(z)
    iy = oy sh + ky dh - top,  ix = ox sw + kx dw - left;  x is 0 outside of the image

    dz = dy * f'(z)
    dW[ky, kx, c] += sum_(oy, ox) x[iy, ix, c] dz[oy, ox, c],  db[c] += sum_(oy, ox) dz[oy, ox, c]
    dx[iy, ix, c] = sum over the (oy, ox, ky, kx) that meet there of dz[oy, ox, c] W[ky, kx, c]

The kernel of ``layers.Conv1D`` and ``Conv2D`` with as many groups and filters as channels. There is no product of
matrices here: _engine/vec/depthwise.h keeps a few pixels' channels in registers. At stride 1 dx is the same function
of dz with the windows' cells in the opposite order.

The plain twin is conv.pyx with as many groups; tests/layers/test_depthwise.py compares the two. Measured on one core
of an Intel Xeon, float32, an image in the cache, GF/s of forward, dW and dx, 8x8 to 32x32 pixels of 32 to 512 channels:
48 to 70 with AVX-512, 27 to 40 with AVX2, where loops over channels that a compiler vectorises make 9 to 14.
"""
from functools import partial

from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.depthwise cimport add_image_gradient, add_window_gradient, depthwise_image
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._engine.window cimport Window

from ldl_cy._engine.vec import ACTIVATIONS, default_slope
from ldl_cy._kernels.folded import with_norm

ctypedef struct Depthwise:
    Window s
    Window dx                   # of dz into dx, at stride 1
    int activation
    int use_bias
    double slope


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
        bint relu = v.activation == vec.LDL_RELU
    # z = b + windows of x times W,  y = f(z)
    for i in range(call.n):
        depthwise_image(&v.s, x + i * op.x_size, theta, c, b, relu, z + i * op.y_size)
        if v.activation != vec.LDL_IDENTITY and not relu:
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
        Py_ssize_t c = v.s.c, pixels = v.s.oh * v.s.ow, i
        floating *a = cache if op.cache_size else y
        floating *dz
    # image by image, while dz is in the cache
    for i in range(call.n):
        dz = dy + i * op.y_size
        # dz = dy * f'(z)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate_grad(v.activation, <floating>v.slope, pixels, c, a + i * op.y_size, dz, dz)
        if grad != NULL:
            # db += 1^T dz,  dW += x dz
            if v.use_bias:
                vec.add_column_sums(pixels, c, dz, grad + op.n_params - c)
            add_window_gradient(&v.s, x + i * op.x_size, <const floating*>dz, grad)
        if dx == NULL:
            continue
        if v.s.sh == v.s.sw == 1:
            # the windows of dz times W in the opposite order
            depthwise_image(&v.dx, <const floating*>dz, theta + (v.s.kh * v.s.kw - 1) * c, -c, <const floating*>NULL,
                            False, dx + i * op.x_size)
        else:
            memset(dx + i * op.x_size, 0, op.x_size * sizeof(floating))
            add_image_gradient(&v.s, <const floating*>dz, theta, dx + i * op.x_size)


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
    v.dx = v.s
    v.dx.h, v.dx.w = s.oh, s.ow
    v.dx.oh, v.dx.ow = s.h, s.w
    v.dx.top, v.dx.left = (s.kh - 1) * s.dh - s.top, (s.kw - 1) * s.dw - s.left
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
