"""Dropout: y = x * m / (1 - rate) in training, m random zeros and ones; the identity otherwise.

    m_i = 1 where u_i >= rate, else 0, u_i uniform in [0, 1)        dx = dy * m / (1 - rate)

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 15, 2014.
"""
from cython cimport floating
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport DRAWS, Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._engine.rng cimport layer_key

ctypedef struct Dropout:
    double rate


cdef inline void mask(const Op *op, const Call *call, const floating *x, floating *y) noexcept nogil:
    """y (n, size) = x * m / (1 - rate). Nothing is kept: the same call draws the same mask again."""
    cdef const Dropout *s = <const Dropout*>&op.sizes[0]
    if call.training and s.rate > 0:
        # numbers are counted over the whole batch, so that blocks of any size draw the same mask
        vec.dropout(call.n * op.x_size, layer_key(call.seed, call.epoch, call.step, <uint64_t>op.layer),
                    <uint64_t>(call.row0 * op.x_size), s.rate, x, y)
    else:
        memcpy(y, x, call.n * op.x_size * sizeof(floating))


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, size)
    floating *y,                # (n, size)
    floating *cache, floating *scratch,
) noexcept nogil:
    mask(op, call, x, y)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, size)
    floating *dx,               # (n, size) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    if dx != NULL:
        # dx = dy * m / (1 - rate)
        mask(op, call, dy, dx)


def dropout(str dtype, *, Py_ssize_t size, double rate):
    """The kernel of ``layers.Dropout`` for rows of ``size`` numbers."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Dropout *s = <Dropout*>&op.sizes[0]
    assert_fits(sizeof(Dropout), sizeof(op.sizes))
    s.rate = rate
    op.x_size = op.y_size = size
    op.flops, op.flags = 10.0 * size, DRAWS
    if dtype == "float32":
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    kernel.name, kernel.dtype = "dropout", dtype
    kernel.config = {"size": size, "rate": rate}
    return kernel
