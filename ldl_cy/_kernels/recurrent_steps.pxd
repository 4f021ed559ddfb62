# The order in which a recurrent kernel works through steps and rows, and the copies in and out of it.
#
# Inside the kernel everything is time-major and packed: the rows of one step are contiguous, one step after the
# other in the order of processing. With lengths the rows are sorted, longest first, so that those still running
# at step t are the first rows_at(t) of them: the batch shrinks, and there are no steps past a row's end.
# Direction, lengths and order matter in these copies, nowhere else.
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine.op cimport Call

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


cdef inline Steps plan(Py_ssize_t n_steps, bint go_backwards, const Call *call, int *ints) noexcept nogil:
    """The order of work. ints: n + size_of_plan(n_steps) of them, used with lengths only."""
    cdef Steps p
    cdef Py_ssize_t i, t
    cdef int *cursors
    p.n, p.n_steps, p.go_backwards, p.lengths = call.n, n_steps, go_backwards, call.lengths
    p.longest, p.total, p.rows, p.counts = n_steps, call.n * n_steps, NULL, NULL
    if call.lengths == NULL:
        return p
    p.counts, cursors, p.rows = ints, ints + n_steps + 1, ints + 2 * (n_steps + 1)
    # a counting sort: rows of length t, then by sums from the end those longer than t, which is
    # also the place of the first row of length t
    memset(cursors, 0, (n_steps + 1) * sizeof(int))
    for i in range(p.n):
        cursors[p.lengths[i]] += 1
    p.counts[n_steps] = 0
    p.total = 0
    for t in range(n_steps - 1, -1, -1):
        p.counts[t] = p.counts[t + 1] + cursors[t + 1]
        p.total += p.counts[t]
    memcpy(cursors, p.counts, (n_steps + 1) * sizeof(int))
    for i in range(p.n):
        p.rows[cursors[p.lengths[i]]] = <int>i
        cursors[p.lengths[i]] += 1
    while p.longest > 0 and p.counts[p.longest - 1] == 0:
        p.longest -= 1
    return p


cdef inline Py_ssize_t rows_at(const Steps *p, Py_ssize_t t) noexcept nogil:
    """The number of rows that have a step t, which are the first places."""
    if p.counts != NULL:
        return p.counts[t]
    return p.n if t < p.n_steps else 0


cdef inline Py_ssize_t rows_of(const Steps *p, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    """Rows of the steps t0 to t1 - 1 together."""
    cdef Py_ssize_t t, total = 0
    if p.counts == NULL:
        return (t1 - t0) * p.n
    for t in range(t0, t1):
        total += p.counts[t]
    return total


cdef inline Py_ssize_t row_of(const Steps *p, Py_ssize_t place) noexcept nogil:
    return p.rows[place] if p.rows != NULL else place


cdef inline Py_ssize_t length_of(const Steps *p, Py_ssize_t row) noexcept nogil:
    return p.lengths[row] if p.lengths != NULL else p.n_steps


cdef inline void copy_in(
    const Call *call, const Steps *p, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t d,
    const floating *x,          # (n, n_steps, d), or its rows anywhere: call.order
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


cdef inline void clear_output(
    const Steps *p, Py_ssize_t u, bint return_sequences,
    floating *y,                # (n, n_steps, u) or (n, u)
) noexcept nogil:
    """Zeros where no step writes: past the end of a row, and for a row without steps."""
    cdef Py_ssize_t i
    if return_sequences:
        clear_tails(p, u, y)
    else:
        for i in range(rows_at(p, 0), p.n):
            memset(y + row_of(p, i) * u, 0, u * sizeof(floating))


cdef inline void copy_out(
    const Steps *p, Py_ssize_t t, Py_ssize_t u, bint return_sequences,
    const floating *h,          # (rows_at(t), u)
    floating *y,                # (n, n_steps, u), or (n, u): only of rows that end with step t
) noexcept nogil:
    cdef Py_ssize_t i, row, first = 0 if return_sequences else rows_at(p, t + 1)
    for i in range(first, rows_at(p, t)):
        row = row_of(p, i)
        memcpy(y + (row * p.n_steps + t if return_sequences else row) * u, h + i * u, u * sizeof(floating))


cdef inline void add_output_gradient(
    const Steps *p, Py_ssize_t t, Py_ssize_t u, bint return_sequences,
    const floating *dy,         # (n, n_steps, u) or (n, u)
    floating *dh,               # (rows_at(t), u): the gradient from step t + 1 on entry; dy is added
    floating *dc,               # (rows_at(t), u) likewise, or NULL
) noexcept nogil:
    """What enters step t of the backward pass: rows that end with it start at 0."""
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
