"""Messages between the processes of a communicator, those that belong together in one call.

Compiled as in ``process.pyx``: mpi4py is compiled too, so no bytecode runs between the messages of a call, and no
signal's handler can raise there: a process has sent all of them or none. Each call begins with the same message of
a fixed size, by which a process that has failed says so: whatever the others do next, they find out there.
"""
import numpy as np


cdef class Collectives:
    """The messages of one process.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, or an object with its methods
        Get_rank, Get_size, Allgather, Allgatherv, Alltoallv

    Attributes
    ----------
    rank, size : int
    failure : (rank, bytes) or None
        The process that has failed, the first if several have, and its message. Nothing is sent any more.
    """

    def __init__(self, comm):
        self.comm, self.rank, self.size, self.failure = comm, comm.Get_rank(), comm.Get_size(), None
        self.own, self.lengths = np.zeros(1, np.int64), np.zeros(self.size, np.int64)

    cpdef bint agree(self, bytes message=b"") except -1:
        """Whether all processes are well; a message of any other one than b"" says that this one has failed."""
        cdef long long[::1] own = self.own, lengths = self.lengths
        cdef Py_ssize_t r, total = 0, before = 0
        if self.failure is not None:
            return False
        own[0] = len(message)
        self.comm.Allgather(self.own, self.lengths)
        for r in range(self.size):
            total += lengths[r]
        if total == 0:
            return True
        found = np.zeros(total, np.uint8)
        self.comm.Allgatherv(np.frombuffer(message, np.uint8), [found, placed(self.lengths.tolist())])
        for r in range(self.size):
            if lengths[r]:
                self.failure = r, bytes(found[before:before + lengths[r]])
                return False

    def concatenate(self, own):
        """The C-contiguous arrays of all processes, along the first axis, in their order; None after a failure."""
        if not self.agree():
            return None
        rows = np.empty(self.size, np.int64)
        self.comm.Allgather(np.array([own.shape[0]], np.int64), rows)
        found = np.empty((rows.sum(), *own.shape[1:]), own.dtype)
        # as bytes, since MPI does not know all dtypes
        row = own.itemsize
        for size in own.shape[1:]:
            row *= size
        self.comm.Allgatherv(as_bytes(own), [as_bytes(found), placed([n * row for n in rows.tolist()])])
        return found

    def total(self, nodes, counts, added):
        """The sum of all nodes, (n,) float64, in the order ``added``; None after a failure.

        Each process receives one piece of every node, adds those, and sends the sum to all.

        Parameters
        ----------
        nodes : (m, n) C-contiguous float64 array
        counts : list of ints, the number of nodes of each process
        added : list of pairs, ``additions`` of all nodes
        """
        if not self.agree():
            return None
        n = nodes.shape[1]
        edges = [r * n // self.size for r in range(self.size + 1)]
        received = np.empty((sum(counts), edges[self.rank + 1] - edges[self.rank]))
        for sent, into in exchanges(list(nodes), received, counts, edges, self.rank):
            self.comm.Alltoallv(sent, into)
        for i, j in added:
            received[i] += received[j]
        found = np.empty(n)
        self.comm.Allgatherv(received[0], [found, sizes(edges)])
        return found


cdef object as_bytes(object array):
    return array.reshape(-1).view(np.uint8)


cdef tuple placed(list counts):
    """(counts, places) of pieces one after another."""
    cdef list places = []
    place = 0
    for count in counts:
        places.append(place)
        place += count
    return tuple(counts), tuple(places)


cdef tuple sizes(list edges):
    """(counts, places) of pieces between edges."""
    return tuple([edges[i + 1] - edges[i] for i in range(len(edges) - 1)]), tuple(edges[:len(edges) - 1])


cdef list exchanges(list nodes, object received, list counts, list edges, Py_ssize_t rank):
    """The messages (sent, into) after which ``received`` has this process's piece of all nodes, in their order.

    One for each node of the process that has most of them: the others send and receive nothing then.

    Parameters
    ----------
    nodes : list of (n,) arrays, those of this process
    received : (all nodes, size of the piece) array
    counts : list of ints, the number of nodes of each process
    edges : list of ints, between the pieces of the processes
    rank : of this process
    """
    cdef Py_ssize_t j, width = edges[rank + 1] - edges[rank]
    cdef list messages = []
    widths, places = sizes(edges)
    first = placed(counts)[1]
    for j in range(max(counts)):
        mine = j < len(nodes)
        sent = [nodes[j] if mine else np.empty(0, received.dtype),
                (widths, places) if mine else ((0,) * len(counts), (0,) * len(counts))]
        into = [received, (tuple([width if j < count else 0 for count in counts]),
                           tuple([(at + j) * width if j < count else 0 for at, count in zip(first, counts)]))]
        messages.append((sent, into))
    return messages
