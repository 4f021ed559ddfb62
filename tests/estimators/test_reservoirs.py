"""RNN* with spectral_radius and leak: echo-state networks, beside the recurrence in NumPy."""
import pickle

import numpy as np
import pytest
from recurrences import recurrence
from sklearn.linear_model import Ridge

from ldl_cy import RNNClassifier, RNNRegressor, layers


def series(n=400, seed=0):
    """Windows of a series of two waves and noise, and the value after each."""
    t = np.arange(n)
    values = np.sin(t / 5) + np.sin(t / 17) + 0.05 * np.random.default_rng(seed).normal(size=n)
    X = np.lib.stride_tricks.sliding_window_view(values, 30)[:-1].copy()
    return X, values[30:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("radius", [0.5, 0.99, 1, 1.3])
def test_eigenvalues(radius, dtype):
    X, y = series(60)
    options = {"units": (20, 7), "bidirectional": True, "solver": "ridge", "dtype": dtype, "random_state": 3}
    scaled = RNNRegressor("rnn", spectral_radius=radius, **options).fit(X, y).model_.parameters
    drawn = RNNRegressor("rnn", **options).fit(X, y).model_.parameters
    found = [name for name in drawn if name.endswith("recurrent_kernel")]
    assert len(found) == 4
    for name in found:
        values = np.abs(np.linalg.eigvals(scaled[name].astype(float)))
        np.testing.assert_allclose(values, radius, rtol=1e-12 if dtype == "float64" else 1e-5)
        np.testing.assert_allclose(scaled[name], radius * drawn[name], rtol=1e-6)
    *hidden, _, _ = drawn
    for name in set(hidden) - set(found):
        np.testing.assert_array_equal(scaled[name], drawn[name])


def test_states_and_output():
    X, y = series()
    estimator = RNNRegressor("rnn", 25, spectral_radius=0.9, leak=0.4, solver="ridge", alpha=1e-3, random_state=0)
    estimator.fit(X, y)
    own = {name.removeprefix("rnn_0."): value for name, value in estimator.model_.parameters.items()}
    states = recurrence(layers.RNN(25, leak=0.4), own, X[:, :, None])
    np.testing.assert_allclose(estimator.transform(X), states, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(estimator.predict(X), Ridge(1e-3).fit(states, y).predict(states), rtol=1e-8, atol=1e-8)


def test_forecasts_of_a_series():
    X, y = series(1200)
    options = {"units": 100, "solver": "ridge", "alphas": np.logspace(-6, 1, 8), "random_state": 0}
    echo = RNNRegressor("rnn", spectral_radius=0.95, leak=0.5, **options).fit(X[:800], y[:800])
    assert echo.score(X[800:], y[800:]) > 0.995
    assert echo.score(X[800:], y[800:]) > 1 - 0.2 * np.mean((y - X[:, -1])[800:] ** 2) / np.var(y[800:])


def test_trained_further():
    X, y = series(200)
    estimator = RNNRegressor("rnn", 10, spectral_radius=0.9, leak=0.4, solver="ridge", alpha=1e-3, random_state=0,
                             warm_start=True).fit(X, y)
    before = estimator.loss_
    estimator.set_params(solver="lbfgs", max_iter=20)
    with pytest.warns(Warning, match="lbfgs failed to converge"):
        estimator.fit(X, y)
    assert estimator.loss_ < before
    same = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(same.predict(X), estimator.predict(X))


@pytest.mark.parametrize("options, message", [
    ({"cell": "gru", "leak": 0.5}, r"^leak must be 1 with cell='gru', got 0.5; cell='rnn' takes others.$"),
    ({"cell": "lstm", "spectral_radius": 0.5}, r"^spectral_radius must be None with cell='lstm', got 0.5; cell='rnn'"),
    ({"cell": "rnn", "leak": 0.0}, "The 'leak' parameter of RNNClassifier must be a float in the range"),
    ({"cell": "rnn", "leak": 1.5}, "The 'leak' parameter of RNNClassifier must be a float in the range"),
    ({"cell": "rnn", "spectral_radius": 0}, "The 'spectral_radius' parameter of RNNClassifier must be a float in"),
    ({"cell": "rnn", "spectral_radius": np.nan}, "The 'spectral_radius' parameter of RNNClassifier must be a float"),
])
def test_refused(options, message):
    X, y = series(60)
    with pytest.raises(ValueError, match=message):
        RNNClassifier(**options).fit(X, y > 0)


def test_a_radius_that_overflows():
    X, y = series(60)
    with pytest.raises(ValueError, match=r"^RNNRegressor: spectral_radius times rnn_0.recurrent_kernel must fit into"):
        RNNRegressor("rnn", 5, spectral_radius=1e300, dtype="float32", solver="ridge").fit(X, y)
