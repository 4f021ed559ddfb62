"""The vectorised C kernels for Cython: fused inline functions over the table chosen at import.

What each one computes is said in vec/vec.h.
"""
from cython cimport floating
from libc.stdint cimport uint8_t, uint64_t

cdef extern from "vec/vec.h" nogil:
    enum:
        LDL_IDENTITY, LDL_RELU, LDL_SOFTMAX, LDL_TANH, LDL_LOGISTIC, LDL_N_ACTIVATIONS
        LDL_N_RULES
    bint ldl_keeps_z(int kind)

    ctypedef struct ldl_vec_f32:
        void (*activate)(int, float, Py_ssize_t, Py_ssize_t, const float*, float*) noexcept nogil
        void (*activate_grad)(
            int, float, Py_ssize_t, Py_ssize_t, const float*, const float*, float*) noexcept nogil
        void (*activate_both)(int, Py_ssize_t, const float*, float*, float*) noexcept nogil
        void (*fill_rows)(Py_ssize_t, Py_ssize_t, const float*, float*, Py_ssize_t) noexcept nogil
        void (*add_column_sums)(Py_ssize_t, Py_ssize_t, const float*, float*) noexcept nogil
        void (*transpose)(
            Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, float*, Py_ssize_t) noexcept nogil
        void (*exp)(Py_ssize_t, const float*, float*) noexcept nogil
        void (*log)(Py_ssize_t, const float*, float*) noexcept nogil
        void (*add)(Py_ssize_t, const float*, float*) noexcept nogil
        void (*scale)(Py_ssize_t, float, float*) noexcept nogil
        void (*axpy)(Py_ssize_t, float, const float*, float*) noexcept nogil
        double (*sum_squares)(Py_ssize_t, const float*) noexcept nogil
        double (*max_abs)(Py_ssize_t, const float*) noexcept nogil
        void (*dropout)(
            Py_ssize_t, uint64_t, uint64_t, double, const float*, float*) noexcept nogil
        double (*squared_error)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, const float*, float,
            float*) noexcept nogil
        double (*log_loss_codes)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, const float*, float, float*,
            float) noexcept nogil
        double (*log_loss_probs)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, const float*, float, float*,
            float) noexcept nogil
        double (*binary_log_loss)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, const float*, float,
            float*) noexcept nogil
        void (*lstm_forward)(
            Py_ssize_t, Py_ssize_t, float*, const float*, float*, float*, float*) noexcept nogil
        void (*lstm_backward)(
            Py_ssize_t, Py_ssize_t, float*, const float*, const float*, const float*,
            float*) noexcept nogil
        void (*gru_forward)(
            Py_ssize_t, Py_ssize_t, float*, const float*, const float*, float*) noexcept nogil
        void (*gru_backward)(
            Py_ssize_t, Py_ssize_t, float*, float*, const float*, float*) noexcept nogil
        void (*rules[LDL_N_RULES])(
            Py_ssize_t, float*, const float*, float*, Py_ssize_t, const double*) noexcept nogil

    ctypedef struct ldl_vec_f64:
        void (*activate)(int, double, Py_ssize_t, Py_ssize_t, const double*, double*) noexcept nogil
        void (*activate_grad)(
            int, double, Py_ssize_t, Py_ssize_t, const double*, const double*,
            double*) noexcept nogil
        void (*activate_both)(int, Py_ssize_t, const double*, double*, double*) noexcept nogil
        void (*fill_rows)(Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t) noexcept nogil
        void (*add_column_sums)(Py_ssize_t, Py_ssize_t, const double*, double*) noexcept nogil
        void (*transpose)(
            Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, double*, Py_ssize_t) noexcept nogil
        void (*exp)(Py_ssize_t, const double*, double*) noexcept nogil
        void (*log)(Py_ssize_t, const double*, double*) noexcept nogil
        void (*add)(Py_ssize_t, const double*, double*) noexcept nogil
        void (*scale)(Py_ssize_t, double, double*) noexcept nogil
        void (*axpy)(Py_ssize_t, double, const double*, double*) noexcept nogil
        double (*sum_squares)(Py_ssize_t, const double*) noexcept nogil
        double (*max_abs)(Py_ssize_t, const double*) noexcept nogil
        void (*dropout)(
            Py_ssize_t, uint64_t, uint64_t, double, const double*, double*) noexcept nogil
        double (*squared_error)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, double,
            double*) noexcept nogil
        double (*log_loss_codes)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, double, double*,
            double) noexcept nogil
        double (*log_loss_probs)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, double, double*,
            double) noexcept nogil
        double (*binary_log_loss)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, const double*, double,
            double*) noexcept nogil
        void (*lstm_forward)(
            Py_ssize_t, Py_ssize_t, double*, const double*, double*, double*,
            double*) noexcept nogil
        void (*lstm_backward)(
            Py_ssize_t, Py_ssize_t, double*, const double*, const double*, const double*,
            double*) noexcept nogil
        void (*gru_forward)(
            Py_ssize_t, Py_ssize_t, double*, const double*, const double*, double*) noexcept nogil
        void (*gru_backward)(
            Py_ssize_t, Py_ssize_t, double*, double*, const double*, double*) noexcept nogil
        void (*rules[LDL_N_RULES])(
            Py_ssize_t, double*, const double*, double*, Py_ssize_t, const double*) noexcept nogil

    ctypedef struct ldl_winograd_f32:
        void (*input)(
            int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, int, int, int, int, float*,
            Py_ssize_t) noexcept nogil
        void (*output)(
            int, Py_ssize_t, const float*, Py_ssize_t, const float*, int, float*, Py_ssize_t,
            Py_ssize_t, int, int) noexcept nogil
        void (*gradient)(
            int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, int, int, float*,
            Py_ssize_t) noexcept nogil
        void (*weights)(int, Py_ssize_t, const float*, int, float*, Py_ssize_t) noexcept nogil
        void (*weights_gradient)(int, Py_ssize_t, const float*, Py_ssize_t, float*) noexcept nogil

    ctypedef struct ldl_winograd_f64:
        void (*input)(
            int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, int, int, int, int, double*,
            Py_ssize_t) noexcept nogil
        void (*output)(
            int, Py_ssize_t, const double*, Py_ssize_t, const double*, int, double*, Py_ssize_t,
            Py_ssize_t, int, int) noexcept nogil
        void (*gradient)(
            int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, int, int, double*,
            Py_ssize_t) noexcept nogil
        void (*weights)(int, Py_ssize_t, const double*, int, double*, Py_ssize_t) noexcept nogil
        void (*weights_gradient)(int, Py_ssize_t, const double*, Py_ssize_t, double*) noexcept nogil

    ctypedef struct ldl_pool_2x2_f32:
        void (*max_forward)(
            Py_ssize_t, Py_ssize_t, const float*, const float*, float*, uint8_t*) noexcept nogil
        void (*max_backward)(
            Py_ssize_t, Py_ssize_t, const float*, const uint8_t*, float*, float*) noexcept nogil
        void (*mean_forward)(Py_ssize_t, Py_ssize_t, const float*, const float*, float*) noexcept nogil
        void (*mean_backward)(Py_ssize_t, Py_ssize_t, const float*, float*, float*) noexcept nogil

    ctypedef struct ldl_pool_2x2_f64:
        void (*max_forward)(
            Py_ssize_t, Py_ssize_t, const double*, const double*, double*, uint8_t*) noexcept nogil
        void (*max_backward)(
            Py_ssize_t, Py_ssize_t, const double*, const uint8_t*, double*, double*) noexcept nogil
        void (*mean_forward)(Py_ssize_t, Py_ssize_t, const double*, const double*, double*) noexcept nogil
        void (*mean_backward)(Py_ssize_t, Py_ssize_t, const double*, double*, double*) noexcept nogil

    ctypedef struct ldl_vec:
        const char *name
        ldl_vec_f32 f32
        ldl_vec_f64 f64
        ldl_winograd_f32 winograd_f32
        ldl_winograd_f64 winograd_f64
        ldl_pool_2x2_f32 pool_2x2_f32
        ldl_pool_2x2_f64 pool_2x2_f64

