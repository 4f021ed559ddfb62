"""Recurrent estimators: how rows are read and which layers come out."""
import numpy as np
import pytest
from sklearn.base import clone

from ldl_cy import RNNClassifier, RNNRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
SEQUENCES = RNG.normal(size=(200, 8, 3))
SUMS = SEQUENCES[:, :, 0].mean(axis=1)
ROWS = SEQUENCES.reshape(200, 24)
FEW = {"units": (6,), "max_iter": 2, "random_state": 0}


def kinds(estimator):
    return [type(layer).__name__ for layer in estimator.model_.layers]


@pytest.mark.parametrize("cell, kind", [("gru", "GRU"), ("lstm", "LSTM"), ("rnn", "RNN")])
def test_cells_learn(cell, kind):
    reg = RNNRegressor(cell, units=16, learning_rate_init=0.01, random_state=0).fit(SEQUENCES, SUMS)
    assert kinds(reg) == [kind, "Dense"]
    assert reg.score(SEQUENCES, SUMS) > 0.9
    clf = RNNClassifier(cell, units=16, learning_rate_init=0.01, random_state=0, max_iter=100)
    assert clf.fit(SEQUENCES, SUMS > 0).score(SEQUENCES, SUMS > 0) > 0.95


def test_sequences_and_rows_are_the_same():
    whole = RNNRegressor(**FEW).fit(SEQUENCES, SUMS)
    flat = RNNRegressor(input_shape=(8, 3), **FEW).fit(ROWS, SUMS)
    assert whole.n_features_in_ == 8 and flat.n_features_in_ == 24
    expected = flat.predict(ROWS)
    for reg in (flat, whole):
        np.testing.assert_array_equal(reg.predict(ROWS), expected)
        np.testing.assert_array_equal(reg.predict(SEQUENCES), expected)
    assert RNNRegressor(**FEW).fit(ROWS, SUMS).model_.input_shape == (24, 1)


def test_stacks():
    reg = RNNRegressor(**{**FEW, "units": (5, 4), "hidden_layer_sizes": (7,), "activation": "tanh"})
    reg.fit(SEQUENCES, SUMS)
    assert kinds(reg) == ["GRU", "GRU", "Dense", "Dense"]
    assert [layer.return_sequences for layer in reg.model_.layers[:2]] == [True, False]
    assert reg.model_.layers[2].activation == "tanh" and reg.n_layers_ == 5


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_bidirectional(cell):
    """Every recurrent layer reads in both directions; the network learns, and its clone gives the same numbers."""
    settings = {"cell": cell, "units": (6, 5), "bidirectional": True, "random_state": 0, "learning_rate_init": 0.02}
    clf = RNNClassifier(**settings, max_iter=60).fit(SEQUENCES, SUMS > 0)
    assert kinds(clf) == ["Bidirectional", "Bidirectional", "Dense"] and clf.n_layers_ == 4
    assert clf.model_.parameters["bidirectional_1.backward.kernel"].shape[0] == 12
    assert clf.score(SEQUENCES, SUMS > 0) > 0.95
    again = clone(clf).fit(SEQUENCES, SUMS > 0)
    np.testing.assert_array_equal(again.predict_proba(SEQUENCES), clf.predict_proba(SEQUENCES))


def test_dropout():
    reg = RNNRegressor(dropout=0.3, hidden_layer_sizes=(7,), **FEW).fit(SEQUENCES, SUMS)
    assert kinds(reg) == ["GRU", "Dropout", "Dense", "Dropout", "Dense"]


@pytest.mark.parametrize("settings, X, message", [
    ({"cell": "magic"}, ROWS, "The 'cell' parameter of RNNRegressor must be a str among"),
    ({"units": ()}, ROWS, "units must name at least one recurrent layer"),
    ({"input_shape": (24,)}, ROWS, "input_shape must be None or 2 ints >= 1"),
    ({"input_shape": (5, 5)}, ROWS, "X has 24 features, but RNNRegressor is expecting samples of shape"),
    ({}, SEQUENCES.reshape(200, 4, 2, 3), "reads sequences"),
])
def test_what_is_refused(settings, X, message):
    with pytest.raises(ValueError, match=message):
        RNNRegressor(**{**FEW, **settings}).fit(X, SUMS)
