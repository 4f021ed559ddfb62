"""The update: which ranges of theta it changes, with which coefficients, and vectors that are part of longer ones."""
import numpy as np
import pytest

from ldl_cy import Sequential, layers, losses, optimizers
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.train import CONVERGED, NON_FINITE, train

N, BATCH, EPOCHS = 23, 9, 3
OPTIMIZERS = [
    optimizers.SGD(0.05), optimizers.SGD(0.05, 0.9, weight_decay=0.1, ema=0.9),
    optimizers.Adam(0.01, weight_decay=0.1, clip_norm=0.05), optimizers.RMSprop(0.01, momentum=0.5, centered=True)]
NAMES = ["plain", "averaged", "clipped", "centred"]


def made(dtype, *, frozen=False):
    """A network whose first layer may be frozen, with several hundred weights."""
    stack = [layers.Dense(20, "tanh", trainable=not frozen), layers.Dense(9, "tanh"), layers.Dense(2)]
    return Sequential(stack, dtype, 0).build(6).network


def run(network, optimizer, theta, slots, *, X=None, defer=None, threads=1, **options):
    """Some epochs of shuffled batches, the last of which is smaller; what ``train`` returns."""
    rng = np.random.default_rng(1)
    given, y = rng.standard_normal((N, 6)).astype(network.dtype), rng.standard_normal((N, 2))
    targets, kernel = losses.SquaredError().encode_targets(y, N, (2,), network.dtype)
    workspace = Workspace(Plan(network.graph, True, BATCH, 2, defer=defer), threads)
    workspace.share_above = 0
    given = given if X is None else X
    options = {"coef": optimizer.coefficients(0, EPOCHS * 3), "ranges": network.decayed, **options}
    rule, coef = optimizer.rule(0.1, options.pop("ranges")), options.pop("coef")
    with Pool(threads) as pool:
        return train(
            workspace, theta, slots, network.statistics, given, targets, None, kernel, rule, coef, batch_size=BATCH,
            epochs=EPOCHS, order=np.arange(N), reshuffle=True, seed=3, epoch=0, step=0, losses=np.zeros(EPOCHS),
            pool=pool, **options)


def vectors(network, optimizer):
    """theta, and slots of zeros."""
    return network.theta.copy(), np.zeros((optimizer.n_vectors, network.n_params), network.dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=NAMES)
@pytest.mark.parametrize("defer", [False, True])
def test_vectors_may_be_part_of_longer_ones(optimizer, dtype, defer):
    """theta a range of a vector, the slots columns of a wider array: the same bits, and nothing around them changes."""
    network = made(dtype)
    theta, slots = vectors(network, optimizer)
    run(network, optimizer, theta, slots, defer=defer)
    around = 17
    wide = np.full(network.n_params + 2 * around, 7, dtype)
    inside = slice(around, around + network.n_params)
    wide[inside] = network.theta
    columns = np.full((optimizer.n_vectors, wide.size), 7, dtype)
    columns[:, inside] = 0
    run(network, optimizer, wide[inside], columns[:, inside], defer=defer)
    np.testing.assert_array_equal(wide[inside], theta)
    np.testing.assert_array_equal(columns[:, inside], slots)
    assert (np.delete(wide, np.arange(wide.size)[inside]) == 7).all()
    assert (np.delete(columns, np.arange(wide.size)[inside], axis=1) == 7).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=NAMES)
def test_what_no_range_has_is_not_touched(optimizer, dtype):
    """Frozen weights and their slots keep their bits, NaN too, for any number of threads; the others train."""
    network, found = made(dtype, frozen=True), []
    (low, high), = network.trainable_ranges
    assert low == 140 and high == network.n_params
    updated = np.array([[low, high, 0]])
    for threads in (1, 2, 3):
        theta, slots = vectors(network, optimizer)
        slots[:, :low] = np.nan
        _, _, _, error = run(network, optimizer, theta, slots, threads=threads, updated=updated)
        assert error is None
        np.testing.assert_array_equal(theta[:low], network.theta[:low])
        assert np.isnan(slots[:, :low]).all() and np.isfinite(slots[:, low:]).all()
        assert (theta[low:] != network.theta[low:]).all()
        found.append((theta, slots))
    for other in found[1:]:
        for a, b in zip(other, found[0]):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("defer", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:2] + OPTIMIZERS[3:], ids=NAMES[:2] + NAMES[3:])
