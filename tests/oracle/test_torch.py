"""The library against PyTorch: networks drawn at random, their outputs, their losses and every gradient.

PyTorch computes in float64 on the very numbers that the library has, so that an error is the library's own,
in float32 too.
"""
from __future__ import annotations

from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which these tests compare")
pytest.importorskip("hypothesis", reason="the extra 'oracle' brings hypothesis, which draws the networks")

import torch
from cases import PUBLIC, example
from contract import run
from oracle import networks, twin
from oracle.problems import compare, make_batch, make_model

from ldl_cy import Sequential, layers, losses
from ldl_cy.layers.activation import ACTIVATIONS
from ldl_cy.optimizers import SGD

OUTPUT_TOL = {"float64": 1e-9, "float32": 3e-5}
GRADIENT_TOL = {"float64": 1e-9, "float32": 6e-4}

# A single number may cancel to almost nothing, and is then as exact as its parts: entries count as no less.
OUTPUT_FLOOR, GRADIENT_FLOOR = 1e-1, 1e-3

torch.set_num_threads(1)        # these networks are tiny


def loss_of(problem):
    if problem["loss"] in ("codes", "probabilities"):
        return losses.LogLoss(label_smoothing=problem["smoothing"]), "log_loss"
    return problem["loss"], problem["loss"]


def check_network(tally, kind, problem, training=False):
    """Compare outputs, losses and gradients; in training (statistics of the batch) losses and gradients."""
    tally.networks[kind] += 1
    tally.layers.update(type(layer).__name__ for layer in problem["stack"])
    # a value within float32's rounding of a kink may have another slope there
    kinked = any(networks.kinked(layer) for layer in problem["stack"])
    for dtype in ["float64"] if kinked else ["float64", "float32"]:
        model = make_model(problem, dtype)
        X, y, weights = make_batch(problem, model.output_shape)
        loss, loss_name = loss_of(problem)

        p = twin.tensors(model.parameters)
        state = {name: value for name, value in twin.tensors(model.state, grad=False).items()
                 if not (training and "batch_norm" in name)}
        out = twin.forward(problem["stack"], {**p, **state}, torch.tensor(X))
        w = None if weights is None else torch.tensor(weights)
        expected = twin.loss(loss_name, out, torch.tensor(y), w, problem["smoothing"])
        expected.backward()

        if not training:
            compare(tally, f"{dtype} outputs", model.predict(X.astype(dtype)), out.detach(),
                    OUTPUT_TOL[dtype], OUTPUT_FLOOR)
        value, grad = model.loss_and_grad(
            X.astype(dtype), y, loss=loss, sample_weight=weights, training=training)
        compare(tally, f"{dtype} losses", value, expected.item(), OUTPUT_TOL[dtype], OUTPUT_FLOOR)
        compare_gradients(tally, dtype, model, grad, p)


def compare_gradients(tally, dtype, model, grad, p):
    """Each parameter's gradient by its name, against its own largest entry.

    That entry is taken as at least a thousandth of the largest of all: where the parts of a gradient cancel
    (a bias before a softmax), what is left is the rounding of the parts.
    """
    floor = max(GRADIENT_FLOOR, 1e-3 * max(float(t.grad.abs().max()) for t in p.values()))
    start = 0
    assert list(model.parameters) == list(p)
    for name, values in model.parameters.items():
        part = grad[start:start + values.size].reshape(values.shape)
        start += values.size
        try:
            compare(tally, f"{dtype} gradients", part, p[name].grad, GRADIENT_TOL[dtype], floor)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    assert start == grad.size


@networks.drawn(networks.dense_networks(), 80)
def test_dense(tally, problem):
    check_network(tally, "dense", problem)


@networks.drawn(networks.conv2d_networks(), 120)
def test_conv2d(tally, problem):
    check_network(tally, "conv2d", problem)


@networks.drawn(networks.conv1d_networks(), 100)
def test_conv1d(tally, problem):
    check_network(tally, "conv1d", problem)


