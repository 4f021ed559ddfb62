"""The training loop: epochs of steps without the GIL, each followed by the update."""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport NAN, fabs, isfinite
from libc.string cimport memcpy, memset

from ldl_cy._engine.version cimport VersionCounter
from ldl_cy._engine.collectives cimport Exchange
from ldl_cy._engine.pool cimport Pool
from ldl_cy._engine.program cimport Workspace
from ldl_cy._engine.rng cimport ldl_key, shuffle
from ldl_cy._engine.run cimport SHARED_UPDATE, Run
from ldl_cy._engine.update cimport (
    CHUNK, Piece, Range, Update, add_task, apply_task, both_task, clip_scale, copy_ranges, each_piece, finite_ranges,
    reduce_task, update, zero_task)

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

cdef enum:                                  # what is sent in a step
    GRADIENT, SUMS, THETA


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
          updated=None, double[::1] carried=None, Exchange exchange=None):
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
    exchange : Exchange or None, for one epoch of several processes: ``order`` then has this one's rows of all steps

    Returns
    -------
    (epochs done, reason, largest gradient entry of the last step, an exception or None)

    After NON_FINITE and STOPPED theta, slots and state are those of the last complete epoch. A batch without weight is
    no step; after an epoch with one the run ends, since the rows of ``coef`` for later epochs are those of other steps.
    """
    cdef Run *run = &ws.run
    cdef Update u, part
    cdef Py_ssize_t n = X.shape[0], start, size, e, t, done = 0, steps = 0, whole = 0, n_slots = slots.shape[0]
    cdef Py_ssize_t n_steps = exchange.weights.shape[0] if exchange is not None else (n + batch_size - 1) // batch_size
    cdef Py_ssize_t item = run.itemsize, n_params = ws.n_params, n_state = state.shape[0]
    cdef int reason = R_DONE, failed
    cdef double total, weight, batch, penalty, epoch_weight, tol = rule.tol, alpha = rule.alpha, largest = 0
    cdef unsigned long long mode
    cdef unsigned long long key, seed_bits = <unsigned long long>(int(seed) & 0xFFFFFFFFFFFFFFFF)
    cdef int permutation = PERMUTATION
    coef = coef if coef.ndim == 3 else coef[None]
    cdef double[:, :, ::1] table = coef
    cdef bint row_changes = table.shape[1] > 1, by_loss = rule.by_loss, skipped = False
    cdef Py_ssize_t i, first
    cdef bint averages = rule.averages
    cdef int rule_id = rule.rule_id
    ranges = np.ascontiguousarray(rule.ranges, np.int64)
    updated = np.array([[0, n_params, 0]] if updated is None else updated, np.int64, order="C")
    check_memory(rule_id, n_slots, averages, coef, ranges, updated, n_params, epochs * n_steps)
    # a gradient's norm is known only when all of it was made
    cdef bint applies = rule.clip_norm <= 0
    pieces = ranged_pieces(ws.plan.pieces(CHUNK, applies), updated)
    made = applies and (pieces[:, 2] >= 0).any()
    sums = np.zeros((3, max(1, len(pieces))))
    backup = [np.empty(n_params, theta.dtype), np.empty((n_slots, n_params), theta.dtype), state.copy()]
    ws.bind_data(X, targets, weights, order, loss, lengths)
    ws.bind_memory(theta, state, min(n, batch_size) if exchange is None else exchange.most_rows)
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
    added = ws.added if exchange is None else exchange.own_added
    u.sums, u.sums_bytes, u.n_added, u.added = run.grad, run.lane_bytes, len(added), <const long long*>where(added)
    if exchange is not None:
        exchange.begin(ws.lanes, theta, slots, pieces, sums, run.blocks_per_lane)
        part, first = u, exchange.first_piece
        part.pieces, part.n_pieces, part.keeps = u.pieces + first, exchange.last_piece - first, True
        part.penalties, part.squares, part.largest = u.penalties + first, u.squares + first, u.largest + first
        part.sums = <char*>where(exchange.received) - exchange.first_number * item
        part.sums_bytes, part.n_added = exchange.received.strides[0], len(exchange.added)
        part.added = <const long long*>where(exchange.added)
    cdef char *saved_theta = <char*>where(backup[0])
    cdef char *saved_slots = <char*>where(backup[1])
    cdef char *saved_state = <char*>where(backup[2])
    cdef char *p_state = <char*>where(state)
    cdef long long *p_order = <long long*>where(order)
    if exchange is not None:
        # from here to the end of the steps no function in Python runs, where a signal's handler could raise
        if not exchange.collectives.agree():
            return 0, R_STOPPED, 0.0, None
        ws.exchange, run.cut = exchange, &exchange.cuts[0, 0]
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
            for t in range(n_steps):
                if exchange is None:
                    size = min(batch_size, n - start)
                    ws.set_batch(start, size)
                    start += size
                    weight = ws.batch_weight()
                else:
                    ws.set_shards(exchange, t)
                    weight = exchange.weights[t]
                run.step = step + steps
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
                if exchange is None:
                    update(&u, pool)
                elif update_part(ws, exchange, &u, &part, pool, tol > 0 or alpha != 0):
                    reason = R_STOPPED
                    break
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
    run.cut, run.row_offset, ws.exchange = NULL, 0, None
    if exchange is not None and done:
        exchange.gather_slots()
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


cdef int send(Workspace ws, Exchange exchange, int what) noexcept nogil:
    """The messages of one kind; 1 if they failed, with an exception that is kept."""
    with gil:
        try:
            if what == GRADIENT:
                exchange.gradient()
            elif what == SUMS:
                exchange.gather_sums()
            else:
                exchange.gather_theta()
            return 0
        except BaseException as error:
            ws.keep_error(error)
            return 1


cdef int update_part(
    Workspace ws, Exchange exchange, Update *u, Update *part, Pool pool, bint wants_sums) noexcept nogil:
    """The update of this process's part of theta, by the sum of all gradients, and then all of theta; 1 if it failed.

    Parameters
    ----------
    u : for all pieces, and this process's lanes
    part : for its own pieces, and the nodes of all processes
    wants_sums : whether all processes need the sums of all pieces
    """
    each_piece(add_task, u, pool)                   # lanes to complete nodes
    if send(ws, exchange, GRADIENT):
        return 1
    each_piece(zero_task, u, pool)
    part.coef, part.alpha, part.clip_scale = u.coef, u.alpha, 1
    each_piece(both_task if u.clip_norm <= 0 else reduce_task, part, pool)
    if (u.clip_norm > 0 or wants_sums) and send(ws, exchange, SUMS):
        return 1
    if u.clip_norm > 0:
        part.clip_scale = clip_scale(u)
        each_piece(apply_task, part, pool)
    return send(ws, exchange, THETA)


cdef int count(counts, Py_ssize_t steps, Py_ssize_t epochs) except -1:
    """``TrainingState.count``, which nothing interrupts."""
    optimizer = counts.optimizer
    counts.step, optimizer.steps = counts.step + steps, optimizer.steps + steps
    counts.epoch, optimizer.epochs = counts.epoch + epochs, optimizer.epochs + epochs
    return 0


cdef class SwappedAverage:
    """In a ``with`` statement: theta holds the steps' own weights inside, and their average outside.

    The other vector is the last of the slots. If theta was changed since the last swap, which its checksum shows,
    both start from the current theta. Compiled, since a signal's handler must not raise between two of its assignments.

    Parameters
    ----------
    theta : (n_params,) array
    version : VersionCounter of it
    optimizer : OptimizerState
    """
    cdef object theta, optimizer
    cdef VersionCounter version

    def __init__(self, theta, VersionCounter version, optimizer):
        self.theta, self.version, self.optimizer = theta, version, optimizer

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
        self.version.begin()
        try:
            self.theta[:] = slots[len(slots) - 1]
        finally:
            self.version.end()
        slots[len(slots) - 1] = before
        return 0
