"""The vectorised kernels as Python sees them: which instruction set runs, and each one by name.

The functions below take NumPy arrays, all of one dtype, float32 or float64. They check shapes and
call the table by address, so that no buffer code is compiled for them; what each kernel computes
stands in vec/vec.h. Where None is allowed the kernel gets NULL.
"""
from cython cimport floating
from libc.stdint cimport uint64_t, uintptr_t

import numpy as np

cdef extern from *:
    """
    #include "vec/vec.h"
    #include "vec/cpu.h"
    #ifdef LDL_X86
    extern const ldl_vec ldl_vec_v2, ldl_vec_v3, ldl_vec_v4;
    static const ldl_vec *const ldl_tables[] = {&ldl_vec_v2, &ldl_vec_v3, &ldl_vec_v4};
    #else
    extern const ldl_vec ldl_vec_base;
    static const ldl_vec *const ldl_tables[] = {&ldl_vec_base};
    #endif
    static int ldl_n_tables(void) {
        /* those this processor can run */
        return ldl_cpu_level(sizeof(ldl_tables) / sizeof(ldl_tables[0]));
    }
    """
    const ldl_vec *ldl_tables[]
    int ldl_n_tables() nogil

cdef extern from "vec/cpu.h" nogil:
    uint64_t ldl_flush_denormals()
    void ldl_restore_denormals(uint64_t old)

cdef extern from "vec/rng.h" nogil:
    double ldl_uniform(uint64_t key, uint64_t i)

ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "logistic",
    "softmax", "mish", "hard_sigmoid")
LOSSES = ("squared_error", "log_loss_codes", "log_loss_probs", "binary_log_loss")
RULES = ("sgd", "adam", "rmsprop", "adagrad", "adadelta", "nadam")


def default_slope(name):
    """The slope argument of an activation where nobody set it: leaky_relu's 0.01, elu's alpha of 1."""
    return 0.01 if name == "leaky_relu" else 1.0


table = ldl_tables[ldl_n_tables() - 1]


def instruction_sets():
    """Names of the instruction sets that this build has and this processor runs, best last."""
    return [(<bytes>ldl_tables[i].name).decode() for i in range(ldl_n_tables())]


def instruction_set():
    """Name of the one in use."""
    return (<bytes>table.name).decode()


def use_instruction_set(name):
    """Choose another one, for tests and measurements. Not while a fit runs."""
    global table
    names = instruction_sets()
    if name not in names:
        raise ValueError(f"use_instruction_set: name must be one of {names}, got {name!r}.")
    table = ldl_tables[names.index(name)]


# --------------------------------------------------------------------------------------------------
# Of one array: activations, exp, log, dropout