@networks.drawn(networks.recurrent_networks(), 100)
def test_recurrent(tally, problem):
    check_network(tally, "recurrent", problem)


@networks.drawn(networks.leaky_networks(), 60)
def test_states_that_leak(tally, problem):
    check_network(tally, "leaky", problem)


@networks.drawn(networks.normalized_networks(), 80)
def test_normalized(tally, problem):
    check_network(tally, "normalized", problem)
    if not any(isinstance(layer, (layers.Dropout, layers.GaussianNoise)) for layer in problem["stack"]):
        # statistics of a batch that has some
        check_network(tally, "normalized", {**problem, "n": problem["n"] + 8}, training=True)


@networks.drawn(networks.branching_networks(), 80)
def test_branches(tally, problem):
    check_network(tally, "branches", problem)


@networks.drawn(networks.bidirectional_networks(), 60)
def test_bidirectional(tally, problem):
    check_network(tally, "bidirectional", problem)


@networks.drawn(networks.token_networks(), 40)
def test_tokens(tally, problem):
    check_network(tally, "tokens", {**problem, "ids": 11})


@networks.drawn(networks.category_networks(), 40)
def test_categories(tally, problem):
    check_network(tally, "categories", {**problem, "ids": 11})


@networks.drawn(networks.mixed_networks(), 60)
def test_mixed(tally, problem):
    check_network(tally, "mixed", problem)


# One case for each feature, so that each is met whatever the drawing brings.

L = layers
DESIGNED = {
    **{f"activation_{name}": ((5, 6), [L.Dense(7, name), L.Activation(name)])
       for name in ACTIVATIONS},
    "conv2d_same_odd": ((7, 8, 3), [L.Conv2D(4, (2, 3), (2, 3), "same", activation="tanh")]),
    "conv2d_pads": ((5, 6, 2), [L.Conv2D(4, 3, 2, (2, 1), dilation_rate=(1, 2), activation="tanh")]),
    "conv2d_sides": ((6, 5, 2), [L.Conv2D(4, 3, 2, ((2, 0), (0, 1)), activation="tanh")]),
    "conv2d_sides_winograd": ((7, 6, 16), [L.Conv2D(16, 3, padding=((2, 0), (1, 2)), algorithm="winograd")]),
    "conv1d_sides": ((15, 3), [L.Conv1D(4, 3, 1, (3, 1), 2, activation="tanh")]),
    "conv2d_depthwise": ((6, 5, 4), [L.Conv2D(4, 3, 1, "same", groups=4, activation="tanh")]),
    "conv2d_depthwise_dilated": ((9, 8, 4), [L.Conv2D(4, (3, 2), (2, 1), 1, (2, 3), 4)]),
    "conv2d_depth_multiplier": ((6, 5, 3), [L.Conv2D(6, 3, groups=3)]),
    "conv2d_groups": ((6, 5, 6), [L.Conv2D(9, 3, groups=3, activation="silu")]),
    "conv2d_wide": ((20, 21, 16), [
        L.Conv2D(24, 3, 1, "same", activation="tanh"), L.Conv2D(8, 5, 2)]),
    "conv2d_1x1": ((6, 7, 5), [L.Conv2D(6, 1, activation="gelu"), L.Conv2D(3, 1, 2)]),
    "conv1d_causal": ((15, 3), [
        L.Conv1D(4, 3, 1, "causal", 4, activation="tanh"), L.Conv1D(4, 2, 2, "causal")]),
    "conv1d_depthwise": ((15, 4), [L.Conv1D(4, 5, 2, "same", groups=4, activation="tanh")]),
    **{f"{kind}_pool2d_{padding}":
       ((7, 6, 3), [getattr(L, f"{kind}Pool2D")(3, 2, padding), L.Dense(4, "tanh")])
       for kind in ("Max", "Avg") for padding in ("valid", "same", 1, 2)},
    **{f"{kind}_pool1d_{padding}":
       ((11, 3), [getattr(L, f"{kind}Pool1D")(4, 3, padding), L.Dense(4, "tanh")])
       for kind in ("Max", "Avg") for padding in ("valid", "same", 1, 2, 3)},
    **{f"{kind}_pool2d_sides": ((7, 6, 3), [
        getattr(L, f"{kind}Pool2D")(3, 2, ((0, 1), (2, 0))), L.Dense(4, "tanh")]) for kind in ("Max", "Avg")},
    **{f"{kind}_pool1d_sides": ((11, 3), [getattr(L, f"{kind}Pool1D")(4, 3, (0, 3)), L.Dense(4, "tanh")])
       for kind in ("Max", "Avg")},
    **{f"permute_{''.join(map(str, dims))}": ((6, 5, 3)[:len(dims)], [
        L.Dense(3, "tanh"), L.Permute(dims), L.Dense(4, "tanh")])
       for dims in ((2, 1), (2, 1, 3), (3, 1, 2), (3, 2, 1))},
    **{f"global_{kind}_pool{d}d":
       ((5, 4, 3)[2 - d:], [L.Dense(4, "tanh"), getattr(L, f"Global{kind}Pool{d}D")()])
       for kind in ("Max", "Avg") for d in (1, 2)},
    **{f"{cell}_{'sequence' if seq else 'last'}_{'backwards' if back else 'forwards'}":
       ((8, 3), [getattr(L, cell)(5, return_sequences=True),
                 getattr(L, cell)(4, return_sequences=seq, go_backwards=back)])
       for cell in ("RNN", "LSTM", "GRU") for seq in (False, True) for back in (False, True)},
    "rnn_relu": ((8, 3), [L.RNN(5, "relu", return_sequences=True), L.RNN(4, "relu")]),
    **{f"{cell}_long": ((70, 5), [getattr(L, cell)(33)]) for cell in ("RNN", "LSTM", "GRU")},
}


