"""Convolution of images of few channels, 16 images at a time, and the 2x2 maxima of its output.

    z = windows of x times W + b,  y = f(z), or with pooling the maxima of 2x2 pixels of f(z), f the identity or ReLU

    dz = dy * f'(z), with pooling at each maximum's place alone
    dW += windows of x^T dz,  db += 1^T dz,  dx = windows of dz times W rotated by 180 degrees, c and f exchanged

With few channels, products of matrices are too small to be fast. Here the batch is the innermost axis instead: a
register holds the same pixel and channel of 16 images, so bias, ReLU, pooling and all gradients are vector code
without shuffles, and a weight is a broadcast (_engine/vec/conv_batch_inner.h). Few rows are done one by one, to the
same bits: with pooling by _engine/vec/conv_image.h, else by conv.pyx, the plain twin of this kernel.
tests/layers/test_conv_batch_inner.py compares the two, with pooling.pyx after the twin where this kernel pools.
"""
from functools import partial

from cython cimport floating

from ldl_cy._engine cimport vec
from ldl_cy._engine.conv_batch_inner cimport (
    conv_batch_inner_backward, conv_batch_inner_forward, ldl_conv_batch_inner, ldl_conv_batch_inner_scratch)
from ldl_cy._engine.conv_image cimport conv_image, conv_image_scratch, has_conv_image
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t
from ldl_cy._engine.window cimport Window

from ldl_cy._engine.vec import ACTIVATIONS, default_slope, instruction_set
from ldl_cy._kernels.conv import conv
from ldl_cy._kernels.folded import with_norm
from ldl_cy._kernels.pooling import is_2x2_pool

# A group costs the same with one row as with 16. With FEW_ROWS rows or more it is at least as fast as products of
# windows that have to be copied.
FEW_ROWS = 5
GROUP = 16
# One by one, a row's fma is of a register of filters, a group's of a register of rows; the latter are transposed, which
# takes less than this share of the whole. 16 rows of LeNet's first layer take as long as 6 rows, of its second as 12.
GROUP_GAIN = 0.85
MANY_CHANNELS = 16          # at this number or above, matrix products or Winograd's transforms are faster
FEW_FILTERS = 64
FEW_REGISTERS = ("v2", "v3")    # instruction sets with 16 registers, which hold the sums of two filters only:
FEWER_FILTERS = 8               # there with more filters than these products with packed weights are faster
LARGE_TILE = 2**16          # numbers of an image, or of the weights, of which scratch holds 16

