"""ONNX graphs in the forms in which PyTorch writes them, run by onnx's reference evaluator and here."""
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import channels_last, graph, numbers
from onnx_reference import run

from ldl_cy import interop
from ldl_cy import layers as L

CLOSE = 2e-6                # of the largest output
I64 = np.int64


def ints(*values):
    return np.array(values, I64)


def agree(proto, x, first=True, n=3):
    """The model of a graph, whose outputs are those of the evaluator; ``first`` if it reads channels first."""
    model = interop.from_onnx(proto)
    for part in (x, x[:1]):
        expected, = run(proto, x=part)
        ours = channels_last(part) if first else part
        assert model.input_shape == ours.shape[1:]
        found = model.predict(np.ascontiguousarray(ours))
        if first and expected.ndim > 2:
            found = np.moveaxis(found, -1, 1)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= CLOSE * max(1e-3, np.abs(expected).max())
    return model


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


# -- images and signals -------------------------------------------------------------------------------------------

CNN = [("Conv", "x W b", "c", {"pads": [1, 1, 1, 1], "strides": [2, 1]}), ("Relu", "c", "r"),
       ("MaxPool", "r", "p", {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4})]
KERNEL = {"W": numbers(4, 3, 3, 3), "b": numbers(4)}
SHAPE = (3, 8, 6)           # maps of 4 x 2 x 3 behind CNN


@pytest.mark.parametrize("flat", [
    [("Flatten", "p", "f", {"axis": 1})],
    [("Reshape", "p shape", "f", {"allowzero": 1})],
    [("Shape", "p", "s"), ("Gather", "s zero", "n"), ("Unsqueeze", "n axis", "n1"), ("Concat", "n1 rest", "to",
                                                                                  {"axis": 0}),
     ("Reshape", "p to", "f")],
], ids=["Flatten", "Reshape", "a shape that is computed"])
@pytest.mark.parametrize("transposed", [0, 1])
def test_a_cnn_whose_rows_behind_flatten_are_reordered(flat, transposed):
    V = numbers(5, 24) if transposed else numbers(24, 5)
    constants = KERNEL | {"V": V, "d": numbers(5), "shape": ints(-1, 24), "zero": np.array(0, I64), "axis": ints(0),
                          "rest": ints(-1)}
    model = agree(graph([*CNN, *flat, ("Gemm", "f V d", "y", {"transB": transposed})], SHAPE, constants),
                  numbers(3, *SHAPE))
    assert model.layers == (L.Conv2D(4, 3, (2, 1), 1, activation="relu"), L.MaxPool2D(), L.Flatten(), L.Dense(5))
    assert (model.parameters["conv2d_0.kernel"] == KERNEL["W"].transpose(2, 3, 1, 0)).all()


def test_a_batch_that_is_fixed_in_the_file():
    lines = [*CNN, ("Reshape", "p shape", "f"), ("Gemm", "f V", "y")]
    constants = KERNEL | {"V": numbers(24, 5), "shape": ints(1, -1)}
    proto = graph(lines, (), constants, inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, *SHAPE))])
    x = numbers(1, *SHAPE)
    model = interop.from_onnx(proto)
    np.testing.assert_allclose(model.predict(channels_last(x)), run(proto, x=x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooled", [
    [("GlobalAveragePool", "p", "g"), ("Flatten", "g", "f")],
    [("ReduceMean", "p axes", "f", {"keepdims": 0})], [("ReduceMean", "p back", "g"), ("Squeeze", "g axes", "f")],
    [("GlobalMaxPool", "p", "g"), ("Reshape", "g shape", "f")], [("ReduceMax", "p back", "f", {"keepdims": 0})],
], ids=["average", "mean", "mean, squeezed", "max", "max by axes"])
def test_global_pooling(pooled):
    constants = KERNEL | {"axes": ints(2, 3), "back": ints(-1, -2), "shape": ints(-1, 4), "V": numbers(4, 2)}
    model = agree(graph([*CNN, *pooled, ("MatMul", "f V", "y")], SHAPE, constants), numbers(3, *SHAPE))
    assert kinds(model)[2].startswith("Global") and kinds(model)[3] == "Dense"