@pytest.mark.parametrize("name", DESIGNED)
def test_designed(tally, name):
    shape, stack = DESIGNED[name]
    for n, loss in ((1, "squared_error"), (6, "codes"), (70, "binary_log_loss")):
        check_network(tally, "designed", {
            "shape": shape, "stack": [*stack, L.Dense(3)], "loss": loss, "smoothing": 0.0, "k": 3, "n": n,
            "weighted": n == 6, "seed": n})


@pytest.mark.parametrize("name", PUBLIC)
def test_every_layer(tally, name):
    """The example of each in helpers/cases.py."""
    case = example(name)
    assert name in twin.APPLY, f"{name} has no twin in tests/helpers/oracle/twin.py"
    for n, loss in ((1, "squared_error"), (6, "codes")):
        problem = {"shape": case.input_shape, "stack": [case.layer, L.Flatten(), L.Dense(3)], "loss": loss,
                   "smoothing": 0.0, "k": 3, "n": n, "weighted": n == 6, "seed": n}
        check_network(tally, "every layer", {**problem, "ids": 7} if name.endswith("Embedding") else problem)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss(tally, name):
    """For vectors and for steps, of few rows and many."""
    assert name in twin.LOSSES, f"{name} has no twin in tests/helpers/oracle/twin.py"
    loss, stack = "codes" if name == "log_loss" else name, [L.Dense(7, "tanh"), L.Dense(3)]
    for shape in ((5,), (4, 5)):
        for n in (1, 6, 40):
            check_network(tally, "every loss", {
                "shape": shape, "stack": stack, "loss": loss, "smoothing": 0.0, "k": 3, "n": n, "weighted": n == 6,
                "seed": n})


def kinds(layer):
    """Names of the classes of a layer and of those within it."""
    inner = [each for path in getattr(layer, "paths", ()) for each in path]
    inner += [layer.layer] if hasattr(layer, "layer") else []
    return {type(layer).__name__}.union(*map(kinds, inner))


