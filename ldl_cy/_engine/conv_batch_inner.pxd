"""The convolution of 16 images side by side: vec/conv_batch_inner.h says what it does."""
from cython cimport floating

from ldl_cy._engine cimport vec
from ldl_cy._engine.window cimport Window

cdef extern from "vec/conv_batch_inner.h" nogil:
    ctypedef struct ldl_conv_batch_inner:
        Window window
        Py_ssize_t f
        Py_ssize_t relu
        Py_ssize_t pool
    Py_ssize_t ldl_conv_batch_inner_scratch(const ldl_conv_batch_inner *)

    ctypedef struct ldl_conv_batch_inner_f32:
        void (*forward)(
            const ldl_conv_batch_inner*, Py_ssize_t, const float*, const float*, const float*, float*,
            unsigned char*, float*) noexcept nogil
        void (*backward)(
            const ldl_conv_batch_inner*, Py_ssize_t, const float*, const float*, const float*, float*, float*,
            float*, const unsigned char*, float*) noexcept nogil

    ctypedef struct ldl_conv_batch_inner_f64:
        void (*forward)(
            const ldl_conv_batch_inner*, Py_ssize_t, const double*, const double*, const double*, double*,
            unsigned char*, double*) noexcept nogil
        void (*backward)(
            const ldl_conv_batch_inner*, Py_ssize_t, const double*, const double*, const double*, double*,
            double*, double*, const unsigned char*, double*) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_conv_batch_inner_f32 conv_batch_inner_f32
        ldl_conv_batch_inner_f64 conv_batch_inner_f64


cdef inline void conv_batch_inner_forward(
    const ldl_conv_batch_inner *s, Py_ssize_t n, const floating *x, const floating *W, const floating *b,
    floating *y, unsigned char *codes, floating *scratch,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).conv_batch_inner_f32.forward(s, n, x, W, b, y, codes, scratch)
    else:
        (<const Table*>vec.table).conv_batch_inner_f64.forward(s, n, x, W, b, y, codes, scratch)


cdef inline void conv_batch_inner_backward(
    const ldl_conv_batch_inner *s, Py_ssize_t n, const floating *x, const floating *dy, const floating *Wt,
    floating *dx, floating *dW, floating *db, const unsigned char *codes, floating *scratch,
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).conv_batch_inner_f32.backward(s, n, x, dy, Wt, dx, dW, db, codes, scratch)
    else:
        (<const Table*>vec.table).conv_batch_inner_f64.backward(s, n, x, dy, Wt, dx, dW, db, codes, scratch)