def test_a_residual_block_and_a_concatenation():
    lines = [("Conv", "x W b", "c", {"pads": [1] * 4}), ("BatchNormalization", "c g b m v", "n", {"epsilon": 1e-3}),
             ("Relu", "n", "r"), ("Conv", "r U", "d", {"pads": [1] * 4, "group": 2}), ("Add", "d r", "s"),
             ("Relu", "s", "t"), ("Conv", "t U", "u", {"pads": [1] * 4, "group": 2}),
             ("Concat", "t u", "y", {"axis": 1})]
    constants = KERNEL | {"g": numbers(4, seed=1), "m": numbers(4, seed=2), "v": np.abs(numbers(4, seed=3)),
                          "U": numbers(4, 2, 3, 3)}
    model = agree(graph(lines, SHAPE, constants), numbers(3, *SHAPE))
    assert kinds(model) == ["Conv2D", "BatchNorm", "Activation", "Add", "Activation", "Concatenate"]


@pytest.mark.parametrize("lines", [
    [("Relu", "x", "r"), ("Conv", "r U", "y")], [("Conv", "x U", "c", {"pads": [1] * 4}), ("Add", "x c", "y")],
    [("Sigmoid", "x", "s"), ("Mul", "s x", "a"), ("Conv", "a U", "b"), ("Conv", "x U", "c"), ("Sum", "b c", "y")],
    [("Sub", "x m", "s"), ("GlobalAveragePool", "s", "y")],
], ids=["an activation first", "the input in a sum", "two paths", "a constant for each channel"])
def test_images_that_something_else_reads_before_a_convolution(lines):
    """The model reads channels last all the same, and nothing is permuted."""
    constants = {"U": numbers(3, 3, 3, 3), "m": numbers(3, 1, 1)}
    proto = graph(lines, SHAPE, {name: constants[name] for name in "Um" if f" {name}" in str(lines)})
    model = agree(proto, numbers(3, *SHAPE)) if lines[-1][0] != "GlobalAveragePool" else interop.from_onnx(proto)
    assert model.input_shape == (8, 6, 3)
    assert not any(type(layer) is L.Permute for layer in model.layers)


