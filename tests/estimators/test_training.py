"""The training loop: solvers, stopping, step sizes, weights, and fits that resume."""
import _thread
import inspect
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.datasets import load_breast_cancer, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale
from small_estimators import CLASSIFIERS, EVERY, problem, small

from ldl_cy import MLPClassifier, MLPRegressor, optimizers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X_CANCER, Y_CANCER = load_breast_cancer(return_X_y=True)
X_CANCER = scale(X_CANCER)


# rates at which solvers learn, where it is not 0.001
RATES = {"sgd": 0.01, "gd": 1.0, "adagrad": 0.01, "adadelta": 1.0}
# of the estimators, and of those optimizers that have arguments of these names
NUMBERS = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}
# what solvers are whose numbers have other names
OTHERS = {"sgd": optimizers.SGD(0.01, 0.9, nesterov=True), "gd": optimizers.GD(0.01, tol=0.0)}


@pytest.mark.parametrize("solver", [name for name in optimizers.OPTIMIZERS if name != "lm"])
def test_solvers_learn(solver):
    """All but Levenberg-Marquardt, which is for squared errors."""
    clf = MLPClassifier(solver=solver, learning_rate_init=RATES.get(solver, 0.001), random_state=0, alpha=0.1,
                        max_iter=20 if solver == "gauss_newton_cg" else 200)
    assert clf.fit(X_CANCER, Y_CANCER).score(X_CANCER, Y_CANCER) > (0.99 if solver == "lbfgs" else 0.97)


@pytest.mark.parametrize("solver", [
    name for name, kind in optimizers.OPTIMIZERS.items() if issubclass(kind, optimizers.StepRule) and name != "adam"])
@pytest.mark.parametrize("name", EVERY)
def test_a_solver_is_the_optimizer_with_its_numbers(name, solver):
    kind = optimizers.OPTIMIZERS[solver]
    known = inspect.signature(kind).parameters
    optimizer = OTHERS.get(solver) or kind(0.01, **{key: value for key, value in NUMBERS.items() if key in known})
    by_name, by_object = (small(name, solver=solver, max_iter=3, **NUMBERS), small(name, solver=optimizer, max_iter=3))
    X, y = problem(by_name)
    np.testing.assert_array_equal(by_name.fit(X, y).model_.theta, by_object.fit(X, y).model_.theta)


@pytest.mark.parametrize("solver", ["gd", "lbfgs"])
@pytest.mark.parametrize("name", EVERY)
def test_full_batch_knows_neither_order_nor_repeats(name, solver):
    """Rows repeated, weighted, left out by a weight of 0, in any order: the same weights to the last bit."""
    def theta(X, y, weight):
        return small(name, solver=solver, max_iter=5).fit(X, y, sample_weight=weight).model_.theta

    X, y = problem(small(name), 30)
    times = np.arange(30) % 3
    order = np.random.default_rng(1).permutation(30)
    expected = theta(X, y, times)
    np.testing.assert_array_equal(theta(X[order], y[order], times[order]), expected)
    np.testing.assert_array_equal(theta(np.repeat(X, times, axis=0), np.repeat(y, times), None), expected)


def test_an_optimizer_that_converges():
    with warnings.catch_warnings():         # its own end counts as convergence
        warnings.simplefilter("error")
        clf = MLPClassifier(solver=optimizers.GD(0.5, tol=0.05), max_iter=500, random_state=0)
        assert clf.fit(X_CANCER, Y_CANCER).n_iter_ < 500
    assert not hasattr(clf, "partial_fit")


