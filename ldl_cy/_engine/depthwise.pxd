"""Depthwise convolution of one image: vec/depthwise.h says what each function computes."""
from cython cimport floating

from ldl_cy._engine cimport vec
from ldl_cy._engine.window cimport Window

cdef extern from "vec/depthwise.h" nogil:
    ctypedef struct ldl_depthwise_f32:
        void (*forward)(
            const Window*, const float*, const float*, Py_ssize_t, const float*, int, float*) noexcept nogil
        void (*add_dx)(const Window*, const float*, const float*, float*) noexcept nogil
        void (*add_dW)(const Window*, const float*, const float*, float*) noexcept nogil

    ctypedef struct ldl_depthwise_f64:
        void (*forward)(
            const Window*, const double*, const double*, Py_ssize_t, const double*, int, double*) noexcept nogil
        void (*add_dx)(const Window*, const double*, const double*, double*) noexcept nogil
        void (*add_dW)(const Window*, const double*, const double*, double*) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_depthwise_f32 depthwise_f32
        ldl_depthwise_f64 depthwise_f64


cdef inline void depthwise_image(                                               # z = b + windows of x times W
    const Window *s,
    const floating *x,          # (h, w, c)
    const floating *W,          # (kh, kw, c), `step` numbers from a cell to the next
    Py_ssize_t step,
    const floating *b,          # (c,) or NULL
    bint relu,                  # z, or the larger of z and 0
    floating *z,                # (oh, ow, c)
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).depthwise_f32.forward(s, x, W, step, b, relu, z)
    else:
        (<const Table*>vec.table).depthwise_f64.forward(s, x, W, step, b, relu, z)


cdef inline void add_image_gradient(                                            # dx += dz W
    const Window *s,
    const floating *dz,         # (oh, ow, c)
    const floating *W,          # (kh, kw, c)
    floating *dx,               # (h, w, c)
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).depthwise_f32.add_dx(s, dz, W, dx)
    else:
        (<const Table*>vec.table).depthwise_f64.add_dx(s, dz, W, dx)


cdef inline void add_window_gradient(                                           # dW += x dz
    const Window *s,
    const floating *x,          # (h, w, c)
    const floating *dz,         # (oh, ow, c)
    floating *dW,               # (kh, kw, c)
) noexcept nogil:
    if floating is float:
        (<const Table*>vec.table).depthwise_f32.add_dW(s, x, dz, dW)
    else:
        (<const Table*>vec.table).depthwise_f64.add_dW(s, x, dz, dW)
