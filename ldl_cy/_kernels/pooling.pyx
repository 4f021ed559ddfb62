"""Pooling of channels-last images: the maximum or the mean of each window, channel by channel.

With I the cells of the window of output pixel o that are inside of the image, for each channel

    max:    y[o] = x[i*],  i* = argmax over i in I of x[i], the first of equals     dx[i*] += dy[o]
            (a NaN is the maximum)
    mean:   y[o] = sum over i in I of x[i] / |I|                                    dx[i] += dy[o] / |I|, i in I

A sequence is an image of height 1; with lengths its padded steps count as outside. An empty window gives 0.
The loops over channels are plain, so that the compiler vectorises them; 2x2 windows have kernels of their own:
pool_2x2.pxd.
"""
from cython cimport floating
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from ldl_cy._engine.op cimport USES_LENGTHS, Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._engine.window cimport Window
from ldl_cy._kernels.pool_2x2 cimport (max_pool_2x2, mean_pool_2x2, mean_pool_2x2_backward,
                                       max_pool_2x2_backward)

from ldl_cy._engine.vec import instruction_set

# Instruction sets that load a part of a vector
MASKED = ("v3", "v4")

# Which cell of its window a maximum is: a byte where windows have few cells.
ctypedef fused place_t:
    uint8_t
    int32_t

cdef enum:
    CELLS_OF_A_BYTE = 255
    NARROW = 8                  # fewer channels than this are handled one by one

ctypedef struct Pool:
    Window s
    int sequence                # lengths may cut the width
    int wide                    # places are int32
    int is_2x2                  # 2x2 windows next to each other; for maxima where a few channels are a vector
    int backward_2x2            # likewise; for maxima with enough channels for vectors


cdef struct Range:              # rows ky0 to ky1 - 1, columns kx0 to kx1 - 1 of a window are inside of the image
    Py_ssize_t ky0
    Py_ssize_t ky1
    Py_ssize_t kx0
    Py_ssize_t kx1


cdef inline Range inside(const Window *s, Py_ssize_t oy, Py_ssize_t ox, Py_ssize_t w) noexcept nogil:
    cdef:
        Py_ssize_t y = oy * s.sh - s.top, x = ox * s.sw - s.left
        Range r
    r.ky0, r.ky1 = max(0, -y), min(s.kh, s.h - y)
    r.kx0, r.kx1 = max(0, -x), min(s.kw, w - x)
    return r


cdef inline Py_ssize_t width(const Pool *v, const Call *call, Py_ssize_t row) noexcept nogil:
    return call.lengths[row] if v.sequence and call.lengths != NULL else v.s.w


cdef inline void take_larger(
    Py_ssize_t c, int cell,
    const floating *x,          # (c,) the cell
    floating *best,             # (c,)
    place_t *place,             # (c,) or NULL
) noexcept nogil:
    """Keep the larger number and its cell: the first of equals; a NaN counts as larger."""
    cdef:
        Py_ssize_t j
        floating new, old
        place_t cell_before
        bint take
    # Without branches, "or" among them, and with its loads outside of conditions the loop is vectorised.
    if place == NULL:
        for j in range(c):
            new, old = x[j], best[j]
            take = (new > old) | (new != new)
            best[j] = new if take else old
        return
    for j in range(c):
        new, old, cell_before = x[j], best[j], place[j]
        take = (new > old) | (new != new)
        place[j] = <place_t>cell if take else cell_before
        best[j] = new if take else old


cdef inline void add_where(
    Py_ssize_t c, int cell, const place_t *place, const floating *dy, floating *dx,
) noexcept nogil:
    """dx += dy where this cell was the maximum"""
    cdef Py_ssize_t j
    cdef floating d
    for j in range(c):
        d = dy[j]
        dx[j] += d if place[j] == <place_t>cell else <floating>0


