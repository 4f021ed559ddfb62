# The recurrent cells, RNN, LSTM and GRU: one step of m rows and u units, and its gradient.
#
# A step computes the state h (m, u) from its input x (m, d) and the state h_prev (m, u) of the step before; `width`
# is the number of pre-activations a: u, 4u or 3u. A B is a product of matrices, a * b one of elements, s the logistic
# function. dv is the gradient of the loss with respect to v: dh comes in, from the output and from the step after.
# x W + 1 b^T is there already, made for many steps at once in recurrent.pyx, as dW, dU, db and dx are; equations (2)
# and on are one compiled pass over the units, in _engine/vec/gates.inc with the same numbers.
#
# RNN (Elman, "Finding structure in time", Cognitive Science 14, 1990), width = u:
#
#     (1)  a = x W + h_prev U + 1 b^T                                         (m, u)
#     (2)  h = f(a)                                                           (m, u)
#
#     (2)  da = dh * f'(a)
#     (1)  dh_prev = da U^T
#
# with a leak l < 1 (leaky-integrator units: Jaeger, Lukosevicius, Popovici, Siewert, "Optimization and applications of
# echo state networks with leaky-integrator neurons", Neural Networks 20, 2007):
#
#     (2)  h = (1 - l) * h_prev + l * f(a)                                    (m, u)
#
#     (2)  da = l * dh * f'(a)
#     (1)  dh_prev = (1 - l) * dh + da U^T
#
# LSTM (Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; forget gate: Gers,
# Schmidhuber, Cummins, "Learning to forget", Neural Computation 12, 2000), width = 4u:
#
#     (1)  (a_i, a_f, a_g, a_o) = x W + h_prev U + 1 b^T                      (m, 4u)
#     (2)  i = s(a_i),  f = s(a_f),  g = tanh(a_g),  o = s(a_o)               (m, u) each
#     (3)  c = f * c_prev + i * g                                             (m, u)
#     (4)  h = o * tanh(c)                                                    (m, u)
#
#     (4)  do = dh * tanh(c),  dc = dc of the step after + dh * o * (1 - tanh(c)^2)
#     (3)  di = dc * g,  df = dc * c_prev,  dg = dc * i,  dc_prev = dc * f
#     (2)  da_i = di * i * (1 - i),  da_f = df * f * (1 - f),  da_g = dg * (1 - g^2),  da_o = do * o * (1 - o)
#     (1)  dh_prev = da U^T
#
# GRU (Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014; as in cuDNN and Keras
# the reset gate comes after the product with U_n, which has a bias of its own), width = 3u:
#
#     (1)  (a_r, a_z, a_n) = x W + 1 b^T,  (a_r, a_z) += h_prev (U_r, U_z)    (m, 3u)
#          q = h_prev U_n + 1 c_n^T                                           (m, u)
#     (2)  r = s(a_r),  z = s(a_z),  n = tanh(a_n + r * q)                    (m, u) each
#     (3)  h = (1 - z) * n + z * h_prev                                       (m, u)
#
#     (3)  dn = dh * (1 - z),  dz = dh * (h_prev - n),  dh_prev = dh * z
#     (2)  da_n = dn * (1 - n^2),  dq = da_n * r,  dr = da_n * q,  da_r = dr * r * (1 - r),  da_z = dz * z * (1 - z)
#     (1)  dh_prev += (da_r, da_z) (U_r, U_z)^T + dq U_n^T
from cython cimport floating
from libc.string cimport memcpy

from ldl_cy._engine cimport vec
from ldl_cy._engine.gemm_packed cimport gemm_packed, panel_width

cdef enum Cell:
    CELL_RNN
    CELL_LSTM
    CELL_GRU

ctypedef struct Recurrent:
    Py_ssize_t n_steps          # T
    Py_ssize_t n_in             # d
    Py_ssize_t units            # u
    Py_ssize_t width            # of the pre-activations of a step: u, 4u, 3u
    Py_ssize_t joined           # columns of U whose product is added to a: width; GRU: 2u, without U_n
    Py_ssize_t span             # most steps of a chunk
    int cell
    int activation              # f of RNN
    int return_sequences
    int go_backwards
    int use_bias
    Py_ssize_t packed_W         # numbers of W packed, and of W^T
    Py_ssize_t packed_Wt
    Py_ssize_t packed_joined    # of the joined columns of U, and of their transpose
    Py_ssize_t packed_joined_t
    Py_ssize_t packed_U         # of all columns of U
    double slope
    double leak                 # l of RNN


