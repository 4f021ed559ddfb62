"""The tasks of a phase: a lane's blocks of rows, a tile of columns, a tile of a gradient."""
from cython cimport floating

from ldl_cy._engine.blocks cimport at, gather_rows, make_call, run_block
from ldl_cy._engine.op cimport Call
from ldl_cy._engine.run cimport DX_COLUMNS, Instruction, Run


cdef inline void run_lane(Run *run, Py_ssize_t lane, int thread, const floating *tag) noexcept nogil:
    """The lane's blocks in their order."""
    cdef Py_ssize_t block = lane * run.blocks_per_lane, row0 = block * run.block_rows
    cdef Py_ssize_t end = min(run.n, row0 + run.blocks_per_lane * run.block_rows)
    if run.cut != NULL:
        block, row0, end = block + run.first_lane * run.blocks_per_lane, run.cut[lane], run.cut[lane + 1]
    while row0 < end:
        if thread == 0:
            run.look(run)
        if run.stop:
            return
        run_block(run, lane, block, row0, min(run.block_rows, end - row0), thread, tag)
        row0, block = row0 + run.block_rows, block + 1


cdef void row_task_f32(void *context, Py_ssize_t lane, int thread) noexcept nogil:
    run_lane[float](<Run*>context, lane, thread, NULL)


cdef void row_task_f64(void *context, Py_ssize_t lane, int thread) noexcept nogil:
    run_lane[double](<Run*>context, lane, thread, NULL)


cdef void column_task(void *context, Py_ssize_t tile, int thread) noexcept nogil:
    """One tile of columns of y or dx, over all rows."""
    cdef Run *run = <Run*>context
    cdef Py_ssize_t a = run.phases[run.phase].first
    cdef Instruction *s = run.nodes + run.actions[a].node
    cdef Call call
    cdef char *scratch = run.scratch + thread * run.scratch_bytes
    if thread == 0:
        run.look(run)
    if run.stop:
        return
    make_call(run, &call, 0, run.n)
    call.tile = tile
    if run.actions[a].kind == DX_COLUMNS:
        s.op.dx_columns(&s.op, &call, run.theta + s.theta, at(run, s.gy, 0, thread), at(run, s.gx, 0, thread), scratch)
    else:
        s.op.forward_columns(&s.op, &call, run.theta + s.theta, at(run, s.x, 0, thread), at(run, s.y, 0, thread),
                             at(run, s.cache, 0, thread), scratch)


cdef void gradient_tile(Run *run, Instruction *s, Py_ssize_t tile, char *grad, int thread) noexcept nogil:
    """A tile of one op's gradient, over all rows."""
    cdef Call call
    make_call(run, &call, 0, run.n)
    call.tile = tile
    s.op.gradient(&s.op, &call, at(run, s.x, 0, thread), at(run, s.gy, 0, thread), grad,
                  run.scratch + thread * run.scratch_bytes)


cdef void gradient_task(void *context, Py_ssize_t tile, int thread) noexcept nogil:
    """One of the phase's tiles, into lane 0."""
    cdef Run *run = <Run*>context
    cdef Py_ssize_t a = run.phases[run.phase].first, tiles
    cdef Instruction *s
    if thread == 0:
        run.look(run)
    while not run.stop:
        s = run.nodes + run.actions[a].node
        tiles = ceil_div(s.op.n_params, s.op.gradient_tile)
        if tile < tiles:
            gradient_tile(run, s, tile, run.grad + s.theta + tile * s.op.gradient_tile * run.itemsize, thread)
            return
        tile -= tiles
        a += 1


cdef inline void gather_block(Run *run, Py_ssize_t block, const floating *tag) noexcept nogil:
    """The rows of one block, for phases in tiles, which read the whole batch."""
    cdef Py_ssize_t row0 = block * run.block_rows
    gather_rows(run, row0, min(run.block_rows, run.n - row0), <floating*>at(run, 0, row0, 0))


cdef void gather_task_f32(void *context, Py_ssize_t block, int thread) noexcept nogil:
    gather_block[float](<Run*>context, block, NULL)


cdef void gather_task_f64(void *context, Py_ssize_t block, int thread) noexcept nogil:
    gather_block[double](<Run*>context, block, NULL)
