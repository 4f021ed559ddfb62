"""Batch normalization: y = f(gamma (x - mean) / sigma + beta) for each channel of the last axis.

Ioffe and Szegedy, "Batch normalization", ICML 2015. For one channel, over the N values x_i of the batch, in training

    mean = sum x_i / N,  sigma = sqrt(sum (x_i - mean)^2 / N + epsilon),  xhat_i = (x_i - mean) / sigma
    z_i = gamma xhat_i + beta,  y_i = f(z_i)

    g_i = dy_i f'(z_i),  dgamma += sum g_i xhat_i,  dbeta += sum g_i
    dx_i = gamma / sigma (g_i - sum g / N - xhat_i sum (g xhat) / N)

Each block writes its own count, mean and M2 = sum (x - mean)^2, and the blocks are merged in order; the two sums of
the gradient likewise. In inference, and in a frozen layer, mean and sigma are the running ones: constants, with
dx_i = gamma / sigma g_i.
A row is (n_steps, inner, k); with lengths only the first lengths[i] steps of row i exist.

f is the activation behind the layer, and with `pool` the maximum of 2x2 pixels is taken after it, where a plan fuses
them: neither z nor f(z) is then written. With `adds` another value is added to z, that of a residual block's other
path; y then tells where dy passes, and g, the gradient of both summands, takes the place of dy. ReLU and ReLU6 are
bounds of the vector kernels (_engine/vec/batch_norm.h), which find f'(z) from x again; other activations pass over
pieces that are in the cache, and g takes the place of dy.
tests/layers/test_fused_norm.py compares all that with the layers one by one.
"""
from functools import partial

from cython cimport floating
from libc.math cimport NAN, sqrt
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.batch_norm cimport (
    norm_backward, norm_forward, norm_moments, norm_pool_backward, norm_pool_forward, norm_sums)
from ldl_cy._engine.op cimport (
    ADDS, COUPLES_ROWS, RECOMPUTED, USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, combine_t, forward_t,
    prepare_t, reduce_t)

from ldl_cy._engine.vec import ACTIVATIONS
from ldl_cy._kernels.pooling import is_2x2_pool

cdef enum:
    PIECE = 1024                # numbers that pass an activation at a time
    LEAST_POOLED = 16           # channels: a vector of any instruction set
    KEPT = 7                    # numbers kept of a channel: see channel_constants

BOUNDS = {"identity": (NAN, NAN), "relu": (0.0, NAN), "relu6": (0.0, 6.0)}      # NaN: none

ctypedef struct BatchNorm:
    Py_ssize_t n_steps
    Py_ssize_t inner            # vectors in a step
    Py_ssize_t k                # channels
    Py_ssize_t h, w             # of the image whose 2x2 maxima are taken; 0: of none
    double momentum
    double epsilon
    double lo, hi               # bounds of z: f where activation is the identity
    int activation
    int adds                    # another value to z: call.x2
    double slope                # the activation's parameter


cdef inline Py_ssize_t vectors_of(const BatchNorm *s, const Call *call, Py_ssize_t i) noexcept nogil:
    """The number of valid vectors in row i, which are its first ones."""
    if call.lengths == NULL:
        return s.n_steps * s.inner
    return max(0, min(<Py_ssize_t>call.lengths[i], s.n_steps)) * s.inner


cdef inline Py_ssize_t count_runs(const Call *call) noexcept nogil:
    """How many runs without a gap the vectors of a block are: one, or with lengths each row."""
    return 1 if call.lengths == NULL else call.n


cdef inline Py_ssize_t run_of_vectors(const BatchNorm *s, const Call *call, Py_ssize_t i) noexcept nogil:
    """How many vectors one of these has."""
    return vectors_of(s, call, i) * (call.n if call.lengths == NULL else 1)


