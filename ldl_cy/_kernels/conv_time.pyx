"""Convolution over time in another basis: fewer multiplications, for windows at stride 1.

Output is made in tiles of m steps, each from n = m + r - 1 steps of the input, r the steps of a window. With d a tile
of the input and g the weights of one channel and filter, * the product of elements (time_bases.py, vec/basis.h),

    V = B^T d,  U = G g,  M = sum_c V * U,  z = A^T M + b,  y = f(z)

    dz = dy * f'(z),  D = A dz,  Q = sum_tiles V * D,  dW += G^T Q,  db += sum of dz
    N = sum_f U * D,  dx: the sum of the tiles B N, which overlap

by values at points, or by the discrete Fourier transform, where B, A, G are its parts and M, Q, N are products of
complex numbers, each three real ones. M, Q and N are then one product of matrices for each of the `slabs` places of a
tile: M (tiles, f) = V (tiles, c) U (c, f), Q (c, f) = V^T D and N (tiles, c) = D U^T.

With dilation d the steps s, s + d, s + 2 d, .. are a sequence of its own, for each s < d.

The plain twin is conv.pyx, ``Conv1D(algorithm="direct")``; tests/layers/test_conv_time.py compares the two.
"""
from array import array
from functools import partial

from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.basis cimport (
    INPUT, INPUT_CONJUGATED, LDL_BASIS_ADD, LDL_BASIS_RELU, LDL_BASIS_STORE, OUTPUT, Basis, Side, Tile, from_basis,
    to_basis, weights_from_basis, weights_to_basis, work_size)
from ldl_cy._engine.gemm_packed cimport PANEL, gemm_by_panels, gemm_packed, pack, packed_size
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t

from ldl_cy._engine.vec import ACTIVATIONS, default_slope
from ldl_cy._kernels.folded import with_norm
from ldl_cy._kernels.strides import matrix_stride
from ldl_cy._kernels.time_bases import block_size, in_order, matrices, places, turns

cdef enum:
    # Tiles whose products are summed before they are added to Q: of thousands of tiles, in one sum after the other, the
    # rounding error would grow with the square root of their number.
    SUMMED = 64

ctypedef struct Time:
    Basis s
    Py_ssize_t t                # steps of the input
    Py_ssize_t c
    Py_ssize_t ot               # of the output
    Py_ssize_t f
    Py_ssize_t left             # padding
    Py_ssize_t dilation
    Py_ssize_t phases           # sequences of a row
    Py_ssize_t tiles            # of one sequence
    Py_ssize_t units            # of a row: tiles that are transformed together
    Py_ssize_t block            # units of a block
    Py_ssize_t rows             # of x taken together, so that they stay in the cache
    Py_ssize_t v_stride         # from one slab's (tiles, c), (tiles, f) or (c, f) to the next one's
    Py_ssize_t m_stride
    Py_ssize_t q_stride
    Py_ssize_t u_size           # of U of one slab, packed
    Py_ssize_t ut_size
    Py_ssize_t U                # offsets in derived
    Py_ssize_t Ut
    Py_ssize_t W                # W or W^T, packed
    Py_ssize_t M                # offsets in scratch
    Py_ssize_t Q
    Py_ssize_t panel
    Py_ssize_t work
    int activation
    int use_bias
    double slope