cdef enum:
    FEW_ROWS = 4                # up to this many rows, the product waits for U, whose numbers it uses once or twice
    L1_BYTES = 24 * 1024        # a U of up to this size stays in L1;
    PIECE_BYTES = 16 * 1024     # a larger one is read in pieces of about this size


cdef inline void times_columns(                                         # C = A U + S
    bint reverse,               # from the last columns to the first
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A,                      # (m, k)
    const floating *packed_U,               # (k, n)
    const floating *S, Py_ssize_t lds,      # (m, n); lds 0: one row for all, or NULL; S may be C
    floating *C, Py_ssize_t ldc,            # (m, n)
) noexcept nogil:
    """gemm_packed, to the same bits, for a U that each step of a sequence reads.

    Few rows read U in pieces of columns, every other step in the reverse order: it begins with those that are in the
    cache from the step before. One row of GRU 64 takes 29 us for 50 steps in place of 32, of RNN 128 83 for 100 in
    place of 90.
    """
    cdef Py_ssize_t panel, w, j
    if m > FEW_ROWS or k * n * <Py_ssize_t>sizeof(floating) <= L1_BYTES:
        gemm_packed(False, m, n, k, A, k, packed_U, S, lds, C, ldc)
        return
    panel = panel_width(<floating>0, n, 0)
    w = max(panel, PIECE_BYTES // (k * <Py_ssize_t>sizeof(floating)) // panel * panel)
    j = (n - 1) // w * w if reverse else 0
    while 0 <= j < n:
        gemm_packed(False, m, min(w, n - j), k, A, k, packed_U + k * j, S + j if S != NULL else NULL, lds, C + j, ldc)
        j += -w if reverse else w


cdef inline void add_state_product(
    const Recurrent *s, bint reverse, Py_ssize_t m,
    const floating *h_prev,     # (m, u), or NULL in the first step: zeros
    const floating *packed_U,   # (u, width)
    floating *a,                # (m, width): x W + 1 b^T on entry
) noexcept nogil:
    """(1) a += h_prev U, of GRU's U the columns U_r, U_z alone."""
    if h_prev != NULL:
        times_columns(reverse, m, s.joined, s.units, h_prev, packed_U, a, s.width, a, s.width)


cdef inline void rnn_step(
    const Recurrent *s, bint reverse, Py_ssize_t m,
    const floating *h_prev, const floating *packed_U,
    floating *a,                # (m, u): x W + 1 b^T on entry; on exit the pre-activations, or f of them: see below
    floating *h,                # (m, u)
) noexcept nogil:
    cdef Py_ssize_t mu = m * s.units
    add_state_product(s, reverse, m, h_prev, packed_U, a)             # (1)
    vec.activate(s.activation, <floating>s.slope, m, s.units, a, h)         # (2)
    if s.leak == 1:
        return
    # h does not show f(a) any more: where f' is written in it, it takes the place of a
    if not vec.ldl_keeps_z(s.activation):
        memcpy(a, h, mu * sizeof(floating))
    vec.scale(mu, <floating>s.leak, h)
    if h_prev != NULL:
        vec.axpy(mu, <floating>(1 - s.leak), h_prev, h)


cdef inline void rnn_step_backward(
    const Recurrent *s, Py_ssize_t m,
    const floating *h_prev,     # NULL in the first step: dh_prev is not wanted
    const floating *packed_Ut,
    const floating *h,          # (m, u)
    floating *a,                # (m, u): becomes da
    floating *dh,               # (m, u): becomes dh_prev
) noexcept nogil:
    cdef Py_ssize_t u = s.units
    if s.leak != 1:
        # (2) da = l * dh * f'(a), from what rnn_step has left in a
        vec.activate_grad(s.activation, <floating>s.slope, m, u, a, dh, a)
        vec.scale(m * u, <floating>s.leak, a)
        # (1) dh_prev = (1 - l) * dh + da U^T
        if h_prev != NULL:
            vec.scale(m * u, <floating>(1 - s.leak), dh)
            gemm_packed(False, m, u, u, a, u, packed_Ut, dh, u, dh, u)
        return
    # (2) da = dh * f'(a), from a or from h, whichever the derivative is written in
    if vec.ldl_keeps_z(s.activation):
        vec.activate_grad(s.activation, <floating>s.slope, m, u, a, dh, dh)
        memcpy(a, dh, m * u * sizeof(floating))
    else:
        vec.activate_grad(s.activation, <floating>s.slope, m, u, h, dh, a)
    # (1) dh_prev = da U^T
    if h_prev != NULL:
        gemm_packed(False, m, u, u, a, u, packed_Ut, NULL, 0, dh, u)


cdef inline void lstm_step(
    const Recurrent *s, bint reverse, Py_ssize_t m,
    const floating *h_prev,
    const floating *c_prev,     # (m, u), or NULL in the first step: zeros
    const floating *packed_U,
    floating *a,                # (m, 4u): x W + 1 b^T on entry, the gates (i, f, g, o) on exit
    floating *c,                # (m, u)
    floating *tc,               # (m, u): tanh(c), or NULL: not wanted
    floating *h,                # (m, u)
) noexcept nogil:
    add_state_product(s, reverse, m, h_prev, packed_U, a)             # (1)
    vec.lstm_forward(m, s.units, a, c_prev, c, tc, h)                       # (2) (3) (4)


cdef inline void lstm_step_backward(
    const Recurrent *s, Py_ssize_t m,
    const floating *h_prev, const floating *c_prev,         # NULL in the first step
    const floating *packed_Ut,
    const floating *tc,         # (m, u): tanh(c)
    floating *a,                # (m, 4u): the gates on entry, da on exit
    floating *dh,               # (m, u): becomes dh_prev
    floating *dc,               # (m, u): of the step after on entry, dc_prev on exit
) noexcept nogil:
    vec.lstm_backward(m, s.units, a, c_prev, tc, dh, dc)                    # (4) (3) (2)
    # (1) dh_prev = da U^T
    if h_prev != NULL:
        gemm_packed(False, m, s.units, s.width, a, s.width, packed_Ut, NULL, 0, dh, s.units)


cdef inline void gru_step(
    const Recurrent *s, bint reverse, Py_ssize_t m,
    const floating *h_prev,
    const floating *packed_U,   # (U_r, U_z), then U_n
    const floating *c_n,        # (u,) or NULL
    floating *a,                # (m, 3u): x W + 1 b^T on entry, the gates (r, z, n) on exit
    floating *q,                # (m, u)
    floating *h,                # (m, u)
) noexcept nogil:
    cdef Py_ssize_t u = s.units
    if not reverse:
        add_state_product(s, reverse, m, h_prev, packed_U, a)         # (1)
    # (1) q = h_prev U_n + 1 c_n^T
    if h_prev != NULL:
        times_columns(reverse, m, u, u, h_prev, packed_U + s.packed_joined, c_n, 0, q, u)
    else:
        vec.fill_rows(m, u, c_n, q, u)
    if reverse:
        add_state_product(s, reverse, m, h_prev, packed_U, a)
    vec.gru_forward(m, u, a, q, h_prev, h)                             # (2) (3)


cdef inline void gru_step_backward(
    const Recurrent *s, Py_ssize_t m,
    const floating *h_prev,     # NULL in the first step
    const floating *packed_Ut,  # (U_r, U_z)^T, then U_n^T
    floating *a,                # (m, 3u): the gates on entry, da on exit
    floating *q,                # (m, u): becomes dq
    floating *dh,               # (m, u): becomes dh_prev
) noexcept nogil:
    cdef Py_ssize_t u = s.units
    vec.gru_backward(m, u, a, q, h_prev, dh)                                # (3) (2)
    if h_prev != NULL:
        # (1) dh_prev += (da_r, da_z) (U_r, U_z)^T + dq U_n^T
        gemm_packed(False, m, u, s.joined, a, s.width, packed_Ut, dh, u, dh, u)
        gemm_packed(False, m, u, u, q, u, packed_Ut + s.packed_joined_t, dh, u, dh, u)
