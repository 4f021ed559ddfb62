"""BLAS held at one thread, for calls that come without Python."""

cdef void hold() noexcept nogil
cdef void let_go() noexcept nogil
