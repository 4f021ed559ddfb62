"""The batch-inner convolution, alone and with the pooling after it, on each instruction set.

Its plain twin is _kernels/conv.pyx, with _kernels/pooling.pyx after it: test_against_the_plain_twin.
"""
import numpy as np
import pytest
from branches import check_rows_and_bits, check_stack_gradient
from contract import (
    DTYPES,
    LayerCase,
    check_buffers_and_guards,
    check_dx_and_grad_may_be_null,
    check_forward,
    check_grad_accumulates,
    check_gradients,
    check_inference_is_forward,
    check_read_only_input,
    check_rows_alone,
    check_sizes,
    close,
    run,
)
from convolutions import convolved
from references import activate

from ldl_cy import Sequential, layers
from ldl_cy._engine.plan import Plan
from ldl_cy._kernels.conv import conv
from ldl_cy._kernels.conv_batch_inner import conv_batch_inner, few_rows
from ldl_cy._kernels.pooling import pool
from ldl_cy.layers import AvgPool2D, Conv2D, Dense, Flatten, MaxPool2D
from ldl_cy.layers.base import Built
from ldl_cy.layers.windows import lay_windows
from ldl_cy.summary import summary

KERNEL_CHECKS = [
    check_sizes, check_forward, check_inference_is_forward, check_gradients, check_grad_accumulates,
    check_dx_and_grad_may_be_null, check_buffers_and_guards, check_rows_alone, check_read_only_input,
]

pytestmark = pytest.mark.usefixtures("isa")


def kernels(layer, shape, dtype, pooled):
    """(the plain convolution, the pooling or None, the batch-inner kernel that does the work of both)."""
    windows = lay_windows("test", "kernel_size", shape, 2, layer.kernel_size, 1, 1, layer.padding)
    settings = dict(windows, dilation=(1, 1), filters=layer.filters, activation=layer.activation or "identity",
                    use_bias=layer.use_bias)
    image = (*windows["output"], layer.filters)
    after = pool(dtype, kind="max", **lay_windows("test", "pool_size", image, 2, 2, 2, 1, "valid")) if pooled else None
    return conv(dtype, **settings), after, conv_batch_inner(dtype, **settings, pooling=after, few=0)


class Both:
    """A convolution, with the maxima of 2x2 behind it, in the place of a layer for the contract."""

    def __init__(self, layer, pooled):
        self.layer, self.pooled = layer, pooled

    def build(self, shape):
        built = self.layer.build(shape)
        oh, ow, f = built.output_shape
        output = (oh // 2, ow // 2, f) if self.pooled else built.output_shape
        return Built(output, lambda dtype: kernels(self.layer, shape, dtype, self.pooled)[2], built.parameters)


def case(name, layer, shape, pooled, n=2):
    def reference(p, x):
        bias = p.get("bias", np.zeros(layer.filters))
        z = convolved(x, p["kernel"], bias, (1, 1), layer.padding, (1, 1), 1)
        z = activate(layer.activation or "identity", z)
        if not pooled:
            return z
        h, w = z.shape[1] // 2, z.shape[2] // 2
        return z[:, :2 * h, :2 * w].reshape(len(z), h, 2, w, 2, -1).max((2, 4))
    return LayerCase(name, Both(layer, pooled), shape, reference, n=n)


CASES = [
    case("plain", Conv2D(3, 3), (4, 5, 2), False),
    case("plain, pooled", Conv2D(3, 3), (5, 6, 2), True),
    case("same", Conv2D(7, 3, padding="same", activation="relu"), (3, 5, 1), False),
    case("same, pooled", Conv2D(7, 3, padding="same", activation="relu"), (3, 5, 1), True),
    case("even window", Conv2D(2, (2, 4), padding="same", activation="relu"), (4, 5, 2), True, n=3),
    case("window beyond the image", Conv2D(2, 5, padding="same"), (2, 3, 2), False),
    case("padding beyond the window", Conv2D(2, 2, padding=3, activation="relu"), (2, 3, 1), True),
    case("before and after", Conv2D(3, 3, padding=((0, 2), (1, 0)), activation="relu"), (4, 5, 2), False),
    case("before and after, pooled", Conv2D(3, 3, padding=((3, 0), (0, 4))), (4, 5, 2), True),
    case("one pixel", Conv2D(13, 1), (1, 1, 3), False),
    case("one row", Conv2D(4, (1, 3), activation="tanh"), (1, 9, 2), False),
    case("no bias", Conv2D(4, 2, activation="relu", use_bias=False), (4, 3, 2), True),
    case("keeps z", Conv2D(4, 2, activation="gelu"), (4, 3, 2), False),
    case("softmax", Conv2D(5, 2, activation="softmax"), (3, 3, 2), False),
    case("17 rows", Conv2D(2, 2, activation="relu"), (3, 3, 1), True, n=17),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", KERNEL_CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 5, 15, 16, 17, 33])
@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])
@pytest.mark.parametrize(("layer", "shape"), [
    (Conv2D(5, 3, padding="same", activation="relu"), (7, 9, 2)),
    (Conv2D(6, 5, padding="same", activation="relu"), (12, 11, 1)),
    (Conv2D(16, 5, activation="relu"), (14, 14, 6)),
    (Conv2D(11, (2, 3)), (5, 4, 3)),
    (Conv2D(3, (4, 5), padding="same", activation="relu"), (5, 7, 9)),
    (Conv2D(40, 3, padding="same", activation="relu"), (14, 30, 3)),       # several bands of dz
    (Conv2D(5, (3, 4), padding=((0, 3), (5, 1)), activation="relu"), (6, 7, 2)),
], ids=["3x3", "5x5", "5x5 of 6", "2x3", "4x5", "bands", "before and after"])
def test_against_the_plain_twin(layer, shape, pooled, n, dtype):
    direct, after, both = kernels(layer, shape, dtype, pooled)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, *shape)).astype(dtype)
    theta = rng.standard_normal(direct.n_params).astype(dtype)
    none = np.zeros(0, dtype)
    y, cache, derived = direct.forward(theta, x)
    z = y
    if pooled:
        y, places, _ = after.forward(none, z)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype)
    dz = dy.copy()
    if pooled:
        dz, _ = after.backward(none, z, y, dy.copy(), places, dx=np.empty_like(z))
    dx, grad = direct.backward(theta, x, z, dz, cache, derived=derived, dx=np.empty_like(x), grad=np.zeros_like(theta))
    for found, expected in zip(run(both, theta, x), (y, dx, grad)):
        close(found, expected, 1e-12 if dtype == "float64" else 2e-5)