cdef const ldl_vec *table       # set at import; tests may choose another


cdef inline void activate(
    int kind, floating slope, Py_ssize_t rows, Py_ssize_t k, const floating *z, floating *y,
) noexcept nogil:
    if floating is float:
        table.f32.activate(kind, slope, rows, k, z, y)
    else:
        table.f64.activate(kind, slope, rows, k, z, y)


cdef inline void activate_grad(
    int kind, floating slope, Py_ssize_t rows, Py_ssize_t k, const floating *a,
    const floating *dy, floating *dz,
) noexcept nogil:
    if floating is float:
        table.f32.activate_grad(kind, slope, rows, k, a, dy, dz)
    else:
        table.f64.activate_grad(kind, slope, rows, k, a, dy, dz)


cdef inline void activate_both(int kind, Py_ssize_t n, const floating *z, floating *y, floating *slope) noexcept nogil:
    if floating is float:
        table.f32.activate_both(kind, n, z, y, slope)
    else:
        table.f64.activate_both(kind, n, z, y, slope)


cdef inline void fill_rows(
    Py_ssize_t rows, Py_ssize_t k, const floating *b, floating *y, Py_ssize_t ldy,
) noexcept nogil:
    if floating is float:
        table.f32.fill_rows(rows, k, b, y, ldy)
    else:
        table.f64.fill_rows(rows, k, b, y, ldy)


cdef inline void add_column_sums(
    Py_ssize_t rows, Py_ssize_t k, const floating *x, floating *total,
) noexcept nogil:
    if floating is float:
        table.f32.add_column_sums(rows, k, x, total)
    else:
        table.f64.add_column_sums(rows, k, x, total)


cdef inline void transpose(
    Py_ssize_t rows, Py_ssize_t cols, const floating *a, Py_ssize_t lda, floating *b,
    Py_ssize_t ldb,
) noexcept nogil:
    if floating is float:
        table.f32.transpose(rows, cols, a, lda, b, ldb)
    else:
        table.f64.transpose(rows, cols, a, lda, b, ldb)


