"""Estimators on 1, 2 and 3 ranks, threads of this process: the same bits."""
from __future__ import annotations

import pickle

import numpy as np
import pytest
from estimators_on_ranks import (
    ENDED,
    NUMBERS,
    RNG,
    SEQUENCES,
    SIZES,
    SMALL,
    SUMS,
    TABLE,
    WEIGHTS,
    N,
    X,
    Y,
    check_equal,
    fitted,
    part,
)
from sklearn.base import clone
from thread_comm import run_ranks, without_errors

from ldl_cy import (
    Autoencoder,
    CNNClassifier,
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    RNNRegressor,
    layers,
)
from ldl_cy.distributed import read_ranks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IMAGES = RNG.normal(size=(N, 6, 5, 1)).astype(np.float32)
CASES = {
    "adam": (MLPClassifier((8,), **SMALL), (X, Y), {}),
    "weights": (MLPClassifier((8,), class_weight="balanced", **SMALL), (X, Y), {"sample_weight": WEIGHTS}),
    "early stopping": (MLPClassifier((8,), early_stopping=True, validation_fraction=0.25, **SMALL), (X, Y),
                       {"sample_weight": WEIGHTS}),
    "validation": (MLPClassifier((8,), early_stopping="loss", **SMALL), (X, Y),
                   {"X_val": X[::-1], "y_val": Y[::-1], "sample_weight_val": WEIGHTS}),
    "several labels": (MLPClassifier((8,), class_weight="balanced", early_stopping=True, validation_fraction=0.25,
                                     **SMALL), (X, (X[:, :3] > 0).astype(int)), {}),
    "float32": (MLPRegressor(hidden_layer_sizes=(8,), dropout=0.2, **SMALL), (X.astype(np.float32), NUMBERS), {}),
    "lbfgs": (MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=20, random_state=0),
              (X, np.c_[NUMBERS, -NUMBERS]), {"sample_weight": WEIGHTS}),
    "ridge": (MLPRegressor(hidden_layer_sizes=(8,), solver="ridge", alphas=(0.1, 1.0), random_state=0), (X, NUMBERS),
              {}),
    "images": (CNNClassifier((4,), hidden_layer_sizes=(8,), batch_norm=True, **SMALL), (IMAGES, Y), {}),
    "sequences": (RNNRegressor(units=(5,), **SMALL), (SEQUENCES, SUMS), {"X_val": SEQUENCES[::-1], "y_val": SUMS}),
    "ends": (RNNRegressor(units=(5,), **SMALL), (ENDED, SUMS), {}),
    "layers": (NeuralNetClassifier([layers.Dense(8, "tanh"), layers.BatchNorm()], early_stopping=True,
                                   validation_fraction=0.25, **SMALL), (X, Y), {}),
    "categories": (NeuralNetClassifier(categorical_features=[2], early_stopping=True, validation_fraction=0.25,
                                       **SMALL), (TABLE, Y), {"sample_weight": WEIGHTS}),
    "codes": (Autoencoder((8,), 3, early_stopping=True, validation_fraction=0.25, **SMALL), (X,), {}),
}


