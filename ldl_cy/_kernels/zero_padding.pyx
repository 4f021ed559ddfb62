"""Zeros around channels-last images: y[i + top, j + left] = x[i, j], 0 elsewhere; dx[i, j] = dy[i + top, j + left].

A sequence is an image of height 1: its steps are the width.
"""
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t

ctypedef struct ZeroPadding:
    Py_ssize_t rows             # of the image
    Py_ssize_t run              # numbers of a row of the image, which are contiguous in x and in y
    Py_ssize_t first            # place in y of the first number of the image
    Py_ssize_t gap              # zeros in y between two rows: those after one and before the next
    Py_ssize_t last             # zeros after the image


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, rows, run)
    floating *y,                # (n, y_size)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const ZeroPadding *s = <const ZeroPadding*>&op.sizes[0]
    cdef Py_ssize_t _i, r
    for _i in range(call.n):
        memset(y, 0, s.first * sizeof(floating))
        y += s.first
        for r in range(s.rows):
            if r:
                memset(y, 0, s.gap * sizeof(floating))
                y += s.gap
            memcpy(y, x, s.run * sizeof(floating))
            x += s.run
            y += s.run
        memset(y, 0, s.last * sizeof(floating))
        y += s.last


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, y_size)
    floating *dx,               # (n, rows, run) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    cdef const ZeroPadding *s = <const ZeroPadding*>&op.sizes[0]
    cdef Py_ssize_t _i, r
    if dx == NULL:
        return
    for _i in range(call.n):
        for r in range(s.rows):
            memcpy(dx, dy + s.first + r * (s.run + s.gap), s.run * sizeof(floating))
            dx += s.run
        dy += op.y_size


def zero_padding(str dtype, *, tuple image, tuple padding):
    """The kernel of ``layers.ZeroPadding1D`` and ``2D``: image (h, w, c), padding ((top, bottom), (left, right))."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef ZeroPadding *s = <ZeroPadding*>&op.sizes[0]
    assert_fits(sizeof(ZeroPadding), sizeof(op.sizes))
    cdef Py_ssize_t h, w, c, top, bottom, left, right
    (h, w, c), ((top, bottom), (left, right)) = image, padding
    cdef Py_ssize_t row = (left + w + right) * c
    s.rows, s.run, s.gap = h, w * c, (left + right) * c
    s.first, s.last = top * row + left * c, right * c + bottom * row
    op.x_size = h * w * c
    op.y_size = (top + h + bottom) * row
    op.flops = 1.0 * op.y_size
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "zero_padding", dtype
    kernel.config = {"image": image, "padding": padding}
    return kernel
