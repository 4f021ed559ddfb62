"""What ``to_onnx`` writes is read again: the same layers, the same bits of their weights."""
import copy

import numpy as np
import pytest
from cases import PUBLIC, example

from ldl_cy import Sequential, interop
from ldl_cy import layers as L
from ldl_cy.layers.activation import ACTIVATIONS

DTYPES = ["float32", "float64"]


def network(stack, shape, dtype):
    model = Sequential(stack, dtype, 0).build(shape)
    rng = np.random.default_rng(1)
    model.theta = model.theta + 0.2 * rng.standard_normal(model.n_parameters)
    for values in model.state.values():
        values[...] = rng.uniform(0.5, 2, values.shape)
    return model


def there_and_back(stack, shape, dtype="float32", X=None, bits=True):
    """The model that comes back; with ``bits`` its weights and outputs are the same to the last one."""
    model = network(stack, shape, dtype)
    again = interop.from_onnx(interop.to_onnx(model, dtype=dtype))
    assert again.dtype == dtype and again.input_shape == model.input_shape
    X = np.random.default_rng(2).standard_normal((4, *shape)) if X is None else X
    y, z = model.predict(X), again.predict(X)
    if bits:
        assert again.theta.tobytes() == model.theta.tobytes()
        assert {name: array.tobytes() for name, array in again.state.items()} == {
            name: array.tobytes() for name, array in model.state.items()}
    assert y.shape == z.shape
    np.testing.assert_allclose(z, y, rtol=0, atol=(2e-6 if dtype == "float32" else 1e-13) * np.abs(y).max())
    return again


# a BatchNorm that is not behind a convolution is written as a product and a sum: one rounding of gamma / sqrt(variance)
ROUNDED = {"BatchNorm", "Normalization"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Custom"])
def test_every_layer(name, dtype):
    case = example(name)
    X = case.data(np.random.default_rng(0), 5) if case.data else None
    again = there_and_back([copy.deepcopy(case.layer)], case.input_shape, dtype, X, name not in ROUNDED)
    if name not in {*ROUNDED, "Dropout"}:       # one knows no layers that only training has
        assert [type(layer).__name__ for layer in again.layers] == [name]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation(kind, dtype):
    again = there_and_back([L.Activation(kind), L.Dense(3, kind), L.Conv1D(2, 2, activation=kind)], (4, 5), dtype)
    assert [layer.activation for layer in again.layers[-2:]] == [None if kind == "identity" else kind] * 2
    if kind != "identity":
        assert again.layers[0] == L.Activation(kind)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_of_leaky_relu(dtype):
    assert there_and_back([L.Activation("leaky_relu", 0.3)], (3,), dtype).layers == (L.Activation("leaky_relu", 0.3),)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack, shape", [
    ([L.Conv2D(4, 3, padding="same"), L.BatchNorm(epsilon=1e-3), L.Activation("relu"), L.MaxPool2D(3, 2, padding=1),
      L.Flatten(), L.Dense(3, "softmax")], (7, 6, 2)),
    ([L.Conv2D(4, (1, 3), (2, 1), ((0, 1), (2, 0)), activation="relu"), L.AvgPool2D(2, 1, "same"),
      L.Add([L.Conv2D(4, 3, padding=1, groups=2)], []), L.GlobalMaxPool2D()], (6, 5, 3)),
    ([L.Conv1D(4, 3, padding="causal", dilation_rate=2), L.PReLU(1), L.ZeroPadding1D((1, 2)), L.LayerNorm(1e-3),
      L.Permute((2, 1)), L.GRU(3)], (8, 2)),
    ([L.Concatenate([L.Dense(2, "gelu")], [L.Dense(3), L.Multiply([], [L.Dense(1, "logistic")])]), L.Reshape((5, 4)),
      L.LSTM(3, return_sequences=True), L.RNN(2, "relu", go_backwards=True)], (4, 3)),
    ([L.Embedding(9, 3), L.Bidirectional(L.LSTM(3, return_sequences=True)), L.Bidirectional(L.GRU(2), "sum"),
      L.Dense(2)], (5,)),
    ([L.LSTM(3, return_sequences=True, go_backwards=True), L.Bidirectional(L.RNN(2, go_backwards=True)), L.Dense(1)],
     (5, 2)),
    ([L.Dense(1), L.Flatten(), L.Dense(1, use_bias=False)], (1, 1)),
], ids=["cnn", "residual", "signals", "branches", "tokens", "backwards", "single numbers"])
def test_stacks(stack, shape, dtype):
    """BatchNorm right behind a convolution keeps its statistics in float32."""
    X = np.random.default_rng(0).integers(0, 9, (3, *shape)) if isinstance(stack[0], L.Embedding) else None
    bits = dtype == "float32" or not any(isinstance(layer, L.BatchNorm) for layer in stack)
    there_and_back(stack, shape, dtype, X, bits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_as_a_product_and_a_sum(dtype):
    stack, shape = [L.BatchNorm(), L.Dense(2)], (4, 3)          # channels are no second axis
    again = there_and_back(stack, shape, dtype, bits=False)
    norm = again.layers[0]
    assert not norm.trainable and not again.state["batch_norm_0.mean"].any()
    assert (again.state["batch_norm_0.variance"] == 1).all()
    assert (again.parameters["dense_1.kernel"] == network(stack, shape, dtype).parameters["dense_1.kernel"]).all()


def test_lengths_come_with_the_rows():
    stack = [L.Dense(3, "tanh"), L.LSTM(3, return_sequences=True, go_backwards=True), L.Bidirectional(L.GRU(3))]
    model = network(stack, (6, 3), "float32")
    again = interop.from_onnx(interop.to_onnx(model, lengths=True))
    X, lengths = np.random.default_rng(0).standard_normal((4, 6, 3)), [6, 2, 1, 4]
    assert (again.predict(X, lengths=lengths) == model.predict(X, lengths=lengths)).all()


def test_masks_and_scans_are_refused_by_name():
    masked = Sequential([L.Dense(3), L.GlobalMaxPool1D()]).build((6, 2))
    with pytest.raises(ValueError, match=r"^from_onnx: these nodes have no counterpart: "):
        interop.from_onnx(interop.to_onnx(masked, lengths=True))
    loop = Sequential([L.RNN(3, "gelu")]).build((6, 2))
    with pytest.raises(ValueError, match=r"'rnn_0/Scan' \(Scan\)"):
        interop.from_onnx(interop.to_onnx(loop))
