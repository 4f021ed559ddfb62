"""Dense: y = f(x W + b) along the last axis of x.

    z = x W + 1 b^T,  y = f(z)          x (n, n_in), W (n_in, n_out), b (n_out,), z and y (n, n_out)

    dz = dy * f'(z)                     (n, n_out)
    dW += x^T dz,  db += 1^T dz         (n_in, n) (n, n_out)
    dx = dz W^T                         (n, n_out) (n_out, n_in)

n counts vectors: a row of a sequence is ``steps`` of them. A layer of many weights is made in tiles of columns
(forward_columns, dx_columns), and its gradient in tiles of rows (gradient): docs/design.md says when.
"""
from functools import partial

from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.gemm_packed cimport PANEL, SMALL, gemm_by_panels, gemm_packed, pack, packed_size
from ldl_cy._engine.op cimport (
    DERIVED_FOR_DX, PACKS_TO_PREDICT, Call, Kernel, Op, assert_fits, backward_t, dx_columns_t, forward_columns_t,
    forward_t, gradient_t, prepare_t)

from ldl_cy._engine.vec import ACTIVATIONS, default_slope
from ldl_cy._kernels.folded import with_norm

# Up to this many weights W^T is packed once a step for dx; of larger ones each product packs a panel at a time.
cdef Py_ssize_t LARGEST_COPY = 1 << 16
# W of a number of weights between these is packed for predictions, which then take no time for it: a smaller one is
# read where it is, a larger one would take as much memory again.
cdef Py_ssize_t LEAST_PACKED = SMALL + 1
cdef Py_ssize_t LARGEST_PACKED = 1 << 22
# Up to this many outputs dW^T = dz^T x is made and transposed, since vectors along n_out would be partly empty. Its few
# rows read x where it is (in_place in gemm_packed.pxd).
cdef enum:
    NARROW = 15
# BatchNorm is folded into up to this many weights, or where a row's vectors use each often enough: folded weights
# are compared with theta in each predict, as copies are, and here nothing else needs that. Measured with ReLU
# after it, float32, us before and after, one row and 64: 32 to 32 0.74, 0.71 and 3.5, 2.3; 20 to 64 0.76, 0.81 and
# 4.3, 2.8; 64 to 64 0.9, 1.2 and 7.0, 5.5; 256 to 256 3.5, 8.1 and 66, 65; 784-512-512-10 78, 287 and 629, 819;
# 16 vectors of 64 to 64 2.3, 2.3 and 108, 77.
cdef Py_ssize_t FOLDED_WEIGHTS = 1 << 10
cdef Py_ssize_t INPUTS_PER_VECTOR = 4
# Bytes of a tile of the gradient: they stay in L2 until the rule has used them.
TILE_BYTES = 2**19
# Columns of a tile of y or dx: they are read from W in runs of memory, and a few threads share a layer.
TILE_COLUMNS = 128
# Rows of one at least: fewer do not repay the copies of dz in blocks.
TILE_ROWS = 64