def test_squeeze_and_excite_with_relu6():
    lines = [("Conv", "x W b", "c"), ("Clip", "c low high", "r"), ("GlobalAveragePool", "r", "g"),
             ("Conv", "g U", "u"), ("HardSigmoid", "u", "h", {"alpha": 1 / 6, "beta": 0.5}), ("Mul", "h r", "y")]
    constants = KERNEL | {"low": np.float32(0), "high": np.float32(6), "U": numbers(4, 4, 1, 1)}
    model = agree(graph(lines, SHAPE, constants), numbers(3, *SHAPE))
    assert model.layers[0].activation == "relu6" and kinds(model) == ["Conv2D", "Multiply"]


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("settings", [
    {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}, {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]},
    {"kernel_shape": [2, 3], "strides": [2, 1], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 2], "auto_pad": "VALID"},
    {"kernel_shape": [4, 3], "strides": [3, 2], "auto_pad": "SAME_LOWER"},
], ids=["ceil", "pads", "same", "valid", "same lower"])
def test_pooling(op, settings):
    shape, x = (3, 8, 7), numbers(3, 3, 8, 7)
    model = interop.from_onnx(graph([(op, "x", "y", settings)], shape))
    ceiled, sizes = settings.get("ceil_mode"), shape[1:]
    # written out: the same windows with pads in numbers, which the evaluator has right
    pads = []
    for i, n in enumerate(sizes):
        k, s = settings["kernel_shape"][i], settings.get("strides", [1, 1])[i]
        given = settings.get("pads", [0] * 4)[i::2]
        if settings.get("auto_pad", "").startswith("SAME"):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            given = sorted((total // 2, total - total // 2), reverse=settings["auto_pad"] == "SAME_LOWER")
        elif ceiled:
            given = [0, -(-(n - k) // s) * s + k - n]
        pads.append(given)
    expected = np.full((3, 3, *model.output_shape[:-1]), np.nan)
    for at in np.ndindex(*expected.shape[2:]):
        begin = [i * s - p[0] for i, s, p in zip(at, settings.get("strides", [1, 1]), pads)]
        part = x[(..., *(slice(max(b, 0), b + k) for b, k in zip(begin, settings["kernel_shape"])))]
        expected[(..., *at)] = part.max((2, 3)) if op == "MaxPool" else part.mean((2, 3))
    sizes = tuple((n + sum(p) - k) // s + 1 for n, p, k, s in zip(
        sizes, pads, settings["kernel_shape"], settings.get("strides", [1, 1])))
    assert model.output_shape == (*sizes, 3)
    np.testing.assert_allclose(model.predict(np.ascontiguousarray(channels_last(x))), channels_last(expected),
                               rtol=1e-6, atol=1e-6)


def test_a_mean_that_counts_zeros_around():
    """ceil_mode's last windows reach beyond the zeros that count: those cells do not."""
    settings = {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "count_include_pad": 1, "ceil_mode": 1}
    x = numbers(2, 2, 6)
    model = interop.from_onnx(graph([("AveragePool", "x", "y", settings)], (2, 6)))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    expected = np.stack([padded[..., i:i + 3].mean(-1) for i in range(0, 8, 2)], -1)
    np.testing.assert_allclose(model.predict(channels_last(x)), channels_last(expected), rtol=1e-6, atol=1e-6)
    assert kinds(model) == ["ZeroPadding1D", "AvgPool1D"]


@pytest.mark.parametrize("settings, padding", [
    ({"pads": [1, 0, 1, 0]}, (1, 0)), ({"pads": [0, 1, 2, 1]}, ((0, 2), (1, 1))), ({"pads": [0] * 4}, "valid"),
    ({"auto_pad": "SAME_UPPER"}, 1), ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, ((1, 0), (1, 1))),
])
def test_padding_of_convolutions(settings, padding):
    shape = (3, 8, 7)
    model = agree(graph([("Conv", "x W b", "y", settings)], shape, KERNEL), numbers(3, *shape))
    assert model.layers[0].padding == padding


def test_signals():
    lines = [("Conv", "x W b", "c", {"pads": [4, 0], "dilations": [2]}), ("LeakyRelu", "c", "a", {"alpha": 0.2}),
             ("Conv", "a U", "d", {"group": 4, "pads": [1, 1]}), ("PRelu", "d s", "e"),
             ("Transpose", "e", "t", {"perm": [0, 2, 1]}), ("MatMul", "t V", "m"), ("Add", "v m", "y")]
    constants = {"W": numbers(4, 3, 3), "b": numbers(4), "U": numbers(4, 1, 3), "s": numbers(4, 1), "V": numbers(4, 5),
                 "v": numbers(5)}
    proto, x = graph(lines, (3, 10), constants), numbers(3, 3, 10)
    model = interop.from_onnx(proto)
    np.testing.assert_allclose(model.predict(channels_last(x)), run(proto, x=x)[0], rtol=1e-5, atol=1e-5)
    assert model.layers == (
        L.Conv1D(4, 3, padding="causal", dilation_rate=2), L.Activation("leaky_relu", 0.2),
        L.Conv1D(4, 3, padding=1, groups=4, use_bias=False), L.PReLU((1,)), L.Dense(5))


def test_pad_and_constants_for_each_channel():
    lines = [("Div", "x k", "a"), ("Sub", "a m", "b"), ("Mul", "b s", "c"),
             ("Pad", "c pads", "d"),
             ("MaxPool", "d", "y", {"kernel_shape": [2, 2], "pads": [0] * 4, "strides": [1, 1]})]
    constants = {"k": np.float32(255), "m": numbers(1, 3, 1, 1), "s": numbers(3, 1, 1),
                 "pads": ints(0, 0, 1, 0, 0, 0, 0, 2)}
    model = agree(graph(lines, SHAPE, constants), 100 * numbers(3, *SHAPE))
    assert kinds(model) == ["BatchNorm", "ZeroPadding2D", "MaxPool2D"] and not model.layers[0].trainable


def test_an_image_of_one_row_or_channel():
    for shape in ((1, 5, 4), (3, 1, 5), (1, 1, 4)):
        lines = [("Conv", "x W", "c"), ("Relu", "c", "r"), ("Flatten", "r", "f"), ("Gemm", "f V", "y")]
        inside = 4 * shape[1] * (shape[2] - 1)
        agree(graph(lines, shape, {"W": numbers(4, shape[0], 1, 2), "V": numbers(inside, 2)}), numbers(3, *shape))


# -- vectors, norms, activations ----------------------------------------------------------------------------------

PARTS = {
    "gelu": [("Div", "x root", "a"), ("Erf", "a", "b"), ("Add", "b one", "c"), ("Mul", "x c", "d"), ("Mul", "d half",
                                                                                             "y")],
    "gelu_tanh": [("Pow", "x three", "a"), ("Mul", "a k", "b"), ("Add", "x b", "c"), ("Mul", "c l", "d"),
                  ("Tanh", "d", "e"), ("Add", "one e", "f"), ("Mul", "half x", "g"), ("Mul", "g f", "y")],
    "silu": [("Sigmoid", "x", "s"), ("Mul", "x s", "y")],
    "mish": [("Softplus", "x", "a"), ("Tanh", "a", "b"), ("Mul", "x b", "y")],
    "hard_silu": [("Add", "x three", "a"), ("Clip", "a zero six", "b"), ("Mul", "x b", "c"), ("Div", "c six", "y")],
    "hard_sigmoid": [("Add", "x three", "a"), ("Clip", "a zero six", "b"), ("Div", "b six", "y")],
    "softplus": [("Softplus", "x", "a"), ("Greater", "x twenty", "b"), ("Where", "b x a", "y")],
    "relu": [("Max", "x zero", "y")], "relu6": [("Relu", "x", "a"), ("Min", "a six", "y")],
    "logistic": [("Mul", "half x", "a"), ("Tanh", "a", "b"), ("Mul", "b half", "c"), ("Add", "c half", "y")],
    "identity": [("Identity", "x", "y")], "tanh": [("Tanh", "x", "y")], "elu": [("Elu", "x", "y")],
    "selu": [("Selu", "x", "y")], "softmax": [("Softmax", "x", "y", {"axis": -1})],
    "leaky_relu": [("LeakyRelu", "x", "y")],
}
NUMBERS = {name: np.float32(value) for name, value in {
    "root": 2 ** 0.5, "one": 1, "half": 0.5, "three": 3, "k": 0.044715, "l": (2 / np.pi) ** 0.5, "zero": 0, "six": 6,
    "twenty": 20}.items()}


@pytest.mark.parametrize("name", PARTS)
def test_activations_in_parts(name):
    """One layer each, alone and twice in turn."""
    read = set(" ".join(line[1] for line in PARTS[name]).split())
    constants = {key: value for key, value in NUMBERS.items() if key in read}
    x = 4 * numbers(40, 5)
    model = agree(graph(PARTS[name], (5,), constants), x, first=False)
    assert model.layers == (L.Activation(name),)
    again = [(op, " ".join(word if word in constants else f"2{word}" for word in reads.split()), f"2{gives}", *rest)
             for op, reads, gives, *rest in PARTS[name]]
    model = agree(graph([*PARTS[name], ("Identity", "y", "2x"), *again, ("Neg", "2y", "z")], (5,), constants,
                        outputs=("z",)), x, first=False)
    assert model.layers[:-1] == (L.Activation(name),) * (0 if name == "identity" else 2)
    assert kinds(model)[-1] == "BatchNorm"


def test_parts_that_are_no_activation():
    proto = graph([("Exp", "x", "a"), ("MatMul", "a W", "y")], (2,), {"W": numbers(2, 2)})
    with pytest.raises(ValueError, match=r"^from_onnx: these nodes .*: 'Exp_0' \(Exp\): it is no part"):
        interop.from_onnx(proto)
    gate = graph([("Mul", "x k", "a"), ("Sigmoid", "a", "b"), ("Mul", "x b", "y")], (4,), {"k": np.float32(1.702)})
    assert kinds(agree(gate, numbers(3, 4), first=False)) == ["Multiply"]


@pytest.mark.parametrize("power", [[("Mul", "d d", "q")], [("Pow", "d two", "q")]], ids=["Mul", "Pow"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_norm_in_parts(power, dtype):
    lines = [("ReduceMean", "x", "m", {"axes": [-1]}), ("Sub", "x m", "d"), *power,
             ("ReduceMean", "q", "v", {"axes": [-1]}), ("Add", "v e", "w"), ("Sqrt", "w", "s"), ("Div", "d s", "n"),
             ("Mul", "n g", "h"), ("Add", "h b", "y")]
    constants = {"e": np.array(1e-3, dtype), "g": numbers(4, dtype=dtype), "b": numbers(4, seed=1, dtype=dtype)}
    constants |= {"two": np.array(2, dtype)} if power[0][0] == "Pow" else {}
    proto = graph(lines, (3, 4), constants, opset=13,
                  dtype=TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE)
    model = agree(proto, numbers(3, 3, 4, dtype=dtype), first=False)
    assert model.layers == (L.LayerNorm(1e-3),) and model.dtype == dtype
    assert (model.theta == np.concatenate([constants["g"], constants["b"]])).all()


def test_layer_normalization_over_the_channels_of_maps():
    lines = [("Conv", "x U", "c"), ("Transpose", "c", "t", {"perm": [0, 2, 3, 1]}),
             ("LayerNormalization", "t g b", "n", {"epsilon": 1e-6}), ("Transpose", "n", "u", {"perm": [0, 3, 1, 2]}),
             ("Conv", "u W", "y")]
    constants = {"U": numbers(3, 3, 2, 2), "g": numbers(3), "b": numbers(3, seed=1), "W": numbers(2, 3, 1, 1)}
    model = agree(graph(lines, SHAPE, constants), numbers(3, *SHAPE))
    assert kinds(model) == ["Conv2D", "LayerNorm", "Conv2D"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_another_precision(dtype):
    W = numbers(3, 2).astype(dtype)
    model = interop.from_onnx(graph([("MatMul", "x W", "y")], (3,), {"W": W}))
    assert model.dtype == "float32" and (model.theta == W.astype("f4").ravel()).all()


def test_gemm_with_factors_and_dropout():
    lines = [("Gemm", "x W b", "g", {"alpha": 0.5, "beta": 2.0}), ("Dropout", "g rate", "y")]
    model = interop.from_onnx(graph(lines, (3,), {"W": numbers(3, 2), "b": numbers(2), "rate": np.float32(0.3)}))
    assert model.layers == (L.Dense(2), L.Dropout(0.3))
    assert (model.parameters["dense_0.bias"] == 2 * numbers(2)).all()


# -- sequences ----------------------------------------------------------------------------------------------------

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


def cell(op, directions=1, n_in=3, units=4, seed=0, word=""):
    rows = GATES[op] * units
    shapes = {"W": (directions, rows, n_in), "R": (directions, rows, units), "B": (directions, 2 * rows)}
    return {f"{word}{name}": numbers(*shape, seed=seed) for name, shape in shapes.items()}


def settings(op, directions=1):
    found = {"hidden_size": 4, "direction": "forward" if directions == 1 else "bidirectional"}
    found |= {"linear_before_reset": 1} if op == "GRU" else {}
    return found | ({"activations": ["Tanh"] * directions} if op == "RNN" else {})


# what PyTorch writes for initial states of zeros
ZEROS = [("Shape", "x", "shape"), ("Gather", "shape zero", "rows"), ("Unsqueeze", "rows axis", "rows1"),
         ("Concat", "one rows1 four", "state", {"axis": 0}), ("ConstantOfShape", "state", "h0")]
ZERO = {"zero": np.array(0, I64), "axis": ints(0), "one": ints(1), "four": ints(4), "last": np.array(-1, I64)}
FIRST = [("Transpose", "x", "t", {"perm": [1, 0, 2]})]


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("end", ["sequences", "last step", "last state"])
def test_one_direction(op, end):
    states = "h0 h0" if op == "LSTM" else "h0"
    lines = [*ZEROS, *FIRST, (op, f"t W R B  {states}", "s h", settings(op))]
    if end == "last state":
        lines += [("Gather", "h last", "y", {"axis": 0})]
    else:
        lines += [("Squeeze", "s one", "q"), ("Transpose", "q", "u", {"perm": [1, 0, 2]})]
        lines += [("Gather", "u last", "y", {"axis": 1}) if end == "last step" else ("Identity", "u", "y")]
    model = agree(graph(lines, (5, 3), ZERO | cell(op)), numbers(3, 5, 3), first=False)
    function = {"activation": "tanh"} if op == "RNN" else {}
    assert model.layers == (getattr(L, op)(4, return_sequences=end == "sequences", **function),)


@pytest.mark.parametrize("op", GATES)
def test_two_layers_in_both_directions(op):
    """As torch.nn.GRU(num_layers=2, bidirectional=True): the sequence of the first, the last states of the second."""
    lines = [*FIRST, (op, "t W R B", "s h", settings(op, 2)), ("Transpose", "s", "u", {"perm": [0, 2, 1, 3]}),
             ("Reshape", "u joined", "v"), (op, "v 2W 2R 2B", "2s 2h", settings(op, 2)),
             ("Concat", "h 2h", "all", {"axis": 0}), ("Gather", "all back", "f", {"axis": 0}),
             ("Gather", "all last", "g", {"axis": 0}), ("Concat", "f g", "y", {"axis": 1})]
    constants = cell(op, 2) | cell(op, 2, 8, seed=1, word="2") | {
        "joined": ints(0, 0, -1), "back": np.array(-2, I64), "last": np.array(-1, I64)}
    model = agree(graph(lines, (5, 3), constants), numbers(3, 5, 3), first=False)
    assert [type(layer.layer).__name__ for layer in model.layers] == [op, op]
    assert [layer.layer.return_sequences for layer in model.layers] == [True, False]


def test_time_before_the_batch():
    lines = [("LSTM", "x W R B", "s h", settings("LSTM")), ("Squeeze", "s one", "y")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (5, "n", 3))]
    proto = graph(lines, (), cell("LSTM") | {"one": ints(1)}, inputs=inputs)
    x = numbers(5, 2, 3)
    model = interop.from_onnx(proto)
    assert model.input_shape == (5, 3)
    # the model's rows are samples, and its outputs are in the order of the graph's axes but for them
    np.testing.assert_allclose(model.predict(np.ascontiguousarray(x.transpose(1, 0, 2))).transpose(1, 0, 2),
                               run(proto, x=x)[0], rtol=1e-5, atol=1e-5)


def test_token_ids():
    lines = [("Gather", "E x", "e"), *FIRST, ("GRU", "t W R B", "s h", settings("GRU")), ("Squeeze", "h axis", "y")]
    lines[1] = ("Transpose", "e", "t", {"perm": [1, 0, 2]})
    proto = graph(lines, (), cell("GRU") | {"E": numbers(7, 3), "axis": ints(0)},
                  inputs=[helper.make_tensor_value_info("x", TensorProto.INT64, ("n", 5))])
    x = np.random.default_rng(0).integers(0, 7, (3, 5))
    assert kinds(agree(proto, x, first=False)) == ["Embedding", "GRU"]


def test_lengths():
    lines = [*FIRST, ("Cast", "lengths", "l", {"to": TensorProto.INT32}),
             ("GRU", "t W R B l", "s h", settings("GRU")), ("Squeeze", "h axis", "y")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 5, 3)),
              helper.make_tensor_value_info("lengths", TensorProto.INT64, ("n",))]
    proto = graph(lines, (), cell("GRU") | {"axis": ints(0)}, inputs=inputs)
    x, lengths = numbers(3, 5, 3), ints(2, 5, 1)
    expected = run(proto, own=True, x=x, lengths=lengths)[0]
    np.testing.assert_allclose(interop.from_onnx(proto).predict(x, lengths=lengths), expected, rtol=1e-5, atol=1e-5)


def test_features_in_the_order_of_a_dense_net():
    """Each layer reads all before it, which Concat joins from the beginning."""
    lines = [("Conv", "x W b", "c"), ("Conv", "c U", "d", {"group": 2, "pads": [1] * 4}),
             ("Concat", "c d", "e", {"axis": 1}), ("Conv", "e V", "f"), ("Concat", "c d f", "y", {"axis": 1})]
    constants = KERNEL | {"U": numbers(4, 2, 3, 3), "V": numbers(2, 8, 1, 1)}
    model = agree(graph(lines, SHAPE, constants), numbers(3, *SHAPE))
    assert kinds(model) == ["Conv2D", "Concatenate", "Concatenate"]


# -- what is refused ----------------------------------------------------------------------------------------------

W = {"W": numbers(3, 3)}


@pytest.mark.parametrize("lines, text", [
    ([("Hardmax", "x", "a"), ("Selu", "a", "b"), ("LogSoftmax", "b", "y")],
     r"'Hardmax_0' \(Hardmax\); 'LogSoftmax_2' \(LogSoftmax\)\.$"),
    ([("MatMul", "x W", "a"), ("Hardmax", "a", "b"), ("Sinh", "a", "c"), ("Add", "b c", "y")],
     r"'Hardmax_1' \(Hardmax\); 'Sinh_2' \(Sinh\)\.$"),
    ([("MatMul", "W x", "y")], r"'MatMul_0' \(MatMul\): input 0 must depend on the graph's input"),
    ([("MatMul", "x x", "y")], r"'MatMul_0' \(MatMul\): the second factor must be constant numbers"),
    ([("Slice", "x one two one", "y")], r"'Slice_0' \(Slice\): it must take all"),
    ([("ReduceMean", "x zero", "y")], r"'ReduceMean_0' \(ReduceMean\): it must leave the batch alone"),
    ([("Softmax", "x", "y", {"axis": 0})], r"'Softmax_0' \(Softmax\): it must leave the batch alone"),
    ([("Elu", "x", "a", {"alpha": 0.5}), ("MatMul", "a W", "y")], r"'Elu_0' \(Elu\): it is no part of an activation"),
    ([("Concat", "x x", "y", {"axis": 0})], r"'Concat_0' \(Concat\): the batch must be one axis of all"),
    ([("Gather", "x zero", "y", {"axis": 1})], r"'Gather_0' \(Gather\)"),
    ([("Reshape", "x threes", "y")], r"'Reshape_0' \(Reshape\): the shape must hold as many numbers"),
    ([("Softmax", "x", "y", {"axis": "last"})], r"'Softmax_0' \(Softmax\): its settings must have the types"),
    ([("MaxPool", "x", "y", {"kernel_shape": [2]})], r"'MaxPool_0' \(MaxPool\): it must read sequences or images"),
], ids=lambda value: "" if isinstance(value, list) else value[:20])
def test_nodes_without_counterpart(lines, text):
    constants = W | {"one": ints(1), "two": ints(2), "zero": ints(0), "threes": ints(-1, 7)}
    with pytest.raises(ValueError, match=f"^from_onnx: these nodes have no counterpart: {text}"):
        interop.from_onnx(graph(lines, (3,), constants))


@pytest.mark.parametrize("settings, text", [
    ({"hidden_size": 4, "direction": "forward"}, "linear_before_reset=1"),
    ({"hidden_size": 4, "linear_before_reset": 1, "clip": 2.0}, "no clip"),
    ({"hidden_size": 4, "linear_before_reset": 1, "activations": ["Sigmoid", "Relu"]}, "must be sigmoid and tanh"),
    ({"hidden_size": 5, "linear_before_reset": 1}, r"W must have the shape \(1, 15, 3\)"),
])
def test_cells_without_counterpart(settings, text):
    with pytest.raises(ValueError, match=rf"'GRU_1' \(GRU\): .*{text}"):
        interop.from_onnx(graph([*FIRST, ("GRU", "t W R B", "y", settings)], (5, 3), cell("GRU")))


def test_the_state_of_the_cells_and_the_last_step_of_both_directions():
    lines = [*FIRST, ("LSTM", "t W R B", "s h c", settings("LSTM")), ("Squeeze", "c axis", "y")]
    with pytest.raises(ValueError, match=r"'LSTM_1' \(LSTM\): the state of the cells has no counterpart"):
        interop.from_onnx(graph(lines, (5, 3), cell("LSTM") | {"axis": ints(0)}))
    lines = [*FIRST, ("LSTM", "t W R B", "s", settings("LSTM", 2)), ("Gather", "s last", "y")]
    with pytest.raises(ValueError, match=r"'LSTM_1|'Gather_2' \(Gather\)"):
        interop.from_onnx(graph(lines, (5, 3), cell("LSTM", 2) | {"last": np.array(-1, I64)}))


def test_subgraphs_are_refused_by_name():
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "body", [],
                             [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])
    lines = [("If", "flag", "y", {"then_branch": body, "else_branch": body})]
    with pytest.raises(ValueError, match=r"^from_onnx: these nodes have no counterpart: 'If_0' \(If\)\.$"):
        interop.from_onnx(graph(lines, (3,), {"flag": np.array(True)}))


def test_weights_in_two_places_are_refused():
    lines = [("MatMul", "x W", "a"), ("Relu", "a", "b"), ("MatMul", "b W", "y")]
    assert kinds(interop.from_onnx(graph(lines, (3,), W))) == ["Dense", "Dense"]
    lines = [("MatMul", "x W", "a"), ("Relu", "x", "b"), ("Add", "a b", "c"), ("Relu", "a", "d"), ("Add", "c d", "y")]
    with pytest.raises(ValueError, match=r"the node 'MatMul_0' \(MatMul\) must be in one path of a branch"):
        interop.from_onnx(graph(lines, (3,), W))


def test_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r'from_onnx: needs the package onnx.*pip install "ldl_cy\[onnx\]"'):
        interop.from_onnx("model.onnx")


def test_a_file_and_a_proto(tmp_path):
    proto = graph([("MatMul", "x W", "y")], (3,), W)
    onnx.save(proto, tmp_path / "model.onnx")
    for source in (proto, tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        assert (interop.from_onnx(source).theta == W["W"].ravel()).all()
