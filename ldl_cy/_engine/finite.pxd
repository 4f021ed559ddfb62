"""Whether numbers lie in an interval: the check of data that come in."""
from cython cimport floating


cdef inline bint within(Py_ssize_t n, const floating *x, floating limit) noexcept nogil:
    """Whether all lie in [-limit, limit]; NaN does not. Without branches, so that it is vectorised."""
    cdef Py_ssize_t i
    cdef int good = 1
    for i in range(n):
        good &= (x[i] <= limit) & (x[i] >= -limit)
    return good
