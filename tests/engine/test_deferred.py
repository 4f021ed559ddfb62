"""Gradients of many weights, made over all rows after the last block."""
import numpy as np
import pytest
from steps import check_same_step, run_model_step

from ldl_cy import Sequential, layers, optimizers
from ldl_cy._engine.plan import DX_COLUMNS, GRADIENT, Plan

N = 37


def network(dtype):
    """Frozen and trainable Dense layers, a sum of two readers, sequences, and an op that couples rows."""
    return Sequential([
        layers.Dense(70, "tanh"), layers.BatchNorm(), layers.Add([layers.Dense(70, "relu")], []),
        layers.Dense(9, "gelu", trainable=False), layers.Dropout(0.2), layers.Flatten(),
        layers.Dense(3, use_bias=False),
    ], dtype=dtype, random_state=0).build((4, 5))


def wide(dtype):
    """Products in several tiles of columns, the first of the gathered input."""
    return Sequential([layers.Dense(600, "tanh"), layers.Dense(300, "gelu"), layers.Dense(3)],
                      dtype=dtype, random_state=0).build(20)


def step(model, threads, **options):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((N, 20)).astype(model.dtype), rng.standard_normal((N, 3))
    return run_model_step(model, x, y, threads, input_gradient=False, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"block_rows": 4, "lanes": 3}], ids=["chosen", "blocks"])
@pytest.mark.parametrize("network", [network, wide])
def test_deferred_is_what_blocks_add_up_to(network, dtype, options):
    model = network(dtype)
    expected = step(model, 1, defer=False, **options)
    first, *others = [step(model, threads, defer=True, **options) for threads in (1, 2, 5)]
    assert sum(kind == GRADIENT for kind, _ in first.plan.actions) == 3
    tol = 1e-12 if dtype == "float64" else 1e-5
    assert abs(first.loss - expected.loss) < tol
    np.testing.assert_allclose(first.grad, expected.grad, rtol=0, atol=tol * np.abs(expected.grad).max())
    for other in others:
        check_same_step(other, first)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tiles_of_columns(dtype):
    """Forward and dx in several tiles; barriers anywhere change nothing."""
    model = wide(dtype)
    options = {"defer": True, "block_rows": 4, "lanes": 3}
    expected = step(model, 1, **options)
    plan = expected.plan
    assert [p.tiled for p in plan.nodes] == [True] * 3 and sum(kind == DX_COLUMNS for kind, _ in plan.actions) == 2
    assert min(plan.nodes[0].node.kernel.column_tiles[0], *plan.nodes[1].node.kernel.column_tiles) > 1
    for cuts in ((0,), (0, 1, 2)):
        for threads in (1, 2):
            check_same_step(step(model, threads, cuts=cuts, **options), expected)


def test_chosen_where_weights_outnumber_the_rows():
    model = Sequential([layers.Dense(256, "relu"), layers.Dense(257, "relu"), layers.Dense(2)],
                       random_state=0).build(254)
    graph = model.network.graph

    def deferred(n, **options):
        return [p.deferred for p in Plan(graph, True, n, 2, **options).nodes]

    assert deferred(257) == [False, True, False]
    assert deferred(258) == [False, False, False]
    assert deferred(257, lanes=2) == deferred(257, defer=False) == [False] * 3
    assert not any(p.deferred for p in Plan(graph, False, 128).nodes)


@pytest.mark.parametrize("optimizer", [
    optimizers.SGD(0.05, momentum=0.9), optimizers.Adam(1e-3, clip_norm=0.1, weight_decay=0.01)], ids=["sgd", "adam"])
def test_fits_on_any_number_of_threads_are_equal(optimizer):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 260)), rng.standard_normal((300, 1))
    thetas = []
    for threads in (1, 2, 3):
        model = Sequential([layers.Dense(300, "relu"), layers.Dense(1)], random_state=0)
        # the last batch is smaller
        model.fit(X, y, loss="squared_error", optimizer=optimizer, epochs=2, batch_size=128, n_threads=threads)
        thetas.append(model.theta.copy())
    for theta in thetas[1:]:
        np.testing.assert_array_equal(theta, thetas[0])
