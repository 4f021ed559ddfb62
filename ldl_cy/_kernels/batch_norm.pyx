"""Batch normalization: y = gamma (x - mean) / sigma + beta for each channel of the last axis.

Ioffe and Szegedy, "Batch normalization", ICML 2015. For one channel, over the N values x_i of the batch, in training

    mean = sum x_i / N,  sigma = sqrt(sum (x_i - mean)^2 / N + epsilon),  xhat_i = (x_i - mean) / sigma
    y_i = gamma xhat_i + beta

    dgamma += sum dy_i xhat_i,  dbeta += sum dy_i
    dx_i = gamma / sigma (dy_i - sum dy / N - xhat_i sum (dy xhat) / N)

Each block writes its own count, mean and M2 = sum (x - mean)^2, and the blocks are merged in order; the two sums of
the gradient likewise. In inference, and in a frozen layer, mean and sigma are the running ones: constants, with
dx_i = gamma / sigma dy_i.
A row is (n_steps, inner, k); with lengths only the first lengths[i] steps of row i exist.
"""
from cython cimport floating
from libc.math cimport sqrt
from libc.string cimport memset

from ldl_cy._engine.op cimport (
    COUPLES_ROWS, USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, combine_t, forward_t, prepare_t, reduce_t)

ctypedef struct BatchNorm:
    Py_ssize_t n_steps
    Py_ssize_t inner            # vectors in a step
    Py_ssize_t k                # channels
    double momentum
    double epsilon


cdef inline Py_ssize_t vectors_of(const BatchNorm *s, const Call *call, Py_ssize_t i) noexcept nogil:
    """The number of valid vectors in row i, which are its first ones."""
    if call.lengths == NULL:
        return s.n_steps * s.inner
    return max(0, min(<Py_ssize_t>call.lengths[i], s.n_steps)) * s.inner


cdef inline void add_sums(
    const Op *op, const Call *call,
    const floating *x,          # (n, vectors, k)
    const floating *dy,         # (n, vectors, k)
    const floating *stats,      # (3, k), see keep_stats
    double *sums,               # (2, k), overwritten
) noexcept nogil:
    """sums = (sum dy, sum dy xhat) over the block, xhat = ((x - high) - low) / sigma"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, v, j, k = s.k
    cdef const floating *x_v
    cdef const floating *dy_v
    cdef const floating *high = stats
    cdef const floating *low = stats + k
    cdef const floating *inverse = stats + 2 * k
    cdef double *sum_dy = sums
    cdef double *sum_dy_xhat = sums + k
    memset(sums, 0, 2 * k * sizeof(double))
    for i in range(call.n):
        for v in range(vectors_of(s, call, i)):
            x_v, dy_v = x + i * op.x_size + v * k, dy + i * op.x_size + v * k
            for j in range(k):
                sum_dy[j] += dy_v[j]
                sum_dy_xhat[j] += dy_v[j] * ((x_v[j] - high[j] - low[j]) * inverse[j])


cdef void reduce(
    const Op *op, const Call *call, const floating *theta,
    const floating *x,          # (n, vectors, k)
    const floating *y,
    const floating *dy,         # (n, vectors, k), or NULL in the forward pass
    const floating *cache,      # (3, k), see keep_stats
) noexcept nogil:
    """partial = (count, mean (k,), M2 (k,)), or of the backward pass (count, sum dy (k,), sum dy xhat (k,))"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, v, j, k = s.k, count = 0
    cdef const floating *x_v
    cdef double *mean = call.partial + 1
    cdef double *m2 = mean + k
    cdef double gap
    for i in range(call.n):
        count += vectors_of(s, call, i)
    call.partial[0] = count
    if dy != NULL:
        add_sums(op, call, x, dy, cache, call.partial + 1)
        return
    memset(mean, 0, 2 * k * sizeof(double))
    # mean = sum x / count
    for i in range(call.n):
        for v in range(vectors_of(s, call, i)):
            x_v = x + i * op.x_size + v * k
            for j in range(k):
                mean[j] += x_v[j]
    for j in range(k):
        mean[j] /= max(1, count)
    # M2 = sum (x - mean)^2, in a second pass: sum x^2 - count mean^2 would cancel
    for i in range(call.n):
        for v in range(vectors_of(s, call, i)):
            x_v = x + i * op.x_size + v * k
            for j in range(k):
                gap = x_v[j] - mean[j]
                m2[j] += gap * gap


