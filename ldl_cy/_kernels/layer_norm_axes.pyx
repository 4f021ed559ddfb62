"""Layer normalization along any axes: the equations of layer_norm.pyx, for vectors whose numbers are not neighbours.

A row has axes of two kinds: those that are normalized, along which gamma and beta have a number for each place, and the
others, along which there are ``groups``, each with its own mean and sigma. The number at (i_1, .., i_d) is of group
sum_a i_a group_a and has the parameters at sum_a i_a param_a; along each axis one of the two strides is 0.
A row is walked in runs, its last axis: numbers of one group with k parameters, or of k groups with one gamma and beta.

With lengths, where the first axis is that of the steps and normalized, the first lengths[i] steps of row i exist.
"""
from cython cimport floating
from libc.math cimport sqrt
from libc.string cimport memset

from ldl_cy._engine.op cimport USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._kernels.layer_norm_sums cimport add_parameter_sums, gradient_sums, sum_run, sum_squares

cdef enum:
    MOST_AXES = 12              # see layers.LayerNorm.build
    KEPT = 3                    # numbers kept of a group: see describe

ctypedef struct LayerNormAxes:
    Py_ssize_t runs             # runs in a row: the product of the sizes below
    Py_ssize_t k                # numbers in a run, contiguous in x
    Py_ssize_t n_groups
    Py_ssize_t count            # numbers in a group
    Py_ssize_t n_steps          # of the axis that lengths apply to, which is the first; 0: lengths do not matter
    int across                  # whether a run's numbers are of k groups
    int n_axes                  # axes outside the runs
    Py_ssize_t[MOST_AXES - 1] size
    Py_ssize_t[MOST_AXES - 1] group
    Py_ssize_t[MOST_AXES - 1] param
    double epsilon

# Where a run is: its place along each axis outside, and its first number's group and parameters
ctypedef struct Walk:
    Py_ssize_t[MOST_AXES] at
    Py_ssize_t g
    Py_ssize_t p


cdef inline void next_run(const LayerNormAxes *s, Walk *walk) noexcept nogil:
    cdef Py_ssize_t a
    for a in range(s.n_axes - 1, -1, -1):
        walk.at[a] += 1
        walk.g += s.group[a]
        walk.p += s.param[a]
        if walk.at[a] < s.size[a]:
            return
        walk.at[a] = 0
        walk.g -= s.size[a] * s.group[a]
        walk.p -= s.size[a] * s.param[a]


cdef inline Py_ssize_t steps_of(const LayerNormAxes *s, const Call *call, Py_ssize_t i) noexcept nogil:
    """The number of valid steps in row i; without steps a row is one."""
    if s.n_steps == 0 or call.lengths == NULL:
        return max(1, s.n_steps)
    return max(0, min(<Py_ssize_t>call.lengths[i], s.n_steps))


cdef inline void describe(
    const LayerNormAxes *s, Py_ssize_t runs, Py_ssize_t count,
    const floating *x,          # (runs, k)
    floating *stats,            # (KEPT, n_groups)
    double *sums,               # (2, n_groups)
) noexcept nogil:
    """stats = mean rounded (high), mean - high (low), 1 / sigma, of each group; see layer_norm.pyx"""
    cdef Py_ssize_t v, j, n = s.n_groups
    cdef const floating *x_v
    cdef double *mean = sums
    cdef double *squares = sums + n
    cdef double gap
    cdef Walk walk
    memset(sums, 0, 2 * n * sizeof(double))
    # mean = sum x / count
    memset(&walk, 0, sizeof(Walk))
    for v in range(runs):
        x_v = x + v * s.k
        if s.across:
            for j in range(s.k):
                mean[walk.g + j] += x_v[j]
        else:
            mean[walk.g] += sum_run(s.k, x_v)
        next_run(s, &walk)
    for j in range(n):
        mean[j] /= count
    # variance = sum (x - mean)^2 / count
    memset(&walk, 0, sizeof(Walk))
    for v in range(runs):
        x_v = x + v * s.k
        if s.across:
            for j in range(s.k):
                gap = x_v[j] - mean[walk.g + j]
                squares[walk.g + j] += gap * gap
        else:
            squares[walk.g] += sum_squares(s.k, x_v, mean[walk.g])
        next_run(s, &walk)
    for j in range(n):
        stats[j] = <floating>mean[j]
        stats[n + j] = <floating>(mean[j] - stats[j])
        stats[2 * n + j] = <floating>(1 / sqrt(squares[j] / count + s.epsilon))


