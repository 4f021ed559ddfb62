"""Losses over samples, steps and weights.

    L = sum_i w_i l_i,  l_i = loss.scale sum_(steps, outputs) l(y, t),  dy = scale w_i dl_i/dy

The formulas of l are in row_losses.pxd, _engine/vec/losses.inc and _engine/vec/log_losses.inc.
"""
from cython cimport floating
from libc.string cimport memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.loss cimport Loss, LossKernel, loss_t
from ldl_cy._kernels cimport row_losses

cdef enum Kind:
    SQUARED_ERROR, LOG_LOSS_CODES, LOG_LOSS_PROBS, BINARY_LOG_LOSS
    ABSOLUTE_ERROR, HUBER, QUANTILE, POISSON, HINGE, BINARY_HINGE, OUTPUT, VJP

KINDS = {
    "squared_error": SQUARED_ERROR, "log_loss_codes": LOG_LOSS_CODES, "log_loss_probs": LOG_LOSS_PROBS,
    "binary_log_loss": BINARY_LOG_LOSS, "absolute_error": ABSOLUTE_ERROR, "huber": HUBER, "quantile": QUANTILE,
    "poisson": POISSON, "hinge": HINGE, "binary_hinge": BINARY_HINGE,
    "output": OUTPUT,                       # l = y_option: one row of a Jacobian
    "vjp": VJP,                             # l = sum_j t_j y_j: backward then makes J^T t, the vector-Jacobian product
}
CODED = ("log_loss_codes", "hinge", "output")         # one number, a class code, is the target of k outputs


cdef inline double row_loss(
    int kind, double option, Py_ssize_t k, const floating *y, const floating *t, floating c, floating *dy,
) noexcept nogil:
    if kind == ABSOLUTE_ERROR:
        return row_losses.absolute_error(k, y, t, c, dy)
    if kind == HUBER:
        return row_losses.huber(k, y, t, c, option, dy)
    if kind == QUANTILE:
        return row_losses.quantile(k, y, t, c, option, dy)
    if kind == POISSON:
        return row_losses.poisson(k, y, t, c, option != 0, dy)
    if kind == HINGE:
        return row_losses.hinge(k, y, t, c, dy)
    if kind == BINARY_HINGE:
        return row_losses.binary_hinge(k, y, t, c, dy)
    if kind == VJP:
        return row_losses.vjp(k, y, t, c, dy)
    if dy != NULL:
        memset(dy, 0, k * sizeof(floating))
        dy[<Py_ssize_t>option] = c
    return y[<Py_ssize_t>option]


cdef inline double row_by_row(
    int kind, double option, Py_ssize_t rows, Py_ssize_t k, const floating *y, const floating *t,
    const floating *w, floating scale, floating *dy) noexcept nogil:
    """sum_i w_i l_i over rows; dy (rows, k) = scale w_i dl_i/dy."""
    cdef Py_ssize_t i, t_size = 1 if kind == HINGE or kind == OUTPUT else k
    cdef floating c
    cdef double total = 0
    if w == NULL and kind != HINGE and kind != OUTPUT:
        # a sum over elements, all with the same weight: one long row
        return row_loss(kind, option, rows * k, y, t, scale, dy)
    for i in range(rows):
        c = scale if w == NULL else scale * w[i]
        if w != NULL and w[i] == 0:
            # not 0 l_i, which is NaN where l_i is infinite
            if dy != NULL:
                memset(dy + i * k, 0, k * sizeof(floating))
            continue
        total += (1 if w == NULL else w[i]) * row_loss(
            kind, option, k, y + i * k, t + i * t_size, c, NULL if dy == NULL else dy + i * k)
    return total


cdef inline double rows_loss(
    int kind, double option, Py_ssize_t rows, Py_ssize_t k, const floating *y, const floating *t,
    const floating *w, floating scale, floating *dy) noexcept nogil:
    if kind == SQUARED_ERROR:
        return vec.squared_error(rows, k, y, t, w, scale, dy)
    if kind == LOG_LOSS_CODES:
        return vec.log_loss_codes(rows, k, y, t, w, scale, dy, <floating>option)
    if kind == LOG_LOSS_PROBS:
        return vec.log_loss_probs(rows, k, y, t, w, scale, dy, <floating>option)
    if kind == BINARY_LOG_LOSS:
        return vec.binary_log_loss(rows, k, y, t, w, scale, dy)
    return row_by_row(kind, option, rows, k, y, t, w, scale, dy)


cdef double samples_loss(
    const Loss *s, Py_ssize_t n,
    const floating *y,          # (n, steps, k)
    const floating *t,          # (n, target_size)
    const floating *w,          # (n,) or NULL
    double scale,
    floating *dy,               # (n, steps, k) or NULL
) noexcept nogil:
    cdef Py_ssize_t i, size = s.steps * s.k
    cdef double total = 0
    if s.steps == 1 or w == NULL:
        total = rows_loss(s.kind, s.option, n * s.steps, s.k, y, t, w, <floating>(scale * s.scale), dy)
    else:
        # a sample's weight belongs to each of its steps
        for i in range(n):
            if w[i] == 0:
                if dy != NULL:
                    memset(dy + i * size, 0, size * sizeof(floating))
                continue
            total += w[i] * rows_loss(
                s.kind, s.option, s.steps, s.k, y + i * size, t + i * s.target_size, <const floating*>NULL,
                <floating>(scale * s.scale * w[i]), NULL if dy == NULL else dy + i * size)
    return total * s.scale


def make_loss(str name, str dtype, *, Py_ssize_t steps, Py_ssize_t k, double scale, double option=0.0):
    """The kernel of a loss for outputs of (steps, k)."""
    cdef LossKernel kernel = LossKernel()
    cdef Loss *s = &kernel.loss
    if name not in KINDS:
        raise ValueError(f"make_loss: no kernel for {name!r}.")
    s.kind, s.steps, s.k, s.scale, s.option = KINDS[name], steps, k, scale, option
    s.target_size = steps if name in CODED else steps * k
    if dtype == "float32":
        s.compute = <loss_t>samples_loss[float]
    else:
        s.compute = <loss_t>samples_loss[double]
    kernel.name, kernel.dtype = name, dtype
    return kernel
