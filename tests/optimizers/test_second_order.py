"""Full-batch methods: closed forms, their own conditions, resuming, threads, and what they refuse."""
import pickle
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from ldl_cy import Sequential, layers, losses
from ldl_cy.optimizers import GD, LBFGS, ConjugateGradient, GaussNewtonCG, LevenbergMarquardt

NEWTON = [LevenbergMarquardt(), GaussNewtonCG(max_products=100)]
EVERY = [LevenbergMarquardt(tol=0), LevenbergMarquardt(tol=0, bayesian=True), GaussNewtonCG(tol=0),
         ConjugateGradient(tol=0), LBFGS(tol=0), GD(0.1, tol=0), GD(0.1, tol=0, line_search=True),
         GD(0.1, tol=1e-12, criterion="loss"), GD(0.1, tol=1e-12, criterion="loss", line_search=True)]
TANH = [layers.Dense(5, "tanh"), layers.Dense(2)]
MSE = {"loss": "squared_error"}


def names(optimizers):
    return [repr(o) for o in optimizers]


def data(n=70, k=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    return X, np.sin(X @ rng.standard_normal((3, k))) + 0.1 * rng.standard_normal((n, k))


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def noisy_sine(n=40, seed=0):
    """More weights than rows fit this without noise."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 1))
    return X, np.sin(4 * X) + 0.2 * rng.standard_normal((n, 1))


def least_squares(X, y, weights):
    root = np.sqrt(weights)[:, None]
    return np.linalg.lstsq(root * np.c_[X, np.ones(len(X))], root * y.reshape(len(X), -1), rcond=None)[0].ravel()


# -- closed forms -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", NEWTON, ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("source", ["random", "diabetes"])
def test_least_squares_in_three_iterations(optimizer, weighted, k, source):
    rng = np.random.default_rng(0)
    X, y = diabetes() if source == "diabetes" else (rng.uniform(-1, 1, (101, 4)), rng.standard_normal(101))
    y = y if k == 1 else np.c_[y, X[:, :2] + rng.standard_normal((len(X), 2))]
    w = rng.uniform(0, 2, len(X)) if weighted else np.ones(len(X))
    w[::7] *= not weighted
    model = Sequential([layers.Dense(k)], "float64", 0)
    model.fit(X, y, **MSE, optimizer=optimizer, epochs=3, sample_weight=w if weighted else None)
    np.testing.assert_allclose(model.theta, least_squares(X, y, w), atol=1e-8)
    history = model.fit(X, y, **MSE, optimizer=optimizer, epochs=3, sample_weight=w if weighted else None)
    # converged, or as near as the loss can show
    assert history.stop_reason in ("converged", "stalled") and len(history.epoch) == 1


@pytest.mark.parametrize("optimizer", [*NEWTON, ConjugateGradient(1e-11), LBFGS(1e-11, loss_tol=0)], ids=repr)
def test_alpha_is_ridge(optimizer):
    X, y = diabetes()
    model = Sequential([layers.Dense(1)], "float64", 0)
    history = model.fit(X, y, **MSE, optimizer=optimizer, epochs=3 if optimizer in NEWTON else 200, alpha=100.0)
    ridge = Ridge(alpha=50.0).fit(X, y)
    tol = 1e-8 if optimizer in NEWTON else 1e-6
    np.testing.assert_allclose(model.theta, [*ridge.coef_, ridge.intercept_], atol=tol)
    w = model.theta[:-1]
    assert history.history["loss"][-1] == pytest.approx(np.mean((y - ridge.predict(X)) ** 2) + 50 * w @ w / len(y))


def test_conjugate_gradients_end_a_quadratic_after_as_many_steps_as_weights():
    X, y = diabetes()
    model = Sequential([layers.Dense(1)], "float64", 0)
    history = model.fit(X, y, **MSE, optimizer=ConjugateGradient(tol=1e-7, scale=1e-12), epochs=100)
    assert history.stop_reason == "converged" and len(history.epoch) <= model.n_parameters + 2
    np.testing.assert_allclose(model.theta, least_squares(X, y, np.ones(len(X))), atol=1e-5)


def test_evidence_of_a_linear_model():
    """MacKay's fixed point: γ = Σ λ/(λ + 2τ), τ = γ L / ((N − γ) Σθ²), λ the eigenvalues of L's Hessian."""
    X, y = diabetes()
    w = np.random.default_rng(0).uniform(0.5, 1.5, len(X))
    model = Sequential([layers.Dense(1)], "float64", 0)
    history = model.fit(X, y, **MSE, optimizer=LevenbergMarquardt(tol=1e-8, bayesian=True), epochs=200,
                        sample_weight=w)
    assert history.stop_reason == "converged"
    A = np.c_[X, np.ones(len(X))]
    H = 2 * A.T @ (w[:, None] * A) / w.sum()
    tau = 1e-3
    for _ in range(1000):
        theta = np.linalg.solve(H + 2 * tau * np.eye(11), 2 * A.T @ (w * y) / w.sum())
        residual = np.sum(w * (A @ theta - y) ** 2) / w.sum()
        eigenvalues = np.linalg.eigvalsh(H)
        gamma = np.sum(eigenvalues / (eigenvalues + 2 * tau))
        tau = gamma * residual / ((w.sum() - gamma) * (theta @ theta))
    np.testing.assert_allclose(model.theta, theta, atol=1e-6)
    assert history.history["effective_parameters"][-1] == pytest.approx(gamma, abs=1e-5)
    assert history.history["loss"][-1] == pytest.approx(residual + tau * theta @ theta, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_evidence_prevents_overfitting(seed):
    X, y = noisy_sine()
    T = np.linspace(-1, 1, 200)[:, None]
    errors = {}
    for bayesian in (False, True):
        model = Sequential([layers.Dense(20, "tanh"), layers.Dense(1)], "float64", seed)
        history = model.fit(X, y, **MSE, optimizer=LevenbergMarquardt(bayesian=bayesian), epochs=200)
        errors[bayesian] = np.mean((model.predict(T) - np.sin(4 * T)) ** 2)
    assert errors[True] < 0.02 and errors[False] > 3 * errors[True]
    gamma = np.array(history.history["effective_parameters"])
    assert np.all((gamma > 0) & (gamma < model.n_parameters)) and 4 < gamma[-1] < 10


def test_evidence_without_noise_and_without_anything_to_learn():
    X, _ = noisy_sine()
    for y in (2 * X, np.zeros_like(X)):
        model = Sequential([layers.Dense(1)], "float64", 0)
        model.fit(X, y, **MSE, optimizer=LevenbergMarquardt(bayesian=True), epochs=100)
        np.testing.assert_allclose(model.predict(X), y, atol=1e-9)
    model = Sequential([layers.Dense(20, "tanh"), layers.Dense(1)], "float64", 0)
    history = model.fit(X, np.sin(4 * X), **MSE, optimizer=LevenbergMarquardt(bayesian=True), epochs=300)
    assert history.history["loss"][-1] < 1e-6
    # θ = 0, where there is nothing to measure a penalty by
    model.theta = np.zeros(model.n_parameters)
    history = model.fit(X, np.sin(4 * X), **MSE, optimizer=LevenbergMarquardt(bayesian=True), epochs=3)
    assert np.isfinite(model.theta).all() and np.isfinite(history.history["loss"]).all()


# -- each method by its own measure -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_conjugate_gradients_reach_a_stationary_point(dtype):
    X, y = data()
    model = Sequential(TANH, dtype, 1)
    history = model.fit(X, y, **MSE, optimizer=ConjugateGradient(tol=1e-3), epochs=1000)
    assert history.stop_reason == "converged" and np.all(np.diff(history.history["loss"]) < 0)
    assert np.abs(model.loss_and_grad(X, y, **MSE)[1]).max() < 1.1e-3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lbfgs_is_scipys(dtype):
    X, y = data()
    model, other = (Sequential(TANH, dtype, 1).build(3) for _ in range(2))
    seen = []
    result = scipy.optimize.minimize(
        other.objective(X, y, **MSE), other.theta.astype(float), jac=True, method="L-BFGS-B",
        callback=lambda intermediate_result: seen.append(intermediate_result.fun),
        options={"maxcor": 7, "gtol": 1e-2, "maxiter": 1000, "ftol": 1e-9, "maxfun": 5000})
    history = model.fit(X, y, **MSE, optimizer=LBFGS(1e-2, memory=7, max_fun=5000, loss_tol=1e-9), epochs=1000)
    np.testing.assert_array_equal(model.theta, result.x.astype(dtype))
    assert history.history["loss"] == seen and history.result.nfev == result.nfev
    assert history.result.message == result.message
    again = model.fit(X, y, **MSE, optimizer=LBFGS(1.1e-2), epochs=1000)
    assert again.stop_reason == "converged" and len(again.history["loss"]) == 1
    assert LBFGS(max_fun=3).max_fun == 3
    model.reset()
    assert model.fit(X, y, **MSE, optimizer=LBFGS(0, max_fun=3), epochs=1000).stop_reason == "stalled"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_line_search_satisfies_armijo(dtype):
    X, y = data()
    model = Sequential(TANH, dtype, 1).build(3)
    reference = Sequential(TANH, "float64", 1).build(3)
    path = [model.theta.astype(float)]
    history = model.fit(X, y, **MSE, optimizer=GD(100.0, tol=0, line_search=True), epochs=40,
                        callbacks=lambda model, logs: path.append(model.theta.astype(float)))
    assert np.all(np.diff(history.history["loss"]) < 0)
    for a, b in pairwise(path):
        value, g = reference.loss_and_grad(X, y, **MSE, theta=a)
        rate = -(b - a) @ g / (g @ g)
        np.testing.assert_allclose(b, a - rate * g, atol=1e-12 if dtype == "float64" else 1e-6)
        assert np.log2(100 / rate) == pytest.approx(round(np.log2(100 / rate)), abs=1e-3)       # halved and doubled
        slack = 1e-14 if dtype == "float64" else 1e-7
        assert reference.loss_and_grad(X, y, **MSE, theta=b)[0] <= value - 1e-4 * rate * (g @ g) + slack


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_criterion_loss_ends_where_numpy_says(tol):
    X, y = data()
    theta, A, losses = np.zeros((4, 2)), np.c_[X, np.ones(len(X))], []
    while len(losses) < 2 or abs(losses[-1] - losses[-2]) > tol * max(losses[-2:]):
        losses.append(np.mean((A @ theta - y) ** 2))
        theta = theta - 0.2 * A.T @ (A @ theta - y) / len(X)
    model = Sequential([layers.Dense(2, kernel_initializer="zeros")], "float64", 0)
    history = model.fit(X, y, **MSE, optimizer=GD(0.2, tol=tol, criterion="loss"), epochs=10000)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(model.theta, theta.ravel(), atol=1e-12)
    assert history.stop_reason == "converged" and f"tol={tol:g}" in history.message


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
def test_reasons(optimizer):
    X, y = data()
    model = Sequential(TANH, "float64", 1)
    history = model.fit(X, y, **MSE, optimizer=optimizer, epochs=3)
    assert history.stop_reason == "epochs" and len(history.epoch) == 3 and model.epoch == model.step == 3
    assert history.message
    history = model.fit(X, y, **MSE, optimizer=optimizer, epochs=9, callbacks=lambda model, logs: model.epoch == 5)
    assert history.stop_reason == "callback" and history.epoch == [4, 5]
    assert history.message == "a callback ended the fit"
    assert np.all(np.isfinite(history.history["loss"]))


@pytest.mark.parametrize("optimizer", [
    LevenbergMarquardt(tol=1e3), GaussNewtonCG(tol=1e3), ConjugateGradient(tol=1e3), LBFGS(tol=1e3),
    GD(tol=1e3, line_search=True)], ids=repr)
def test_a_minimum_is_one_epoch(optimizer):
    """Also where it is the only one that was asked for."""
    X, y = data()
    for epochs in (1, 5):
        model = Sequential(TANH, "float64", 1).build(3)
        before = model.theta.copy()
        history = model.fit(X, y, **MSE, optimizer=optimizer, epochs=epochs)
        assert history.stop_reason == "converged" and history.epoch == [1]
        assert history.history["loss"] == [pytest.approx(model.evaluate(X, y, **MSE), rel=1e-12)]
        np.testing.assert_array_equal(model.theta, before)


def ill_conditioned():
    """Singular values from 1 to 1e-4: the loss hardly changes where the gradient is still far from 0."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8)) * np.logspace(0, -4, 8)
    return X, X @ (1e4 ** np.linspace(0, 1, 8)) + 100


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("tol", [1e-3, 1e-9, 0])
@pytest.mark.parametrize("kind", [
    LBFGS, ConjugateGradient, LevenbergMarquardt, GaussNewtonCG,
    lambda tol: GD(0.5, tol=tol, line_search=True)], ids=["lbfgs", "cg", "lm", "gauss_newton_cg", "line_search"])
@pytest.mark.parametrize("problem", [ill_conditioned, data], ids=["ill_conditioned", "tanh"])
def test_converged_means_that_no_entry_of_the_gradient_is_larger_than_tol(kind, tol, dtype, problem):
    X, y = problem()
    model = Sequential([layers.Dense(1)] if problem is ill_conditioned else TANH, dtype, 1)
    history = model.fit(X, y, **MSE, optimizer=kind(tol=tol), epochs=200)
    largest = np.abs(model.loss_and_grad(X, y, **MSE)[1]).max()
    noise = 1e-4 if dtype == "float32" else 1e-11         # of the gradient itself
    if history.stop_reason == "converged":
        assert largest <= tol + noise and f"is at most tol={tol:g}" in history.message
    elif history.stop_reason == "stalled":
        assert tol < largest + noise and f"is above tol={tol:g}" in history.message
    else:
        assert history.stop_reason == "epochs" and len(history.epoch) == 200


def test_lbfgs_ends_by_tol():
    X, y = ill_conditioned()
    model = Sequential([layers.Dense(1)], "float64", 1)
    history = model.fit(X, y, **MSE, optimizer=LBFGS(tol=1e-7), epochs=3000)
    assert history.stop_reason == "converged" and np.abs(model.loss_and_grad(X, y, **MSE)[1]).max() <= 1e-7
    model.reset()
    history = model.fit(X, y, **MSE, optimizer=LBFGS(tol=1e-7, loss_tol=1e-3), epochs=3000)
    assert history.stop_reason == "converged"
    assert history.message.startswith("an iteration lowered the loss by at most loss_tol=0.001 of itself; the largest")
    model.reset()
    history = model.fit(X, y, **MSE, optimizer=LBFGS(tol=1e-7, max_fun=5), epochs=3000)
    assert history.stop_reason == "stalled"
    assert history.message.startswith("the loss was evaluated max_fun=5 times; the largest entry of the gradient, ")
    history = model.fit(X, y, **MSE, optimizer=LBFGS(tol=1e-7), epochs=2)
    assert (history.stop_reason, len(history.epoch)) == ("epochs", 2)


def untrue(parameters, x):
    """A loss that falls along no gradient."""
    return x + parameters["w"] ** 2


def test_stalled():
    X, y = data()
    wrong = layers.Custom(untrue, lambda p, x, y, dy: (dy, {"w": -2 * p["w"] * dy.sum(axis=0)}), output_shape=3,
                          parameters={"w": 3})
    for optimizer in (LevenbergMarquardt(max_damping=1e3), GaussNewtonCG(max_damping=1e3), ConjugateGradient(),
                      GD(line_search=True), LBFGS()):
        model = Sequential([wrong], "float64", 1).build(3)
        model.theta = np.ones(3)
        history = model.fit(X, X - 5, **MSE, optimizer=optimizer, epochs=50)
        assert history.stop_reason == "stalled" and "is above tol=" in history.message
        assert len(history.history["loss"]) == 1
        np.testing.assert_array_equal(model.theta, 1.0)


def test_a_search_that_stalls():
    """Of a gradient so large that no step could be too short to be seen."""
    wrong = layers.Custom(untrue, lambda p, x, y, dy: (dy, {"w": -1e9 * p["w"] * np.abs(dy).sum(axis=0)}),
                          output_shape=3, parameters={"w": 3})
    X, _ = data()
    model = Sequential([wrong], "float64", 1).build(3)
    model.theta = np.ones(3)
    history = model.fit(X, X - 5, **MSE, optimizer=ConjugateGradient(), epochs=50)
    assert history.stop_reason == "stalled" and history.epoch == [1]
    assert history.message.startswith("no step lowers the loss; the largest entry of the gradient, ")
    np.testing.assert_array_equal(model.theta, 1.0)


def test_damping_grows_where_the_matrix_is_singular():
    """JᵀJ = 4 in all entries: μ begins so small that rounding loses it."""
    model = Sequential([layers.Dense(1, use_bias=False, kernel_initializer="zeros")], "float64", 1)
    X, y = np.full((8, 2), 2.0), np.full((8, 1), 3.0)
    history = model.fit(X, y, loss=losses.SquaredError(scale=0.5), optimizer=LevenbergMarquardt(1e-20), epochs=20)
    assert history.stop_reason == "converged"
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-12)


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_criterion_loss_of_a_line_search(tol):
    X, y = data()
    model = Sequential(TANH, "float64", 1)
    history = model.fit(X, y, **MSE, optimizer=GD(tol=tol, criterion="loss", line_search=True), epochs=10000)
    changes = -np.diff(history.history["loss"]) / history.history["loss"][:-1]
    assert (changes[:-1] > tol).all() and changes[-1] <= tol
    assert (history.stop_reason, history.message) == ("converged", f"the loss changed by at most tol={tol:g} of itself")


