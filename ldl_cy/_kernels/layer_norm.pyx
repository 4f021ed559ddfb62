"""Layer normalization: y = f(gamma (x - mean) / sigma + beta), with the statistics of each vector of k numbers.

Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450, 2016. For one vector x (k,)

    mean = sum x_j / k,  sigma = sqrt(sum (x_j - mean)^2 / k + epsilon),  xhat_j = (x_j - mean) / sigma
    z_j = gamma_j xhat_j + beta_j,  y_j = f(z_j)

    dz_j = dy_j f'(z_j),  dgamma_j += dz_j xhat_j,  dbeta_j += dz_j
    dx_j = (g_j - sum g / k - xhat_j sum (g xhat) / k) / sigma,  g_j = gamma_j dz_j

f is the activation behind the layer where a plan fuses the two: it passes over pieces that are in the cache. f'(z) is
made with f(z) and kept, where it is not a function of y. The sums and loops are in _engine/vec/layer_norm.inc.
Where a vector is a whole sequence, only the numbers of its valid steps are in it: see ``numbers_of``. Vectors whose
numbers are not neighbours are those of layer_norm_axes.pyx.
"""
from functools import partial

from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.layer_norm cimport (
    layer_norm_backward, layer_norm_describe, layer_norm_forward, layer_norm_sums)
from ldl_cy._engine.op cimport USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, forward_t

from ldl_cy._engine.vec import ACTIVATIONS

cdef enum:
    KEPT = 3                    # numbers kept of a vector: mean in two parts, 1 / sigma
    PIECE = 4096                # numbers that pass an activation at a time

ctypedef struct LayerNorm:
    Py_ssize_t vectors          # vectors in a row
    Py_ssize_t k                # their length
    Py_ssize_t n_steps          # of the sequence that a vector is, the only one in its row; 0: lengths do not matter
    Py_ssize_t piece            # vectors that pass at a time
    double epsilon
    int activation
    double slope                # the activation's parameter


