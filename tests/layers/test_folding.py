"""BatchNorm in the weights in front of it: predict against the layers one by one, and nothing of it in training."""
import copy

import numpy as np
import pytest
from gradients import check_gradient

from ldl_cy import Sequential, layers, losses
from ldl_cy._engine.graph import Graph
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy.layers import (
    Activation,
    Add,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    MaxPool2D,
    Reshape,
)
from ldl_cy.layers.base import Parameter

DTYPES = ["float32", "float64"]
SIZES = (1, 3, 19)

# layers in front of BatchNorm, shape of the input
FRONT = {
    "dense": ([Dense(13)], (7,)),
    "dense of a sequence": ([Dense(8)], (5, 6)),
    "dense, many vectors": ([Dense(60)], (10, 40)),
    "few channels": ([Conv2D(6, 5)], (9, 8, 1)),
    "few channels, panels": ([Conv2D(20, 2, padding="same")], (5, 6, 2)),
    "3x3": ([Conv2D(24, 3, padding="same", algorithm="winograd")], (10, 9, 16)),
    "3x3 of windows": ([Conv2D(18, 3, algorithm="direct")], (8, 9, 17)),
    "1x1": ([Conv2D(9, 1)], (4, 5, 20)),
    "strides and dilation": ([Conv2D(5, 2, strides=2, dilation_rate=2)], (9, 8, 3)),
    "groups": ([Conv2D(6, 3, groups=2)], (6, 5, 4)),
    "sequence": ([Conv1D(7, 3)], (11, 4)),
    "causal": ([Conv1D(17, 3, padding="causal")], (8, 16)),
    "depthwise": ([Conv2D(6, 3, groups=6, padding="same")], (6, 7, 6)),
    "depthwise sequence": ([Conv1D(5, 3, groups=5)], (9, 5)),
}
BEHIND = {
    "alone": [BatchNorm()],
    "relu": [BatchNorm(epsilon=1e-2), Activation("relu")],
    "tanh": [BatchNorm(), Activation("tanh")],
    "usual slope": [BatchNorm(), Activation("leaky_relu")],
}


def network(stack, shape, dtype="float64", seed=0):
    """A model whose weights and running statistics are nothing special."""
    model = Sequential(copy.deepcopy(stack), dtype=dtype, random_state=seed).build(shape)
    rng = np.random.default_rng(seed)
    for name, values in model.parameters.items():
        if not name.endswith(".kernel"):
            values[...] = rng.standard_normal(values.shape)
    for name, values in model.state.items():
        values[...] = rng.uniform(0.2, 3, values.shape) if name.endswith("variance") else rng.standard_normal(
            values.shape)
    return model


def samples(model, n, seed=1):
    return np.random.default_rng(seed).standard_normal((n, *model.input_shape)).astype(model.dtype)


def ops(model, training=False, keep=()):
    """Names of the kernels of a plan."""
    plan = Plan(model.network.graph, training, 32, 1 if training else 0, keep)
    return [p.node.kernel.name for p in plan.nodes if p.node.kernel is not None]


def close(actual, expected, dtype):
    """Equal up to 1e-12, or 1e-5 in float32, of the largest."""
    np.testing.assert_allclose(actual, expected, rtol=0,
                               atol=(1e-12 if dtype == "float64" else 1e-5) * np.abs(expected).max())


def check(model, seed=1):
    """predict against trace, whose plan keeps every value and so folds nothing."""
    for n in SIZES:
        X = samples(model, n, seed)
        unfolded = list(model.trace(X).values())[-1]
        for out in (model.predict(X), model.predict(X, n_threads=1)):
            close(out, unfolded, model.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("front", FRONT)
def test_as_the_layers_one_by_one(front, behind, use_bias, dtype):
    stack, shape = copy.deepcopy(FRONT[front])
    stack[0].use_bias = use_bias
    model = network(stack + BEHIND[behind], shape, dtype)
    assert len(ops(model)) == 1
    check(model)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack", [
    [Conv2D(6, 5), BatchNorm(), Activation("relu"), MaxPool2D(2)],
    [Conv2D(32, 3), BatchNorm(), MaxPool2D(2)],
    [Conv2D(16, 3, padding="same", algorithm="winograd"), BatchNorm(), Activation("tanh"), MaxPool2D(2)],
], ids=["few channels", "panels", "winograd"])
def test_with_pooling_behind(stack, dtype):
    model = network([*stack, Flatten(), Dense(4), BatchNorm()], (12, 11, 3), dtype)
    assert len(ops(model)) <= 3
    check(model)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_a_deep_network(dtype):
    model = network([
        Conv2D(8, 3, padding="same"), BatchNorm(), Activation("relu"), Conv2D(16, 3, use_bias=False), BatchNorm(),
        Add([], [Conv2D(16, 1), BatchNorm()]), Activation("relu"), Conv2D(16, 3, padding="same"), BatchNorm(),
        GlobalAvgPool2D(), Dense(9), BatchNorm(), Activation("silu"), Dropout(0.5), BatchNorm(), Dense(3)],
        (9, 8, 3), dtype)
    # all but the BatchNorm behind Dropout and the Activation behind Add
    assert ops(model).count("batch_norm") == 1 and ops(model).count("activation") == 1
    check(model)
    targets = np.zeros((5, 3))
    close(model.evaluate(samples(model, 5), targets, loss="squared_error"),
          np.mean(list(model.trace(samples(model, 5)).values())[-1] ** 2), dtype)


