"""Recurrent layers, RNN, LSTM and GRU: the loop over the steps of a sequence, time-major inside.

The cells' equations and their gradients are in recurrent_cells.pxd, the order of steps and rows in
recurrent_steps.pxd. With a (m, width) the pre-activations of all rows and steps of a chunk, one below the other,

    a = x W + h_prev U + 1 b^T        x (m, d), W (d, width), h_prev (m, u), U (u, width), b (width,)

    dW += x^T da,  dU += h_prev^T da,  db += 1^T da,  dx = da W^T;   GRU: dU_n += h_prev^T dq,  dc_n += 1^T dq

Products that do not wait for one another are taken together: x W, dW, dU, db and dx for a chunk of steps at a
time, while its pre-activations are still in cache. What is left for a step is the product of its state with U
and one fused pass over the gates. W and U are packed once (_engine/gemm_packed.pxd), da a piece at a time.
"""
cimport cython
from cython cimport floating

from ldl_cy._engine cimport vec
from ldl_cy._engine.blas cimport gemm
from ldl_cy._engine.gemm_packed cimport (
    PANEL, PANEL_COLUMNS, PANEL_ROWS, gemm_packed, has_gemm_packed, pack, packed_size)
from ldl_cy._engine.op cimport GATHERS, USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t
from ldl_cy._kernels.recurrent_cells cimport (
    CELL_GRU, CELL_LSTM, CELL_RNN, Recurrent, gru_step, gru_step_backward, lstm_step, lstm_step_backward, rnn_step,
    rnn_step_backward)
from ldl_cy._kernels.recurrent_steps cimport (
    Steps, add_output_gradient, clear_output, clear_tails, copy_back, copy_in, copy_out, plan, rows_at, rows_of,
    size_of_plan)

from ldl_cy._engine.vec import ACTIVATIONS, default_slope

# The pre-activations of a chunk: long enough to repay the weights that its products read, small enough for
# L2. A step of LSTM 256 -> 256 at 64 rows takes 125.5 ms with chunks of 2^20 bytes, 128.5 with 2^19, 126.8
# with 2^21; smaller cells do not care.
cdef Py_ssize_t CHUNK_BYTES = 1 << 20
cdef Py_ssize_t LONGEST_SPAN = 64