cdef inline bint largest_of_four(
    Py_ssize_t c,
    const floating *upper,      # (2, c) cells 0 and 1
    const floating *lower,      # (2, c) cells 2 and 3
    floating *y,                # (c,)
    place_t *place,             # (c,)
) noexcept nogil:
    """The maxima of a whole 2x2 window without branches; False where there may be a NaN."""
    cdef:
        Py_ssize_t j
        floating a, b, d, e, top, bottom, total = 0
        int right, below_right, below
    for j in range(c):
        a, b, d, e = upper[j], upper[c + j], lower[j], lower[c + j]
        top = b if b > a else a
        bottom = e if e > d else d
        right, below_right, below = b > a, e > d, bottom > top
        y[j] = bottom if bottom > top else top
        place[j] = <place_t>(right + (-below & (2 + below_right - right)))
        total += (a + b) + (d + e)
    return total == total


cdef inline void take_largest(
    const Window *s, const Range *r,
    const floating *corner,     # cell (0, 0) of the window
    floating *y,                # (c,)
    place_t *place,             # (c,) or NULL
) noexcept nogil:
    """The maxima over all cells of a window, channel by channel."""
    cdef:
        Py_ssize_t ky, kx, j, cell, larger
        floating new, best
        bint nan
    for j in range(s.c):
        best, cell, nan = corner[(r.ky0 * s.w + r.kx0) * s.c + j], r.ky0 * s.kw + r.kx0, False
        for ky in range(r.ky0, r.ky1):
            for kx in range(r.kx0, r.kx1):
                new = corner[(ky * s.w + kx) * s.c + j]
                # a mask and not "if": which cell is larger cannot be predicted
                larger = -<Py_ssize_t>(new > best)
                cell ^= (cell ^ (ky * s.kw + kx)) & larger
                best = new if new > best else best
                nan |= new != new
        if nan:
            for ky in range(r.ky0, r.ky1):
                for kx in range(r.kx0, r.kx1):
                    new = corner[(ky * s.w + kx) * s.c + j]
                    if new != new:
                        best, cell = new, ky * s.kw + kx
        y[j] = best
        if place != NULL:
            place[j] = <place_t>cell


cdef inline void max_image(
    const Window *s, Py_ssize_t w,
    const floating *x,          # (h, w, c)
    floating *y,                # (oh, ow, c)
    place_t *places,            # (oh, ow, c) or NULL
) noexcept nogil:
    cdef:
        Py_ssize_t oy, ox, ky, kx, j, at
        Range r
        bint first
        const floating *corner
        place_t *place
    for oy in range(s.oh):
        for ox in range(s.ow):
            r = inside(s, oy, ox, w)
            at = (oy * s.ow + ox) * s.c
            corner = x + ((oy * s.sh - s.top) * s.w + ox * s.sw - s.left) * s.c
            place = places + at if places != NULL else NULL
            if s.c < NARROW and r.kx0 < r.kx1:
                if (s.kh == 2 and s.kw == 2 and r.ky1 - r.ky0 == 2 and r.kx1 - r.kx0 == 2 and place != NULL
                        and largest_of_four(s.c, corner, corner + s.w * s.c, y + at, place)):
                    continue
                take_largest(s, &r, corner, y + at, place)
                continue
            first = True
            for ky in range(r.ky0, r.ky1):
                for kx in range(r.kx0, r.kx1):
                    if not first:
                        take_larger(s.c, ky * s.kw + kx, corner + (ky * s.w + kx) * s.c, y + at, place)
                        continue
                    first = False
                    for j in range(s.c):
                        y[at + j] = corner[(ky * s.w + kx) * s.c + j]
                    if place != NULL:
                        for j in range(s.c):
                            place[j] = <place_t>(ky * s.kw + kx)
            if first:
                # a window past the sequence's end
                for j in range(s.c):
                    y[at + j] = 0


