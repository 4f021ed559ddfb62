# Layer normalization of rows for the instruction set in use: vec/layer_norm.h says what is computed.
from cython cimport floating

from ldl_cy._engine cimport vec

cdef extern from "vec/layer_norm.h" nogil:
    ctypedef struct ldl_layer_norm_f32:
        void (*describe)(Py_ssize_t, Py_ssize_t, double, const float*, float*) noexcept nogil
        void (*forward)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, const float*, const float*, float*) noexcept nogil
        void (*backward)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, const float*, const float*, float*) noexcept nogil
        void (*sums)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, const float*, double*, double*) noexcept nogil

    ctypedef struct ldl_layer_norm_f64:
        void (*describe)(Py_ssize_t, Py_ssize_t, double, const double*, double*) noexcept nogil
        void (*forward)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, const double*, double*) noexcept nogil
        void (*backward)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, const double*, double*) noexcept nogil
        void (*sums)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, double*, double*) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_layer_norm_f32 layer_norm_f32
        ldl_layer_norm_f64 layer_norm_f64


# x, y, dy, dx (rows, k); stats (rows, 3); gamma, beta (k,)
cdef inline void layer_norm_describe(
    Py_ssize_t rows, Py_ssize_t k, double epsilon, const floating *x, floating *stats) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).layer_norm_f32.describe(rows, k, epsilon, x, stats)
    else:
        (<const Table*>vec.table).layer_norm_f64.describe(rows, k, epsilon, x, stats)


cdef inline void layer_norm_forward(
    Py_ssize_t rows, Py_ssize_t k, const floating *gamma, const floating *beta, const floating *stats,
    const floating *x, floating *y,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).layer_norm_f32.forward(rows, k, gamma, beta, stats, x, y)
    else:
        (<const Table*>vec.table).layer_norm_f64.forward(rows, k, gamma, beta, stats, x, y)


cdef inline void layer_norm_backward(
    Py_ssize_t rows, Py_ssize_t k, const floating *gamma, const floating *stats, const floating *x,
    const floating *dy, floating *dx,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).layer_norm_f32.backward(rows, k, gamma, stats, x, dy, dx)
    else:
        (<const Table*>vec.table).layer_norm_f64.backward(rows, k, gamma, stats, x, dy, dx)


cdef inline void layer_norm_sums(
    Py_ssize_t rows, Py_ssize_t k, const floating *stats, const floating *x, const floating *dy,
    double *dgamma, double *dbeta,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).layer_norm_f32.sums(rows, k, stats, x, dy, dgamma, dbeta)
    else:
        (<const Table*>vec.table).layer_norm_f64.sums(rows, k, stats, x, dy, dgamma, dbeta)
