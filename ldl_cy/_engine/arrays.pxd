"""The memory of a Workspace: aligned arrays, and where they begin. Versions of arrays."""

cdef Py_ssize_t pointer(object array) except? -1
cdef object lines(object size)
cdef object aligned(object size, str dtype)

cdef class VersionCounter:
    cdef long number
    cdef long writers                       # that are at work
    cdef bint given                         # an array was handed out

    cdef void begin(self) noexcept nogil    # of a change
    cdef void end(self) noexcept nogil
    cdef long now(self) noexcept nogil      # the version, 0 where it says nothing