NOT_FOLDED = {
    "an activation between": ([Dense(5, "tanh"), BatchNorm()], (3,), 2),
    "another reader": ([Dense(5), Add([], [BatchNorm()])], (3,), 2),
    "other channels": ([Dense(6), Reshape((2, 3)), BatchNorm()], (4,), 2),
    "softmax": ([Dense(6), BatchNorm(), Activation("softmax")], (4,), 2),
    "a slope": ([Dense(6), BatchNorm(), Activation("leaky_relu", 0.3)], (4,), 2),
    "the activation alone": ([Dense(6), Activation("relu")], (4,), 2),
    "many weights": ([Dense(60), BatchNorm(), Dense(2)], (50,), 3),
    "twice": ([Dense(6), BatchNorm(), BatchNorm()], (4,), 2),
    "behind the activation": ([Dense(6), BatchNorm(), Activation("relu"), BatchNorm()], (4,), 2),
}


@pytest.mark.parametrize("case", NOT_FOLDED)
def test_not_folded(case):
    stack, shape, n_ops = NOT_FOLDED[case]
    model = network(stack, shape)
    assert len(ops(model)) == n_ops
    check(model)


def test_kept_values_are_not_folded():
    model = network([Dense(5), BatchNorm(), Activation("relu")], (4,))
    assert ops(model) == ["dense"] and ops(model, keep=(1, 2)) == ["dense", "batch_norm", "activation"]
    assert ops(model, keep=(1,)) == ["dense", "batch_norm"]             # the activation is in its pass
    assert ops(model, keep=(2,)) == ["dense", "activation"]
    X = samples(model, 6)
    p, s, seen = model.parameters, model.state, model.trace(X)
    dense = X @ p["dense_0.kernel"] + p["dense_0.bias"]
    norm = (dense - s["batch_norm_1.mean"]) / np.sqrt(s["batch_norm_1.variance"] + 1e-5)
    norm = norm * p["batch_norm_1.gamma"] + p["batch_norm_1.beta"]
    for values, expected in zip(seen.values(), (dense, norm, np.maximum(norm, 0))):
        close(values, expected, "float64")


@pytest.mark.parametrize("front", ["dense", "few channels", "3x3", "depthwise"])
def test_weights_and_statistics_written_between_predicts(front):
    stack, shape = FRONT[front]
    model = network([*stack, BatchNorm(), Activation("tanh"), Flatten(), Dense(2)], shape)
    rng, X = np.random.default_rng(3), samples(model, 3)
    seen = [model.predict(X)]

    def follows():
        seen.append(model.predict(X))
        assert not np.array_equal(seen[-1], seen[-2])
        check(model)

    check(model)
    for values in (*model.parameters.values(), *model.state.values()):
        values += rng.uniform(0.1, 0.5, values.shape)
        follows()
    model.theta[:] = 0.9 * model.theta
    follows()
    model.theta = 1.1 * model.theta
    follows()
    model.fit(samples(model, 20), np.ones((20, 2)), loss="squared_error", epochs=2, batch_size=10)
    follows()


def test_a_channel_that_never_varied():
    """a = gamma / sqrt(epsilon)"""
    model = network([Dense(3), BatchNorm()], (4,), "float32")
    model.state["batch_norm_1.variance"][...] = 0
    check(model)


