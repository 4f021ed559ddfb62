"""What ``to_onnx`` writes is read again: the same layers, the same bits of their weights."""
import copy

import numpy as np
import onnx
import pytest
from cases import PUBLIC, example

from ldl_cy import Sequential, interop
from ldl_cy import layers as L
from ldl_cy.layers.activation import ACTIVATIONS

DTYPES = ["float32", "float64"]
OPSETS = [18, onnx.defs.onnx_opset_version()]


def network(stack, shape, dtype):
    model = Sequential(stack, dtype, 0).build(shape)
    rng = np.random.default_rng(1)
    model.theta = model.theta + 0.2 * rng.standard_normal(model.n_parameters)
    for values in model.state.values():
        values[...] = rng.uniform(0.5, 2, values.shape)
    return model


def there_and_back(stack, shape, dtype="float32", X=None, bits=True, opset=18, lengths=None):
    """The model that comes back; with ``bits`` its weights are the same to the last one."""
    model = network(stack, shape, dtype)
    again = interop.from_onnx(interop.to_onnx(model, dtype=dtype, opset=opset, lengths=lengths is not None))
    assert again.dtype == dtype and again.input_shape == model.input_shape
    X = np.random.default_rng(2).standard_normal((4, *shape)) if X is None else X
    y, z = (each.predict(X, lengths=lengths) for each in (model, again))
    if bits:
        assert again.theta.tobytes() == model.theta.tobytes()
        assert {name: array.tobytes() for name, array in again.state.items()} == {
            name: array.tobytes() for name, array in model.state.items()}
    assert y.shape == z.shape
    np.testing.assert_allclose(z, y, rtol=0, atol=(2e-6 if dtype == "float32" else 1e-13) * np.abs(y).max())
    return again


# a BatchNorm that is not behind a convolution is written as a product and a sum: one rounding of gamma / sqrt(variance)
ROUNDED = {"BatchNorm", "Normalization"}
# the mean of a table is one of its rows there
WIDENED = {"CategoryEmbedding"}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Custom"])
def test_every_layer(name, dtype, opset):
    case = example(name)
    X = case.data(np.random.default_rng(0), 5) if case.data else None
    bits = name not in {*ROUNDED, *WIDENED}
    again = there_and_back([copy.deepcopy(case.layer)], case.input_shape, dtype, X, bits, opset)
    # ONNX has no layers that only training has
    if name not in {*ROUNDED, "Dropout", "GaussianNoise", "RandomFlip", "RandomTranslation"}:
        assert [type(layer).__name__ for layer in again.layers] == [name]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation(kind, dtype, opset):
    stack = [L.Activation(kind), L.Dense(3, kind), L.Conv1D(2, 2, activation=kind)]
    again = there_and_back(stack, (4, 5), dtype, opset=opset)
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
@pytest.mark.parametrize("shape, axis", [((4, 3), (1, 2)), ((4, 3, 2), (1, 3)), ((1, 3, 2), (1, 2, 3))])
def test_normalization_along_several_axes(shape, axis, dtype):
    stack = [L.Normalization(0.5, 2.0, axis), L.Conv1D(2, 2) if len(shape) == 2 else L.Conv2D(2, (1, 2)),
             L.Normalization(0.5, 2.0, axis)]
    again = there_and_back(stack, shape, dtype, bits=False)
    assert [type(layer).__name__ for layer in again.layers] == [type(layer).__name__ for layer in stack]
    state = {name: array.copy() for name, array in again.state.items()}
    again.reset()
    assert all((again.state[name] == array).all() for name, array in state.items())


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_as_a_product_and_a_sum(dtype):
    stack, shape = [L.BatchNorm(), L.Dense(2)], (4, 3)          # channels are no second axis
    again = there_and_back(stack, shape, dtype, bits=False)
    norm = again.layers[0]
    assert not norm.trainable and not again.state["batch_norm_0.mean"].any()
    assert (again.state["batch_norm_0.variance"] == 1).all()
    assert (again.parameters["dense_1.kernel"] == network(stack, shape, dtype).parameters["dense_1.kernel"]).all()


