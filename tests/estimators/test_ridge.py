"""solver="ridge": the output layer beside scikit-learn's Ridge and RidgeClassifier on the same hidden features."""
import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge, RidgeClassifier, RidgeClassifierCV, RidgeCV
from sklearn.model_selection import GridSearchCV
from small_estimators import CLASSIFIERS, EVERY, REGRESSORS, problem, small

from ldl_cy import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    NeuralNetRegressor,
    RNNRegressor,
    Sequential,
    layers,
)
from ldl_cy.estimators import closed_form
from ldl_cy.linalg.ridge import Moments, Triangle

ALPHAS = [1e-3, 0.1, 1.0, 30.0]
DTYPES = ["float32", "float64"]


def ridge(name, **parameters):
    return small(name, **{"solver": "ridge", "alpha": 0.5, **parameters})


def head(estimator):
    *_, kernel, bias = estimator.model_.parameters.values()
    return kernel, bias


def outputs(estimator, X):
    return estimator.decision_function(X) if is_classifier(estimator) else estimator.predict(X)


def check_beside(estimator, theirs, X, tol):
    """The estimator has the coefficients, intercepts and outputs of theirs, fitted on its hidden features."""
    kernel, bias = head(estimator)
    np.testing.assert_allclose(kernel, np.atleast_2d(theirs.coef_).T, rtol=tol, atol=tol)
    np.testing.assert_allclose(bias, np.ravel(theirs.intercept_), rtol=tol, atol=tol)
    features = estimator.transform(X).astype(float)
    expected = theirs.decision_function(features) if is_classifier(estimator) else theirs.predict(features)
    np.testing.assert_allclose(outputs(estimator, X), expected, rtol=tol, atol=tol)
    if is_classifier(estimator):
        np.testing.assert_array_equal(estimator.predict(X), theirs.predict(features))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_coefficients(name, weighted, dtype):
    estimator = ridge(name, dtype=dtype)
    X, y = problem(estimator, 61)
    weight = np.random.default_rng(0).uniform(0.5, 3, 61) if weighted else None
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        estimator.fit(X, y, weight)
    kind = RidgeClassifier if is_classifier(estimator) else Ridge
    theirs = kind(0.5).fit(estimator.transform(X).astype(float), y, weight)
    check_beside(estimator, theirs, X, 1e-9 if dtype == "float64" else 2e-5)
    assert (estimator.n_iter_, estimator.stop_reason_, estimator.alpha_) == (1, "converged", 0.5)
    assert not hasattr(estimator, "best_score_")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_choice_among_alphas(name, weighted, dtype):
    estimator = ridge(name, dtype=dtype, alphas=ALPHAS)
    X, y = problem(estimator, 61)
    weight = np.random.default_rng(0).uniform(0.5, 3, 61) if weighted else None
    estimator.fit(X, y, weight)
    kind = RidgeClassifierCV if is_classifier(estimator) else RidgeCV
    theirs = kind(ALPHAS).fit(estimator.transform(X).astype(float), y, weight)
    assert estimator.alpha_ == theirs.alpha_
    np.testing.assert_allclose(estimator.best_score_, theirs.best_score_, rtol=1e-8 if dtype == "float64" else 1e-5)
    check_beside(estimator, theirs, X, 1e-8 if dtype == "float64" else 2e-4)


@pytest.mark.parametrize("alphas", [None, ALPHAS])
@pytest.mark.parametrize("kind", ["two classes", "labels", "weighted classes", "targets"])
def test_kinds_of_targets(kind, alphas):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    if kind == "targets":
        y = X[:, :3] ** 2
        estimator, theirs = MLPRegressor, RidgeCV(alphas) if alphas else Ridge(0.5)
    else:
        y = (X[:, :3] > 0.2).astype(int) if kind == "labels" else np.where(X[:, 0] > 0.8, "yes", "no")
        weights = {"class_weight": "balanced"} if kind == "weighted classes" else {}
        estimator = MLPClassifier
        theirs = RidgeClassifierCV(alphas, **weights) if alphas else RidgeClassifier(0.5, **weights)
    options = {"class_weight": "balanced"} if kind == "weighted classes" else {}
    ours = estimator(hidden_layer_sizes=20, solver="ridge", alpha=0.5, alphas=alphas, random_state=0, **options)
    check_beside(ours.fit(X, y), theirs.fit(ours.transform(X), y), X, 1e-9)
    assert not alphas or ours.alpha_ == theirs.alpha_