cdef inline Py_ssize_t numbers_of(const LayerNorm *s, const Call *call, Py_ssize_t v) noexcept nogil:
    """How many numbers vector v of a block has, which are its first ones."""
    if s.n_steps == 0 or call.lengths == NULL:
        return s.k
    return max(0, min(<Py_ssize_t>call.lengths[v], s.n_steps)) * (s.k // s.n_steps)


cdef inline Py_ssize_t piece_of(const LayerNorm *s, const Call *call, Py_ssize_t v) noexcept nogil:
    """How many vectors of a block pass together from v on: one where they have several lengths."""
    return 1 if s.n_steps and call.lengths != NULL else min(s.piece, call.n * s.vectors - v)


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, vectors, k)
    floating *y,                # (n, vectors, k)
    floating *cache,            # (n, vectors, KEPT), then f'(z) (n, vectors, k) if kept; or NULL at prediction
    floating *scratch,          # (piece, KEPT)
) noexcept nogil:
    cdef const LayerNorm *s = <const LayerNorm*>&op.sizes[0]
    cdef Py_ssize_t v = 0, k, rows
    cdef floating *stats = scratch
    cdef floating *slopes = NULL
    if cache != NULL and vec.ldl_keeps_z(s.activation):
        slopes = cache + call.n * s.vectors * KEPT
    while v < call.n * s.vectors:
        rows, k = piece_of(s, call, v), numbers_of(s, call, v)
        if cache != NULL:
            stats = cache + v * KEPT
        layer_norm_describe(rows, k, s.epsilon, x, stats)
        layer_norm_forward(rows, k, theta, theta + s.k, stats, x, y)
        if slopes != NULL:
            vec.activate_both(s.activation, rows * k, <const floating*>y, y, slopes + v * s.k)
        elif s.activation != vec.LDL_IDENTITY:
            vec.activate(s.activation, <floating>s.slope, rows, k, y, y)
        if k < s.k:
            memset(y + k, 0, (s.k - k) * sizeof(floating))
        x += rows * s.k
        y += rows * s.k
        v += rows


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, vectors, k)
    const floating *y,          # (n, vectors, k)
    floating *dy,               # (n, vectors, k), becomes dz
    floating *dx,               # (n, vectors, k) or NULL
    floating *grad,             # dgamma (k,), dbeta (k,) or NULL
    floating *cache,            # as forward has left it
    floating *scratch,          # (2, k) doubles
) noexcept nogil:
    cdef const LayerNorm *s = <const LayerNorm*>&op.sizes[0]
    cdef Py_ssize_t v = 0, i, j, k, rows
    # a block's sums in double: a row may hold thousands of vectors
    cdef double *dgamma = <double*>scratch
    cdef double *dbeta = dgamma + s.k
    cdef const floating *slopes = cache + call.n * s.vectors * KEPT
    memset(dgamma, 0, 2 * s.k * sizeof(double))
    while v < call.n * s.vectors:
        rows, k = piece_of(s, call, v), numbers_of(s, call, v)
        if vec.ldl_keeps_z(s.activation):
            for i in range(rows * k):
                dy[i] *= slopes[v * s.k + i]
        elif s.activation != vec.LDL_IDENTITY:
            vec.activate_grad(s.activation, <floating>s.slope, rows, k, y, dy, dy)
        if grad != NULL:
            layer_norm_sums(rows, k, cache, x, dy, dgamma, dbeta)
        if dx != NULL:
            layer_norm_backward(rows, k, theta, cache, x, dy, dx)
            if k < s.k:
                memset(dx + k, 0, (s.k - k) * sizeof(floating))
            dx += rows * s.k
        x += rows * s.k
        y += rows * s.k
        dy += rows * s.k
        cache += rows * KEPT
        v += rows
    if grad != NULL:
        for j in range(s.k):
            grad[j] += <floating>dgamma[j]
            grad[s.k + j] += <floating>dbeta[j]


def layer_norm(str dtype, *, Py_ssize_t vectors, Py_ssize_t k, double epsilon, Py_ssize_t n_steps=0,
               str activation="identity", double slope=1.0):
    """The kernel of ``layers.LayerNorm`` for rows of ``vectors`` vectors of k numbers.

    With ``n_steps`` a row is one vector of that many steps, and only valid ones are normalized. ``activation`` is an
    elementwise function behind it, ``slope`` its parameter.
    """
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef LayerNorm *s = <LayerNorm*>&op.sizes[0]
    assert_fits(sizeof(LayerNorm), sizeof(op.sizes))
    s.vectors, s.k, s.n_steps, s.epsilon = vectors, k, n_steps, epsilon
    s.activation, s.slope = ACTIVATIONS.index(activation), slope
    s.piece = max(1, PIECE // k)
    op.flags = USES_LENGTHS if n_steps else 0
    op.x_size = op.y_size = vectors * k
    op.n_params = 2 * k
    op.cache_size = KEPT * vectors + (op.y_size if vec.ldl_keeps_z(s.activation) else 0)
    op.scratch_fixed = max(KEPT * s.piece, 2 * k * (2 if dtype == "float32" else 1))
    op.flops = 10.0 * op.x_size
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "layer_norm", dtype
    kernel.config = {"vectors": vectors, "k": k, "epsilon": epsilon, "n_steps": n_steps, "activation": activation}
    if activation == "identity" and n_steps == 0:
        kernel.fuser = partial(with_activation, dtype, {"vectors": vectors, "k": k, "epsilon": epsilon})
    return kernel


def with_activation(dtype, settings, Kernel after, rows):
    """The fuser of ``layer_norm``: with an elementwise activation."""
    if after.name != "activation" or after.config["kind"] == "softmax":
        return None
    return layer_norm(dtype, **settings, activation=after.config["kind"], slope=after.config["slope"])
