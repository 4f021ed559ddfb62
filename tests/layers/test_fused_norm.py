"""BatchNorm with the activation and the 2x2 maxima behind it in one op, against the layers one by one."""
import numpy as np
import pytest
from contract import DTYPES, close
from steps import check_blocks_and_threads, check_same_step, run_model_step

from ldl_cy import Sequential, layers, networks
from ldl_cy._engine import vec
from ldl_cy._engine.plan import Plan
from ldl_cy.layers import Activation, BatchNorm, Conv2D, Dense, MaxPool2D

BOUNDED = ("identity", "relu", "relu6")
TOL = {"float64": 1e-12, "float32": 2e-5}
LENGTHS = np.array([4, 0, 2, 1, 7, 3], np.int32)

pytestmark = pytest.mark.usefixtures("isa")


def kernels(dtype, shape, activation, pool=False, trainable=True):
    """BatchNorm's kernel, those of the layers behind it, and the one that does the work of all."""
    first = BatchNorm(momentum=0.3).build(shape).kernel(dtype)
    if not trainable:
        first.freeze()
    behind = [Activation(activation).build(shape).kernel(dtype)]
    if pool:
        behind.append(MaxPool2D(2).build(shape).kernel(dtype))
    both = first
    for kernel in behind:
        both = both.fuse(kernel, 1000)
    return first, behind, both