POOLABLE = [
    (Conv2D(4, 3, padding="same", activation="relu"), (6, 6, 2)),           # tiles of 4 and 2 pixels more, or of 6
    (Conv2D(6, 5, padding="same", activation="relu"), (9, 11, 1)),          # an odd row and column
    (Conv2D(16, 5), (14, 14, 6)),
    (Conv2D(11, (3, 2), padding=((0, 3), (2, 1)), use_bias=False), (5, 17, 2)),
    (Conv2D(37, 3, padding=4, activation="relu"), (3, 4, 3)),               # windows beyond the image
    (Conv2D(5, 3), (6, 5, 2)),                                              # three columns: too small for tiles
]
UNPOOLABLE = [
    (Conv2D(5, (2, 3), activation="relu"), (2, 9, 2)),                      # one row, likewise: no 2x2 maxima
    (Conv2D(3, 2, activation="tanh"), (5, 7, 3)),                           # the kernel takes no maxima of tanh
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "shape", "pooled"), [
    *((*case, False) for case in (*POOLABLE, *UNPOOLABLE)), *((*case, True) for case in POOLABLE)])
def test_few_rows_are_done_one_by_one(layer, shape, pooled, dtype):
    """At prediction, and without pooling always: to the bits of the batch-inner kernel, where tiles fit."""
    rng = np.random.default_rng(1)
    _, _, always = kernels(layer, shape, dtype, pooled)
    chosen = conv_batch_inner(dtype, **always.config)
    few = few_rows(dtype, layer.filters)
    x = rng.standard_normal((few, *shape)).astype(dtype)
    theta = rng.standard_normal(always.n_params).astype(dtype)
    rows, columns = always.config["output"]
    tol = 1e-13 if dtype == "float64" else 1e-5
    for n in (1, few - 1, few):
        a, b = (kernel.forward(theta, x[:n], keep=False)[0] for kernel in (always, chosen))
        if rows >= 2 and columns >= 4:
            np.testing.assert_array_equal(a, b)
        close(a, b, tol)
        for a, b in zip(run(always, theta, x[:n]), run(chosen, theta, x[:n])):
            close(a, b, tol)


def test_nan_in_a_row_alone():
    """A NaN is the maximum also where a row is done one by one."""
    _, _, always = kernels(Conv2D(3, 1, activation="relu"), (4, 5, 1), "float32", True)
    chosen = conv_batch_inner("float32", **always.config)
    theta = np.array([1, -1, 2, 0, 0, 0], np.float32)
    x = np.random.default_rng(5).standard_normal((1, 4, 5, 1)).astype(np.float32)
    x[0, 1, 2] = np.nan
    y = chosen.forward(theta, x, keep=False)[0]
    np.testing.assert_array_equal(y, always.forward(theta, x, keep=False)[0])
    assert np.isnan(y.reshape(2, 2, 3)[0, 1]).all()
    assert np.isnan(y).sum() == 3


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_first_of_equals_and_nan(dtype, activation):
    _, _, both = kernels(Conv2D(1, 1, activation=activation), (2, 2, 1), dtype, True)
    theta = np.array([1, 0], dtype)
    nan = np.nan
    x = np.array([[1, 1, 1, 1], [1, 2, 2, 0], [0, 1, 2, 2], [3, nan, 4, nan], [nan, 5, 6, 7], [-3, -1, -2, -1]], dtype)
    y, cache, derived = both.forward(theta, x)
    dx, _ = both.backward(theta, x, y, np.ones_like(y), cache, derived=derived, dx=np.empty_like(x))
    last = 0 if activation else -1
    np.testing.assert_array_equal(y.ravel()[:5], [1, 2, 2, nan, nan])
    assert y[5] == last
    # of several NaNs any may take the gradient
    np.testing.assert_array_equal(dx[[0, 1, 2, 4, 5]], [
        [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, -last, 0, 0]])
    assert dx[3, 1] + dx[3, 3] == 1


