"""Recurrent layers carry a bit over 200 steps where the weights say so."""
import numpy as np
import pytest

from ldl_cy import Sequential, layers

STEPS = 200


def bits(n, seed=0):
    """A bit in the first step's first feature, then noise in the second."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n, STEPS, 2))
    X[:, 0, 0] = rng.choice([-1.0, 1.0], n)
    X[:, :, 1] = rng.standard_normal((n, STEPS))
    return X


def carrier(cell, dtype):
    """One unit that adds up the first feature, and what it holds of a one."""
    model = Sequential([cell(1)], dtype, 0).build((STEPS, 2))
    model.theta = np.zeros(model.n_parameters)
    p = {name.split(".")[1]: array for name, array in model.parameters.items()}
    if cell is layers.LSTM:
        # gates i, f, g, o: the forget and the output gate open for good, the bit goes in through g
        p["bias"][:] = [50, 50, 0, 50]
        p["kernel"][0, 2] = 50
        return model, np.tanh(1.0)
    p["kernel"][0, 0] = 1
    p["recurrent_kernel"][0, 0] = 1
    return model, 1.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cell", [lambda units: layers.RNN(units, "identity"), layers.LSTM], ids=["rnn", "lstm"])
def test_weights_that_hold_a_bit(cell, dtype):
    model, held = carrier(cell, dtype)
    X = bits(20)
    np.testing.assert_allclose(model.predict(X).ravel(), held * X[:, 0, 0], rtol=1e-6 if dtype == "float32" else 1e-12)


def test_gru_holds_its_state():
    """With z = 1 from the second step on the state of the first stays, to the bit."""
    model = Sequential([layers.GRU(1)], "float64", 0).build((STEPS, 2))
    model.theta = np.zeros(model.n_parameters)
    model.parameters["gru_0.kernel"][0] = [0, 50, 50]
    X = np.zeros((2, STEPS, 2))
    X[:, 1:, 0] = 1                             # z = logistic(50) = 1 - 2e-22: keep
    X[:, 0, 0] = [-1, 1]                        # z = logistic(-50) = 0 takes n = tanh(-50); z = 1 keeps 0
    np.testing.assert_array_equal(model.predict(X).ravel(), [-1, 0])
