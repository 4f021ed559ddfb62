"""The estimators' callbacks, and scikit-learn's own."""
import copy
import csv
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_estimators import EVERY, problem, small
from states import state_of

from ldl_cy import MLPClassifier, Sequential, optimizers
from ldl_cy.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    ProgressBar,
    ReduceOnPlateau,
    TerminateOnNaN,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SINCE = "scikit-learn has callbacks from version 1.9 on"


class Recorder(Callback):
    def __init__(self):
        self.calls, self.checked, self.begun = [], [], []

    def check(self, optimizer, known):
        self.checked.append((type(optimizer).__name__, *known))

    def on_fit_begin(self, model, epochs):
        self.calls.append(("begin", epochs))

    def on_epoch_begin(self, model, epoch):
        assert model.epoch == epoch - 1
        self.begun.append(epoch)

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
    assert recorder.checked == [({"adam": "Adam", "lbfgs": "LBFGS"}[solver], "loss", "val_loss", "val_score")]
    assert recorder.begun == [1, 2, 3]
    logs = [entry[1] for entry in recorder.calls[1:-1]]
    assert [entry["loss"] for entry in logs] == est.loss_curve_
    assert [entry["val_loss"] for entry in logs] == est.validation_loss_curve_
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


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("scored", ["early_stopping", "X_val", "no"])
@pytest.mark.parametrize("name", EVERY)
def test_callbacks_of_sequential(name, scored, tmp_path):
    monitor = "loss" if scored == "no" else "val_score"
    kept = {}
    watchers = [Checkpoint(tmp_path / "m", every=2), CSVLogger(tmp_path / "log.csv"),
                ReduceOnPlateau("loss", 0.5, 1, min_delta=9.0), EarlyStopping(monitor, 3, 0.02),
                lambda model, logs: kept.update({model.epoch: state_of(model)})]
    est = small(name, callbacks=watchers, early_stopping=scored == "early_stopping", max_iter=30)
    X, y = problem(est)
    est.fit(X, y, **({"X_val": X, "y_val": y} if scored == "X_val" else {}))
    log = rows_of(tmp_path / "log.csv")
    assert [float(row[1]) for row in log[1:]] == est.loss_curve_ and len(log) == 1 + est.n_iter_ == 1 + max(kept)
    curve = est.loss_curve_
    if scored != "no":
        assert log[0] == ["epoch", "loss", "val_loss", "val_score"]
        assert [float(row[2]) for row in log[1:]] == est.validation_loss_curve_
        assert [float(row[3]) for row in log[1:]] == est.validation_scores_
        curve = [-score for score in est.validation_scores_]
    best, wait, last = np.inf, 0, 0
    while wait < 3 and last < 30:
        wait, best = (0, curve[last]) if curve[last] + 0.02 < best else (wait + 1, best)
        last += 1
    assert len(curve) == last and watchers[-2].stopped_epoch == (last if wait == 3 else None)
    # nothing improves by 9 but from infinity: half the rate after each epoch but the first
    assert kept[last]["memory"]["rate_factor"] == 0.5**(last - 1)
    # early stopping restores the best weights, and the last checkpoint has them
    saved = state_of(Sequential.load(tmp_path / "m"))
    assert saved == state_of(est.model_) and (saved == kept[last] or scored == "early_stopping")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", EVERY)
def test_best_weights(name, solver):
    kept, stopping = [], EarlyStopping("loss", 2, restore_best_weights=True, mode="max")
    est = small(name, solver=solver, max_iter=20,
                callbacks=[lambda model, logs: kept.append(model.theta.copy()), stopping])
    est.fit(*problem(est))
    assert est.n_iter_ == len(kept) == stopping.stopped_epoch < 20
    np.testing.assert_array_equal(est.model_.theta, kept[stopping.best_epoch - 1])


@pytest.mark.parametrize(("parameters", "message"), [
    ({"callbacks": [EarlyStopping("val_score")]},
     "EarlyStopping: monitor must be one of 'loss', got 'val_score'; it needs validation data."),
    ({"callbacks": [EarlyStopping("accuracy")], "early_stopping": True},
     "EarlyStopping: monitor must be one of 'loss', 'val_loss', 'val_score', got 'accuracy'."),
    ({"callbacks": [Checkpoint("m", save_best="val_loss")]},
     "Checkpoint: save_best must be one of 'loss', got 'val_loss'; it needs validation data."),
    ({"callbacks": [ReduceOnPlateau("loss")], "solver": "lbfgs"},
     "ReduceOnPlateau: the optimizer must take steps of a learning rate, got LBFGS."),
    ({"callbacks": [ReduceOnPlateau("loss")], "solver": optimizers.GD(line_search=True)},
     "ReduceOnPlateau: the optimizer must take steps of a learning rate, got GD."),
    ({"callbacks": [CSVLogger("no/such/folder")]}, "CSVLogger: path must be in a folder that exists"),
    ({"callbacks": [Checkpoint("no/such/folder")]}, "Checkpoint: path must be in a folder that exists"),
    ({"callbacks": [3]}, "Sequential: callbacks must be callbacks or functions, got 3."),
    ({"callbacks": [EarlyStopping]}, "Sequential: callbacks must be callbacks or functions, got <class"),
])
@pytest.mark.parametrize("name", EVERY)
def test_refused_before_any_work(name, parameters, message):
    est = small(name, max_iter=2)
    X, y = problem(est)
    before = pickle.dumps(est.fit(X, y).set_params(**parameters).model_)
    fitted = copy.copy(vars(est))
    with pytest.raises((TypeError, ValueError)) as error:
        est.fit(X[:, :3], y)
    assert str(error.value).startswith(message)
    assert vars(est) == fitted and pickle.dumps(est.model_) == before


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("hook", ["on_fit_begin", "on_epoch_begin", "on_epoch_end", "on_fit_end"])
def test_an_exception_leaves_a_usable_estimator(hook, incremental):
    def fail(*_):
        raise KeyError(hook)

    failing, first, last = Callback(), Recorder(), Recorder()
    setattr(failing, hook, fail)
    est = small("MLPRegressor", max_iter=3, callbacks=[first, failing, last])
    X, y = problem(est)
    with pytest.raises(KeyError, match=hook):
        (est.partial_fit if incremental else est.fit)(X, y)
    assert first.calls[0][0] == "begin" and first.calls[-1] == "end"
    assert last.calls[-1:] == ([] if hook == "on_fit_begin" else ["end"])
    assert np.isfinite(est.set_params(callbacks=None).fit(X, y).predict(X)).all()


@pytest.mark.parametrize("name", EVERY)
def test_terminate_on_nan(name):
    recorder = Recorder()
    est = small(name, solver=optimizers.SGD(1e30), max_iter=9)
    X, y = problem(est)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        est.fit(X * 1e20, y)
    est.set_params(callbacks=[TerminateOnNaN(), recorder])
    with warnings.catch_warnings():
        warnings.simplefilter("error")          # it ends quietly
        est.fit(X * 1e20, y)
    assert recorder.calls[-1] == "end" and np.isfinite(est.model_.theta).all() and len(est.loss_curve_) < 9


def test_copies_after_a_fit(tmp_path, capsys):
    watchers = [ProgressBar(), CSVLogger(tmp_path / "log"), EarlyStopping("loss")]
    est = small("MLPClassifier", max_iter=2, callbacks=watchers)
    X, y = problem(est)
    est.fit(X, y)
    for again in (clone(est), copy.deepcopy(est), pickle.loads(pickle.dumps(est))):
        np.testing.assert_array_equal(again.fit(X, y).model_.theta, est.model_.theta)


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