ctypedef struct ConvBatchInner:
    ldl_conv_batch_inner s
    int per_image               # with pooling: few rows are computed one by one, with their maxima
    Py_ssize_t few              # fewer rows are computed one by one,
    Py_ssize_t few_backward     # and than this, in the backward pass, by products of windows
    Py_ssize_t z_size
    Py_ssize_t n_weights        # kh kw c f
    const Op *direct            # the plain twin, conv.pyx
    const Op *pooling           # the 2x2 maxima after it, or NULL
    int activation              # applied to rows, outside of the C functions
    int use_bias
    double slope


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (kh, kw, c, f), b (f,)
    const floating *state,
    floating *derived,          # W rotated by 180 degrees: (kh, kw, f, c); then what direct derives
) noexcept nogil:
    cdef:
        const ConvBatchInner *v = <const ConvBatchInner*>&op.sizes[0]
        Py_ssize_t taps = v.s.window.kh * v.s.window.kw, size = v.s.window.c * v.s.f, t
    if call.backward:
        for t in range(taps):
            vec.transpose(v.s.window.c, v.s.f, theta + t * size, v.s.f, derived + (taps - 1 - t) * size, v.s.window.c)
    v.direct.prepare(v.direct, call, theta, state, derived + taps * size)


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # W, b
    const floating *state, const floating *derived,
    const floating *x,          # (n, h, w, c)
    floating *y,                # (n, oh, ow, f), or (n, oh / 2, ow / 2, f)
    floating *cache,            # z where the activation's derivative needs it; with pooling the maxima's places
    floating *scratch,
) noexcept nogil:
    cdef:
        const ConvBatchInner *v = <const ConvBatchInner*>&op.sizes[0]
        const floating *b = theta + op.n_params - v.s.f if v.use_bias else NULL
        floating *z = cache if op.cache_size and cache != NULL and not v.s.pool else y
        const floating *rest = derived + v.n_weights
        Py_ssize_t i
    if call.n < v.few and not v.s.pool:
        v.direct.forward(v.direct, call, theta, state, rest, x, y, cache, scratch)
        return
    if call.n < v.few and cache == NULL and v.per_image:
        for i in range(call.n):
            conv_image(&v.s.window, v.s.f, x + i * op.x_size, rest, b, v.s.relu, True, y + i * op.y_size, scratch)
        return
    if call.n < v.few and cache == NULL:
        z, scratch = scratch, scratch + call.n * v.z_size
        v.direct.forward(v.direct, call, theta, state, rest, x, z, cache, scratch)
        v.pooling.forward(v.pooling, call, theta, state, rest, z, y, cache, scratch)
        return
    conv_batch_inner_forward(&v.s, call.n, x, theta, b, z, <unsigned char*>cache if v.s.pool else NULL, scratch)
    if v.activation != vec.LDL_IDENTITY:
        vec.activate(v.activation, <floating>v.slope, call.n * v.s.window.oh * v.s.window.ow, v.s.f, z, y)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # W rotated
    const floating *x,          # (n, h, w, c)
    floating *y,
    floating *dy,               # as y; without pooling it becomes dz
    floating *dx,               # (n, h, w, c) or NULL
    floating *grad,             # dW, db or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef:
        const ConvBatchInner *v = <const ConvBatchInner*>&op.sizes[0]
        Py_ssize_t f = v.s.f, pixels = call.n * v.s.window.oh * v.s.window.ow
        floating *db = grad + op.n_params - f if grad != NULL and v.use_bias else NULL
        int activation = vec.LDL_RELU if v.s.relu else v.activation
    if call.n < v.few_backward and not v.s.pool:
        v.direct.backward(v.direct, call, theta, state, derived + v.n_weights, x, y, dy, dx,
                          grad, cache, scratch)
        return
    if not v.s.pool:
        # dz = dy * f'(z),  db += 1^T dz
        if activation != vec.LDL_IDENTITY:
            vec.activate_grad(activation, <floating>v.slope, pixels, f, cache if op.cache_size else y, dy, dy)
        if db != NULL:
            vec.add_column_sums(pixels, f, dy, db)
    conv_batch_inner_backward(&v.s, call.n, x, dy, derived, dx, grad, db, <const unsigned char*>cache, scratch)