cdef inline Py_ssize_t span_of(const Recurrent *s, Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    """Steps of a chunk."""
    return max(1, min(s.span, CHUNK_BYTES // (max(n, 1) * s.width * itemsize)))


cdef inline floating *after_states(
    const Recurrent *s, floating *c, Py_ssize_t states, Py_ssize_t kept, Py_ssize_t n, bint keep,
) noexcept nogil:
    """Where xt begins: after the cell states and their tanh, or after q."""
    if s.cell == CELL_LSTM:
        return c + (states + (kept if keep else 0)) * s.units
    if s.cell == CELL_GRU:
        return c + (kept if keep else n) * s.units
    return c


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (d, width), U (u, width), then biases
    const floating *state,
    floating *derived,          # W, U packed, and for backward W^T, U^T
) noexcept nogil:
    cdef const Recurrent *s = <const Recurrent*>&op.sizes[0]
    cdef Py_ssize_t d = s.n_in, u = s.units, width = s.width
    cdef const floating *U = theta + d * width
    pack(False, d, width, theta, width, derived)
    # GRU: U_r and U_z together, then U_n
    pack(False, u, s.joined, U, width, derived + s.packed_W)
    pack(False, u, width - s.joined, U + s.joined, width, derived + s.packed_W + s.packed_joined)
    if call.backward:
        derived += s.packed_W + s.packed_U
        pack(True, width, d, theta, width, derived)
        pack(True, s.joined, u, U, width, derived + s.packed_Wt)
        pack(True, width - s.joined, u, U + s.joined, width, derived + s.packed_Wt + s.packed_joined_t)


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # W (d, width), U (u, width), b (width,), GRU: c_n (u,)
    const floating *state,
    const floating *derived,    # W, U, W^T, U^T, packed
    const floating *x,          # (n, T, d), or its rows anywhere: call.order
    floating *y,                # (n, T, u) or (n, u)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Recurrent *s = <const Recurrent*>&op.sizes[0]
    cdef:
        Py_ssize_t d = s.n_in, u = s.units, width = s.width
        Py_ssize_t n = call.n, span = span_of(s, n, sizeof(floating))
        Py_ssize_t t, t0, t1, m, at, start = 0              # at: place of step t, start: of its chunk
        bint keep = cache != NULL
        Py_ssize_t kept = n * s.n_steps if keep else n * span, states = n * s.n_steps if keep else 2 * n
        const floating *packed_U = derived + s.packed_W
        const floating *b = theta + (d + u) * width if s.use_bias else NULL
        const floating *c_n = b + width if s.use_bias and s.cell == CELL_GRU else NULL
        # each step's rows when they are kept for backward; else a chunk, and two steps of the states
        floating *a = cache if keep else scratch            # (kept, width)
        floating *h = a + kept * width                      # (states, u)
        floating *c = h + states * u                        # (states, u)              LSTM
        floating *tc = c + states * u                       # (kept, u)                LSTM, kept only
        floating *q = h + states * u                        # (kept or n, u)           GRU
        floating *xt = after_states(s, c, states, kept, n, keep)    # (kept, d)
        floating *a_t
        floating *h_t
        floating *c_t = NULL
        floating *h_prev = NULL
        floating *c_prev = NULL
        Steps p = plan(s.n_steps, s.go_backwards, call, <int*>(scratch + n * (op.scratch_size - 1) + PANEL))
    clear_output(&p, u, s.return_sequences, y)
    t1 = 0
    while t1 < p.longest:
        t0, t1 = t1, min(t1 + span, p.longest)
        if call.stop != NULL and call.stop[0]:
            return
        if not keep:
            start = 0
        m = rows_of(&p, t0, t1)
        # a = x W + 1 b^T   (m, d) (d, width)
        copy_in(call, &p, t0, t1, d, x, xt + start * d)
        gemm_packed(False, m, width, d, xt + start * d, d, derived, b, 0, a + start * width, width)
        at = start
        for t in range(t0, t1):
            m = rows_at(&p, t)
            a_t = a + at * width
            h_t = h + (at if keep else (t & 1) * n) * u
            if s.cell == CELL_GRU:
                gru_step(s, t & 1, m, h_prev, packed_U, c_n, a_t, q + at * u if keep else q, h_t)
            elif s.cell == CELL_LSTM:
                c_t = c + (at if keep else (t & 1) * n) * u
                lstm_step(s, t & 1, m, h_prev, c_prev, packed_U, a_t, c_t, tc + at * u if keep else NULL, h_t)
            else:
                rnn_step(s, t & 1, m, h_prev, packed_U, a_t, h_t)
            copy_out(&p, t, u, s.return_sequences, h_t, y)
            h_prev, c_prev = h_t, c_t
            at += m
        start = at


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # W (d, width), U (u, width), b (width,), GRU: c_n (u,)
    const floating *state,
    const floating *derived,    # W, U, W^T, U^T, packed
    const floating *x, const floating *y,
    floating *dy,               # (n, T, u) or (n, u)
    floating *dx,               # (n, T, d) or NULL
    floating *grad,             # dW, dU, db, GRU: dc_n; or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Recurrent *s = <const Recurrent*>&op.sizes[0]
    cdef:
        Py_ssize_t d = s.n_in, u = s.units, width = s.width
        Py_ssize_t n = call.n, span = span_of(s, n, sizeof(floating))
        Py_ssize_t t, t0, t1, m, at, end, kept = n * s.n_steps
        const floating *packed_Wt = derived + s.packed_W + s.packed_U
        const floating *packed_Ut = packed_Wt + s.packed_Wt
        floating *a = cache                                 # (kept, width)    becomes da
        floating *h = a + kept * width                      # (kept, u)
        floating *c = h + kept * u                          # (kept, u)        LSTM
        floating *tc = c + kept * u                         # (kept, u)        LSTM
        floating *q = h + kept * u                          # (kept, u)        GRU: becomes dq
        floating *xt = after_states(s, c, kept, kept, n, True)      # (kept, d)
        floating *panel = scratch                           # (PANEL,)
        floating *dh = panel + PANEL                        # (n, u)
        floating *dc = dh + n * u                           # (n, u)
        floating *dxt = dc + n * u                          # (n span, d)
        floating *h_prev
        floating *c_prev
        Steps p = plan(s.n_steps, s.go_backwards, call, <int*>(scratch + n * (op.scratch_size - 1) + PANEL))
    if dx != NULL:
        clear_tails(&p, d, dx)
    at = p.total
    t1 = p.longest
    while t1 > 0:
        if call.stop != NULL and call.stop[0]:
            return
        t0 = max(0, t1 - span)
        end = at
        for t in range(t1 - 1, t0 - 1, -1):
            m = rows_at(&p, t)
            at -= m
            add_output_gradient(&p, t, u, s.return_sequences, dy, dh, dc if s.cell == CELL_LSTM else NULL)
            h_prev = h + (at - rows_at(&p, t - 1)) * u if t else NULL
            c_prev = c + (at - rows_at(&p, t - 1)) * u if t else NULL
            if s.cell == CELL_LSTM:
                lstm_step_backward(s, m, h_prev, c_prev, packed_Ut, tc + at * u, a + at * width, dh, dc)
            elif s.cell == CELL_GRU:
                gru_step_backward(s, m, h_prev, packed_Ut, a + at * width, q + at * u, dh)
            else:
                rnn_step_backward(s, m, h_prev, packed_Ut, h + at * u, a + at * u, dh)
        m = end - at
        if grad != NULL:
            add_gradients(s, &p, t0, t1, at, m, xt + at * d, a, h, q, grad, panel)
        if dx != NULL:
            # dx = da W^T   (m, width) (width, d)
            gemm_packed(False, m, d, width, a + at * width, width, packed_Wt, NULL, 0, dxt, d)
            copy_back(&p, t0, t1, d, dxt, dx)
        t1 = t0


cdef void add_gradients(
    const Recurrent *s, const Steps *p, Py_ssize_t t0, Py_ssize_t t1,
    Py_ssize_t at, Py_ssize_t m,                            # the chunk's first row and its rows
    const floating *xt,         # (m, d)
    const floating *da,         # (all, width)
    const floating *h,          # (all, u)
    const floating *dq,         # (all, u)      GRU
    floating *grad,             # dW (d, width), dU (u, width), db (width,), GRU: dc_n (u,)
    floating *panel,            # PANEL numbers to use
) noexcept nogil:
    """What the steps t0 to t1 - 1 add to the gradient of theta."""
    cdef:
        Py_ssize_t d = s.n_in, u = s.units, width = s.width, t, rows, now, before
        const floating *h_prev
        floating *dU = grad + d * width
        floating *db = dU + u * width
    if s.use_bias:
        # db += 1^T da,  dc_n += 1^T dq
        vec.add_column_sums(m, width, da + at * width, db)
        if s.cell == CELL_GRU:
            vec.add_column_sums(m, u, dq + at * u, db + width)
    # h_prev of a row is one step before its da: while no row ends, of many steps in one piece
    t = t0
    while t < t1:
        now, before = rows_at(p, t), rows_at(p, t - 1) if t else 0
        rows = now
        t += 1
        while before == now and t < t1 and rows_at(p, t) == now:
            rows += now
            t += 1
        h_prev = h + (at - before) * u if before else NULL
        # dW += x^T da   (d, rows) (rows, width),  dU += h_prev^T da   (u, rows) (rows, joined)
        add_outer(rows, s.joined, da + at * width, width, d, xt, u, h_prev, grad, dU, width, panel)
        if s.cell == CELL_GRU:
            add_outer(rows, u, da + at * width + s.joined, width, d, xt, u, <const floating*>NULL,
                      grad + s.joined, dU, width, panel)
            # dU_n += h_prev^T dq   (u, rows) (rows, u)
            add_outer(rows, u, dq + at * u, u, d, <const floating*>NULL, u, h_prev, grad, dU + s.joined, width, panel)
        at += rows
        xt += rows * d


cdef inline void add_outer(
    Py_ssize_t rows, Py_ssize_t n,
    const floating *B, Py_ssize_t ldb,      # (rows, n)
    Py_ssize_t d, const floating *x,        # (rows, d), or NULL
    Py_ssize_t u, const floating *h,        # (rows, u), or NULL
    floating *dW,               # (d, n)
    floating *dU,               # (u, n)
    Py_ssize_t width,           # stride of rows of dW and dU
    floating *panel,            # PANEL numbers to use
) noexcept nogil:
    """dW += x^T B,  dU += h^T B: a piece of B is packed once for both."""
    cdef Py_ssize_t p, q, j, w
    if not has_gemm_packed(<floating>0):
        if x != NULL:
            gemm(True, False, d, n, rows, <floating>1, x, d, B, ldb, <floating>1, dW, width)
        if h != NULL:
            gemm(True, False, u, n, rows, <floating>1, h, u, B, ldb, <floating>1, dU, width)
        return
    p = 0
    while p < rows:
        q, j = min(<Py_ssize_t>PANEL_ROWS, rows - p), 0
        while j < n:
            w = min(<Py_ssize_t>PANEL_COLUMNS, n - j)
            pack(False, q, w, B + p * ldb + j, ldb, panel)
            if x != NULL:
                gemm_packed(True, d, w, q, x + p * d, d, panel, dW + j, width, dW + j, width)
            if h != NULL:
                gemm_packed(True, u, w, q, h + p * u, u, panel, dU + j, width, dU + j, width)
            j += w
        p += q


@cython.overflowcheck(True)
def recurrent(str dtype, *, str cell, Py_ssize_t n_steps, Py_ssize_t n_in, Py_ssize_t units,
              str activation="tanh", double leak=1.0, bint return_sequences=False, bint go_backwards=False,
              bint use_bias=True):
    """The kernel of ``layers.RNN``, ``LSTM`` and ``GRU`` over rows of n_steps vectors of n_in numbers.

    ``cell`` is "rnn", "lstm" or "gru"; ``activation`` and ``leak`` are read by "rnn" only.
    """
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Recurrent *s = <Recurrent*>&op.sizes[0]
    assert_fits(sizeof(Recurrent), sizeof(op.sizes))
    cdef Py_ssize_t width
    s.cell = {"rnn": CELL_RNN, "lstm": CELL_LSTM, "gru": CELL_GRU}[cell]
    width = units * {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    s.n_steps, s.n_in, s.units, s.width = n_steps, n_in, units, width
    s.joined = 2 * units if cell == "gru" else width
    s.activation, s.slope = ACTIVATIONS.index(activation), default_slope(activation)
    s.leak = leak
    s.return_sequences, s.go_backwards, s.use_bias = return_sequences, go_backwards, use_bias
    s.packed_W, s.packed_Wt = packed_size(n_in, width), packed_size(width, n_in)
    s.packed_joined, s.packed_joined_t = packed_size(units, s.joined), packed_size(s.joined, units)
    s.packed_U = s.packed_joined + packed_size(units, width - s.joined)
    s.span = min(n_steps, LONGEST_SPAN)
    op.flags = USES_LENGTHS | GATHERS
    op.x_size = n_steps * n_in
    op.y_size = n_steps * units if return_sequences else units
    op.n_params = (n_in + units + use_bias) * width
    op.n_derived = s.packed_W + s.packed_U + s.packed_Wt + packed_size(width, units)
    # a, h and xt of every step; LSTM: c, tanh c; GRU: q
    op.cache_size = n_steps * (width + units + n_in)
    # inference: a and xt of a chunk, h and c of two steps; GRU: q of one
    predicting = s.span * (width + n_in) + 2 * units
    if cell == "lstm":
        op.cache_size += n_steps * 2 * units
        predicting += 2 * units
    elif cell == "gru":
        op.cache_size += n_steps * units
        predicting += units
        op.n_params += units if use_bias else 0
    # backward: dh, dc, dx of a chunk; the order of the rows in both, and their panel
    op.scratch_size = max(predicting, 2 * units + s.span * n_in) + 1
    op.scratch_fixed = size_of_plan(n_steps) + PANEL
    op.flops = 2.0 * n_steps * (n_in + units) * width + 10.0 * n_steps * width
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    kernel.name, kernel.dtype = cell, dtype
    kernel.config = {
        "n_steps": n_steps, "n_in": n_in, "units": units, "return_sequences": return_sequences,
        "go_backwards": go_backwards}
    if cell == "rnn":
        kernel.config["activation"], kernel.config["leak"] = activation, leak
    return kernel
