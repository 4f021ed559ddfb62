"""The update: the accumulators of the gradient are added as a binary tree, then the rule is applied, piece by piece."""
from cython cimport floating
from libc.math cimport isfinite, sqrt
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.pool cimport Pool, task_t
from ldl_cy._engine.run cimport Run
from ldl_cy._engine.tasks cimport gradient_tile

cdef enum:
    CHUNK = 4096                            # numbers of theta in a task of the update

cdef enum:
    P_ADDED = -1                            # kinds of a piece: its gradient is in all lanes, to be added,
    P_WRITTEN = -2                          # or whole in lane 0; from 0 on, it is made by that node

ctypedef struct Piece:                      # of theta, in one task of the update
    long long low
    long long high
    long long kind
    long long tile                          # of the node's gradient
    long long first                         # the updated ranges that it has numbers of
    long long last

ctypedef struct Range:                      # of theta, updated with a set of coefficients of its own
    long long low
    long long high
    long long coef_set

ctypedef struct Update:
    Run *run
    char *theta
    char *slots                             # (n_slots, n_params), the rule's, then the average if there is one
    Py_ssize_t slot_stride                  # numbers from one slot to the next
    Py_ssize_t n_slots, n_pieces, n_updated
    const Piece *pieces
    # accumulator i of theta[a] is at sums + i sums_bytes + a itemsize; their sum is left in the first
    char *sums
    Py_ssize_t sums_bytes
    Py_ssize_t n_added
    const long long *added                  # (n_added, 2): accumulator i += accumulator j, in this order
    const Range *updated                    # (n_updated,), ascending; no other number of theta and the slots is touched
    int rule                                # its number, as in vec.RULES
    const double *coef                      # this step's row in the first set: see apply_range
    Py_ssize_t coef_stride                  # numbers from one set to the next
    double alpha                            # of this step: alpha / sum of weights
    double clip_norm
    double clip_scale
    bint share                              # among threads
    bint want_norms                         # squares and maximum of the gradient
    bint keeps                              # the lanes are zeroed elsewhere
    Py_ssize_t n_ranges
    const long long *ranges                 # (n_ranges, 2): where alpha and weight_decay act
    double *penalties                       # (n_pieces,) sums of theta^2
    double *squares                         # (n_pieces,) sums of g^2
    double *largest                         # (n_pieces,) max |g|


cdef inline void add_range(Update *u, Py_ssize_t a, Py_ssize_t b, const floating *tag) noexcept nogil:
    """The sum of the accumulators of theta[a:b], in the order of ``added``."""
    cdef Py_ssize_t i
    for i in range(u.n_added):
        vec.add(b - a, <const floating*>(u.sums + u.added[2 * i + 1] * u.sums_bytes) + a,
                <floating*>(u.sums + u.added[2 * i] * u.sums_bytes) + a)


cdef inline void reduce_range(
    Update *u, Py_ssize_t piece, Py_ssize_t a, Py_ssize_t b,
    floating *g,                            # (b - a,)
) noexcept nogil:
    """g = sum of the accumulators + alpha theta, and the norms of g that are needed, for theta[a:b]."""
    cdef Py_ssize_t i, low, high
    cdef floating *theta = <floating*>u.theta
    if u.n_added and u.pieces[piece].kind == P_ADDED:
        add_range(u, a, b, <const floating*>NULL)
    if u.alpha != 0:
        for i in range(u.n_ranges):
            low, high = max(a, u.ranges[2 * i]), min(b, u.ranges[2 * i + 1])
            if low < high:
                u.penalties[piece] += vec.sum_squares(high - low, theta + low)
                vec.axpy(high - low, <floating>u.alpha, theta + low, g + low - a)
    if u.want_norms:
        u.squares[piece] += vec.sum_squares(b - a, g)
        u.largest[piece] = max(u.largest[piece], vec.max_abs(b - a, g))


