"""The training loop: epochs of steps without the GIL, and the update, which adds the lanes and applies the rule."""
from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating
from libc.math cimport NAN, fabs, isfinite, sqrt
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.pool cimport Pool, task_t
from ldl_cy._engine.program cimport Workspace
from ldl_cy._engine.rng cimport ldl_key, shuffle
from ldl_cy._engine.run cimport SHARED_UPDATE, Run
from ldl_cy._engine.tasks cimport gradient_tile

from zlib import crc32

import numpy as np

from ldl_cy._engine.rng import PERMUTATION
from ldl_cy._engine.vec import check_rule

cdef extern from "vec/cpu.h" nogil:
    unsigned long long ldl_flush_denormals()
    void ldl_restore_denormals(unsigned long long)

# why a run ended
DONE, CONVERGED, NON_FINITE, STOPPED = range(4)
cdef enum:
    R_DONE, R_CONVERGED, R_NON_FINITE, R_STOPPED

cdef enum:
    CHUNK = 4096                            # numbers of theta in a task of the update

cdef enum:
    P_ADDED = -1                            # kinds of a piece: its gradient is in the lanes,
    P_WRITTEN = -2                          # whole in lane 0, or, from 0 on, is made by that node

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
    const Range *updated                    # (n_updated,), ascending; no other number of theta and the slots is touched
    int rule                                # its number, as in vec.RULES
    const double *coef                      # this step's row in the first set: see apply_range
    Py_ssize_t coef_stride                  # numbers from one set to the next
    double alpha                            # of this step: alpha / sum of weights
    double clip_norm
    double clip_scale
    bint share                              # among threads
    bint want_norms                         # squares and maximum of the gradient
    Py_ssize_t n_ranges
    const long long *ranges                 # (n_ranges, 2): where alpha and weight_decay act
    double *penalties                       # (n_pieces,) sums of theta^2
    double *squares                         # (n_pieces,) sums of g^2
    double *largest                         # (n_pieces,) max |g|


cdef inline void reduce_range(
    Update *u, Py_ssize_t piece, Py_ssize_t a, Py_ssize_t b,
    floating *g,                            # (b - a,)
) noexcept nogil:
    """g = sum of the lanes in order + alpha theta, and the norms of g that are needed, for theta[a:b]."""
    cdef Py_ssize_t i, low, high, lane
    cdef floating *theta = <floating*>u.theta
    if u.pieces[piece].kind == P_ADDED:
        for lane in range(1, u.run.n_lanes):
            vec.add(b - a, <const floating*>(u.run.grad + lane * u.run.lane_bytes) + a, g)
    if u.alpha != 0:
        for i in range(u.n_ranges):
            low, high = max(a, u.ranges[2 * i]), min(b, u.ranges[2 * i + 1])
            if low < high:
                u.penalties[piece] += vec.sum_squares(high - low, theta + low)
                vec.axpy(high - low, <floating>u.alpha, theta + low, g + low - a)
    if u.want_norms:
        u.squares[piece] += vec.sum_squares(b - a, g)
        u.largest[piece] = max(u.largest[piece], vec.max_abs(b - a, g))


cdef inline void apply_range(
    Update *u, Py_ssize_t piece, Py_ssize_t a, Py_ssize_t b,
    floating *g,                            # (b - a,)
    const double *coef,                     # (2 + n_coef,): what weight_decay takes off, the share of theta in its
                                            # average (the last slot; 0: there is none), the rule's row
) noexcept nogil:
    """Clip, decay, apply the rule to theta[a:b]; then the lanes are zeroed for the next step."""
    cdef Py_ssize_t i, low, high, lane
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
    if u.pieces[piece].kind == P_ADDED:
        for lane in range(u.run.n_lanes):
            memset(u.run.grad + lane * u.run.lane_bytes + a * sizeof(floating), 0, (b - a) * sizeof(floating))