# each layer that knows lengths, in a form that keeps the steps; the last ones read images, whose rows are the steps
WITH_LENGTHS = {
    "pooling": ([L.Conv1D(3, 3, padding="same", activation="tanh"), L.MaxPool1D(4, 1, "same"),
                 L.AvgPool1D(3, 1, "same"), L.MaxPool1D(3, 1, (0, 2)),
                 L.AvgPool1D(2, 1, (1, 0)), L.AvgPool1D(1), L.GlobalMaxPool1D()], (7, 2)),
    "norms": ([L.GRU(3, return_sequences=True, go_backwards=True), L.LayerNorm(1e-3, 1), L.BatchNorm(),
               L.LayerNorm(axis=(1, 2)), L.LayerNorm(), L.Normalization(1.0, 2.0), L.GlobalAvgPool1D()], (7, 2)),
    "causal": ([L.Dense(3, "softplus"), L.Conv1D(3, 3, padding="causal"), L.PReLU(1), L.GlobalAvgPool1D(),
                L.Multiply([], [L.Dense(3, "logistic")])], (7, 2)),
    "branches": ([L.Add([], [L.LSTM(2, return_sequences=True), L.Dense(2)]), L.Concatenate([L.Dense(1)], []),
                  L.Permute((1, 2)), L.Dropout(0.5), L.Activation("logistic"), L.Flatten(), L.Dense(2)], (7, 2)),
    "directions": ([L.Bidirectional(L.LSTM(2, return_sequences=True)), L.Bidirectional(L.GRU(2, return_sequences=True),
                                                                                       "sum"),
                    L.LSTM(2, go_backwards=True, return_sequences=True), L.Bidirectional(L.GRU(2), "sum")], (7, 2)),
    "one step": ([L.Bidirectional(L.RNN(2, "gelu", return_sequences=True)), L.LayerNorm(axis=1), L.AvgPool1D(1),
                  L.RNN(2, "mish", go_backwards=True, return_sequences=True), L.GlobalAvgPool1D()], (1, 2)),
    "a reshape there and back": ([L.Dense(4), L.Reshape((6, 2, 2)), L.Reshape((6, 4)), L.Dense(3)], (6, 2)),
    "numbers along two axes": ([L.Normalization(np.arange(8.0).reshape(4, 2), 2.0, (1, 2)), L.Dense(2)], (4, 2)),
    "rows of images": ([L.Conv2D(2, 2, padding="same", activation="relu"), L.Reshape((-1, 2)), L.Dense(5)], (6, 3, 2)),
    "one column": ([L.MaxPool2D((1, 4)), L.LayerNorm(axis=(3,)), L.Dense(2), L.Flatten(), L.Dense(2)], (3, 4, 3)),
    "one column at the end": ([L.MaxPool2D((1, 4)), L.GlobalAvgPool2D(), L.Dense(2)], (3, 4, 3)),
    "global": ([L.Dense(2, "gelu"), L.GlobalAvgPool2D(), L.Dense(2)], (4, 3, 2)),
}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WITH_LENGTHS)
def test_lengths(name, dtype, opset):
    """They come with the rows; what the graph does past the ends is not part of the model."""
    stack, shape = WITH_LENGTHS[name]
    lengths = np.random.default_rng(0).integers(1, shape[0] + 1, 4)
    bits = not any(isinstance(layer, (L.BatchNorm, L.Normalization)) for layer in stack)
    for ends in (lengths, None):
        there_and_back(stack, shape, dtype, bits=bits, opset=opset, lengths=ends)


