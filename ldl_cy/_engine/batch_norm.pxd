# BatchNorm and what follows it in one pass, for the instruction set in use: vec/batch_norm.h says what is computed.
from cython cimport floating

from ldl_cy._engine cimport vec

cdef extern from "vec/batch_norm.h" nogil:
    ctypedef struct ldl_batch_norm_f32:
        void (*moments)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, double*, double*) noexcept nogil
        void (*forward)(
            Py_ssize_t, Py_ssize_t, const float*, float, float, const float*, const float*, float*) noexcept nogil
        void (*sums)(
            Py_ssize_t, Py_ssize_t, const float*, float, float, const float*, const float*, float*,
            double*) noexcept nogil
        void (*backward)(
            Py_ssize_t, Py_ssize_t, const float*, float, float, const float*, const float*, float*) noexcept nogil
        void (*pool_forward)(
            Py_ssize_t, Py_ssize_t, const float*, float, float, const float*, const float*, float*,
            float*) noexcept nogil
        void (*pool_backward)(
            Py_ssize_t, Py_ssize_t, const float*, float, float, const float*, const float*, const float*, const float*,
            float*, float*) noexcept nogil

    ctypedef struct ldl_batch_norm_f64:
        void (*moments)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*, double*) noexcept nogil
        void (*forward)(
            Py_ssize_t, Py_ssize_t, const double*, double, double, const double*, const double*, double*) noexcept nogil
        void (*sums)(
            Py_ssize_t, Py_ssize_t, const double*, double, double, const double*, const double*, double*,
            double*) noexcept nogil
        void (*backward)(
            Py_ssize_t, Py_ssize_t, const double*, double, double, const double*, const double*,
            double*) noexcept nogil
        void (*pool_forward)(
            Py_ssize_t, Py_ssize_t, const double*, double, double, const double*, const double*, double*,
            double*) noexcept nogil
        void (*pool_backward)(
            Py_ssize_t, Py_ssize_t, const double*, double, double, const double*, const double*, const double*,
            const double*, double*, double*) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_batch_norm_f32 batch_norm_f32
        ldl_batch_norm_f64 batch_norm_f64


# n and rows: vectors of k channels before, and here; channel (5, k); lo, hi: bounds of the output
cdef inline void norm_moments(
    Py_ssize_t n, Py_ssize_t rows, Py_ssize_t k, const floating *x, double *mean, double *m2) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).batch_norm_f32.moments(n, rows, k, x, mean, m2)
    else:
        (<const Table*>vec.table).batch_norm_f64.moments(n, rows, k, x, mean, m2)


cdef inline void norm_forward(
    Py_ssize_t rows, Py_ssize_t k, const floating *channel, floating lo, floating hi, const floating *x,
    const floating *other, floating *y,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).batch_norm_f32.forward(rows, k, channel, lo, hi, x, other, y)
    else:
        (<const Table*>vec.table).batch_norm_f64.forward(rows, k, channel, lo, hi, x, other, y)


cdef inline void norm_sums(
    Py_ssize_t rows, Py_ssize_t k, const floating *channel, floating lo, floating hi, const floating *x,
    const floating *y, floating *dy, double *sums,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).batch_norm_f32.sums(rows, k, channel, lo, hi, x, y, dy, sums)
    else:
        (<const Table*>vec.table).batch_norm_f64.sums(rows, k, channel, lo, hi, x, y, dy, sums)


cdef inline void norm_backward(
    Py_ssize_t rows, Py_ssize_t k, const floating *channel, floating lo, floating hi, const floating *x,
    const floating *dy, floating *dx,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).batch_norm_f32.backward(rows, k, channel, lo, hi, x, dy, dx)
    else:
        (<const Table*>vec.table).batch_norm_f64.backward(rows, k, channel, lo, hi, x, dy, dx)


cdef inline void norm_pool_forward(
    Py_ssize_t h, Py_ssize_t w, Py_ssize_t k, const floating *channel, floating lo, floating hi,
    const floating *x,          # (h, w, k)
    floating *y,                # (h / 2, w / 2, k), halves rounded down
    floating *chosen,           # likewise, or NULL
) noexcept nogil:
    """An image, with the maxima of 2x2 pixels."""
    cdef Py_ssize_t _i, row = w * k
    for _i in range(h // 2):
        if floating is float:
            (<const Table*>vec.table).batch_norm_f32.pool_forward(w // 2, k, channel, lo, hi, x, x + row, y, chosen)
        else:
            (<const Table*>vec.table).batch_norm_f64.pool_forward(w // 2, k, channel, lo, hi, x, x + row, y, chosen)
        x += 2 * row
        y += w // 2 * k
        if chosen != NULL:
            chosen += w // 2 * k


cdef inline void norm_pool_backward(
    Py_ssize_t h, Py_ssize_t w, Py_ssize_t k, const floating *channel, floating lo, floating hi,
    const floating *x,          # (h, w, k)
    const floating *chosen,     # (h / 2, w / 2, k)
    const floating *dy,         # likewise
    floating *dx,               # (h, w, k)
) noexcept nogil:
    """The gradient of an image. No window sees the last pixel of an odd row, or an odd last row."""
    cdef Py_ssize_t i, row = w * k
    for i in range(h):
        if i == h - 1 and h % 2:
            norm_backward(w, k, channel, lo, hi, x, NULL, dx)
            return
        if w % 2:
            norm_backward(1, k, channel, lo, hi, x + row - k, NULL, dx + row - k)
        if i % 2 == 0:
            if floating is float:
                (<const Table*>vec.table).batch_norm_f32.pool_backward(
                    w // 2, k, channel, lo, hi, x, x + row, chosen, dy, dx, dx + row)
            else:
                (<const Table*>vec.table).batch_norm_f64.pool_backward(
                    w // 2, k, channel, lo, hi, x, x + row, chosen, dy, dx, dx + row)
            chosen += w // 2 * k
            dy += w // 2 * k
        x += row
        dx += row
