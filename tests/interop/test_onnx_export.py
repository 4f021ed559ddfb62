"""Networks as ONNX models, run by onnx's reference evaluator."""
import copy
import sys

import numpy as np
import onnx
import pytest
from cases import PUBLIC, example
from onnx_reference import run

from ldl_cy import Sequential, interop
from ldl_cy import layers as L
from ldl_cy.layers.activation import ACTIVATIONS

# of the largest output; attributes of nodes, as LayerNorm's epsilon, are float32
TOL = {"float32": 2e-6, "float64": 1e-12}
DTYPES = list(TOL)
LATEST = onnx.defs.onnx_opset_version()


def network(stack, shape, dtype="float32", seed=0):
    """A built model with weights, and statistics, that are not the initial ones."""
    model = Sequential(stack, dtype=dtype, random_state=seed).build(shape)
    rng = np.random.default_rng(seed)
    model.theta = model.theta + 0.3 * rng.standard_normal(model.n_parameters)
    for values in model.state.values():
        values[...] = rng.uniform(0.5, 2, values.shape)
    return model


def rows(model, n, seed=1):
    return np.random.default_rng(seed).standard_normal((n, *model.input_shape)).astype(model.dtype)


def agree(found, expected, dtype):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= TOL[dtype] * max(np.abs(expected).max(), 1e-3)


def check(stack, shape, dtype="float32", opset=18, X=None):
    """The model's outputs, for a batch and for one row."""
    model = network(stack, shape, dtype)
    onx = interop.to_onnx(model, opset=opset, dtype=dtype)
    assert [entry.version for entry in onx.opset_import] == [opset]
    X = rows(model, 5) if X is None else X.astype(dtype)
    for part in (X, X[:1]):
        y, = run(onx, x=part)
        agree(y, model.predict(part), dtype)
    return onx


def ops(onx):
    return [node.op_type for node in onx.graph.node]


# -- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Custom"])
def test_every_layer(name, dtype):
    case = example(name)
    X = case.data(np.random.default_rng(0), 5) if case.data else None
    check([copy.deepcopy(case.layer)], case.input_shape, dtype, X=X)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation(kind, dtype):
    """As a layer, after a product, after a convolution, and in a cell, in both directions."""
    check([L.Activation(kind)], (3, 5), dtype)
    check([L.Dense(5, kind), L.Conv1D(3, 2, activation=kind)], (4, 3), dtype)
    check([L.Bidirectional(L.RNN(3, kind, return_sequences=True)), L.RNN(2, kind, go_backwards=True)], (4, 3), dtype)


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_slope_of_leaky_relu(slope, dtype):
    check([L.Activation("leaky_relu", slope)], (7,), dtype)


@pytest.mark.parametrize("opset", range(18, LATEST + 1))
def test_every_opset(opset):
    stack = [L.Conv2D(3, 3, padding="same", activation="gelu"), L.AvgPool2D(3, 2, 1), L.BatchNorm(),
             L.Add([], [L.Conv2D(3, 1, activation="mish")]), L.GlobalMaxPool2D(), L.Reshape((3, 1)), L.LayerNorm(),
             L.Bidirectional(L.GRU(2)), L.Dense(3, "gelu_tanh")]
    check(stack, (7, 6, 2), opset=opset)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack, shape", [
    ([L.Conv1D(4, 3, padding="causal", dilation_rate=2)], (7, 2)),
    ([L.Conv1D(6, 3, 2, "same", groups=2, use_bias=False)], (8, 4)),
    ([L.Conv1D(3, 2, 3)], (6, 1)),                                      # the last step is in no window
    ([L.Conv2D(4, (3, 2), (2, 3), "same", activation="softmax")], (7, 5, 3)),
    ([L.Conv2D(4, 3, padding=(0, 2), dilation_rate=(1, 2), groups=2)], (5, 6, 2)),
    ([L.Conv2D(16, 3, padding="same")], (9, 9, 16)),                    # Winograd
    ([L.Conv2D(3, 3, padding=1, groups=3)], (5, 5, 3)),                 # depthwise
    ([L.MaxPool1D(3, 2, "same"), L.AvgPool1D(2, 1, "same")], (8, 3)),
    ([L.MaxPool2D((3, 2), 2, (1, 0)), L.AvgPool2D(2, 1, "same")], (7, 6, 3)),
    ([L.AvgPool2D(3, 2, 2)], (5, 4, 1)),
    ([L.AvgPool2D(3, 3)], (8, 7, 2)),
    ([L.ZeroPadding2D(((1, 2), (0, 3))), L.MaxPool2D(3, 1, ((0, 2), (1, 0))), L.ZeroPadding2D(1)], (5, 4, 2)),
    ([L.ZeroPadding1D((2, 1)), L.Conv1D(2, 3, padding=(0, 2)), L.AvgPool1D(3, 2, (2, 1))], (5, 2)),
    ([L.GRU(2, return_sequences=True), L.ZeroPadding1D((0, 2)), L.GRU(2)], (5, 2)),
])
def test_windows(stack, shape, dtype):
    check(stack, shape, dtype)


