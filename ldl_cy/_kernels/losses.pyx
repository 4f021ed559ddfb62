"""Losses. The formulas over rows of outputs stand in vec/; here they meet samples, steps and weights."""
from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec

import numpy as np

cdef enum Kind:
    SQUARED_ERROR, LOG_LOSS_CODES, LOG_LOSS_PROBS, BINARY_LOG_LOSS


cdef inline double rows_loss(
    int kind, double option, Py_ssize_t rows, Py_ssize_t k, const floating *y, const floating *t,
    const floating *w, floating scale, floating *dy) noexcept nogil:
    if kind == SQUARED_ERROR:
        return vec.squared_error(rows, k, y, t, w, scale, dy)
    if kind == LOG_LOSS_CODES:
        return vec.log_loss_codes(rows, k, y, t, w, scale, dy, <floating>option)
    if kind == LOG_LOSS_PROBS:
        return vec.log_loss_probs(rows, k, y, t, w, scale, dy, <floating>option)
    return vec.binary_log_loss(rows, k, y, t, w, scale, dy)


cdef inline double samples_loss(
    int kind, const Loss *s, Py_ssize_t n,
    const floating *y,          # (n, steps, k)
    const floating *t,          # (n, target_size)
    const floating *w,          # (n,) or NULL
    double scale,
    floating *dy,               # (n, steps, k) or NULL
) noexcept nogil:
    cdef Py_ssize_t i, size = s.steps * s.k
    cdef double total = 0
    if s.steps == 1 or w == NULL:
        total = rows_loss(kind, s.option, n * s.steps, s.k, y, t, w, <floating>(scale * s.scale), dy)
    else:
        # a sample's weight belongs to each of its steps
        for i in range(n):
            total += w[i] * rows_loss(
                kind, s.option, s.steps, s.k, y + i * size, t + i * s.target_size, <const floating*>NULL,
                <floating>(scale * s.scale * w[i]), NULL if dy == NULL else dy + i * size)
    return total * s.scale


cdef double squared_error(const Loss *s, Py_ssize_t n, const floating *y, const floating *t,
                          const floating *w, double scale, floating *dy) noexcept nogil:
    return samples_loss(SQUARED_ERROR, s, n, y, t, w, scale, dy)


cdef double log_loss_codes(const Loss *s, Py_ssize_t n, const floating *y, const floating *t,
                           const floating *w, double scale, floating *dy) noexcept nogil:
    return samples_loss(LOG_LOSS_CODES, s, n, y, t, w, scale, dy)


cdef double log_loss_probs(const Loss *s, Py_ssize_t n, const floating *y, const floating *t,
                           const floating *w, double scale, floating *dy) noexcept nogil:
    return samples_loss(LOG_LOSS_PROBS, s, n, y, t, w, scale, dy)


cdef double binary_log_loss(const Loss *s, Py_ssize_t n, const floating *y, const floating *t,
                            const floating *w, double scale, floating *dy) noexcept nogil:
    return samples_loss(BINARY_LOG_LOSS, s, n, y, t, w, scale, dy)


cdef class LossKernel:

    def __cinit__(self):
        memset(&self.loss, 0, sizeof(Loss))

    @property
    def target_size(self):
        return self.loss.target_size

    def __call__(self, y, t, w=None, double scale=1.0):
        """(sum_i w_i l_i, dy) for y (n, steps k), t (n, target_size): the loss alone, for tests."""
        y = np.ascontiguousarray(y, self.dtype)
        t = np.ascontiguousarray(t, self.dtype)
        n = y.size // (self.loss.steps * self.loss.k)
        if t.size != n * self.loss.target_size or (w is not None and np.size(w) != n):
            raise ValueError(f"LossKernel: y, t and w do not agree: {y.size}, {t.size}, {np.size(w)}.")
        dy = np.full_like(y, np.nan)
        w = None if w is None else np.ascontiguousarray(w, self.dtype)
        cdef size_t p_w = 0 if w is None else w.ctypes.data
        total = self.loss.compute(&self.loss, n, <void*><size_t>y.ctypes.data, <void*><size_t>t.ctypes.data,
                                  <void*>p_w, scale, <void*><size_t>dy.ctypes.data)
        return total, dy


def make_loss(str name, str dtype, *, Py_ssize_t steps, Py_ssize_t k, double scale, double option=0.0):
    """The kernel of a loss for outputs of (steps, k)."""
    cdef LossKernel kernel = LossKernel()
    cdef Loss *s = &kernel.loss
    cdef bint single = dtype == "float32"
    s.steps, s.k, s.scale, s.option = steps, k, scale, option
    s.target_size = steps if name == "log_loss_codes" else steps * k
    if name == "squared_error":
        s.compute = <loss_t>squared_error[float] if single else <loss_t>squared_error[double]
    elif name == "log_loss_codes":
        s.compute = <loss_t>log_loss_codes[float] if single else <loss_t>log_loss_codes[double]
    elif name == "log_loss_probs":
        s.compute = <loss_t>log_loss_probs[float] if single else <loss_t>log_loss_probs[double]
    elif name == "binary_log_loss":
        s.compute = <loss_t>binary_log_loss[float] if single else <loss_t>binary_log_loss[double]
    else:
        raise ValueError(f"make_loss: no kernel for {name!r}.")
    kernel.name, kernel.dtype = name, dtype
    return kernel
