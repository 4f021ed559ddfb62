"""The library against golden states: numbers that ci/make_golden.py computed without it."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ldl_cy import Sequential
from ldl_cy.layers import LSTM, RNN, Conv2D, Dense, Flatten, MaxPool2D
from ldl_cy.optimizers import SGD

FOLDER = Path(__file__).parent / "golden"
# The layers, by the name of the file, and the loss.
NETWORKS = {
    "mlp_classifier": ([Dense(8, "relu"), Dense(5, "tanh"), Dense(3)], "log_loss"),
    "mlp_regressor": ([Dense(6, "tanh"), Dense(5, "tanh"), Dense(2)], "squared_error"),
    "convolution": ([Conv2D(3, (3, 2), activation="tanh"), MaxPool2D(2), Flatten(), Dense(4)], "log_loss"),
    "elman": ([RNN(5), Dense(2)], "squared_error"),
    "lstm": ([LSTM(4), Dense(3)], "log_loss"),
}


def load(name, dtype):
    """(the file's arrays, a model with its weights, the arguments that name its batch)."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        state = dict(file)
    layers, loss = NETWORKS[name]
    model = Sequential(layers, dtype=dtype, random_state=0).build(state["X"].shape[1:])
    names = [key.removeprefix("parameter.") for key in state if key.startswith("parameter.")]
    assert list(model.parameters) == names
    for key, values in model.parameters.items():
        assert values.shape == state[f"parameter.{key}"].shape
        values[...] = state[f"parameter.{key}"]
    X = state["X"].astype(dtype)
    return state, model, {"X": X, "y": state["y"], "loss": loss, "sample_weight": state.get("sample_weight")}


def test_every_file_is_checked():
    assert {path.stem for path in FOLDER.iterdir()} == set(NETWORKS)


@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_gradient(name, dtype, tol):
    state, model, batch = load(name, dtype)
    loss, grad = model.loss_and_grad(**batch)
    assert loss == pytest.approx(float(state["loss"]), rel=tol)
    assert model.evaluate(**batch) == pytest.approx(float(state["loss"]), rel=tol)
    expected = np.concatenate([state[f"gradient.{key}"].ravel() for key in model.parameters])
    np.testing.assert_allclose(grad, expected, rtol=0, atol=tol * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_ten_steps(name):
    state, model, batch = load(name, "float64")
    steps = len(state["losses"])
    history = model.fit(
        **batch, optimizer=SGD(float(state["rate"])), batch_size="full", epochs=steps, shuffle=False)
    np.testing.assert_allclose(history.history["loss"], state["losses"], rtol=1e-9, atol=0)
