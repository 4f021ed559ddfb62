"""Convolution by 3x3 windows at stride 1 as Winograd's minimal filtering F(m x m, 3 x 3), m = 4 or 2.

Output is made in tiles of m x m pixels, each from (m + 2) x (m + 2) pixels of the input. With d a tile of the input
and g the weights of one channel and filter (3, 3), * the product of elements (Lavin and Gray, arXiv:1509.09308),

    V = B^T d B,  U = G g G^T,  M = sum_c V * U,  z = A^T M A + b,  y = f(z)

    dz = dy * f'(z),  D = A dz A^T,  Q = sum_tiles V * D,  dW += G^T Q G,  db += sum of dz
    dx: the same filtering of dz by the weights rotated by 180 degrees, channels and filters exchanged

M and Q are, for each of the (m + 2)^2 places of a tile, one product of matrices: M (tiles, f) = V (tiles, c) U (c, f)
and Q (c, f) = V^T D. In place of 9 m^2 multiplications for each tile, channel and filter there are (m + 2)^2: a
quarter at m = 4, 4/9 at m = 2. The matrices A, B, G are in _engine/vec/winograd.h.

The plain twin is conv.pyx, ``Conv2D(algorithm="direct")``; tests/layers/test_winograd.py compares the two.
"""
from functools import partial

from cython cimport floating
from libc.stdint cimport uint8_t

from ldl_cy._engine cimport vec
from ldl_cy._engine.gemm_packed cimport gemm_packed, packed_size, panel_width
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t
from ldl_cy._kernels.pool_2x2 cimport max_pool_2x2, max_pool_2x2_backward
from ldl_cy._kernels.transforms cimport (
    add_weights_gradient, inverse_transform_output_tile, transform_gradient_tile, transform_input_tile,
    transform_weights)

from ldl_cy._engine.vec import ACTIVATIONS, default_slope
from ldl_cy._kernels.folded import with_norm
from ldl_cy._kernels.pooling import is_2x2_pool
from ldl_cy._kernels.strides import matrix_stride, round_up

# Bytes of a block's transformed tiles, of input and output: as many as the transformed weights have, which each block
# reads again, but within these limits, and no fewer than LEAST_TILES tiles. Up to 1 to 2 MB they stay in the L2 cache
# between transform and product. Measured over 8 to 16 images, float32, us of forward, dx and dW together,
# blocks of 16, 32, 64 and 128 tiles: 64 to 64 channels 5,760, 5,750, 5,780, 6,060 with AVX-512 and 9,790, 10,200,
# 9,350, 10,750 with AVX2; 128 to 128 on 8x8 3,450, 3,030, 2,820, 3,320 and 4,270, 4,260, 4,020, 3,970; 256 to 256
# on 8x8 50,000, 36,300, 20,400, 23,900 and 22,600, 23,000, 17,300, 19,100.
LEAST_BLOCK_BYTES = 5 * 2**17
MOST_BLOCK_BYTES = 5 * 2**20
LEAST_TILES = 32

cdef enum:
    MOST_SUMMED = 512           # tiles that Q sums before it is added to dW: rounding errors grow with their number

# Filtering images (h, w, c) into maps (oh, ow, f): pixel (y, x) sees rows y - top to y - top + 2, columns likewise
ctypedef struct Filter:
    Py_ssize_t h
    Py_ssize_t w
    Py_ssize_t c
    Py_ssize_t oh
    Py_ssize_t ow
    Py_ssize_t f
    Py_ssize_t top
    Py_ssize_t left
    Py_ssize_t th               # tiles of a map
    Py_ssize_t tw
    Py_ssize_t block            # tiles transformed at a time
    Py_ssize_t v_stride         # from one place's (block, c), (block, f) or (c, f) to the next one's
    Py_ssize_t m_stride
    Py_ssize_t u_stride
    int m
    int places                  # (m + 2)^2

ctypedef struct Winograd:
    Filter y
    Filter dx                   # of dz into dx, by the rotated weights
    Py_ssize_t images           # taken together through all passes, so that they stay in the cache
    Py_ssize_t Ut               # offsets in derived
    Py_ssize_t Wt
    Py_ssize_t M                # offsets in scratch
    Py_ssize_t Q
    Py_ssize_t z                # pooled: z, or dz, of some images
    int activation
    int use_bias
    int pool                    # the output is the maxima of 2x2 pixels; cache holds a byte for each
    double slope


