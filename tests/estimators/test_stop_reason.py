"""Why a fit ended: the same words for each estimator and for History, and what the attribute is worth in a pickle."""
import pickle
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import ldl_cy
from ldl_cy import MLPClassifier, MLPRegressor, Sequential, layers, optimizers
from ldl_cy.callbacks import Callback, History

EVERY = [getattr(ldl_cy, f"{family}{kind}") for family in ("MLP", "CNN", "RNN", "NeuralNet")
         for kind in ("Classifier", "Regressor")]
WORDS = {"converged", "no_improvement", "epochs", "callback", "interrupted", "non_finite", "stalled", "error"}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 12))
LABELS = (X[:, 0] > 0).astype(int)


def stop(model, logs):
    return True


def interrupt(model, logs):
    raise KeyboardInterrupt


REASONS = {
    "epochs": {"max_iter": 2}, "no_improvement": {"max_iter": 60, "tol": 1e9, "n_iter_no_change": 2},
    "callback": {"max_iter": 5, "callbacks": [stop]},
    "interrupted": {"max_iter": 5, "callbacks": [interrupt]},
    "converged": {"solver": "lbfgs", "tol": 1e9}, "stalled": {"solver": "lbfgs", "max_fun": 2},
}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("reason", REASONS)
def test_every_estimator_says_why(kind, reason):
    est = kind(random_state=0, **REASONS[reason])
    assert not hasattr(est, "stop_reason_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        est.fit(X, LABELS)
    assert est.stop_reason_ == reason and reason in WORDS
    assert pickle.loads(pickle.dumps(est)).stop_reason_ == reason
    assert "stop_reason_ : str" in kind.__doc__ and f"'{reason}'" in kind.__doc__


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_exceptions_of_callbacks(kind, epoch):
    def fail(model, logs):
        if model.epoch == epoch:
            raise KeyError("mine")

    est = kind(max_iter=5, callbacks=[fail], random_state=0)
    with pytest.raises(KeyError, match="mine"):
        est.fit(X, LABELS)
    assert est.stop_reason_ == "error" and est.n_iter_ == epoch and "'error'" in kind.__doc__
    # before an epoch nothing changes
    before = est.set_params(callbacks=None).fit(X, LABELS).stop_reason_
    with pytest.raises(ValueError, match="NaN"):
        est.fit(X * np.nan, LABELS)
    assert before == est.stop_reason_ == "epochs"


def test_partial_fit():
    assert MLPClassifier(random_state=0).partial_fit(X, LABELS, classes=[0, 1]).stop_reason_ == "epochs"


@pytest.mark.parametrize("early_stopping", [False, True])
def test_non_finite(early_stopping):
    est = MLPRegressor(learning_rate_init=1e200, solver="sgd", early_stopping=early_stopping, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if early_stopping:
            est.fit(X, LABELS)
        else:
            with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
                est.fit(X, LABELS)
    assert est.stop_reason_ == "non_finite"


def test_early_stopping_and_a_loss_that_does_not_improve():
    est = MLPClassifier(early_stopping=True, n_iter_no_change=2, tol=1.0, random_state=0).fit(X, LABELS)
    assert est.stop_reason_ == "no_improvement"
    again = MLPClassifier(solver="gd", n_iter_no_change=2, tol=1.0, random_state=0).fit(X, LABELS)
    assert again.stop_reason_ == "no_improvement"


def test_the_last_fit_counts():
    est = MLPClassifier(max_iter=1, warm_start=True, random_state=0)
    with pytest.warns(ConvergenceWarning):
        est.fit(X, LABELS)
    est.set_params(max_iter=50, tol=1.0, n_iter_no_change=1).fit(X, LABELS)
    assert est.stop_reason_ == "no_improvement"


class Stops(Callback):
    def on_non_finite(self, model, error):
        return True


def test_histories_use_the_same_words():
    model = Sequential([layers.Dense(1)], random_state=0)
    history = model.fit(X, X[:, 0], loss="squared_error", optimizer=optimizers.SGD(1e30), callbacks=[Stops()])
    assert history.stop_reason == "non_finite"


def test_histories_from_older_pickles():
    old = History()
    state = {**vars(old), "stop_reason": "non-finite"}
    read = History.__new__(History)
    read.__setstate__(state)
    assert read.stop_reason == "non_finite"
    old.ended("converged", "it was")
    assert vars(pickle.loads(pickle.dumps(old))) == vars(old)


def test_tol_of_zero_says_how_to_train_for_all_epochs(capsys):
    options = {"tol": 0.0, "n_iter_no_change": 1, "learning_rate_init": 1e-12, "max_iter": 40, "random_state": 0}
    y = np.zeros(len(X))
    est = MLPRegressor(verbose=True, **{**options, "learning_rate_init": 0.5}).fit(X, y)
    assert est.stop_reason_ == "no_improvement"
    assert capsys.readouterr().out.endswith("Stopping. n_iter_no_change=np.inf trains for max_iter epochs.\n")
    with pytest.warns(ConvergenceWarning):
        est = MLPRegressor(**{**options, "n_iter_no_change": np.inf}).fit(X, y)
    assert est.stop_reason_ == "epochs" and est.n_iter_ == 40
    for kind in EVERY:
        assert "np.inf" in kind.__doc__.split("n_iter_no_change :")[1][:400]
