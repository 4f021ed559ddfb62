"""Recurrent layers, RNN, LSTM and GRU: the loop over the steps of a sequence, time-major inside.

The cells' equations and their gradients are in recurrent_cells.pxd, the order of steps and rows in
recurrent_steps.pxd. With a (m, width) the pre-activations of all rows and steps of a chunk, one below the other,

    a = x W + h_prev U + 1 b^T        x (m, d), W (d, width), h_prev (m, u), U (u, width), b (width,)

    dW += x^T da,  dU += h_prev^T da,  db += 1^T da,  dx = da W^T;   GRU: dU_n += h_prev^T dq,  dc_n += 1^T dq

Products that do not wait for one another are taken together: x W, dW, dU, db and dx for a chunk of steps at a
time, while its pre-activations are still in cache. What is left for a step is the product of its state with U
and one fused pass over the gates.
"""
cimport cython
from cython cimport floating

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport GATHERS, USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t
from ldl_cy._kernels.blocked cimport PANEL, add_outer, pack, product
from ldl_cy._kernels.recurrent_cells cimport (
    CELL_GRU, CELL_LSTM, CELL_RNN, Recurrent, gru_step, gru_step_backward, lstm_step, lstm_step_backward, rnn_step,
    rnn_step_backward)
from ldl_cy._kernels.recurrent_steps cimport (
    Steps, add_output_gradient, clear_output, clear_tails, copy_back, copy_in, copy_out, plan, rows_at, rows_of,
    size_of_plan)

from ldl_cy._engine.vec import ACTIVATIONS, default_slope, instruction_set

# Up to this many weights of W and U are copied into blocks, as they are and transposed.
cdef Py_ssize_t LARGEST_COPY = 1 << 21
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
    floating *derived,          # blocks of W, U, and for backward W^T, U^T
) noexcept nogil:
    cdef const Recurrent *s = <const Recurrent*>&op.sizes[0]
    cdef Py_ssize_t d = s.n_in, u = s.units, width = s.width, first = s.joined, i
    cdef const floating *U = theta + d * width
    if s.copies:
        for i in range(2 if call.backward else 1):
            pack(width if i else d, d if i else width, i, theta, width, derived)
            derived += d * width
            # GRU: U_r and U_z together, then U_n
            pack(first if i else u, u if i else first, i, U, width, derived)
            pack(width - first if i else u, u if i else width - first, i, U + first, width,
                 derived + u * first)
            derived += u * width


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # W (d, width), U (u, width), b (width,), GRU: c_n (u,)
    const floating *state,
    const floating *derived,    # blocks of W, U, W^T, U^T
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
        const floating *W = theta
        const floating *U = W + d * width
        const floating *W_blocks = derived if s.copies else NULL
        const floating *U_blocks = derived + d * width if s.copies else NULL
        const floating *b = U + u * width if s.use_bias else NULL
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
        # a = x W   (m, d) (d, width)
        copy_in(call, &p, t0, t1, d, x, xt + start * d)
        product(False, m, width, d, xt + start * d, d, W, width, W_blocks, <floating>0, a + start * width, width)
        at = start
        for t in range(t0, t1):
            m = rows_at(&p, t)
            a_t = a + at * width
            h_t = h + (at if keep else (t & 1) * n) * u
            if s.cell == CELL_GRU:
                gru_step(s, m, h_prev, U, U_blocks, b, c_n, a_t, q + at * u if keep else q, h_t)
            elif s.cell == CELL_LSTM:
                c_t = c + (at if keep else (t & 1) * n) * u
                lstm_step(s, m, h_prev, c_prev, U, U_blocks, b, a_t, c_t, tc + at * u if keep else NULL, h_t)
            else:
                rnn_step(s, m, h_prev, U, U_blocks, b, a_t, h_t)
            copy_out(&p, t, u, s.return_sequences, h_t, y)
            h_prev, c_prev = h_t, c_t
            at += m
        start = at


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # W (d, width), U (u, width), b (width,), GRU: c_n (u,)
    const floating *state,
    const floating *derived,    # blocks of W, U, W^T, U^T
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
        const floating *W = theta
        const floating *U = W + d * width
        const floating *Wt_blocks = derived + (d + u) * width if s.copies else NULL
        const floating *Ut_blocks = derived + (2 * d + u) * width if s.copies else NULL
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
                lstm_step_backward(s, m, h_prev, c_prev, U, Ut_blocks, tc + at * u, a + at * width, dh, dc)
            elif s.cell == CELL_GRU:
                gru_step_backward(s, m, h_prev, U, Ut_blocks, a + at * width, q + at * u, dh)
            else:
                rnn_step_backward(s, m, h_prev, U, Ut_blocks, h + at * u, a + at * u, dh)
        m = end - at
        if grad != NULL:
            add_gradients(s, &p, t0, t1, at, m, xt + at * d, a, h, q, grad, panel)
        if dx != NULL:
            # dx = da W^T   (m, width) (width, d)
            product(True, m, d, width, a + at * width, width, W, width, Wt_blocks, <floating>0, dxt, d)
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
        floating *dU = grad + d * width
        floating *db = dU + u * width
    # dW += x^T da   (d, m) (m, width)
    add_outer(s.small_products, d, width, m, xt, da + at * width, width, grad, width, panel)
    if s.use_bias:
        # db += 1^T da,  dc_n += 1^T dq
        vec.add_column_sums(m, width, da + at * width, db)
        if s.cell == CELL_GRU:
            vec.add_column_sums(m, u, dq + at * u, db + width)
    # h_prev of a row is one step before its da: while no row ends, of many steps in one piece
    t = t0
    if t == 0:
        t, at = 1, at + rows_at(p, 0)
    while t < t1:
        now, before = rows_at(p, t), rows_at(p, t - 1)
        rows = now
        t += 1
        while before == now and t < t1 and rows_at(p, t) == now:
            rows += now
            t += 1
        # dU += h_prev^T da   (u, rows) (rows, joined)
        add_outer(s.small_products, u, s.joined, rows, h + (at - before) * u, da + at * width, width,
                  dU, width, panel)
        if s.cell == CELL_GRU:
            # dU_n += h_prev^T dq   (u, rows) (rows, u)
            add_outer(s.small_products, u, u, rows, h + (at - before) * u, dq + at * u, u,
                      dU + s.joined, width, panel)
        at += rows


@cython.overflowcheck(True)
def recurrent(str dtype, *, str cell, Py_ssize_t n_steps, Py_ssize_t n_in, Py_ssize_t units,
              str activation="tanh", double leak=1.0, bint return_sequences=False, bint go_backwards=False,
              bint use_bias=True, object small_products=None):
    """The kernel of ``layers.RNN``, ``LSTM`` and ``GRU`` over rows of n_steps vectors of n_in numbers.

    ``cell`` is "rnn", "lstm" or "gru"; ``activation`` and ``leak`` are read by "rnn" only. ``small_products``: whether
    the BLAS runs small products unpacked (see blocked.pxd); None: where there is AVX-512.
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
    s.small_products = instruction_set() == "v4" if small_products is None else small_products
    s.copies = s.small_products and (n_in + units) * width <= LARGEST_COPY
    s.span = min(n_steps, LONGEST_SPAN)
    op.flags = USES_LENGTHS | GATHERS
    op.x_size = n_steps * n_in
    op.y_size = n_steps * units if return_sequences else units
    op.n_params = (n_in + units + use_bias) * width
    op.n_derived = 2 * (n_in + units) * width if s.copies else 0
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