# -- resuming, threads, frozen layers, kinds of data ---------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [o for o in EVERY if not isinstance(o, LBFGS)], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_resumes_to_the_same_bits(optimizer, dtype, tmp_path):
    X, y = data()
    options = {**MSE, "optimizer": optimizer, "alpha": 0.01}
    whole, parts = Sequential(TANH, dtype, 1), Sequential(TANH, dtype, 1)
    expected = whole.fit(X, y, epochs=10, **options)
    first = parts.fit(X, y, epochs=5, **options)
    parts.save(tmp_path / "model")
    for model in (Sequential.load(tmp_path / "model"), pickle.loads(pickle.dumps(parts)), parts):
        second = model.fit(X, y, epochs=5, **options)
        np.testing.assert_array_equal(model.theta, whole.theta)
        for key, values in expected.history.items():
            assert first.history[key] + second.history[key] == values
        assert second.epoch == [6, 7, 8, 9, 10]
        assert model.training_state.to_dict() == whole.training_state.to_dict()


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
def test_threads_change_nothing(optimizer):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 10, 10, 3)).astype("float32"), rng.standard_normal((300, 1))
    stack = [layers.Conv2D(8, 3, padding="same", activation="tanh"), layers.MaxPool2D(2), layers.Flatten(),
             layers.Dense(1)]
    found = []
    for threads in (1, 2, 3):
        model = Sequential(stack, random_state=1)
        history = model.fit(X, y, **MSE, optimizer=optimizer, epochs=2, n_threads=threads)
        found.append((model.theta, history.history))
    for theta, history in found[1:]:
        np.testing.assert_array_equal(theta, found[0][0])
        assert history == found[0][1]


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frozen_layers_stay_to_the_bit(optimizer, dtype):
    X, y = data()
    stack = [layers.Dense(6, "tanh", trainable=False), layers.Dense(5, "tanh"), layers.Dense(2, trainable=False)]
    model = Sequential(stack, dtype, 1).build(3)
    before = {name: values.tobytes() for name, values in model.parameters.items()}
    first = model.evaluate(X, y, **MSE)
    history = model.fit(X, y, **MSE, optimizer=optimizer, epochs=10, alpha=0.1)
    for name, values in model.parameters.items():
        assert (values.tobytes() == before[name]) == (not name.startswith("dense_1"))
    assert model.evaluate(X, y, **MSE) < first
    if "effective_parameters" in history.history:
        assert max(history.history["effective_parameters"]) <= 35
        squares = sum(np.sum(v.astype(float) ** 2) for name, v in model.parameters.items() if "dense_1" in name)
        # the penalty is that of what moves
        expected = model.evaluate(X, y, **MSE) + model.training_state.optimizer.scalars["tau"] * squares
        assert history.history["loss"][-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
def test_sparse_rows_and_lengths(optimizer):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 30)) * (rng.uniform(size=(90, 30)) < 0.2)
    y = rng.standard_normal((90, 2))
    models = [Sequential(TANH, "float64", 1) for _ in range(2)]
    for model, rows in zip(models, (X, sp.csr_matrix(X))):
        model.fit(rows, y, **MSE, optimizer=optimizer, epochs=4)
    np.testing.assert_array_equal(models[0].theta, models[1].theta)
    lengths = rng.integers(1, 7, 90)
    X = rng.standard_normal((90, 6, 2))
    garbage = np.where(np.arange(6)[:, None] < lengths[:, None, None], X, 1e3)
    models = [Sequential([layers.GRU(4), layers.Dense(2)], "float64", 1) for _ in range(2)]
    for model, rows in zip(models, (X, garbage)):
        history = model.fit(rows, y, **MSE, optimizer=optimizer, epochs=4, lengths=lengths)
        assert history.history["loss"][-1] < history.history["loss"][0]
    np.testing.assert_array_equal(models[0].theta, models[1].theta)


@pytest.mark.parametrize("optimizer", [GaussNewtonCG(), ConjugateGradient(1e-9), LBFGS(1e-9, loss_tol=0)], ids=repr)
@pytest.mark.parametrize("loss", ["log_loss", "binary_log_loss", "poisson"])
def test_other_losses_reach_their_minimum(optimizer, loss):
    """Convex in the weights of one layer: all methods end at one point."""
    X, y = data(200)
    targets = (y[:, 0] > 0.3).astype(int) if loss == "log_loss" else (y > 0).astype(float)
    model = Sequential([layers.Dense(2)], "float64", 1)
    history = model.fit(X, targets, loss=loss, optimizer=optimizer, epochs=300, alpha=0.5)
    grad = model.loss_and_grad(X, targets, loss=loss)[1]
    grad[:6] += 0.5 / 200 * model.theta[:6]
    assert np.abs(grad).max() < 1e-8 and np.all(np.diff(history.history["loss"]) <= 1e-15)
