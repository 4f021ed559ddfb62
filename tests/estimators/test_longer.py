"""Sequences that are longer than those of the first fit: the network grows, with its weights and its training."""
import pickle

import numpy as np
import pytest
from small_estimators import small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(1)
NAMES = ["RNNClassifier", "RNNRegressor"]


def sequences(n, low, high, dtype="float64"):
    return [RNG.normal(size=(t, 2)).astype(dtype) for t in RNG.integers(low, high + 1, n - 1)] + [
        RNG.normal(size=(high, 2)).astype(dtype)]


def target(name, X):
    sums = np.array([x[:, 0].sum() for x in X])
    return sums > 0 if name == "RNNClassifier" else sums


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{}, {"cell": "lstm", "bidirectional": True, "units": (5, 4)}])
def test_partial_fit_as_if_there_had_been_room(name, settings, dtype):
    short, long = sequences(20, 2, 6, dtype), sequences(20, 3, 19, dtype)
    y_short, y_long = target(name, short), target(name, long)
    classes = {"classes": [False, True]} if name == "RNNClassifier" else {}
    grown = small(name, **settings)
    roomy = small(name, input_shape=(19, 2), **settings)
    for est in (grown, roomy):
        est.partial_fit(short, y_short, **classes)
        model, theta = est.model_, est.model_.theta
        est.partial_fit(long, y_long).partial_fit(short, y_short)
        assert est.model_ is model and est.model_.theta is theta and model.epoch == 3 == est.n_iter_ + 2
        assert model.input_shape == (19, 2) and model.dtype == dtype
    np.testing.assert_allclose(grown.model_.theta, roomy.model_.theta, rtol=1e-4 if dtype == "float32" else 1e-11)
    assert grown.t_ == roomy.t_ == 60
    again = pickle.loads(pickle.dumps(grown))
    np.testing.assert_array_equal(again.predict(long), grown.predict(long))
    np.testing.assert_array_equal(again.partial_fit(long, y_long).model_.theta,
                                  grown.partial_fit(long, y_long).model_.theta)


@pytest.mark.parametrize("name", NAMES)
def test_warm_start(name):
    short, long = sequences(20, 2, 6), sequences(20, 3, 19)
    grown = small(name, warm_start=True, max_iter=3).fit(short, target(name, short))
    roomy = small(name, warm_start=True, max_iter=3, input_shape=(19, 2)).fit(short, target(name, short))
    for est in (grown, roomy):
        est.fit(long, target(name, long))
    np.testing.assert_allclose(grown.model_.theta, roomy.model_.theta, rtol=1e-10)
    assert grown.n_features_in_ == 6, "as in the first fit"


def test_arrays_of_other_lengths():
    X = RNG.normal(size=(12, 6, 2))
    reg = small("RNNRegressor", max_iter=3).fit(X, X.sum(axis=(1, 2)))
    for steps in (3, 6, 15):
        other = RNG.normal(size=(5, steps, 2))
        np.testing.assert_allclose(reg.predict(other), reg.predict(list(other)), rtol=1e-12)
    assert reg.partial_fit(np.ones((4, 15, 2)), np.ones(4)).model_.input_shape == (15, 2)
    with pytest.raises(ValueError, match=r"X has samples of shape \(15, 3\), but RNNRegressor is expecting \(15, 2\)"):
        reg.predict(np.ones((4, 15, 3)))


@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
def test_flat_rows_are_as_long_as_in_the_first_fit(order):
    def given(X):
        return X if order == "channels_last" else X.transpose(0, 2, 1)

    X = RNG.normal(size=(12, 6, 2))
    flat = given(X).reshape(12, 12)
    reg = small("RNNRegressor", input_shape=(6, 2), input_format=order, learning_rate_init=1e-30)
    expected = reg.fit(flat, np.arange(12.0)).predict(flat)
    reg.partial_fit(given(RNG.normal(size=(4, 15, 2))), np.ones(4))         # the network grows, and stays what it is
    assert reg.model_.input_shape == (15, 2)
    for rows in (flat, given(X)):
        np.testing.assert_allclose(reg.predict(rows), expected, rtol=1e-12)
    X[:, 4:] = np.nan
    ended = given(X).reshape(12, 12)
    np.testing.assert_allclose(reg.predict(ended), reg.predict(given(X[:, :4])), rtol=1e-12)
    reg.partial_fit(flat, np.arange(12.0)).partial_fit(ended, np.arange(12.0))
    with pytest.raises(ValueError, match="X has 10 features, but RNNRegressor is expecting 12"):
        reg.predict(flat[:, :10])


def test_a_refused_fit_leaves_the_shorter_network():
    short, long = sequences(20, 2, 6), sequences(20, 3, 19)
    reg = small("RNNRegressor", max_iter=3).fit(short, target("RNNRegressor", short))
    network, before, state = reg.model_.network, reg.predict(long), reg.model_.training_state
    with pytest.raises(ValueError, match="y has 2 outputs"):
        reg.partial_fit(long, np.ones((20, 2)))
    assert reg.model_.network is network and reg.model_.training_state is state and reg._sample_shape == (6, 2)
    np.testing.assert_array_equal(reg.predict(long), before)


def test_few_networks_for_many_lengths():
    reg = small("RNNRegressor", max_iter=2).fit(sequences(10, 2, 6), np.arange(10.0))
    reg.predict(sequences(3, 17, 17))
    made = dict(reg.model_.network._of_steps)
    assert list(made) == [20]
    for steps in (17, 18, 20):
        reg.predict(sequences(3, steps, steps))
    assert reg.model_.network._of_steps == made
    for steps in range(7, 400):
        reg.predict([np.ones((steps, 2))])
    assert len(reg.model_.network._of_steps) <= 8


def test_validation_rows_may_be_longer():
    short, long = sequences(20, 2, 6), sequences(20, 3, 19)
    reg = small("RNNRegressor", max_iter=2)
    reg.fit(short, target("RNNRegressor", short), X_val=long, y_val=target("RNNRegressor", long))
    assert reg.model_.input_shape == (6, 2)
    assert reg.validation_scores_[-1] == pytest.approx(reg.score(long, target("RNNRegressor", long)), rel=1e-9)
