"""What must be the same on the ranks of an estimator's fit: else all raise the same error, and none is fitted."""
from __future__ import annotations

import functools

import numpy as np
import pytest
from estimators_on_ranks import (
    ENDED,
    NUMBERS,
    SEQUENCES,
    SMALL,
    SUMS,
    WEIGHTS,
    N,
    X,
    Y,
    check_equal,
    fit_each,
    fit_on,
    fitted,
)
from thread_comm import run_ranks

from ldl_cy import Autoencoder, MLPClassifier, NeuralNetClassifier, RNNRegressor, layers, losses, optimizers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

small = functools.partial(MLPClassifier, (8,), **SMALL)


def expect_on_all(results, kind, message):
    assert [type(error) for error in results] == [kind] * len(results), results
    assert [str(error) for error in results] == [message] * len(results)


@pytest.mark.parametrize(("own", "message"), [
    ({"alpha": 0.5}, "MLPClassifier: alpha must be the same on all ranks, got 0.0001 on rank 0 and 0.5 on rank 1."),
    ({"solver": optimizers.Adam(0.1)}, "MLPClassifier: solver must be the same on all ranks, got 'adam' on rank 0 and "
                                       f"{optimizers.Adam(0.1)!r} on rank 1."),
    ({"random_state": 1}, "MLPClassifier: random_state must be the same on all ranks, got 0 on rank 0 and 1 on rank "
                          "1."),
    ({"alpha": -1.0}, "The 'alpha' parameter of MLPClassifier must be a float in the range [0.0, inf). Got -1.0 "
                      "instead."),
    ({"early_stopping": True, "validation_fraction": 0.001},
     "MLPClassifier: early_stopping must be the same on all ranks, got False on rank 0 and True on rank 1."),
])
def test_parameters_that_differ(own, message):
    made = [MLPClassifier((8,), **{**SMALL, **(own if rank else {})}) for rank in range(2)]
    results = fit_on(2, made.__getitem__, X, Y)
    assert all(str(error) == message for error in results), results
    assert not any(hasattr(one, "model_") or hasattr(one, "classes_") for one in made)


def test_parameters_that_may_differ():
    seen = []

    def estimator(rank):
        return MLPClassifier((8,), **SMALL, n_threads=1 + rank, callbacks=[lambda *_: seen.append(rank)][:rank])

    first, second = fitted(2, estimator, X, Y)
    check_equal(first, second)
    assert seen == [1] * 4


MUST = "MLPClassifier: {} must be the same on all ranks, got {} on rank 0 and {} on rank 1."


@pytest.mark.parametrize(("data", "message"), [
    ([(X, Y), (X[:, :4], Y)], MUST.format("the shape of the rows of X", (6,), (4,))),
    ([(X, Y), (X.astype(np.float32), Y)], MUST.format("the dtype of X", "'float64'", "'float32'")),
    ([(X, Y), (X, NUMBERS > 0)], MUST.format("the kind of y", "'text'", "'numbers'")),
    ([(X, Y), (X, X[:, :3] > 0)], MUST.format("the kind of y", "'text'", "'several labels for each row'")),
    ([(X, X[:, :4] > 0), (X, X[:, :3] > 0)], MUST.format("the number of labels", 4, 3)),
])
def test_rows_that_differ(data, message):
    expect_on_all(fit_each(small, *data, rows="local"), ValueError, message)


def test_rows_that_differ_where_all_have_all():
    expect_on_all(fit_each(small, (X, Y), (X[1:], Y[1:])), ValueError, MUST.format("the number of rows", 96, 95))
    for error in fit_each(small, (X, Y), (X, Y[::-1])):
        assert str(error).startswith("MLPClassifier: the checksum of y must be the same on all ranks, got ")
    expect_on_all(fit_each(small, (X, Y), (X, Y), sample_weight=[None, WEIGHTS]), ValueError,
                  MUST.format("sample_weight", "'None'", "'an array'"))
    expect_on_all(fit_each(RNNRegressor, (SEQUENCES, SUMS), (ENDED, SUMS)), ValueError,
                  MUST.format("the kind of X", "'a list of sequences'", "'an array'").replace(
                      "MLPClassifier", "RNNRegressor"))


def test_arguments_that_are_refused_before_anything_is_sent():
    for error in run_ranks(2, lambda comm: MLPClassifier().fit(X, Y, comm=comm, shards=6)):
        assert str(error) == "MLPClassifier: shards must be a power of two, at most 1048576, got 6."
    with pytest.raises(TypeError, match="MLPClassifier: comm must be None or a communicator with mpi4py's methods"):
        MLPClassifier().fit(X, Y, comm="world")
    with pytest.raises(ValueError, match="Autoencoder: rows must be one of 'all', 'local', got 'own'"):
        Autoencoder().fit(X, rows="own")


@pytest.mark.parametrize("row", [0, N - 1])
def test_each_rank_reads_its_own_rows(row):
    """NaN in a row that one rank checks is an error on all, and each rank finds it in its share alone."""
    bad = X.copy()
    bad[row, 0] = np.nan
    results = fit_each(small, (bad, Y), (bad, Y), (bad, Y))
    assert all(str(error).startswith("Input X contains NaN.\nMLPClassifier does not accept") for error in results)
    finders = [rank for rank, error in enumerate(results) if not getattr(error, "__notes__", [])]
    assert finders == [0 if row == 0 else 2]
    assert {note for error in results for note in getattr(error, "__notes__", [])} == {
        f"This was raised on rank {finders[0]}."}


def test_objects_as_parameters_are_compared_by_what_they_say():
    def estimator(rank):
        return NeuralNetClassifier([layers.Dense(8, "tanh")], losses.LogLoss(label_smoothing=0.1),
                                   optimizers.SGD(lambda steps: np.full(len(steps), 0.1)), max_iter=2, random_state=0)

    check_equal(*fitted(2, estimator, X, Y))
