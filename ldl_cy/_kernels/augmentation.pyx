"""Random augmentation: flips and shifts of images, and Gaussian noise, in training; the identity otherwise.

    y[r, s] = x[i, j]       i = r - down, or h - 1 - (r - down) if flipped; 0 where r - down is outside of the image
                            j = s - right, or w - 1 - (s - right) if flipped; 0 where s - right is outside
    dx[i, j] = dy[r, s]     0 where no pixel of y has come from there

    y = x + stddev e        e standard normal, drawn for each number        dx = dy

Nothing is kept: the same call draws the same numbers again. What is drawn is a function of (seed, epoch, step, layer)
and of the row's, or the number's, place in the whole batch, so that blocks of any size and any number of threads agree.

Normal numbers by the ziggurat of Marsaglia and Tsang, J. Statistical Software 5(8), 2000, with the layers and the tail
of Doornik, "An improved ziggurat method to generate normal random samples", 2005: 128 layers of equal area V under
exp(-x^2 / 2), the lowest with the tail beyond R; 99 draws in 100 take one comparison.
"""
from cython cimport floating
from libc.math cimport fabs, sqrt
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport DRAWS, Call, Kernel, Op, assert_fits, backward_t, forward_t
from ldl_cy._engine.rng cimport layer_key, ldl_draw, ldl_uniform

cdef enum:
    LAYERS = 128                # of the ziggurat
    PER_ROW = 4                 # numbers that a row has: flipped upside down, flipped left to right, down, right

cdef double R = 3.442619855899, V = 9.91256303526217e-3
cdef double[LAYERS + 1] edge                # the right end of each layer; that of the lowest is V / exp(-R^2 / 2)
cdef double[LAYERS + 1] height              # exp(-edge^2 / 2)

ctypedef struct Images:
    Py_ssize_t h
    Py_ssize_t w
    Py_ssize_t c
    int upside_down             # may rows, may columns be flipped
    int left_right
    Py_ssize_t down             # the least shift down and how many there are, 1 for none
    Py_ssize_t n_down
    Py_ssize_t right            # the same to the right
    Py_ssize_t n_right

ctypedef struct Noise:
    double stddev


cdef inline double exp(double x) noexcept nogil:
    """exp(x) = exp(x / 128)^128 for -8 <= x <= 0, to 1e-13: the same number on every system, and quick for one."""
    cdef double r = x / 128, y = 1
    cdef int i, _i
    # Taylor's series up to r^8 / 8!, by Horner's rule
    for i in range(8, 0, -1):
        y = 1 + y * r / i
    for _i in range(7):
        y *= y
    return y


cdef inline double log(double x) noexcept nogil:
    cdef double y
    vec.log[double](1, &x, &y)
    return y


cdef void fill_ziggurat() noexcept:
    """The layers: x_i (f(x_(i+1)) - f(x_i)) = V from R upwards, f(x) = exp(-x^2 / 2)."""
    cdef int i
    edge[0], edge[1], edge[LAYERS] = V / exp(-0.5 * R * R), R, 0
    for i in range(2, LAYERS):
        edge[i] = sqrt(-2 * log(V / edge[i - 1] + exp(-0.5 * edge[i - 1] * edge[i - 1])))
    for i in range(LAYERS + 1):
        height[i] = exp(-0.5 * edge[i] * edge[i])


fill_ziggurat()


cdef inline double place(uint64_t bits, int *layer) noexcept nogil:
    """7 bits choose the layer, 53 others the place in it: x = u edge, u uniform in (-1, 1)."""
    layer[0] = <int>(bits & (LAYERS - 1))
    return (2 * ((<double>(bits >> 11) + 0.5) * 2.0**-53) - 1) * edge[layer[0]]


cdef double left_open(uint64_t own) noexcept nogil:
    """A normal number where the first draw of its stream is not surely under the curve."""
    cdef uint64_t bits = own, used = 0
    cdef int layer
    cdef double x, tail
    while True:
        x = place(bits, &layer)
        if fabs(x) < edge[layer + 1]:
            return x
        if layer == 0:
            # beyond R, Marsaglia 1964: x = -log(u1) / R until 2 (-log u2) >= x^2; uniform numbers off 0
            while True:
                tail = -log(ldl_uniform(own, used) + 2.0**-54) / R
                used += 2
                if -2 * log(ldl_uniform(own, used - 1) + 2.0**-54) >= tail * tail:
                    return -R - tail if x < 0 else R + tail
        # between the layer's lower and upper edge: under the curve?
        if height[layer] + ldl_uniform(own, used) * (height[layer + 1] - height[layer]) < exp(-0.5 * x * x):
            return x
        bits = ldl_draw(own, used + 1)
        used += 2


cdef inline double normal(uint64_t key, uint64_t i) noexcept nogil:
    """The i-th standard normal number of a stream: each has a stream of its own for what its first draw leaves open."""
    cdef uint64_t own = ldl_draw(key, i)
    cdef int layer
    cdef double x = place(own, &layer)
    return x if fabs(x) < edge[layer + 1] else left_open(own)