cdef inline void find_tiles(
    const Time *v, Side side, Py_ssize_t unit,
    Tile *tile,                 # the unit's tiles in x (n, t, c), or in y (n, ot, f)
) noexcept nogil:
    cdef:
        Py_ssize_t d = v.dilation, row = unit // v.units, first = unit % v.units * v.s.tiles, i, to, at, n
    for i in range(first, first + v.s.tiles):
        # its first step of the output; past the last tile, and past the end of a shorter sequence, there is none
        to = v.ot if i >= v.phases * v.tiles else i // v.tiles + i % v.tiles * v.s.m * d
        n = max(<Py_ssize_t>0, min((v.ot - to + d - 1) // d, <Py_ssize_t>v.s.m))
        if side == OUTPUT:
            tile.at, tile.low, tile.high = (row * v.ot + to) * v.f, 0, n
        else:
            at = to - v.left
            tile.at = (row * v.t + at) * v.c
            tile.low = 0 if at >= 0 else min((d - 1 - at) // d, <Py_ssize_t>v.s.n)
            tile.high = 0 if n == 0 or at >= v.t else min((v.t - at + d - 1) // d, <Py_ssize_t>v.s.n)
        tile += 1


cdef inline Py_ssize_t rows_of(
    const Time *v, Py_ssize_t count, floating *V, Py_ssize_t stride, Py_ssize_t c,
) noexcept nogil:
    """Rows of the products of `count` units: at least two, since a row alone is summed in another order."""
    cdef Py_ssize_t p
    if count * v.s.tiles > 1:
        return count * v.s.tiles
    for p in range(v.s.slabs):
        memset(V + p * stride + c, 0, c * sizeof(floating))
    return 2


cdef inline void transform(
    const Time *v, Side side, Py_ssize_t first, Py_ssize_t count,
    const floating *x,          # (n, t, c), or (n, ot, f)
    floating *V,                # (slabs, block, c)
    floating *work,
) noexcept nogil:
    cdef:
        Py_ssize_t i, c = v.f if side == OUTPUT else v.c, stride = v.m_stride if side == OUTPUT else v.v_stride
        Tile tile[2]
    for i in range(count):
        find_tiles(v, side, first + i, tile)
        to_basis(&v.s, side, c, x, tile, v.dilation * c, V + i * v.s.tiles * c, stride, work)


cdef inline void transform_back(
    const Time *v, Side side, Py_ssize_t first, Py_ssize_t count,
    const floating *V,          # (slabs, block, c)
    const floating *b, int write,
    floating *x,                # (n, t, c), or (n, ot, f)
    floating *work,
) noexcept nogil:
    cdef:
        Py_ssize_t i, c = v.f if side == OUTPUT else v.c, stride = v.m_stride if side == OUTPUT else v.v_stride
        Tile tile[2]
    for i in range(count):
        find_tiles(v, side, first + i, tile)
        from_basis(&v.s, side, c, V + i * v.s.tiles * c, stride, b, write, x, tile,
                   v.dilation * c, work)


cdef inline void add_products(
    const Time *v, bint overwrite, Py_ssize_t rows,
    const floating *V,          # (slabs, rows, c)
    const floating *D,          # (slabs, rows, f)
    floating *Q,                # (slabs, c, f): added to, or overwritten
    floating *panel,            # to use, and a slab behind it
) noexcept nogil:
    cdef:
        Py_ssize_t c = v.c, f = v.f, p, i, n
        floating *part
    for p in range(v.s.slabs):
        i = 0
        while i < rows:
            n, part = min(<Py_ssize_t>SUMMED, rows - i), Q + p * v.q_stride if overwrite and i == 0 else panel + PANEL
            # Q += V^T D   (c, n) (n, f)
            gemm_by_panels(True, False, c, f, n, V + p * v.v_stride + i * c, c, D + p * v.m_stride + i * f, f,
                           <const floating*>NULL, 0, part, f, panel)
            if not (overwrite and i == 0):
                vec.add(c * f, <const floating*>part, Q + p * v.q_stride)
            i += n


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (r, c, f), b (f,)
    const floating *state,
    floating *derived,          # U (slabs, c, f), U^T (slabs, f, c), packed; W or W^T (r, c, f), packed
) noexcept nogil:
    cdef:
        const Time *v = <const Time*>&op.sizes[0]
        Py_ssize_t c = v.c, f = v.f, size = max(v.u_size, v.ut_size), j
        floating *W = derived + v.W
        floating *work = W + v.s.r * size
    # the transform works on each number of W, so W is packed before it; what fills a packed matrix up is 0
    memset(W, 0, v.s.r * size * sizeof(floating))
    for j in range(v.s.r):
        pack(False, c, f, theta + j * c * f, f, W + j * v.u_size)
    weights_to_basis(&v.s, v.u_size, <const floating*>W, derived + v.U, v.u_size, work)
    if not call.backward:
        return
    memset(W, 0, v.s.r * size * sizeof(floating))
    for j in range(v.s.r):
        pack(True, f, c, theta + j * c * f, f, W + j * v.ut_size)
    weights_to_basis(&v.s, v.ut_size, <const floating*>W, derived + v.Ut, v.ut_size, work)


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # W (r, c, f), b (f,)
    const floating *state,
    const floating *derived,    # U (slabs, c, f)
    const floating *x,          # (n, t, c)
    floating *y,                # (n, ot, f)
    floating *cache,            # z (n, ot, f) where the activation's derivative needs it
    floating *scratch,
) noexcept nogil:
    cdef:
        const Time *v = <const Time*>&op.sizes[0]
        Py_ssize_t c = v.c, f = v.f, first = 0, n, unit, units, count, rows, p
        const floating *b = theta + op.n_params - f if v.use_bias else NULL
        const floating *from_x
        floating *M = scratch + v.M
        floating *work = scratch + v.work
        floating *z
        bint relu = v.activation == vec.LDL_RELU
    while first < call.n:
        n = min(v.rows, call.n - first)
        from_x = x + first * op.x_size
        z = (cache if op.cache_size and cache != NULL else y) + first * op.y_size
        unit, units = 0, n * v.units
        while unit < units:
            count = min(v.block, units - unit)
            transform(v, INPUT, unit, count, from_x, scratch, work)
            rows = rows_of(v, count, scratch, v.v_stride, c)
            for p in range(v.s.slabs):
                # M = V U   (rows, c) (c, f)
                gemm_packed(False, rows, f, c, <const floating*>scratch + p * v.v_stride, c,
                            derived + v.U + p * v.u_size, <const floating*>NULL, 0, M + p * v.m_stride, f)
            transform_back(v, OUTPUT, unit, count, <const floating*>M, b, LDL_BASIS_RELU if relu else LDL_BASIS_STORE,
                           z, work)
            unit += count
        if v.activation != vec.LDL_IDENTITY and not relu:
            vec.activate(v.activation, <floating>v.slope, n * v.ot, f, z, y + first * op.y_size)
        first += n


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # U^T (slabs, f, c)
    const floating *x,          # (n, t, c)
    floating *y,                # (n, ot, f)
    floating *dy,               # (n, ot, f), becomes dz
    floating *dx,               # (n, t, c) or NULL
    floating *grad,             # dW (r, c, f), db or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const Time *v = <const Time*>&op.sizes[0]
        Py_ssize_t c = v.c, f = v.f, first = 0, n, unit, units, count, rows, p, q
        floating *a = cache if op.cache_size else y
        floating *V = scratch
        floating *D = scratch + v.M
        floating *Q = scratch + v.Q
        floating *work = scratch + v.work
        floating *dz
    while first < call.n:
        n = min(v.rows, call.n - first)
        dz = dy + first * op.y_size
        # dz = dy * f'(z)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate_grad(v.activation, <floating>v.slope, n * v.ot, f, a + first * op.y_size, dz, dz)
        # db += 1^T dz
        if grad != NULL and v.use_bias:
            vec.add_column_sums(n * v.ot, f, dz, grad + op.n_params - f)
        if dx != NULL:
            memset(dx + first * op.x_size, 0, n * op.x_size * sizeof(floating))
        unit, units = 0, n * v.units
        while unit < units:
            count = min(v.block, units - unit)
            transform(v, OUTPUT, unit, count, <const floating*>dz, D, work)
            if grad != NULL:
                transform(v, INPUT_CONJUGATED, unit, count, x + first * op.x_size, V, work)
                add_products(v, first + unit == 0, count * v.s.tiles, <const floating*>V, <const floating*>D, Q,
                             scratch + v.panel)
            if dx != NULL:
                rows = rows_of(v, count, D, v.m_stride, f)
                for p in range(v.s.slabs):
                    # the DFT's factor conjugated: its second and third slab exchanged and, see basis.h, negated
                    q = p
                    if v.s.place != NULL and p < v.s.slabs - 2 and p % 3 > 0:
                        q = p // 3 * 3 + 3 - p % 3
                    # N = D U^T   (rows, f) (f, c), in the place of V
                    gemm_packed(False, rows, c, f, <const floating*>D + p * v.m_stride, f,
                                derived + v.Ut + q * v.ut_size, <const floating*>NULL, 0, V + p * v.v_stride, c)
                transform_back(v, INPUT, unit, count, <const floating*>V, <const floating*>NULL, LDL_BASIS_ADD,
                               dx + first * op.x_size, work)
            unit += count
        first += n
    if grad != NULL:
        # dW += G^T Q   (r, c, f)
        weights_from_basis(&v.s, c * f, Q, v.q_stride, grad, work)


def conv_time(str dtype, *, basis, Py_ssize_t steps, Py_ssize_t channels, Py_ssize_t left, Py_ssize_t output,
              Py_ssize_t dilation, Py_ssize_t filters, str activation="identity", bint use_bias=True):
    """The kernel of ``layers.Conv1D`` in a ``time_bases.Basis``: (steps, channels), ``left`` zeros before them."""
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef Time *v = <Time*>&op.sizes[0]
    assert_fits(sizeof(Time), sizeof(op.sizes))
    cdef Py_ssize_t c = channels, f = filters, item = 4 if dtype == "float32" else 8
    made.parts = set_basis(&v.s, basis, dtype)
    v.t, v.c, v.ot, v.f, v.left, v.dilation = steps, c, output, f, left, dilation
    v.phases = min(dilation, output)
    v.tiles = ((output + dilation - 1) // dilation + v.s.m - 1) // v.s.m
    v.units = basis.units(output, dilation)
    v.block = block_size(basis, c, f, item, v.units)
    v.rows = max(1, v.block // v.units)
    v.v_stride = matrix_stride(v.block * v.s.tiles * c)
    v.m_stride = matrix_stride(v.block * v.s.tiles * f)
    v.q_stride = matrix_stride(c * f)
    v.u_size, v.ut_size = packed_size(c, f), packed_size(f, c)
    v.activation, v.slope, v.use_bias = ACTIVATIONS.index(activation), default_slope(activation), use_bias
    op.x_size, op.y_size = steps * c, output * f
    op.n_params = v.s.r * c * f + (f if use_bias else 0)
    op.cache_size = op.y_size if vec.ldl_keeps_z(v.activation) else 0
    v.U = 0
    v.Ut = v.s.slabs * v.u_size
    v.W = v.Ut + v.s.slabs * v.ut_size
    op.n_derived = v.W + v.s.r * max(v.u_size, v.ut_size) + work_size(&v.s)
    v.M = v.s.slabs * v.v_stride
    v.Q = v.M + v.s.slabs * v.m_stride
    v.panel = v.Q + v.s.slabs * v.q_stride
    v.work = v.panel + PANEL + v.q_stride
    op.scratch_fixed = v.work + work_size(&v.s)
    op.flops = 2.0 * v.units * v.s.tiles * v.s.slabs * c * f
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    made.name, made.dtype = "conv_time", dtype
    settings = {"basis": basis, "steps": steps, "channels": c, "left": left, "output": output, "dilation": dilation,
                "filters": f}
    made.config = dict(settings, activation=activation, use_bias=use_bias)
    if activation == "identity":
        made.folder = partial(with_norm, partial(conv_time, dtype, **settings), filters, use_bias)
    return made


cdef tuple set_basis(Basis *s, basis, dtype):
    """Fill s; the constants are in what is returned."""
    s.n, s.m, s.r, s.slabs, s.tiles = basis.n, basis.m, basis.r, basis.slabs, basis.tiles
    kind = "f" if dtype == "float32" else "d"
    tables = [array(kind, turns(basis.n))] if basis.by_dft else [array(kind, in_order(C)) for C in matrices(basis)]
    at = array("i", places(basis.n)) if basis.by_dft else None
    s.place = NULL if at is None else <const int*><size_t>at.buffer_info()[0]
    s.B = <const void*><size_t>tables[0].buffer_info()[0]
    if at is None:
        s.A = <const void*><size_t>tables[1].buffer_info()[0]
        s.G = <const void*><size_t>tables[2].buffer_info()[0]
    return (*tables, at)
