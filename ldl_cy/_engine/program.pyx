"""Runs a plan: memory for its buffers, and its phases over a batch, on one thread or several."""
from cpython.exc cimport PyErr_CheckSignals
from libc.string cimport memset

from ldl_cy._engine.blocks cimport make_call
from ldl_cy._engine.collectives cimport Exchange
from ldl_cy._engine.loss cimport LossKernel
from ldl_cy._engine.op cimport Call
from ldl_cy._engine.pointer cimport pointer
from ldl_cy._engine.pool cimport Pool
from ldl_cy._engine.prepare cimport prepare_all, prepares
from ldl_cy._engine.run cimport REDUCE, REDUCE_BACK, Action, Instruction, Phase, Place, Run
from ldl_cy._engine.tables cimport free_tables, make_tables
from ldl_cy._engine.tasks cimport (ceil_div, column_task, gather_task_f32, gather_task_f64, gradient_task, row_task_f32,
                                   row_task_f64)
from ldl_cy._engine.version cimport VersionCounter

import numpy as np

from ldl_cy._engine.aligned import aligned, lines
from ldl_cy._engine.sparse import SparseRows
from ldl_cy._engine.tree import tree_additions

cdef extern from "platform.h" nogil:
    double ldl_seconds()

cdef extern from "vec/cpu.h" nogil:
    unsigned long long ldl_flush_denormals()
    void ldl_restore_denormals(unsigned long long)

cdef double POLL_SECONDS = 0.05             # how often the calling thread looks for Ctrl-C
SHARED_FLOPS = 2e6                          # a phase with less work is not shared among threads,
cdef double FORK_SHARE = 0.5                # nor are branches that save less than this part of it


cdef void look_for_signals(void *running) noexcept nogil:
    """Ctrl-C in the main thread: keep the exception, raise the stop flag."""
    cdef Run *run = <Run*>running
    if ldl_seconds() < run.next_poll:
        return
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<Workspace>run.owner).error = error
            run.stop = 1
    run.next_poll = ldl_seconds() + POLL_SECONDS


cdef void keep_error(void *workspace, object error) noexcept:
    """An exception in a loss written in Python ends the step like Ctrl-C."""
    (<Workspace>workspace).error = error
    (<Workspace>workspace).run.stop = 1


cdef void combine(Run *run, Instruction *s, bint forward) noexcept nogil:
    cdef double *total = run.totals + s.partial
    cdef Py_ssize_t i, j
    cdef Call call
    if forward and s.op.combine != NULL:
        make_call(run, &call, 0, run.n)
        s.op.combine(&s.op, &call, run.n_blocks, run.partials, total, run.state + s.state)
        return
    for j in range(s.op.n_partial):
        total[j] = 0
    for i in range(run.n_blocks):
        for j in range(s.op.n_partial):
            total[j] += run.partials[i * s.op.n_partial + j]


