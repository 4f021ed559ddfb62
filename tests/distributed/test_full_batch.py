"""Full-batch methods on ranks: sums over shards are those over all rows, with the same bits for any number of ranks."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from thread_comm import run_ranks, without_errors

from ldl_cy import Sequential, layers, losses
from ldl_cy.data import validate_data
from ldl_cy.distributed import read_ranks
from ldl_cy.distributed.shards import cut, first_leaves, tree_sum
from ldl_cy.inference import evaluate
from ldl_cy.optimizers import GD, LBFGS, ConjugateGradient, GaussNewtonCG, LevenbergMarquardt
from ldl_cy.optimizers.objective import Objective
from ldl_cy.optimizers.row_sums import RowSums

SIZES = [1, 2, 3, 5, 8]
SHARDS = 8
METHODS = [GD(0.5, line_search=True), LBFGS(), ConjugateGradient(), LevenbergMarquardt(),
           LevenbergMarquardt(bayesian=True), GaussNewtonCG(1.0)]
TANH = [layers.Dense(6, "tanh"), layers.Dense(3)]
IMAGES = [layers.Conv2D(8, 3, padding="same", activation="tanh"), layers.MaxPool2D(2), layers.Flatten(),
          layers.Dense(3)]
SEQUENCES = [layers.GRU(4, return_sequences=True), layers.LSTM(3), layers.Dense(3)]
FROZEN = [layers.Dense(5, "tanh"), layers.BatchNorm(trainable=False), layers.Dense(4, "tanh", trainable=False),
          layers.Dense(3)]
CUSTOM = [layers.Dense(4), layers.Custom(lambda _, x: np.tanh(x), lambda _, x, y, dy: (dy * (1 - y * y), {}),
                                         lambda shape: shape), layers.Dense(3)]


def absolute(y_pred, y):
    return np.abs(y_pred - y).mean(axis=1), np.sign(y_pred - y) / 3


# layers, input shape, rows, loss; with fewer rows than shards some of these are empty
PROBLEMS = {
    "dense": (TANH, (4,), 75, "squared_error"),
    "classes": (TANH, (4,), 75, "log_loss"),
    "fewer rows than shards": (TANH, (4,), 3, "squared_error"),
    "one row": (TANH, (4,), 1, "log_loss"),
    "images": (IMAGES, (6, 6, 2), 41, "squared_error"),
    "large images": (IMAGES, (12, 12, 3), 800, "squared_error"),
    "lengths": (SEQUENCES, (5, 2), 33, "squared_error"),
    "sparse": (TANH, (30,), 50, "poisson"),
    "frozen": (FROZEN, (4,), 30, "squared_error"),
    "Python": (CUSTOM, (4,), 30, losses.Custom(absolute)),
}


class Problem:
    """Data of a fit, and the parts of them that ranks bring."""

    def __init__(self, name, dtype="float64", weighted=False, n=None):
        stack, shape, rows, loss = PROBLEMS[name]
        n, self.stack = n or rows, stack
        rng = np.random.default_rng(n)
        self.model = Sequential(stack, dtype, 1).build(shape)
        self.loss, self.theta = losses.get(loss), self.model.theta.astype(float)[self.model.network.trainable]
        X = rng.standard_normal((n, *shape)).astype(dtype)
        self.X = sp.csr_array(X * (rng.random(X.shape) < 0.2)) if name == "sparse" else X
        self.y = rng.integers(0, 3, n) if loss == "log_loss" else np.abs(rng.standard_normal((n, 3)))
        self.weights = rng.integers(1, 4, n) + rng.random(n) if weighted else None
        if weighted and n > 1:
            self.weights[n // 4:n // 2 + 1] = 0             # a shard without weight
        self.lengths = rng.integers(1, 6, n) if name == "lengths" else None
        self.v = rng.standard_normal(self.theta.size)

    def objective(self, ranks=None, n_threads=1, alpha=0.3):
        return Objective(self.model.network, self.data(ranks), self.loss, alpha, n_threads, ranks)

    def rows(self, ranks):
        """Those that a rank brings."""
        if ranks is None or not ranks.local:
            return slice(None)
        return slice(*cut(self.X.shape[0], SHARDS)[first_leaves(SHARDS, ranks.size)][ranks.rank:ranks.rank + 2])

    def data(self, ranks=None):
        rows = self.rows(ranks)
        weights, lengths = (None if a is None else a[rows] for a in (self.weights, self.lengths))
        return validate_data(self.model.network, "X", self.X[rows], self.y[rows], weights, lengths, self.loss,
                             self.model.dtype, weightless=True)

    def pieces(self, ranks=None, n_threads=1):
        """All sums at the initial weights."""
        with self.objective(ranks, n_threads) as made:
            found = [made.total_weight, made.value(self.theta), *made.value_and_grad(self.theta)]
            if self.loss.name == "squared_error":
                found += made.gauss_newton(self.theta)
            if self.loss.has_curvature:
                # of another point in between
                found += [made.curvature_product(at, self.v) for at in (self.theta, self.theta / 2, self.theta)]
            return [np.array(piece) for piece in found]

    def minimised(self, method, ranks=None, n_threads=1, epochs=4):
        """Weights, state and losses after some iterations."""
        declared = method.method
        theta, scalars, values = self.theta.astype(self.model.dtype), {}, []
        slots = np.zeros((declared.n_slots, theta.size), theta.dtype)
        with self.objective(ranks, n_threads) as made:
            declared.minimize(made, theta, slots, scalars, epochs, lambda logs: values.append(logs["loss"]))
        return [theta, slots, np.array(values), np.array([scalars[name] for name in sorted(scalars)])]


def on_ranks(size, function, rows="all"):
    """The results of ``function(ranks)`` on each rank; an exception is raised."""
    def run(comm):
        ranks = read_ranks("Sequential", comm, SHARDS, rows)
        with ranks.together():
            return function(ranks)

    return without_errors(run_ranks(size, run))


def same_on_any_ranks(function, sizes=SIZES, rows="all"):
    """What all ranks return, a list of arrays, once it has been found to be the same to the bit for all sizes."""
    first = on_ranks(1, function)[0]
    for size in sizes:
        for found in on_ranks(size, function, rows):
            for a, b in itertools.zip_longest(first, found):
                np.testing.assert_array_equal(a, b, strict=True)
    return first


def all_fitted(size, *arguments, **keywords):
    """What ``fitted`` returns on each rank; an exception is raised."""
    return without_errors(run_ranks(size, lambda comm: fitted(comm, *arguments, **keywords)))


def worst(found, expected):
    """The largest difference of arrays, each relative to its largest entry, or to 1."""
    return max(np.max(np.abs(a - b), initial=0.0) / max(1.0, np.max(np.abs(b), initial=0.0))
               for a, b in zip(found, expected, strict=True)) if found else 0.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"large images"}))
def test_sums_are_those_over_all_rows(name, dtype, weighted):
    problem = Problem(name, dtype, weighted)
    found, alone = same_on_any_ranks(problem.pieces), problem.pieces()
    products = 3 if problem.loss.has_curvature else 0
    sums = len(found) - products
    assert worst(found[:sums], alone[:sums]) < (3e-6 if dtype == "float32" else 1e-13)
    # of central differences
    assert worst(found[sums:], alone[sums:]) < (1e-3 if dtype == "float32" else 1e-9)
    if products:
        np.testing.assert_array_equal(found[-1], found[-3])


@pytest.mark.parametrize("name", ["dense", "sparse", "lengths"])
def test_rows_of_each_rank(name):
    """The same bits where the rows of all ranks are cut where all rows are."""
    problem = Problem(name, weighted=True, n=64)
    same_on_any_ranks(problem.pieces, rows="local")
    for rows in ("all", "local"):
        def loss(ranks):
            return [np.array(evaluate(problem.model.network, problem.data(ranks), 1, ranks))]
        found = same_on_any_ranks(loss, rows=rows)[0]
        assert found == pytest.approx(evaluate(problem.model.network, problem.data(), 1), rel=1e-13)


def test_ranks_with_rows_of_their_own_in_any_numbers():
    """Two of three ranks have hardly any."""
    problem, counts = Problem("dense", weighted=True), [0, 1, 3, 75]

    def pieces(ranks):
        own = Problem("dense", weighted=True)
        own.data = lambda ranks: problem.data().part(counts[ranks.rank], counts[ranks.rank + 1] - counts[ranks.rank])
        return own.pieces(ranks)

    for found in on_ranks(3, pieces, rows="local"):
        assert worst(found[:-3], problem.pieces()[:-3]) < 1e-13


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_threads(dtype):
    problem = Problem("large images", dtype)
    with problem.model.network.workspace(100, 2, training=True, loss_size=3) as workspace:
        assert workspace.flops * 100 > workspace.share_above and workspace.plan.lanes > 1
    alone, *others = [on_ranks(size, lambda ranks, n=n_threads: problem.pieces(ranks, n)[:4])[0]
                      for n_threads in (1, 2) for size in (1, 3)]
    for found in others:
        for a, b in zip(alone, found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("name", ["dense", "fewer rows than shards", "classes"])
def test_methods(method, name):
    problem = Problem(name, weighted=True)
    if name == "classes" and isinstance(method, LevenbergMarquardt):
        problem.loss, problem.y = losses.get("squared_error"), np.eye(3)[problem.y]
    found = same_on_any_ranks(lambda ranks: problem.minimised(method, ranks))
    same_on_any_ranks(lambda ranks: problem.minimised(method, ranks, n_threads=2), sizes=[2])
    if name == "dense":
        same_on_any_ranks(lambda ranks: Problem(name, n=64).minimised(method, ranks), rows="local", sizes=[3])
    theta, _, values, _ = problem.minimised(method)
    truncated = isinstance(method, GaussNewtonCG)
    np.testing.assert_allclose(found[2], values, rtol=1e-3 if truncated else 1e-7, atol=1e-6 if truncated else 1e-12)
    assert found[2][-1] < found[2][0]
    if not truncated:
        np.testing.assert_allclose(found[0], theta, rtol=1e-5, atol=1e-6)


def test_outputs_and_products_with_the_jacobian():
    """Of a rank's own rows, and of all for Jᵀ u."""
    problem = Problem("classes", weighted=True)
    u = np.random.default_rng(0).standard_normal((75, 3))

    def pieces(made, rows):
        raw, v = made.outputs(problem.theta), made.jvp(problem.theta, problem.v)
        return [raw, v, made.loss_curvature(raw, v), made.vjp(problem.theta, u[rows])]

    def of_ranks(ranks):
        with problem.objective(ranks) as made:
            *own, product = pieces(made, ranks.own_rows(75))
            return [*map(ranks.concatenate, own), product]

    with problem.objective() as made:
        expected = pieces(made, slice(None))
    assert worst(same_on_any_ranks(of_ranks), expected) < 1e-10


