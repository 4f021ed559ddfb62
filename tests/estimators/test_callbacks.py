"""The estimators' callbacks, and scikit-learn's own."""
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_estimators import EVERY, problem, small

from ldl_cy import MLPClassifier
from ldl_cy.callbacks import Callback

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SINCE = "scikit-learn has callbacks from version 1.9 on"


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_fit_begin(self, model, epochs):
        self.calls.append(("begin", epochs))

    def on_epoch_end(self, model, epoch, logs):
        self.calls.append((epoch, dict(logs)))

    def on_fit_end(self, model):
        self.calls.append("end")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", EVERY)
def test_called_after_each_epoch(name, solver):
    recorder = Recorder()
    est = small(name, solver=solver, max_iter=3, early_stopping=True, callbacks=[recorder])
    X, y = problem(est)
    est.fit(X, y)
    assert recorder.calls[0] == ("begin", 3) and recorder.calls[-1] == "end"
    logs = [entry[1] for entry in recorder.calls[1:-1]]
    assert [entry["loss"] for entry in logs] == est.loss_curve_
    assert [entry["val_score"] for entry in logs] == est.validation_scores_


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_function_ends_the_fit(solver):
    est = small("MLPClassifier", solver=solver, max_iter=200, callbacks=lambda model, logs: logs["loss"] < 0.8)
    X, y = problem(est)
    est.fit(X, y)
    assert est.loss_curve_[-1] < 0.8 and all(loss >= 0.8 for loss in est.loss_curve_[:-1])
    assert est.n_iter_ == len(est.loss_curve_)
    assert len(clone(est).fit(X, y).loss_curve_) == est.n_iter_


def test_partial_fit_calls_too():
    recorder = Recorder()
    est = small("MLPRegressor", callbacks=(recorder,))
    X, y = problem(est)
    est.partial_fit(X, y).partial_fit(X, y)
    assert [entry[0] for entry in recorder.calls if isinstance(entry[0], int)] == [1, 2]


@pytest.mark.parametrize("callbacks", [3, [3], ["loss"]])
def test_bad_callbacks(callbacks):
    est = small("MLPClassifier", callbacks=callbacks)
    with pytest.raises((ValueError, TypeError), match="callbacks"):
        est.fit(*problem(est))


def test_verbose_draws_a_bar_or_prints(capsys):
    for name in ("MLPRegressor", "RNNRegressor"):
        est = small(name, max_iter=2, verbose=True)
        est.fit(*problem(est))
        out, err = capsys.readouterr()
        if name == "MLPRegressor":
            assert out.startswith(f"Iteration 1, loss = {est.loss_curve_[0]:.8f}\n") and not err
        else:
            assert not out and "2/2" in err and f"loss={est.loss_:.4g}" in err


class Tasks:
    """Follows scikit-learn's protocol of callbacks."""

    def __init__(self, stop_after=None):
        self.calls, self.scores, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.calls.append(f"end {context.task_name} {context.task_id}")
        if context.task_name == "epoch" and fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y))
            return context.task_id + 1 == self.stop_after
        return None


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", EVERY)
def test_scikit_learns_callbacks(name, solver):
    pytest.importorskip("sklearn.callback", reason=SINCE)
    watching = Tasks()
    est = small(name, solver=solver, max_iter=3).set_callbacks(watching)
    X, y = problem(est)
    est.fit(X, y)
    epochs = [f"{what} epoch {i}" for i in range(3) for what in ("begin", "end")]
    assert watching.calls == ["setup", "begin fit 0", *epochs, "end fit 0", "teardown"]
    assert watching.scores[-1] == est.score(X, y)
    assert np.isfinite(watching.scores).all() and len(set(watching.scores)) > 1


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_callbacks_see_each_task_end(solver):
    pytest.importorskip("sklearn.callback", reason=SINCE)
    watching = Tasks()
    est = small("MLPRegressor", solver=solver, max_iter=1000, tol=1e-2, n_iter_no_change=1).set_callbacks(watching)
    est.fit(*problem(est))
    assert est.n_iter_ < 1000
    begun = [call.removeprefix("begin ") for call in watching.calls if call.startswith("begin")]
    ended = [call.removeprefix("end ") for call in watching.calls if call.startswith("end")]
    assert sorted(begun) == sorted(ended) and len(watching.scores) == est.n_iter_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_callbacks_end_a_fit(solver):
    pytest.importorskip("sklearn.callback", reason=SINCE)
    est = small("MLPRegressor", solver=solver, max_iter=50).set_callbacks(Tasks(stop_after=4))
    est.fit(*problem(est))
    assert est.n_iter_ == 4


class Propagated(Tasks):
    """A search hands such a callback on to the estimators that it fits."""

    max_propagation_depth = None


def test_scikit_learns_callbacks_through_a_search():
    pytest.importorskip("sklearn.callback", reason=SINCE)
    watching = Propagated()
    est = MLPClassifier((5,), max_iter=3, random_state=0)
    X, y = problem(est)
    GridSearchCV(est, {"alpha": [0.1, 1.0]}, cv=2).set_callbacks(watching).fit(X, y)
    # two candidates on two folds, and the best one on all rows
    assert sum(call.startswith("end epoch") for call in watching.calls) == 5 * 3
    assert watching.calls.count("setup") == watching.calls.count("teardown") == 1
