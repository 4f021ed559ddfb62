"""The two kinds of op that are not plain rows, as small as they can be.

``center`` couples rows: it needs sums over the whole batch, forward and backward. ``columns`` runs in
tiles of columns over all rows. The engine's tests prove the plan with them, and whoever writes such a
kernel can begin from here.
"""
from cython cimport floating

from ldl_cy._engine.blas cimport gemm
from ldl_cy._engine.op cimport (
    COLUMN_TILES, COUPLES_ROWS, Call, Kernel, Op, backward_t, combine_t, forward_t, reduce_t)

cdef enum:
    TILE = 4                    # columns of a tile


cdef void center_reduce(
    const Op *op, const Call *call, const floating *theta,
    const floating *x,          # (n, k)
    const floating *y,
    const floating *dy,         # (n, k), or NULL on the way forward
    const floating *cache,
) noexcept nogil:
    """partial_j = sum_i x_ij, or sum_i dy_ij on the way back"""
    cdef Py_ssize_t i, j, k = op.x_size
    cdef const floating *rows = x if dy == NULL else dy
    for j in range(k):
        call.partial[j] = 0
    for i in range(call.n):
        for j in range(k):
            call.partial[j] += rows[i * k + j]


cdef void center_combine(
    const Op *op, const Call *call, Py_ssize_t n_blocks, const double *partials, double *total,
    floating *state,            # (k,) running mean
) noexcept nogil:
    """total = sum of the partials in block order; running mean: 0.9 old + 0.1 new"""
    cdef Py_ssize_t b, j
    for j in range(op.n_partial):
        total[j] = 0
        for b in range(n_blocks):
            total[j] += partials[b * op.n_partial + j]
        if state != NULL:
            state[j] = <floating>(0.9 * state[j] + 0.1 * total[j] / call.n_batch)


cdef void center_forward(
    const Op *op, const Call *call, const floating *theta, const floating *state, const floating *derived,
    const floating *x, floating *y, floating *cache, floating *scratch,
) noexcept nogil:
    """y = x - mean of the batch; at prediction x - running mean"""
    cdef Py_ssize_t i, j, k = op.x_size
    for i in range(call.n):
        for j in range(k):
            y[i * k + j] = x[i * k + j] - (
                <floating>(call.partial[j] / call.n_batch) if call.training else state[j])


cdef void center_backward(
    const Op *op, const Call *call, const floating *theta, const floating *state, const floating *derived,
    const floating *x, const floating *y, floating *dy, floating *dx, floating *grad, floating *cache,
    floating *scratch,
) noexcept nogil:
    """dx = dy - mean of dy over the batch"""
    cdef Py_ssize_t i, j, k = op.x_size
    if dx == NULL:
        return
    for i in range(call.n):
        for j in range(k):
            dx[i * k + j] = dy[i * k + j]
            if call.training:
                dx[i * k + j] -= <floating>(call.partial[j] / call.n_batch)


def center(str dtype, *, Py_ssize_t k):
    """x - mean over the batch."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    op.x_size = op.y_size = op.n_partial = op.n_state = k
    op.flags = COUPLES_ROWS
    op.flops = k
    if dtype == "float32":
        op.forward, op.backward = <forward_t>center_forward[float], <backward_t>center_backward[float]
        op.reduce, op.combine = <reduce_t>center_reduce[float], <combine_t>center_combine[float]
    else:
        op.forward, op.backward = <forward_t>center_forward[double], <backward_t>center_backward[double]
        op.reduce, op.combine = <reduce_t>center_reduce[double], <combine_t>center_combine[double]
    kernel.name, kernel.dtype, kernel.config = "center", dtype, {"k": k}
    return kernel


cdef void columns_forward(
    const Op *op, const Call *call,
    const floating *theta,      # W (n_in, n_out)
    const floating *state, const floating *derived,
    const floating *x,          # (n, n_in)
    floating *y,                # (n, n_out): this tile's columns are written
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef Py_ssize_t n_in = op.x_size, n_out = op.y_size
    cdef Py_ssize_t a = call.tile * n_out // call.n_tiles, b = (call.tile + 1) * n_out // call.n_tiles
    # y[:, a:b] = x W[:, a:b]
    gemm(False, False, call.n, b - a, n_in, <floating>1, x, n_in, theta + a, n_out, <floating>0, y + a, n_out)


cdef void columns_backward(
    const Op *op, const Call *call, const floating *theta, const floating *state, const floating *derived,
    const floating *x,          # (n, n_in)
    const floating *y,
    floating *dy,               # (n, n_out), read by all tiles
    floating *dx,               # (n, n_in) or NULL: this tile's columns are written
    floating *grad,             # dW (n_in, n_out) or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef Py_ssize_t n_in = op.x_size, n_out = op.y_size
    cdef Py_ssize_t a = call.tile * n_out // call.n_tiles, b = (call.tile + 1) * n_out // call.n_tiles
    if grad != NULL:
        # dW[:, a:b] += x^T dy[:, a:b]
        gemm(True, False, n_in, b - a, call.n, <floating>1, x, n_in, dy + a, n_out, <floating>1, grad + a, n_out)
    if dx != NULL:
        a, b = call.tile * n_in // call.n_tiles, (call.tile + 1) * n_in // call.n_tiles
        # dx[:, a:b] = dy W[a:b, :]^T
        gemm(False, True, call.n, b - a, n_out, <floating>1, dy, n_out, theta + a * n_out, n_out,
             <floating>0, dx + a, n_in)


def columns(str dtype, *, Py_ssize_t n_in, Py_ssize_t n_out):
    """x W in tiles of columns."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    op.x_size, op.y_size, op.n_params = n_in, n_out, n_in * n_out
    op.flags, op.n_tiles = COLUMN_TILES, (n_out + TILE - 1) // TILE
    op.flops = 2.0 * n_in * n_out
    if dtype == "float32":
        op.forward, op.backward = <forward_t>columns_forward[float], <backward_t>columns_backward[float]
    else:
        op.forward, op.backward = <forward_t>columns_forward[double], <backward_t>columns_backward[double]
    kernel.name, kernel.dtype, kernel.config = "columns", dtype, {"n_in": n_in, "n_out": n_out}
    return kernel