cdef inline void transform_input(
    const Filter *s, Py_ssize_t first, Py_ssize_t count,
    const floating *x,          # (n, h, w, c)
    floating *V,                # (places, block, c)
) noexcept nogil:
    """V = B^T d B of the tiles first to first + count - 1."""
    cdef:
        Py_ssize_t c = s.c, n = s.m + 2, i, y, col, image
    for i in range(count):
        image = (first + i) // (s.tw * s.th)
        y, col = (first + i) // s.tw % s.th * s.m - s.top, (first + i) % s.tw * s.m - s.left
        # outside of the image x is 0
        transform_input_tile(
            s.m, c, x + ((image * s.h + y) * s.w + col) * c, s.w * c, c, <int>max(0, -y), <int>min(n, s.h - y),
            <int>max(0, -col), <int>min(n, s.w - col), V + i * c, s.v_stride)


cdef inline void inverse_transform_output(
    const Filter *s, Py_ssize_t first, Py_ssize_t count,
    const floating *M,          # (places, block, f)
    const floating *b,          # (f,) or NULL
    bint relu,
    floating *y,                # (n, oh, ow, f)
) noexcept nogil:
    """y = A^T M A + b, or max(0, that), of the tiles first to first + count - 1."""
    cdef Py_ssize_t f = s.f, i, row, col, image
    for i in range(count):
        image = (first + i) // (s.tw * s.th)
        row, col = (first + i) // s.tw % s.th * s.m, (first + i) % s.tw * s.m
        inverse_transform_output_tile(
            s.m, f, M + i * f, s.m_stride, b, relu, y + ((image * s.oh + row) * s.ow + col) * f, s.ow * f, f,
            <int>min(s.m, s.oh - row), <int>min(s.m, s.ow - col))


cdef inline void transform_gradient(
    const Filter *s, Py_ssize_t first, Py_ssize_t count,
    const floating *dz,         # (n, oh, ow, f)
    floating *D,                # (places, count, f), packed
) noexcept nogil:
    """D = A dz A^T of the tiles first to first + count - 1."""
    cdef Py_ssize_t f = s.f, i, j, width, row, col, image
    for i in range(count):
        image = (first + i) // (s.tw * s.th)
        row, col = (first + i) // s.tw % s.th * s.m, (first + i) % s.tw * s.m
        j = 0
        while j < f:
            width = panel_width(<floating>0, f, j)
            transform_gradient_tile(
                s.m, min(width, f - j), dz + ((image * s.oh + row) * s.ow + col) * f + j, s.ow * f, f,
                <int>min(s.m, s.oh - row), <int>min(s.m, s.ow - col), D + count * j + i * width, s.m_stride)
            j += width


cdef inline void filter_images(
    const Filter *s, Py_ssize_t n,
    const floating *x,          # (n, h, w, c)
    const floating *U,          # (places, c, f), packed
    const floating *b,          # (f,) or NULL
    bint relu,
    floating *y,                # (n, oh, ow, f)
    floating *V, floating *M,
) noexcept nogil:
    cdef Py_ssize_t tiles = n * s.th * s.tw, first = 0, count, p
    while first < tiles:
        count = min(s.block, tiles - first)
        transform_input(s, first, count, x, V)
        for p in range(s.places):
            # M = V U   (count, c) (c, f), the sum over the channels
            gemm_packed(False, count, s.f, s.c, <const floating*>V + p * s.v_stride, s.c, U + p * s.u_stride,
                        <const floating*>NULL, 0, M + p * s.m_stride, s.f)
        inverse_transform_output(s, first, count, <const floating*>M, b, relu, y)
        first += count


cdef inline void add_products(
    const Filter *s, Py_ssize_t n,
    Py_ssize_t *summed,         # tiles in Q so far; 0: Q is overwritten
    const floating *x,          # (n, h, w, c)
    const floating *dz,         # (n, oh, ow, f)
    floating *dW,               # (3, 3, c, f), added to when Q has MOST_SUMMED tiles
    floating *Q,                # (places, c, f)
    floating *V, floating *D,
) noexcept nogil:
    cdef Py_ssize_t tiles = n * s.th * s.tw, first = 0, count, p
    cdef floating *to
    while first < tiles:
        count = min(s.block, tiles - first)
        transform_input(s, first, count, x, V)
        transform_gradient(s, first, count, dz, D)
        for p in range(s.places):
            # Q += V^T D   (c, count) (count, f), the sum over the tiles
            to = Q + p * s.u_stride
            gemm_packed(True, s.c, s.f, count, <const floating*>V + p * s.v_stride, s.c, D + p * s.m_stride,
                        <const floating*>NULL if summed[0] == 0 else to, s.f, to, s.f)
        first += count
        summed[0] += count
        if summed[0] >= MOST_SUMMED:
            # dW += G^T Q G   (3, 3, c, f)
            add_weights_gradient(s.m, s.c * s.f, <const floating*>Q, s.u_stride, dW)
            summed[0] = 0