@pytest.mark.parametrize("name", EVERY)
def test_hidden_layers_stay_as_they_were_drawn(name):
    estimator = ridge(name)
    X, y = problem(estimator)
    estimator.fit(X, y)
    trained = small(name, learning_rate_init=1e-300, max_iter=1, solver="sgd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        trained.fit(X, y)
    *hidden, _, _ = estimator.model_.parameters
    assert hidden
    for parameter in hidden:
        np.testing.assert_allclose(
            estimator.model_.parameters[parameter], trained.model_.parameters[parameter], rtol=0, atol=1e-200)


def test_loss_is_half_of_the_minimised_sum():
    X, y = problem(ridge("MLPRegressor"))
    y, weight = np.c_[y, y**2], np.linspace(0.5, 2, len(y))
    estimator = ridge("MLPRegressor").fit(X, y, weight)
    kernel, _ = head(estimator)
    squares = np.sum(weight[:, None] * (y - estimator.predict(X)) ** 2) + 0.5 * np.sum(kernel**2)
    assert estimator.loss_ == pytest.approx(0.5 * squares / weight.sum(), rel=1e-12)
    assert estimator.loss_curve_ == [estimator.loss_]


@pytest.mark.parametrize("alphas", [None, ALPHAS])
@pytest.mark.parametrize("hidden", [(), (12,)])
def test_sparse_rows(hidden, alphas):
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(150, 30, 0.2, "csr", random_state=0)
    y = X @ rng.normal(size=30) + rng.normal(size=150)
    dense = MLPRegressor(hidden_layer_sizes=hidden, solver="ridge", alphas=alphas, random_state=0).fit(X.toarray(), y)
    sparse = MLPRegressor(hidden_layer_sizes=hidden, solver="ridge", alphas=alphas, random_state=0).fit(X, y)
    for a, b in zip(head(dense), head(sparse)):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    if not hidden:
        theirs = (RidgeCV(alphas) if alphas else Ridge(1e-4)).fit(X.toarray(), y)
        np.testing.assert_allclose(sparse.coefs_[0].ravel(), theirs.coef_, rtol=1e-8)


@pytest.mark.parametrize("alphas", [None, ALPHAS])
@pytest.mark.parametrize("alpha, kind", [(1.0, Moments), (1e-9, Triangle)])
def test_blocks(monkeypatch, alpha, kind, alphas):
    rng = np.random.default_rng(0)
    X = 0.2 * rng.normal(size=(2000, 4))        # hidden units are almost linear, so almost dependent
    y = np.sin(5 * X).sum(axis=1)

    def fit():
        return MLPRegressor(hidden_layer_sizes=60, activation="tanh", solver="ridge", alpha=alpha, random_state=0,
                            alphas=None if alphas is None else [alpha, *alphas]).fit(X, y)

    whole = fit()
    monkeypatch.setattr(closed_form, "FEWEST_ROWS", 7)
    monkeypatch.setattr(closed_form, "MOST_NUMBERS", 1000)
    monkeypatch.setattr(closed_form, "KEPT_BYTES", 0)
    blocks = fit()
    assert isinstance(whole._progress.head_sums.sums, kind) and isinstance(blocks._progress.head_sums.sums, kind)
    np.testing.assert_allclose(blocks.predict(X), whole.predict(X), rtol=1e-6, atol=1e-7)
    assert blocks.alpha_ == whole.alpha_


@pytest.mark.parametrize("alphas", [None, ALPHAS])
@pytest.mark.parametrize("name", ["CNNClassifier", "RNNRegressor"])
def test_threads_change_no_bit(name, alphas):
    X = np.random.default_rng(0).normal(size=(300, 40))
    y = (X[:, 0] > 0).astype(int)
    first, second = (ridge(name, alphas=alphas, n_threads=n).fit(X, y) for n in (1, 3))
    np.testing.assert_array_equal(first.model_.theta, second.model_.theta)
    assert first.loss_ == second.loss_


def test_sequences_of_several_lengths():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(length, 2)) for length in rng.integers(2, 9, 50)]
    y = np.array([x[:, 0].sum() for x in X])
    estimator = RNNRegressor("rnn", 20, solver="ridge", alpha=0.1, random_state=0).fit(X, y)
    check_beside(estimator, Ridge(0.1).fit(estimator.transform(X), y), X, 1e-9)


def test_a_head_on_a_trained_trunk():
    X, y = problem(ridge("NeuralNetClassifier"), 200)
    trunk = Sequential([layers.Dense(8, "tanh"), layers.Dense(6, "tanh")], dtype="float64", random_state=0)
    trunk.build(6)
    before = trunk.theta.copy()
    estimator = NeuralNetClassifier(trunk, solver="ridge", alphas=ALPHAS).fit(X, y)
    np.testing.assert_allclose(estimator.transform(X), trunk.predict(X), rtol=1e-12)
    check_beside(estimator, RidgeClassifierCV(ALPHAS).fit(trunk.predict(X), y), X, 1e-8)
    np.testing.assert_array_equal(trunk.theta, before)


@pytest.mark.parametrize("alphas", [None, ALPHAS])
@pytest.mark.parametrize("frozen", [[0], [1], [0, 1], [0, 2]])
def test_frozen_layers(frozen, alphas):
    stack = [layers.Dense(8, "tanh"), layers.Dense(7, "tanh"), layers.Dense(6, "tanh")]
    X, y = problem(ridge("NeuralNetRegressor"), 200)
    free = NeuralNetRegressor(stack, solver="ridge", alphas=alphas, random_state=0).fit(X, y)
    some = [type(layer).from_config({**layer.get_config(), "trainable": i not in frozen})
            for i, layer in enumerate(stack)]
    estimator = NeuralNetRegressor(some, solver="ridge", alphas=alphas, random_state=0).fit(X, y)
    np.testing.assert_array_equal(estimator.model_.theta, free.model_.theta)
    parts = NeuralNetRegressor(some, solver="ridge", random_state=0).partial_fit(X[:90], y[:90])
    parts.partial_fit(X[90:], y[90:])
    if alphas is None:
        np.testing.assert_allclose(parts.model_.theta, free.model_.theta, rtol=1e-6, atol=1e-8)