class InChunks:
    """Sums over parts that are elsewhere: see ``Totals``."""

    def __init__(self, problem):
        self.parts = [RowSums(problem.model.network, problem.data().part(a, b - a), problem.loss, 1)
                      for a, b in itertools.pairwise(cut(problem.X.shape[0], SHARDS).tolist())]
        self.entered = False

    def total(self, name, *arguments):
        assert self.entered or name == "weight"
        found = []
        for part in self.parts:
            part.total_weight = getattr(self, "total_weight", None)
            with part:
                found.append(getattr(part, name)(*arguments))
        return tree_sum(found)

    def __enter__(self):
        self.entered = True

    def __exit__(self, *exc):
        self.entered = False


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_sums_of_another_source(method):
    """Chunks that are added in the tree's order give the bits of ranks."""
    problem = Problem("dense", weighted=True)
    on_one_rank = on_ranks(1, lambda ranks: problem.minimised(method, ranks))[0]
    nothing, totals = problem.data().part(0, 0), InChunks(problem)
    problem.objective = lambda *_: Objective(problem.model.network, nothing, problem.loss, 0.3, 1, totals=totals)
    for a, b in zip(on_one_rank, problem.minimised(method), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not totals.entered


def test_an_error_in_a_sum_is_raised_on_all_ranks():
    problem = Problem("Python")

    def pieces(ranks):
        own = Problem("Python")
        if ranks.rank == 1:
            own.loss = losses.Custom(lambda y_pred, y: {}["a name"])
        with ranks.together():
            return own.pieces(ranks)

    assert problem.pieces()
    for error in run_ranks(3, lambda comm: pieces(read_ranks("Sequential", comm, SHARDS, "all"))):
        assert isinstance(error, KeyError) and error.args == ("a name",)


# -- fits --------------------------------------------------------------------------------------------------------


def fitted(comm, method, problem, rows="all", epochs=(5,), n_threads=1):
    """Weights, the optimizer's vectors and the recorded values after fits of these numbers of epochs."""
    model = Sequential(problem.stack, problem.model.dtype, 1)
    ranks = read_ranks("Sequential", comm, SHARDS, rows)
    own = problem.rows(ranks)
    validation = problem.X[own][:9], problem.y[own][:9]
    if rows == "all":
        validation = problem.X[:20], problem.y[:20]
    for n in epochs:
        history = model.fit(
            problem.X[own], problem.y[own], loss=problem.loss, optimizer=method, epochs=n, alpha=0.1,
            sample_weight=None if problem.weights is None else problem.weights[own], validation_data=validation,
            comm=comm, rows=rows, n_threads=n_threads)
    return [model.theta, model.training_state.optimizer.slots, *map(np.array, history.history.values())]


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fits(method, dtype):
    problem = Problem("dense", dtype, weighted=True, n=64)
    first, = all_fitted(1, method, problem)
    for size in SIZES[1:]:
        for n_threads, epochs in ((1, (5,)), (2, (2, 3))):
            for found in all_fitted(size, method, problem, n_threads=n_threads, epochs=epochs):
                if epochs == (2, 3) and isinstance(method, LBFGS):      # begins each fit with an empty memory
                    continue
                np.testing.assert_array_equal(found[0], first[0])
                np.testing.assert_array_equal(found[1], first[1])
                for ours, whole in zip(found[2:], first[2:], strict=True):
                    np.testing.assert_array_equal(ours, whole[-len(ours):])
    alone = fitted(None, method, problem)
    np.testing.assert_allclose(first[2], alone[2], rtol=1e-3 if isinstance(method, GaussNewtonCG) else 1e-5)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_fits_of_rows_of_each_rank(method):
    problem = Problem("dense", weighted=True, n=64)
    first = None
    for size in (1, 2, 8):
        for found in all_fitted(size, method, problem, rows="local"):
            first = first or found
            np.testing.assert_array_equal(found[0], first[0])


@pytest.mark.parametrize("method", [METHODS[0], LBFGS(), ConjugateGradient()], ids=repr)
def test_an_error_within_an_iteration_leaves_the_weights_of_the_last(method):
    def squares(fails_at):
        calls = itertools.count()

        def loss(y_pred, y):
            if next(calls) == fails_at:
                raise KeyError("a name")
            return np.sum((y_pred - y) ** 2, axis=1) / 3, (y_pred - y) * (2 / 3)
        return losses.Custom(loss)

    def fit(comm):
        problem = Problem("Python")
        model = Sequential(problem.stack, "float64", 1)
        loss = squares(70 if comm.Get_rank() == 1 else -1)
        try:
            model.fit(problem.X, problem.y, loss=loss, optimizer=method, epochs=50, comm=comm)
        except KeyError as error:
            return error, model.theta.copy(), model.training_state.epoch

    found = run_ranks(3, fit)
    for error, theta, epoch in found:
        assert error.args == ("a name",) and epoch == found[0][2] > 0
        np.testing.assert_array_equal(theta, found[0][1])