LENET = [
    Conv2D(6, 5, padding="same", activation="relu"), MaxPool2D(), Conv2D(7, 3, activation="relu"), MaxPool2D(),
    Flatten(), Dense(3),
]


def kinds(model, **options):
    graph = model.network.graph
    plan = Plan(graph, options.pop("training", True), options.pop("capacity", 40), 1, **options)
    return [p.node.kernel.name for p in plan.nodes if p.node.kernel], plan


def test_plan_puts_two_in_one():
    model = Sequential(LENET, random_state=0).build((12, 12, 1))
    names, plan = kinds(model)
    assert names == ["conv", "conv", "dense"]
    assert plan.block_rows % 16 == 0
    assert kinds(model, training=False, capacity=1024)[1].block_rows % 16 == 0
    whole = ["conv", "max_pool", "conv", "max_pool", "dense"]
    assert kinds(model, cuts=(0,))[0] == whole
    assert kinds(model, block_rows=1)[0] == kinds(model, capacity=2)[0] == whole
    assert kinds(model, keep=(model.network.graph.buffers[1],))[0] == ["conv", "max_pool", "conv", "dense"]


@pytest.mark.parametrize(("first", "second"), [
    (Conv2D(4, 3, activation="tanh"), MaxPool2D()),
    (Conv2D(4, 3, algorithm="direct"), MaxPool2D()),
    (Conv2D(4, 3, 2), MaxPool2D()),
    (Conv2D(4, 3, groups=2), MaxPool2D()),
    (Conv2D(4, 3), MaxPool2D(3)),
    (Conv2D(4, 3), MaxPool2D(2, 1)),
    (Conv2D(4, 2), MaxPool2D(2, padding="same")),
    (Conv2D(4, 3), MaxPool2D(2, padding=1)),
    (Conv2D(4, 3), AvgPool2D()),
    (Conv2D(4, 3), layers.Dropout(0.5)),
])
def test_left_as_two(first, second):
    model = Sequential([first, second, Flatten(), Dense(2)], random_state=0).build((10, 10, 2))
    assert len(kinds(model)[0]) == 3


def test_another_reader_keeps_the_value():
    model = Sequential([Conv2D(4, 3), layers.Add(MaxPool2D(), MaxPool2D()), Flatten(), Dense(2)], random_state=0)
    names, _ = kinds(model.build((10, 10, 2)))
    assert names == ["conv", "max_pool", "max_pool", "dense"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_is_unfused(dtype):
    model = Sequential(LENET, dtype=dtype, random_state=0).build((12, 13, 1))
    twin = Sequential([layer if not isinstance(layer, Conv2D) else Conv2D(
        **{**layer.get_config(), "algorithm": "direct"}) for layer in LENET], dtype=dtype, random_state=0)
    twin.build((12, 13, 1))
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((37, 12, 13, 1)).astype(dtype), rng.standard_normal((37, 3))
    twin.theta = model.theta
    tol = 1e-12 if dtype == "float64" else 1e-5
    for n in (1, 37):
        close(model.predict(X[:n]), twin.predict(X[:n]), tol)
        for a, b in zip(model.loss_and_grad(X[:n], y[:n], loss="squared_error"),
                        twin.loss_and_grad(X[:n], y[:n], loss="squared_error")):
            close(a, b, tol)
    close(model.jacobian(X[:3]), twin.jacobian(X[:3]), tol)
    for (name, a), b in zip(model.trace(X).items(), twin.trace(X).values()):
        assert a.shape == b.shape, name
        close(a, b, tol)
    shown = summary(model.network)
    assert all(f"\n{name} " in shown for name in ("max_pool2d_1", "conv2d_2", "max_pool2d_3"))


STACK = [Conv2D(3, 3, padding="same", activation="relu"), MaxPool2D(), Flatten(), Dense(2)]


def test_gradient_of_a_stack():
    check_stack_gradient(STACK, (5, 4, 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_bits_of_a_stack(dtype):
    check_rows_and_bits(STACK, (5, 4, 2), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((100, 12, 12, 1)), rng.standard_normal((100, 3))
    results = []
    for threads in (1, 2):
        model = Sequential(LENET, dtype=dtype, random_state=0)
        model.fit(X, y, loss="squared_error", optimizer="adam", batch_size=50, epochs=2, n_threads=threads)
        results.append((model.theta.copy(), model.predict(X, n_threads=threads)))
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)