cdef inline void update_piece(
    Update *u, Py_ssize_t piece, bint reduces, bint applies, int thread, const floating *tag) noexcept nogil:
    cdef const Piece *p = u.pieces + piece
    cdef const Range *r
    cdef Py_ssize_t a = p.low, b, i, low, high
    cdef floating *g = <floating*>u.run.grad + p.low
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


cdef void reduce_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    cdef Update *u = <Update*>context
    if u.run.itemsize == 4:
        update_piece[float](u, piece, True, False, thread, NULL)
    else:
        update_piece[double](u, piece, True, False, thread, NULL)


cdef void apply_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    cdef Update *u = <Update*>context
    if u.run.itemsize == 4:
        update_piece[float](u, piece, False, True, thread, NULL)
    else:
        update_piece[double](u, piece, False, True, thread, NULL)


cdef void both_task(void *context, Py_ssize_t piece, int thread) noexcept nogil:
    cdef Update *u = <Update*>context
    if u.run.itemsize == 4:
        update_piece[float](u, piece, True, True, thread, NULL)
    else:
        update_piece[double](u, piece, True, True, thread, NULL)


cdef double gradient_norm(Update *u) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(u.n_pieces):
        total += u.squares[i]
    return sqrt(total)


cdef inline void each_piece(task_t task, Update *u, Pool pool) noexcept nogil:
    cdef Py_ssize_t i
    if u.share:
        pool.parallel(task, u, u.n_pieces)
        return
    for i in range(u.n_pieces):
        task(u, i, 0)


cdef void update(Update *u, Pool pool) noexcept nogil:
    """One step of the rule."""
    cdef double norm
    u.clip_scale = 1
    if u.clip_norm <= 0:
        each_piece(both_task, u, pool)
        return
    # ||g|| must be known before g is scaled: two passes
    each_piece(reduce_task, u, pool)
    norm = gradient_norm(u)
    if norm > u.clip_norm:
        u.clip_scale = u.clip_norm / norm
    each_piece(apply_task, u, pool)


cdef bint finite_ranges(const Update *u, Py_ssize_t item) noexcept nogil:
    """Whether the updated numbers of theta are finite."""
    cdef Py_ssize_t i, n
    cdef const char *x
    for i in range(u.n_updated):
        x, n = u.theta + u.updated[i].low * item, u.updated[i].high - u.updated[i].low
        if not isfinite(vec.max_abs(n, <const float*>x) if item == 4 else vec.max_abs(n, <const double*>x)):
            return False
    return True


cdef void copy_ranges(
    const Update *u, Py_ssize_t item, Py_ssize_t rows, const char *source, Py_ssize_t source_stride, char *to,
    Py_ssize_t stride,
) noexcept nogil:
    """The updated ranges of vectors as long as theta; strides are numbers from one vector to the next."""
    cdef Py_ssize_t i, j, low, high
    for j in range(rows):
        for i in range(u.n_updated):
            low, high = u.updated[i].low, u.updated[i].high
            memcpy(to + (j * stride + low) * item, source + (j * source_stride + low) * item, (high - low) * item)


cdef size_t where(object array) except? 0:
    return 0 if array is None else array.ctypes.data