@cache
def drawn_kinds():
    """What a few networks of each strategy are made of, without computing anything."""
    found = set()
    for name, strategy in vars(networks).items():
        if name.endswith("_networks"):
            networks.drawn(strategy(), 200)(lambda problem: found.update(*map(kinds, problem["stack"])))()
    return found


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Custom"])
def test_every_layer_is_drawn(name):
    assert name in drawn_kinds(), f"{name} is not drawn in tests/helpers/oracle/networks.py"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_drawn(name):
    assert name in networks.SMOOTH + networks.KINKED, f"{name} is not in tests/helpers/oracle/networks.py"
    assert name in twin.ACTIVATIONS, f"{name} has no twin in tests/helpers/oracle/twin.py"


# Layers that a version may lack: name -> ((input shape, layers), ...), made where the name is there.
NEWER = {
    "BatchNorm": lambda: [
        ((7,), [L.Dense(5, "tanh"), L.BatchNorm(0.8, 1e-3), L.Dense(4, "silu")]),
        ((6, 5, 3), [L.Conv2D(4, 3, use_bias=False), L.BatchNorm(), L.Activation("gelu"), L.Flatten()]),
        ((9, 3), [L.BatchNorm(), L.GRU(4, return_sequences=True), L.BatchNorm()])],
    "LayerNorm": lambda: [
        ((7,), [L.LayerNorm(1e-3), L.Dense(5, "tanh"), L.LayerNorm()]),
        ((6, 5, 3), [L.Conv2D(4, 3), L.LayerNorm(), L.Activation("gelu"), L.Flatten()]),
        ((9, 3), [L.LSTM(4, return_sequences=True), L.LayerNorm(axis=1)]),
        ((5, 4, 3), [L.Conv2D(4, 3, padding="same"), L.LayerNorm(axis=(1, 3)), L.Activation("gelu"),
                     L.LayerNorm(axis=2)])],
    "Normalization": lambda: [
        ((7,), [L.Normalization(0.5, 3.0), L.Dense(5, "tanh")]),
        ((6, 5, 3), [L.Normalization((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)), L.Conv2D(4, 3),
                     L.Normalization(0.1, 2.0, (1, 3)), L.Flatten()]),
        ((9, 3), [L.Dense(4), L.Normalization(0.25, 2.0, None), L.GRU(4)])],
    "Embedding": lambda: [
        ((8,), [L.Embedding(11, 4), L.GRU(5)]),
        ((8,), [L.Embedding(11, 3), L.Flatten(), L.Dense(4, "tanh")])],
    "Add": lambda: [
        ((5,), [L.Dense(4), L.Add([L.Dense(6, "tanh"), L.Dense(4)], []), L.Activation("tanh")]),
        ((6, 5, 2), [L.Conv2D(3, 1),
                     L.Add([L.Conv2D(3, 3, padding="same", activation="elu")], [L.Conv2D(3, 1)], []),
                     L.Flatten()]),
        ((5,), [L.Add([L.Add([L.Dense(5, "tanh")], []), L.Dense(3)], [L.Dense(3, "gelu")])])],
    "Multiply": lambda: [
        ((5,), [L.Dense(4), L.Multiply([L.Dense(6, "tanh"), L.Dense(4)], [], []), L.Activation("tanh")]),
        ((6, 5, 2), [L.Conv2D(8, 1), L.Multiply([], [
            L.GlobalAvgPool2D(), L.Reshape((1, 1, 8)), L.Dense(3, "silu"), L.Dense(8, "hard_sigmoid")]), L.Flatten()]),
        ((7, 3), [L.Multiply(L.Dense(9, "tanh"), L.Dense(1, "logistic")), L.GRU(3)]),
        ((4, 5, 2), [L.Multiply(L.Conv2D(3, (4, 1)), [L.Conv2D(1, (1, 5)), L.Activation("gelu")]), L.Flatten()])],
    "Concatenate": lambda: [
        ((5,), [L.Concatenate([L.Dense(6, "tanh"), L.Dense(4)], [], [L.Dense(3, "silu")])]),
        ((6, 5, 2), [L.Concatenate([L.Conv2D(3, 3, padding="same", activation="elu")],
                                   [L.Conv2D(2, 1), L.Conv2D(3, 5, padding="same")],
                                   [L.AvgPool2D(3, 1, "same")], []), L.Flatten()]),
        ((8, 3), [L.Concatenate([L.LSTM(4)], [L.Conv1D(4, 3, activation="tanh"), L.GlobalAvgPool1D()])])],
    "Bidirectional": lambda: [
        ((7, 3), [L.Bidirectional(getattr(L, cell)(4, return_sequences=seq), mode), L.Activation("tanh")])
        for cell in ("RNN", "LSTM", "GRU") for seq in (False, True) for mode in ("concat", "sum")],
}