@pytest.mark.parametrize("lengths", [None, [6, 2, 1, 4]], ids=["whole", "lengths"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_of_a_recurrent_layer(kind, dtype, lengths):
    """Those that ONNX's RNN does not know are loops."""
    for stack in ([L.RNN(3, kind)], [L.RNN(1, kind, use_bias=False, go_backwards=True)],
                  [L.RNN(2, kind, return_sequences=True), L.RNN(3, kind, return_sequences=True, go_backwards=True)],
                  [L.Bidirectional(L.RNN(3, kind, return_sequences=True)), L.Bidirectional(L.RNN(2, kind))],
                  [L.Bidirectional(L.RNN(2, kind, return_sequences=True), "sum"),
                   L.Bidirectional(L.RNN(2, kind, go_backwards=True, return_sequences=True))]):
        again = there_and_back(stack, (6, 3), dtype, lengths=lengths)
        assert [layer.get_config() for layer in again.layers] == [
            layer.get_config() for layer in network(stack, (6, 3), dtype).layers]


def step(change=None, *, lengths=False):
    """The model of an RNN that is a loop; ``change`` is made to the Scan and to its step."""
    proto = interop.to_onnx(Sequential([L.RNN(3, "gelu")], random_state=0).build((6, 2)), lengths=lengths)
    loop, = (node for node in proto.graph.node if node.op_type == "Scan")
    body, = (attribute.g for attribute in loop.attribute if attribute.name == "body")
    if change:
        change(loop, body)
    return proto


def node_of(body, op):
    return next(node for node in body.node if node.op_type == op)


def weights_of(body):
    return next(tensor for tensor in body.initializer if tensor.name == "recurrent_kernel")


def replaced(op, i, name):
    def change(loop, body):
        node_of(body, op).input[i] = name
    return change


def other_operator(op, new):
    def change(loop, body):
        node_of(body, op).op_type = new
    return change


def other_weights(loop, body):
    weights_of(body).CopyFrom(onnx.numpy_helper.from_array(np.zeros((3, 2), "f4"), "recurrent_kernel"))


def damaged_weights(loop, body):
    weights_of(body).raw_data = b""


def backwards(loop, body):
    loop.attribute.append(onnx.helper.make_attribute("scan_input_directions", [1]))


def two_states(loop, body):
    body.output.append(body.output[0])


@pytest.mark.parametrize("change, text", [
    (other_operator("Erf", "Sin"), "activation that is known, got Sin"),
    (other_operator("Erf", "Tanh"), "must have an activation that is known"),
    (other_operator("MatMul", "Add"), "must be an RNN as to_onnx writes it"),
    (replaced("MatMul", 0, "given"), "must be an RNN as to_onnx writes it"),
    (replaced("Mul", 0, "before"), "must be an RNN as to_onnx writes it"),
    (other_weights, r"the recurrent weights must have the shape \(3, 3\), got \(3, 2\)"),
    (damaged_weights, "must be an RNN as to_onnx writes it"), (backwards, "must be an RNN as to_onnx writes it"),
    (two_states, "must be an RNN as to_onnx writes it"),
])
def test_other_loops_are_refused_by_name(change, text):
    assert interop.from_onnx(step()).layers == (L.RNN(3, "gelu"),)
    with pytest.raises(ValueError, match=rf"^from_onnx: these nodes .* counterpart: 'rnn_0/Scan' \(Scan\): .*{text}"):
        interop.from_onnx(step(change))


def test_loops_whose_states_change_past_the_end_are_refused():
    for i, name in ((2, "given"), (0, "before")):
        with pytest.raises(ValueError, match=r"'rnn_0/Scan' \(Scan\): "):
            interop.from_onnx(step(replaced("Where", i, name), lengths=True))


def test_masks_of_other_exporters_are_refused():
    """They may mean something else."""
    model = Sequential([L.Dense(3), L.GlobalMaxPool1D()]).build((6, 2))
    proto = interop.to_onnx(model, lengths=True)
    assert len(interop.from_onnx(proto).layers) == 2
    proto.producer_name = "another"
    with pytest.raises(ValueError, match=r"\(Where\): masks must be those of to_onnx"):
        interop.from_onnx(proto)
    proto = interop.to_onnx(model, lengths=True)
    node = next(node for node in proto.graph.node if node.op_type == "ReduceMax")
    node.op_type = "ReduceMin"
    with pytest.raises(ValueError, match=r"'global_max_pool1d_1/ReduceMax' \(ReduceMin\)"):
        interop.from_onnx(proto)
    node.op_type = "ReduceMean"
    with pytest.raises(ValueError, match=r"\(ReduceMean\): what a mask makes of sequences must be part of a pooling"):
        interop.from_onnx(proto)
