"""How fits of estimators over several ranks end: interrupts, errors, weights that are not finite, and who says so."""
from __future__ import annotations

import warnings

import pytest
from estimators_on_ranks import NUMBERS, SMALL, X, Y, check_equal, fit_on, fitted
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from ldl_cy import MLPClassifier, MLPRegressor
from ldl_cy.callbacks import Callback


class Raising(Callback):
    """Raises an error after an epoch."""

    def __init__(self, error, epoch=2):
        self.error, self.epoch = error, epoch

    def on_epoch_end(self, model, epoch, logs):
        if epoch == self.epoch:
            raise self.error


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_interrupt_on_one_rank_ends_the_fit_on_all():
    def estimator(rank):
        return MLPClassifier((8,), **SMALL, callbacks=[Raising(KeyboardInterrupt())] if rank == 1 else None)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = fitted(3, estimator, X, Y)
    assert [str(w.message) for w in caught] == ["Training interrupted by user."]
    for found in results:
        assert found.stop_reason_ == "interrupted" and len(found.loss_curve_) == 2
        check_equal(results[0], found)


class Interrupted(MLPClassifier):
    """Is interrupted in its second epoch while it computes the score, on rank 1."""

    def _score_encoded(self, raw, rows):
        if self.n_threads == 1 and len(self.loss_curve_) == 2:
            raise KeyboardInterrupt
        return super()._score_encoded(raw, rows)


@pytest.mark.filterwarnings("ignore:Training interrupted", "ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("size", [2, 3])
def test_an_epoch_that_one_rank_has_not_recorded(size):
    def estimator(rank):
        return Interrupted((8,), **SMALL, early_stopping=True, warm_start=True, n_threads=1 if rank == 1 else 2)

    results = fitted(size, estimator, X, Y)
    for found in results:
        assert found.stop_reason_ == "interrupted"
        check_equal(results[0], found)
        found.set_params(n_threads=2)
    again = fitted(size, results.__getitem__, X, Y)         # which compares what the interrupted fits have left
    for found in again:
        check_equal(again[0], found)


def test_an_error_on_one_rank_is_that_of_all():
    made = [MLPClassifier((8,), **SMALL, callbacks=[Raising(KeyError("why"))] if rank == 1 else None)
            for rank in range(2)]
    for error in fit_on(2, made.__getitem__, X, Y):
        assert type(error) is KeyError and error.args == ("why",)
    for one in made:            # after an epoch they are fitted
        assert one.stop_reason_ == "error" and one.model_.epoch == 2


def test_weights_that_are_not_finite():
    estimator = MLPRegressor(hidden_layer_sizes=(8,), solver="sgd", **{**SMALL, "learning_rate_init": 1e200})
    for error in fit_on(2, estimator, X, NUMBERS):
        assert type(error) is ValueError and str(error).startswith("Solver produced non-finite parameter weights")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second = fitted(2, clone(estimator).set_params(early_stopping=True), X, NUMBERS)
    assert len(caught) == 1 and str(caught[0].message).endswith("The best weights so far are kept.")
    check_equal(first, second)


def test_lines_and_warnings_come_from_rank_0(capsys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted(3, MLPClassifier((8,), verbose=True, **SMALL), X, Y)
        fitted(3, MLPClassifier((8,), solver="lbfgs", max_iter=2, random_state=0), X, Y)
    assert [line[:12] for line in capsys.readouterr().out.splitlines()] == [
        f"Iteration {epoch}," for epoch in range(1, 5)]
    assert len(caught) == 2


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_warning_that_is_an_error_is_that_of_all(solver):
    """It comes after the last step, from rank 0 alone; the ranks can fit together again."""
    made = [MLPClassifier((8,), solver=solver, max_iter=2, random_state=0) for _ in range(2)]
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            errors = fit_on(2, made.__getitem__, X, Y)
        assert [type(error) for error in errors] == [ConvergenceWarning] * 2