cdef int check_memory(int rule_id, Py_ssize_t n_slots, bint averages, object coef, object ranges, object updated,
                      Py_ssize_t n_params, Py_ssize_t steps) except -1:
    """Refuse settings and coefficients with which the update would read or write where it must not."""
    if n_slots < averages or coef.ndim != 3 or coef.shape[2] < 2 or coef.shape[1] not in (1, steps):
        raise ValueError("Rule: there must be a vector for the average, if there is one, and one row of coefficients "
                         f"or {steps}, got {n_slots} vectors and the shape {coef.shape}.")
    if not averages and coef[:, :, 1].any():
        raise ValueError("Rule: the share of the average must be 0 where there is none.")
    if ranges.ndim != 2 or ranges.shape[1] != 2 or (ranges.size and not 0 <= ranges.min() <= ranges.max() <= n_params):
        raise ValueError(f"Rule: ranges must be an (m, 2) array of ints in 0 .. {n_params}, got {ranges}.")
    edges = updated[:, :2].ravel() if updated.ndim == 2 and updated.shape[1] == 3 else None
    if edges is None or (edges.size and not (
            0 <= edges[0] and (np.diff(edges) >= 0).all() and edges[edges.size - 1] <= n_params
            and 0 <= updated[:, 2].min() <= updated[:, 2].max() < coef.shape[0])):
        raise ValueError(f"Rule: updated must be ascending ranges in 0 .. {n_params}, each with the number of one of "
                         f"{coef.shape[0]} sets of coefficients, got {updated}.")
    for one in coef:
        check_rule("Rule", rule_id, n_slots - averages, one[:, 2:])
    return 0


cdef object ranged_pieces(object found, object updated):
    """Pieces (low, high, kind, tile), each with the updated ranges that it has numbers of; none without such."""
    pieces = np.array(found, np.int64).reshape(-1, 4)
    first = np.searchsorted(updated[:, 1], pieces[:, 0], side="right")
    last = np.searchsorted(updated[:, 0], pieces[:, 1], side="left")
    return np.column_stack([pieces, first, last])[first < last]