cdef inline void zero_lanes(Run *run, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The lanes of theta[a:b], for the next step."""
    cdef Py_ssize_t lane
    for lane in range(run.n_lanes):
        memset(run.grad + lane * run.lane_bytes + a * run.itemsize, 0, (b - a) * run.itemsize)


cdef inline void apply_range(
    Update *u, Py_ssize_t piece, Py_ssize_t a, Py_ssize_t b,
    floating *g,                            # (b - a,)
    const double *coef,                     # (2 + n_coef,): what weight_decay takes off, the share of theta in its
                                            # average (the last slot; 0: there is none), the rule's row
) noexcept nogil:
    """Clip, decay, apply the rule to theta[a:b]; then the lanes are zeroed for the next step, unless ``keeps``."""
    cdef Py_ssize_t i, low, high
    cdef floating *theta = <floating*>u.theta
    cdef floating *slots = <floating*>u.slots + a if u.n_slots > 0 else NULL
    if u.clip_scale != 1:
        vec.scale(b - a, <floating>u.clip_scale, g)
    if coef[0] != 0:
        for i in range(u.n_ranges):
            low, high = max(a, u.ranges[2 * i]), min(b, u.ranges[2 * i + 1])
            if low < high:
                vec.scale(high - low, <floating>(1 - coef[0]), theta + low)
    vec.update(u.rule, b - a, theta + a, g, slots, u.slot_stride, coef + 2)
    if coef[1] != 0:
        # average += c (theta - average)
        slots = <floating*>u.slots + u.n_slots * u.slot_stride + a
        vec.scale(b - a, <floating>(1 - coef[1]), slots)
        vec.axpy(b - a, <floating>coef[1], theta + a, slots)
    if u.pieces[piece].kind == P_ADDED and not u.keeps:
        zero_lanes(u.run, a, b)


cdef inline void update_piece(
    Update *u, Py_ssize_t piece, bint reduces, bint applies, int thread, const floating *tag) noexcept nogil:
    """A piece's gradient is added, if it ``reduces``, and the rule applied to it, if it ``applies``."""
    cdef const Piece *p = u.pieces + piece
    cdef const Range *r
    cdef Py_ssize_t a = p.low, b, i, low, high
    cdef floating *g = (<floating*>u.sums if p.kind == P_ADDED else <floating*>u.run.grad) + p.low
    if p.kind >= 0:
        # a tile of gradient over all rows: used while it is in the cache
        g = <floating*>(u.run.scratch + thread * u.run.scratch_bytes + u.run.tile_place)
        gradient_tile(u.run, u.run.nodes + p.kind, p.tile, <char*>g, thread)
    if reduces:
        u.penalties[piece] = u.squares[piece] = u.largest[piece] = 0
    while a < p.high:
        b = min(a + CHUNK, p.high)
        for i in range(p.first, p.last):
            r = u.updated + i
            low, high = max(a, r.low), min(b, r.high)
            if low >= high:
                continue
            if reduces:
                reduce_range(u, piece, low, high, g + low - p.low)
            if applies:
                apply_range(u, piece, low, high, g + low - p.low, u.coef + r.coef_set * u.coef_stride)
        a = b


cdef inline void update_in_dtype(
    void *context, Py_ssize_t piece, bint reduces, bint applies, int thread) noexcept nogil:
    cdef Update *u = <Update*>context
    if u.run.itemsize == 4:
        update_piece[float](u, piece, reduces, applies, thread, NULL)
    else:
        update_piece[double](u, piece, reduces, applies, thread, NULL)


cdef inline void reduce_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    update_in_dtype(context, piece, True, False, thread)


cdef inline void apply_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    update_in_dtype(context, piece, False, True, thread)


cdef inline void both_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    update_in_dtype(context, piece, True, True, thread)


cdef inline void add_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    """The sums alone, of all numbers of a piece."""
    cdef Update *u = <Update*>context
    if u.run.itemsize == 4:
        add_range[float](u, u.pieces[piece].low, u.pieces[piece].high, NULL)
    else:
        add_range[double](u, u.pieces[piece].low, u.pieces[piece].high, NULL)


cdef inline void zero_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    cdef Update *u = <Update*>context
    zero_lanes(u.run, u.pieces[piece].low, u.pieces[piece].high)


cdef inline double clip_scale(const Update *u) noexcept nogil:
    """The factor of a gradient whose norm exceeds ``clip_norm``; else 1."""
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(u.n_pieces):
        total += u.squares[i]
    return u.clip_norm / sqrt(total) if sqrt(total) > u.clip_norm else 1


cdef inline void each_piece(task_t task, Update *u, Pool pool) noexcept nogil:
    cdef Py_ssize_t i
    if u.share:
        pool.parallel(task, u, u.n_pieces)
        return
    for i in range(u.n_pieces):
        task(u, i, 0)


cdef inline void update(Update *u, Pool pool) noexcept nogil:
    """One step of the rule."""
    u.clip_scale = 1
    if u.clip_norm <= 0:
        each_piece(both_task, u, pool)
        return
    # ||g|| must be known before g is scaled: two passes
    each_piece(reduce_task, u, pool)
    u.clip_scale = clip_scale(u)
    each_piece(apply_task, u, pool)


cdef inline bint finite_ranges(const Update *u, Py_ssize_t item) noexcept nogil:
    """Whether the updated numbers of theta are finite."""
    cdef Py_ssize_t i, n
    cdef const char *x
    for i in range(u.n_updated):
        x, n = u.theta + u.updated[i].low * item, u.updated[i].high - u.updated[i].low
        if not isfinite(vec.max_abs(n, <const float*>x) if item == 4 else vec.max_abs(n, <const double*>x)):
            return False
    return True


cdef inline void copy_ranges(
    const Update *u, Py_ssize_t item, Py_ssize_t rows, const char *source, Py_ssize_t source_stride, char *to,
    Py_ssize_t stride,
) noexcept nogil:
    """The updated ranges of vectors as long as theta; strides are numbers from one vector to the next."""
    cdef Py_ssize_t i, j, low, high
    for j in range(rows):
        for i in range(u.n_updated):
            low, high = u.updated[i].low, u.updated[i].high
            memcpy(to + (j * stride + low) * item, source + (j * source_stride + low) * item, (high - low) * item)
