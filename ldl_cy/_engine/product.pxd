"""y = a b, number by number, with NumPy's broadcasting, and the gradients of the two factors.

    da = sum dy b,  db = sum dy a, over the axes along which the factor has length 1

A row is walked in runs, its last axis: see ``merged`` in axes.py.
"""
from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine.run cimport Axis, Instruction

cdef enum:
    MOST_AXES = 31              # of a value: see graph.py
    LANES = 8                   # partial sums: a fixed order of addition that the compiler can vectorise


cdef inline void next_run(
    const Instruction *s,
    Py_ssize_t *at,             # (n_axes - 1,) the run's place along each axis, moved to the next run
    Py_ssize_t *first,          # (2,) the first number of the run's factors
) noexcept nogil:
    """After the last run of a row comes the first one."""
    cdef Py_ssize_t d
    for d in range(s.n_axes - 2, -1, -1):
        at[d] += 1
        first[0] += s.axes[d].stride[0]
        first[1] += s.axes[d].stride[1]
        if at[d] < s.axes[d].size:
            return
        at[d] = 0
        first[0] -= s.axes[d].size * s.axes[d].stride[0]
        first[1] -= s.axes[d].size * s.axes[d].stride[1]


cdef inline void multiply(
    const Instruction *s, Py_ssize_t n,
    const floating *a,          # (n, x_size)
    const floating *b,          # (n, x2_size)
    floating *y,                # (n, y_size)
) noexcept nogil:
    """y = a b"""
    cdef const Axis *run = s.axes + s.n_axes - 1
    cdef Py_ssize_t _i, j, _v, k = run.size
    cdef const floating *a_v
    cdef const floating *b_v
    cdef Py_ssize_t[2] first
    cdef Py_ssize_t[MOST_AXES] at
    first[0] = first[1] = 0
    memset(at, 0, sizeof(at))
    for _i in range(n):
        for _v in range(s.y_size // k):
            a_v, b_v = a + first[0], b + first[1]
            if run.stride[0] == 0:
                for j in range(k):
                    y[j] = a_v[0] * b_v[j]
            elif run.stride[1] == 0:
                for j in range(k):
                    y[j] = a_v[j] * b_v[0]
            else:
                for j in range(k):
                    y[j] = a_v[j] * b_v[j]
            y += k
            next_run(s, at, first)
        a += s.x_size
        b += s.x2_size


cdef inline void write_run(
    Py_ssize_t k, bint writes, bint shared,
    const floating *dy,         # (k,)
    const floating *other,      # (1,) if shared, else (k,)
    floating *target,           # (k,)
) noexcept nogil:
    """target = or += dy other, for a factor of which each number is used once"""
    cdef Py_ssize_t j
    cdef floating factor = other[0]
    if writes and shared:
        for j in range(k):
            target[j] = dy[j] * factor
    elif writes:
        for j in range(k):
            target[j] = dy[j] * other[j]
    elif shared:
        for j in range(k):
            target[j] += dy[j] * factor
    else:
        for j in range(k):
            target[j] += dy[j] * other[j]


cdef inline double inner_product(Py_ssize_t k, const floating *u, const floating *v) noexcept nogil:
    """sum u v"""
    cdef Py_ssize_t b, j, lane, whole = k - k % LANES
    cdef double[LANES] sums
    for lane in range(LANES):
        sums[lane] = 0
    for b in range(k // LANES):
        for lane in range(LANES):
            j = b * LANES + lane
            sums[lane] += <double>u[j] * <double>v[j]
    for j in range(whole, k):
        sums[j - whole] += <double>u[j] * <double>v[j]
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))


cdef inline void add_run(
    const Axis *run, int w,
    const floating *dy,         # (k,)
    const floating *other,      # (1,) or (k,), by its stride
    double *sums,               # likewise
) noexcept nogil:
    """sums += dy other, for a factor of which a number is used several times"""
    cdef Py_ssize_t j, step = run.stride[1 - w]
    if run.stride[w] == 0:
        sums[0] += inner_product(run.size, dy, other)
    elif step == 0:
        for j in range(run.size):
            sums[j] += <double>dy[j] * <double>other[0]
    else:
        for j in range(run.size):
            sums[j] += <double>dy[j] * <double>other[j]


cdef inline void factor_gradient(
    const Instruction *s,
    int w,                      # 0: of a, 1: of b
    bint writes, Py_ssize_t n,
    const floating *dy,         # (n, y_size)
    const floating *other,      # the other factor, (n, its size)
    floating *target,           # (n, size of the factor)
    double *sums,               # (size of the factor,) where it is broadcast
) noexcept nogil:
    """target = or += the gradient of one factor; its sums in double, since they may be over millions of numbers"""
    cdef const Axis *run = s.axes + s.n_axes - 1
    cdef Py_ssize_t _i, j, _v, k = run.size
    cdef Py_ssize_t size = s.x_size if w == 0 else s.x2_size
    cdef Py_ssize_t other_size = s.x2_size if w == 0 else s.x_size
    cdef bint several = size < s.y_size
    cdef Py_ssize_t[2] first
    cdef Py_ssize_t[MOST_AXES] at
    first[0] = first[1] = 0
    memset(at, 0, sizeof(at))
    for _i in range(n):
        if several:
            memset(sums, 0, size * sizeof(double))
        for _v in range(s.y_size // k):
            if several:
                add_run(run, w, dy, other + first[1 - w], sums + first[w])
            else:
                write_run(k, writes, run.stride[1 - w] == 0, dy, other + first[1 - w], target + first[w])
            dy += k
            next_run(s, at, first)
        if several:
            for j in range(size):
                target[j] = <floating>sums[j] if writes else target[j] + <floating>sums[j]
        other += other_size
        target += size