ctypedef struct Dense:
    Py_ssize_t steps            # vectors in a row: 1, or the steps of a sequence
    Py_ssize_t n_in
    Py_ssize_t n_out
    int activation
    int use_bias
    int copies                  # derived holds W^T, packed
    int packs                   # at prediction it holds W, packed
    Py_ssize_t tile             # columns of y, or of dx, in a task of its own
    double slope


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (n_in, n_out), b (n_out,)
    const floating *state,
    floating *derived,          # W^T (n_out, n_in) or, for predictions, W (n_in, n_out), packed
) noexcept nogil:
    cdef const Dense *s = <const Dense*>&op.sizes[0]
    if call.packed:
        pack(False, s.n_in, s.n_out, theta, s.n_out, derived)
    elif s.copies:
        pack(True, s.n_out, s.n_in, theta, s.n_out, derived)


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # W, packed, if call.packed
    const floating *x,          # (n, n_in)
    floating *y,                # (n, n_out)
    floating *cache,            # z (n, n_out) where the activation's derivative needs it
    floating *scratch,
) noexcept nogil:
    cdef const Dense *s = <const Dense*>&op.sizes[0]
    cdef Py_ssize_t n = call.n * s.steps
    cdef const floating *b = theta + s.n_in * s.n_out if s.use_bias else NULL
    cdef floating *z = y
    if op.cache_size and cache != NULL:
        z = cache
    # z = x W + 1 b^T   (n, n_in) (n_in, n_out)
    if call.packed and n > 1:
        gemm_packed(False, n, s.n_out, s.n_in, x, s.n_in, derived, b, <Py_ssize_t>0, z, s.n_out)
    else:
        gemm_by_panels(False, False, n, s.n_out, s.n_in, x, s.n_in, theta, s.n_out, b, <Py_ssize_t>0, z, s.n_out,
                       scratch)
    # y = f(z)
    if s.activation != vec.LDL_IDENTITY:
        vec.activate(s.activation, <floating>s.slope, n, s.n_out, z, y)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # W^T (n_out, n_in)
    const floating *x,          # (n, n_in)
    const floating *y,          # (n, n_out)
    floating *dy,               # (n, n_out), becomes dz
    floating *dx,               # (n, n_in) or NULL
    floating *grad,             # dW, db or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Dense *s = <const Dense*>&op.sizes[0]
    cdef Py_ssize_t n = call.n * s.steps
    # dz = dy * f'(z)
    if s.activation != vec.LDL_IDENTITY:
        vec.activate_grad(s.activation, <floating>s.slope, n, s.n_out, cache if op.cache_size else y, dy, dy)
    if grad != NULL:
        # dW += x^T dz   (n_in, n) (n, n_out);  db += 1^T dz
        if 1 < s.n_out <= NARROW:
            add_narrow(n, s.n_in, s.n_out, x, dy, grad, scratch)
        else:
            gemm_by_panels(True, False, s.n_in, s.n_out, n, x, s.n_in, dy, s.n_out, grad, s.n_out, grad, s.n_out,
                           scratch)
        if s.use_bias:
            vec.add_column_sums(n, s.n_out, dy, grad + s.n_in * s.n_out)
    if dx != NULL:
        # dx = dz W^T   (n, n_out) (n_out, n_in)
        if s.copies:
            gemm_packed(False, n, s.n_in, s.n_out, dy, s.n_out, derived, NULL, <Py_ssize_t>0, dx, s.n_in)
        else:
            gemm_by_panels(False, True, n, s.n_in, s.n_out, dy, s.n_out, theta, s.n_out, NULL, <Py_ssize_t>0, dx,
                           s.n_in, scratch)


cdef inline void add_narrow(
    Py_ssize_t n, Py_ssize_t n_in, Py_ssize_t n_out,
    const floating *x,          # (n, n_in)
    const floating *dz,         # (n, n_out), n_out up to NARROW
    floating *dW,               # (n_in, n_out), added to
    floating *transposed,       # PANEL numbers to use
) noexcept nogil:
    """dW += (dz^T x)^T, as many rows of dW at a time as fit the panel."""
    cdef Py_ssize_t i = 0, j, p, w, most = PANEL // n_out
    while i < n_in:
        w = min(most, n_in - i)
        # dz^T x[:, i : i + w]   (n_out, n) (n, w)
        gemm_by_panels(True, False, n_out, w, n, dz, n_out, x + i, n_in, NULL, <Py_ssize_t>0, transposed, w, NULL)
        for p in range(w):
            for j in range(n_out):
                dW[(i + p) * n_out + j] += transposed[j * w + p]
        i += w


cdef void forward_columns(
    const Op *op, const Call *call,
    const floating *theta,      # W (n_in, n_out), b (n_out,)
    const floating *x,          # (n, n_in)
    floating *y,                # (n, n_out): columns j .. j + w - 1 are written
    floating *cache,            # z (n, n_out), likewise, where the activation's derivative needs it
    floating *scratch,
) noexcept nogil:
    cdef:
        const Dense *s = <const Dense*>&op.sizes[0]
        Py_ssize_t n = call.n * s.steps, i, j = call.tile * s.tile, w = min(s.tile, s.n_out - j)
        const floating *b = theta + s.n_in * s.n_out + j if s.use_bias else NULL
        floating *z = cache if op.cache_size and cache != NULL else y
    # z[:, j : j + w] = x W[:, j : j + w] + 1 b[j : j + w]^T   (n, n_in) (n_in, w)
    gemm_by_panels(False, False, n, w, s.n_in, x, s.n_in, theta + j, s.n_out, b, <Py_ssize_t>0, z + j, s.n_out, scratch)
    if s.activation != vec.LDL_IDENTITY:
        for i in range(n):
            vec.activate(s.activation, <floating>s.slope, 1, w, z + i * s.n_out + j, y + i * s.n_out + j)


