"""Collectives and Exchange: the messages of one process, see collectives.pyx."""

cdef class Collectives:
    cdef readonly object comm
    cdef readonly Py_ssize_t rank, size
    cdef readonly tuple failure
    cdef readonly bint ended
    cdef object own, lengths                # of the message by which a process says whether it has failed

    cpdef bint agree(self, bytes message=*, bint last=*) except -1

cdef class Exchange:
    cdef readonly Collectives collectives
    cdef readonly Py_ssize_t first_lane, n_lanes, shards
    cdef list lane_edges, counts, nodes
    cdef readonly object own_added, added   # (m, 2) int64
    # the rows of each step
    cdef long long[:, ::1] cuts             # (steps, n_lanes + 1): where each lane's rows begin, among this process's
    cdef long long[::1] offsets             # (steps,) rows of the whole batch before this process's
    cdef double[::1] weights                # (steps,) the sum of the whole batch's weights
    cdef readonly Py_ssize_t n_steps, most_rows         # of this process in a step
    # the vectors of one call of train
    cdef Py_ssize_t blocks_per_lane, first_piece, last_piece, first_number
    cdef readonly object received           # (nodes of all processes, numbers of this one's part)
    cdef object sums, own_theta, theta, slots
    cdef dict buffers
    cdef list messages, piece_edges, edges

    cdef int begin(self, object lanes, object theta, object slots, object pieces, object sums,
                   Py_ssize_t blocks_per_lane) except -1
    cdef tuple buffer(self, Py_ssize_t width)
    cdef int gather(self, object vector) except -1
    cdef bint blocks(self, double *values, Py_ssize_t width, bint failed) except -1
    cdef int gradient(self) except -1
    cdef int gather_sums(self) except -1
    cdef int gather_theta(self) except -1
    cdef int gather_slots(self) except -1

cdef tuple sizes(list edges)
cdef list exchanges(list nodes, object received, list counts, list edges, Py_ssize_t rank)