def test_weights_of_one_are_no_weights():
    X, y = X_CANCER[:100], Y_CANCER[:100]
    plain = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    ones = MLPClassifier(max_iter=3, random_state=0).fit(X, y, sample_weight=np.ones(100))
    np.testing.assert_allclose(ones.model_.theta, plain.model_.theta, rtol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_early_stopping_keeps_the_best(name):
    estimator = small(name, early_stopping=True, validation_fraction=0.3, n_iter_no_change=3, max_iter=100)
    X, y = problem(estimator, 120)
    estimator.fit(X, y)
    scores = estimator.validation_scores_
    assert len(scores) == estimator.n_iter_ == len(estimator.loss_curve_)
    assert estimator.best_validation_score_ == max(scores)
    assert estimator.best_loss_ is None
    # with validation data of the user's the same rows can be scored again
    estimator.fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    assert estimator.score(X[80:], y[80:]) == pytest.approx(max(estimator.validation_scores_), abs=1e-12)


def test_early_stopping_may_change_between_warm_fits():
    clf = MLPClassifier(warm_start=True, max_iter=3, random_state=0)
    clf.fit(X_CANCER, Y_CANCER).set_params(early_stopping=True).fit(X_CANCER, Y_CANCER)
    assert clf.best_validation_score_ == max(clf.validation_scores_) and clf.best_loss_ is None
    clf.set_params(early_stopping=False).fit(X_CANCER, Y_CANCER)
    assert clf.best_loss_ == min(clf.loss_curve_[6:]) and len(clf.loss_curve_) == 9


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_early_stopping_with_other_solvers(solver):
    clf = MLPClassifier(
        solver=solver, early_stopping=True, random_state=0, n_iter_no_change=10, learning_rate_init=0.01)
    clf.fit(X_CANCER, Y_CANCER)
    assert len(clf.validation_scores_) == clf.n_iter_
    assert clf.score(X_CANCER, Y_CANCER) > 0.95


def test_validation_data_is_scored_without_early_stopping():
    clf = MLPClassifier(max_iter=4, random_state=0)
    clf.fit(X_CANCER[:400], Y_CANCER[:400], X_val=X_CANCER[400:], y_val=Y_CANCER[400:],
            sample_weight_val=np.ones(169))
    assert len(clf.validation_scores_) == 4
    assert clf.validation_scores_[-1] == clf.score(X_CANCER[400:], Y_CANCER[400:])
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        clf.fit(X_CANCER, Y_CANCER, X_val=X_CANCER)
    with pytest.raises(ValueError, match="sample_weight_val needs X_val and y_val"):
        clf.fit(X_CANCER, Y_CANCER, sample_weight_val=Y_CANCER)


def test_too_little_to_hold_out():
    with pytest.raises(ValueError, match="The validation set is too small"):
        MLPRegressor(early_stopping=True).fit(X_CANCER[:8], Y_CANCER[:8])


def test_adaptive_divides_the_step_size(capsys):
    reg = MLPRegressor(
        solver="sgd", learning_rate="adaptive", learning_rate_init=1e-3, tol=10.0, n_iter_no_change=1,
        verbose=True, random_state=0)
    reg.fit(X_CANCER, Y_CANCER)
    printed = capsys.readouterr().out
    assert "Setting learning rate to 0.000200" in printed
    assert "Learning rate too small. Stopping." in printed
    assert reg.n_iter_ < 20


@pytest.mark.parametrize("name", EVERY)
def test_partial_fit_is_one_epoch(name):
    """Epochs one by one are a fit: weights, optimizer and random numbers continue."""
    whole, parts = small(name, max_iter=3), small(name)
    X, y = problem(whole)
    whole.fit(X, y)
    for call in range(3):
        parts.partial_fit(X, y, **({"classes": [0, 1, 2]} if call == 0 and "Classifier" in name else {}))
        assert parts.n_iter_ == 1
    np.testing.assert_array_equal(parts.model_.theta, whole.model_.theta)
    assert parts.loss_curve_ == whole.loss_curve_ and parts.t_ == 180


@pytest.mark.parametrize("parameters", [
    {}, {"shuffle": False}, {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 10.0},
    {"solver": "sgd", "learning_rate": "invscaling"}, {"solver": optimizers.Nadam(0.01, ema=0.9)},
    {"solver": "gd"}, {"solver": "cg"},
], ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_warm_start_resumes(name, parameters):
    dropout = {} if name.startswith("NeuralNet") else {"dropout": 0.2}
    whole = small(name, **dropout, **parameters, max_iter=7)
    parts = small(name, **dropout, **parameters, max_iter=3, warm_start=True)
    X, y = problem(whole)
    whole.fit(X, y)
    parts.fit(X, y)
    parts = pickle.loads(pickle.dumps(parts)).set_params(max_iter=4).fit(X, y)
    np.testing.assert_array_equal(parts.model_.theta, whole.model_.theta)
    assert parts.n_iter_ == 4 and parts.loss_curve_ == whole.loss_curve_
    parts.set_params(warm_start=False).fit(X, y)
    assert len(parts.loss_curve_) == 4


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_warm_start_holds_out_the_same_rows(name):
    clf = small(name, max_iter=2, warm_start=True, early_stopping=True)
    X, y = problem(clf)
    seen = []
    clf._score_encoded = lambda raw, rows: seen.append(np.asarray(rows.X)) or 0.5
    clf.fit(X, y).fit(X, y)
    for rows in seen[1:]:
        np.testing.assert_array_equal(rows, seen[0])


def test_warm_start_with_a_new_step_size():
    X, y = X_CANCER[:50], Y_CANCER[:50]
    clf = MLPClassifier(solver="sgd", learning_rate="invscaling", warm_start=True, max_iter=2, random_state=0).fit(X, y)
    assert clf._progress.step_size < 0.001
    clf.set_params(learning_rate_init=0.1, learning_rate="constant").fit(X, y)
    assert clf._progress.step_size == 0.1


def test_what_partial_fit_refuses():
    X, y = X_CANCER[:50], Y_CANCER[:50]
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    assert not hasattr(MLPClassifier(solver="gd"), "partial_fit")
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        MLPRegressor(early_stopping=True).partial_fit(X, y)
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    clf = MLPClassifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="`y` has classes not in"):
        clf.partial_fit(X, y + 5)
    with pytest.raises(ValueError, match="y has 2 outputs, but MLPRegressor was fitted with 1 outputs"):
        MLPRegressor().partial_fit(X, y).partial_fit(X, np.c_[y, y])


def test_non_finite_weights():
    X, y = make_regression(50, 5, random_state=0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="best weights so far are kept"):
        reg = MLPRegressor(solver="sgd", learning_rate_init=1e6, early_stopping=True, random_state=0)
        reg.fit(X, y)
    assert np.isfinite(reg.predict(X)).all()


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal; a job in the background begins with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_warns_and_returns(solver):
    timers = []

    def interrupt(model, logs):
        if not timers:
            timers.append(threading.Timer(0.1, _thread.interrupt_main))     # in a later epoch
            timers[0].start()

    clf = MLPClassifier((200, 200), solver=solver, max_iter=10**6, max_fun=10**6, tol=0, n_iter_no_change=10**6,
                        random_state=0, callbacks=interrupt)
    with pytest.warns(UserWarning, match="Training interrupted by user."):
        clf.fit(X_CANCER, Y_CANCER % 2 + np.arange(569) % 2)
    assert clf.n_iter_ == len(clf.loss_curve_) > 0
    assert np.isfinite(clf.predict_proba(X_CANCER)).all()


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_outputs_that_are_not_finite_score_nan(kind):
    est = kind(hidden_layer_sizes=(5,), max_iter=2, random_state=0)
    est.fit(X_CANCER, Y_CANCER, X_val=np.full((4, 30), 1e308), y_val=[0, 1, 0, 1])
    assert len(est.validation_scores_) == 2 and np.isnan(est.validation_scores_).all()
    assert np.isfinite(est.loss_curve_).all() and est.best_validation_score_ == -np.inf


def test_verbose_prints_losses_and_scores(capsys):
    clf = MLPClassifier((5,), max_iter=2, verbose=True, early_stopping=True, random_state=0).fit(X_CANCER, Y_CANCER)
    assert capsys.readouterr().out.splitlines() == [
        line for i, (loss, score) in enumerate(zip(clf.loss_curve_, clf.validation_scores_), 1)
        for line in (f"Iteration {i}, loss = {loss:.8f}", f"Validation score: {score:f}")]


def test_a_batch_larger_than_the_data_is_clipped():
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        MLPClassifier(batch_size=10**6, max_iter=1).fit(X_CANCER, Y_CANCER)


# -- partial_fit is one epoch of fit -------------------------------------------------------------------------

PARTIAL = {
    "adam": {},
    "batches of 7": {"batch_size": 7},
    "in order": {"shuffle": False},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("setting", PARTIAL)
@pytest.mark.parametrize("name", EVERY)
def test_partial_fits_are_the_epochs_of_one_fit(name, setting):
    parameters = {"n_iter_no_change": 100, **PARTIAL[setting]}
    if not name.startswith("NeuralNet"):
        parameters["dropout"] = 0.2
    whole = small(name, max_iter=6, **parameters)
    X, y = problem(whole)
    whole.fit(X, y)
    parts = small(name, **parameters)
    for i in range(whole.n_iter_):
        classes = {"classes": np.unique(y)} if is_classifier(parts) and i == 0 else {}
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y, **classes)))
    np.testing.assert_array_equal(parts.model_.theta, whole.model_.theta)
    assert parts.loss_curve_ == whole.loss_curve_ and parts.t_ == whole.t_