def test_a_frozen_output_layer():
    X, y = problem(ridge("NeuralNetRegressor"))
    estimator = ridge("NeuralNetRegressor", warm_start=True).fit(X, y)
    before = estimator.model_.freeze().theta.copy()
    with pytest.raises(ValueError, match=r"^solver='ridge' computes .* output layer, which must be trainable, got a "):
        estimator.fit(X, y + 1)
    np.testing.assert_array_equal(estimator.model_.theta, before)


@pytest.mark.parametrize("stopping", [True, False])
def test_validation_rows_are_scored(stopping):
    estimator = ridge("MLPRegressor", early_stopping=stopping)
    X, y = problem(estimator, 80)
    estimator.fit(X, y, **({} if stopping else {"X_val": X[:20], "y_val": y[:20]}))
    assert len(estimator.validation_scores_) == 1
    assert estimator.best_validation_score_ == estimator.validation_scores_[0]
    if not stopping:
        assert estimator.validation_scores_[0] == pytest.approx(estimator.score(X[:20], y[:20]))
    else:
        # the other rows alone are fitted
        assert estimator._progress.head_sums.sums.n == 72


def test_callbacks_and_lines(capsys):
    seen = []
    estimator = ridge("MLPRegressor", verbose=True, callbacks=[lambda model, logs: seen.append((model.epoch, logs))])
    X, y = problem(estimator)
    estimator.fit(X, y)
    assert seen == [(1, {"loss": estimator.loss_})]
    assert capsys.readouterr().out == f"Iteration 1, loss = {estimator.loss_:.8f}\n"
    estimator.set_params(callbacks=lambda model, logs: True, verbose=False).fit(X, y)
    assert estimator.stop_reason_ == "callback" and estimator.score(X, y) > 0.5


def test_warm_starts_keep_trained_layers():
    estimator = small("MLPRegressor", max_iter=60, warm_start=True)
    X, y = problem(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X, y)
    features = estimator.transform(X)
    estimator.set_params(solver="ridge", alpha=0.1).fit(X, y)
    np.testing.assert_array_equal(estimator.transform(X), features)
    check_beside(estimator, Ridge(0.1).fit(features, y), X, 1e-9)
    # a second one is of its own rows alone
    estimator.fit(X[:30], y[:30])
    check_beside(estimator, Ridge(0.1).fit(features[:30], y[:30]), X, 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.set_params(solver="adam", max_iter=3).fit(X, y)
    assert not hasattr(estimator, "alpha_")


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
def test_copies_and_searches(name):
    estimator = ridge(name, alphas=ALPHAS)
    X, y = problem(estimator)
    estimator.fit(X, y)
    for same in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator)), clone(estimator).fit(X, y)):
        np.testing.assert_array_equal(outputs(same, X), outputs(estimator, X))
        assert (same.alpha_, same.best_score_) == (estimator.alpha_, estimator.best_score_)
    search = GridSearchCV(ridge(name), {"alpha": [1e-3, 1.0]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.3


@pytest.mark.parametrize("alphas", [[], [0.0], [1, -1], [np.nan], [np.inf], ["a"], [[1.0]], [10**400], ["a", []]])
def test_alphas_that_are_refused(alphas):
    estimator = ridge("MLPRegressor", alphas=alphas)
    X, y = problem(estimator)
    with pytest.raises(ValueError, match=r"^alphas must be None or finite numbers > 0, got "):
        estimator.fit(X, y)
    assert not hasattr(estimator, "model_")


def test_losses_that_are_refused():
    X, y = problem(ridge("MLPRegressor"))
    with pytest.raises(ValueError, match=r"^solver='ridge' minimises squared errors only, got the loss 'poisson' of"):
        ridge("MLPRegressor", loss="poisson").fit(X, abs(y))


def test_hidden_layers_that_overflow():
    X, y = problem(ridge("MLPRegressor"))
    with pytest.raises(ValueError, match=r"^Solver produced non-finite parameter weights"):
        ridge("MLPRegressor", hidden_layer_sizes=(5, 5), activation="identity").fit(X * 3e307, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_that_overflow(dtype):
    X, y = problem(ridge("MLPRegressor"))
    estimator = ridge("MLPRegressor", hidden_layer_sizes=(), alpha=0.0, dtype=dtype)
    scale = 1e30 if dtype == "float32" else 1e200
    with pytest.raises(ValueError, match=r"^Solver produced non-finite parameter weights"):
        estimator.fit(X / scale, y * scale)
    assert not hasattr(estimator, "model_")