cdef void combine(
    const Op *op, const Call *call, Py_ssize_t n_blocks,
    const double *partials,     # (n_blocks, 1 + 2 k): count, mean, M2
    double *total,              # (1 + 2 k,)
    floating *state,            # running mean (k,) and variance (k,), or NULL
) noexcept nogil:
    """Merge the blocks in order (Chan, Golub, LeVeque 1983) and move the running statistics.

    n = n_a + n_b, d = mean_b - mean_a:  mean = mean_a + d n_b / n,  M2 = M2_a + M2_b + d^2 n_a n_b / n
    """
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t b, j, k = s.k
    cdef const double *part
    cdef double *mean = total + 1
    cdef double *m2 = mean + k
    cdef double n, gap, share
    memset(total, 0, op.n_partial * sizeof(double))
    for b in range(n_blocks):
        part = partials + b * op.n_partial
        n = total[0] + part[0]
        if part[0] == 0:                # a block without valid steps
            continue
        share = part[0] / n
        for j in range(k):
            gap = part[1 + j] - mean[j]
            mean[j] += gap * share
            m2[j] += part[1 + k + j] + gap * gap * total[0] * share
        total[0] = n
    if state == NULL or total[0] == 0:
        return
    # running = momentum running + (1 - momentum) of the batch
    for j in range(k):
        state[j] = <floating>(s.momentum * state[j] + (1 - s.momentum) * mean[j])
        state[k + j] = <floating>(s.momentum * state[k + j] + (1 - s.momentum) * (m2[j] / total[0]))


cdef inline bint of_batch(const Call *call) noexcept nogil:
    """The batch's statistics are used in training, unless the layer is frozen: then there are no sums."""
    return call.training and call.partial != NULL


cdef inline void keep_stats(
    const BatchNorm *s, const Call *call, const floating *state, floating *stats) noexcept nogil:
    """stats (3, k) = mean rounded (high), mean - high (low), 1 / sigma.

    With the mean in two parts (x - high) - low is accurate where the mean is far larger than sigma, and
    float32 needs no double in the loops over the rows.
    """
    cdef Py_ssize_t j, k = s.k
    cdef double mean, variance
    for j in range(k):
        if of_batch(call):
            mean, variance = call.partial[1 + j], call.partial[1 + k + j] / max(1.0, call.partial[0])
        else:
            mean, variance = state[j], state[k + j]
        stats[j] = <floating>mean
        stats[k + j] = <floating>(mean - stats[j])
        stats[2 * k + j] = <floating>(1 / sqrt(variance + s.epsilon))


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state,      # running mean (k,), variance (k,)
    floating *derived,          # (k,): the slope
) noexcept nogil:
    """slope = gamma / sqrt(variance + epsilon), for inference: roots and divisions once for all predicts"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t j
    if not call.backward:
        for j in range(s.k):
            # rounded as in keep_stats: predict gives the bits of a forward pass that keeps a cache
            derived[j] = theta[j] * <floating>(1 / sqrt(state[s.k + j] + s.epsilon))


cdef inline void infer(
    const Op *op, const Call *call,
    const floating *beta,       # (k,)
    const floating *mean,       # (k,)
    const floating *slope,      # (k,)
    const floating *x,          # (n, vectors, k)
    floating *y,                # (n, vectors, k)
) noexcept nogil:
    """y = (x - mean) slope + beta: not x slope + shift, which cancels where the mean is far larger than sigma"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, v, j, k = s.k, vectors
    cdef const floating *x_v
    cdef floating *y_v
    for i in range(call.n):
        vectors = vectors_of(s, call, i)
        for v in range(vectors):
            x_v, y_v = x + i * op.x_size + v * k, y + i * op.x_size + v * k
            for j in range(k):
                y_v[j] = (x_v[j] - mean[j]) * slope[j] + beta[j]
        memset(y + i * op.x_size + vectors * k, 0, (op.x_size - vectors * k) * sizeof(floating))


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state,      # running mean (k,), variance (k,)
    const floating *derived,    # slope (k,), in inference
    const floating *x,          # (n, vectors, k)
    floating *y,                # (n, vectors, k)
    floating *cache,            # (3, k) of the block, in place of its first row's; NULL at prediction
    floating *scratch,          # (4, k): statistics where there is no cache, and the slope
) noexcept nogil:
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, v, j, k = s.k, vectors
    cdef const floating *x_v
    cdef floating *y_v
    cdef const floating *beta = theta + k
    cdef floating *high = cache if cache != NULL else scratch
    cdef floating *low = high + k
    cdef floating *slope = scratch + 3 * k
    if cache == NULL and not call.backward and not of_batch(call):
        infer(op, call, beta, state, derived, x, y)
        return
    keep_stats(s, call, state, high)
    for j in range(k):
        slope[j] = theta[j] * high[2 * k + j]
    # y = gamma / sigma (x - mean) + beta
    for i in range(call.n):
        vectors = vectors_of(s, call, i)
        for v in range(vectors):
            x_v, y_v = x + i * op.x_size + v * k, y + i * op.x_size + v * k
            for j in range(k):
                y_v[j] = (x_v[j] - high[j] - low[j]) * slope[j] + beta[j]
        memset(y + i * op.x_size + vectors * k, 0, (op.x_size - vectors * k) * sizeof(floating))


