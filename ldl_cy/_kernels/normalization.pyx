"""Normalization by given numbers: y = (x - mean) / sigma, sigma = max(sqrt(variance), smallest).

As Keras's Normalization after ``adapt``. How mean and variance are shared along the axes of a row is said in runs.pxd.
They are the op's state, which it never changes, and sigma is derived.

    dx = dy / sigma
"""
from cython cimport floating
from libc.math cimport sqrt
from libc.string cimport memset

from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t
from ldl_cy._kernels.runs cimport MOST_AXES, Runs, fill_runs, next_run

ctypedef struct Normalization:
    Runs rows
    double smallest


cdef void prepare(
    const Op *op, const Call *call, const floating *theta,
    const floating *state,      # mean (m,), variance (m,)
    floating *derived,          # sigma (m,)
) noexcept nogil:
    """sigma = max(sqrt(variance), smallest)"""
    cdef const Normalization *s = <const Normalization*>&op.sizes[0]
    cdef Py_ssize_t j
    cdef double sigma
    for j in range(op.n_derived):
        sigma = sqrt(state[op.n_derived + j])
        # a NaN, which only the user can have put there, stays
        derived[j] = <floating>(s.smallest if sigma < s.smallest else sigma)


cdef void forward(
    const Op *op, const Call *call, const floating *theta,
    const floating *state,      # mean (m,), variance (m,)
    const floating *derived,    # sigma (m,)
    const floating *x,          # (n, runs, k)
    floating *y,                # (n, runs, k)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Runs *s = &(<const Normalization*>&op.sizes[0]).rows
    cdef Py_ssize_t _v, j, first = 0
    cdef const floating *mean
    cdef const floating *sigma
    cdef Py_ssize_t[MOST_AXES] at
    memset(at, 0, sizeof(at))
    for _v in range(call.n * s.count):
        mean, sigma = state + first, derived + first
        # y = (x - mean) / sigma
        if s.shared:
            for j in range(s.k):
                y[j] = (x[j] - mean[0]) / sigma[0]
        else:
            for j in range(s.k):
                y[j] = (x[j] - mean[j]) / sigma[j]
        first = next_run(s, at, first)
        x += s.k
        y += s.k


cdef void backward(
    const Op *op, const Call *call, const floating *theta,
    const floating *state,
    const floating *derived,    # sigma (m,)
    const floating *x,
    const floating *y,
    floating *dy,               # (n, runs, k)
    floating *dx,               # (n, runs, k) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Runs *s = &(<const Normalization*>&op.sizes[0]).rows
    cdef Py_ssize_t _v, j, first = 0
    cdef const floating *sigma
    cdef Py_ssize_t[MOST_AXES] at
    if dx == NULL:
        return
    memset(at, 0, sizeof(at))
    for _v in range(call.n * s.count):
        sigma = derived + first
        # dx = dy / sigma
        if s.shared:
            for j in range(s.k):
                dx[j] = dy[j] / sigma[0]
        else:
            for j in range(s.k):
                dx[j] = dy[j] / sigma[j]
        first = next_run(s, at, first)
        dy += s.k
        dx += s.k


def normalization(str dtype, *, tuple sizes, tuple strides, double smallest):
    """The kernel of ``layers.Normalization``: rows of at most 16 axes of ``sizes``, ``strides`` of the state."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Normalization *s = <Normalization*>&op.sizes[0]
    assert_fits(sizeof(Normalization), sizeof(op.sizes))
    op.n_derived = fill_runs(&s.rows, sizes, strides)
    s.smallest = smallest
    op.n_state = 2 * op.n_derived
    op.x_size = op.y_size = s.rows.count * s.rows.k
    op.flops = 2.0 * op.x_size
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "normalization", dtype
    kernel.config = {"sizes": sizes, "strides": strides, "smallest": smallest}
    return kernel
