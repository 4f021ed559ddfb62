"""Messages between the processes of a communicator, those that belong together in one call.

Compiled as in ``process.pyx``: mpi4py is compiled too, so no bytecode runs between the messages of a call, and no
signal's handler can raise there: a process has sent all of them or none. Each call begins with the same message of
a fixed size, by which a process that has failed says so: whatever the others do next, they find out there. Within
the steps of a call of ``train``, where nothing but the stop flag ends a process's work, each message to all has it
in its first number instead.
"""
from libc.string cimport memcpy

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
    ended : bool
        Whether all processes have come to the end. Nothing is sent any more.
    """

    def __init__(self, comm):
        self.comm, self.rank, self.size, self.failure = comm, comm.Get_rank(), comm.Get_size(), None
        self.ended = False
        self.own, self.lengths = np.zeros(1, np.int64), np.zeros(self.size, np.int64)

    cpdef bint agree(self, bytes message=b"", bint last=False) except -1:
        """Whether all processes are well; a message of any other one than b"" says that this one has failed.

        ``last``: if they are, no message follows, and ``ended`` is true as soon as they know.
        """
        cdef long long[::1] own = self.own, lengths = self.lengths
        cdef Py_ssize_t r, total = 0, before = 0
        if self.failure is not None:
            return False
        own[0] = len(message)
        self.comm.Allgather(self.own, self.lengths)
        for r in range(self.size):
            total += lengths[r]
        if total == 0:
            self.ended = last
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
        self.own[0] = own.shape[0]              # np.array would look for signals
        self.comm.Allgather(self.own, rows)
        # not rows.sum(), which is a function in Python
        found = np.empty((sum(rows.tolist()), *own.shape[1:]), own.dtype)
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


cdef class Together:
    """``with Together(ranks, as_bytes, last) as ranks:`` an exception within, on any process, is raised by all of them.

    At the end of the block, or at their next message. Compiled, since a signal's handler must not raise between the
    end of the block and the message that says so.

    Parameters
    ----------
    ranks : Ranks
    as_bytes : function of an exception
    last : bool, whether no message follows the block
    """
    cdef object ranks, as_bytes
    cdef bint last

    def __init__(self, ranks, as_bytes, bint last):
        self.ranks, self.as_bytes, self.last = ranks, as_bytes, last

    def __enter__(self):
        return self.ranks

    def __exit__(self, kind, error, traceback):
        cdef Collectives collectives = self.ranks.collectives
        cdef bytes message = None
        if error is None:
            if not collectives.agree(last=self.last):
                self.ranks.raise_failure(None)
        # a signal's handler may raise after the last message: the other ranks have ended well, as has this one
        elif collectives.failure is None and not collectives.ended:
            while message is None:
                try:
                    message = self.as_bytes(error)
                except BaseException as another:        # of a further signal
                    error = another
            collectives.agree(message)
            self.ranks.raise_failure(error)


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


cdef class Exchange:
    """The messages of training steps: sums of blocks, the nodes of the gradient's tree, and the updated weights.

    Each process adds and updates one part of theta, with its part of the optimizer's vectors (the reduce-scatter and
    allgather of ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054), in the order of the tree.

    Parameters
    ----------
    collectives : Collectives
    lane_edges : list of ints, the first lane of each process, and the number of lanes
    counts : list of ints, the number of complete nodes of each process
    nodes : list of ints, the lanes of this process, from 0, that the sums of its nodes are left in
    own_added, added : lists of pairs, see ``additions``: of this process's lanes, and of all nodes
    cuts : (steps, own lanes + 1) int64
    offsets : (steps,) int64
    weights : (steps,) float64
    """

    def __init__(self, Collectives collectives, list lane_edges, list counts, list nodes, own_added, added, cuts,
                 offsets, weights):
        rank = collectives.rank
        self.collectives, self.lane_edges, self.counts, self.nodes = collectives, lane_edges, counts, nodes
        self.first_lane, self.n_lanes = lane_edges[rank], lane_edges[rank + 1] - lane_edges[rank]
        self.shards = lane_edges[collectives.size]
        self.own_added = np.array(own_added, np.int64).reshape(-1, 2)
        self.added = np.array(added, np.int64).reshape(-1, 2)
        self.cuts, self.offsets, self.weights = cuts, offsets, weights
        if not (self.cuts.shape[1] == self.n_lanes + 1 and len(cuts) == len(offsets) == len(weights)):
            raise ValueError(f"Exchange: cuts must have {self.n_lanes + 1} edges for each of {len(weights)} steps, got "
                             f"the shape {cuts.shape}.")
        self.n_steps = len(weights)
        self.most_rows = cuts[:, self.n_lanes].max()

    cdef int begin(self, object lanes, object theta, object slots, object pieces, object sums,
                   Py_ssize_t blocks_per_lane) except -1:
        """Prepare the messages of one call of ``train``, which sends nothing yet; lanes (n_lanes, n_params or more)."""
        cdef Py_ssize_t rank = self.collectives.rank, size = self.collectives.size, n = len(pieces), r
        self.blocks_per_lane, self.theta, self.slots, self.sums, self.buffers = blocks_per_lane, theta, slots, sums, {}
        self.piece_edges = [r * n // size for r in range(size + 1)]
        self.first_piece, self.last_piece = self.piece_edges[rank], self.piece_edges[rank + 1]
        # whole pieces; what is not updated between two of them is sent as well
        ends = [*pieces[:, 0].tolist(), int(pieces[n - 1, 1])] if n else [0]
        self.edges = [ends[edge] for edge in self.piece_edges]
        self.first_number = self.edges[rank]
        self.received = np.zeros((sum(self.counts), self.edges[rank + 1] - self.edges[rank]), theta.dtype)
        self.own_theta = np.zeros(self.received.shape[1], theta.dtype)
        self.messages = exchanges([lanes[node] for node in self.nodes], self.received, self.counts, self.edges, rank)
        return 0

    cdef tuple buffer(self, Py_ssize_t width):
        """(sent, [received, (counts, places)]) for sums of ``width`` numbers a block, each process's after a header."""
        cdef Py_ssize_t r
        found = self.buffers.get(width)
        if found is None:
            counts = [1 + (self.lane_edges[r + 1] - self.lane_edges[r]) * self.blocks_per_lane * width
                      for r in range(self.collectives.size)]
            found = np.zeros(counts[self.collectives.rank]), [np.zeros(sum(counts)), placed(counts)]
            self.buffers[width] = found
        return found

    cdef bint blocks(self, double *values, Py_ssize_t width, bint failed) except -1:
        """Exchange the sums of blocks, values (all blocks, width); whether a process has failed."""
        cdef tuple message = self.buffer(width)
        cdef double[::1] sent = message[0], received = message[1][0]
        cdef Py_ssize_t r, place = 0, count, first, step = self.blocks_per_lane * width
        cdef bint any_failed = False
        first, count = self.first_lane * step, self.n_lanes * step
        sent[0] = failed
        if count:
            memcpy(&sent[1], values + first, count * sizeof(double))
        self.collectives.comm.Allgatherv(message[0], message[1])
        for r in range(self.collectives.size):
            any_failed = any_failed or received[place] != 0
            first = self.lane_edges[r] * step
            count = self.lane_edges[r + 1] * step - first
            if count:
                memcpy(values + first, &received[place + 1], count * sizeof(double))
            place += 1 + count
        return any_failed

    cdef int gradient(self) except -1:
        """Receive this process's part of all nodes, and send the others theirs."""
        for sent, into in self.messages:
            self.collectives.comm.Alltoallv(sent, into)
        return 0

    cdef int gather_sums(self) except -1:
        """The sums of each piece of theta, (3, pieces), of which each process has made those of its own pieces."""
        for row in self.sums:
            own = row[self.first_piece:self.last_piece].copy()
            self.collectives.comm.Allgatherv(own, [row, sizes(self.piece_edges)])
        return 0

    cdef int gather_theta(self) except -1:
        """The updated weights, of all processes."""
        self.gather(self.theta)
        return 0

    cdef int gather_slots(self) except -1:
        """The optimizer's vectors, which are whole outside the steps."""
        for row in self.slots:
            self.gather(row)
        return 0

    cdef int gather(self, object vector) except -1:
        """All parts of a vector as long as theta."""
        cdef Py_ssize_t first = self.first_number, count = self.own_theta.shape[0]
        self.own_theta[...] = vector[first:first + count]
        self.collectives.comm.Allgatherv(self.own_theta, [vector, sizes(self.edges)])
        return 0