def few_rows(str dtype, Py_ssize_t filters):
    """With fewer rows, one by one is faster: ceil(filters / wide) fma a row, GROUP / wide filters for a group."""
    wide = 16 if dtype == "float32" else 8
    return max(FEW_ROWS, int(GROUP_GAIN * (GROUP // wide) * filters / -(-filters // wide)))


def conv_batch_inner(str dtype, *, image, kernel, strides, dilation, padding, output, Py_ssize_t filters,
                     str activation="identity", bint use_bias=True, Kernel pooling=None, few=None):
    """The kernel of ``Conv1D`` and ``Conv2D`` for few channels, strides and dilation 1, one group.

    Parameters
    ----------
    pooling : Kernel, default=None
        Also take the maxima of 2x2 pixels, as this kernel does; with no activation or "relu" only.
    few : int >= 0, default=None
        Calls with fewer rows compute them one by one, with pooling at prediction only; None: ``few_rows``.
    """
    settings = {"image": image, "kernel": kernel, "strides": strides, "dilation": dilation, "padding": padding,
                "output": output, "filters": filters, "activation": activation, "use_bias": use_bias}
    cdef bint pool = pooling is not None
    cdef Kernel direct = conv(dtype, **settings)
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef ConvBatchInner *v = <ConvBatchInner*>&op.sizes[0]
    assert_fits(sizeof(ConvBatchInner), sizeof(op.sizes))
    cdef ldl_conv_batch_inner *s = &v.s
    cdef Window *w = &s.window
    assert strides == dilation == (1, 1) and (not pool or activation in ("identity", "relu"))
    w.h, w.w, w.c = image
    w.kh, w.kw = kernel
    w.sh = w.sw = w.dh = w.dw = 1
    w.top, w.left = padding
    w.oh, w.ow = output
    s.f, s.relu, s.pool = filters, activation == "relu", pool
    v.activation = ACTIVATIONS.index("identity" if activation == "relu" else activation)
    v.slope, v.use_bias = default_slope(activation), use_bias
    rows, cols = (w.oh // 2, w.ow // 2) if pool else (w.oh, w.ow)
    op.x_size = w.h * w.w * w.c
    op.y_size = rows * cols * filters
    v.n_weights = w.kh * w.kw * w.c * filters
    op.n_derived = v.n_weights + direct.op.n_derived
    op.n_params = direct.op.n_params
    v.per_image, v.z_size = pool and has_conv_image(w), direct.op.y_size
    if few is None:
        few = few_rows(dtype, filters) if has_conv_image(w) else FEW_ROWS
    v.few, v.few_backward = few, min(few, FEW_ROWS)
    v.direct, v.pooling = &direct.op, &pooling.op if pool else NULL
    made.parts, made.group = (direct, pooling), GROUP
    if pool:
        # a byte each, in whole numbers of the dtype
        size = 4 if dtype == "float32" else 8
        op.cache_size = (op.y_size + size - 1) // size
    else:
        op.cache_size = op.y_size if vec.ldl_keeps_z(v.activation) else 0
    op.scratch_fixed = max(ldl_conv_batch_inner_scratch(s), conv_image_scratch(w), direct.op.scratch_fixed)
    if pool and not v.per_image:
        op.scratch_fixed = max(op.scratch_fixed, direct.op.scratch_fixed + v.few * v.z_size)
    op.flops = direct.op.flops
    if dtype == "float32":
        op.prepare = <prepare_t>prepare[float]
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.prepare = <prepare_t>prepare[double]
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    made.name, made.dtype = "conv", dtype
    made.config = dict(settings, pooling=pooling)
    made.fuser = None if pool else partial(with_pooling, settings, dtype)
    return made


def choose_conv(str dtype, **settings):
    """``conv_batch_inner``, or ``conv`` where that is faster; either fuses with the pooling after it.

    Measured against ``conv`` on one core of an Intel Xeon, float32, forward and backward of 16 rows, how many times as
    fast with AVX-512 and with AVX2: 5x5 1 to 6 channels 3.9 and 2.4, 6 to 16 1.4 and 1.0; 3x3 8 to 8 2.7 and 1.0, 8 to
    16 1.7 and 0.7, 4 to 32 1.2 and 0.7, 1 to 32 0.6 and 0.7, 3 to 64 0.6 in both; with windows of fewer than 24 numbers
    most of the time goes into transposing images. With pooling and AVX2 6 to 16 is 0.7.
    """
    image, filters = settings["image"], settings["filters"]
    k = settings["kernel"][0] * settings["kernel"][1] * image[2]
    few = FEWER_FILTERS if instruction_set() in FEW_REGISTERS else FEW_FILTERS
    fits = max(image[0] * image[1] * max(image[2], filters), k * filters) <= LARGE_TILE and filters <= few
    single = dtype == "float32"
    cdef Kernel made
    if fits and k >= 24 and (filters <= 16 and image[2] <= (16 if single else 8)
                             or single and k >= 32 and filters <= 32):
        made = conv_batch_inner(dtype, **settings)
    else:
        made = conv(dtype, **settings)
        if fits:
            made.fuser = partial(with_pooling, settings, dtype)
    if settings.get("activation", "identity") == "identity":
        # made by the same choice: a bias and an activation do not change it
        made.folder = partial(with_norm, partial(choose_conv, dtype, **settings), filters,
                              settings.get("use_bias", True))
    return made


def with_pooling(settings, dtype, Kernel after, rows):
    """The fuser of ``choose_conv``: with the MaxPool2D that halves height and width."""
    pools = after.config or {}
    if (rows < FEW_ROWS or after.name != "max_pool" or settings["activation"] not in ("identity", "relu")
            or not is_2x2_pool(pools["kernel"], pools["strides"], pools["padding"], settings["output"],
                               pools["output"])):
        return None
    return conv_batch_inner(dtype, **settings, pooling=after)
