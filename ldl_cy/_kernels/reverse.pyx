"""Reversal in time: y[t] = x[l - 1 - t] for the l steps of a row, zeros past its end; dx is dy reversed."""
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine.op cimport USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, forward_t

ctypedef struct Reverse:
    Py_ssize_t n_steps
    Py_ssize_t width


cdef inline void reverse_rows(
    const Op *op, const Call *call,
    const floating *x,          # (n, n_steps, width)
    floating *y,                # (n, n_steps, width)
) noexcept nogil:
    cdef const Reverse *s = <const Reverse*>&op.sizes[0]
    cdef Py_ssize_t i, t, length = s.n_steps
    for i in range(call.n):
        if call.lengths != NULL:
            length = call.lengths[i]
        for t in range(length):
            memcpy(y + t * s.width, x + (length - 1 - t) * s.width, s.width * sizeof(floating))
        memset(y + length * s.width, 0, (s.n_steps - length) * s.width * sizeof(floating))
        x += op.x_size
        y += op.x_size


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, n_steps, width)
    floating *y,                # (n, n_steps, width)
    floating *cache, floating *scratch,
) noexcept nogil:
    reverse_rows(op, call, x, y)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, n_steps, width)
    floating *dx,               # (n, n_steps, width) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    if dx != NULL:
        # a permutation that is its own inverse: dx[t] = dy[l - 1 - t]
        reverse_rows(op, call, dy, dx)


def reverse(str dtype, *, Py_ssize_t n_steps, Py_ssize_t width):
    """The kernel that ``layers.Bidirectional`` applies to the output of its backward layer."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Reverse *s = <Reverse*>&op.sizes[0]
    assert_fits(sizeof(Reverse), sizeof(op.sizes))
    s.n_steps, s.width = n_steps, width
    op.flags = USES_LENGTHS
    op.x_size = op.y_size = n_steps * width
    if dtype == "float32":
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    kernel.name, kernel.dtype = "reverse", dtype
    kernel.config = {"n_steps": n_steps, "width": width}
    return kernel