@pytest.mark.parametrize("cell", [L.RNN, L.LSTM, L.GRU])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_recurrent(cell, sequences, backwards, bias):
    """Gates, biases and directions, alone and in a Bidirectional of both kinds."""
    layer = cell(3, return_sequences=sequences, go_backwards=backwards, use_bias=bias)
    for dtype in DTYPES:
        for stack in ([layer], [L.Bidirectional(layer)], [L.Bidirectional(layer, "sum")]):
            check(stack, (5, 2), dtype)
    check([layer], (1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack, shape", [
    ([L.Add([], [], [L.Dense(3)])], (3,)),
    ([L.Concatenate([L.Conv2D(2, 3, padding="same")], [], [L.AvgPool2D(3, 1, "same")]), L.Conv2D(2, 2)], (5, 4, 3)),
    ([L.Conv2D(3, 1), L.Add([L.Conv2D(3, 3, padding="same"), L.BatchNorm(), L.PReLU((1, 2), "uniform")], []),
      L.PReLU(None, "uniform"), L.Flatten(), L.Dense(2)], (4, 5, 2)),
    ([L.Concatenate(L.LSTM(2), L.GlobalAvgPool1D(), [L.Flatten(), L.Dense(2)])], (4, 3)),
    ([L.Conv1D(3, 2), L.GRU(4, return_sequences=True), L.BatchNorm(), L.Activation("relu"), L.LSTM(2)], (6, 2)),
    ([L.GRU(3, return_sequences=True), L.PReLU(1, "uniform"), L.PReLU((2,), "uniform"), L.GlobalMaxPool1D()], (5, 2)),
    ([L.GRU(2, return_sequences=True), L.PReLU(None, "uniform"), L.GRU(2)], (5, 2)),
    ([L.Dense(4), L.BatchNorm(epsilon=0.01), L.Dropout(0.3), L.Dense(2, "softmax")], (3,)),
    ([L.BatchNorm(), L.LayerNorm(0.1)], (3, 2, 2)),
    ([L.LayerNorm(axis=1), L.LayerNorm(0.1, (1, 3))], (4, 3, 2)),
    ([L.Conv2D(3, 2), L.Normalization((1, 2, 3), (4, 0, 6)), L.Normalization(0.5, 2.0, (1, -1)), L.Conv2D(2, 1),
      L.Normalization(axis=None), L.Normalization((1, 2), (3, 4), 2)], (4, 3, 2)),
    ([L.LayerNorm(axis=(2, 3)), L.LayerNorm(axis=(-1, -2, -3))], (4, 3, 2)),
    ([L.Permute((2, 1)), L.Conv1D(3, 2), L.PReLU(None, "uniform"), L.Permute((2, 1)), L.BatchNorm(), L.GRU(2)], (4, 5)),
    ([L.Conv2D(2, 2), L.Permute((3, 1, 2)), L.PReLU((1,), "uniform"), L.GlobalMaxPool2D()], (4, 5, 1)),
    ([L.Permute((2, 3, 1)), L.Permute((3, 1, 2))], (2, 3, 4)),
    ([L.GRU(3, return_sequences=True), L.Normalization(axis=1), L.GRU(2), L.Normalization(1.5, 2)], (4, 2)),
    ([L.Dropout(0.5)], (3, 2)),
    ([L.Conv2D(4, 3), L.Multiply([], [L.GlobalAvgPool2D(), L.Dense(4, "logistic"), L.Reshape((1, 1, 4))], []),
      L.Conv2D(1, 1), L.Multiply([], [L.Conv2D(3, 1)])], (5, 6, 2)),
    ([L.Multiply([L.Reshape((1, 6))], [L.Reshape((6, 1))])], (6,)),
    ([L.Add([], [L.Dropout(0.5)])], (3,)),
    ([L.Activation("softmax"), L.Activation("tanh")], ()),
    ([L.Reshape((1, 1)), L.Dense(2)], ()),
    ([L.Flatten()], ()),
    ([L.Conv1D(3, 2), L.Conv1D(2, 2, activation="softmax"), L.Conv1D(2, 2)], (9, 2)),
])
def test_networks(stack, shape, dtype):
    check(stack, shape, dtype)


