"""Whether numbers are within bounds: the check of input data."""
from cython cimport floating


cdef inline bint within(Py_ssize_t n, const floating *x, floating limit) noexcept nogil:
    """Whether all are in [-limit, limit]; NaN is not. Without branches, so that it is vectorised."""
    cdef Py_ssize_t i
    cdef int good = 1
    for i in range(n):
        good &= (x[i] <= limit) & (x[i] >= -limit)
    return good
