"""Limit BLAS to one thread, and release it, from C without Python."""

cdef void limit() noexcept nogil
cdef void release() noexcept nogil
