"""The memory of a Workspace: aligned arrays, and where they begin."""

cdef Py_ssize_t pointer(object array) except? -1
cdef object lines(object size)
cdef object aligned(object size, str dtype)