cdef inline void transform_and_pack(
    const Filter *s,
    const floating *W,          # (3, 3, c, f)
    Py_ssize_t step,            # from a cell of the window to the next
    floating *U,                # (places, c, f), packed
) noexcept nogil:
    """U = G W G^T, a panel of filters after another"""
    cdef Py_ssize_t i, j = 0, width
    while j < s.f:
        width = panel_width(<floating>0, s.f, j)
        if width == s.f:
            transform_weights(s.m, s.c * s.f, W, step, U, s.u_stride)
            return
        for i in range(s.c):
            transform_weights(s.m, min(width, s.f - j), W + i * s.f + j, step, U + s.c * j + i * width, s.u_stride)
        j += width


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (3, 3, c, f), b (f,)
    const floating *state,
    floating *derived,          # U (places, c, f), Ut (places, f, c), both packed; Wt (3, 3, f, c)
) noexcept nogil:
    cdef:
        const Winograd *v = <const Winograd*>&op.sizes[0]
        Py_ssize_t c = v.y.c, f = v.y.f, t
    # U of W, and Ut of W rotated, its cells in the opposite order, with channels and filters exchanged
    transform_and_pack(&v.y, theta, c * f, derived)
    if not call.backward:
        return
    for t in range(9):
        vec.transpose(c, f, theta + t * c * f, f, derived + v.Wt + t * c * f, c)
    transform_and_pack(&v.dx, <const floating*>derived + v.Wt + 8 * c * f, -c * f, derived + v.Ut)


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # W (3, 3, c, f), b (f,)
    const floating *state,
    const floating *derived,    # U (places, c, f), packed
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f), or (n, oh / 2, ow / 2, f)
    floating *cache,            # z (n, oh, ow, f) where the activation's derivative needs it; pooled: bytes
    floating *scratch,
) noexcept nogil:
    cdef:
        const Winograd *v = <const Winograd*>&op.sizes[0]
        Py_ssize_t f = v.y.f, first = 0, n, i, size = v.y.oh * v.y.ow * f
        const floating *b = theta + op.n_params - f if v.use_bias else NULL
        floating *to = y
        floating *z
        bint relu = v.activation == vec.LDL_RELU
        bint keeps = op.cache_size and cache != NULL
    while first < call.n:
        n = min(v.images, call.n - first)
        if v.pool:
            z = to = scratch + v.z
        else:
            to = y + first * size
            z = cache + first * size if keeps else to
        filter_images(&v.y, n, x + first * op.x_size, derived, b, relu, z, scratch, scratch + v.M)
        if v.activation != vec.LDL_IDENTITY and not relu:
            vec.activate(v.activation, <floating>v.slope, n * v.y.oh * v.y.ow, f, z, to)
        if v.pool:
            for i in range(first, first + n):
                max_pool_2x2(
                    v.y.oh, v.y.ow, f, <const floating*>to + (i - first) * size, y + i * op.y_size,
                    <uint8_t*>(cache + i * op.cache_size) if keeps else NULL)
        first += n


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # Ut (places, f, c), packed
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f)
    floating *dy,               # (n, oh, ow, f), becomes dz
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad,             # dW, db or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const Winograd *v = <const Winograd*>&op.sizes[0]
        Py_ssize_t f = v.y.f, first = 0, summed = 0, n, i, at, size = v.y.oh * v.y.ow * f
        floating *a = cache if op.cache_size and not v.pool else y
        floating *dz
    while first < call.n:
        n, at = min(v.images, call.n - first), first * op.y_size
        dz = dy + at
        # dz = dy * f'(z); with pooling only the maxima have a gradient, and y is their f(z)
        if v.activation != vec.LDL_IDENTITY:
            vec.activate_grad(v.activation, <floating>v.slope, n * op.y_size // f, f, a + at, dz, dz)
        # db += 1^T dz
        if grad != NULL and v.use_bias:
            vec.add_column_sums(n * op.y_size // f, f, dz, grad + op.n_params - f)
        if v.pool:
            for i in range(n):
                max_pool_2x2_backward(
                    v.y.oh, v.y.ow, f, <const floating*>dz + i * op.y_size,
                    <const uint8_t*>(cache + (first + i) * op.cache_size), scratch + v.z + i * size)
            dz = scratch + v.z
        if grad != NULL:
            add_products(&v.y, n, &summed, x + first * op.x_size, dz, grad, scratch + v.Q, scratch, scratch + v.M)
        if dx != NULL:
            # dx is dz filtered by the rotated weights
            filter_images(&v.dx, n, dz, derived + v.Ut, <const floating*>NULL, False, dx + first * op.x_size,
                          scratch, scratch + v.M)
        first += n
    if summed:
        add_weights_gradient(v.y.m, v.y.c * f, <const floating*>scratch + v.Q, v.y.u_stride, grad)


def tile_size(oh, ow):
    """The m of F(m x m, 3 x 3) that costs fewer multiplications on a map of oh x ow pixels."""
    def cost(m):
        return -(-oh // m) * -(-ow // m) * (m + 2)**2
    return 4 if cost(4) <= cost(2) else 2


def saving(oh, ow):
    """How many multiplications of the plain convolution there are for each of Winograd's."""
    m = tile_size(oh, ow)
    return 9 * oh * ow / (-(-oh // m) * -(-ow // m) * (m + 2)**2)


def block_size(c, f, places, itemsize, tiles):
    """The number of tiles in a block, for images of ``tiles`` tiles: see LEAST_BLOCK_BYTES.

    Blocks are whole images if these are small, and equal parts of an image if it is large.
    """
    room = min(MOST_BLOCK_BYTES, max(LEAST_BLOCK_BYTES, places * c * f * itemsize))
    most = max(LEAST_TILES, room // (places * (c + f) * itemsize))
    if tiles <= most:
        return most // tiles * tiles
    parts = (tiles + most - 1) // most
    return (tiles + parts - 1) // parts


cdef void set_filter(Filter *s, image, maps, padding, Py_ssize_t itemsize):
    cdef int m = tile_size(maps[0], maps[1])
    s.h, s.w, s.c = image
    s.oh, s.ow, s.f = maps
    s.top, s.left = padding
    s.m, s.places = m, (m + 2) * (m + 2)
    s.th, s.tw = (s.oh + m - 1) // m, (s.ow + m - 1) // m
    s.block = block_size(s.c, s.f, s.places, itemsize, s.th * s.tw)
    s.v_stride = matrix_stride(s.block * s.c)
    s.m_stride = matrix_stride(packed_size(s.block, s.f))
    s.u_stride = matrix_stride(packed_size(s.c, s.f))


def winograd(str dtype, *, image, padding, output, Py_ssize_t filters, str activation="identity",
             bint use_bias=True, bint pool=False):
    """The kernel of ``layers.Conv2D`` for windows of 3x3 at stride 1: image (h, w, c), padding (top, left).

    With ``pool`` the maxima of 2x2 pixels of its output, rows and columns rounded down; with an activation whose
    derivative follows from its value.
    """
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef Winograd *v = <Winograd*>&op.sizes[0]
    assert_fits(sizeof(Winograd), sizeof(op.sizes))
    cdef Py_ssize_t c = image[2], item = 4 if dtype == "float32" else 8
    maps = (*output, filters)
    set_filter(&v.y, image, maps, padding, item)
    set_filter(&v.dx, maps, image, (2 - padding[0], 2 - padding[1]), item)
    v.images = max(1, v.y.block // (v.y.th * v.y.tw))
    v.activation, v.slope, v.use_bias = ACTIVATIONS.index(activation), default_slope(activation), use_bias
    op.x_size = image[0] * image[1] * c
    op.y_size = output[0] * output[1] * filters
    v.pool = pool
    if pool:
        op.y_size = output[0] // 2 * (output[1] // 2) * filters
    op.n_params = 9 * c * filters + (filters if use_bias else 0)
    op.cache_size = op.y_size if vec.ldl_keeps_z(v.activation) else 0
    if pool:
        # bytes, in whole numbers of the dtype
        op.cache_size = (op.y_size + item - 1) // item
    v.Ut = v.y.places * v.y.u_stride
    v.Wt = v.Ut + v.dx.places * v.dx.u_stride
    op.n_derived = round_up(v.Wt + 9 * c * filters)
    v.M = max(v.y.places * v.y.v_stride, v.dx.places * v.dx.v_stride)
    v.Q = v.M + max(v.y.places * v.y.m_stride, v.dx.places * v.dx.m_stride)
    v.z = v.Q + v.y.places * v.y.u_stride
    op.scratch_fixed = v.z + (v.images * output[0] * output[1] * filters if pool else 0)
    op.flops = 2.0 * v.y.th * v.y.tw * v.y.places * c * filters
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    made.name, made.dtype = "winograd", dtype
    settings = {"image": image, "padding": padding, "output": output, "filters": filters,
                "activation": activation, "use_bias": use_bias}
    made.config = dict(settings, pool=pool, tile=v.y.m)
    if not pool and activation != "softmax" and not vec.ldl_keeps_z(v.activation):
        made.fuser = partial(with_pooling, dtype, settings)
    if not pool and activation == "identity":
        make = partial(winograd, dtype, image=image, padding=padding, output=output, filters=filters)
        made.folder = partial(with_norm, make, filters, use_bias)
    return made


def with_pooling(dtype, settings, Kernel after, rows):
    """The fuser of ``winograd``: the 2x2 MaxPool2D on images that are still in the cache."""
    pools = after.config
    if after.name == "max_pool" and is_2x2_pool(pools["kernel"], pools["strides"], pools["padding"],
                                                settings["output"], pools["output"]):
        return winograd(dtype, **settings, pool=True)
    return None