@pytest.mark.parametrize("name", NEWER)
def test_newer_layers(tally, name):
    for shape, stack in NEWER[name]():
        for n, loss in ((5, "codes"), (40, "squared_error")):
            problem = {"shape": shape, "stack": [*stack, L.Dense(3)], "loss": loss, "smoothing": 0.0, "k": 3,
                       "n": n, "weighted": n == 5, "seed": n}
            if name == "Embedding":
                problem["ids"] = 11
            check_network(tally, "newer", problem)
            if name == "BatchNorm":
                check_network(tally, "newer", problem, training=True)


def test_running_statistics(tally):
    """Three steps that move no weight: PyTorch's averages, with its variance made biased."""
    X = np.random.default_rng(0).standard_normal((12, 4, 3)) * 2 + 1
    layer = L.BatchNorm(0.7)
    model = Sequential([layer, L.Dense(2)], dtype="float64", random_state=0).build((4, 3))
    theirs = torch.nn.BatchNorm1d(3, momentum=0.3, dtype=torch.float64)
    y, count = np.zeros((12, 4, 2)), X.size // 3
    for step in range(1, 4):
        model.fit(X, y, loss="squared_error", optimizer=SGD(1e-300), batch_size="full", epochs=1)
        theirs(torch.tensor(X).movedim(-1, 1))
        kept = 0.7**step                # the share of the ones at which the variances begin
        biased = kept + (theirs.running_var - kept) * (count - 1) / count
        for key, expected in (("mean", theirs.running_mean), ("variance", biased)):
            compare(tally, "float64 running statistics", model.state[f"batch_norm_0.{key}"], expected, 1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("go_backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("return_sequences", [False, True], ids=["last", "sequence"])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_lengths(tally, cell, return_sequences, go_backwards, dtype):
    """Sequences of different lengths in one batch, against packed sequences: outputs and both gradients."""
    for seed, (n, steps, n_in, units) in enumerate([(5, 6, 3, 4), (9, 12, 2, 7), (40, 9, 5, 20)]):
        layer = getattr(L, cell)(units, return_sequences=return_sequences, go_backwards=go_backwards)
        built = layer.build((steps, n_in))
        kernel = built.kernel(dtype)
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, steps + 1, n).astype(np.int32)
        theta = (0.4 * rng.standard_normal(kernel.n_params)).astype("float32").astype(dtype)
        x = rng.standard_normal((n, steps, n_in)).astype("float32").astype(dtype)

        p, start = {}, 0
        for parameter in built.parameters:
            part = theta[start:start + parameter.size].reshape(parameter.shape)
            p |= twin.tensors({parameter.name: part})
            start += parameter.size
        tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        expected = twin.APPLY[cell](layer, p, tx, lengths)
        dy = rng.standard_normal(expected.shape)
        expected.backward(torch.tensor(dy))

        y, dx, grad = run(kernel, theta, x, dy, lengths=lengths)
        compare(tally, f"{dtype} outputs", y.reshape(expected.shape), expected.detach(), OUTPUT_TOL[dtype])
        compare(tally, f"{dtype} gradients", dx, tx.grad, GRADIENT_TOL[dtype])
        compare(tally, f"{dtype} gradients", grad, torch.cat([t.grad.ravel() for t in p.values()]),
                GRADIENT_TOL[dtype])
        tally.networks["lengths"] += 1