cdef inline void max_image_grad(
    const Window *s, Py_ssize_t w,
    const place_t *places,      # (oh, ow, c)
    const floating *dy,         # (oh, ow, c)
    floating *dx,               # (h, w, c): added to
) noexcept nogil:
    cdef:
        Py_ssize_t oy, ox, ky, kx, at, j
        int cell, kw = <int>s.kw
        Range r
        floating *corner
    for oy in range(s.oh):
        for ox in range(s.ow):
            r = inside(s, oy, ox, w)
            at = (oy * s.ow + ox) * s.c
            corner = dx + ((oy * s.sh - s.top) * s.w + ox * s.sw - s.left) * s.c
            if s.c < NARROW and r.kx0 < r.kx1:
                for j in range(s.c):
                    cell = places[at + j]
                    corner[((cell // kw) * s.w + cell % kw) * s.c + j] += dy[at + j]
                continue
            for ky in range(r.ky0, r.ky1):
                for kx in range(r.kx0, r.kx1):
                    add_where(s.c, ky * s.kw + kx, places + at, dy + at, corner + (ky * s.w + kx) * s.c)


cdef void max_forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, c)
    floating *cache,            # places (n, oh, ow, c) of the maxima, bytes or int32
    floating *scratch,
) noexcept nogil:
    cdef:
        const Pool *v = <const Pool*>&op.sizes[0]
        Py_ssize_t i, w
        const floating *xi
        floating *yi
    for i in range(call.n):
        w = width(v, call, i)
        xi = x + i * op.x_size
        yi = y + i * op.y_size
        if v.is_2x2 and w == v.s.w:
            max_pool_2x2(v.s.h, w, v.s.c, xi, yi,
                         <uint8_t*>cache + i * op.y_size if cache != NULL else NULL)
        elif cache == NULL:
            max_image(&v.s, w, xi, yi, <uint8_t*>NULL)
        elif v.wide:
            max_image(&v.s, w, xi, yi, <int32_t*>cache + i * op.y_size)
        else:
            max_image(&v.s, w, xi, yi, <uint8_t*>cache + i * op.y_size)


cdef void max_backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, oh, ow, c)
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad,
    floating *cache,            # places (n, oh, ow, c)
    floating *scratch,
) noexcept nogil:
    cdef:
        const Pool *v = <const Pool*>&op.sizes[0]
        Py_ssize_t i, w
        floating *dxi
        floating *dyi
    if dx == NULL:
        return
    for i in range(call.n):
        w = width(v, call, i)
        dxi = dx + i * op.x_size
        dyi = dy + i * op.y_size
        if v.backward_2x2 and w == v.s.w:
            max_pool_2x2_backward(v.s.h, w, v.s.c, dyi, <const uint8_t*>cache + i * op.y_size, dxi)
            continue
        memset(dxi, 0, op.x_size * sizeof(floating))
        if v.wide:
            max_image_grad(&v.s, w, <const int32_t*>cache + i * op.y_size, dyi, dxi)
        else:
            max_image_grad(&v.s, w, <const uint8_t*>cache + i * op.y_size, dyi, dxi)


cdef void mean_forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, c)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const Pool *v = <const Pool*>&op.sizes[0]
        const Window *s = &v.s
        Py_ssize_t i, oy, ox, ky, kx, j, w, cells
        floating share
        Range r
        const floating *cell
        floating *to = y
    for i in range(call.n):
        w = width(v, call, i)
        if v.is_2x2 and w == s.w:
            mean_pool_2x2(s.h, w, s.c, x + i * op.x_size, to)
            to += op.y_size
            continue
        for oy in range(s.oh):
            for ox in range(s.ow):
                r = inside(s, oy, ox, w)
                for j in range(s.c):
                    to[j] = 0
                for ky in range(r.ky0, r.ky1):
                    for kx in range(r.kx0, r.kx1):
                        cell = x + i * op.x_size + (
                            (oy * s.sh - s.top + ky) * s.w + ox * s.sw - s.left + kx) * s.c
                        for j in range(s.c):
                            to[j] += cell[j]
                cells = (r.ky1 - r.ky0) * max(0, r.kx1 - r.kx0)
                share = <floating>1 / max(1, cells)
                for j in range(s.c):
                    to[j] *= share
                to += s.c


