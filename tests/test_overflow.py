"""Numbers too large for their dtype: a FloatingPointError with the epoch, scikit-learn's ValueError, or a sentence.

Never a warning from within, and never weights that are not finite.
"""
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from ldl_cy import MLPClassifier, MLPRegressor, Sequential, layers, losses, optimizers

OPTIMIZERS = {**optimizers.OPTIMIZERS, "line_search": lambda: optimizers.GD(line_search=True),
              "bayesian": lambda: optimizers.LevenbergMarquardt(bayesian=True)}
HUGE = {"float32": (1e18, 3e38), "float64": (1e150, 1e300)}
WHAT = ("X", "y", "theta", "weights", "alpha")


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def problem(loss, what, huge):
    """X, y, settings of the fit."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), np.abs(rng.standard_normal((20, 2)))
    if loss in ("log_loss", "hinge"):
        y = np.arange(20) % 2
    elif loss == "binary_log_loss":
        y = y.round().clip(0, 1)
    elif what == "y":
        y = np.full_like(y, huge)
    X = np.sign(X) * huge if what == "X" else X
    weights = np.full(20, huge) if what == "weights" else None
    return X, y, {"sample_weight": weights, "alpha": huge if what == "alpha" else 0.0}


@pytest.mark.parametrize("dtype", HUGE)
@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_models(optimizer, loss, dtype):
    for what in WHAT:
        for huge in HUGE[dtype]:
            X, y, settings = problem(loss, what, huge)
            model = Sequential([layers.Dense(4, "relu"), layers.Dense(2)], dtype, 0).build(3)
            if what == "theta":
                model.theta[:] = np.sign(model.theta) * huge
            try:
                history = model.fit(X, y, loss=loss, optimizer=OPTIMIZERS[optimizer](), epochs=2, **settings)
                assert np.isfinite(history.history["loss"]).all()
            except FloatingPointError as error:
                assert f"became non-finite in epoch {model.epoch + 1}" in str(error)
            except ValueError as error:
                assert " must " in str(error)
            assert np.isfinite(model.theta).all()
            assert model.loss_and_grad(X, y, loss=loss)[1].shape == model.theta.shape
            assert model.jacobian(X).shape == (20, 2, model.n_parameters)
            assert isinstance(model.evaluate(X, y, loss=loss), float)


@pytest.mark.parametrize("dtype", HUGE)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(("kind", "loss"), [
    (MLPClassifier, "log_loss"), (MLPRegressor, "squared_error"), (MLPRegressor, "poisson")])
def test_estimators(kind, loss, solver, dtype):
    for what in (*WHAT, "rate"):
        for huge in HUGE[dtype]:
            X, y, settings = problem(loss, what, huge)
            est = kind(solver=solver, max_iter=3, random_state=0, dtype=dtype, alpha=settings["alpha"],
                       learning_rate_init=huge if what == "rate" else 1e-3)
            if kind is MLPRegressor:
                est.set_params(loss=loss)
            try:
                est.fit(X, y, sample_weight=settings["sample_weight"])
            except ValueError as error:
                assert "non-finite parameter weights" in str(error) or " must " in str(error)
                continue
            if what == "theta":
                est.model_.theta[:] = np.sign(est.model_.theta) * huge
            assert len(est.predict(X)) == 20
            try:
                with np.errstate(over="ignore", invalid="ignore"):        # in scikit-learn's function
                    est.score(X, y)
            except ValueError as error:
                assert str(error).startswith("Input contains ")


@pytest.mark.parametrize("size", [1e60, 1e100, 1e120])
def test_a_power_that_overflows_in_conjugate_gradients(size):
    """(pᵀg)² is infinite where the loss, the gradient and pᵀg are finite."""
    model = Sequential([layers.Dense(1, kernel_initializer="zeros")], "float64", 0)
    try:
        model.fit(np.ones((3, 2)), np.full(3, size), loss="squared_error", optimizer="cg", epochs=3)
    except FloatingPointError as error:
        assert "in epoch 1" in str(error)
    assert np.isfinite(model.theta).all()


def test_curvature_that_overflows():
    """exp of the raw outputs, in the products of GaussNewtonCG."""
    model = Sequential([layers.Dense(1, kernel_initializer="ones")], "float64", 0)
    try:
        model.fit(np.full((4, 1), 709.0), np.ones(4), loss="poisson", optimizer="gauss_newton_cg", epochs=3)
    except FloatingPointError as error:
        assert "in epoch 1" in str(error)
    assert np.isfinite(model.theta).all()
    assert losses.Poisson().curvature(np.full((2, 1), 1e4), np.ones((2, 1))).tolist() == [[np.inf], [np.inf]]


def test_means_that_are_infinite():
    est = MLPRegressor(loss="poisson", random_state=0, max_iter=2).fit(np.eye(4), np.ones(4))
    est.model_.theta[:] = 1e3
    assert est.predict(np.eye(4)).tolist() == [np.inf] * 4
    with pytest.raises(ValueError, match=r"^Input contains infinity"):
        est.score(np.eye(4), np.ones(4))
