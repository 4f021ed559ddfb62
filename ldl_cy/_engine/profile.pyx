"""Times of single ops, for ci/bench.py --profile: kernels called as the engine calls them, many times each.

From Python a call costs some microseconds, as much as a small op; here the loop is compiled.
"""
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.loss cimport LossKernel
from ldl_cy._engine.op cimport Call, Kernel, Op

import numpy as np

from ldl_cy._engine.vec import check_rule

cdef extern from "<time.h>" nogil:
    struct timespec:
        long long tv_sec
        long tv_nsec
    int timespec_get(timespec *t, int base)
    int TIME_UTC

cdef extern from "vec/cpu.h" nogil:
    unsigned long long ldl_flush_denormals()
    void ldl_restore_denormals(unsigned long long)


cdef double nanoseconds() noexcept nogil:
    # seconds since 1970 in a double would be cut to 240 ns: so only the days since a recent multiple of 2^20 s are kept
    cdef timespec t
    timespec_get(&t, TIME_UTC)
    return 1e9 * <double>(t.tv_sec & 0xFFFFF) + t.tv_nsec


cdef void *place(object array) except? NULL:
    if array is None or array.size == 0:
        return NULL
    if not array.flags.c_contiguous:
        raise ValueError("profile: arrays must be C-contiguous.")
    return <void*><size_t>array.ctypes.data


def time_op(Kernel kernel, theta, state, x, dy, *, bint wants_dx, bint wants_grad, Py_ssize_t repeats):
    """Nanoseconds of prepare, forward and backward over a block of rows, each repetition's: (3, repeats).

    Parameters
    ----------
    theta : (n_params,); state : (n_state,); x : (n, x_size); dy : (n, y_size)
        In the kernel's dtype; dy is kept.
    wants_dx, wants_grad : bool
        Whether backward computes dx, and grad.
    """
    cdef Op *op = &kernel.op
    cdef Call call
    cdef Py_ssize_t i, n = x.shape[0]
    cdef double t0, t1, t2, t3
    cdef unsigned long long mode
    if kernel.couples_rows or kernel.calls_python:
        raise ValueError(f"profile: {kernel.name} cannot be timed alone.")
    if (theta.size, state.size, x.size, dy.size) != (op.n_params, op.n_state, n * op.x_size, n * op.y_size):
        raise ValueError(f"profile: an array does not fit {kernel.name}.")
    for array in (theta, state, x, dy):
        if array.dtype.name != kernel.dtype:
            raise TypeError(f"profile: {kernel.name} needs {kernel.dtype}.")

    def zeros(size):
        return np.zeros(max(1, size), kernel.dtype)

    y, gy, cache = zeros(n * op.y_size), zeros(n * op.y_size), zeros(n * op.cache_size)
    dx, grad, derived = zeros(n * op.x_size), zeros(op.n_params), zeros(op.n_derived)
    scratch = zeros(n * op.scratch_size + op.scratch_fixed)
    times = np.zeros((3, repeats))
    cdef double[:, ::1] out = times
    cdef void *p_theta = place(theta)
    cdef void *p_state = place(state)
    cdef void *p_x = place(x)
    cdef void *p_dy = place(dy)
    cdef void *p_y = place(y)
    cdef void *p_gy = place(gy)
    cdef void *p_cache = place(cache) if op.cache_size else NULL
    cdef void *p_dx = place(dx) if wants_dx else NULL
    cdef void *p_grad = place(grad) if wants_grad else NULL
    cdef void *p_derived = place(derived)
    cdef void *p_scratch = place(scratch)
    cdef size_t bytes = dy.nbytes
    memset(&call, 0, sizeof(Call))
    call.n = n
    call.training = 1
    with nogil:
        mode = ldl_flush_denormals()
        for i in range(repeats):
            memcpy(p_gy, p_dy, bytes)                   # backward uses it up
            t0 = nanoseconds()
            if op.prepare != NULL:
                op.prepare(op, &call, p_theta, p_state, p_derived)
            t1 = nanoseconds()
            op.forward(op, &call, p_theta, p_state, p_derived, p_x, p_y, p_cache, p_scratch)
            t2 = nanoseconds()
            op.backward(op, &call, p_theta, p_state, p_derived, p_x, p_y, p_gy, p_dx, p_grad, p_cache, p_scratch)
            t3 = nanoseconds()
            out[0, i], out[1, i], out[2, i] = t1 - t0, t2 - t1, t3 - t2
        ldl_restore_denormals(mode)
    return times


def time_loss(LossKernel kernel, y, targets, Py_ssize_t repeats):
    """Nanoseconds of value and gradient of a loss, y (n, steps k), targets (n, target_size): (repeats,)."""
    cdef Py_ssize_t i, n = y.shape[0]
    cdef double t0, value = 0
    if (kernel.python or y.dtype.name != kernel.dtype or targets.dtype.name != kernel.dtype
            or y.size != n * kernel.loss.steps * kernel.loss.k or targets.size != n * kernel.target_size):
        raise ValueError("profile: the arrays do not fit the loss.")
    dy = np.zeros_like(y)
    times = np.zeros(repeats)
    cdef double[::1] out = times
    cdef void *p_y = place(y)
    cdef void *p_t = place(targets)
    cdef void *p_dy = place(dy)
    with nogil:
        for i in range(repeats):
            t0 = nanoseconds()
            value += kernel.loss.compute(&kernel.loss, n, p_y, p_t, NULL, 1.0 / n, p_dy)
            out[i] = nanoseconds() - t0
    return times


cdef double time_rule(
    int rule, Py_ssize_t n_slots, Py_ssize_t n, Py_ssize_t lanes, floating *theta, floating *grad, floating *slots,
    const double *coef,
) noexcept nogil:
    """One update as the step loop does it, piece by piece: add the lanes, apply the rule, zero the lanes."""
    cdef double start = nanoseconds()
    cdef Py_ssize_t a = 0, size, lane
    while a < n:
        size = min(n - a, 4096)
        for lane in range(1, lanes):
            vec.add(size, <const floating*>(grad + lane * n + a), grad + a)
        vec.update(rule, size, theta + a, <const floating*>(grad + a), slots + a if n_slots > 0 else NULL, n, coef)
        for lane in range(lanes):
            memset(grad + lane * n + a, 0, size * sizeof(floating))
        a += size
    return nanoseconds() - start


def time_update(int rule, Py_ssize_t n_slots, theta, Py_ssize_t lanes, double[::1] coef, Py_ssize_t repeats):
    """Nanoseconds of an update of theta by a rule's number from some lanes: (repeats,)."""
    cdef Py_ssize_t i, n = theta.size
    check_rule("profile", rule, n_slots, np.asarray(coef)[None])
    theta = theta.copy()
    grad, slots = np.zeros(lanes * n, theta.dtype), np.zeros(n_slots * n, theta.dtype)
    times = np.zeros(repeats)
    cdef double[::1] out = times
    cdef bint single = theta.dtype.name == "float32"
    cdef void *p_theta = place(theta)
    cdef void *p_grad = place(grad)
    cdef void *p_slots = place(slots)
    for i in range(repeats):
        if single:
            out[i] = time_rule[float](
                rule, n_slots, n, lanes, <float*>p_theta, <float*>p_grad, <float*>p_slots, &coef[0])
        else:
            out[i] = time_rule[double](
                rule, n_slots, n, lanes, <double*>p_theta, <double*>p_grad, <double*>p_slots, &coef[0])
    return times