cdef inline void normalize(
    const LayerNormAxes *s, Py_ssize_t runs,
    const floating *gamma,      # (n_params / 2,)
    const floating *beta,       # (n_params / 2,)
    const floating *stats,      # (KEPT, n_groups)
    const floating *x,          # (runs, k)
    floating *y,                # (runs, k)
) noexcept nogil:
    """y = gamma xhat + beta,  xhat = (x - mean) / sigma"""
    cdef Py_ssize_t _v, j
    cdef const floating *high
    cdef const floating *low
    cdef const floating *inverse
    cdef Walk walk
    memset(&walk, 0, sizeof(Walk))
    for _v in range(runs):
        high = stats + walk.g
        low, inverse = high + s.n_groups, high + 2 * s.n_groups
        if s.across:
            for j in range(s.k):
                y[j] = (x[j] - high[j] - low[j]) * inverse[j] * gamma[walk.p] + beta[walk.p]
        else:
            for j in range(s.k):
                y[j] = (x[j] - high[0] - low[0]) * inverse[0] * gamma[walk.p + j] + beta[walk.p + j]
        x += s.k
        y += s.k
        next_run(s, &walk)


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (n_params / 2,), beta likewise
    const floating *state, const floating *derived,
    const floating *x,          # (n, runs, k)
    floating *y,                # (n, runs, k)
    floating *cache,            # (n, KEPT, n_groups), or NULL at prediction
    floating *scratch,          # (2, n_groups) doubles, and (KEPT, n_groups) for stats where there is no cache
) noexcept nogil:
    cdef const LayerNormAxes *s = <const LayerNormAxes*>&op.sizes[0]
    cdef Py_ssize_t i, steps, runs, all_steps = max(1, s.n_steps)
    cdef double *sums = <double*>scratch
    cdef floating *stats = <floating*>(sums + 2 * s.n_groups)
    for i in range(call.n):
        if cache != NULL:
            stats = cache + i * KEPT * s.n_groups
        steps = steps_of(s, call, i)
        runs = s.runs // all_steps * steps
        describe(s, runs, max(1, s.count // all_steps * steps), x, stats, sums)
        normalize(s, runs, theta, theta + op.n_params // 2, stats, x, y)
        memset(y + runs * s.k, 0, (s.runs - runs) * s.k * sizeof(floating))
        x += op.x_size
        y += op.y_size


cdef inline void add_sums(
    const LayerNormAxes *s, Py_ssize_t runs,
    const floating *gamma,      # (n_params / 2,)
    const floating *stats,      # (KEPT, n_groups)
    const floating *x,          # (runs, k)
    const floating *dy,         # (runs, k)
    double *sums,               # (2, n_groups), overwritten: sum g, sum g xhat
    double *dtheta,             # (n_params,): dgamma += sum dy xhat, dbeta += sum dy
    Py_ssize_t n_gamma,
) noexcept nogil:
    """The sums of a row's gradient, g = gamma dy."""
    cdef Py_ssize_t _v, j
    cdef const floating *high
    cdef const floating *low
    cdef const floating *inverse
    cdef double *sum_g
    cdef double *sum_g_xhat
    cdef double *dgamma
    cdef double *dbeta
    cdef double of_run, of_run_xhat
    cdef floating g
    cdef Walk walk
    memset(sums, 0, 2 * s.n_groups * sizeof(double))
    memset(&walk, 0, sizeof(Walk))
    for _v in range(runs):
        high = stats + walk.g
        low, inverse = high + s.n_groups, high + 2 * s.n_groups
        sum_g, dgamma = sums + walk.g, dtheta + walk.p
        sum_g_xhat, dbeta = sum_g + s.n_groups, dgamma + n_gamma
        if s.across:
            for j in range(s.k):
                g = gamma[walk.p] * dy[j]
                sum_g[j] += g
                sum_g_xhat[j] += g * ((x[j] - high[j] - low[j]) * inverse[j])
            add_parameter_sums(s.k, x, dy, high, low, inverse, dgamma, dbeta)
        else:
            gradient_sums(s.k, gamma + walk.p, x, dy, high[0], low[0], inverse[0], &of_run, &of_run_xhat)
            sum_g[0] += of_run
            sum_g_xhat[0] += of_run_xhat
            for j in range(s.k):
                dgamma[j] += dy[j] * ((x[j] - high[0] - low[0]) * inverse[0])
                dbeta[j] += dy[j]
        x += s.k
        dy += s.k
        next_run(s, &walk)


cdef inline void input_gradient(
    const LayerNormAxes *s, Py_ssize_t runs,
    const floating *gamma,      # (n_params / 2,)
    const floating *stats,      # (KEPT, n_groups)
    const floating *factors,    # (2, n_groups): mean(g), mean(g xhat) / sigma
    const floating *x,          # (runs, k)
    const floating *dy,         # (runs, k)
    floating *dx,               # (runs, k)
) noexcept nogil:
    """dx = (g - mean(g) - xhat mean(g xhat)) / sigma,  g = gamma dy"""
    cdef Py_ssize_t _v, j, n = s.n_groups
    cdef const floating *high
    cdef const floating *mean_g
    cdef const floating *scale
    cdef Walk walk
    memset(&walk, 0, sizeof(Walk))
    for _v in range(runs):
        high, mean_g, scale = stats + walk.g, factors + walk.g, gamma + walk.p
        if s.across:
            for j in range(s.k):
                dx[j] = (scale[0] * dy[j] - mean_g[j] - (x[j] - high[j] - high[n + j]) * mean_g[n + j]) \
                    * high[2 * n + j]
        else:
            for j in range(s.k):
                dx[j] = (scale[j] * dy[j] - mean_g[0] - (x[j] - high[0] - high[n]) * mean_g[n]) * high[2 * n]
        x += s.k
        dy += s.k
        dx += s.k
        next_run(s, &walk)


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # gamma (n_params / 2,), beta likewise
    const floating *state, const floating *derived,
    const floating *x,          # (n, runs, k)
    const floating *y,
    floating *dy,               # (n, runs, k)
    floating *dx,               # (n, runs, k) or NULL
    floating *grad,             # (n_params,) or NULL
    floating *cache,            # (n, KEPT, n_groups)
    floating *scratch,          # (n_params,) and (2, n_groups) doubles, (2, n_groups) for factors
) noexcept nogil:
    cdef const LayerNormAxes *s = <const LayerNormAxes*>&op.sizes[0]
    cdef Py_ssize_t i, j, steps, runs, count, all_steps = max(1, s.n_steps), n = s.n_groups
    # a block's sums in double: a parameter may be used by thousands of groups
    cdef double *dtheta = <double*>scratch
    cdef double *sums = dtheta + op.n_params
    cdef floating *factors = <floating*>(sums + 2 * n)
    memset(dtheta, 0, op.n_params * sizeof(double))
    for i in range(call.n):
        steps = steps_of(s, call, i)
        runs, count = s.runs // all_steps * steps, max(1, s.count // all_steps * steps)
        add_sums(s, runs, theta, cache, x, dy, sums, dtheta, op.n_params // 2)
        if dx != NULL:
            for j in range(n):
                factors[j] = <floating>(sums[j] / count)
                factors[n + j] = <floating>(sums[n + j] / count * cache[2 * n + j])
            input_gradient(s, runs, theta, cache, factors, x, dy, dx)
            memset(dx + runs * s.k, 0, (s.runs - runs) * s.k * sizeof(floating))
            dx += op.x_size
        x += op.x_size
        dy += op.y_size
        cache += KEPT * n
    if grad != NULL:
        for j in range(op.n_params):
            grad[j] += <floating>dtheta[j]


def layer_norm_axes(str dtype, *, tuple sizes, tuple groups, tuple params, double epsilon, Py_ssize_t n_steps=0):
    """The kernel of ``layers.LayerNorm`` along any axes.

    Parameters
    ----------
    sizes, groups, params : tuples of at most 12 ints
        A row's axes, and the strides of groups and of parameters along them: one of the two is 0, the last other 1.
    epsilon : float
    n_steps : int, default=0
        Of the sequence that the first axis, or its outer part, is, if it is normalized: only valid steps are used.
    """
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef LayerNormAxes *s = <LayerNormAxes*>&op.sizes[0]
    cdef Py_ssize_t a, last = len(sizes) - 1
    assert_fits(sizeof(LayerNormAxes), sizeof(op.sizes))
    s.runs, s.k, s.n_groups, s.count, s.n_steps = 1, sizes[last], 1, 1, n_steps
    s.across, s.n_axes, s.epsilon = groups[last] != 0, last, epsilon
    for a in range(last + 1):
        if groups[a]:
            s.n_groups *= sizes[a]
        else:
            s.count *= sizes[a]
        if a < last:
            s.size[a], s.group[a], s.param[a] = sizes[a], groups[a], params[a]
            s.runs *= sizes[a]
    op.x_size = op.y_size = s.runs * s.k
    op.n_params = 2 * s.count
    op.cache_size = KEPT * s.n_groups
    op.scratch_fixed = (2 * s.n_groups + op.n_params) * (2 if dtype == "float32" else 1) + KEPT * s.n_groups
    op.flags = USES_LENGTHS if n_steps else 0
    op.flops = 10.0 * op.x_size
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "layer_norm", dtype
    kernel.config = {"sizes": sizes, "groups": groups, "params": params, "epsilon": epsilon, "n_steps": n_steps}
    return kernel