def activation(name, z, slope=1.0, out=None):
    """f(z) of the activation `name`; softmax works along the last axis. In place with out=z."""
    kind = _kind("activation", name)
    out = np.empty_like(z) if out is None else out
    k = _columns(z)
    wide, pz, py = _addresses("activation", z.shape, z=z, _out=out)
    if wide:
        _activate[double](kind, slope, z.size // k, k, pz, py)
    else:
        _activate[float](kind, slope, z.size // k, k, pz, py)
    return out


def activation_grad(name, a, dy, slope=1.0, out=None):
    """dy f'(z); `a` is z where keeps_z(name), else f(z). In place with out=dy."""
    kind = _kind("activation_grad", name)
    out = np.empty_like(dy) if out is None else out
    k = _columns(a)
    wide, pa, pd, pz = _addresses("activation_grad", a.shape, a=a, dy=dy, _out=out)
    if wide:
        _activate_grad[double](kind, slope, a.size // k, k, pa, pd, pz)
    else:
        _activate_grad[float](kind, slope, a.size // k, k, pa, pd, pz)
    return out


def keeps_z(name):
    """Whether the gradient of an activation is computed from z rather than from f(z)."""
    return bool(ldl_keeps_z(_kind("keeps_z", name)))


def exponential(x, out=None):
    """e^x."""
    out = np.empty_like(x) if out is None else out
    wide, px, py = _addresses("exponential", x.shape, x=x, _out=out)
    if wide:
        _map[double](0, x.size, px, py, 0, 0, 0.0, 0)
    else:
        _map[float](0, x.size, px, py, 0, 0, 0.0, 0)
    return out


def logarithm(x, out=None):
    """The natural logarithm."""
    out = np.empty_like(x) if out is None else out
    wide, px, py = _addresses("logarithm", x.shape, x=x, _out=out)
    if wide:
        _map[double](1, x.size, px, py, 0, 0, 0.0, 0)
    else:
        _map[float](1, x.size, px, py, 0, 0, 0.0, 0)
    return out


def apply_dropout(x, key, first, rate, out=None):
    """x m / (1 - rate), m drawn from the stream `key`, its first element at number `first`."""
    out = np.empty_like(x) if out is None else out
    wide, px, py = _addresses("apply_dropout", x.shape, x=x, _out=out)
    if wide:
        _map[double](2, x.size, px, py, key, first, rate, 0)
    else:
        _map[float](2, x.size, px, py, key, first, rate, 0)
    return out


def uniform_draws(uint64_t key, uint64_t first, Py_ssize_t n):
    """Numbers first, ..., first + n - 1 of the stream `key`, uniform on [0, 1): see vec/rng.h."""
    return [ldl_uniform(key, first + <uint64_t>i) for i in range(n)]


cdef _activate(
    int kind, floating slope, Py_ssize_t rows, Py_ssize_t k, uintptr_t z, uintptr_t y,
):
    activate(kind, slope, rows, k, <const floating*>z, <floating*>y)


cdef _activate_grad(
    int kind, floating slope, Py_ssize_t rows, Py_ssize_t k, uintptr_t a, uintptr_t dy,
    uintptr_t dz,
):
    activate_grad(kind, slope, rows, k, <const floating*>a, <const floating*>dy, <floating*>dz)


# In the functions below that have no number of the dtype, `tag` names it.

cdef _map(
    int which, Py_ssize_t n, uintptr_t x, uintptr_t y, uint64_t key, uint64_t first, double rate,
    floating tag,
):
    if which == 0:
        exp(n, <const floating*>x, <floating*>y)
    elif which == 1:
        log(n, <const floating*>x, <floating*>y)
    else:
        dropout(n, key, first, rate, <const floating*>x, <floating*>y)


# --------------------------------------------------------------------------------------------------
# Losses

def loss(name, y, t, w=None, scale=1.0, smoothing=0.0, dy=None):
    """sum_i w_i l_i over the rows of y; dy, if given, becomes scale w_i dl_i (dy=y is allowed)."""
    if name not in LOSSES:
        raise ValueError(f"loss: name must be one of {LOSSES}, got {name!r}.")
    if y.ndim != 2:
        raise ValueError(f"loss: y must be of shape (rows, k), got {y.shape}.")
    rows, k = y.shape
    codes = name == "log_loss_codes"
    if codes and not ((t >= 0) & (t < k)).all():
        raise ValueError(f"loss: codes must be in 0, ..., {k - 1}.")
    wide, py, pd = _addresses("loss", y.shape, y=y, _dy=dy)
    _, pt = _addresses("loss", (rows,) if codes else y.shape, wide, t=t)
    _, pw = _addresses("loss", (rows,), wide, w=w)
    if wide:
        return _loss[double](LOSSES.index(name), rows, k, py, pt, pw, scale, pd, smoothing)
    else:
        return _loss[float](LOSSES.index(name), rows, k, py, pt, pw, scale, pd, smoothing)


cdef double _loss(
    int which, Py_ssize_t rows, Py_ssize_t k, uintptr_t y, uintptr_t t, uintptr_t w,
    floating scale, uintptr_t dy, floating smoothing,
):
    cdef const floating *py = <const floating*>y
    cdef const floating *pt = <const floating*>t
    cdef const floating *pw = <const floating*>w
    if which == 0:
        return squared_error(rows, k, py, pt, pw, scale, <floating*>dy)
    if which == 1:
        return log_loss_codes(rows, k, py, pt, pw, scale, <floating*>dy, smoothing)
    if which == 2:
        return log_loss_probs(rows, k, py, pt, pw, scale, <floating*>dy, smoothing)
    return binary_log_loss(rows, k, py, pt, pw, scale, <floating*>dy)


# --------------------------------------------------------------------------------------------------
# One step of recurrent gates

def lstm_step(z, c_prev, c, tc, h):
    """Forward: z in place, c, tc and h written. c_prev and tc may be None."""
    n, u = h.shape
    wide, pz = _addresses("lstm_step", (n, 4 * u), _z=z)
    _, p, pc, ptc, ph = _addresses("lstm_step", h.shape, wide, c_prev=c_prev, _c=c, _tc=tc, _h=h)
    if wide:
        _lstm_step[double](n, u, pz, p, pc, ptc, ph, 0)
    else:
        _lstm_step[float](n, u, pz, p, pc, ptc, ph, 0)


def lstm_step_back(z, c_prev, tc, dh, dc):
    """Backward: z and dc in place. c_prev may be None."""
    n, u = dh.shape
    wide, pz = _addresses("lstm_step_back", (n, 4 * u), _z=z)
    _, p, ptc, ph, pc = _addresses(
        "lstm_step_back", dh.shape, wide, c_prev=c_prev, tc=tc, dh=dh, _dc=dc)
    if wide:
        _lstm_step_back[double](n, u, pz, p, ptc, ph, pc, 0)
    else:
        _lstm_step_back[float](n, u, pz, p, ptc, ph, pc, 0)


def gru_step(a, q, cn, h_prev, h):
    """Forward: a and q in place, h written. cn and h_prev may be None."""
    n, u = h.shape
    wide, pa = _addresses("gru_step", (n, 3 * u), _a=a)
    _, pq = _addresses("gru_step", h.shape, wide, _q=q)
    _, pc = _addresses("gru_step", (u,), wide, cn=cn)
    _, p, ph = _addresses("gru_step", h.shape, wide, h_prev=h_prev, _h=h)
    if wide:
        _gru_step[double](n, u, pa, pq, pc, p, ph, 0)
    else:
        _gru_step[float](n, u, pa, pq, pc, p, ph, 0)


def gru_step_back(a, q, h_prev, dh):
    """Backward: a, q and dh in place. h_prev may be None."""
    n, u = dh.shape
    wide, pa = _addresses("gru_step_back", (n, 3 * u), _a=a)
    _, pq, p, ph = _addresses("gru_step_back", dh.shape, wide, _q=q, h_prev=h_prev, _dh=dh)
    if wide:
        _gru_step_back[double](n, u, pa, pq, p, ph, 0)
    else:
        _gru_step_back[float](n, u, pa, pq, p, ph, 0)


cdef _lstm_step(
    Py_ssize_t n, Py_ssize_t u, uintptr_t z, uintptr_t c_prev, uintptr_t c, uintptr_t tc,
    uintptr_t h, floating tag,
):
    lstm_forward(n, u, <floating*>z, <const floating*>c_prev, <floating*>c, <floating*>tc,
                 <floating*>h)


cdef _lstm_step_back(
    Py_ssize_t n, Py_ssize_t u, uintptr_t z, uintptr_t c_prev, uintptr_t tc, uintptr_t dh,
    uintptr_t dc, floating tag,
):
    lstm_backward(n, u, <floating*>z, <const floating*>c_prev, <const floating*>tc,
                  <const floating*>dh, <floating*>dc)


cdef _gru_step(
    Py_ssize_t n, Py_ssize_t u, uintptr_t a, uintptr_t q, uintptr_t cn, uintptr_t h_prev,
    uintptr_t h, floating tag,
):
    gru_forward(n, u, <floating*>a, <floating*>q, <const floating*>cn, <const floating*>h_prev,
                <floating*>h)


cdef _gru_step_back(
    Py_ssize_t n, Py_ssize_t u, uintptr_t a, uintptr_t q, uintptr_t h_prev, uintptr_t dh,
    floating tag,
):
    gru_backward(n, u, <floating*>a, <floating*>q, <const floating*>h_prev, <floating*>dh)


# --------------------------------------------------------------------------------------------------
# Linear helpers and update rules

def fill_rows_(y, b=None):
    """Each row of y becomes b, or zeros. The rows of y may be apart."""
    wide, py, ld = _rows("fill_rows_", y, True)
    _, pb = _addresses("fill_rows_", y.shape[1:], wide, b=b)
    if wide:
        _fill[double](y.shape[0], y.shape[1], pb, py, ld, 0)
    else:
        _fill[float](y.shape[0], y.shape[1], pb, py, ld, 0)


def add_column_sums_(x, total):
    """total += x.sum(axis=0), in place."""
    wide, px = _addresses("add_column_sums_", x.shape, x=x)
    _, pt = _addresses("add_column_sums_", x.shape[1:], wide, _total=total)
    if wide:
        _column_sums[double](x.shape[0], x.shape[1], px, pt, 0)
    else:
        _column_sums[float](x.shape[0], x.shape[1], px, pt, 0)


def transpose_(a, b):
    """b = a transposed. The rows of both may be apart."""
    if b.shape != a.shape[::-1] or a.dtype != b.dtype:
        raise ValueError("transpose_: b must have the dtype and the transposed shape of a.")
    wide, pa, lda = _rows("transpose_", a, False)
    _, pb, ldb = _rows("transpose_", b, True)
    if wide:
        _transpose[double](a.shape[0], a.shape[1], pa, lda, pb, ldb, 0)
    else:
        _transpose[float](a.shape[0], a.shape[1], pa, lda, pb, ldb, 0)


def add_(x, y, alpha=None):
    """y += x, or y += alpha x, in place."""
    wide, px, py = _addresses("add_", x.shape, x=x, _y=y)
    if wide:
        _add[double](x.size, px, py, 1.0 if alpha is None else alpha, alpha is None)
    else:
        _add[float](x.size, px, py, 1.0 if alpha is None else alpha, alpha is None)


def scale_(y, alpha):
    """y *= alpha, in place."""
    wide, py = _addresses("scale_", y.shape, _y=y)
    if wide:
        _scale[double](y.size, alpha, py)
    else:
        _scale[float](y.size, alpha, py)


def sum_of_squares(x):
    """The sum of the squares of x."""
    wide, px = _addresses("sum_of_squares", x.shape, x=x)
    if wide:
        return _norm[double](0, x.size, px, 0)
    else:
        return _norm[float](0, x.size, px, 0)


def largest(x):
    """The largest |x|; infinity where there is a NaN."""
    wide, px = _addresses("largest", x.shape, x=x)
    if wide:
        return _norm[double](1, x.size, px, 0)
    else:
        return _norm[float](1, x.size, px, 0)


def update_(rule, theta, g, slots, coef):
    """One step of one of RULES, in place: slots (n_slots, n), or None, and coef, float64, as in vec/vec.h."""
    if rule not in RULES:
        raise ValueError(f"update_: rule must be one of {RULES}, got {rule!r}.")
    wide, p, pg = _addresses("update_", theta.shape, _theta=theta, g=g)
    _, ps = _addresses("update_", () if slots is None else (len(slots), *theta.shape), wide, _slots=slots)
    _, pc = _addresses("update_", coef.shape, True, coef=coef)
    if wide:
        _update[double](RULES.index(rule), theta.size, p, pg, ps, pc, 0)
    else:
        _update[float](RULES.index(rule), theta.size, p, pg, ps, pc, 0)


cdef _fill(
    Py_ssize_t rows, Py_ssize_t k, uintptr_t b, uintptr_t y, Py_ssize_t ldy, floating tag,
):
    fill_rows(rows, k, <const floating*>b, <floating*>y, ldy)


cdef _column_sums(Py_ssize_t rows, Py_ssize_t k, uintptr_t x, uintptr_t total, floating tag):
    add_column_sums(rows, k, <const floating*>x, <floating*>total)


cdef _transpose(
    Py_ssize_t rows, Py_ssize_t cols, uintptr_t a, Py_ssize_t lda, uintptr_t b, Py_ssize_t ldb,
    floating tag,
):
    transpose(rows, cols, <const floating*>a, lda, <floating*>b, ldb)


cdef _add(Py_ssize_t n, uintptr_t x, uintptr_t y, floating alpha, bint plain):
    if plain:
        add(n, <const floating*>x, <floating*>y)
    else:
        axpy(n, alpha, <const floating*>x, <floating*>y)


cdef _scale(Py_ssize_t n, floating alpha, uintptr_t y):
    scale(n, alpha, <floating*>y)


cdef double _norm(int which, Py_ssize_t n, uintptr_t x, floating tag):
    return max_abs(n, <const floating*>x) if which else sum_squares(n, <const floating*>x)


cdef _update(
    int rule, Py_ssize_t n, uintptr_t theta, uintptr_t g, uintptr_t slots, uintptr_t coef, floating tag,
):
    update(rule, n, <floating*>theta, <const floating*>g, <floating*>slots, n, <const double*>coef)


# --------------------------------------------------------------------------------------------------
# Denormals

def product_flushed(double x, double y):
    """x y with denormals flushed to zero, and again with the mode put back."""
    cdef volatile double a = x
    cdef volatile double b = y
    cdef volatile double inside
    cdef uint64_t old = ldl_flush_denormals()
    inside = a * b
    ldl_restore_denormals(old)
    return inside, a * b


# --------------------------------------------------------------------------------------------------
# Checks

def _kind(where, name):
    if name not in ACTIVATIONS:
        raise ValueError(f"{where}: name must be one of {ACTIVATIONS}, got {name!r}.")
    return ACTIVATIONS.index(name)


def _columns(x):
    return max(x.shape[x.ndim - 1] if x.ndim else 1, 1)


def _addresses(where, shape, wide=None, **arrays):
    """Whether the dtype is float64, and the addresses; names with _ are those of results."""
    found = []
    for name, x in arrays.items():
        if x is None:
            found.append(0)
            continue
        if wide is None:
            wide = x.dtype == np.float64
        if x.dtype != (np.float64 if wide else np.float32):
            raise TypeError(f"{where}: {name.strip('_')} has another dtype, {x.dtype}.")
        if x.shape != tuple(shape):
            raise ValueError(
                f"{where}: {name.strip('_')} must be of shape {tuple(shape)}, got {x.shape}.")
        if not x.flags.c_contiguous or (name[0] == "_" and not x.flags.writeable):
            raise ValueError(f"{where}: {name.strip('_')} must be C-contiguous, results writeable.")
        found.append(x.ctypes.data)
    return wide, *found


def _rows(where, x, result):
    """dtype, address and distance of the rows of a matrix whose rows are contiguous."""
    wide = x.dtype == np.float64
    if not wide and x.dtype != np.float32:
        raise TypeError(f"{where}: arrays must be float32 or float64, got {x.dtype}.")
    down, along = x.strides
    if x.size and (along != x.itemsize or down % x.itemsize):
        raise ValueError(f"{where}: rows must be contiguous.")
    if result and not x.flags.writeable:
        raise ValueError(f"{where}: the result must be writeable.")
    return wide, x.ctypes.data, down // x.itemsize