def train(Workspace ws, theta, slots, state, X, targets, weights, loss, rule, coef, *,
          Py_ssize_t batch_size, Py_ssize_t epochs, order, bint reshuffle, seed, Py_ssize_t epoch, Py_ssize_t step,
          double[::1] losses, Pool pool, lengths=None, double before=NAN, counts=None, bint partial=False,
          updated=None, double[::1] carried=None):
    """Run up to ``epochs`` epochs and apply a rule after each batch.

    Parameters
    ----------
    ws : Workspace of a training plan with a loss
    theta : (n_params,); slots : (n_slots, n_params); state : (n_state,): changed in place; all may be part of longer
        vectors, the slots columns of a wider array
    X, targets, weights, lengths : checked data; weights and lengths may be None
    rule : Rule: rule_id, alpha, clip_norm, ranges, tol, by_loss, averages
    coef : (epochs * steps an epoch, 2 + n_coef), for each step what weight_decay takes off, the share of theta in its
        average (the last of the slots; 0: there is none) and the rule's row;
        one row alone serves all steps. Or several such sets, (n_sets, steps, 2 + n_coef)
    order : (n,) int64 or None, rows as they are visited; None: in their own order
    reshuffle : bool, draw ``order`` for each epoch from (seed, epoch)
    seed, epoch, step : where in the random streams this begins
    losses : (epochs,) receives each epoch's mean loss, penalty included
    before : the loss of the epoch before, NaN where there was none
    counts : TrainingState or None, to which epochs, steps and the loss of a rule that converges by it are added here: a
        signal's handler may raise as soon as this function has returned
    partial : bool, whether the data are part of an epoch, which the caller counts
    updated : (m, 3) int64 or None, ascending ranges low .. high of theta, each with its set of coefficients; None: all
        of theta, with the first set. No other number of theta and the slots is read or written by the update
    carried : (2,) or None, for one epoch in parts: the sums of the losses and of the weights of its earlier batches, to
        which those of these data are added

    Returns
    -------
    (epochs done, reason, largest gradient entry of the last step, an exception or None)

    After NON_FINITE and STOPPED theta, slots and state are those of the last complete epoch. A batch without weight is
    no step; after an epoch with one the run ends, since the rows of ``coef`` for later epochs are those of other steps.
    """
    cdef Run *run = &ws.run
    cdef Update u
    cdef Py_ssize_t n = X.shape[0], start, size, e, done = 0, steps = 0, whole = 0, n_slots = slots.shape[0]
    cdef Py_ssize_t item = run.itemsize, n_params = ws.n_params, n_state = state.shape[0]
    cdef int reason = R_DONE, failed
    cdef double total, weight, batch, penalty, epoch_weight, tol = rule.tol, alpha = rule.alpha, largest = 0
    cdef unsigned long long mode
    cdef unsigned long long key, seed_bits = <unsigned long long>(int(seed) & 0xFFFFFFFFFFFFFFFF)
    cdef int permutation = PERMUTATION
    coef = coef if coef.ndim == 3 else coef[None]
    cdef double[:, :, ::1] table = coef
    cdef bint row_changes = table.shape[1] > 1, by_loss = rule.by_loss, skipped = False
    cdef Py_ssize_t i
    cdef bint averages = rule.averages
    cdef int rule_id = rule.rule_id
    ranges = np.ascontiguousarray(rule.ranges, np.int64)
    updated = np.array([[0, n_params, 0]] if updated is None else updated, np.int64, order="C")
    check_memory(rule_id, n_slots, averages, coef, ranges, updated, n_params,
                 epochs * ((n + batch_size - 1) // batch_size))
    # a gradient's norm is known only when all of it was made
    cdef bint applies = rule.clip_norm <= 0
    pieces = ranged_pieces(ws.plan.pieces(CHUNK, applies), updated)
    made = applies and (pieces[:, 2] >= 0).any()
    sums = np.zeros((3, max(1, len(pieces))))
    backup = [np.empty(n_params, theta.dtype), np.empty((n_slots, n_params), theta.dtype), state.copy()]
    ws.bind_data(X, targets, weights, order, loss, lengths)
    ws.bind_memory(theta, state, min(n, batch_size))
    for low, high in ws.plan.added:
        ws.lanes[:, low:high] = 0
    memset(&u, 0, sizeof(Update))
    u.run, u.theta, u.slots = run, <char*>where(theta), <char*>where(slots)
    u.n_slots, u.slot_stride = n_slots - averages, slots.strides[0] // item if n_slots > 1 else n_params
    u.n_pieces, u.pieces = len(pieces), <const Piece*>where(pieces)
    u.n_updated, u.updated = len(updated), <const Range*>where(updated)
    u.coef_stride = table.shape[1] * table.shape[2]
    n_updated = int((updated[:, 1] - updated[:, 0]).sum())
    # theta and the lanes are long, or gradients are made by the update
    u.share = made or n_updated * (run.n_lanes + n_slots + 1) >= SHARED_UPDATE
    u.rule, u.clip_norm, u.want_norms = rule_id, rule.clip_norm, rule.clip_norm > 0 or (tol > 0 and not by_loss)
    u.n_ranges, u.ranges = len(ranges), <const long long*>where(ranges)
    u.penalties, u.squares, u.largest = <double*>where(sums[0]), <double*>where(sums[1]), <double*>where(sums[2])
    cdef char *saved_theta = <char*>where(backup[0])
    cdef char *saved_slots = <char*>where(backup[1])
    cdef char *saved_state = <char*>where(backup[2])
    cdef char *p_state = <char*>where(state)
    cdef long long *p_order = <long long*>where(order)
    run.training, run.seed, run.applies = 1, seed_bits, applies
    with nogil:
        mode = ldl_flush_denormals()
        for e in range(epochs):
            copy_ranges(&u, item, 1, u.theta, 0, saved_theta, 0)
            copy_ranges(&u, item, n_slots, u.slots, u.slot_stride, saved_slots, n_params)
            memcpy(saved_state, p_state, n_state * item)
            run.epoch = epoch + e
            if reshuffle:
                key = ldl_key(ldl_key(ldl_key(0, seed_bits), <unsigned long long>permutation), epoch + e)
                shuffle(key, n, p_order)
            total = epoch_weight = 0
            if carried is not None:
                total, epoch_weight = carried[0], carried[1]
            start = 0
            while start < n:
                size = min(batch_size, n - start)
                ws.set_batch(start, size)
                start += size
                run.step = step + steps
                weight = ws.batch_weight()
                run.loss_scale = 1 / weight if weight > 0 else 0
                if weight <= 0:             # every weight is 0: no step
                    skipped = True
                    continue
                u.coef = &table[0, steps if row_changes else 0, 0]
                failed = ws.run_step(pool)
                if failed:
                    reason = R_STOPPED
                    break
                batch = ws.batch_loss()
                if not isfinite(batch):
                    reason = R_NON_FINITE
                    break
                u.alpha = alpha / weight
                update(&u, pool)
                steps += 1
                if alpha != 0:
                    # the loss that is minimised: mean loss + alpha/2 sum theta^2 / sum w
                    penalty = 0
                    for i in range(u.n_pieces):
                        penalty += u.penalties[i]
                    batch += 0.5 * alpha * penalty
                total += batch
                epoch_weight += weight
            # the total: weights may be finite where their squares are not
            if reason == R_DONE and not (isfinite(total) and finite_ranges(&u, item)):
                reason = R_NON_FINITE
            if reason != R_DONE:
                copy_ranges(&u, item, 1, saved_theta, 0, u.theta, 0)
                copy_ranges(&u, item, n_slots, saved_slots, n_params, u.slots, u.slot_stride)
                memcpy(p_state, saved_state, n_state * item)
                break
            losses[e] = total / epoch_weight if epoch_weight > 0 else 0
            if carried is not None:
                carried[0], carried[1] = total, epoch_weight
            done, whole = done + 1, steps
            if tol > 0 and by_loss:
                # NaN compares as false
                if fabs(losses[e] - before) <= tol * max(fabs(losses[e]), fabs(before)):
                    reason = R_CONVERGED
                    break
                before = losses[e]
            elif tol > 0:
                largest = 0
                for i in range(u.n_pieces):
                    largest = max(largest, u.largest[i])
                if largest <= tol:
                    reason = R_CONVERGED
                    break
            if skipped:
                break
        ldl_restore_denormals(mode)
    if counts is not None:
        count(counts, whole, 0 if partial else done)
        if by_loss and done:
            counts.optimizer.scalars["loss"] = losses[done - 1]
    error = ws.take_error()
    if error is None:
        try:
            PyErr_CheckSignals()    # of the last 50 ms
        except BaseException as interrupt:
            error = interrupt
    return done, reason, largest, error


cdef int count(counts, Py_ssize_t steps, Py_ssize_t epochs) except -1:
    """``TrainingState.count``, which nothing interrupts."""
    optimizer = counts.optimizer
    counts.step, optimizer.steps = counts.step + steps, optimizer.steps + steps
    counts.epoch, optimizer.epochs = counts.epoch + epochs, optimizer.epochs + epochs
    return 0


cdef class SwappedAverage:
    """``with SwappedAverage(theta, optimizer):`` theta holds the steps' own weights inside, and their average outside.

    The other vector is the last of the slots. If theta was changed since the last swap, which its checksum shows,
    both start from the current theta. Compiled, since a signal's handler must not raise between two of its assignments.

    Parameters
    ----------
    theta : (n_params,) array
    optimizer : OptimizerState
    """
    cdef object theta, optimizer

    def __init__(self, theta, optimizer):
        self.theta, self.optimizer = theta, optimizer

    def __enter__(self):
        if self.optimizer.average_checksum == crc32(self.theta.data):
            self.swap()
        else:
            self.optimizer.slots[len(self.optimizer.slots) - 1] = self.theta
        self.optimizer.average_checksum = None

    def __exit__(self, *exc):
        if self.optimizer.steps:
            self.swap()
            self.optimizer.average_checksum = float(crc32(self.theta.data))

    cdef int swap(self) except -1:
        slots, before = self.optimizer.slots, self.theta.copy()
        self.theta[:] = slots[len(slots) - 1]
        slots[len(slots) - 1] = before
        return 0
