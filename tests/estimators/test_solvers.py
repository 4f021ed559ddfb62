"""Solvers that look at all rows and end by themselves, by name and as objects."""
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from small_estimators import problem, small

from ldl_cy import MLPRegressor, RNNRegressor, optimizers

SOLVERS = ["lm", "cg", optimizers.LevenbergMarquardt(tol=1e-2, bayesian=True), optimizers.GaussNewtonCG(tol=1e-2),
           optimizers.GD(1.0, tol=3e-2, line_search=True)]
REGRESSORS = ["MLPRegressor", "RNNRegressor"]


def regressor(name, **parameters):
    """A small network whose loss has derivatives."""
    sizes = {"hidden_layer_sizes": 5} if name == "MLPRegressor" else {"units": 4, "hidden_layer_sizes": ()}
    return small(name, **{"activation": "tanh", "max_iter": 300, "alpha": 0.01, **sizes, **parameters})


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_learn_and_converge(name, dtype, solver):
    reg = regressor(name, solver=solver, dtype=dtype, tol=1e-2, max_iter=3000)
    X, y = problem(reg)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        reg.fit(X, y)
    least = 0.9 if solver is not SOLVERS[-1] else 0.7          # the gradient alone takes long
    assert reg.score(X, y) > least and reg.predict(X).dtype == dtype
    assert 1 <= reg.n_iter_ == len(reg.loss_curve_) <= 3000
    assert np.all(np.diff(reg.loss_curve_) <= 1e-12) or "bayesian=True" in repr(solver)
    assert reg.loss_ == reg.loss_curve_[-1] and reg.best_loss_ == min(reg.loss_curve_)


@pytest.mark.parametrize("solver", ["lm", "cg"])
def test_the_loss_shown_is_that_of_several_outputs(solver):
    reg = regressor("MLPRegressor", solver=solver, max_iter=30)
    X, y = problem(reg)
    Y = np.c_[y, y**2, -y]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reg.fit(X, Y)
    squares = sum(np.vdot(w, w) for w in reg.coefs_)
    assert reg.loss_ == pytest.approx(0.5 * np.mean((reg.predict(X) - Y) ** 2) + 0.5 * 0.01 * squares / len(X))


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_early_stopping(name, solver):
    reg = regressor(name, solver=solver, early_stopping=True, n_iter_no_change=3, validation_fraction=0.3, max_iter=40)
    X, y = problem(reg)
    reg.fit(X, y + np.random.default_rng(0).normal(size=len(y)))
    assert len(reg.loss_curve_) == len(reg.validation_scores_) == reg.n_iter_
    assert reg.best_validation_score_ == max(reg.validation_scores_)
    assert reg.best_loss_ is None


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("name", REGRESSORS)
def test_too_few_iterations_warn(name, solver):
    reg = regressor(name, solver=solver, max_iter=2)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        reg.fit(*problem(reg))
    assert reg.n_iter_ == len(reg.loss_curve_) == 2
    assert not hasattr(reg, "partial_fit")


def test_least_squares_refuse_other_losses_and_dropout():
    X, y = problem(regressor("MLPRegressor"))
    with pytest.raises(ValueError, match="got the loss 'poisson' of MLPRegressor; solver='lbfgs' and"):
        MLPRegressor("poisson", solver="lm").fit(X, np.abs(y))
    with pytest.raises(ValueError, match=r"the network must be without .* got dropout_1\.$"):
        RNNRegressor(solver="lm", dropout=0.5).fit(X, y)


@pytest.mark.parametrize("solver", ["lm", "cg"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_resumes(solver):
    X, y = problem(regressor("MLPRegressor"))
    whole = regressor("MLPRegressor", solver=solver, max_iter=10, tol=0).fit(X, y)
    parts = regressor("MLPRegressor", solver=solver, max_iter=5, tol=0, warm_start=True).fit(X, y).fit(X, y)
    np.testing.assert_array_equal(parts.model_.theta, whole.model_.theta)
    assert parts.loss_curve_ == whole.loss_curve_


def test_a_list_of_sequences():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in rng.integers(2, 7, 50)]
    y = np.array([x[:, 0].mean() for x in X])
    reg = RNNRegressor("rnn", units=6, solver="lm", max_iter=30, alpha=0.001, tol=1e-3, random_state=0).fit(X, y)
    assert reg.score(X, y) > 0.9
