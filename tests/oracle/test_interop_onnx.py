"""What to_onnx writes, run by ONNX Runtime and read by from_onnx: random networks, and pipelines with ZipMap."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra 'oracle' brings ONNX Runtime, with which these tests compare")
pytest.importorskip("hypothesis", reason="the extra 'oracle' brings hypothesis, which draws the networks")

import onnx
import onnxruntime
from oracle import networks
from oracle.problems import compare, make_batch, make_model
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import CLASSIFIERS, problem, small

from ldl_cy import interop
from ldl_cy import layers as L
from ldl_cy.layers.activation import ACTIVATIONS

TOL, FLOOR = 2e-5, 1e-1            # of the largest output, which counts as no less than the floor
CLOSE = {"float32": 1e-5, "float64": 1e-12}         # of what is read again
LATEST = onnx.defs.onnx_opset_version()


def run(onx, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(onx.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def check(tally, kind, problem, lengths=False, opset=18):
    """Compare the outputs for a batch, and of its first row alone."""
    tally.networks[f"{kind} (ONNX Runtime)"] += 1
    model = make_model(problem, "float32")
    X = make_batch(problem, model.output_shape)[0].astype(np.float32)
    onx = interop.to_onnx(model, lengths=lengths, opset=opset)
    onnx.checker.check_model(onx, full_check=True)
    ends = np.random.default_rng(problem["seed"]).integers(1, X.shape[1] + 1, len(X)) if lengths else None
    for rows in (slice(None), slice(1)):
        inputs = {"x": X[rows]} if ends is None else {"x": X[rows], "lengths": ends[rows]}
        expected = model.predict(X[rows], lengths=None if ends is None else ends[rows])
        compare(tally, "ONNX Runtime outputs", run(onx, inputs)[0], expected, TOL, FLOOR)
    read_again(tally, model, onx, X, ends)
    exact = make_model(problem, "float64")
    read_again(tally, exact, interop.to_onnx(exact, dtype="float64", lengths=lengths, opset=LATEST), X, ends)


def read_again(tally, model, onx, X, ends):
    """from_onnx reads all that to_onnx writes, in both dtypes."""
    again = interop.from_onnx(onx)
    found, expected = (each.predict(X, lengths=ends) for each in (again, model))
    compare(tally, f"from_onnx outputs, {model.dtype}", found, expected, CLOSE[model.dtype], FLOOR)


@networks.drawn(networks.dense_networks(), 15)
def test_dense(tally, problem):
    check(tally, "dense", problem)


@networks.drawn(networks.conv2d_networks(), 45)
def test_conv2d(tally, problem):
    check(tally, "conv2d", problem)


@networks.drawn(networks.conv1d_networks(), 40)
def test_conv1d(tally, problem):
    check(tally, "conv1d", problem)


@networks.drawn(networks.recurrent_networks(), 25)
def test_recurrent(tally, problem):
    check(tally, "recurrent", problem)


@networks.drawn(networks.normalized_networks(), 20)
def test_normalized(tally, problem):
    check(tally, "normalized", problem)


@networks.drawn(networks.mixed_networks(), 15)
def test_mixed(tally, problem):
    check(tally, "mixed", problem)


@networks.drawn(networks.branching_networks(), 20)
def test_branches(tally, problem):
    check(tally, "branches", problem)


@networks.drawn(networks.bidirectional_networks(), 10)
def test_bidirectional(tally, problem):
    check(tally, "bidirectional", problem)


@networks.drawn(networks.token_networks(), 10)
def test_tokens(tally, problem):
    check(tally, "tokens", {**problem, "ids": 11})


@networks.drawn(networks.category_networks(), 15)
def test_categories(tally, problem):
    check(tally, "categories", {**problem, "ids": 11})


@networks.drawn(networks.recurrent_networks(), 25)
def test_recurrent_with_lengths(tally, problem):
    check(tally, "with lengths", problem, lengths=True)


@networks.drawn(networks.bidirectional_networks(), 15)
def test_bidirectional_with_lengths(tally, problem):
    check(tally, "with lengths", problem, lengths=True)


def one(shape, stack, n=6):
    return {"shape": shape, "stack": stack, "loss": "squared_error", "smoothing": 0.0, "k": 3, "n": n,
            "weighted": False, "seed": n}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation(tally, kind):
    """Also in a cell, where ONNX Runtime has its own formulas, and with lengths."""
    check(tally, "designed", one((4, 5), [L.Dense(5, kind), L.Conv1D(3, 2, activation=kind)]))
    cells = [L.Bidirectional(L.RNN(3, kind, return_sequences=True)), L.RNN(2, kind, go_backwards=True)]
    for lengths in (False, True):
        check(tally, "designed", one((6, 3), cells), lengths=lengths)


@pytest.mark.parametrize("opset", range(18, min(23, onnx.defs.onnx_opset_version()) + 1))
def test_opsets(tally, opset):
    stack = [L.Conv2D(3, 3, padding="same", activation="gelu"), L.AvgPool2D(3, 2, 1), L.BatchNorm(),
             L.Add([], [L.Conv2D(3, 1, activation="mish")]), L.GlobalMaxPool2D(), L.Reshape((3, 1)), L.LayerNorm(),
             L.Bidirectional(L.GRU(2)), L.Dense(3, "gelu_tanh")]
    check(tally, "designed", one((7, 6, 2), stack), opset=opset)


@pytest.mark.parametrize("stack", [
    [L.MaxPool1D(4, 1, "same"), L.AvgPool1D(3, 1, "same"), L.MaxPool1D(3, 1, (0, 2)), L.GlobalMaxPool1D()],
    [L.GRU(3, return_sequences=True, go_backwards=True), L.LayerNorm(), L.BatchNorm(), L.GlobalAvgPool1D()],
    [L.Dense(3, "softplus"), L.Conv1D(3, 3, padding="causal"), L.Multiply([], [L.Dense(3, "logistic")])],
    [L.Add([], [L.LSTM(2, return_sequences=True), L.Dense(2)]), L.Flatten(), L.Dense(2)]])
def test_lengths(tally, stack):
    check(tally, "with lengths", one((7, 2), stack, 20), lengths=True)


@pytest.mark.filterwarnings("ignore:.*Maximum iterations:Warning")
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_pipelines(name):
    """Labels and a dict of probabilities for each row, as skl2onnx gives by default."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="the extra 'test' brings skl2onnx, which converts the pipelines")
    interop.register_skl2onnx()
    X, y = problem(small(name))
    for labels in (y, np.array(["low", "mid", "up"])[y], y > 0):
        model = make_pipeline(StandardScaler(), small(name, max_iter=5)).fit(X, labels)
        X32 = X.astype(np.float32)
        found, maps = run(skl2onnx.to_onnx(model, X32[:1]), {"X": X32})
        np.testing.assert_array_equal(found, model.predict(X32))
        p = np.array([[row[label] for label in model.classes_.tolist()] for row in maps])
        np.testing.assert_allclose(p, model.predict_proba(X32), atol=2e-6)
        again = interop.from_onnx(skl2onnx.to_onnx(model, X32[:1])).predict(X32)
        np.testing.assert_allclose(again, p[:, -again.shape[1]:], atol=2e-6)
