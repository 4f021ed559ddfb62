"""A layer and the BatchNorm after it as one layer with other weights, for inference.

With the running statistics BatchNorm is a slope and a shift of each channel, and those of a product of matrices can
be put into its weights:

    gamma (x W + b - mean) / sigma + beta = x (W diag(a)) + ((b - mean) a + beta),  a = gamma / sigma

This saves a pass over the layer's output, another one where an activation follows, and 2x2 maxima can be taken at
once. It works for any kernel whose theta is W (size, f), b (f,): that kernel is made once more, with a bias and the
activation, and reads the folded weights, which `prepare` writes into `derived`.

Measured on 2026-11-23 on one core of an Intel Xeon (AVX-512), float32, us a predict before and after, one row and 64:
28x28 8C3-BN-ReLU-P2-16C3-BN-ReLU-P2-10 13, 10 and 634, 207, where the maxima are taken in the same op; 16x16x16
32C3-BN-ReLU-32C3-BN-ReLU-10 by Winograd 32, 26 and 1900, 1570; depthwise 3x3, 1x1 of 32 30, 25 and 1860, 1580. A
Dense layer is folded only where that is faster: see dense.pyx.
"""
from functools import partial

from cython cimport floating
from libc.math cimport sqrt

from ldl_cy._engine.op cimport DERIVED_FOR_DX, PACKS_TO_PREDICT, Call, Kernel, Op, assert_fits, forward_t, prepare_t

from ldl_cy._engine.vec import default_slope

cdef Py_ssize_t LINE = 16       # numbers: 64 bytes of float32

ctypedef struct Folded:
    const Op *inner             # the layer with a bias and the activation
    Py_ssize_t n_weights        # of W: size * f
    Py_ssize_t f
    Py_ssize_t rest             # where in derived that of inner begins
    int use_bias                # theta has b
    double epsilon


cdef void prepare(
    const Op *op, const Call *call,
    const floating *theta,      # W (size, f), b (f,) with use_bias, gamma (f,), beta (f,)
    const floating *state,      # running mean (f,), variance (f,)
    floating *derived,          # W a (size, f), (b - mean) a + beta (f,); then what inner derives from them
) noexcept nogil:
    cdef:
        const Folded *v = <const Folded*>&op.sizes[0]
        Py_ssize_t f = v.f, i, j
        const floating *b = theta + v.n_weights if v.use_bias else NULL
        const floating *gamma = theta + v.n_weights + v.use_bias * f
        const floating *beta = gamma + f
        floating *bias = derived + v.n_weights
    # a = gamma / sqrt(variance + epsilon): rounded before W and b - mean are multiplied with it, so that where the
    # two nearly cancel its error is one of their difference
    for j in range(f):
        bias[j] = <floating>(gamma[j] / sqrt(<double>state[f + j] + v.epsilon))
    for i in range(v.n_weights // f):
        for j in range(f):
            derived[i * f + j] = theta[i * f + j] * bias[j]
    # (b - mean) a + beta
    for j in range(f):
        bias[j] = <floating>(((<double>b[j] if b != NULL else 0) - state[j]) * bias[j] + beta[j])
    if v.inner.prepare != NULL and not v.inner.flags & DERIVED_FOR_DX:
        v.inner.prepare(v.inner, call, derived, state, derived + v.rest)


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,    # theta of inner, then what it derives
    const floating *x,          # (n, x_size)
    floating *y,                # (n, y_size)
    floating *cache,
    floating *scratch,
) noexcept nogil:
    cdef const Folded *v = <const Folded*>&op.sizes[0]
    v.inner.forward(v.inner, call, derived, state, derived + v.rest, x, y, NULL, scratch)


cdef Kernel wrap(Kernel inner, Py_ssize_t f, bint use_bias, double epsilon):
    """The op that hands folded weights to inner; it has no backward pass."""
    cdef Kernel made = Kernel()
    cdef Op *op = &made.op
    cdef Folded *v = <Folded*>&op.sizes[0]
    assert_fits(sizeof(Folded), sizeof(op.sizes))
    v.inner, v.f, v.use_bias, v.epsilon = &inner.op, f, use_bias, epsilon
    v.n_weights = inner.op.n_params - f
    v.rest = (inner.op.n_params + LINE - 1) // LINE * LINE
    op.x_size, op.y_size = inner.op.x_size, inner.op.y_size
    op.n_params = v.n_weights + use_bias * f + 2 * f
    op.n_state = 2 * f
    op.n_derived = v.rest + (0 if inner.op.flags & DERIVED_FOR_DX else inner.op.n_derived)
    op.scratch_size, op.scratch_fixed = inner.op.scratch_size, inner.op.scratch_fixed
    # W a is made even where inner derives for backward or for plain weights alone
    op.flags = inner.op.flags & ~(DERIVED_FOR_DX | PACKS_TO_PREDICT)
    op.layer, op.flops = inner.op.layer, inner.op.flops
    if inner.dtype == "float32":
        op.prepare, op.forward = <prepare_t>prepare[float], <forward_t>forward[float]
    else:
        op.prepare, op.forward = <prepare_t>prepare[double], <forward_t>forward[double]
    made.name, made.dtype, made.config = inner.name, inner.dtype, inner.config
    made.parts, made.group = (inner,), inner.group
    made.fuser = partial(with_pooling, inner, f, use_bias, epsilon)
    return made


def with_norm(make, Py_ssize_t f, bint use_bias, Kernel after):
    """The folder of a layer without an activation: with the BatchNorm of its f channels.

    Parameters
    ----------
    make : callable
        ``make(use_bias=..., activation=...)``: the layer's kernel again.
    f : int
        Length of the last axis of W and of the output.
    use_bias : bool
        Whether the layer has one.
    after : Kernel
    """
    if after.name != "batch_norm" or after.config["k"] != f:
        return None
    cdef Kernel made = wrap(make(use_bias=True, activation="identity"), f, use_bias, after.config["epsilon"])
    made.folder = partial(with_activation, make, f, use_bias, after.config["epsilon"])
    return made


def with_activation(make, Py_ssize_t f, bint use_bias, double epsilon, Kernel after):
    """The folder of a layer and its BatchNorm: with an elementwise activation."""
    if after.name != "activation":
        return None
    kind = after.config["kind"]
    # softmax looks along a last axis, which may be another one here; inner knows the usual slopes alone
    if kind == "softmax" or after.config["slope"] != default_slope(kind):
        return None
    return wrap(make(use_bias=True, activation=kind), f, use_bias, epsilon)


def with_pooling(Kernel inner, Py_ssize_t f, bint use_bias, double epsilon, Kernel after, rows):
    """The fuser of a folded layer: where inner can do it."""
    pooled = inner.fuse(after, rows)
    return None if pooled is None else wrap(pooled, f, use_bias, epsilon)