@pytest.mark.parametrize("stack", [
    [Dense(5), BatchNorm(), Activation("tanh"), layers.GRU(3)],
    [Conv1D(5, 3, padding="same"), BatchNorm(), Conv1D(4, 3, padding="causal"), BatchNorm(), layers.LSTM(3)],
    [Conv1D(16, 3, padding="same"), BatchNorm(), Activation("logistic"), layers.GlobalMaxPool1D()],
    [layers.GRU(6, return_sequences=True), Dense(6), BatchNorm(), Activation("relu"), layers.GlobalAvgPool1D()],
    [layers.GRU(6), Dense(6), BatchNorm(), Activation("relu")],
], ids=["dense", "convolutions", "pooling", "behind a recurrence", "behind the last step"])
def test_sequences_of_several_lengths(stack):
    """As each sequence by itself."""
    model = network(stack, (8, 3))
    assert "batch_norm" not in ops(model)
    X, lengths = samples(model, 6), np.array([8, 1, 3, 7, 2, 8])
    out = model.predict(X, lengths=lengths)
    for i, n in enumerate(lengths):
        short = Sequential(copy.deepcopy(stack), dtype="float64", random_state=0).build((int(n), 3))
        short.theta[:] = model.theta
        for name, values in short.state.items():
            values[...] = model.state[name]
        close(out[i:i + 1], list(short.trace(X[i:i + 1, :n]).values())[-1], "float64")


def test_lengths_are_not_taken_for_another_axis():
    model = network([layers.GRU(6), Reshape((2, 3)), Dense(3), BatchNorm()], (8, 2))
    assert "batch_norm" in ops(model)


@pytest.mark.parametrize("places", [(0, 18), (10, 0), (0, 20)])         # of the weights of Dense and BatchNorm
def test_weights_with_others_between(places):
    """What is folded reads one range of theta."""
    rng, graph, x = np.random.default_rng(0), Graph("float64", (5,)), 0
    theta, state = rng.standard_normal(30), rng.uniform(0.5, 2, 6)
    for layer, place in zip((Dense(3), BatchNorm()), places):
        built = layer.build(graph.shapes[x])
        x = graph.add_kernel(built.kernel("float64"), x, (3,), theta=place)
    graph.place(graph.parameters, (Parameter("all", (30,), "zeros"),), "all", True)
    graph.place(graph.state, built.state, "norm", True)
    plan = Plan(graph, False, 7, output=graph.buffers[x])
    assert len(plan.nodes) == (1 if places == (0, 18) else 2)
    X, out = rng.standard_normal((7, 5)), np.empty((7, 3))
    with Pool(1) as pool:
        Workspace(plan, 1).predict(X, out, theta, state, pool)
    dense, norm = theta[places[0]:], theta[places[1]:]
    z = X @ dense[:15].reshape(5, 3) + dense[15:18]
    close(out, norm[:3] * (z - state[:3]) / np.sqrt(state[3:] + 1e-5) + norm[3:6], "float64")


@pytest.mark.parametrize("far", ["bias", "product"])
def test_a_large_mean(far):
    """As good as the layers one by one, against float64."""
    model = network([Dense(8), BatchNorm()], (20,), "float32")
    X, p = samples(model, 64), model.parameters
    if far == "bias":
        p["dense_0.bias"][...] = 1e4
    else:
        X[:, 0] = 1e4
    z = X.astype(float) @ p["dense_0.kernel"] + p["dense_0.bias"]
    model.state["batch_norm_1.mean"][...], model.state["batch_norm_1.variance"][...] = z.mean(0), z.var(0)
    mean, variance = (model.state[f"batch_norm_1.{name}"].astype(float) for name in ("mean", "variance"))
    exact = p["batch_norm_1.gamma"] * (z - mean) / np.sqrt(variance + 1e-5) + p["batch_norm_1.beta"]
    folded, unfolded = (np.abs(y - exact).max() for y in (model.predict(X), list(model.trace(X).values())[-1]))
    assert folded < 4 * unfolded


def test_nothing_is_folded_in_training():
    model = network([Dense(5), BatchNorm(), Activation("tanh"), Dense(2), BatchNorm()], (4,))
    assert ops(model, training=True) == ["dense", "batch_norm", "dense", "batch_norm"]      # the second one with tanh
    assert ops(model) == ["dense", "dense"]
    X, y = samples(model, 12), np.random.default_rng(2).standard_normal((12, 2))
    for training in (True, False):
        f = model.objective(X, y, loss=losses.SquaredError(), training=training)
        check_gradient(lambda theta, f=f: f(theta)[0], model.theta, f(model.theta)[1])
