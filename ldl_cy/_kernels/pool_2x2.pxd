# Maxima and means of 2x2 windows of whole images, and their gradients: calls _engine/vec/pool_2x2.h row by row.
from cython cimport floating
from libc.stdint cimport uint8_t
from libc.string cimport memset

from ldl_cy._engine.vec cimport table


cdef inline void max_pool_2x2(
    Py_ssize_t h, Py_ssize_t w, Py_ssize_t c,
    const floating *x,          # (h, w, c)
    floating *y,                # (h / 2, w / 2, c), halves rounded down
    uint8_t *cells,             # the same shape: which of the four, or NULL
) noexcept nogil:
    """y = max(x_0, x_1, x_2, x_3) of each window, cells 0 1 above 2 3."""
    cdef:
        Py_ssize_t oh = h // 2, ow = w // 2, i
        uint8_t *cell = cells
    for i in range(oh):
        if floating is float:
            table.pool_2x2_f32.max_forward(ow, c, x + 2 * i * w * c, x + (2 * i + 1) * w * c, y + i * ow * c, cell)
        else:
            table.pool_2x2_f64.max_forward(ow, c, x + 2 * i * w * c, x + (2 * i + 1) * w * c, y + i * ow * c, cell)
        if cell != NULL:
            cell += ow * c


cdef inline void clear_edges(
    Py_ssize_t h, Py_ssize_t w, Py_ssize_t c,
    floating *dx,               # (h, w, c)
) noexcept nogil:
    """No window sees the last pixel of an odd row, or an odd last row."""
    cdef Py_ssize_t i
    if w % 2:
        for i in range(h):
            memset(dx + (i * w + w - 1) * c, 0, c * sizeof(floating))
    if h % 2:
        memset(dx + (h - 1) * w * c, 0, w * c * sizeof(floating))


cdef inline void max_pool_2x2_backward(
    Py_ssize_t h, Py_ssize_t w, Py_ssize_t c,
    const floating *dy,         # (h / 2, w / 2, c)
    const uint8_t *cells,
    floating *dx,               # (h, w, c): overwritten
) noexcept nogil:
    """dx = dy in each maximum's cell, 0 elsewhere."""
    cdef Py_ssize_t oh = h // 2, ow = w // 2, i
    for i in range(oh):
        if floating is float:
            table.pool_2x2_f32.max_backward(ow, c, dy + i * ow * c, cells + i * ow * c, dx + 2 * i * w * c,
                                            dx + (2 * i + 1) * w * c)
        else:
            table.pool_2x2_f64.max_backward(ow, c, dy + i * ow * c, cells + i * ow * c, dx + 2 * i * w * c,
                                            dx + (2 * i + 1) * w * c)
    clear_edges(h, w, c, dx)


cdef inline void mean_pool_2x2(
    Py_ssize_t h, Py_ssize_t w, Py_ssize_t c,
    const floating *x,          # (h, w, c)
    floating *y,                # (h / 2, w / 2, c), halves rounded down
) noexcept nogil:
    """y = (x_0 + x_1 + x_2 + x_3) / 4 of each window."""
    cdef Py_ssize_t oh = h // 2, ow = w // 2, i
    for i in range(oh):
        if floating is float:
            table.pool_2x2_f32.mean_forward(ow, c, x + 2 * i * w * c, x + (2 * i + 1) * w * c, y + i * ow * c)
        else:
            table.pool_2x2_f64.mean_forward(ow, c, x + 2 * i * w * c, x + (2 * i + 1) * w * c, y + i * ow * c)


cdef inline void mean_pool_2x2_backward(
    Py_ssize_t h, Py_ssize_t w, Py_ssize_t c,
    const floating *dy,         # (h / 2, w / 2, c)
    floating *dx,               # (h, w, c): overwritten
) noexcept nogil:
    """dx = dy / 4 in each cell of a window, 0 outside of windows."""
    cdef Py_ssize_t oh = h // 2, ow = w // 2, i
    for i in range(oh):
        if floating is float:
            table.pool_2x2_f32.mean_backward(ow, c, dy + i * ow * c, dx + 2 * i * w * c, dx + (2 * i + 1) * w * c)
        else:
            table.pool_2x2_f64.mean_backward(ow, c, dy + i * ow * c, dx + 2 * i * w * c, dx + (2 * i + 1) * w * c)
    clear_edges(h, w, c, dx)
