"""Collectives: the messages of one process, see collectives.pyx."""

cdef class Collectives:
    cdef readonly object comm
    cdef readonly Py_ssize_t rank, size
    cdef readonly tuple failure
    cdef object own, lengths                # of the message by which a process says whether it has failed

    cpdef bint agree(self, bytes message=*) except -1

cdef tuple sizes(list edges)
cdef list exchanges(list nodes, object received, list counts, list edges, Py_ssize_t rank)