cdef void mean_backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, oh, ow, c)
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const Pool *v = <const Pool*>&op.sizes[0]
        const Window *s = &v.s
        Py_ssize_t i, oy, ox, ky, kx, j, w, cells
        floating share
        Range r
        const floating *source = dy
        floating *cell
    if dx == NULL:
        return
    for i in range(call.n):
        w = width(v, call, i)
        if v.is_2x2 and w == s.w:
            mean_pool_2x2_backward(s.h, w, s.c, source, dx + i * op.x_size)
            source += op.y_size
            continue
        memset(dx + i * op.x_size, 0, op.x_size * sizeof(floating))
        for oy in range(s.oh):
            for ox in range(s.ow):
                r = inside(s, oy, ox, w)
                cells = (r.ky1 - r.ky0) * max(0, r.kx1 - r.kx0)
                share = <floating>1 / max(1, cells)
                for ky in range(r.ky0, r.ky1):
                    for kx in range(r.kx0, r.kx1):
                        cell = dx + i * op.x_size + (
                            (oy * s.sh - s.top + ky) * s.w + ox * s.sw - s.left + kx) * s.c
                        for j in range(s.c):
                            cell[j] += share * source[j]
                source += s.c


def is_2x2_pool(kernel, strides, padding, image, output):
    """Whether windows are 2x2 next to each other and inside of the image."""
    return (kernel == strides == (2, 2) and padding == (0, 0)
            and output == (image[0] // 2, image[1] // 2))


def pool(str dtype, *, str kind, image, kernel, strides, padding, output, bint sequence=False):
    """The kernel of the pooling layers: kind "max" or "mean", image (h, w, c), padding (top, left)."""
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef Pool *v = <Pool*>&op.sizes[0]
    assert_fits(sizeof(Pool), sizeof(op.sizes))
    cdef Window *s = &v.s
    s.h, s.w, s.c = image
    s.kh, s.kw = kernel
    s.sh, s.sw = strides
    s.dh = s.dw = 1
    s.top, s.left = padding
    s.oh, s.ow = output
    v.sequence = sequence
    v.wide = s.kh * s.kw > CELLS_OF_A_BYTE
    v.backward_2x2 = is_2x2_pool(kernel, strides, padding, image, output) and (kind == "mean" or s.c >= NARROW)
    # 6 channels: at prediction 3.5 times as fast as one by one
    v.is_2x2 = v.backward_2x2 or (is_2x2_pool(kernel, strides, padding, image, output)
                                  and instruction_set() in MASKED)
    op.x_size = s.h * s.w * s.c
    op.y_size = s.oh * s.ow * s.c
    op.flops = 1.0 * s.kh * s.kw * op.y_size
    op.flags = USES_LENGTHS if sequence else 0
    if kind == "max":
        # places in whole numbers of the dtype
        size = 4 if dtype == "float32" else 8
        op.cache_size = (op.y_size * (4 if v.wide else 1) + size - 1) // size
    if kind == "max" and dtype == "float32":
        op.forward = <forward_t>max_forward[float]
        op.backward = <backward_t>max_backward[float]
    elif kind == "max":
        op.forward = <forward_t>max_forward[double]
        op.backward = <backward_t>max_backward[double]
    elif dtype == "float32":
        op.forward = <forward_t>mean_forward[float]
        op.backward = <backward_t>mean_backward[float]
    else:
        op.forward = <forward_t>mean_forward[double]
        op.backward = <backward_t>mean_backward[double]
    made.name, made.dtype = f"{kind}_pool", dtype
    made.config = {"image": image, "kernel": kernel, "strides": strides, "padding": padding, "output": output}
    return made
