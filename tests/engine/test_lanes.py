"""Lanes, the accumulators of a gradient: they are added as a binary tree, by gradients and by updates."""
import numpy as np
import pytest

from ldl_cy import layers, losses, optimizers
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.train import train
from ldl_cy._engine.tree import tree_additions
from ldl_cy.network import Network

N, RATE = 24, 0.5


def made(dtype, lanes, threads=1):
    """A network, its data, and a workspace with this number of lanes."""
    network = Network.build([layers.Dense(40, "tanh"), layers.Dense(3)], (70,), dtype, 0)
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((N, 70)) * 10.0 ** rng.integers(-3, 3, (N, 1))).astype(dtype)
    targets, kernel = losses.SquaredError().encode_targets(rng.standard_normal((N, 3)), N, (3,), dtype)
    workspace = Workspace(Plan(network.graph, True, N, 3, lanes=lanes, defer=False), threads)
    workspace.share_above = 0
    return network, (X, targets, None), kernel, workspace


def of_lanes(dtype, lanes):
    """Each lane's share of the gradient of the mean loss."""
    network, data, kernel, workspace = made(dtype, lanes)
    with Pool(1) as pool:
        workspace.gradient(*data, network.theta, network.statistics, kernel, None, pool)
    return workspace.lane_gradients().copy()


def pairwise(parts):
    """The sum of the two halves' sums; an odd one is added last at each level."""
    while len(parts) > 1:
        parts = [parts[i] + parts[i + 1] if i + 1 < len(parts) else parts[i] for i in range(0, len(parts), 2)]
    return parts[0]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 8, 13, 64])
def test_the_order_of_the_sums(n):
    values = list(np.random.default_rng(n).standard_normal(n))
    expected = pairwise(values)
    for i, j in tree_additions(n):
        values[i] += values[j]
    assert values[0] == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
def test_a_gradient_is_the_sum_in_this_order(dtype, lanes):
    shares = of_lanes(dtype, lanes)
    for threads in (1, 2):
        network, data, kernel, workspace = made(dtype, lanes, threads)
        grad = np.empty(network.n_params, dtype)
        with Pool(threads) as pool:
            workspace.gradient(*data, network.theta, network.statistics, kernel, grad, pool)
        np.testing.assert_array_equal(grad, pairwise(list(shares)))
    if lanes == 8:
        assert not np.array_equal(grad, shares.sum(axis=0))     # in order: the data tell the two from each other


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_update_is_by_this_sum(dtype, lanes, threads):
    shares = of_lanes(dtype, lanes)
    network, data, kernel, workspace = made(dtype, lanes, threads)
    sgd, theta = optimizers.SGD(RATE), network.theta.copy()
    with Pool(threads) as pool:
        train(workspace, theta, np.zeros((0, theta.size), dtype), network.statistics, *data, kernel,
              sgd.rule(0.0, network.decayed), sgd.coefficients(0, 1), batch_size=N, epochs=1, order=None,
              reshuffle=False, seed=0, epoch=0, step=0, losses=np.zeros(1), pool=pool)
    expected = network.theta - np.dtype(dtype).type(RATE) * pairwise(list(shares))
    np.testing.assert_array_equal(theta, expected)


def test_a_workspace_may_have_some_of_the_lanes():
    network, _, _, whole = made("float32", 8)
    part = Workspace(whole.plan, 1, (3, 2))
    assert whole.lane_gradients().shape == (8, network.n_params)
    assert part.lane_gradients().shape == (2, network.n_params)