@pytest.mark.parametrize("rows", ["all", "local"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_on_any_number_of_ranks(name, rows):
    estimator, data, arguments = CASES[name]
    (alone,) = fitted(1, estimator, *data, rows=rows, **arguments)
    assert not np.array_equal(alone.model_.theta, alone.model_.network.initial().theta)
    for size in SIZES:
        for found in fitted(size, estimator, *data, rows=rows, **arguments):
            check_equal(alone, found)
            predict = found.predict if hasattr(found, "predict") else found.transform
            np.testing.assert_array_equal(predict(data[0]), getattr(alone, predict.__name__)(data[0]))


def test_fits_are_those_without_a_communicator_but_for_rounding():
    for name in ("adam", "weights", "early stopping", "validation", "sequences", "codes"):
        estimator, data, arguments = CASES[name]
        own = clone(estimator).fit(*data, **arguments)
        for found in fitted(2, estimator, *data, **arguments):
            np.testing.assert_allclose(found.model_.theta, own.model_.theta, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(found.loss_curve_, own.loss_curve_, rtol=1e-8)
            if own.validation_scores_ is not None:
                np.testing.assert_allclose(found.validation_scores_, own.validation_scores_, rtol=1e-8)


def test_local_fits_learn_the_same_as_others():
    """From rows in another order, so with another loss after each epoch, but the same function."""
    own = clone(CASES["lbfgs"][0]).set_params(max_iter=500, alpha=1.0).fit(X, NUMBERS)
    estimator = clone(own)
    for found in fitted(3, estimator, X, NUMBERS, rows="local"):
        assert found.loss_ == pytest.approx(own.loss_, rel=1e-3)
    estimator, data, _ = CASES["adam"]
    for found in fitted(2, clone(estimator).set_params(max_iter=60), *data, rows="local"):
        assert found.score(X, Y) > 0.9


@pytest.mark.parametrize("rows", ["all", "local"])
@pytest.mark.parametrize("seed", [None, "instance"])
def test_random_states_are_those_of_rank_0(rows, seed):
    state = np.random.RandomState(5)

    def estimator(rank):
        own = {"random_state": None if seed is None else state if rank == 0 else np.random.RandomState(rank)}
        return MLPClassifier((8,), **{**SMALL, **own})

    first, second = fitted(2, estimator, X, Y, rows=rows)
    check_equal(first, second)
    if seed == "instance":
        assert first.random_state is state
        assert state.randint(1 << 30) != np.random.RandomState(5).randint(1 << 30), "its numbers were drawn"


@pytest.mark.parametrize("rows", ["all", "local"])
@pytest.mark.parametrize("seed", [0, None])
def test_a_warm_start(rows, seed):
    """Twice two epochs are four, on any number of ranks; so is a fit on other ranks that continues."""
    def fit(comm, epochs=(2, 2), own=None):
        data = (X, Y) if rows == "all" else (part(X, comm.size, comm.rank), part(Y, comm.size, comm.rank))
        own = own or MLPClassifier((8,), warm_start=True, **{**SMALL, "random_state": seed})
        for count in epochs:
            own.set_params(max_iter=count).fit(*data, comm=comm, rows=rows)
        return own

    if seed is None:
        first, second = without_errors(run_ranks(2, fit))
        check_equal(first, second)
        return
    (alone,) = without_errors(run_ranks(1, lambda comm: fit(comm, (4,))))
    for size in SIZES:
        found = run_ranks(size, fit)
        pickled = pickle.dumps(run_ranks(2, lambda comm: fit(comm, (2,)))[1])
        found += run_ranks(size, lambda comm, own=pickled: fit(comm, (2,), pickle.loads(own)))
        for one in without_errors(found):
            np.testing.assert_array_equal(one.model_.theta, alone.model_.theta)
            assert one.loss_curve_ == alone.loss_curve_


def test_nothing_of_the_communicator_is_kept():
    for found in fitted(2, CASES["early stopping"][0], X, Y):
        again = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(again.predict_proba(X), found.predict_proba(X))
        assert clone(found).get_params() == found.get_params()
        again.set_params(early_stopping=False).partial_fit(X, Y)


def test_memmaps_are_not_copied(tmp_path):
    on_disk = np.memmap(tmp_path / "X", np.float64, "w+", shape=X.shape)
    on_disk[:] = X
    est = MLPClassifier((8,), **SMALL)

    def shares(comm):
        ranks = read_ranks("MLPClassifier", comm, 8, "all")
        return np.shares_memory(clone(est)._read_fit(on_disk, Y, reset=True, classes="learn", ranks=ranks)[0], on_disk)

    assert run_ranks(2, shares) == [True, True]
    check_equal(*fitted(2, est, on_disk, Y)[:1], fitted(1, est, X, Y)[0])
