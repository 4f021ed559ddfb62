"""Axes in another order: y[i_order[0], .., i_order[d - 1]] = x[i_0, .., i_(d - 1)]; dx is dy with the inverse order.

Blocks of two axes are moved, one block after another along the axes outside of them. If the last axis of x remains
the last one, a block is rows of contiguous numbers, which are copied:

    y[i, j] = x[i lda + j]                  i < rows, j < cols

Otherwise it is a transposition, of the axis that is contiguous in x and the one that is in y:

    y[j ldb + i] = x[i lda + j]             i < rows, j < cols
"""
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t

cdef enum:
    MOST_AXES = 12              # see layers.Permute.build
    MOST_OUTSIDE = 10
    SHORT = 16                  # fewer numbers are not worth a call of memcpy
    TILE = 128                  # columns transposed at a time, so that their pages are still known at the next rows

ctypedef struct Permute:
    int transposed
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t lda
    Py_ssize_t ldb
    Py_ssize_t blocks           # in a row: the product of the sizes below
    int n_axes                  # outside of the blocks
    Py_ssize_t[MOST_OUTSIDE] size
    Py_ssize_t[MOST_OUTSIDE] x_stride
    Py_ssize_t[MOST_OUTSIDE] y_stride


cdef inline void copy(Py_ssize_t n, const floating *a, floating *b) noexcept nogil:
    cdef Py_ssize_t j
    if n >= SHORT:
        memcpy(b, a, n * sizeof(floating))
        return
    for j in range(n):
        b[j] = a[j]


cdef inline void transpose(
    Py_ssize_t rows, Py_ssize_t cols,
    const floating *a,          # (rows, cols), lda from row to row
    Py_ssize_t lda,
    floating *b,                # (cols, rows), ldb from row to row
    Py_ssize_t ldb,
) noexcept nogil:
    cdef Py_ssize_t first = 0, tile = TILE
    while first < cols:
        vec.transpose(rows, min(tile, cols - first), a + first, lda, b + first * ldb, ldb)
        first += tile


cdef inline void move_block(
    bint back,                  # x = y
    const Permute *s,
    floating *x,                # (rows, cols), lda from row to row
    floating *y,                # (rows, cols), or (cols, rows), ldb from row to row
) noexcept nogil:
    cdef Py_ssize_t i
    if not s.transposed:
        for i in range(s.rows):
            if back:
                copy(s.cols, y + i * s.cols, x + i * s.lda)
            else:
                copy(s.cols, x + i * s.lda, y + i * s.cols)
        return
    if back:
        transpose(s.cols, s.rows, <const floating*>y, s.ldb, x, s.lda)
    else:
        transpose(s.rows, s.cols, <const floating*>x, s.lda, y, s.ldb)


cdef inline void move_rows(
    bint back, const Op *op, Py_ssize_t n,
    floating *x,                # (n, x_size)
    floating *y,                # (n, x_size)
) noexcept nogil:
    cdef const Permute *s = <const Permute*>&op.sizes[0]
    cdef Py_ssize_t _i, _b, a, x_at = 0, y_at = 0
    cdef Py_ssize_t[MOST_OUTSIDE] at
    memset(at, 0, sizeof(at))
    for _i in range(n):
        for _b in range(s.blocks):
            move_block(back, s, x + x_at, y + y_at)
            # to the next block; after the last one of a row that is the first one
            for a in range(s.n_axes - 1, -1, -1):
                at[a] += 1
                x_at += s.x_stride[a]
                y_at += s.y_stride[a]
                if at[a] < s.size[a]:
                    break
                at[a] = 0
                x_at -= s.size[a] * s.x_stride[a]
                y_at -= s.size[a] * s.y_stride[a]
        x += op.x_size
        y += op.x_size


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, x_size)
    floating *y,                # (n, x_size)
    floating *cache, floating *scratch,
) noexcept nogil:
    move_rows(False, op, call.n, <floating*>x, y)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, x_size)
    floating *dx,               # (n, x_size) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    if dx != NULL:
        move_rows(True, op, call.n, dx, dy)


def strides_of(tuple sizes):
    """Numbers from one place along each axis to the next, of an array in C order."""
    strides, stride = [], 1
    for size in reversed(sizes):
        strides.insert(0, stride)
        stride *= size
    return strides


def permute(str dtype, *, tuple sizes, tuple order):
    """The kernel of ``layers.Permute``: rows of 2 to 12 axes of ``sizes``, order[i] the axis of x at place i of y."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Permute *s = <Permute*>&op.sizes[0]
    assert_fits(sizeof(Permute), sizeof(op.sizes))
    last = len(sizes) - 1
    assert 1 <= last < MOST_AXES and sorted(order) == list(range(last + 1))
    x_strides, y_strides = strides_of(sizes), strides_of(tuple([sizes[axis] for axis in order]))
    cdef int a
    s.transposed = order[last] != last
    # places in y of the block's two axes: rows and columns
    inside = (last, order.index(last)) if s.transposed else (last - 1, last)
    s.rows, s.cols = sizes[order[inside[0]]], sizes[last]
    s.lda, s.ldb = x_strides[order[inside[0]]], y_strides[inside[1]]
    outside = [place for place in range(last + 1) if place not in inside]
    s.n_axes, s.blocks = len(outside), 1
    for a in range(s.n_axes):
        place = outside[a]
        s.size[a], s.x_stride[a], s.y_stride[a] = sizes[order[place]], x_strides[order[place]], y_strides[place]
        s.blocks *= s.size[a]
    op.x_size = op.y_size = s.blocks * s.rows * s.cols
    op.flops = 2.0 * op.x_size
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "permute", dtype
    kernel.config = {"sizes": sizes, "order": order}
    return kernel
