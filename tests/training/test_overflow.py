"""Numbers that overflow: a FloatingPointError that names the epoch, the weights of the last finite one, no warnings."""
import numpy as np
import pytest

from ldl_cy import MLPClassifier, MLPRegressor, Sequential, callbacks, layers, losses, optimizers

X = np.random.default_rng(0).standard_normal((40, 5))
LARGE = {"float32": 1e38, "float64": 1e300}
RULES = {
    "sgd": optimizers.SGD(), "adam": optimizers.Adam(), "ema": optimizers.SGD(0.1, ema=0.9), "gd": optimizers.GD(),
    "lbfgs": optimizers.LBFGS(), "cg": optimizers.ConjugateGradient(), "lm": optimizers.LevenbergMarquardt(),
    "gauss_newton_cg": optimizers.GaussNewtonCG(), "line_search": optimizers.GD(line_search=True),
    "bayesian": optimizers.LevenbergMarquardt(bayesian=True)}

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.mark.parametrize("what", ["targets", "weights", "penalty", "validation", "batches", "small"])
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", LARGE)
def test_fits(dtype, name, what):
    """The loss is finite in every epoch that is recorded, and the weights are those of the last of them."""
    large, rule, y, rows, kept = LARGE[dtype], RULES[name], X[:, :1], X, []
    model = Sequential([layers.Dense(4, "relu"), layers.Dense(1)], dtype, 0).build(5)
    options = {"loss": "squared_error", "optimizer": rule, "epochs": 20}
    if what in ("targets", "batches"):
        y = np.full_like(y, large)
    elif what == "weights":
        model.theta = model.theta * (large / 10)
    elif what == "penalty":
        model.theta, options["alpha"] = model.theta * (10 * large**0.5), 1e10
    elif what == "validation":
        options["validation_data"] = X, np.full_like(y, large)
    elif what == "small":
        model.theta, rows, y = 1e-30 * model.theta, 1e-100 * X, 1e-100 * y
    if what == "batches":
        if rule.full_batch:
            rule = options["optimizer"] = optimizers.RMSprop()
        rows, y = [(rows, y)] * 3, None
    start = model.theta.copy()
    watchers = [callbacks.EarlyStopping("loss", 99), callbacks.ReduceOnPlateau("loss", 0.5, 3)]
    try:
        history = model.fit(rows, y, callbacks=[
            lambda model, logs: kept.append(model.theta.copy()), *watchers[:1 if rule.method else 2]], **options)
        assert np.isfinite(history.history["loss"]).all()
    except FloatingPointError as error:
        assert f"non-finite in epoch {len(kept) + 1}" in str(error)
        assert str(error).split("; ")[-1].startswith(f"the weights are those of epoch {len(kept)}.")
    assert model.epoch == len(kept)
    np.testing.assert_array_equal(model.theta, kept[-1] if kept else start)


def test_losses_of_batches_whose_sum_overflows():
    """Each of them is finite, that of the epoch is not: the same with arrays and with an iterable."""
    y = np.full((40, 1), 5e153)
    options = {"loss": losses.SquaredError(scale=0.5), "optimizer": optimizers.SGD(1e-300), "epochs": 2}
    for given in ((X, y), ([(X[i:i + 4], y[i:i + 4]) for i in range(0, 40, 4)], None)):
        model = Sequential([layers.Dense(1)], "float64", 0).build(5)
        start = model.theta.copy()
        with pytest.raises(FloatingPointError, match="non-finite in epoch 1; the weights are those of epoch 0"):
            model.fit(*given, **options, **({"batch_size": 4} if given[1] is not None else {}))
        np.testing.assert_array_equal(model.theta, start)
        assert model.epoch == model.step == 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("dtype", LARGE)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", "cg", "gd"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_estimators(kind, solver, dtype, early):
    rows = X * LARGE[dtype] / 10
    est = kind(hidden_layer_sizes=(4,), solver=solver, dtype=dtype, max_iter=5, alpha=1e5, early_stopping=early,
               random_state=0)
    try:
        est.fit(rows, rows[:, 0] if kind is MLPRegressor else (X[:, 0] > 0).astype(int))
    except ValueError as error:
        assert str(error).startswith("Solver produced non-finite parameter weights.")
        if not hasattr(est, "model_"):          # in the first epoch: an unfitted estimator stays unfitted
            assert vars(est).keys() == est.get_params().keys()
            return
    assert np.isfinite(est.model_.theta).all() and np.isfinite(est.loss_curve_).all()
    assert est.loss_ == est.loss_curve_[-1] if est.loss_curve_ else np.isnan(est.loss_)
