"""Layer normalization: y = gamma (x - mean) / sigma + beta, with the statistics of each vector of k numbers.

Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450, 2016. For one vector x (k,)

    mean = sum x_j / k,  sigma = sqrt(sum (x_j - mean)^2 / k + epsilon),  xhat_j = (x_j - mean) / sigma
    y_j = gamma_j xhat_j + beta_j

    dgamma_j += dy_j xhat_j,  dbeta_j += dy_j
    dx_j = (g_j - sum g / k - xhat_j sum (g xhat) / k) / sigma,  g_j = gamma_j dy_j
"""
from cython cimport floating
from libc.math cimport sqrt
from libc.string cimport memset

from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t

cdef enum:
    LANES = 8                   # partial sums: a fixed order of addition that the compiler can vectorise
    KEPT = 3                    # numbers kept of a vector: see describe

ctypedef struct LayerNorm:
    Py_ssize_t vectors          # vectors in a row
    Py_ssize_t k                # their length
    double epsilon


cdef inline double total(const double *lanes) noexcept nogil:
    """The lanes' sum."""
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))


cdef inline void describe(
    const LayerNorm *s,
    const floating *x,          # (k,)
    floating *stats,            # (KEPT,)
) noexcept nogil:
    """stats = mean rounded (high), mean - high (low), 1 / sigma

    With the mean in two parts (x - high) - low is accurate where the mean is far larger than sigma.
    """
    cdef Py_ssize_t b, j, lane, k = s.k, whole = k - k % LANES
    cdef double[LANES] sums
    cdef double mean, gap
    # mean = sum x / k
    for lane in range(LANES):
        sums[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            sums[lane] += x[b * LANES + lane]
    for j in range(whole, k):
        sums[j - whole] += x[j]
    mean = total(sums) / k
    # variance = sum (x - mean)^2 / k, in a second pass: the mean of squares less mean^2 would cancel
    for lane in range(LANES):
        sums[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            gap = x[b * LANES + lane] - mean
            sums[lane] += gap * gap
    for j in range(whole, k):
        gap = x[j] - mean
        sums[j - whole] += gap * gap
    stats[0] = <floating>mean
    stats[1] = <floating>(mean - stats[0])
    stats[2] = <floating>(1 / sqrt(total(sums) / k + s.epsilon))


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
    cdef Py_ssize_t v, j, k = s.k
    cdef const floating *gamma = theta
    cdef const floating *beta = theta + k
    cdef floating[KEPT] own
    cdef floating *stats = own
    cdef floating high, low, inverse
    for v in range(call.n * s.vectors):
        if cache != NULL:
            stats = cache + v * KEPT
        describe(s, x, stats)
        high, low, inverse = stats[0], stats[1], stats[2]
        # y = gamma xhat + beta,  xhat = (x - mean) / sigma
        for j in range(k):
            y[j] = (x[j] - high - low) * inverse * gamma[j] + beta[j]
        x += k
        y += k


cdef inline void input_gradient(
    Py_ssize_t k,
    const floating *gamma,      # (k,)
    const floating *x,          # (k,)
    const floating *dy,         # (k,)
    floating *dx,               # (k,)
    const floating *stats,      # (KEPT,)
) noexcept nogil:
    """dx = (g - mean(g) - xhat mean(g xhat)) / sigma,  g = gamma dy"""
    cdef Py_ssize_t b, j, lane, whole = k - k % LANES
    cdef double[LANES] sum_g
    cdef double[LANES] sum_g_xhat
    cdef floating high = stats[0], low = stats[1], inverse = stats[2], g, mean_g, slope
    for lane in range(LANES):
        sum_g[lane] = sum_g_xhat[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            j = b * LANES + lane
            g = gamma[j] * dy[j]
            sum_g[lane] += g
            sum_g_xhat[lane] += g * ((x[j] - high - low) * inverse)
    for j in range(whole, k):
        g = gamma[j] * dy[j]
        sum_g[j - whole] += g
        sum_g_xhat[j - whole] += g * ((x[j] - high - low) * inverse)
    mean_g = <floating>(total(sum_g) / k)
    slope = <floating>(total(sum_g_xhat) / k * inverse)
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
    cdef Py_ssize_t _v, j, k = s.k
    # a block's sums in double: a row may hold thousands of vectors
    cdef double *dgamma = <double*>scratch
    cdef double *dbeta = dgamma + k
    cdef floating high, low, inverse
    memset(dgamma, 0, 2 * k * sizeof(double))
    for _v in range(call.n * s.vectors):
        high, low, inverse = cache[0], cache[1], cache[2]
        if grad != NULL:
            # dgamma += dy xhat,  dbeta += dy
            for j in range(k):
                dgamma[j] += dy[j] * ((x[j] - high - low) * inverse)
                dbeta[j] += dy[j]
        if dx != NULL:
            input_gradient(k, theta, x, dy, dx, cache)
            dx += k
        x += k
        dy += k
        cache += KEPT
    if grad != NULL:
        for j in range(k):
            grad[j] += <floating>dgamma[j]
            grad[k + j] += <floating>dbeta[j]


def layer_norm(str dtype, *, Py_ssize_t vectors, Py_ssize_t k, double epsilon):
    """The kernel of ``layers.LayerNorm`` for rows of ``vectors`` vectors of k numbers."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef LayerNorm *s = <LayerNorm*>&op.sizes[0]
    assert_fits(sizeof(LayerNorm), sizeof(op.sizes))
    s.vectors, s.k, s.epsilon = vectors, k, epsilon
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
    kernel.config = {"vectors": vectors, "k": k, "epsilon": epsilon}
    return kernel
