"""BatchNorm's output, made a second time for the backward pass: the bits of a plan that keeps it, in less memory."""
import numpy as np
import pytest
from steps import run_model_step

from ldl_cy import Sequential, layers
from ldl_cy._engine.plan import BACKWARD, RECOMPUTE, REDUCE_BACK, Plan
from ldl_cy.layers import Activation, BatchNorm, Conv2D, Dense, Flatten, GlobalAvgPool2D, MaxPool2D

IMAGE = (7, 6, 3)


def conv(filters, activation="relu", **options):
    return [Conv2D(filters, 3, padding="same", use_bias=False), BatchNorm(**options), Activation(activation)]


def residual(shortcut=()):
    return [layers.Add([*conv(5), Conv2D(5, 3, padding="same"), BatchNorm()], list(shortcut)), Activation("relu")]


END = [GlobalAvgPool2D(), Dense(2)]
NETWORKS = {                # layers, and how many outputs are made again
    "stack": ([*conv(16), *conv(17), MaxPool2D(2), Flatten(), Dense(2)], 1),
    "deep": ([*conv(4), *conv(5, "gelu"), *conv(6, "relu6"), *conv(3, "identity"), *END], 3),
    "read by BatchNorm": ([*conv(4, "tanh"), *conv(3, "logistic"), *END], 0),
    "pooled": ([*conv(16), MaxPool2D(2), *conv(16), MaxPool2D(2), *conv(3), *END], 2),
    "first": ([BatchNorm(), Activation("relu"), *conv(4), *END], 1),
    "residual": ([*conv(5), *residual(), *residual([Conv2D(5, 1), BatchNorm()]), *END], 2),
    "joined": ([*conv(4), layers.Concatenate(conv(3), conv(2)), *conv(3), *END], 0),
    "factors": ([*conv(4), layers.Multiply([Conv2D(4, 1), Activation("logistic")], []), *conv(3), *END], 1),
    "frozen": ([*conv(4), *conv(5, trainable=False), *conv(3), *END], 1),
    "frozen below": ([Conv2D(4, 3, trainable=False), BatchNorm(trainable=False), Activation("relu"), *conv(3), *END],
                     0),
}


def model_of(stack, shape, dtype="float32"):
    return Sequential(stack, dtype=dtype, random_state=0).build(shape)


def check_same(found, expected):
    for a, b in zip(found[:4], expected[:4]):
        np.testing.assert_array_equal(a, b)


def count(plan):
    return sum(kind == RECOMPUTE for kind, _ in plan.actions)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_bits(network, dtype):
    stack, expected = NETWORKS[network]
    model, rng = model_of(stack, IMAGE, dtype), np.random.default_rng(0)
    X, y = rng.standard_normal((11, *IMAGE)).astype(dtype), rng.standard_normal((11, 2))
    for training in (True, False):
        for blocks in ({"block_rows": 2, "lanes": 3}, {"block_rows": 11, "lanes": 1}, {"block_rows": 3, "lanes": 2}):
            for wanted in (True, False):
                options = {"training": training, "input_gradient": wanted, **blocks}
                kept = run_model_step(model, X, y, recompute=False, **options)
                for threads in (1, 2, 3):
                    step = run_model_step(model, X, y, threads, **options)
                    assert count(step.plan) == expected and count(kept.plan) == 0
                    check_same(step, kept)


@pytest.mark.parametrize("network", NETWORKS)
def test_less_memory(network):
    graph = model_of(NETWORKS[network][0], IMAGE).network.graph
    for rows in (1, 5, 64, 300):
        plan, kept = [Plan(graph, True, rows, 2, recompute=recompute) for recompute in (True, False)]
        assert plan.whole <= kept.whole and (plan.whole < kept.whole or not plan.again)
        assert plan.lanes == kept.lanes and plan.block_rows <= kept.block_rows


def test_values_are_made_just_before_they_are_read():
    model = model_of(NETWORKS["stack"][0], IMAGE)
    plan = Plan(model.network.graph, True, 8, 2)
    (at, i), = [(t, i) for t, (kind, i) in enumerate(plan.actions) if kind == RECOMPUTE]
    assert plan.actions[at + 1:at + 3] == [(BACKWARD, i + 1), (REDUCE_BACK, i)]
    assert any(first <= at and at + 3 == last for first, last, _ in plan.phases)
    node = plan.nodes[i].node
    assert not plan.buffers[node.y].whole and not plan.buffers[plan.again[node.y]].whole
    # what is kept of a row in either case: both inputs of BatchNorm and the gradients at both barriers
    full = Plan(model.network.graph, True, 8, 2, recompute=False)
    assert full.whole - plan.whole == 7 * 6 * 16


def test_what_is_kept_is_not_made_again():
    model = model_of(NETWORKS["stack"][0], IMAGE)
    graph = model.network.graph
    plan = Plan(graph, True, 8, 2)
    y = next(iter(plan.again))
    kept = Plan(graph, True, 8, 2, keep=(y,))
    assert count(kept) == 0 and kept.buffers[y].whole
    assert count(Plan(graph, False, 8, 2)) == 0                     # nor where there is no backward pass
    # a gradient over all rows at the end reads its input whole
    dense = model_of([Dense(4), BatchNorm(), Activation("relu"), Dense(5), BatchNorm(), Dense(2)], (3,))
    assert count(Plan(dense.network.graph, True, 8, 2)) == 1
    assert count(Plan(dense.network.graph, True, 8, 2, defer=True)) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sequences_of_several_lengths(dtype):
    stack = []
    for filters, kind in ((6, "relu"), (3, "gelu"), (3, "identity")):
        stack += [layers.Conv1D(filters, 3, padding="same"), BatchNorm(), Activation(kind)]
    stack += [layers.GlobalAvgPool1D(), Dense(2)]
    model, rng = model_of(stack, (5, 4), dtype), np.random.default_rng(0)
    X, y = rng.standard_normal((11, 5, 4)).astype(dtype), rng.standard_normal((11, 2))
    lengths = rng.integers(1, 6, 11).astype(np.int32)
    options = {"lengths": lengths, "block_rows": 2, "lanes": 3}
    kept = run_model_step(model, X, y, recompute=False, **options)
    for threads in (1, 3):
        step = run_model_step(model, X, y, threads, **options)
        assert count(step.plan) == 2
        check_same(step, kept)
