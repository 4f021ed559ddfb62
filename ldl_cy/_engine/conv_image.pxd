"""Convolution of one image without a copy of its windows: vec/conv_image.h has the formula."""
from cython cimport floating

from ldl_cy._engine cimport vec
from ldl_cy._engine.gemm_packed cimport panel_width
from ldl_cy._engine.window cimport Window

cdef extern from "vec/conv_image.h" nogil:
    enum:
        LDL_CONV_IMAGE_ROWS
        LDL_CONV_IMAGE_COLUMNS
    Py_ssize_t ldl_seen_rows(const Window *)
    Py_ssize_t ldl_seen_columns(const Window *)

    ctypedef struct ldl_conv_image_f32:
        void (*pad)(const Window*, const float*, float*) noexcept nogil
        void (*forward)(
            const Window*, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, const float*,
            int, int, float*) noexcept nogil

    ctypedef struct ldl_conv_image_f64:
        void (*pad)(const Window*, const double*, double*) noexcept nogil
        void (*forward)(
            const Window*, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t,
            const double*, int, int, double*) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_conv_image_f32 conv_image_f32
        ldl_conv_image_f64 conv_image_f64


cdef inline bint has_conv_image(const Window *s) noexcept nogil:
    """Whether the kernels can compute these windows."""
    return s.dh == 1 and s.dw == 1 and s.oh >= LDL_CONV_IMAGE_ROWS and s.ow >= LDL_CONV_IMAGE_COLUMNS


cdef inline bint is_padded(const Window *s) noexcept nogil:
    """Whether windows extend beyond the image."""
    return s.top != 0 or s.left != 0 or ldl_seen_rows(s) > s.h or ldl_seen_columns(s) > s.w


cdef inline Py_ssize_t conv_image_scratch(const Window *s) noexcept nogil:
    """Numbers of scratch that ``conv_image`` needs."""
    return ldl_seen_rows(s) * ldl_seen_columns(s) * s.c if is_padded(s) else 0


cdef inline void conv_image(                                            # y = windows of x times W + b
    const Window *s, Py_ssize_t f,
    const floating *x,          # (h, w, c)
    const floating *W,          # (kh kw c, f), by pack
    const floating *b,          # (f,) or NULL
    bint relu,                  # then max(y, 0)
    bint pool,                  # then the maxima of 2x2 pixels
    floating *y,                # (oh, ow, f), or (oh / 2, ow / 2, f)
    floating *scratch,
) noexcept nogil:
    cdef const Table *table = <const Table*>vec.table
    cdef Py_ssize_t k = s.kh * s.kw * s.c, x_row = s.w * s.c, j = 0, ldw, n
    cdef const floating *b_j = NULL
    if is_padded(s):
        if floating is float:
            table.conv_image_f32.pad(s, x, scratch)
        else:
            table.conv_image_f64.pad(s, x, scratch)
        x, x_row = scratch, ldl_seen_columns(s) * s.c
    while j < f:
        # a panel of W: all before it are as wide as their rows
        ldw = panel_width(<floating>0, f, j)
        n = min(ldw, f - j)
        if b != NULL:
            b_j = b + j
        if floating is float:
            table.conv_image_f32.forward(s, x, x_row, n, f, W + k * j, ldw, b_j, relu, pool, y + j)
        else:
            table.conv_image_f64.forward(s, x, x_row, n, f, W + k * j, ldw, b_j, relu, pool, y + j)
        j += n
