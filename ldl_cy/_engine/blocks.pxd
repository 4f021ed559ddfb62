"""What the engine does with one block of rows: gather, ops, adds, puts and products, loss, and all of it backwards."""
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.loss cimport Loss
from ldl_cy._engine.op cimport PACKS_TO_PREDICT, Call
from ldl_cy._engine.pool cimport Pool
from ldl_cy._engine.product cimport factor_gradient, multiply
from ldl_cy._engine.run cimport (
    BACKWARD, DX_ADD, DX_NONE, DX_WRITE, FORWARD, KIND_ADD, KIND_MULTIPLY, KIND_OP, LOSS, RECOMPUTE, REDUCE,
    Instruction, Phase, Run)

cdef extern from "vec/index.h" nogil:
    size_t ldl_column(const char *columns, int wide, Py_ssize_t i)


cdef inline char *at(Run *run, Py_ssize_t place, Py_ssize_t row0, int thread) noexcept nogil:
    """Where the rows from row0 of a buffer are for this thread; NULL for place -1."""
    if place < 0:
        return NULL
    return (run.places[place].base + row0 * run.places[place].row_bytes
            + thread * run.places[place].thread_bytes)


cdef inline void gather_sparse(Run *run, Py_ssize_t row, floating *x) noexcept nogil:   # x (x_size,)
    """A row of a CSR matrix, made dense; entries at one place are added."""
    cdef Py_ssize_t k
    cdef size_t column, width = run.x_size
    cdef bint wide = run.wide, single = run.x_kind == 0
    cdef const char *values = run.X
    cdef const char *columns = run.indices
    memset(x, 0, run.x_size * sizeof(floating))
    for k in range(run.indptr[row], run.indptr[row + 1]):
        column = ldl_column(columns, wide, k)
        if column < width:      # the caller may have written to the columns since they were checked
            x[column] += <floating>((<const float*>values)[k] if single else (<const double*>values)[k])


cdef inline void gather_rows(
    Run *run, Py_ssize_t row0, Py_ssize_t n, floating *x,   # x (n, x_size)
) noexcept nogil:
    cdef Py_ssize_t i, j, row, size = run.x_size
    cdef const char *source
    for i in range(n):
        row = run.start + row0 + i
        if run.order != NULL:
            row = run.order[row]
        if run.indptr != NULL:
            gather_sparse(run, row, x + i * size)
            continue
        source = run.X + row * run.x_stride
        if floating is float and run.x_kind == 0 or floating is double and run.x_kind == 1:
            memcpy(x + i * size, source, size * sizeof(floating))
        elif run.x_kind == 0:
            for j in range(size):
                x[i * size + j] = <floating>(<const float*>source)[j]
        elif run.x_kind == 1:
            for j in range(size):
                x[i * size + j] = <floating>(<const double*>source)[j]
        else:
            for j in range(size):
                x[i * size + j] = (<const unsigned char*>source)[j]


cdef inline const floating *gather_small(
    Run *run, Py_ssize_t row0, Py_ssize_t n, const floating *source, Py_ssize_t size, floating *out,
) noexcept nogil:
    """Targets or weights of a block: in place where rows are read in their own order."""
    cdef Py_ssize_t i
    if run.order == NULL:
        return source + (run.start + row0) * size
    if size == 1:
        for i in range(n):
            out[i] = source[run.order[run.start + row0 + i]]
        return out
    for i in range(n):
        memcpy(out + i * size, source + run.order[run.start + row0 + i] * size, size * sizeof(floating))
    return out


cdef inline const int *gather_lengths(
    Run *run, Py_ssize_t row0, Py_ssize_t n, int thread) noexcept nogil:
    """Lengths of a block's rows, or NULL."""
    cdef Py_ssize_t i
    cdef int *out
    if run.lengths == NULL or run.order == NULL:
        return NULL if run.lengths == NULL else run.lengths + run.start + row0
    # after the targets and weights
    out = <int*>(run.gathered + thread * run.gathered_bytes + run.block_rows * (run.t_size + 1) * run.itemsize)
    for i in range(n):
        out[i] = run.lengths[run.order[run.start + row0 + i]]
    return out