def test_ranges_of_one_set_are_one_update(optimizer, defer):
    """Cut anywhere, also within the tile of a deferred gradient, ranges make the same bits."""
    network = made("float64")
    expected = vectors(network, optimizer)
    run(network, optimizer, *expected, defer=defer)
    edges = np.array([0, 3, 50, 141, 142, 300, network.n_params])
    updated = np.column_stack([edges[:-1], edges[1:], [0, 1, 0, 1, 1, 0]])
    coef = np.stack(2 * [optimizer.coefficients(0, EPOCHS * 3)])
    found = vectors(network, optimizer)
    run(network, optimizer, *found, defer=defer, updated=updated, coef=np.broadcast_to(coef, coef.shape).copy())
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)


def test_each_range_has_its_coefficients():
    """Plain gradient descent from one point: the first step of a range is its rate times the gradient."""
    network, sgd = made("float64"), optimizers.SGD(1.0, weight_decay=0.5)
    rates, edges = (0.1, 0.0, 0.02), np.array([0, 100, 150, network.n_params])
    updated = np.column_stack([edges[:-1], edges[1:], np.arange(3)])
    X = np.random.default_rng(1).standard_normal((N, 6))[:BATCH]
    y = np.random.default_rng(2).standard_normal((BATCH, 2))
    targets, kernel = losses.SquaredError().encode_targets(y, BATCH, (2,), "float64")
    workspace = Workspace(Plan(network.graph, True, BATCH, 2), 1)
    grad, theta = np.empty(network.n_params), network.theta.copy()
    coef = np.stack([sgd.coefficients(0, 1, factor=rate) for rate in rates])
    with Pool(1) as pool:
        workspace.gradient(X, targets, None, theta, network.statistics, kernel, grad, pool)
        train(workspace, theta, np.zeros((0, network.n_params)), network.statistics, X, targets, None, kernel,
              sgd.rule(0.0, network.decayed), coef, batch_size=BATCH, epochs=1, order=None, reshuffle=False, seed=0,
              epoch=0, step=0, losses=np.zeros(1), pool=pool, updated=updated)
    rate = np.repeat(rates, np.diff(edges))
    decayed = np.zeros(network.n_params)
    for low, high in network.decayed:
        decayed[low:high] = 0.5
    np.testing.assert_allclose(theta, (1 - rate * decayed) * network.theta - rate * grad, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(theta[100:150], network.theta[100:150])


def test_an_epoch_that_is_not_finite_is_taken_back():
    """theta and slots of the ranges return to the last epoch, also where they are columns of a wider array."""
    network, adam = made("float64"), optimizers.SGD(1e200, 0.9)
    wide = np.zeros((1, network.n_params + 5))
    theta = network.theta.copy()
    done, reason, _, error = run(network, adam, theta, wide[:, 2:-3])
    assert (done, reason, error) == (0, NON_FINITE, None)
    np.testing.assert_array_equal(theta, network.theta)
    assert not wide.any()


def test_nothing_is_trainable():
    """No range: losses are computed, nothing changes; the largest entry of no gradient is 0."""
    network, gd = made("float64"), optimizers.GD(0.1, tol=1e-9)
    theta, slots = vectors(network, gd)
    done, reason, largest, error = run(network, gd, theta, slots, updated=np.zeros((0, 3), np.int64))
    assert (done, reason, largest, error) == (1, CONVERGED, 0.0, None)
    np.testing.assert_array_equal(theta, network.theta)


@pytest.mark.parametrize("updated", [
    [[0, 600, 0]], [[-1, 3, 0]], [[0, 9, 0], [8, 20, 0]], [[9, 3, 0]], [[0, 9, 1]], [[0, 9, -1]], [[0, 9]], [0, 9, 0]])
def test_refused_ranges(updated):
    network, sgd = made("float64"), OPTIMIZERS[0]
    theta, slots = vectors(network, sgd)
    with pytest.raises(ValueError, match=r"Rule: updated must be ascending ranges in 0 .. 349, each with the number"):
        run(network, sgd, theta, slots, updated=np.array(updated))
    np.testing.assert_array_equal(theta, network.theta)


def test_frozen_weights_have_no_accumulator():
    """The plan adds up gradients of trainable weights only."""
    plan = Plan(made("float64", frozen=True).graph, True, BATCH, 2)
    assert plan.added == ((140, 349),) and [p[:3] for p in plan.pieces(4096, True)] == [(140, 349, -1)]
    assert Plan(made("float64").graph, True, BATCH, 2).added == ((0, 349),)