# -- what a model looks like -----------------------------------------------------------------------------------------


def test_no_transposition_between_layers_of_one_order():
    block = L.Add([], [L.BatchNorm(), L.Activation("relu"), L.Conv2D(4, 3, padding="same")])
    onx = check([L.Conv2D(4, 3, activation="relu"), L.MaxPool2D(), block, L.PReLU((1, 2)), L.GlobalAvgPool2D(),
                 L.Dense(2)], (10, 9, 1))
    assert ops(onx) == ["Transpose", "Conv", "Relu", "MaxPool", "BatchNormalization", "Relu", "Conv", "Add", "PRelu",
                        "ReduceMean", "MatMul", "Add"]
    onx = check([L.LSTM(3, return_sequences=True), L.Bidirectional(L.GRU(2, return_sequences=True)), L.LSTM(2)], (5, 2))
    assert ops(onx).count("Transpose") == 2             # one within Bidirectional
    # channels first, then steps first: one transposition instead of two
    # a layer that transposes is one with the transposition before or after it
    assert ops(check([L.Conv2D(4, 2), L.Permute((3, 1, 2)), L.Activation("tanh")], (4, 5, 2))) == [
        "Transpose", "Conv", "Tanh"]
    assert ops(check([L.Permute((2, 3, 1)), L.Conv2D(4, 2), L.Permute((2, 1, 3))], (2, 4, 5))) == ["Conv", "Transpose"]
    assert ops(check([L.Conv1D(2, 2), L.GRU(2)], (4, 2))) == ["Transpose", "Conv", "Transpose", "GRU", "Squeeze"]


def test_names_and_versions():
    model = network([L.Conv1D(2, 2, name="x"), L.BatchNorm(), L.LSTM(2), L.Add([L.Dense(2)], []), L.Dense(3)], (5, 2))
    onx = interop.to_onnx(model)
    assert onx.producer_name == "ldl_cy" and onx.ir_version <= 10 and onx.domain == ""
    assert [entry.name for entry in (*onx.graph.input, *onx.graph.output)] == ["x", "y"]
    assert onx.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    names = [node.name for node in onx.graph.node]
    assert all(names) and len(set(names)) == len(names)
    layers = {name.partition("/")[0] for name in names}
    assert layers == {"x", "batch_norm_1", "lstm_2", "add_3.0.dense_0", "add_3", "dense_4"}
    weights = {entry.name for entry in onx.graph.initializer}
    assert {*model.parameters} <= weights - {"lstm_2.direction"}
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(
        next(entry for entry in onx.graph.initializer if entry.name == "add_3.0.dense_0.kernel")),
        model.parameters["add_3.0.dense_0.kernel"])


def test_nothing_is_written_that_is_not_read():
    onx = interop.to_onnx(network([L.Conv2D(2, 2), L.Flatten(), L.Dense(2)], (3, 3, 1)))
    read = {name for node in onx.graph.node for name in node.input}
    assert {entry.name for entry in onx.graph.initializer} <= read
    assert {name for node in onx.graph.node for name in node.output} - {"y"} <= read


def test_weights_are_rounded_to_float32():
    model = network([L.Dense(3, "tanh"), L.Dense(2)], (4,), "float64")
    y, = run(interop.to_onnx(model), x=(X := rows(model, 5).astype("float32")))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, model.predict(X), atol=1e-6)


