"""solver="ridge" on ranks: normal equations, triangles and leave-one-out errors of all shards, to the same bits."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from thread_comm import run_ranks, without_errors

from ldl_cy import Sequential, layers, losses
from ldl_cy.data import validate_data
from ldl_cy.distributed import read_ranks
from ldl_cy.distributed.shards import cut, first_leaves
from ldl_cy.estimators.closed_form import RidgeHead
from ldl_cy.linalg.ridge import Moments, Triangle
from ldl_cy.optimizers.objective import Objective

SHARDS = 8
HIDDEN = [layers.Dense(6, "tanh"), layers.Dense(2)]
LINEAR = [layers.Dense(2)]
ALPHAS = [1e-3, 1e-2, 0.1, 1.0, 10.0]


class Ridge:
    """A model's output layer, fitted to the rows that ``ranks`` have."""

    def __init__(self, stack=HIDDEN, n=203, dtype="float64", weighted=False, m=4, alphas=(0.1,)):
        rng = np.random.default_rng(n)
        self.stack, self.dtype, self.alphas, self.m = stack, dtype, list(alphas), m
        self.X = rng.standard_normal((n, m)) + 1
        self.y = np.sin(self.X[:, :1] * [1, 2]) + 0.1 * rng.standard_normal((n, 2))
        self.weights = rng.integers(1, 4, n) + rng.random(n) if weighted else None
        if weighted:
            self.weights[:n // 3] = 0                       # shards without weight, the first of all among them

    def rows(self, ranks):
        if ranks is None or not ranks.local:
            return slice(None)
        return slice(*cut(len(self.y), SHARDS)[first_leaves(SHARDS, ranks.size)][ranks.rank:ranks.rank + 2])

    def fit(self, ranks=None, n_threads=1):
        """(weights, loss, α, score), and the kind of sums."""
        rows = self.rows(ranks)
        loss = losses.get("squared_error")
        model = Sequential(self.stack, self.dtype, 1).build(self.m)
        data = validate_data(model.network, "X", self.X[rows], self.y[rows],
                             None if self.weights is None else self.weights[rows], None, loss, self.dtype, True)
        head = RidgeHead(self.alphas, left_out=len(self.alphas) > 1)
        theta, found = model.theta.copy(), []
        with Objective(model.network, data, loss, 0.0, n_threads, ranks) as objective:
            ended = head.minimize(objective, theta, np.zeros((0, theta.size)), {}, 1,
                                  lambda logs: found.append(logs["loss"]))
        assert ended.reason == "converged"
        self.sums = head.found.sums
        return [theta, np.array(found), np.array([head.alpha, head.score or 0.0])]


def on_ranks(size, function, rows="all"):
    """The results of ``function(ranks)`` on each rank."""
    def run(comm):
        ranks = read_ranks("MLPRegressor", comm, SHARDS, rows)
        with ranks.together():
            return function(ranks)

    return run_ranks(size, run)


def same_on_any_ranks(ridge, rows="all", **keywords):
    first = on_ranks(1, ridge.fit)[0]
    for size in (1, 2, 3, 5, 8):
        for found in without_errors(on_ranks(size, lambda ranks: ridge.fit(ranks, **keywords), rows)):
            for a, b in itertools.zip_longest(first, found):
                np.testing.assert_array_equal(a, b)
    return first


@pytest.mark.parametrize("alphas", [[0.1], [0.0], ALPHAS])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stack", [HIDDEN, LINEAR], ids=["hidden", "linear"])
@pytest.mark.parametrize(("n", "kind"), [(203, Moments), (41, Moments), (13, Triangle), (5, Triangle), (1, Triangle)])
def test_normal_equations_and_triangles(n, kind, stack, dtype, weighted, alphas):
    ridge = Ridge(stack, n, dtype, weighted and n > 1, alphas=alphas)
    alone = ridge.fit()
    assert type(ridge.sums) is kind
    found = same_on_any_ranks(ridge)
    assert type(ridge.sums) is kind
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9 if dtype == "float64" else 1e-4, atol=1e-9)


@pytest.mark.parametrize("alphas", [[1e-9], [1e-9, 1e-3]])
@pytest.mark.parametrize("weighted", [False, True])
def test_ill_conditioned_features_are_solved_by_triangles(weighted, alphas):
    ridge = Ridge(LINEAR, 200, weighted=weighted, alphas=alphas)
    ridge.X = ridge.X @ np.diag(10.0 ** -np.arange(0, 8, 2))
    alone = ridge.fit()
    found = same_on_any_ranks(ridge)
    assert type(ridge.sums) is Triangle
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
def test_several_blocks_in_each_shard(weighted):
    ridge = Ridge(n=9000, weighted=weighted, alphas=ALPHAS)
    ridge.X += 1e4                                  # without a shift the squares would drown the variance
    ridge.stack = LINEAR
    for a, b in zip(same_on_any_ranks(ridge, n_threads=2), ridge.fit(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)


@pytest.mark.parametrize("alphas", [[0.1], ALPHAS])
@pytest.mark.parametrize("n", [16, 208])
def test_rows_of_each_rank(n, alphas):
    same_on_any_ranks(Ridge(n=n, weighted=True, alphas=alphas), rows="local")


def test_sparse_rows():
    ridge = Ridge(LINEAR, 100, m=20)
    ridge.X *= np.random.default_rng(0).random(ridge.X.shape) < 0.2
    dense = same_on_any_ranks(ridge)
    ridge.X = sp.csr_array(ridge.X)
    for a, b in zip(same_on_any_ranks(ridge), dense, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rows", ["all", "local"])
def test_a_shard_that_overflows_ends_the_fit_on_all_ranks(rows):
    ridge = Ridge([layers.Dense(3), layers.Dense(2)], 64)
    ridge.X[-1] = 1.7e308
    for error in on_ranks(3, ridge.fit, rows):
        assert isinstance(error, FloatingPointError)
        assert str(error) == "an output of the hidden layers is not finite"


def test_sums_that_overflow():
    ridge = Ridge(LINEAR, 64)
    ridge.X *= 1.7e308 / np.abs(ridge.X).max()
    for error in on_ranks(3, ridge.fit):
        assert isinstance(error, FloatingPointError) and str(error) == "a sum over rows is not finite"
    ridge.X /= 1e108                                # squares overflow, the rows do not
    found = same_on_any_ranks(ridge)
    assert type(ridge.sums) is Triangle and np.isfinite(found[0]).all()
