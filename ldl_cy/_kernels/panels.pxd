# Windows on images, and the panels that make matrix products of a convolution.
#
# A panel holds what a few output pixels see, one row each ("im2row"), or, of images of one channel, one
# column each ("im2col"): Chellapilla, Puri, Simard, "High performance convolutional neural networks for document
# processing", IWFHR 2006. Pixels are counted over all images of the call, so that a panel may begin in one output
# row, or image, and end in another.
from cython cimport floating
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.window cimport Window


cdef inline void move(bint scatter, Py_ssize_t k, floating *pixels, floating *panel) noexcept nogil:
    if scatter:
        vec.add(k, panel, pixels)
    else:
        memcpy(panel, pixels, k * sizeof(floating))


cdef inline void walk(
    bint scatter,               # False: panel = windows of x (im2row);  True: windows of x += panel (row2im)
    const Window *s,
    floating *x,                # (n, h, w, c)
    Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t ch, Py_ssize_t cg,
    floating *panel,            # (count, kh, kw, cg)
) noexcept nogil:
    cdef:
        Py_ssize_t run = s.kw * cg, k = s.kh * run
        bint whole = cg == s.c and s.dw == 1            # a row of the window is one run of memory
        Py_ssize_t ox = first % s.ow, oy = first // s.ow % s.oh, image = first // (s.oh * s.ow)
        Py_ssize_t m, i, ky, kx, iy, ix, jx
        floating *row
        floating *to
    while count > 0:
        m = min(count, s.ow - ox)                       # pixels of one output row
        for ky in range(s.kh):
            iy = oy * s.sh + ky * s.dh - s.top
            to = panel + ky * run
            if iy < 0 or iy >= s.h:
                if not scatter:
                    for i in range(m):
                        memset(to + i * k, 0, run * sizeof(floating))
                continue
            row = x + (image * s.h + iy) * s.w * s.c + ch
            for i in range(m):
                ix = (ox + i) * s.sw - s.left
                if whole and ix >= 0 and ix + s.kw <= s.w:
                    move(scatter, run, row + ix * s.c, to + i * k)
                    continue
                for kx in range(s.kw):
                    jx = ix + kx * s.dw
                    if jx >= 0 and jx < s.w:
                        move(scatter, cg, row + jx * s.c, to + i * k + kx * cg)
                    elif not scatter:
                        memset(to + i * k + kx * cg, 0, cg * sizeof(floating))
        panel += m * k
        count -= m
        ox = 0
        oy += 1
        if oy == s.oh:
            oy = 0
            image += 1


cdef inline void im2row(
    const Window *s,
    const floating *x,                                  # IN  (n, h, w, c)
    Py_ssize_t first, Py_ssize_t count,                 # output pixels
    Py_ssize_t ch, Py_ssize_t cg,                       # channels ch .. ch + cg - 1
    floating *panel,                                    # OUT (count, kh, kw, cg)
) noexcept nogil:
    walk(False, s, <floating*>x, first, count, ch, cg, panel)


cdef inline void row2im(
    const Window *s,
    floating *dx,                                       # IN/OUT (n, h, w, c)
    Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t ch, Py_ssize_t cg,
    const floating *panel,                              # IN  (count, kh, kw, cg)
) noexcept nogil:
    walk(True, s, dx, first, count, ch, cg, <floating*>panel)


cdef inline void im2col(
    const Window *s,
    const floating *x,                                  # IN  (n, h, w), one channel
    Py_ssize_t first, Py_ssize_t count,                 # output pixels
    floating *panel,                                    # OUT (kh kw + 1, count), the last row of ones
) noexcept nogil:
    # Along an output row each cell of the window reads every sw-th pixel of an input row.
    cdef:
        Py_ssize_t ox = first % s.ow, oy = first // s.ow % s.oh, image = first // (s.oh * s.ow)
        Py_ssize_t done = 0, m, i, ky, kx, iy, ix, low, high
        const floating *source
        floating *to
    while done < count:
        m = min(count - done, s.ow - ox)
        for ky in range(s.kh):
            iy = oy * s.sh + ky * s.dh - s.top
            for kx in range(s.kw):
                # the pixels low <= i < high of the m see the image through this cell
                ix = ox * s.sw + kx * s.dw - s.left
                low, high = 0, m
                if iy < 0 or iy >= s.h or ix >= s.w:
                    high = 0
                elif ix < 0 or ix + (m - 1) * s.sw >= s.w:
                    low = 0 if ix >= 0 else min(m, (s.sw - 1 - ix) // s.sw)
                    high = max(low, min(m, (s.w - 1 - ix) // s.sw + 1))
                source = x + (image * s.h + iy) * s.w + ix
                to = panel + (ky * s.kw + kx) * count + done
                for i in range(low):
                    to[i] = 0
                if s.sw == 1:
                    memcpy(to + low, source + low, (high - low) * sizeof(floating))
                else:
                    for i in range(low, high):
                        to[i] = source[i * s.sw]
                for i in range(high, m):
                    to[i] = 0
        done += m
        ox = 0
        oy += 1
        if oy == s.oh:
            oy = 0
            image += 1
    to = panel + s.kh * s.kw * count
    for i in range(count):
        to[i] = 1