cdef inline void zero_tails(
    const int *lengths, Py_ssize_t n, Py_ssize_t steps, Py_ssize_t size, Py_ssize_t itemsize,
    char *x,                    # (n, steps, size / steps)
) noexcept nogil:
    """Steps past a row's end are zero."""
    cdef Py_ssize_t i, valid
    for i in range(n):
        valid = lengths[i] * (size // steps)
        memset(x + (i * size + valid) * itemsize, 0, (size - valid) * itemsize)


cdef inline void put(
    const Instruction *s, Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    """y[:, off : off + w] = x, a piece of a concatenation."""
    cdef Py_ssize_t i
    for i in range(n * s.outer):
        memcpy(y + i * s.y_width + s.y_offset, x + i * s.x_width, s.x_width * sizeof(floating))


cdef inline void put_backward(
    const Instruction *s, Py_ssize_t n, const floating *dy, floating *dx) noexcept nogil:
    """dx = or += dy[:, off : off + w]"""
    cdef Py_ssize_t i
    for i in range(n * s.outer):
        if s.dx == DX_WRITE:
            memcpy(dx + i * s.x_width, dy + i * s.y_width + s.y_offset, s.x_width * sizeof(floating))
        else:
            vec.add(s.x_width, dy + i * s.y_width + s.y_offset, dx + i * s.x_width)


cdef inline void pass_gradient(int mode, Py_ssize_t n, const floating *dy, floating *dx) noexcept nogil:
    """dx = dy or dx += dy, for an input of an add. Nothing is to be done if both are one buffer."""
    if mode == DX_WRITE and dx != dy:
        memcpy(dx, dy, n * sizeof(floating))
    elif mode == DX_ADD:
        vec.add(n, dy, dx)


cdef inline void make_call(Run *run, Call *call, Py_ssize_t row0, Py_ssize_t n) noexcept nogil:
    memset(call, 0, sizeof(Call))
    call.n, call.row0 = n, run.row_offset + row0
    call.training, call.backward = run.training, run.backward
    call.seed, call.epoch, call.step = run.seed, run.epoch, run.step
    call.stop = <const int*>&run.stop


cdef inline void forward_node(
    Run *run, Instruction *s, Call *call, Py_ssize_t row0, int thread, int worker, bint again, const floating *theta,
) noexcept nogil:
    """With the buffers of ``thread`` and the scratch of ``worker``.

    ``again``: y is computed a second time, for backward; the cache was filled the first time.
    """
    cdef Py_ssize_t n = call.n
    cdef char *x = at(run, s.x, row0, thread)
    cdef char *y = at(run, s.y_again if again else s.y, row0, thread)
    if s.kind == KIND_OP:
        if run.direct and s.x == 0:
            x, call.order, call.x_stride = <char*>run.X, run.order + run.start + row0, run.x_stride // run.itemsize
        if s.partial >= 0 and run.training:
            call.partial = run.totals + s.partial
        call.x2 = at(run, s.x2, row0, thread)
        call.packed = (s.op.flags & PACKS_TO_PREDICT and run.kept != NULL and run.n > 1 and run.version != 0
                       and s.version == run.version)
        s.op.forward(&s.op, call, run.theta + s.theta, run.state + s.state, run.derived + s.derived, x, y,
                     NULL if again else at(run, s.cache, row0, thread), run.scratch + worker * run.scratch_bytes)
    elif s.kind == KIND_ADD:
        # y = x + x2
        memcpy(y, x, n * s.x_size * sizeof(floating))
        vec.add(n * s.x_size, <const floating*>at(run, s.x2, row0, thread), <floating*>y)
    elif s.kind == KIND_MULTIPLY:
        multiply(s, n, <const floating*>x, <const floating*>at(run, s.x2, row0, thread), <floating*>y)
    else:
        put(s, n, <const floating*>x, <floating*>y)
    if call.lengths != NULL and s.y_steps:
        zero_tails(call.lengths, n, s.y_steps, s.y_size, sizeof(floating), y)


cdef inline void product_gradient(
    Run *run, Instruction *s, Py_ssize_t row0, Py_ssize_t n, int thread, const floating *dy) noexcept nogil:
    """Of both factors; they may be one value, whose gradient is then the sum of two."""
    cdef double *sums = <double*>(run.scratch + thread * run.scratch_bytes)
    cdef const floating *a = <const floating*>at(run, s.x_again, row0, thread)
    cdef const floating *b = <const floating*>at(run, s.x2_again, row0, thread)
    if s.dx != DX_NONE:
        factor_gradient(s, 0, s.dx == DX_WRITE, n, dy, b, <floating*>at(run, s.gx, row0, thread), sums)
    if s.dx2 != DX_NONE:
        factor_gradient(s, 1, s.dx2 == DX_WRITE, n, dy, a, <floating*>at(run, s.gx2, row0, thread), sums)


cdef inline void backward_node(
    Run *run, Instruction *s, Call *call, Py_ssize_t row0, int thread, Py_ssize_t lane, const floating *theta,
) noexcept nogil:
    cdef Py_ssize_t n = call.n
    cdef char *dy = at(run, s.gy, row0, thread)
    # of an op in tiles dx is made afterwards, from the dz that is left here
    cdef char *dx = at(run, s.gx, row0, thread) if s.dx != DX_NONE and not s.tiled else NULL
    cdef char *target = dx
    cdef char *grad = NULL
    if call.lengths != NULL and s.y_steps:
        zero_tails(call.lengths, n, s.y_steps, s.y_size, sizeof(floating), dy)
    if s.kind == KIND_OP:
        if s.dx == DX_ADD:
            target = at(run, s.temporary, row0, thread)
        if s.trainable and not s.deferred:
            grad = run.grad + lane * run.lane_bytes + s.theta
        if s.partial >= 0 and run.training:
            call.partial = run.totals + s.partial
        s.op.backward(&s.op, call, run.theta + s.theta, run.state + s.state, run.derived + s.derived,
                      at(run, s.x_again, row0, thread), at(run, s.y_again, row0, thread), dy, target, grad,
                      at(run, s.cache, row0, thread), run.scratch + thread * run.scratch_bytes)
        if s.dx == DX_ADD:
            # a value with several readers: its gradient is the sum of theirs
            vec.add(n * s.x_size, <const floating*>target, <floating*>dx)
        pass_gradient(s.dx2, n * s.y_size, <const floating*>dy, <floating*>at(run, s.gx2, row0, thread))
    elif s.kind == KIND_ADD:
        pass_gradient(s.dx, n * s.x_size, <const floating*>dy, <floating*>dx)
        pass_gradient(s.dx2, n * s.x_size, <const floating*>dy, <floating*>at(run, s.gx2, row0, thread))
    elif s.kind == KIND_MULTIPLY:
        product_gradient(run, s, row0, n, thread, <const floating*>dy)
    elif s.dx != DX_NONE:
        put_backward(s, n, <const floating*>dy, <floating*>dx)


cdef inline void loss_of_block(
    Run *run, Py_ssize_t block, Py_ssize_t row0, Py_ssize_t n, int thread, const int *lengths,
    const floating *theta,
) noexcept nogil:
    cdef floating *gathered = <floating*>(run.gathered + thread * run.gathered_bytes)
    cdef const floating *t = gather_small(run, row0, n, <const floating*>run.targets, run.t_size, gathered)
    cdef const floating *w = NULL
    if run.weights != NULL:
        w = gather_small(run, row0, n, <const floating*>run.weights, 1, gathered + run.block_rows * run.t_size)
    cdef char *y = at(run, run.output, row0, thread)
    cdef char *dy = at(run, run.n_values + run.output, row0, thread) if run.backward else NULL
    cdef Py_ssize_t i, size = run.loss.steps * run.loss.k * sizeof(floating)
    cdef Loss one
    if lengths == NULL or run.out_steps == 0:
        run.block_loss[block] = run.loss.compute(run.loss, n, y, t, w, run.loss_scale, dy)
        return
    # sequence by sequence: the mean over its own steps
    run.block_loss[block] = 0
    for i in range(n):
        one = run.loss[0]
        one.steps = run.loss.steps // run.out_steps * lengths[i]
        one.scale = run.loss.scale * run.out_steps / lengths[i]
        run.block_loss[block] += one.compute(
            &one, 1, y + i * size, t + i * run.t_size, NULL if w == NULL else w + i, run.loss_scale,
            NULL if dy == NULL else dy + i * size)
    if dy != NULL:
        zero_tails(lengths, n, run.out_steps, run.loss.steps * run.loss.k, sizeof(floating), dy)


ctypedef struct Branches:                   # of one fork, for one block of rows
    Run *run
    int first                               # action
    Py_ssize_t row0
    Py_ssize_t n
    int thread                              # whose buffers they use
    const int *lengths


cdef inline void run_branch(Branches *b, Py_ssize_t branch, int worker, const floating *theta) noexcept nogil:
    cdef Run *run = b.run
    cdef Instruction *s
    cdef Call call
    cdef Py_ssize_t _i
    cdef int a = b.first, i
    for _i in range(branch):
        a = run.actions[a].branch_end
    for i in range(a, run.actions[a].branch_end):
        s = run.nodes + run.actions[i].node
        make_call(run, &call, b.row0, b.n)
        call.lengths, call.backward = b.lengths, s.backward
        forward_node(run, s, &call, b.row0, b.thread, worker, False, theta)


cdef inline void branch_task_f32(void *branches, Py_ssize_t branch, int worker) noexcept nogil:
    run_branch[float](<Branches*>branches, branch, worker, NULL)


cdef inline void branch_task_f64(void *branches, Py_ssize_t branch, int worker) noexcept nogil:
    run_branch[double](<Branches*>branches, branch, worker, NULL)


cdef inline int share_branches(
    Run *run, int first, Py_ssize_t row0, Py_ssize_t n, int thread, const int *lengths, const floating *theta,
) noexcept nogil:
    """Run the branches of the fork that begins at an action on the pool's threads; return the action after them."""
    cdef Branches b
    cdef Py_ssize_t _i
    cdef int a = first
    b.run, b.first, b.row0, b.n, b.thread, b.lengths = run, first, row0, n, thread, lengths
    if (<Pool>run.pool).parallel(branch_task_f32 if floating is float else branch_task_f64, &b,
                                 run.actions[first].branches):
        run.forked = run.stop = 1
    for _i in range(run.actions[first].branches):
        a = run.actions[a].branch_end
    return a


cdef inline void run_block(
    Run *run, Py_ssize_t lane, Py_ssize_t block, Py_ssize_t row0, Py_ssize_t n, int thread, const floating *theta,
) noexcept nogil:
    """One block of n rows from row0 through the actions of a phase."""
    cdef Phase *phase = run.phases + run.phase
    cdef int a, kind
    cdef Instruction *s
    cdef Call call
    cdef const int *lengths = gather_lengths(run, row0, n, thread)
    if run.gather and run.phase == 0 and not run.direct:
        gather_rows(run, row0, n, <floating*>at(run, 0, row0, thread))
        if lengths != NULL:
            zero_tails(lengths, n, run.x_steps, run.x_size, sizeof(floating), at(run, 0, row0, thread))
    a = phase.first - 1
    while a + 1 < phase.last:
        a += 1
        if run.pool != NULL and run.actions[a].branches and run.actions[a].fork_flops * n >= run.fork_above:
            a = share_branches(run, a, row0, n, thread, lengths, theta) - 1
            if run.forked:
                return
            continue
        kind = run.actions[a].kind
        if kind == LOSS:
            if run.loss != NULL:
                loss_of_block(run, block, row0, n, thread, lengths, theta)
            continue
        s = run.nodes + run.actions[a].node
        make_call(run, &call, row0, n)
        call.lengths, call.backward = lengths, s.backward
        if kind == FORWARD or kind == RECOMPUTE:
            forward_node(run, s, &call, row0, thread, thread, kind == RECOMPUTE, theta)
        elif kind == BACKWARD:
            backward_node(run, s, &call, row0, thread, lane, theta)
        elif run.training:
            # this block's part of the sums over the batch
            call.partial = run.partials + block * s.op.n_partial
            s.op.reduce(&s.op, &call, run.theta + s.theta, at(run, s.x, row0, thread),
                        at(run, s.y_again, row0, thread), NULL if kind == REDUCE else at(run, s.gy, row0, thread),
                        at(run, s.cache, row0, thread))