cdef inline void copy_pixels(
    bint back, bint flipped, Py_ssize_t n, Py_ssize_t c,
    floating *x,                # (n, c)
    floating *y,                # (n, c)
) noexcept nogil:
    """y = x or, back, x = y; with the pixels of x from the last to the first where flipped."""
    cdef Py_ssize_t _s, k
    if not flipped:
        memcpy(x if back else y, y if back else x, n * c * sizeof(floating))
        return
    x += (n - 1) * c
    for _s in range(n):
        for k in range(c):
            if back:
                x[k] = y[k]
            else:
                y[k] = x[k]
        x -= c
        y += c


cdef inline void move_images(
    bint back, const Op *op, const Call *call,
    floating *x,                # (n, h, w, c)
    floating *y,                # (n, h, w, c)
) noexcept nogil:
    """y from x or, back, x from y."""
    cdef const Images *s = <const Images*>&op.sizes[0]
    cdef Py_ssize_t size = s.h * s.w * s.c, row, r, i, down, right, first, last, from_left
    cdef uint64_t key = layer_key(call.seed, call.epoch, call.step, <uint64_t>op.layer), own
    cdef bint upside_down, left_right
    if not call.training:
        memcpy(x if back else y, y if back else x, call.n * size * sizeof(floating))
        return
    for row in range(call.n):
        own = <uint64_t>(call.row0 + row) * PER_ROW
        upside_down = s.upside_down and ldl_draw(key, own) >> 63
        left_right = s.left_right and ldl_draw(key, own + 1) >> 63
        # floor(u n) < n for u < 1 with 53 bits and n < 2^31
        down = s.down + <Py_ssize_t>(ldl_uniform(key, own + 2) * s.n_down)
        right = s.right + <Py_ssize_t>(ldl_uniform(key, own + 3) * s.n_right)
        # pixels first .. last - 1 of a row of y come from x
        first, last = max(0, right), min(s.w, s.w + right)
        from_left = s.w - (last - right) if left_right else first - right
        if down or right:
            memset(x if back else y, 0, size * sizeof(floating))
        if first < last:
            for r in range(max(0, down), min(s.h, s.h + down)):
                i = s.h - 1 - (r - down) if upside_down else r - down
                copy_pixels(back, left_right, last - first, s.c,
                            x + (i * s.w + from_left) * s.c, y + (r * s.w + first) * s.c)
        x += size
        y += size


cdef void images_forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, h, w, c)
    floating *cache, floating *scratch,
) noexcept nogil:
    move_images(False, op, call, <floating*>x, y)


cdef void images_backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, h, w, c)
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    if dx != NULL:
        move_images(True, op, call, dx, dy)


cdef void noise_forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, size)
    floating *y,                # (n, size)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Noise *s = <const Noise*>&op.sizes[0]
    cdef uint64_t key, first = <uint64_t>(call.row0 * op.x_size)
    cdef Py_ssize_t i, n = call.n * op.x_size
    if not call.training or s.stddev == 0:
        memcpy(y, x, n * sizeof(floating))
        return
    key = layer_key(call.seed, call.epoch, call.step, <uint64_t>op.layer)
    for i in range(n):
        # y = x + stddev e
        y[i] = <floating>(x[i] + s.stddev * normal(key, first + <uint64_t>i))


cdef void noise_backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, size)
    floating *dx,               # (n, size) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    if dx != NULL:
        memcpy(dx, dy, call.n * op.x_size * sizeof(floating))


def random_images(str dtype, *, tuple image, tuple flips=(False, False), tuple down=(0, 0), tuple right=(0, 0)):
    """The kernel of ``layers.RandomFlip`` and ``RandomTranslation``.

    ``image`` is (h, w, c); ``flips`` says whether rows and whether columns may be flipped; ``down`` and ``right`` are
    the least and the greatest shift, in pixels.
    """
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Images *s = <Images*>&op.sizes[0]
    assert_fits(sizeof(Images), sizeof(op.sizes))
    s.h, s.w, s.c = image
    s.upside_down, s.left_right = flips
    if len(down) != 2 or len(right) != 2:
        raise ValueError(f"random_images: down and right must be pairs, got {down} and {right}.")
    s.down, s.n_down = down[0], down[1] - down[0] + 1
    s.right, s.n_right = right[0], right[1] - right[0] + 1
    op.x_size = op.y_size = s.h * s.w * s.c
    op.flops, op.flags = 2.0 * op.x_size, DRAWS
    if dtype == "float32":
        op.forward, op.backward = <forward_t>images_forward[float], <backward_t>images_backward[float]
    else:
        op.forward, op.backward = <forward_t>images_forward[double], <backward_t>images_backward[double]
    kernel.name, kernel.dtype = "random_images", dtype
    kernel.config = {"image": image, "flips": flips, "down": down, "right": right}
    return kernel


def gaussian_noise(str dtype, *, Py_ssize_t size, double stddev):
    """The kernel of ``layers.GaussianNoise`` for rows of ``size`` numbers."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Noise *s = <Noise*>&op.sizes[0]
    assert_fits(sizeof(Noise), sizeof(op.sizes))
    s.stddev = stddev
    op.x_size = op.y_size = size
    op.flops, op.flags = 20.0 * size, DRAWS
    if dtype == "float32":
        op.forward, op.backward = <forward_t>noise_forward[float], <backward_t>noise_backward[float]
    else:
        op.forward, op.backward = <forward_t>noise_forward[double], <backward_t>noise_backward[double]
    kernel.name, kernel.dtype = "gaussian_noise", dtype
    kernel.config = {"size": size, "stddev": stddev}
    return kernel