def numbers(dtype, shape, n, seed=0):
    """theta, state, x."""
    rng, k = np.random.default_rng(seed), shape[-1]
    theta = np.concatenate([rng.standard_normal(k), 0.5 * rng.standard_normal(k)])
    state = np.concatenate([rng.standard_normal(k), rng.uniform(0.5, 2, k)])
    x = 3 + 2 * rng.standard_normal((n, *shape))
    x.ravel()[rng.integers(0, x.size, x.size // 3)] = 2.5           # equal numbers in windows
    return theta.astype(dtype), state.astype(dtype), x.astype(dtype)


def one_by_one(first, behind, theta, state, x, dy, options):
    """(y, dx, grad, state afterwards) of several ops."""
    state = state.copy()
    y, cache, _ = first.forward(theta, x, state=state, **options)
    values, caches = [y], [cache]
    for kernel in behind:
        y, cache, _ = kernel.forward(np.empty(0, x.dtype), y, **options)
        values.append(y)
        caches.append(cache)
    dy = dy.reshape(y.shape).copy()
    for kernel, x_own, y_own, cache in list(zip(behind, values, values[1:], caches[1:]))[::-1]:
        dx = np.full_like(x_own, np.nan)
        kernel.backward(np.empty(0, x.dtype), x_own, y_own, dy, cache, dx=dx, **options)
        dy = dx
    dx, grad = np.full_like(x, np.nan), np.zeros_like(theta)
    first.backward(theta, x, values[0], dy, caches[0], state=state.copy(), dx=dx, grad=grad, **options)
    return y, dx, grad, state


def check(dtype, shape, n, activation, pool=False, trainable=True, tol=None, **options):
    first, behind, both = kernels(dtype, shape, activation, pool, trainable)
    assert both is not None and both.name == "batch_norm" and both.couples_rows == trainable
    theta, state, x = numbers(dtype, shape, n)
    dy = np.random.default_rng(1).standard_normal((n, both.y_size)).astype(dtype)
    if options.get("lengths") is not None:
        valid = (np.arange(shape[0]) < options["lengths"][:, None]).repeat(both.y_size // shape[0], 1)
        dy *= valid
    expected = one_by_one(first, behind, theta, state, x, dy, options)
    found = one_by_one(both, [], theta, state, x, dy, options)
    tol = TOL[dtype] if tol is None else tol
    if options.get("lengths") is not None:              # past the ends the engine writes zeros
        found, expected = [[a[0] * valid, *a[1:]] for a in (found, expected)]
    for a, b in zip(found, expected):
        close(a, b, tol)
    # inference keeps nothing, and gives what a forward pass with a cache gives
    kept, _, _ = both.forward(theta, x, state=state.copy())
    alone, _, _ = both.forward(theta, x, state=state.copy(), keep=False)
    np.testing.assert_array_equal(alone, kept)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 15, 16, 17, 20, 33, 130, 150, 300])
@pytest.mark.parametrize("n", [1, 2, 7, 83])
def test_any_number_of_channels_and_rows(n, k, dtype):
    check(dtype, (k,), n, "relu", training=n > 1)
    check(dtype, (3, k), n, "relu6", training=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [kind for kind in vec.ACTIVATIONS if kind != "softmax"])
@pytest.mark.parametrize("trainable", [True, False], ids=["trains", "frozen"])
def test_activations(activation, trainable, dtype):
    for training in (True, False):
        check(dtype, (4, 3), 6, activation, trainable=trainable, training=training)
        check(dtype, (4, 2, 18), 6, activation, trainable=trainable, training=training, lengths=LENGTHS.clip(0, 4))
    check(dtype, (700,), 5, activation, trainable=trainable, training=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("image", [(2, 2), (4, 6), (5, 4), (6, 7), (3, 3)])
@pytest.mark.parametrize("activation", BOUNDED)
def test_maxima(activation, image, dtype):
    for k in (16, 19, 48):
        for trainable in (True, False):
            check(dtype, (*image, k), 5, activation, pool=True, trainable=trainable, training=True)


def test_what_is_not_fused():
    def fused(*behind, shape=(4, 4, 16)):
        both = BatchNorm().build(shape).kernel("float32")
        for layer in behind:
            both = both.fuse(layer.build(shape).kernel("float32"), 100)
        return both

    relu = Activation("relu")
    assert fused(Activation("softmax")) is None and fused(Activation("gelu"), shape=(1025,)) is None
    assert fused(Activation("tanh"), MaxPool2D(2)) is None and fused(relu, MaxPool2D(3)) is None
    assert fused(relu, MaxPool2D(2, strides=1)) is None and fused(relu, MaxPool2D(2), shape=(4, 4, 15)) is None
    assert fused(relu, relu) is None and fused(MaxPool2D(2)).y_size == 64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_fused_and_computes_the_same(training, dtype):
    stack = [Conv2D(18, 3, padding="same", use_bias=False), BatchNorm(), Activation("relu"), MaxPool2D(2),
             Conv2D(5, 3), BatchNorm(), Activation("silu"), layers.Flatten(), Dense(9), BatchNorm(trainable=False),
             Activation("relu"), Dense(2)]
    model = Sequential(stack, dtype=dtype, random_state=0).build((9, 10, 2))
    graph, rng = model.network.graph, np.random.default_rng(0)
    X, y = rng.standard_normal((19, 9, 10, 2)).astype(dtype), rng.standard_normal((19, 2))
    assert len(Plan(graph, True, 19, 2).nodes) == 7
    step = check_blocks_and_threads(
        lambda threads, **options: run_model_step(model, X, y, threads, training=training, **options), 20 * TOL[dtype])
    apart = run_model_step(model, X, y, training=training, keep=tuple(range(len(graph.sizes))))
    assert len(apart.plan.nodes) == 11
    for a, b in zip(step[:4], apart[:4]):
        close(a, b, 20 * TOL[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "gelu", "logistic"])
def test_sequences_of_several_lengths(activation, dtype):
    stack = [layers.Conv1D(6, 3, padding="same"), BatchNorm(), Activation(activation),
             layers.Conv1D(3, 3, padding="same"), BatchNorm(), Activation(activation), layers.GlobalAvgPool1D()]
    model = Sequential(stack, dtype=dtype, random_state=0).build((5, 4))
    graph, rng = model.network.graph, np.random.default_rng(0)
    X, y = rng.standard_normal((11, 5, 4)).astype(dtype), rng.standard_normal((11, 3))
    lengths = rng.integers(1, 6, 11).astype(np.int32)
    steps = [run_model_step(model, X, y, lengths=lengths, keep=keep, block_rows=4, lanes=2)
             for keep in ((), tuple(range(len(graph.sizes))))]
    assert [len(step.plan.nodes) for step in steps] == [5, 7]
    for a, b in zip(steps[0][:4], steps[1][:4]):
        close(a, b, 10 * TOL[dtype])
    X[np.arange(5) >= lengths[:, None]] = 7             # steps past the ends are not read
    check_same_step(run_model_step(model, X, y, lengths=lengths, block_rows=4, lanes=2), steps[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 16, 37])
@pytest.mark.parametrize("kind", ["plain", "large mean", "outlier", "trend", "constant", "huge"])
def test_statistics_of_many_rows(kind, k, dtype):
    """To the last digits of the dtype, wherever the numbers are; and finite where squares are not."""
    single = dtype == "float32"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((731, k))
    x = {"plain": x, "large mean": x + (1e4 if single else 1e7), "outlier": np.where(np.arange(731)[:, None], x, 1e3),
         "trend": x + np.arange(731)[:, None], "constant": 0 * x + 0.1, "huge": x * 1e30}[kind].astype(dtype)
    kernel, wide = BatchNorm(momentum=0, epsilon=1e-12).build((k,)).kernel(dtype), x.astype(np.longdouble)
    theta, state = np.repeat([1, 0], k).astype(dtype), np.zeros(2 * k, dtype)
    with np.errstate(over="ignore"):
        y, _, _ = kernel.forward(theta, x, state=state, training=True)
    mean, variance, eps = wide.mean(0), wide.var(0), np.finfo(dtype).eps
    assert (np.abs(state[:k] - mean) <= 2 * eps * np.abs(mean) + eps * np.sqrt(variance)).all()
    assert np.isfinite(y).all()
    if kind != "huge" or not single:                    # where the variance itself overflows float32
        assert (np.abs(state[k:] - variance) <= 20 * eps * variance + eps * np.abs(mean) * np.sqrt(variance)
                + eps * eps).all()
    if kind != "constant":
        close(y, (wide - mean) / np.sqrt(variance), 4e-6 if single else 1e-8)


def test_networks_of_blocks_are_fused():
    model = Sequential([*networks.vgg(), Dense(3)], random_state=0).build((32, 32, 3))
    nodes = [p.node for p in Plan(model.network.graph, True, 8, 1).nodes]
    assert all(node.kernel is None or node.kernel.name != "activation" for node in nodes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 16, 37, 150])
@pytest.mark.parametrize("activation", BOUNDED)
@pytest.mark.parametrize("trainable", [True, False], ids=["trains", "frozen"])
def test_sums(activation, k, trainable, dtype):
    """f(BatchNorm(x) + x2): the numbers of three ops, to the bit, and the gradient of x2 in place of dy's."""
    for shape, n, lengths in (((k,), 7, None), ((k,), 83, None), ((5, k), 1, None), ((7, 2, k), 6, LENGTHS)):
        first, (behind,), _ = kernels(dtype, shape, activation, trainable=trainable)
        summed = first.fuse_add().fuse(behind, 100)
        assert summed.adds and summed.couples_rows == trainable and not summed.recomputed
        theta, state, x = numbers(dtype, shape, n)
        rng = np.random.default_rng(1)
        x2, dy = (rng.standard_normal((n, x[0].size)).astype(dtype) for _ in range(2))
        if lengths is not None:
            x2[np.arange(shape[0]).repeat(2 * k) >= lengths[:, None]] = 0
        options = {"training": True, "lengths": lengths}
        z, kept, _ = first.forward(theta, x, state=state.copy(), **options)
        none = np.empty(0, dtype)
        y, cache, _ = behind.forward(none, z + x2, **options)
        g, dx, grad = np.full_like(y, np.nan), np.full_like(x, np.nan), np.zeros_like(theta)
        behind.backward(none, z + x2, y, dy.copy(), cache, dx=g, **options)
        expected_g = g.copy()
        first.backward(theta, x, z, g, kept, state=state.copy(), dx=dx, grad=grad, **options)
        found, kept, _ = summed.forward(theta, x, state=state.copy(), x2=x2, **options)
        np.testing.assert_array_equal(found, y)
        for wanted in (True, False):            # also where nothing below needs a gradient
            own_dy, own_dx, own_grad = dy.copy(), np.full_like(x, np.nan), np.zeros_like(theta)
            summed.backward(theta, x, found, own_dy, kept.copy(), state=state.copy(), dx=own_dx if wanted else None,
                            grad=own_grad if wanted else None, **options)
            valid = np.ones(dy.shape, bool) if lengths is None else (
                np.arange(shape[0]).repeat(2 * k) < lengths[:, None])
            np.testing.assert_array_equal(own_dy[valid], expected_g[valid])
            if wanted:
                np.testing.assert_array_equal(own_dx, dx)
                np.testing.assert_array_equal(own_grad, grad)


def path(filters, activation="relu", **options):
    return [Conv2D(filters, 3, padding="same", use_bias=False), BatchNorm(**options)] + (
        [Activation(activation)] if activation else [])


RESIDUAL = {                # layers, and how many sums BatchNorm makes
    "identity": ([*path(4), layers.Add([*path(4), *path(4, None)], []), Activation("relu")], 1),
    "first": ([layers.Add(path(3, None), []), Activation("relu6")], 1),
    "projected": ([layers.Add([*path(4), *path(5, None)], path(5, None)), Activation("relu")], 1),
    "beside layers without weights": ([layers.Add(path(3, None), [layers.ZeroPadding2D(1), layers.AvgPool2D(3, 1)]),
                                       Activation("relu")], 1),
    "not activated": ([*path(4), layers.Add([], path(4, None))], 1),
    "another activation": ([*path(4), layers.Add(path(4, None), []), Activation("gelu")], 1),
    "its own input": ([*path(4, "tanh"), layers.Add([BatchNorm()], []), Activation("relu")], 1),
    "a chain": ([*path(4), *[layer for _ in range(3) for layer in (
        layers.Add(path(4, None), []), Activation("relu"))]], 3),
    "three paths": ([*path(4), layers.Add([], path(4, None), path(4)), Activation("relu")], 1),
    "frozen": ([*path(4), layers.Add(path(4, None, trainable=False), []), Activation("relu")], 1),
    "frozen below": ([Conv2D(4, 3, trainable=False), layers.Add([BatchNorm()], [Conv2D(4, 1)]), Activation("relu")], 1),
    "in each other": ([layers.Add([layers.Add(path(3, None), [])], path(3, None)), Activation("relu")], 2),
    "pooled": ([layers.Add(path(16, None), [Conv2D(16, 1)]), Activation("relu"), MaxPool2D(2)], 1),
    "twice": ([*path(4), layers.Add([], []), *path(3)], 0),
    "without norm": ([Conv2D(4, 3), layers.Add([Conv2D(4, 1)], []), layers.Add([Conv2D(4, 1)], [], [])], 0),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("network", RESIDUAL)
def test_residual_networks(network, dtype):
    stack, sums = RESIDUAL[network]
    model = Sequential([*stack, layers.GlobalAvgPool2D(), Dense(2)], dtype=dtype, random_state=0).build((7, 6, 3))
    graph, rng = model.network.graph, np.random.default_rng(0)
    X, y = rng.standard_normal((11, 7, 6, 3)).astype(dtype), rng.standard_normal((11, 2))
    for wanted in (True, False):
        for training in (True, False):
            options = {"training": training, "input_gradient": wanted}
            step = check_blocks_and_threads(
                lambda threads, **blocks: run_model_step(model, X, y, threads, **options, **blocks),  # noqa: B023
                50 * TOL[dtype])
            assert sum(p.node.kernel is not None and p.node.kernel.adds for p in step.plan.nodes) == sums
            apart = run_model_step(model, X, y, keep=tuple(range(len(graph.sizes))), block_rows=2, lanes=3, **options)
            assert not any(p.node.kernel is not None and p.node.kernel.adds for p in apart.plan.nodes)
            for a, b in zip(step[:4], apart[:4]):
                if b is not None:
                    close(a, b, 50 * TOL[dtype])


def test_the_gradient_of_a_sum_is_in_one_place():
    """Down the identities of a chain of blocks nothing is copied."""
    stack, _ = RESIDUAL["a chain"]
    model = Sequential([*stack, layers.GlobalAvgPool2D(), Dense(2)], random_state=0).build((7, 6, 3))
    plan = Plan(model.network.graph, True, 11, 2)
    sums = [p.node for p in plan.nodes if p.node.kernel is not None and p.node.kernel.adds]
    assert len({plan.gradients[v] for node in sums for v in (node.x2, node.y)}) == 1
    assert all(plan.buffers[len(model.network.graph.sizes) + node.x2].offset < 0 for node in sums)


@pytest.mark.parametrize("paths", [
    ([BatchNorm()], "ended"), ("ended", [Dense(4), BatchNorm()]), (["ended", BatchNorm()], "ended"),
], ids=["sequence first", "sequence last", "no sequence"])
def test_sums_with_what_is_no_sequence(paths):
    """Past the ends a path of another shape in between has numbers, which the sum keeps: also at prediction."""
    ended = [layers.GlobalAvgPool1D(), Dense(20), layers.Reshape((5, 4))]
    first, second = ([layer for part in ([path] if path == "ended" else path)
                      for layer in (ended if part == "ended" else [part])] for path in paths)
    model = Sequential([layers.Add(first, second), Activation("relu"), layers.Flatten(), Dense(2)], dtype="float64",
                       random_state=0).build((5, 4))
    graph, rng = model.network.graph, np.random.default_rng(0)
    X, y, lengths = rng.standard_normal((6, 5, 4)), rng.standard_normal((6, 2)), np.array([1, 5, 2, 3, 1, 4], np.int32)
    for training in (True, False):
        step, apart = (run_model_step(model, X, y, lengths=lengths, training=training, keep=keep)
                       for keep in ((), tuple(range(len(graph.sizes)))))
        check_same_step(step, apart)
    predicted = model.predict(X, lengths=lengths)
    close(np.mean((predicted - y)**2), step.loss, 1e-12)