cdef inline void apply(
    const BatchNorm *s, Py_ssize_t rows,
    const floating *channel,    # (3, k), see channel_constants
    const floating *x,          # (rows, k)
    const floating *other,      # (rows, k) or NULL
    floating *y,                # (rows, k)
) noexcept nogil:
    """y = f(z)"""
    cdef Py_ssize_t i = 0, piece = max(1, PIECE // s.k), n
    if s.activation == vec.LDL_IDENTITY:
        norm_forward(rows, s.k, channel, <floating>s.lo, <floating>s.hi, x, other, y)
        return
    while i < rows:
        n = min(piece, rows - i)
        norm_forward(n, s.k, channel, <floating>s.lo, <floating>s.hi, x + i * s.k, <const floating*>NULL, y + i * s.k)
        vec.activate(s.activation, <floating>s.slope, n, s.k, y + i * s.k, y + i * s.k)
        i += n


cdef void through_activation(
    const BatchNorm *s, Py_ssize_t rows,
    const floating *channel,    # (3, k)
    const floating *x,          # (rows, k)
    const floating *y,          # (rows, k)
    floating *dy,               # (rows, k)
) noexcept nogil:
    """dy becomes g = dy f'(z) where f is not in the bounds."""
    cdef Py_ssize_t i = 0, piece = max(1, PIECE // s.k), n
    cdef floating[PIECE] z
    if s.activation == vec.LDL_IDENTITY:
        return
    if not vec.ldl_keeps_z(s.activation):
        vec.activate_grad(s.activation, <floating>s.slope, rows, s.k, y, dy, dy)
        return
    while i < rows:
        n = min(piece, rows - i)
        norm_forward(n, s.k, channel, <floating>NAN, <floating>NAN, x + i * s.k, <const floating*>NULL, z)
        vec.activate_grad(s.activation, <floating>s.slope, n, s.k, z, dy + i * s.k, dy + i * s.k)
        i += n


cdef void gradient_sums(
    const Op *op, const Call *call,
    const floating *x,          # (n, vectors, k)
    const floating *y,          # (n, y_size)
    floating *dy,               # (n, y_size), becomes g where f is not in the bounds, or with ADDS
    const floating *cache,      # (KEPT, k), then x at the maxima (n, y_size)
    double *sums,               # (2, k), overwritten
) noexcept nogil:
    """sums = (sum g, sum g xhat) over the block, xhat = ((x - high) - low) / sigma"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, j, at, k = s.k
    cdef const floating *low = cache + 5 * k
    cdef const floating *inverse = cache + 6 * k
    memset(sums, 0, 2 * k * sizeof(double))
    if s.h:
        norm_sums(call.n * op.y_size // k, k, cache, <floating>s.lo, <floating>s.hi, cache + KEPT * k,
                  <const floating*>NULL, dy, sums)
    else:
        for i in range(count_runs(call)):
            at = i * op.x_size
            through_activation(s, run_of_vectors(s, call, i), cache, x + at, y + at, dy + at)
            norm_sums(run_of_vectors(s, call, i), k, cache, <floating>s.lo, <floating>s.hi, x + at,
                      y + at if s.adds else NULL, dy + at, sums)
    for j in range(k):
        sums[k + j] = (sums[k + j] - <double>low[j] * sums[j]) * inverse[j]


cdef void reduce(
    const Op *op, const Call *call, const floating *theta,
    const floating *x,          # (n, vectors, k)
    const floating *y,          # (n, y_size)
    floating *dy,               # (n, y_size), or NULL in the forward pass
    const floating *cache,      # see gradient_sums
) noexcept nogil:
    """partial = (count, mean (k,), M2 (k,)), or of the backward pass (count, sum g (k,), sum g xhat (k,))"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, k = s.k, count = 0
    if dy == NULL:
        memset(call.partial + 1, 0, 2 * k * sizeof(double))
    for i in range(count_runs(call)):
        if dy == NULL:
            norm_moments(count, run_of_vectors(s, call, i), k, x + i * op.x_size, call.partial + 1,
                         call.partial + 1 + k)
        count += run_of_vectors(s, call, i)
    call.partial[0] = count
    if dy != NULL:
        gradient_sums(op, call, x, y, dy, cache, call.partial + 1)


cdef void combine(
    const Op *op, const Call *call, Py_ssize_t n_blocks,
    const double *partials,     # (n_blocks, 1 + 2 k): count, mean, M2
    double *total,              # (1 + 2 k,): count, mean, 1 / sigma
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
    cdef double n, gap, share, rest
    memset(total, 0, op.n_partial * sizeof(double))
    for b in range(n_blocks):
        part = partials + b * op.n_partial
        n = total[0] + part[0]
        if part[0] == 0:                # a block without valid steps
            continue
        share = part[0] / n
        rest = total[0] * share
        for j in range(k):
            gap = part[1 + j] - mean[j]
            mean[j] += gap * share
            m2[j] += part[1 + k + j] + gap * gap * rest
        total[0] = n
    share = 1 / max(1.0, total[0])
    if state != NULL and total[0] > 0:
        # running = momentum running + (1 - momentum) of the batch
        for j in range(k):
            state[j] = <floating>(s.momentum * state[j] + (1 - s.momentum) * mean[j])
            state[k + j] = <floating>(s.momentum * state[k + j] + (1 - s.momentum) * (m2[j] * share))
    for j in range(k):
        m2[j] = 1 / sqrt(m2[j] * share + s.epsilon)


cdef inline bint of_batch(const Call *call) noexcept nogil:
    """The batch's statistics are used in training, unless the layer is frozen: then there are no sums."""
    return call.training and call.partial != NULL


cdef inline void channel_constants(
    const BatchNorm *s, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state,      # running mean (k,), variance (k,)
    floating *kept,             # (KEPT, k)
) noexcept nogil:
    """kept = high, slope, shift of vec/batch_norm.h, room for its a and c, low, 1 / sigma.

    high = mean rounded, low = mean - high: with the mean in two parts numbers are accurate where it is far larger than
    sigma, and float32 needs no double in the loops over the rows.
    """
    cdef Py_ssize_t j, k = s.k
    cdef floating *slope = kept + k
    cdef floating *shift = kept + 2 * k
    cdef floating *low = kept + 5 * k
    cdef floating *inverse = kept + 6 * k
    if of_batch(call):
        for j in range(k):
            kept[j] = <floating>call.partial[1 + j]
            low[j] = <floating>(call.partial[1 + j] - kept[j])
            inverse[j] = <floating>call.partial[1 + k + j]
    else:
        for j in range(k):
            kept[j], low[j] = state[j], 0
            inverse[j] = <floating>(1 / sqrt(<double>state[k + j] + s.epsilon))
    for j in range(k):
        slope[j] = theta[j] * inverse[j]
        shift[j] = theta[k + j] - low[j] * slope[j]


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state,      # running mean (k,), variance (k,)
    floating *derived,          # (3, k): mean, slope, beta
) noexcept nogil:
    """slope = gamma / sqrt(variance + epsilon), for inference: roots and divisions once for all predicts"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t j
    if not call.backward:
        memcpy(derived, state, s.k * sizeof(floating))
        memcpy(derived + 2 * s.k, theta + s.k, s.k * sizeof(floating))
        for j in range(s.k):
            # rounded as in channel_constants: predict gives the bits of a forward pass that keeps a cache
            derived[s.k + j] = theta[j] * <floating>(1 / sqrt(<double>state[s.k + j] + s.epsilon))


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state,      # running mean (k,), variance (k,)
    const floating *derived,    # see prepare; in inference
    const floating *x,          # (n, vectors, k)
    floating *y,                # (n, vectors, k), or with pooling (n, h / 2, w / 2, k)
    floating *cache,            # (KEPT, k) of the block, then with pooling x at the maxima; NULL at prediction
    floating *scratch,          # (KEPT, k) where there is no cache
) noexcept nogil:
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, k = s.k, size
    cdef const floating *channel = derived
    cdef const floating *other = <const floating*>call.x2
    cdef floating *kept = cache if cache != NULL else scratch
    if cache != NULL or call.backward or of_batch(call):
        channel_constants(s, call, theta, state, kept)
        channel = kept
    if s.h:
        for i in range(call.n):
            norm_pool_forward(s.h, s.w, k, channel, <floating>s.lo, <floating>s.hi, x + i * op.x_size,
                              y + i * op.y_size, NULL if cache == NULL else cache + KEPT * k + i * op.y_size)
        return
    for i in range(count_runs(call)):
        apply(s, run_of_vectors(s, call, i), channel, x + i * op.x_size,
              other + i * op.x_size if s.adds else NULL, y + i * op.x_size)
        if call.lengths != NULL:
            size = run_of_vectors(s, call, i) * k
            memset(y + i * op.x_size + size, 0, (op.x_size - size) * sizeof(floating))


cdef inline void input_gradient(
    const Op *op, const Call *call,
    const floating *x,          # (n, vectors, k)
    const floating *dy,         # (n, y_size): g where f is not in the bounds, or with ADDS
    floating *dx,               # (n, vectors, k)
    floating *kept,             # (KEPT, k), then x at the maxima
) noexcept nogil:
    """dx = gamma / sigma (g - mean(g) - xhat mean(g xhat)); without the means where statistics are constants"""
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, j, k = s.k, size
    cdef const floating *slope = kept + k
    cdef floating *a = kept + 3 * k
    cdef floating *c = kept + 4 * k
    cdef const floating *low = kept + 5 * k
    cdef const floating *inverse = kept + 6 * k
    cdef floating lo = <floating>(NAN if s.adds else s.lo), hi = <floating>(NAN if s.adds else s.hi)
    cdef double share
    if of_batch(call) and call.partial[0] > 0:
        # dx = slope g + (a - c (x - high))
        share = 1 / call.partial[0]
        for j in range(k):
            c[j] = <floating>(slope[j] * (call.partial[1 + k + j] * share) * inverse[j])
            a[j] = <floating>(<double>c[j] * low[j] - slope[j] * (call.partial[1 + j] * share))
    else:
        memset(a, 0, 2 * k * sizeof(floating))
    if s.h:
        for i in range(call.n):
            norm_pool_backward(
                s.h, s.w, k, kept, <floating>s.lo, <floating>s.hi, x + i * op.x_size,
                kept + KEPT * k + i * op.y_size, dy + i * op.y_size, dx + i * op.x_size)
        return
    for i in range(count_runs(call)):
        norm_backward(run_of_vectors(s, call, i), k, kept, lo, hi, x + i * op.x_size, dy + i * op.x_size,
                      dx + i * op.x_size)
        if call.lengths != NULL:
            size = run_of_vectors(s, call, i) * k
            memset(dx + i * op.x_size + size, 0, (op.x_size - size) * sizeof(floating))


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (k,), beta (k,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, vectors, k)
    const floating *y,          # (n, y_size)
    floating *dy,               # (n, y_size); as reduce has left it
    floating *dx,               # (n, vectors, k) or NULL
    floating *grad,             # dgamma (k,), dbeta (k,) or NULL
    floating *cache,            # see forward
    floating *scratch,          # 2 k doubles
) noexcept nogil:
    cdef const BatchNorm *s = <const BatchNorm*>&op.sizes[0]
    cdef Py_ssize_t i, j, k = s.k
    cdef double *sums = <double*>scratch            # sum g (k,), sum g xhat (k,)
    if not of_batch(call):
        if grad != NULL or s.adds:
            gradient_sums(op, call, x, y, dy, cache, sums)
        elif dx != NULL and not s.h:
            for i in range(count_runs(call)):
                through_activation(s, run_of_vectors(s, call, i), cache, x + i * op.x_size, y + i * op.x_size,
                                   dy + i * op.x_size)
    if grad != NULL and (not of_batch(call) or call.row0 == 0):
        if of_batch(call):
            # the sums over the whole batch are ready: they are added once, with its first block
            sums = call.partial + 1
        # dgamma += sum g xhat,  dbeta += sum g
        for j in range(k):
            grad[j] += <floating>sums[k + j]
            grad[k + j] += <floating>sums[j]
    if dx != NULL:
        input_gradient(op, call, x, dy, dx, cache)


def batch_norm(
    str dtype, *, Py_ssize_t n_steps, Py_ssize_t inner, Py_ssize_t k, double momentum, double epsilon,
    str activation="identity", double slope=1.0, image=None, bint adds=False,
):
    """The kernel of ``layers.BatchNorm`` for rows of n_steps steps, each ``inner`` vectors of k channels.

    Parameters
    ----------
    activation, slope : str, float
        The elementwise function behind it, and its parameter.
    image : (height, width), default=None
        Also take the maxima of 2x2 pixels of such an image; with 16 channels or more, and an activation of BOUNDS.
    adds : bool, default=False
        Also add another value before the activation, one of BOUNDS.
    """
    settings = {"n_steps": n_steps, "inner": inner, "k": k, "momentum": momentum, "epsilon": epsilon}
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef BatchNorm *s = <BatchNorm*>&op.sizes[0]
    assert_fits(sizeof(BatchNorm), sizeof(op.sizes))
    s.n_steps, s.inner, s.k, s.momentum, s.epsilon = n_steps, inner, k, momentum, epsilon
    s.lo, s.hi = BOUNDS.get(activation, BOUNDS["identity"])
    s.activation, s.slope = vec.LDL_IDENTITY if activation in BOUNDS else ACTIVATIONS.index(activation), slope
    s.h, s.w = image or (0, 0)
    s.adds = adds
    op.x_size = n_steps * inner * k
    op.y_size = s.h // 2 * (s.w // 2) * k if image else op.x_size
    op.n_params = op.n_state = 2 * k
    op.n_partial = 1 + 2 * k
    # a block may be a single row; a longer one uses the cache of its first row only, but for the maxima
    op.cache_size = KEPT * k + (op.y_size if image else 0)
    op.scratch_fixed = KEPT * k
    op.n_derived = 3 * k
    op.flags = COUPLES_ROWS | USES_LENGTHS
    if adds:
        op.flags |= ADDS
    elif s.activation == vec.LDL_IDENTITY or vec.ldl_keeps_z(s.activation):
        op.flags |= RECOMPUTED                      # f'(z) is found from x
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
    kernel.config = dict(settings, activation=activation, image=image, adds=adds)
    if image is None:
        kernel.fuser = partial(with_next, dtype, settings, activation, slope, adds)
    if image is None and activation == "identity" and not adds:
        kernel.adder = partial(batch_norm, dtype, **settings, adds=True)
    return kernel


def with_next(dtype, settings, activation, slope, adds, Kernel after, rows):
    """The fuser of ``batch_norm``: with an elementwise activation, then with the MaxPool2D that halves an image."""
    k, config = settings["k"], after.config or {}
    if after.name == "activation" and activation == "identity":
        kind = config["kind"]
        if adds:
            return batch_norm(dtype, **settings, activation=kind, adds=True) if kind in BOUNDS else None
        if kind == "softmax" or (vec.ldl_keeps_z(ACTIVATIONS.index(kind)) and k > PIECE):
            return None
        return batch_norm(dtype, **settings, activation=kind, slope=config["slope"])
    if (after.name == "max_pool" and activation in BOUNDS and not adds and k >= LEAST_POOLED and config["image"][2] == k
            and is_2x2_pool(config["kernel"], config["strides"], config["padding"], config["image"],
                            config["output"])):
        return batch_norm(dtype, **settings, activation=activation, slope=slope, image=config["image"][:2])
    return None