cdef inline void exp(Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    if floating is float:
        table.f32.exp(n, x, y)
    else:
        table.f64.exp(n, x, y)


cdef inline void log(Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    if floating is float:
        table.f32.log(n, x, y)
    else:
        table.f64.log(n, x, y)


cdef inline void add(Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    if floating is float:
        table.f32.add(n, x, y)
    else:
        table.f64.add(n, x, y)


cdef inline void scale(Py_ssize_t n, floating alpha, floating *y) noexcept nogil:
    if floating is float:
        table.f32.scale(n, alpha, y)
    else:
        table.f64.scale(n, alpha, y)


cdef inline void axpy(Py_ssize_t n, floating alpha, const floating *x, floating *y) noexcept nogil:
    if floating is float:
        table.f32.axpy(n, alpha, x, y)
    else:
        table.f64.axpy(n, alpha, x, y)


cdef inline double sum_squares(Py_ssize_t n, const floating *x) noexcept nogil:
    if floating is float:
        return table.f32.sum_squares(n, x)
    else:
        return table.f64.sum_squares(n, x)


cdef inline double max_abs(Py_ssize_t n, const floating *x) noexcept nogil:
    if floating is float:
        return table.f32.max_abs(n, x)
    else:
        return table.f64.max_abs(n, x)


cdef inline void dropout(
    Py_ssize_t n, uint64_t key, uint64_t first, double rate, const floating *x, floating *y,
) noexcept nogil:
    if floating is float:
        table.f32.dropout(n, key, first, rate, x, y)
    else:
        table.f64.dropout(n, key, first, rate, x, y)


cdef inline double squared_error(
    Py_ssize_t rows, Py_ssize_t k, const floating *y, const floating *t, const floating *w,
    floating scale, floating *dy,
) noexcept nogil:
    if floating is float:
        return table.f32.squared_error(rows, k, y, t, w, scale, dy)
    else:
        return table.f64.squared_error(rows, k, y, t, w, scale, dy)


cdef inline double log_loss_codes(
    Py_ssize_t rows, Py_ssize_t k, const floating *y, const floating *t, const floating *w,
    floating scale, floating *dy, floating smoothing,
) noexcept nogil:
    if floating is float:
        return table.f32.log_loss_codes(rows, k, y, t, w, scale, dy, smoothing)
    else:
        return table.f64.log_loss_codes(rows, k, y, t, w, scale, dy, smoothing)


cdef inline double log_loss_probs(
    Py_ssize_t rows, Py_ssize_t k, const floating *y, const floating *t, const floating *w,
    floating scale, floating *dy, floating smoothing,
) noexcept nogil:
    if floating is float:
        return table.f32.log_loss_probs(rows, k, y, t, w, scale, dy, smoothing)
    else:
        return table.f64.log_loss_probs(rows, k, y, t, w, scale, dy, smoothing)


cdef inline double binary_log_loss(
    Py_ssize_t rows, Py_ssize_t k, const floating *y, const floating *t, const floating *w,
    floating scale, floating *dy,
) noexcept nogil:
    if floating is float:
        return table.f32.binary_log_loss(rows, k, y, t, w, scale, dy)
    else:
        return table.f64.binary_log_loss(rows, k, y, t, w, scale, dy)


cdef inline void lstm_forward(
    Py_ssize_t n, Py_ssize_t u, floating *z, const floating *c_prev, floating *c, floating *tc,
    floating *h,
) noexcept nogil:
    if floating is float:
        table.f32.lstm_forward(n, u, z, c_prev, c, tc, h)
    else:
        table.f64.lstm_forward(n, u, z, c_prev, c, tc, h)


cdef inline void lstm_backward(
    Py_ssize_t n, Py_ssize_t u, floating *z, const floating *c_prev, const floating *tc,
    const floating *dh, floating *dc,
) noexcept nogil:
    if floating is float:
        table.f32.lstm_backward(n, u, z, c_prev, tc, dh, dc)
    else:
        table.f64.lstm_backward(n, u, z, c_prev, tc, dh, dc)


cdef inline void gru_forward(
    Py_ssize_t n, Py_ssize_t u, floating *a, const floating *q, const floating *h_prev, floating *h,
) noexcept nogil:
    if floating is float:
        table.f32.gru_forward(n, u, a, q, h_prev, h)
    else:
        table.f64.gru_forward(n, u, a, q, h_prev, h)


cdef inline void gru_backward(
    Py_ssize_t n, Py_ssize_t u, floating *a, floating *q, const floating *h_prev, floating *dh,
) noexcept nogil:
    if floating is float:
        table.f32.gru_backward(n, u, a, q, h_prev, dh)
    else:
        table.f64.gru_backward(n, u, a, q, h_prev, dh)


cdef inline void update(
    int rule, Py_ssize_t n, floating *theta, const floating *g, floating *slots, Py_ssize_t stride,
    const double *coef,
) noexcept nogil:
    if floating is float:
        table.f32.rules[rule](n, theta, g, slots, stride, coef)
    else:
        table.f64.rules[rule](n, theta, g, slots, stride, coef)