def test_written_as_a_whole(tmp_path):
    model, path = network([L.Dense(2)], (3,)), tmp_path / "net.onnx"
    path.write_bytes(b"before")
    onx = interop.to_onnx(model, path)
    assert onnx.load(path) == onx and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError):
        interop.to_onnx(model, tmp_path / "no folder" / "net.onnx")


# -- what is refused ---------------------------------------------------------------------------------------------------


def custom():
    return L.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), lambda shape: shape)


class Own(L.Dense):
    """A subclass may compute anything."""


class Join(L.Add):
    """So may one of a branch."""


@pytest.mark.parametrize("stack, text", [
    ([custom()], r"to_onnx: layers must be of Activation, .*, got Custom 'custom_0', which has no counterpart in ONNX"),
    ([L.Dense(3), L.Add([], [L.Dense(3), L.Concatenate([custom()], []), L.Dense(3)])],
     r"got Custom 'add_1.1.concatenate_1.0.custom_0'"),
    ([Own(2, name="mine")], "got Own 'mine'"),
    ([Join([], [])], "branches must be Add, .*, got Join 'join_0'"),
])
def test_layers_without_counterpart(stack, text, tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(ValueError, match=text):
        interop.to_onnx(Sequential(stack).build(3), path)
    assert not path.exists()


def test_states_that_leak():
    model = Sequential([L.Bidirectional(L.RNN(2, leak=0.25))]).build((4, 3))
    with pytest.raises(ValueError, match=r"^to_onnx: Bidirectional 'bidirectional_0' must have leak 1, got 0.25.$"):
        interop.to_onnx(model)


@pytest.mark.parametrize("settings, kind, text", [
    ({"opset": 17}, ValueError, "to_onnx: opset must be an int >= 18, got 17"),
    ({"opset": LATEST + 1}, ValueError, f"to_onnx: opset must be in 18 .. {LATEST}, .*, got {LATEST + 1}"),
    ({"opset": True}, TypeError, "to_onnx: opset must be an int >= 18, got True"),
    ({"opset": 18.0}, TypeError, "to_onnx: opset must be an int >= 18, got 18.0"),
    ({"dtype": "float16"}, ValueError, "to_onnx: dtype must be one of 'float32', 'float64', got 'float16'"),
    ({"lengths": 1}, TypeError, "to_onnx: lengths must be"),
    ({"lengths": True}, ValueError, r"to_onnx: lengths need sequences \(time, ...\)"),
    ({"path": 3}, TypeError, "to_onnx: path must be a path, got 3"),
    ({"path": ""}, ValueError, "to_onnx: path must be a path"),
    ({"path": "."}, ValueError, "to_onnx: path must be a file, got the folder"),
])
def test_bad_arguments(settings, kind, text):
    with pytest.raises(kind, match=text):
        interop.to_onnx(Sequential([L.Dense(2)]).build(3), **settings)


def test_other_objects():
    with pytest.raises(ValueError, match="to_onnx: the model must be built first"):
        interop.to_onnx(Sequential([L.Dense(2)]))
    for obj in (L.Dense(2), None, Sequential):
        with pytest.raises(TypeError, match="to_onnx: obj must be a Sequential or an estimator of ldl_cy, got"):
            interop.to_onnx(obj)


def test_weights_beyond_float32():
    model = network([L.Dense(2)], (3,), "float64")
    model.parameters["dense_0.kernel"][0, 0] = 1e300
    with pytest.raises(ValueError, match=r"to_onnx: dense_0\.kernel must fit into float32, got 1e"):
        interop.to_onnx(model)
    assert run(interop.to_onnx(model, dtype="float64"), x=np.zeros((1, 3)))[0].shape == (1, 2)


def test_weights_beyond_two_gigabytes(monkeypatch):
    monkeypatch.setattr("ldl_cy.interop.onnx.writing.model.MOST_BYTES", 31)
    with pytest.raises(ValueError, match=r"to_onnx: weights must take at most 31 bytes in float32, .*, got 32"):
        interop.to_onnx(network([L.Dense(2)], (3,), "float64"))


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'to_onnx: needs the package onnx, .* pip install "ldl_cy\[onnx\]"'):
        interop.to_onnx(Sequential([L.Dense(2)]).build(3))


# -- sequences of several lengths --------------------------------------------------------------------------------