cdef void dx_columns(
    const Op *op, const Call *call,
    const floating *theta,      # W (n_in, n_out)
    const floating *dz,         # (n, n_out)
    floating *dx,               # (n, n_in): columns i .. i + w - 1 are written
    floating *scratch,
) noexcept nogil:
    cdef:
        const Dense *s = <const Dense*>&op.sizes[0]
        Py_ssize_t n = call.n * s.steps, i = call.tile * s.tile, w = min(s.tile, s.n_in - i)
    # dx[:, i : i + w] = dz W[i : i + w]^T   (n, n_out) (n_out, w)
    gemm_by_panels(False, True, n, w, s.n_out, dz, s.n_out, theta + i * s.n_out, s.n_out, NULL, <Py_ssize_t>0, dx + i,
                   s.n_in, scratch)


cdef void gradient(
    const Op *op, const Call *call,
    const floating *x,          # (n, n_in)
    const floating *dz,         # (n, n_out)
    floating *grad,             # some rows of dW (n_in, n_out), after the last one db (n_out,): overwritten
    floating *scratch,
) noexcept nogil:
    cdef:
        const Dense *s = <const Dense*>&op.sizes[0]
        Py_ssize_t n = call.n * s.steps, rows = op.gradient_tile // s.n_out, i = call.tile * rows
        Py_ssize_t m = max(0, min(rows, s.n_in - i))
        floating *db = grad + m * s.n_out
    # dW[i : i + m] = x[:, i : i + m]^T dz   (m, n) (n, n_out)
    gemm_by_panels(True, False, m, s.n_out, n, x + i, s.n_in, dz, s.n_out, NULL, <Py_ssize_t>0, grad, s.n_out, scratch)
    if s.use_bias and m < rows:
        # db = 1^T dz
        memset(db, 0, s.n_out * sizeof(floating))
        vec.add_column_sums(n, s.n_out, dz, db)


def dense(str dtype, *, Py_ssize_t steps, Py_ssize_t n_in, Py_ssize_t n_out, str activation="identity",
          bint use_bias=True):
    """The kernel of ``layers.Dense`` for rows of ``steps`` vectors of n_in numbers."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Dense *s = <Dense*>&op.sizes[0]
    assert_fits(sizeof(Dense), sizeof(op.sizes))
    s.steps, s.n_in, s.n_out = steps, n_in, n_out
    s.activation, s.slope, s.use_bias = ACTIVATIONS.index(activation), default_slope(activation), use_bias
    s.copies = n_in * n_out <= LARGEST_COPY
    # equal tiles of rows of W, an even number of them if not one; the row of the bias counts as one
    most = max(TILE_ROWS, TILE_BYTES // ((4 if dtype == "float32" else 8) * n_out))
    tiles = (n_in + use_bias + most - 1) // most
    tiles += tiles > 1 and tiles % 2
    rows = (n_in + use_bias + tiles - 1) // tiles
    # if there are then as many, of whole tiles of registers, which have 6, 8 or 12 rows
    whole = (rows + 11) // 12 * 12
    op.gradient_tile = (whole if whole * (tiles - 1) < n_in + use_bias and tiles > 1 else rows) * n_out
    s.tile = TILE_COLUMNS
    # softmax looks along a whole row
    if s.activation != vec.LDL_SOFTMAX:
        op.y_tiles, op.x_tiles = (n_out + s.tile - 1) // s.tile, (n_in + s.tile - 1) // s.tile
    op.x_size = steps * n_in
    op.y_size = steps * n_out
    op.n_params = n_in * n_out + (n_out if use_bias else 0)
    s.packs = n_out > 1 and LEAST_PACKED <= n_in * n_out <= LARGEST_PACKED
    op.n_derived = max(packed_size(n_out, n_in) if s.copies else 0, packed_size(n_in, n_out) if s.packs else 0)
    op.flags = DERIVED_FOR_DX | (PACKS_TO_PREDICT if s.packs else 0)
    op.scratch_fixed = PANEL
    op.cache_size = op.y_size if vec.ldl_keeps_z(s.activation) else 0
    op.flops = 2.0 * steps * n_in * n_out
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
        op.gradient = <gradient_t>gradient[float]
        op.forward_columns = <forward_columns_t>forward_columns[float]
        op.dx_columns = <dx_columns_t>dx_columns[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
        op.gradient = <gradient_t>gradient[double]
        op.forward_columns = <forward_columns_t>forward_columns[double]
        op.dx_columns = <dx_columns_t>dx_columns[double]
    kernel.name, kernel.dtype = "dense", dtype
    kernel.config = {"steps": steps, "n_in": n_in, "n_out": n_out, "activation": activation}
    if activation == "identity" and (n_in * n_out <= FOLDED_WEIGHTS or n_in <= INPUTS_PER_VECTOR * steps):
        make = partial(dense, dtype, steps=steps, n_in=n_in, n_out=n_out)
        kernel.folder = partial(with_norm, make, n_out, use_bias)
    return kernel
