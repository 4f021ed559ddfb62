"""Estimators whose ranks have rows of their own: classes, categories and the longest sequence are those of all."""
from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from estimators_on_ranks import (
    CITIES,
    ENDED,
    RNG,
    SEQUENCES,
    SIZES,
    SMALL,
    STEPS,
    SUMS,
    TABLE,
    WEIGHTS,
    X,
    Y,
    check_equal,
    fitted,
    part,
)
from sklearn.utils.class_weight import compute_sample_weight
from thread_comm import run_ranks, without_errors

from ldl_cy import MLPClassifier, NeuralNetClassifier, RNNRegressor
from ldl_cy.distributed import read_ranks
from ldl_cy.estimators.class_weights import class_weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_classes_are_those_of_all_ranks():
    order = np.argsort(Y, kind="stable")        # no rank has all classes
    rows, labels = X[order], Y[order]
    for size in SIZES:
        for found in fitted(size, MLPClassifier((8,), class_weight={"low": 2.0}, **SMALL), rows, labels, rows="local"):
            assert found.classes_.tolist() == ["high", "low", "middle"] and found.n_outputs_ == 3
    (alone,) = fitted(1, MLPClassifier((8,), class_weight="balanced", **SMALL), rows, labels, rows="local")
    for found in fitted(3, MLPClassifier((8,), class_weight="balanced", **SMALL), rows, labels, rows="local"):
        check_equal(alone, found)


LABELS = (X[:, :2] > [0, 1]).astype(int)


@pytest.mark.parametrize("given, y", [
    ("balanced", np.sort(Y)), ({"low": 2.0}, np.sort(Y)), ({"low": 2.0, "high": 0.5, "middle": 3.0}, np.sort(Y)),
    ("balanced", LABELS), ([{0: 0.5, 1: 2.0}, {1: 3.0}], LABELS), ("balanced", sp.csr_array(LABELS)),
], ids=["balanced", "dict", "whole dict", "labels", "dicts", "sparse"])
@pytest.mark.parametrize("size", SIZES)
def test_weights_of_classes_are_those_of_all_rows(given, y, size):
    def weights(comm):
        return class_weights(given, part(y, size, comm.rank), read_ranks("MLPClassifier", comm, 8, "local"))

    np.testing.assert_array_equal(np.concatenate(without_errors(run_ranks(size, weights))),
                                  compute_sample_weight(given, y))


@pytest.mark.parametrize("given", [{"low": 2.0, "lower": 3.0}, [{"low": 2.0}, {"high": 3.0}]])
def test_weights_of_classes_that_are_refused(given):
    y = np.sort(Y)
    with pytest.raises((TypeError, ValueError)) as alone:
        compute_sample_weight(given, y)
    for error in run_ranks(3, lambda comm: class_weights(
            given, part(y, 3, comm.rank), read_ranks("MLPClassifier", comm, 8, "local"))):
        assert type(error) is alone.type and str(error) == str(alone.value)


def test_categories_are_those_of_all_ranks():
    order = np.argsort(CITIES.astype(str), kind="stable")
    estimator = NeuralNetClassifier(categorical_features=[2], **SMALL)
    counts = [float((city == CITIES).sum()) for city in ("Berne", "Oslo", "Rome", "Turku", None)]
    for size in SIZES:
        for found in fitted(size, estimator, TABLE[order], Y[order], rows="local"):
            (column,) = found.category_encoder_.columns
            assert column.labels == ("Berne", "Oslo", "Rome", "Turku", None)
            assert column.counts.tolist() == counts


def test_ranks_have_different_numbers_of_rows():
    def fit(comm):
        rows = slice(0, 70) if comm.rank == 0 else slice(70, None)
        own = MLPClassifier((8,), early_stopping=True, validation_fraction=0.2, **SMALL)
        return own.fit(X[rows], Y[rows], WEIGHTS[rows], comm=comm, rows="local")

    first, second = without_errors(run_ranks(2, fit))
    check_equal(first, second)
    # 4 shards of 17 or 18 rows, 4 of 6 or 7: a fifth of each, rounded up
    assert first.t_ == 4 * (96 - 4 * 4 - 4 * 2)


def test_the_longest_sequence_is_that_of_all_ranks():
    order = np.argsort(STEPS, kind="stable")
    given = [SEQUENCES[i] for i in order]
    for found in fitted(2, RNNRegressor(units=(5,), **SMALL), given, SUMS[order], rows="local"):
        assert found.model_.input_shape == (7, 2) and found.n_features_in_ == 7

    def grow(comm):
        """Later sequences are longer, on one rank alone."""
        own = RNNRegressor(units=(5,), warm_start=True, **{**SMALL, "batch_size": 4})
        own.fit(SEQUENCES[:8], SUMS[:8], comm=comm, rows="local")
        longer = RNG.normal(size=(8, 11, 2)) if comm.rank else ENDED[:8, :7]
        return own.fit(longer, SUMS[:8], comm=comm, rows="local")

    first, second = without_errors(run_ranks(2, grow))
    check_equal(first, second)
    assert first.model_.input_shape == (11, 2)
