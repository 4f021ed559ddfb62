# What the recurrent cells share: their sizes, and the order in which steps and rows are worked through.
#
# Inside a kernel everything is time-major and packed: the rows of one step lie together, one step
# after the other in the order of processing. With lengths the rows are taken longest first, so that
# those still running at step t are the first rows_at(t) of them: the batch shrinks, and no step past
# a row's end exists here. Direction, lengths and order act in the copies in and out, nowhere else.
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine.op cimport Call

cdef enum Cell:
    CELL_RNN
    CELL_LSTM
    CELL_GRU

ctypedef struct Recurrent:
    Py_ssize_t n_steps          # T
    Py_ssize_t n_in             # d
    Py_ssize_t units            # u
    Py_ssize_t width            # of the pre-activations of a step: u, 4u, 3u
    Py_ssize_t joined           # columns of U whose product is added to z: width; GRU: 2u, U_n comes apart
    Py_ssize_t span             # most steps of a chunk
    int cell
    int activation              # of RNN
    int return_sequences
    int go_backwards
    int use_bias
    int small_products          # worth while: see blocked.pxd
    int copies                  # derived holds W and U in blocks
    double slope

ctypedef struct Steps:
    Py_ssize_t n
    Py_ssize_t n_steps          # of x and y
    Py_ssize_t longest          # steps that any row has
    Py_ssize_t total            # steps of all rows together
    bint go_backwards
    const int *lengths          # (n,) or NULL: all have n_steps
    int *rows                   # (n,) the row at each place, longest first; NULL: in their order
    int *counts                 # (n_steps + 1,) rows longer than t; NULL: n


cdef inline Py_ssize_t size_of_plan(Py_ssize_t n_steps) noexcept nogil:
    # numbers of the dtype that hold counts and cursors; the rows need one number each besides
    return 2 * (n_steps + 1)


cdef inline Steps plan(const Recurrent *s, const Call *call, int *ints) noexcept nogil:
    """The order of work. ints: n + size_of_plan(n_steps) of them, used with lengths only."""
    cdef Steps p
    cdef Py_ssize_t i, t
    cdef int *cursors
    p.n, p.n_steps, p.go_backwards, p.lengths = call.n, s.n_steps, s.go_backwards, call.lengths
    p.longest, p.total, p.rows, p.counts = s.n_steps, call.n * s.n_steps, NULL, NULL
    if call.lengths == NULL:
        return p
    p.counts, cursors, p.rows = ints, ints + s.n_steps + 1, ints + 2 * (s.n_steps + 1)
    # a counting sort: rows of length t, then by sums from the end those longer than t, which is
    # also the place of the first row of length t
    memset(cursors, 0, (s.n_steps + 1) * sizeof(int))
    for i in range(p.n):
        cursors[p.lengths[i]] += 1
    p.counts[s.n_steps] = 0
    p.total = 0
    for t in range(s.n_steps - 1, -1, -1):
        p.counts[t] = p.counts[t + 1] + cursors[t + 1]
        p.total += p.counts[t]
    memcpy(cursors, p.counts, (s.n_steps + 1) * sizeof(int))
    for i in range(p.n):
        p.rows[cursors[p.lengths[i]]] = <int>i
        cursors[p.lengths[i]] += 1
    while p.longest > 0 and p.counts[p.longest - 1] == 0:
        p.longest -= 1
    return p


cdef inline Py_ssize_t rows_at(const Steps *p, Py_ssize_t t) noexcept nogil:
    """How many rows have a step t: the first so many places."""
    if p.counts != NULL:
        return p.counts[t]
    return p.n if t < p.n_steps else 0


cdef inline Py_ssize_t row_of(const Steps *p, Py_ssize_t place) noexcept nogil:
    return p.rows[place] if p.rows != NULL else place


cdef inline Py_ssize_t length_of(const Steps *p, Py_ssize_t row) noexcept nogil:
    return p.lengths[row] if p.lengths != NULL else p.n_steps


cdef inline void copy_in(
    const Call *call, const Steps *p, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t d,
    const floating *x,          # (n, n_steps, d), or its rows anywhere
    floating *xt,               # (rows of the steps t0 to t1 - 1, d)
) noexcept nogil:
    cdef Py_ssize_t t, i, row, at, start
    for t in range(t0, t1):
        for i in range(rows_at(p, t)):
            row = row_of(p, i)
            at = length_of(p, row) - 1 - t if p.go_backwards else t
            start = row * p.n_steps * d if call.order == NULL else call.order[row] * call.x_stride
            memcpy(xt, x + start + at * d, d * sizeof(floating))
            xt += d


cdef inline void copy_back(
    const Steps *p, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t d,
    const floating *dxt,        # (rows of the steps t0 to t1 - 1, d)
    floating *dx,               # (n, n_steps, d)
) noexcept nogil:
    cdef Py_ssize_t t, i, row, at
    for t in range(t0, t1):
        for i in range(rows_at(p, t)):
            row = row_of(p, i)
            at = length_of(p, row) - 1 - t if p.go_backwards else t
            memcpy(dx + (row * p.n_steps + at) * d, dxt, d * sizeof(floating))
            dxt += d


cdef inline void clear_tails(
    const Steps *p, Py_ssize_t k,
    floating *x,                # (n, n_steps, k): zeros past the end of each row
) noexcept nogil:
    cdef Py_ssize_t i
    if p.lengths != NULL:
        for i in range(p.n):
            memset(x + (i * p.n_steps + p.lengths[i]) * k, 0,
                   (p.n_steps - p.lengths[i]) * k * sizeof(floating))


cdef inline void copy_out(
    const Steps *p, Py_ssize_t t, Py_ssize_t u, bint return_sequences,
    const floating *h,          # (rows_at(t), u)
    floating *y,                # (n, n_steps, u), or (n, u): only of rows that end with step t
) noexcept nogil:
    cdef Py_ssize_t i, row, first = 0 if return_sequences else rows_at(p, t + 1)
    for i in range(first, rows_at(p, t)):
        row = row_of(p, i)
        memcpy(y + (row * p.n_steps + t if return_sequences else row) * u, h + i * u, u * sizeof(floating))


cdef inline void begin(
    const Steps *p, Py_ssize_t t, Py_ssize_t u, bint return_sequences,
    const floating *dy,         # (n, n_steps, u) or (n, u)
    floating *dh,               # (rows_at(t), u): the gradient from step t + 1 on entry; dy is added
    floating *dc,               # (rows_at(t), u) likewise, or NULL
) noexcept nogil:
    """What comes into step t of the backward pass from above: rows that end with it start at 0."""
    cdef Py_ssize_t i, j, m = rows_at(p, t), later = rows_at(p, t + 1)
    cdef const floating *dy_row
    cdef floating *dh_row
    if dc != NULL:
        memset(dc + later * u, 0, (m - later) * u * sizeof(floating))
    if return_sequences:
        for i in range(later):
            dy_row, dh_row = dy + (row_of(p, i) * p.n_steps + t) * u, dh + i * u
            for j in range(u):
                dh_row[j] += dy_row[j]
        dy += t * u
    for i in range(later, m):
        memcpy(dh + i * u, dy + row_of(p, i) * (p.n_steps if return_sequences else 1) * u,
               u * sizeof(floating))