cdef inline void input_gradient(
    const Op *op, const Call *call,
    const floating *gamma,      # (k,)
    const floating *x,          # (n, vectors, k)
    const floating *dy,         # (n, vectors, k)
    floating *dx,               # (n, vectors, k)
    const floating *stats,      # (3, k)
    floating *factors,          # (3, k)
) noexcept nogil:
    """dx = gamma / sigma (dy - mean(dy) - xhat mean(dy xhat)); without the means where statistics are constants"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, v, j, k = s.k, vectors
    cdef const floating *x_v
    cdef const floating *dy_v
    cdef floating *dx_v
    cdef const floating *high = stats
    cdef const floating *low = stats + k
    # dx = a dy - b - c (x - mean): a = gamma / sigma, b = a mean(dy), c = a mean(dy xhat) / sigma
    cdef floating *a = factors
    cdef floating *b = factors + k
    cdef floating *c = factors + 2 * k
    for j in range(k):
        a[j] = gamma[j] * stats[2 * k + j]
        b[j] = c[j] = 0
        if of_batch(call) and call.partial[0] > 0:
            b[j] = <floating>(a[j] * (call.partial[1 + j] / call.partial[0]))
            c[j] = <floating>(a[j] * (call.partial[1 + k + j] / call.partial[0]) * stats[2 * k + j])
    for i in range(call.n):
        vectors = vectors_of(s, call, i)
        for v in range(vectors):
            x_v, dy_v, dx_v = x + i * op.x_size + v * k, dy + i * op.x_size + v * k, dx + i * op.x_size + v * k
            for j in range(k):
                dx_v[j] = a[j] * dy_v[j] - b[j] - c[j] * (x_v[j] - high[j] - low[j])
        memset(dx + i * op.x_size + vectors * k, 0, (op.x_size - vectors * k) * sizeof(floating))


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, vectors, k)
    const floating *y,
    floating *dy,               # (n, vectors, k)
    floating *dx,               # (n, vectors, k) or NULL
    floating *grad,             # dgamma (k,), dbeta (k,) or NULL
    floating *cache,            # (3, k)
    floating *scratch,          # (4, k): 2 k doubles or the 3 k factors of dx
) noexcept nogil:
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t j, k = s.k
    cdef double *sums = <double*>scratch            # sum dy (k,), sum dy xhat (k,)
    if grad != NULL and (not of_batch(call) or call.row0 == 0):
        if of_batch(call):
            # the sums over the whole batch are ready: they are added once, with its first block
            sums = call.partial + 1
        else:
            add_sums(op, call, x, dy, cache, sums)
        # dgamma += sum dy xhat,  dbeta += sum dy
        for j in range(k):
            grad[j] += <floating>sums[k + j]
            grad[k + j] += <floating>sums[j]
    if dx != NULL:
        input_gradient(op, call, theta, x, dy, dx, cache, scratch)


def batch_norm(
    str dtype, *, Py_ssize_t n_steps, Py_ssize_t inner, Py_ssize_t k, double momentum, double epsilon,
):
    """The kernel of ``layers.BatchNorm`` for rows of n_steps steps, each ``inner`` vectors of k channels."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef BatchNorm *s = <BatchNorm*>&op.sizes[0]
    assert_fits(sizeof(BatchNorm), sizeof(op.sizes))
    s.n_steps, s.inner, s.k, s.momentum, s.epsilon = n_steps, inner, k, momentum, epsilon
    op.x_size = op.y_size = n_steps * inner * k
    op.n_params = op.n_state = 2 * k
    op.n_partial = 1 + 2 * k
    # a block may be a single row; a longer one uses the cache of its first row only
    op.cache_size = 3 * k
    op.scratch_fixed = 4 * k
    op.n_derived = k
    op.flags = COUPLES_ROWS | USES_LENGTHS
    op.flops = 10.0 * op.x_size
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
        op.reduce, op.combine = <reduce_t>reduce[float], <combine_t>combine[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
        op.reduce, op.combine = <reduce_t>reduce[double], <combine_t>combine[double]
    kernel.name, kernel.dtype = "batch_norm", dtype
    kernel.config = {"n_steps": n_steps, "inner": inner, "k": k, "momentum": momentum, "epsilon": epsilon}
    return kernel
