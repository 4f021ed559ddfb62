"""Sums over one run of a layer normalization, k numbers in a row: for layer_norm_axes.

In double, and in LANES partial sums: a fixed order of addition that the compiler can vectorise.
"""
from cython cimport floating

cdef enum:
    LANES = 8


cdef inline double total(const double *lanes) noexcept nogil:
    """The lanes' sum."""
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))


cdef inline double sum_run(Py_ssize_t k, const floating *x) noexcept nogil:
    """sum x"""
    cdef Py_ssize_t b, j, lane, whole = k - k % LANES
    cdef double[LANES] sums
    for lane in range(LANES):
        sums[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            sums[lane] += x[b * LANES + lane]
    for j in range(whole, k):
        sums[j - whole] += x[j]
    return total(sums)


cdef inline double sum_squares(Py_ssize_t k, const floating *x, double mean) noexcept nogil:
    """sum (x - mean)^2"""
    cdef Py_ssize_t b, j, lane, whole = k - k % LANES
    cdef double[LANES] sums
    cdef double gap
    for lane in range(LANES):
        sums[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            gap = x[b * LANES + lane] - mean
            sums[lane] += gap * gap
    for j in range(whole, k):
        gap = x[j] - mean
        sums[j - whole] += gap * gap
    return total(sums)


cdef inline void gradient_sums(
    Py_ssize_t k,
    const floating *gamma,      # (k,)
    const floating *x,          # (k,)
    const floating *dy,         # (k,)
    floating high, floating low, floating inverse,
    double *sum_g, double *sum_g_xhat,
) noexcept nogil:
    """sum_g = sum g,  sum_g_xhat = sum g xhat,  g = gamma dy,  xhat = (x - high - low) inverse"""
    cdef Py_ssize_t b, j, lane, whole = k - k % LANES
    cdef double[LANES] sums
    cdef double[LANES] sums_xhat
    cdef floating g
    for lane in range(LANES):
        sums[lane] = sums_xhat[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            j = b * LANES + lane
            g = gamma[j] * dy[j]
            sums[lane] += g
            sums_xhat[lane] += g * ((x[j] - high - low) * inverse)
    for j in range(whole, k):
        g = gamma[j] * dy[j]
        sums[j - whole] += g
        sums_xhat[j - whole] += g * ((x[j] - high - low) * inverse)
    sum_g[0] = total(sums)
    sum_g_xhat[0] = total(sums_xhat)


cdef inline void add_parameter_sums(
    Py_ssize_t k,
    const floating *x,          # (k,)
    const floating *dy,         # (k,)
    const floating *high, const floating *low, const floating *inverse,     # (k,)
    double *dgamma, double *dbeta,
) noexcept nogil:
    """dgamma += sum dy xhat,  dbeta += sum dy, for a run that shares gamma and beta"""
    cdef Py_ssize_t b, j, lane, whole = k - k % LANES
    cdef double[LANES] sums
    cdef double[LANES] sums_xhat
    for lane in range(LANES):
        sums[lane] = sums_xhat[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            j = b * LANES + lane
            sums[lane] += dy[j]
            sums_xhat[lane] += dy[j] * ((x[j] - high[j] - low[j]) * inverse[j])
    for j in range(whole, k):
        sums[j - whole] += dy[j]
        sums_xhat[j - whole] += dy[j] * ((x[j] - high[j] - low[j]) * inverse[j])
    dbeta[0] += total(sums)
    dgamma[0] += total(sums_xhat)
