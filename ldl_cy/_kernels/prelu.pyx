"""PReLU: y = max(0, x) + alpha min(0, x), with slopes alpha that are learned and may be shared along axes.

He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet classification",
ICCV 2015. How the slopes are shared along the axes of a row is said in runs.pxd.

    dalpha += sum dy min(0, x), over rows and shared axes
    dx = dy where x > 0, else alpha dy
"""
from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._kernels.runs cimport MOST_AXES, Runs, fill_runs, next_run


cdef inline void scale_run(
    const Runs *s,
    const floating *alpha,      # (1,) if shared, else (k,)
    const floating *x,          # (k,)
    const floating *v,          # (k,)
    floating *out,              # (k,)
) noexcept nogil:
    """out = v where x > 0, else alpha v: y from v = x, dx from v = dy. A NaN in x is multiplied by alpha, and stays."""
    cdef Py_ssize_t j
    cdef floating slope
    if s.shared:
        slope = alpha[0]
        for j in range(s.k):
            out[j] = v[j] if x[j] > 0 else slope * v[j]
    else:
        for j in range(s.k):
            out[j] = v[j] if x[j] > 0 else alpha[j] * v[j]


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # alpha (n_params,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, runs, k)
    floating *y,                # (n, runs, k)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Runs *s = <const Runs*>&op.sizes[0]
    cdef Py_ssize_t _v, k = s.k, first = 0
    cdef Py_ssize_t[MOST_AXES] at
    memset(at, 0, sizeof(at))
    for _v in range(call.n * s.count):
        # y = x where x > 0, else alpha x
        scale_run(s, theta + first, x, x, y)
        first = next_run(s, at, first)
        x += k
        y += k


cdef inline void add_slopes(
    const Runs *s,
    const floating *x,          # (k,)
    const floating *dy,         # (k,)
    double *dalpha,             # (1,) if shared, else (k,)
) noexcept nogil:
    """dalpha += dy min(0, x); nothing past the end of a sequence, where the engine has made dy and x zero"""
    cdef Py_ssize_t j
    cdef double total = 0
    if s.shared:
        for j in range(s.k):
            total += dy[j] * (x[j] if x[j] < 0 else 0)
        dalpha[0] += total
    else:
        for j in range(s.k):
            dalpha[j] += dy[j] * (x[j] if x[j] < 0 else 0)


cdef void backward(
    const Op *op, const Call *call,
    const floating *theta,      # alpha (n_params,)
    const floating *state, const floating *derived,
    const floating *x,          # (n, runs, k)
    const floating *y,
    floating *dy,               # (n, runs, k)
    floating *dx,               # (n, runs, k) or NULL
    floating *grad,             # dalpha (n_params,) or NULL
    floating *cache,
    floating *scratch,          # (n_params,) doubles
) noexcept nogil:
    cdef const Runs *s = <const Runs*>&op.sizes[0]
    cdef Py_ssize_t _v, j, k = s.k, first = 0
    cdef Py_ssize_t[MOST_AXES] at
    # a block's sums in double: a slope may be shared by millions of numbers
    cdef double *dalpha = <double*>scratch
    memset(at, 0, sizeof(at))
    if grad != NULL:
        memset(dalpha, 0, op.n_params * sizeof(double))
    for _v in range(call.n * s.count):
        if grad != NULL:
            add_slopes(s, x, dy, dalpha + first)
        if dx != NULL:
            # dx = dy where x > 0, else alpha dy
            scale_run(s, theta + first, x, dy, dx)
            dx += k
        first = next_run(s, at, first)
        x += k
        dy += k
    if grad != NULL:
        for j in range(op.n_params):
            grad[j] += <floating>dalpha[j]


def prelu(str dtype, *, tuple sizes, tuple strides):
    """The kernel of ``layers.PReLU``: rows of at most 16 axes of ``sizes``, ``strides`` of alpha, the last 0 or 1."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Runs *s = <Runs*>&op.sizes[0]
    assert_fits(sizeof(Runs), sizeof(op.sizes))
    cdef Py_ssize_t n_params = fill_runs(s, sizes, strides)
    op.x_size = op.y_size = s.count * s.k
    op.n_params = n_params
    op.scratch_fixed = n_params * (2 if dtype == "float32" else 1)
    op.flops = 4.0 * op.x_size
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "prelu", dtype
    kernel.config = {"sizes": sizes, "strides": strides}
    return kernel
