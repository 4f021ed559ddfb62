"""Embedding: y = table[id], one row of the table for each token id.

    y_i = table[x_i]                    x (n, tokens), table (n_ids, k), y (n, tokens, k)
    dtable[x_i] += dy_i                 which is dtable += X^T dy, X (n tokens, n_ids) the ids one-hot
    dx = 0                              y is a step function of x
"""
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t

cdef long long LARGEST_FLOAT32 = 1 << 24        # float32 holds every integer up to here

ctypedef struct Embedding:
    Py_ssize_t tokens           # ids in a row
    Py_ssize_t n_ids            # rows of the table
    Py_ssize_t k                # their length


cdef inline Py_ssize_t row_of(const Embedding *s, floating token) noexcept nogil:
    """The nearest integer; row 0 for a number that is no id, so that nothing outside of the table is read."""
    cdef double above = <double>token + 0.5
    if above >= 0 and above < s.n_ids:          # false for NaN
        return <Py_ssize_t>above
    return 0


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # table (n_ids, k)
    const floating *state, const floating *derived,
    const floating *x,          # (n, tokens)
    floating *y,                # (n, tokens, k)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Embedding *s = <const Embedding*>&op.sizes[0]
    cdef Py_ssize_t i, k = s.k
    # y_i = table[x_i]
    for i in range(call.n * s.tokens):
        memcpy(y + i * k, theta + row_of(s, x[i]) * k, k * sizeof(floating))


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state, const floating *derived,
    const floating *x,          # (n, tokens)
    const floating *y,
    floating *dy,               # (n, tokens, k)
    floating *dx,               # (n, tokens) or NULL
    floating *grad,             # (n_ids, k) or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Embedding *s = <const Embedding*>&op.sizes[0]
    cdef Py_ssize_t i, k = s.k
    if grad != NULL:
        # dtable[x_i] += dy_i, in the order of the tokens
        for i in range(call.n * s.tokens):
            vec.add(k, dy + i * k, grad + row_of(s, x[i]) * k)
    if dx != NULL:
        # dx = 0
        memset(dx, 0, call.n * s.tokens * sizeof(floating))


def embedding(str dtype, *, Py_ssize_t tokens, Py_ssize_t n_ids, Py_ssize_t k):
    """The kernel of ``layers.Embedding`` for rows of ``tokens`` ids below n_ids."""
    if dtype == "float32" and n_ids > LARGEST_FLOAT32:
        raise ValueError(f"Embedding: input_dim must be at most {LARGEST_FLOAT32} in float32, which holds no "
                         f"larger ids; use dtype='float64', got {n_ids}.")
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Embedding *s = <Embedding*>&op.sizes[0]
    assert_fits(sizeof(Embedding), sizeof(op.sizes))
    s.tokens, s.n_ids, s.k = tokens, n_ids, k
    op.x_size, op.y_size, op.n_params = tokens, tokens * k, n_ids * k
    op.flops = tokens * k
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "embedding", dtype
    kernel.config = {"tokens": tokens, "n_ids": n_ids, "k": k}
    return kernel