T, LENGTHS = 7, np.array([7, 1, 4, 6, 2, 7, 3])
STACKS = {
    "lstm": [L.LSTM(5), L.Dense(3)],
    "backwards": [L.GRU(4, go_backwards=True, return_sequences=True, use_bias=False), L.RNN(3, go_backwards=True)],
    "both directions": [L.Bidirectional(L.LSTM(3, return_sequences=True)), L.Bidirectional(L.GRU(2), "sum")],
    "both directions, backwards": [L.Bidirectional(L.GRU(3, return_sequences=True, go_backwards=True)), L.Dense(2)],
    "loops": [L.RNN(3, "gelu", return_sequences=True), L.Bidirectional(L.RNN(2, "silu", return_sequences=True)),
              L.RNN(3, "selu", go_backwards=True)],
    "convolution": [L.Conv1D(4, 3, padding="same", activation="softplus"), L.Conv1D(4, 3, padding="causal"), L.GRU(3)],
    "means": [L.AvgPool1D(3, 1, "same"), L.AvgPool1D(2, 1, "same"), L.GlobalAvgPool1D()],
    "maxima": [L.MaxPool1D(4, 1, "same"), L.Dense(3), L.GlobalMaxPool1D(), L.Dense(3)],
    "flattened": [L.Dense(3, "logistic"), L.Flatten(), L.Dense(3)],
    "norms": [L.Dense(4), L.LayerNorm(), L.BatchNorm(), L.PReLU(1, "uniform"), L.Conv1D(2, 3, padding="same")],
    "norms of steps": [L.Dense(3), L.Normalization(0.5), L.LayerNorm(axis=1), L.LayerNorm(axis=(1, 2)), L.GRU(2)],
    "residual": [L.Dense(4), L.Add([], [L.Conv1D(4, 3, padding="same", activation="logistic")]),
                 L.Concatenate([], [L.GRU(2, return_sequences=True)])],
    "gates": [L.Multiply([L.Conv1D(2, 3, padding="same")], []),
              L.Multiply([], [L.Dense(2, "logistic"), L.GlobalAvgPool1D(), L.Reshape((1, 2))]), L.GlobalMaxPool1D()],
    "branches": [L.Concatenate(L.LSTM(2), L.GlobalMaxPool1D(), [L.Dropout(0.2), L.GlobalAvgPool1D()]), L.Dense(3)],
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_lengths(name, dtype):
    """What is past the ends has no influence, and outputs there are zero."""
    model = network(STACKS[name], (T, 2), dtype)
    X = rows(model, len(LENGTHS))
    for i, n in enumerate(LENGTHS):
        X[i, n:] *= 1e3
    onx = interop.to_onnx(model, dtype=dtype, lengths=True)
    assert [entry.name for entry in onx.graph.input] == ["x", "lengths"]
    for part in (slice(None), slice(2, 3)):
        y, = run(onx, x=X[part], lengths=LENGTHS[part])
        agree(y, model.predict(X[part], lengths=LENGTHS[part]), dtype)


def test_lengths_of_tokens_and_images():
    model = network([L.Embedding(9, 3), L.GRU(2)], (T,))
    with pytest.raises(ValueError, match="to_onnx: lengths need sequences"):
        interop.to_onnx(model, lengths=True)
    for stack in ([L.Conv2D(2, 3, padding="same"), L.MaxPool2D(3, 1, "same"), L.GlobalAvgPool2D()],
                  [L.Permute((1, 3, 2)), L.Conv2D(2, 3, padding=((1, 1), (0, 2)), activation="logistic")]):
        model = network(stack, (T, 3, 2))
        X = rows(model, len(LENGTHS))
        y, = run(interop.to_onnx(model, lengths=True), x=X, lengths=LENGTHS)
        agree(y, model.predict(X, lengths=LENGTHS), "float32")


@pytest.mark.parametrize("stack", [[L.Conv1D(3, 3, strides=2), L.GRU(3)], [L.Reshape((2, T)), L.GRU(2)]])
def test_lengths_that_do_not_fit(stack):
    with pytest.raises(ValueError, match="to_onnx: lengths do not fit this network: "):
        interop.to_onnx(Sequential(stack).build((T, 2)), lengths=True)
