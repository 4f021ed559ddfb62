"""Losses of a row of k outputs y and k targets t: returns l = sum_j l_j; dy_j = c dl/dy_j unless dy is NULL.

    absolute_error    |e|,  e = y - t                               dl/dy = sign(e)
    huber             e^2 / 2 for |e| <= delta, else                e clipped to [-delta, delta]
                      delta (|e| - delta / 2)                       (Huber 1964)
    quantile          (1 - q) e for e >= 0, else -q e               1 - q, or -q (Koenker and Bassett 1978)
    poisson           exp(y) - t y                                  exp(y) - t
    binary_hinge      max(0, 1 - t y),  t = -1 or 1                 -t where l > 0
    hinge             max(0, 1 + max_(r != c) y_r - y_c)            1 at r, -1 at c, where l > 0
                      (Crammer and Singer 2001), c the class code
    vjp               t y                                           t: backward then makes J^T t

The losses that use exp and log of whole rows, and the squared error, are in _engine/vec/{losses,log_losses}.inc.
dy may be y: each y is read before it is overwritten.
"""
from cython cimport floating
from libc.math cimport fabs

from ldl_cy._engine cimport vec

cdef extern from "vec/index.h" nogil:
    Py_ssize_t ldl_code_f32(const float *t, Py_ssize_t k)
    Py_ssize_t ldl_code_f64(const double *t, Py_ssize_t k)

cdef enum:
    PIECE = 256


cdef inline double absolute_error(
    Py_ssize_t k, const floating *y, const floating *t, floating c, floating *dy) noexcept nogil:
    """l = |e|, e = y - t; dl = sign(e)"""
    cdef Py_ssize_t j
    cdef double total = 0
    cdef floating e
    for j in range(k):
        total += fabs(y[j] - t[j])
    if dy != NULL:
        for j in range(k):
            e = y[j] - t[j]
            dy[j] = c * <floating>(<int>(e > 0) - <int>(e < 0))
    return total


cdef inline double huber(
    Py_ssize_t k, const floating *y, const floating *t, floating c, double delta, floating *dy) noexcept nogil:
    """l = e^2/2 for |e| <= delta, else delta (|e| - delta/2); dl = e clipped to [-delta, delta]"""
    cdef Py_ssize_t j
    cdef double total = 0, a, m
    cdef floating e, d = <floating>delta
    for j in range(k):
        # both cases in one: m (|e| - m/2), m = min(|e|, delta)
        a = fabs(y[j] - t[j])
        m = delta if a > delta else a
        total += m * (a - 0.5 * m)
    if dy != NULL:
        for j in range(k):
            e = y[j] - t[j]
            e = d if e > d else e
            dy[j] = c * (-d if e < -d else e)
    return total


cdef inline double quantile(
    Py_ssize_t k, const floating *y, const floating *t, floating c, double q, floating *dy) noexcept nogil:
    """l = (1 - q) e for e = y - t >= 0, -q e for e < 0; dl = 1 - q, -q, and 0 at e = 0"""
    cdef Py_ssize_t j
    cdef double total = 0, a
    cdef floating e, up = <floating>(c * (1 - q)), down = <floating>(-c * q)
    for j in range(k):
        a = y[j] - t[j]
        total += (1 - q) * a if a > 0 else -q * a
    if dy != NULL:
        for j in range(k):
            e = y[j] - t[j]
            dy[j] = up if e > 0 else (down if e < 0 else <floating>0)
    return total


cdef inline double poisson(
    Py_ssize_t k, const floating *y, const floating *t, floating c, bint deviance, floating *dy) noexcept nogil:
    """l = exp(y) - t y; as a deviance + t log t - t, with which its minimum is 0; dl = exp(y) - t"""
    cdef Py_ssize_t j, m, p = 0
    cdef double total = 0
    cdef floating[PIECE] e
    while p < k:
        m = min(<Py_ssize_t>PIECE, k - p)
        vec.exp(m, y + p, e)
        for j in range(m):
            total += e[j] - <double>t[p + j] * y[p + j]
        if dy != NULL:
            for j in range(m):
                dy[p + j] = c * (e[j] - t[p + j])
        if deviance:
            for j in range(m):
                e[j] = t[p + j] if t[p + j] > 0 else <floating>1    # 0 log 0 = 0
            vec.log(m, e, e)
            for j in range(m):
                total += <double>t[p + j] * e[j] - t[p + j]
        p += m
    return total


cdef inline double binary_hinge(
    Py_ssize_t k, const floating *y, const floating *t, floating c, floating *dy) noexcept nogil:
    """l = max(0, 1 - t y), t = -1 or 1; dl = -t where l > 0"""
    cdef Py_ssize_t j
    cdef double total = 0, a
    for j in range(k):
        a = 1 - <double>t[j] * y[j]
        total += 0 if a <= 0 else a         # NaN stays
    if dy != NULL:
        for j in range(k):
            dy[j] = -c * t[j] if 1 - <double>t[j] * y[j] > 0 else <floating>0
    return total


cdef inline double hinge(
    Py_ssize_t k, const floating *y, const floating *t, floating c, floating *dy) noexcept nogil:
    """l = max(0, 1 + y_r - y_code), r the first largest of the others; dl = 1 at r, -1 at code where l > 0"""
    cdef Py_ssize_t j, r, code
    cdef double a
    if floating is float:
        code = ldl_code_f32(t, k)
    else:
        code = ldl_code_f64(t, k)
    r = 1 if code == 0 else 0
    # a NaN counts as the largest, so that it reaches the loss
    for j in range(code):
        if y[j] > y[r] or y[j] != y[j]:
            r = j
    for j in range(code + 1, k):
        if y[j] > y[r] or y[j] != y[j]:
            r = j
    a = 1 + <double>y[r] - y[code]
    if dy != NULL:
        for j in range(k):
            dy[j] = 0
        if not a <= 0:
            dy[r], dy[code] = c, -c
    return 0 if a <= 0 else a


cdef inline double vjp(
    Py_ssize_t k, const floating *y, const floating *t, floating c, floating *dy) noexcept nogil:
    """l = sum_j t_j y_j; dl = t"""
    cdef Py_ssize_t j
    cdef double total = 0
    for j in range(k):
        total += <double>t[j] * y[j]
    if dy != NULL:
        for j in range(k):
            dy[j] = c * t[j]
    return total
