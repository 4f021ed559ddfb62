"""Networks to torch and back: outputs, names, state dicts and the bits of the weights."""
from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which these tests compare")
pytest.importorskip("hypothesis", reason="the extra 'oracle' brings hypothesis, which draws the networks")

import torch
from cases import PUBLIC, example
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import networks
from oracle.layouts import bits, there
from oracle.problems import compare, make_batch, make_model
from torch import nn

from ldl_cy import Sequential
from ldl_cy import layers as L
from ldl_cy.interop import from_torch, load_torch, to_torch, torch_state_dict
from ldl_cy.layers.activation import ACTIVATIONS

TOL = {"float64": 1e-9, "float32": 2e-5}
torch.set_num_threads(1)


def like(y, shape):
    """torch's output with our order of axes: channels-last, if it has this shape then, else unchanged."""
    moved = y.movedim(1, -1) if y.ndim > 2 else y
    return (moved if tuple(moved.shape) == shape else y).detach().numpy()


def check_both_ways(tally, problem):
    """Outputs there, the same names and arrays as torch has, outputs and weights of the network that comes back."""
    tally.networks["to torch"] += 1
    for dtype in ("float64", "float32"):
        model = make_model(problem, dtype)
        X = make_batch(problem, model.output_shape)[0].astype(dtype)
        module = to_torch(model)
        ours, theirs = torch_state_dict(model), module.state_dict()
        assert list(ours) == list(theirs)
        for name, array in ours.items():
            assert array.tobytes() == theirs[name].numpy().tobytes() and array.dtype == theirs[name].numpy().dtype
        x = there(X, module.order)
        expected = model.predict(X)
        y = module(x.long() if "ids" in problem else x)
        if expected.ndim == 2 or expected.shape[1:-1] != expected.shape[2:]:        # the order of axes is seen
            compare(tally, f"{dtype} to_torch", like(y, expected.shape), expected, TOL[dtype], 1e-1)
        else:
            assert y.numel() == expected.size
        back = from_torch(module, model.input_shape)
        assert back.dtype == dtype and bits(back) == bits(model)
        compare(tally, f"{dtype} from_torch", back.predict(X), expected, TOL[dtype], 1e-1)
        for given_names in ("the same", "others"):
            other = Sequential(problem["stack"], dtype, 1).build(model.input_shape)
            report = load_torch(other, theirs if given_names == "the same" else
                                {f"net.{name}": tensor for name, tensor in theirs.items()})
            assert bits(other) == bits(model)
            assert report.loaded == [*model.parameters, *model.state] and not any(report[1:])


@st.composite
def more_networks(draw):
    """Layers that the other strategies draw seldom or not at all, behind convolutions and in front of Dense."""
    shape = draw(st.sampled_from([(5, 4, 3), (4, 4, 2), (6, 3), (7,)]))
    stack, now = [], shape
    for _ in range(draw(st.integers(1, 4))):
        rank = len(now)
        some = [L.LayerNorm(axis=draw(st.sampled_from([-1, 1, tuple(range(1, rank + 1))]))), L.BatchNorm(),
                L.Permute(tuple(draw(st.permutations(range(1, rank + 1))))), L.Flatten(),
                L.Activation("softmax"), L.Reshape((*now[::-1],)), L.Dense(draw(st.integers(1, 4)), "tanh"),
                L.PReLU(draw(st.sets(st.integers(1, rank)).map(sorted)), "uniform"),
                L.Normalization(axis=draw(st.sampled_from([-1, 1, tuple(range(1, rank + 1)), None])))]
        if rank == 1:
            some += [L.Reshape((1, 1, now[0])), L.Concatenate([L.Dense(2)], [])]
        else:
            padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
            some += [getattr(L, f"ZeroPadding{rank - 1}D")(padding), draw(networks.convolutions(now)),
                     L.Concatenate([L.Flatten()], [L.Activation("tanh"), L.Flatten()])] if rank < 4 else []
            if rank == 3:
                some.append(L.Multiply([], [L.GlobalAvgPool2D(), L.Dense(now[-1], "logistic"),
                                            L.Reshape((1, 1, now[-1]))]))
        stack.append(draw(st.sampled_from(some)))
        now = networks.stack_shape(shape, stack)
    return shape, stack


# without those of RNNs that leak, which PyTorch does not have: they are refused by name
STRATEGIES = {**{name: strategy for name, strategy in vars(networks).items()
                 if name.endswith("_networks") and name != "leaky_networks"},
              "more_networks": more_networks}
COUNTS = {"more_networks": 80}
IDS = ("token_networks", "category_networks")


@pytest.mark.parametrize("name", STRATEGIES)
def test_networks(tally, name):
    @settings(max_examples=COUNTS.get(name, 18), derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(networks.problems(STRATEGIES[name]()))
    def check(problem):
        check_both_ways(tally, {**problem, "ids": 11} if name in IDS else problem)

    check()


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Custom"])
def test_every_layer(tally, name):
    """The example of each in helpers/cases.py, alone and in front of Dense."""
    case = example(name)
    for stack in ([case.layer], [case.layer, L.Flatten(), L.Dense(3)]):
        problem = {"shape": case.input_shape, "stack": stack, "loss": "squared_error", "k": 3, "n": 4,
                   "weighted": False, "seed": 1}
        check_both_ways(tally, {**problem, "ids": 7} if name.endswith("Embedding") else problem)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(tally, name):
    stack = [L.Conv2D(3, 2, activation=name), L.Activation(name), L.Flatten(), L.Dense(4, name)]
    check_both_ways(tally, {"shape": (4, 3, 2), "stack": stack, "loss": "squared_error", "k": 3, "n": 4,
                            "weighted": False, "seed": 1})


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_recurrent_forms(tally, cell):
    kind = getattr(L, cell)
    for bias, sequences, backwards, mode in itertools.product(
            (True, False), (True, False), (True, False), (None, "concat", "sum")):
        layer = kind(3, return_sequences=sequences, go_backwards=backwards, use_bias=bias)
        layer = layer if mode is None else L.Bidirectional(layer, mode)
        check_both_ways(tally, {"shape": (5, 2), "stack": [layer], "loss": "squared_error", "k": 3, "n": 3,
                                "weighted": False, "seed": 1})


def test_a_module_can_be_pickled_and_trained():
    model = Sequential([L.Conv2D(3, 3, activation="relu"), L.MaxPool2D(3, 2, "same"), L.Flatten(), L.Dense(2)],
                       random_state=0).build((6, 6, 1))
    module = pickle.loads(pickle.dumps(to_torch(model)))
    assert not module.training and isinstance(module, nn.Sequential)
    assert next(name for name, _ in module.named_children()) == "conv2d_0"
    before = bits(model)
    optimizer = torch.optim.SGD(module.train().parameters(), 0.1)
    module(torch.randn(4, 1, 6, 6)).square().sum().backward()
    optimizer.step()
    assert bits(model) == before                # copies
    load_torch(model, module.state_dict())
    assert bits(model) != before
    x = np.random.default_rng(0).standard_normal((3, 6, 6, 1)).astype("float32")
    np.testing.assert_allclose(model.predict(x), module(there(x, (2, 0, 1))).detach().numpy(), rtol=1e-5, atol=1e-6)