cdef class Workspace:
    """Memory and tables for one plan. Used by one call at a time.

    Parameters
    ----------
    plan : Plan
    n_threads : int
        Threads that may work at a time; the result does not depend on it.
    lanes : pair of ints, default=None
        The first of the plan's lanes that this process has, and their number; None is all.
    """

    def __cinit__(self):
        memset(&self.run, 0, sizeof(Run))

    def __dealloc__(self):
        free_tables(&self.run)

    def __init__(self, plan, int n_threads=1, lanes=None):
        cdef Run *run = &self.run
        graph = plan.graph
        self.plan, self.dtype, self.n_threads = plan, graph.dtype, n_threads
        self.n_params, self.share_above = graph.n_params, SHARED_FLOPS
        self.y_size = graph.sizes[plan.output]
        self.memory, self.error = [], None
        run.owner, run.look = <void*>self, look_for_signals
        run.itemsize = 4 if self.dtype == "float32" else 8
        single = self.dtype == "float32"
        self.row_task = row_task_f32 if single else row_task_f64
        self.column_task, self.gradient_task = column_task, gradient_task
        run.n_values, run.output = len(graph.sizes), plan.output
        run.block_rows = plan.block_rows
        run.first_lane, run.n_lanes = (0, plan.lanes) if lanes is None else lanes
        run.backward = plan.training
        run.x_size, run.t_size = graph.sizes[0], plan.target_size
        run.x_steps, run.out_steps = graph.steps[0], graph.steps[len(graph.steps) - 1]
        self.kernels = [p.node.kernel for p in plan.nodes]
        self.calls_python = any([k is not None and k.calls_python for k in self.kernels])
        self.axes = [np.array(p.node.axes, np.intp) for p in plan.nodes]
        make_tables(run, plan, self.axes)
        self.flops = sum([run.phases[i].flops for i in range(run.n_phases)])
        self._memory(plan, n_threads)

    def _memory(self, plan, n_threads):
        cdef Run *run = &self.run
        cdef Py_ssize_t i, item = run.itemsize
        # counted in Python's integers, which do not overflow; what could be allocated fits into C's
        arena = lines(plan.arena)
        scratch, tile = plan.scratch()
        tile_place, scratch = scratch, lines(scratch + tile)
        if plan.limited and plan.held_rows <= plan.block_rows and not plan.training and not plan.forks:
            n_threads = 1                           # one block is one task
        # inference reads targets and weights in place
        gathered = lines(plan.block_rows * (plan.target_size + 2) if plan.training else 0)
        arenas = aligned(arena * n_threads, self.dtype)
        whole = aligned(plan.whole * plan.held_rows, self.dtype)
        scratches = aligned(scratch * n_threads, self.dtype)
        gathereds = aligned(gathered * n_threads, self.dtype)
        derived = aligned(max(1, plan.n_derived), self.dtype)
        run.tile_place = tile_place * item
        self.n_blocks_max = ceil_div(max(1, plan.capacity), plan.block_rows)
        run.blocks_per_lane = ceil_div(self.n_blocks_max, max(1, plan.lanes)) if plan.training else 1
        if plan.training:
            self.n_blocks_max = plan.lanes * run.blocks_per_lane
        most = max([k.n_partial for k in self.kernels if k is not None], default=0)
        partials = aligned(max(1, self.n_blocks_max * most), "float64")
        totals = aligned(max(1, plan.n_partial), "float64")
        self.losses = np.zeros(self.n_blocks_max)
        kept = None
        run.theta_bytes = plan.graph.n_params * item
        if not plan.training and any([prepares(run, run.nodes + i) for i in range(run.n_nodes)]):
            kept = aligned(plan.graph.n_params + plan.graph.n_state, self.dtype)
            run.kept = <char*>pointer(kept)
        self.memory = [arenas, whole, scratches, gathereds, derived, partials, totals, kept]
        for i, buffer in enumerate(plan.buffers):
            if buffer.offset < 0:
                continue
            if buffer.whole:
                run.places[i].base = <char*>pointer(whole) + <Py_ssize_t>(buffer.offset * plan.held_rows) * item
                run.places[i].row_bytes = buffer.size * item
            else:
                run.places[i].base = <char*>pointer(arenas) + <Py_ssize_t>buffer.offset * item
                run.places[i].thread_bytes = arena * item
        run.scratch, run.scratch_bytes = <char*>pointer(scratches), scratch * item
        run.gathered, run.gathered_bytes = <char*>pointer(gathereds), gathered * item
        self.input_place = run.places[0]
        run.derived = <char*>pointer(derived)
        run.partials, run.totals = <double*>pointer(partials), <double*>pointer(totals)
        run.block_loss = <double*>pointer(self.losses)
        if plan.training:
            lane = lines(plan.graph.n_params)
            grad = aligned(lane * run.n_lanes, self.dtype)
            self.lanes = grad.reshape(run.n_lanes, lane)
            self.added = np.array(tree_additions(run.n_lanes), np.int64).reshape(-1, 2)
            run.grad, run.lane_bytes = <char*>pointer(grad), lane * item

    cdef int bind_data(self, object X, object targets, object weights, object order, object loss,
                       object lengths) except -1:
        """Point at data that were checked before: X (n, x_size) whose rows are contiguous."""
        cdef Run *run = &self.run
        kind = {"f": 0, "d": 1, "B": 2}[X.dtype.char]
        if isinstance(X, SparseRows):
            self.set_data(<const char*>pointer(X.data), kind, 0)
            run.indptr, run.indices = <const long long*>pointer(X.indptr), <const char*>pointer(X.indices)
            run.wide, run.gather = X.indices.itemsize == 8, 1
        else:
            self.set_data(<const char*>pointer(X), kind,
                          X.strides[0] if X.shape[0] > 1 else run.x_size * X.dtype.itemsize)
        run.targets, run.weights = <const char*>pointer(targets), <const char*>pointer(weights)
        run.order, run.lengths = <const long long*>pointer(order), <const int*>pointer(lengths)
        if loss is not None:
            # the kernel may serve several workspaces at a time, an exception belongs to one
            self.loss = (<LossKernel>loss).loss
            self.loss.owner, self.loss.fail = <void*>self, keep_error
            run.loss = &self.loss
        # tails are zeroed, so rows of several lengths are read from a copy
        copied = run.gather and kind != (0 if run.itemsize == 4 else 1)
        run.direct = (run.gathers and order is not None and not copied and run.indptr == NULL
                      and run.x_stride % run.itemsize == 0)
        run.gather = run.gather or order is not None or lengths is not None
        return 0

    cdef void set_data(self, const char *X, int kind, Py_ssize_t stride) noexcept nogil:
        """Rows of X in their order, without targets; read in place where dtype and strides are the network's."""
        cdef Run *run = &self.run
        run.X, run.x_kind, run.x_stride = X, kind, stride
        run.targets, run.weights, run.order, run.lengths, run.loss = NULL, NULL, NULL, NULL, NULL
        run.indptr = NULL
        run.gather = kind != (0 if run.itemsize == 4 else 1) or stride != run.x_size * run.itemsize
        run.direct = 0
        run.places[0] = self.input_place

    cdef int bind_memory(self, object theta, object state, Py_ssize_t n) except -1:
        cdef Run *run = &self.run
        run.theta, run.state = <const char*>pointer(theta), <char*>pointer(state)
        run.stop, run.next_poll, self.error = 0, 0, None
        if n > self.plan.held_rows and self.plan.limited:
            raise ValueError(f"Workspace: planned for {self.plan.held_rows} rows, got {n}.")
        n_blocks = ceil_div(max(1, n), run.block_rows)
        if n_blocks > self.n_blocks_max:
            # inference over more rows than planned: only the blocks' losses grow with them
            self.losses = np.zeros(n_blocks)
            run.block_loss, self.n_blocks_max = <double*>pointer(self.losses), n_blocks
        return 0

    cdef void set_batch(self, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
        cdef Run *run = &self.run
        run.start, run.n = start, n
        run.n_blocks = ceil_div(n, run.block_rows)
        if not run.gather:
            # rows are read in place
            run.places[0].base = <char*>run.X + start * run.x_stride
            run.places[0].row_bytes, run.places[0].thread_bytes = run.x_stride, 0

    cdef void set_shards(self, Exchange exchange, Py_ssize_t step) noexcept nogil:
        """This process's rows of a step's batch, from the order of rows."""
        cdef Run *run = &self.run
        run.start = 0 if step == 0 else run.start + run.n
        run.cut, run.n = &exchange.cuts[step, 0], exchange.cuts[step, run.n_lanes]
        run.row_offset, run.n_blocks = exchange.offsets[step], exchange.shards * run.blocks_per_lane

    cdef void clear_partials(self, const Phase *phase) noexcept nogil:
        """Zeros for the blocks that a process's lanes do not have, if the phase ends with partial sums."""
        cdef const Action *last = self.run.actions + phase.last - 1
        if last.kind == REDUCE or last.kind == REDUCE_BACK:
            memset(self.run.partials, 0,
                   self.run.n_blocks * self.run.nodes[last.node].op.n_partial * sizeof(double))

    cdef int exchange_blocks(self, double *values, Py_ssize_t width) noexcept nogil:
        """Receive the sums of the other processes' blocks, values (n_blocks, width); whether one of all has failed."""
        cdef bint failed = True
        with gil:
            try:
                failed = self.exchange.blocks(values, width, self.run.stop)
            except BaseException as error:
                self.error = error
        self.run.stop = failed
        return failed

    cdef double batch_weight(self) noexcept nogil:
        """Sum of the batch's weights."""
        cdef Run *run = &self.run
        cdef Py_ssize_t i, row
        cdef double total = 0
        if run.weights == NULL:
            return run.n
        for i in range(run.start, run.start + run.n):
            row = i if run.order == NULL else run.order[i]
            total += (<const float*>run.weights)[row] if run.itemsize == 4 else (
                <const double*>run.weights)[row]
        return total

    cdef double batch_loss(self) noexcept nogil:
        """sum_i w_i l_i over the batch, blocks in order."""
        cdef Py_ssize_t block
        cdef double total = 0
        for block in range(self.run.n_blocks):
            total += self.run.block_loss[block]
        return total

    cdef int run_alone(self, Pool pool) noexcept nogil:
        """A step outside training. Denormals are flushed on the calling thread as they are on workers."""
        cdef unsigned long long mode = ldl_flush_denormals()
        cdef int stopped = self.run_step(pool)
        ldl_restore_denormals(mode)
        return stopped

    cdef void keep_forked(self) noexcept nogil:
        """The end of a step whose other threads a forked child does not have."""
        self.run.stop = 1
        with gil:
            self.error = RuntimeError("Sequential: a child that was forked within a step must not return into it, "
                                      "which needs the threads of its parent.")

    cdef int run_step(self, Pool pool) noexcept nogil:
        """All phases over the batch that was set; 1 when the stop flag was raised, by any process."""
        cdef Run *run = &self.run
        cdef Phase *phase
        cdef Py_ssize_t i, tasks
        cdef int p, kind
        cdef bint shared, alone = run.cut == NULL
        cdef Instruction *s
        cdef task_t task
        prepare_all(run)
        if not alone:
            memset(run.block_loss, 0, run.n_blocks * sizeof(double))        # a lane may have fewer blocks
        if run.gather and run.n_phases and run.phases[0].column:
            for i in range(run.n_blocks):
                if run.itemsize == 4:
                    gather_task_f32(run, i, 0)
                else:
                    gather_task_f64(run, i, 0)
        for p in range(run.n_phases):
            phase = run.phases + p
            run.phase = p
            if phase.gradient and run.applies:
                continue
            if not alone:
                self.clear_partials(phase)
            task, tasks = self.row_task, ceil_div(run.n_blocks, run.blocks_per_lane) if alone else run.n_lanes
            if phase.column or phase.gradient:
                task, tasks = self.column_task if phase.column else self.gradient_task, phase.n_tiles
            shared = phase.flops * run.n >= self.share_above and not self.calls_python
            if shared and tasks > 1:
                if pool.parallel(task, run, tasks):
                    self.keep_forked()
            else:
                # a single task may share its branches
                run.fork_above = FORK_SHARE * self.share_above
                run.pool = <void*>pool if shared and tasks == 1 and pool.n_threads > 1 else NULL
                for i in range(tasks):
                    task(run, i, 0)
                run.pool = NULL
                if run.forked:
                    run.forked = 0
                    self.keep_forked()
            if run.stop and alone:
                return 1
            # the barrier after an op's partial sums: add them in block order
            kind = run.actions[phase.last - 1].kind
            if (kind == REDUCE or kind == REDUCE_BACK) and run.training:
                s = run.nodes + run.actions[phase.last - 1].node
                if not alone and self.exchange_blocks(run.partials, s.op.n_partial):
                    return 1
                combine(run, s, kind == REDUCE)
        return 0 if alone else self.exchange_blocks(run.block_loss, 1)

    def predict(self, X, out, theta, state, Pool pool, lengths=None, VersionCounter version=None):
        """out (n, y_size) = the network's raw output for the rows of X; ``version`` is that of theta and state."""
        cdef Run *run = &self.run
        run.version = 0 if version is None else version.now()
        cdef Py_ssize_t n = X.shape[0]
        self.bind_data(X, None, None, None, None, lengths)
        self.bind_memory(theta, state, n)
        run.training = 0
        cdef Place own = run.places[run.output]
        if out is not None:
            run.places[run.output].base = <char*>pointer(out)
            run.places[run.output].row_bytes = out.strides[0] if n > 1 else (
                self.y_size * run.itemsize)
            run.places[run.output].thread_bytes = 0
        with nogil:
            self.set_batch(0, n)
            self.run_alone(pool)
        run.places[run.output] = own
        self._raise()

    def evaluate(self, X, targets, weights, theta, state, loss, Pool pool, lengths=None, VersionCounter version=None):
        """(sum_i w_i l_i, sum_i w_i) without gradients."""
        cdef double total, weight
        self.run.version = 0 if version is None else version.now()
        self.bind_data(X, targets, weights, None, loss, lengths)
        self.bind_memory(theta, state, X.shape[0])
        self.run.training = 0
        cdef Py_ssize_t n = X.shape[0]
        with nogil:
            self.set_batch(0, n)
            self.run_alone(pool)
            total, weight = self.batch_loss(), self.batch_weight()
        self._raise()
        return total, weight

    def gradient(self, X, targets, weights, theta, state, loss, grad, Pool pool, *, training=False,
                 seed=0, epoch=0, step=0, dx=None, lengths=None, loss_scale=None):
        """Mean loss over the rows of X; grad (n_params,) is overwritten with its gradient, None leaves it in the lanes.

        ``loss_scale`` multiplies the gradient in place of 1 / sum of weights.
        ``dx`` (n, x_size) receives the gradient of the input where the plan makes it.
        """
        cdef Run *run = &self.run
        cdef double total, weight, given = loss_scale or 0
        cdef bint has_scale = loss_scale is not None
        self.bind_data(X, targets, weights, None, loss, lengths)
        self.bind_memory(theta, state, X.shape[0])
        run.training, run.seed, run.epoch, run.step = training, seed, epoch, step
        lanes = self.lanes
        cdef Place own = run.places[run.n_values]
        if dx is not None:
            run.places[run.n_values].base = <char*>pointer(dx)
            run.places[run.n_values].row_bytes = run.x_size * run.itemsize
            run.places[run.n_values].thread_bytes = 0
        cdef Py_ssize_t n = X.shape[0]
        run.applies = 0
        for low, high in self.plan.added:           # elsewhere lanes are zero, or overwritten
            lanes[:, low:high] = 0
        with nogil:
            self.set_batch(0, n)
            weight = self.batch_weight()
            run.loss_scale = given if has_scale else 1.0 / weight
            self.run_alone(pool)
            total = self.batch_loss()
        run.places[run.n_values] = own
        self._raise()
        if grad is None:
            return total / weight
        with np.errstate(over="ignore", invalid="ignore"):          # of a gradient that is not finite
            for i, j in self.added.tolist():
                lanes[i] += lanes[j]
        grad[:] = lanes[0, :self.n_params]
        return total / weight

    def lane_gradients(self):
        """(lanes, n_params): each lane's share of the last gradient."""
        return self.lanes[:, :self.n_params]

    def kept(self, buffer, n):
        """A copy of n rows of a buffer that the plan keeps (see Plan.keep)."""
        b = self.plan.buffers[buffer]
        start = b.offset * self.plan.held_rows
        return self.memory[1][start:start + n * b.size].reshape(n, b.size).copy()

    cdef int keep_error(self, object error) except -1:
        """An exception that ends the step."""
        self.error, self.run.stop = error, 1
        return 0

    cdef object take_error(self):
        """The exception that stopped the run, or None."""
        error, self.error = self.error, None
        if self.calls_python:
            for kernel in self.kernels:
                if kernel is not None and kernel.error is not None:
                    error, kernel.error = kernel.error, None
        return error

    def _raise(self):
        error = self.take_error()
        if error is not None:
            raise error
