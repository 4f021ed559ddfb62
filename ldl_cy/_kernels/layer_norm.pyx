"""Layer normalization: y = gamma (x - mean) / sigma + beta, with the statistics of each vector of k numbers.

Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450, 2016. For one vector x (k,)

    mean = sum x_j / k,  sigma = sqrt(sum (x_j - mean)^2 / k + epsilon),  xhat_j = (x_j - mean) / sigma
    y_j = gamma_j xhat_j + beta_j

    dgamma_j += dy_j xhat_j,  dbeta_j += dy_j
    dx_j = (g_j - sum g / k - xhat_j sum (g xhat) / k) / sigma,  g_j = gamma_j dy_j

Where a vector is a whole sequence, only the numbers of its valid steps are in it: see ``numbers_of``. Vectors whose
numbers are not neighbours are those of layer_norm_axes.pyx.
"""
from cython cimport floating
from libc.math cimport sqrt
from libc.string cimport memset

from ldl_cy._engine.op cimport USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._kernels.layer_norm_sums cimport gradient_sums, sum_run, sum_squares

cdef enum:
    KEPT = 3                    # numbers kept of a vector: see describe

ctypedef struct LayerNorm:
    Py_ssize_t vectors          # vectors in a row
    Py_ssize_t k                # their length
    Py_ssize_t n_steps          # of the sequence that a vector is, the only one in its row; 0: lengths do not matter
    double epsilon


cdef inline Py_ssize_t numbers_of(const LayerNorm *s, const Call *call, Py_ssize_t v) noexcept nogil:
    """How many numbers vector v of a block has, which are its first ones."""
    if s.n_steps == 0 or call.lengths == NULL:
        return s.k
    return max(0, min(<Py_ssize_t>call.lengths[v], s.n_steps)) * (s.k // s.n_steps)


cdef inline void describe(
    const LayerNorm *s, Py_ssize_t k,
    const floating *x,          # (k,)
    floating *stats,            # (KEPT,)
) noexcept nogil:
    """stats = mean rounded (high), mean - high (low), 1 / sigma

    With the mean in two parts (x - high) - low is accurate where the mean is far larger than sigma.
    """
    # mean = sum x / k
    cdef double mean = sum_run(k, x) / max(1, k)
    # variance = sum (x - mean)^2 / k, in a second pass: the mean of squares less mean^2 would cancel
    cdef double variance = sum_squares(k, x, mean) / max(1, k)
    stats[0] = <floating>mean
    stats[1] = <floating>(mean - stats[0])
    stats[2] = <floating>(1 / sqrt(variance + s.epsilon))


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, vectors, k)
    floating *y,                # (n, vectors, k)
    floating *cache,            # (n, vectors, KEPT), or NULL at prediction
    floating *scratch,
) noexcept nogil:
    cdef const LayerNorm *s = <const LayerNorm*>&op.sizes[0]
    cdef Py_ssize_t v, j, k
    cdef const floating *gamma = theta
    cdef const floating *beta = theta + s.k
    cdef floating[KEPT] own
    cdef floating *stats = own
    cdef floating high, low, inverse
    for v in range(call.n * s.vectors):
        if cache != NULL:
            stats = cache + v * KEPT
        k = numbers_of(s, call, v)
        describe(s, k, x, stats)
        high, low, inverse = stats[0], stats[1], stats[2]
        # y = gamma xhat + beta,  xhat = (x - mean) / sigma
        for j in range(k):
            y[j] = (x[j] - high - low) * inverse * gamma[j] + beta[j]
        memset(y + k, 0, (s.k - k) * sizeof(floating))
        x += s.k
        y += s.k


cdef inline void input_gradient(
    Py_ssize_t k,
    const floating *gamma,      # (k,)
    const floating *x,          # (k,)
    const floating *dy,         # (k,)
    floating *dx,               # (k,)
    const floating *stats,      # (KEPT,)
) noexcept nogil:
    """dx = (g - mean(g) - xhat mean(g xhat)) / sigma,  g = gamma dy"""
    cdef Py_ssize_t j
    cdef double sum_g, sum_g_xhat
    cdef floating high = stats[0], low = stats[1], inverse = stats[2], mean_g, slope
    gradient_sums(k, gamma, x, dy, high, low, inverse, &sum_g, &sum_g_xhat)
    mean_g = <floating>(sum_g / max(1, k))
    slope = <floating>(sum_g_xhat / max(1, k) * inverse)
    for j in range(k):
        dx[j] = (gamma[j] * dy[j] - mean_g - (x[j] - high - low) * slope) * inverse


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, vectors, k)
    const floating *y,
    floating *dy,               # (n, vectors, k)
    floating *dx,               # (n, vectors, k) or NULL
    floating *grad,             # dgamma (k,), dbeta (k,) or NULL
    floating *cache,            # (n, vectors, KEPT)
    floating *scratch,          # (2, k) doubles
) noexcept nogil:
    cdef const LayerNorm *s = <const LayerNorm*>&op.sizes[0]
    cdef Py_ssize_t v, j, k
    # a block's sums in double: a row may hold thousands of vectors
    cdef double *dgamma = <double*>scratch
    cdef double *dbeta = dgamma + s.k
    cdef floating high, low, inverse
    memset(dgamma, 0, 2 * s.k * sizeof(double))
    for v in range(call.n * s.vectors):
        k = numbers_of(s, call, v)
        high, low, inverse = cache[0], cache[1], cache[2]
        if grad != NULL:
            # dgamma += dy xhat,  dbeta += dy
            for j in range(k):
                dgamma[j] += dy[j] * ((x[j] - high - low) * inverse)
                dbeta[j] += dy[j]
        if dx != NULL:
            input_gradient(k, theta, x, dy, dx, cache)
            memset(dx + k, 0, (s.k - k) * sizeof(floating))
            dx += s.k
        x += s.k
        dy += s.k
        cache += KEPT
    if grad != NULL:
        for j in range(s.k):
            grad[j] += <floating>dgamma[j]
            grad[s.k + j] += <floating>dbeta[j]


def layer_norm(str dtype, *, Py_ssize_t vectors, Py_ssize_t k, double epsilon, Py_ssize_t n_steps=0):
    """The kernel of ``layers.LayerNorm`` for rows of ``vectors`` vectors of k numbers.

    With ``n_steps`` a row is one vector of that many steps, and only valid ones are normalized.
    """
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef LayerNorm *s = <LayerNorm*>&op.sizes[0]
    assert_fits(sizeof(LayerNorm), sizeof(op.sizes))
    s.vectors, s.k, s.n_steps, s.epsilon = vectors, k, n_steps, epsilon
    op.flags = USES_LENGTHS if n_steps else 0
    op.x_size = op.y_size = vectors * k
    op.n_params = 2 * k
    op.cache_size = KEPT * vectors
    op.scratch_fixed = 2 * k * (2 if dtype == "float32" else 1)
    op.flops = 10.0 * op.x_size
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "layer_norm", dtype
    kernel.config = {"vectors": vectors, "k": k, "epsilon": epsilon, "n_steps": n_steps}
    return kernel
