"""VersionCounter: whether arrays may have changed."""
from libc.stdint cimport int64_t

cdef class VersionCounter:
    cdef int64_t number
    cdef long writers                       # inside ``with version:``
    cdef bint given                         # an array was handed out

    cdef void begin(self) noexcept nogil    # of a change
    cdef void end(self) noexcept nogil
    cdef int64_t now(self) noexcept nogil   # the version, 0 where it says nothing
