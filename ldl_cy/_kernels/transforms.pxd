# Winograd's transforms of one tile, all channels: calls of _engine/vec/winograd.h, which says what each one does.
from cython cimport floating

from ldl_cy._engine.vec cimport table


cdef inline void transform_input_tile(
    int m, Py_ssize_t c, const floating *d, Py_ssize_t row, Py_ssize_t pixel, int y0, int y1, int x0, int x1,
    floating *V, Py_ssize_t stride,
) noexcept nogil:
    """V = B^T d B"""
    if floating is float:
        table.winograd_f32.input(m, c, d, row, pixel, y0, y1, x0, x1, V, stride)
    else:
        table.winograd_f64.input(m, c, d, row, pixel, y0, y1, x0, x1, V, stride)


cdef inline void inverse_transform_output_tile(
    int m, Py_ssize_t f, const floating *M, Py_ssize_t stride, const floating *b, bint relu,
    floating *Y, Py_ssize_t row, Py_ssize_t pixel, int y1, int x1,
) noexcept nogil:
    """Y = A^T M A + b, or max(0, that)"""
    if floating is float:
        table.winograd_f32.output(m, f, M, stride, b, relu, Y, row, pixel, y1, x1)
    else:
        table.winograd_f64.output(m, f, M, stride, b, relu, Y, row, pixel, y1, x1)


cdef inline void transform_gradient_tile(
    int m, Py_ssize_t f, const floating *dY, Py_ssize_t row, Py_ssize_t pixel, int y1, int x1,
    floating *D, Py_ssize_t stride,
) noexcept nogil:
    """D = A dY A^T"""
    if floating is float:
        table.winograd_f32.gradient(m, f, dY, row, pixel, y1, x1, D, stride)
    else:
        table.winograd_f64.gradient(m, f, dY, row, pixel, y1, x1, D, stride)


cdef inline void transform_weights(
    int m, Py_ssize_t size, const floating *g, Py_ssize_t step, floating *U, Py_ssize_t stride,
) noexcept nogil:
    """U = G g G^T"""
    if floating is float:
        table.winograd_f32.weights(m, size, g, step, U, stride)
    else:
        table.winograd_f64.weights(m, size, g, step, U, stride)


cdef inline void add_weights_gradient(
    int m, Py_ssize_t size, const floating *Q, Py_ssize_t stride, floating *dg,
) noexcept nogil:
    """dg += G^T Q G"""
    if floating is float:
        table.winograd_f32.weights_gradient(m, size, Q, stride, dg)
    else:
        table.winograd_f64.weights_gradient(m, size, Q, stride, dg)
