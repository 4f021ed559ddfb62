"""Keras' files without Keras: files that the tests write as Keras does, against formulas in NumPy."""
import io
import sys
import tracemalloc

import numpy as np
import pytest
from keras_files import (
    archive,
    called,
    conv,
    dense,
    entry,
    functional,
    input_layer,
    recurrent,
    sequential,
    tensor,
    weights,
    write,
)
from scipy.special import erf, expit

from ldl_cy import layers
from ldl_cy.interop import from_keras, to_keras

h5py = pytest.importorskip("h5py", reason="reads Keras' files")
RNG = np.random.default_rng(0)
MASK = {"mask": None, "training": False}


def draw(*shape):
    return RNG.normal(size=shape).astype("float32")


def load(tmp_path, config, groups=(), **settings):
    return from_keras(write(tmp_path / "model.keras", config, dict(groups)), **settings)


def one(tmp_path, layer, shape, arrays=(), group=None):
    """A model of one layer, or of the layers of a list."""
    several = layer if isinstance(layer, list) else [layer]
    return load(tmp_path, sequential(input_layer(shape), *several), {group or "layers/x": list(arrays)})


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


# -- graphs ----------------------------------------------------------------------------------------------------------


def test_groups_are_named_by_class_and_count(tmp_path):
    """Twelve layers of a class, whose names and groups, sorted, are in other orders than the layers."""
    n = 12
    kernels = [draw(3, 3) for _ in range(n)]
    names = [f"{chr(ord('z') - i)}_{i}" for i in range(n)]
    groups = {"layers/dense" + (f"_{i}" if i else ""): [kernel, draw(3)] for i, kernel in enumerate(kernels)}
    model = load(tmp_path, sequential(input_layer((3,)), *(dense(name, 3) for name in names)), groups)
    for name, kernel, (_, bias) in zip(names, kernels, groups.values()):
        assert model.parameters[f"{name}.kernel"].tobytes() == kernel.tobytes()
        assert model.parameters[f"{name}.bias"].tobytes() == bias.tobytes()
    assert list(model.parameters) == [f"{name}.{key}" for name in names for key in ("kernel", "bias")]


def test_a_residual_block(tmp_path):
    a, b = (draw(4, 4), draw(4)), (draw(4, 4), draw(4))
    config = functional(
        input_layer((4,), "x"),
        called(dense("b", 4, activation="relu"), "x"),
        called(dense("a", 4), "b"),
        called(entry("Add", "sum"), "a", "x", several=True),
        called(entry("Activation", "end", activation="gelu"), "sum", kwargs=MASK), start="x", end="end")
    model = load(tmp_path, config, {"layers/dense": b, "layers/dense_1": a})
    assert [type(layer) for layer in model.layers] == [layers.Add, layers.Activation]
    x = draw(5, 4)
    y = np.maximum(x @ b[0] + b[1], 0) @ a[0] + a[1] + x
    close(model.predict(x), 0.5 * y * (1 + erf(y / np.sqrt(2))))
    assert next(iter(model.parameters)) == "sum.0.b.kernel"


def test_nested_models(tmp_path):
    """A Sequential in a functional model in a Sequential; names that are there twice, or are no words."""
    W = [draw(3, 3) for _ in range(4)]
    inner = sequential(input_layer((3,)), dense("d", 3, use_bias=False), name="inner")
    middle = functional(
        input_layer((3,), "i"), called(dense("d", 3, use_bias=False), "i"), called(inner, "d"),
        called(entry("Concatenate", "join", axis=-1), "d", "inner", several=True), start="i", end="join",
        name="block/1")
    config = sequential(input_layer((3,)), dense("d", 3, use_bias=False), middle,
                        dense("1 end", 2, use_bias=False), module="keras.src.models.sequential")
    model = load(tmp_path, config, {
        "layers/dense": [W[0]], "layers/functional/layers/dense": [W[1]],
        "layers/functional/layers/sequential/layers/dense": [W[2]], "layers/dense_1": [draw(6, 2)]})
    x = draw(4, 3)
    h = x @ W[0] @ W[1]
    close(model.predict(x), np.concatenate([h, h @ W[2]], 1) @ model.parameters["_1_end.kernel"])
    assert list(model.parameters) == ["d.kernel", "d_1.kernel", "join.1.d_2.kernel", "_1_end.kernel"]


def test_layers_without_weights_may_be_called_twice(tmp_path):
    relu = called(entry("ReLU", "r", max_value=None, negative_slope=0.0, threshold=0.0), "x")
    relu["inbound_nodes"].append({"args": [tensor("d")], "kwargs": {}})
    config = functional(input_layer((3,), "x"), relu, called(dense("d", 3), "r"),
                        called(entry("Add", "sum"), "d", tensor("r", 1), several=True), start="x", end="sum")
    kernel, bias = draw(3, 3), draw(3)
    x = draw(4, 3)
    h = np.maximum(x, 0) @ kernel + bias
    close(load(tmp_path, config, {"layers/dense": [kernel, bias]}).predict(x), h + np.maximum(h, 0))


def test_multiply_broadcasts(tmp_path):
    """Squeeze and excitation."""
    config = functional(
        input_layer((4, 5, 3), "x"),
        called(entry("GlobalAveragePooling2D", "g", data_format="channels_last", keepdims=True), "x"),
        called(conv("Conv2D", "c", 3, (1, 1), activation="sigmoid"), "g"),
        called(entry("Multiply", "m"), "x", "c", several=True), start="x", end="m")
    kernel, bias = draw(1, 1, 3, 3), draw(3)
    x = draw(2, 4, 5, 3)
    gate = expit(x.mean((1, 2)) @ kernel[0, 0] + bias)
    close(load(tmp_path, config, {"layers/conv2d": [kernel, bias]}).predict(x), x * gate[:, None, None])


def test_operators(tmp_path):
    """x + y of tensors, and a number beside one."""
    ops = "keras.src.ops.numpy"
    config = functional(
        input_layer((3,), "x"), called(entry("Add", "a", ops), "x", 3.0), called(entry("Multiply", "m", ops), 0.5, "a"),
        called(entry("Subtract", "s", ops), "m", 1), called(entry("TrueDivide", "d", ops), "s", 4.0),
        called(entry("Add", "b", ops), "d", "x"),
        called(entry("Gelu", "g", "keras.src.ops.nn", approximate=True), "b"), start="x", end="g")
    x = draw(4, 3)
    y = ((x + 3) * 0.5 - 1) / 4 + x
    close(load(tmp_path, config).predict(x), 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y ** 3))))


def test_an_open_input_shape(tmp_path):
    config = sequential(input_layer((None, 3)), dense("d", 2))
    groups = {"layers/dense": [draw(3, 2), draw(2)]}
    with pytest.raises(ValueError, match=r"model.keras: input_shape must be given .* \(None, 3\), got None"):
        load(tmp_path, config, groups)
    assert load(tmp_path, config, groups, input_shape=(7, 3)).output_shape == (7, 2)
    with pytest.raises(ValueError, match=r"input_shape must fit the model's \(None, 3\), got \(7, 4\)"):
        load(tmp_path, config, groups, input_shape=(7, 4))


def test_a_model_that_knows_its_shape_from_building(tmp_path):
    config = sequential(dense("d", 2), build_input_shape=[None, 3])
    assert load(tmp_path, config, {"layers/dense": [draw(3, 2), draw(2)]}).input_shape == (3,)


def test_dtypes_and_frozen_layers(tmp_path):
    config = sequential(input_layer((3,)), dense("a", 2, dtype="float64", trainable=False), dense("b", 2))
    groups = {"layers/dense": [draw(3, 2).astype("float64"), np.zeros(2)], "layers/dense_1": [draw(2, 2), draw(2)]}
    model = load(tmp_path, config, groups)
    assert model.dtype == "float64" and [layer.trainable for layer in model.layers] == [False, True]
    half = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
    groups["layers/dense"][0] = groups["layers/dense"][0].astype(">f2")
    config["config"]["layers"][1]["config"]["dtype"] = half
    assert load(tmp_path, config, groups).dtype == "float32"


def test_a_file_object_and_a_compressed_archive():
    config, h5 = sequential(input_layer((3,)), dense("a", 2)), weights({"layers/dense": [draw(3, 2), draw(2)]})
    for data in (archive(config, h5), archive(config, h5, compression=8)):
        assert from_keras(io.BytesIO(data)).input_shape == (3,)


def test_weights_that_are_larger_than_what_is_read_at_once(tmp_path):
    kernel = draw(600, 700)
    model = load(tmp_path, sequential(input_layer((600,)), dense("a", 700)), {"layers/dense": [kernel, draw(700)]})
    assert model.parameters["a.kernel"].tobytes() == kernel.tobytes()


# -- layers ----------------------------------------------------------------------------------------------------------


ACTIVATIONS = {
    "linear": lambda x: x, "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x), "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))), "swish": lambda x: x * expit(x), "sigmoid": expit,
    "softplus": lambda x: np.log1p(np.exp(x)), "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6, "mish": lambda x: x * np.tanh(np.log1p(np.exp(x)))}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(tmp_path, name):
    kernel, bias, x = draw(3, 4), draw(4), 3 * draw(5, 3)
    expected = ACTIVATIONS[name](x @ kernel + bias)
    close(one(tmp_path, dense("d", 4, activation=name), (3,), [kernel, bias], "layers/dense").predict(x), expected)
    both = [dense("d", 4), entry("Activation", "a", activation=name)]
    close(one(tmp_path, both, (3,), [kernel, bias], "layers/dense").predict(x), expected)


@pytest.mark.parametrize("layer, expected", [
    (entry("LeakyReLU", "a", negative_slope=0.3), lambda x: np.where(x > 0, x, 0.3 * x)),
    (entry("ReLU", "a", max_value=6.0, negative_slope=0.0, threshold=0.0), ACTIVATIONS["relu6"]),
    (entry("ReLU", "a", max_value=None, negative_slope=0.5, threshold=0.0), lambda x: np.where(x > 0, x, 0.5 * x)),
    (entry("ELU", "a", alpha=1.0), ACTIVATIONS["elu"]),
    (entry("Softmax", "a", axis=-1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    (entry("GaussianNoise", "a", stddev=3.0, seed=None), ACTIVATIONS["linear"]),
    (entry("Dropout", "a", rate=0.5, seed=None, noise_shape=None), ACTIVATIONS["linear"]),
    (entry("Rescaling", "a", scale=0.5, offset=[1.0, 2.0, -3.0]), lambda x: 0.5 * x + [1, 2, -3]),
    (entry("Reshape", "a", target_shape=[-1]), ACTIVATIONS["linear"])], ids=lambda value: str(
        value["class_name"] if isinstance(value, dict) else ""))
def test_layers_without_weights(tmp_path, layer, expected):
    """Alone, or as an activation within a layer where it is one."""
    x = 5 * draw(4, 3)
    close(one(tmp_path, [layer, entry("Activation", "end", activation="linear")], (3,)).predict(x), expected(x))
    if layer["class_name"] in ("LeakyReLU", "ReLU", "ELU", "Softmax"):
        within = dense("d", 3, use_bias=False, activation=layer)
        close(one(tmp_path, within, (3,), [np.eye(3, dtype="f")], "layers/dense").predict(x), expected(x))


def test_depthwise_and_separable_convolutions(tmp_path):
    """Filters of a channel are neighbours in both."""
    depth, bias = draw(3, 4, 2), draw(8)
    x = draw(2, 7, 4)
    windows = np.stack([x[:, i:i + 5] for i in range(3)], 1)                            # (n, k, steps, channels)
    y = np.einsum("nktc,kcm->ntcm", windows, depth).reshape(2, 5, 8)
    layer = conv("DepthwiseConv1D", "d", None, (3,), depth_multiplier=2)
    close(one(tmp_path, layer, (7, 4), [depth, bias], "layers/depthwise_conv1d").predict(x), y + bias)
    point, bias = draw(1, 8, 5), draw(5)
    layer = conv("SeparableConv1D", "s", 5, (3,), depth_multiplier=2, activation="tanh")
    model = one(tmp_path, layer, (7, 4), [depth, point, bias], "layers/separable_conv1d")
    close(model.predict(x), np.tanh(y @ point[0] + bias))
    assert [layer.name for layer in model.layers] == ["s_depthwise", "s"]


def test_a_gru(tmp_path):
    """Gates z, r, h; two biases."""
    u = 3
    W, U, b = draw(2, 3 * u), draw(u, 3 * u), draw(2, 3 * u)
    model = one(tmp_path, recurrent("GRU", "g", u), (5, 2), [W, U, b], "layers/gru/cell")
    x = draw(4, 5, 2)
    h = np.zeros((4, u))
    for t in range(5):
        (xz, xr, xh), (hz, hr, hh) = np.split(x[:, t] @ W + b[0], 3, 1), np.split(h @ U + b[1], 3, 1)
        z, r = expit(xz + hz), expit(xr + hr)
        h = z * h + (1 - z) * np.tanh(xh + r * hh)
    close(model.predict(x), h)


def test_a_bidirectional_lstm(tmp_path):
    u = 2
    forward, backward = ([draw(3, 4 * u), draw(u, 4 * u), draw(4 * u)] for _ in range(2))
    layer = entry("Bidirectional", "b", merge_mode="concat", layer=recurrent("LSTM", "forward_l", u),
                  backward_layer=recurrent("LSTM", "backward_l", u, go_backwards=True))
    model = load(tmp_path, sequential(input_layer((4, 3)), layer), {
        "layers/bidirectional/forward_layer/cell": forward, "layers/bidirectional/backward_layer/cell": backward})
    x = draw(2, 4, 3)
    ends = []
    for (W, U, b), steps in ((forward, range(4)), (backward, range(3, -1, -1))):
        h = c = np.zeros((2, u))
        for t in steps:
            i, f, g, o = np.split(x[:, t] @ W + h @ U + b, 4, 1)
            c = expit(f) * c + expit(i) * np.tanh(g)
            h = expit(o) * np.tanh(c)
        ends.append(h)
    close(model.predict(x), np.concatenate(ends, 1))


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_batch_normalization(tmp_path, scale, center):
    gamma, beta, mean, variance = draw(3), draw(3), draw(3), np.exp(draw(3))
    layer = entry("BatchNormalization", "n", axis=2, momentum=0.99, epsilon=1e-3, scale=scale, center=center,
                  renorm=False, synchronized=False, renorm_clipping=None, renorm_momentum=0.99)
    arrays = [gamma] * scale + [beta] * center + [mean, variance]
    model = one(tmp_path, layer, (4, 3), arrays, "layers/batch_normalization")
    x = draw(2, 4, 3)
    y = (x - mean) / np.sqrt(variance + 1e-3)
    close(model.predict(x), y * (gamma if scale else 1) + (beta if center else 0))
    assert model.layers[0].momentum == 0.99


@pytest.mark.parametrize("axis", [-1, [-1], [1, 2], 1])
def test_layer_normalization(tmp_path, axis):
    size = {"1": (4, 1), "[1, 2]": (4, 3)}.get(str(axis), (3,))
    gamma, beta, x = draw(*size), draw(*size), draw(2, 4, 3)
    layer = entry("LayerNormalization", "n", axis=axis, epsilon=1e-3, scale=True, center=True, rms_scaling=False)
    stored = [gamma.ravel(), beta.ravel()] if axis == 1 else [gamma, beta]
    model = one(tmp_path, layer, (4, 3), stored, "layers/layer_normalization")
    over = (1, 2) if axis == [1, 2] else axis if axis == 1 else -1
    y = (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + 1e-3)
    close(model.predict(x), y * gamma + beta)


@pytest.mark.parametrize("stored", [False, True])
def test_normalization(tmp_path, stored):
    mean, variance, x = draw(3), np.array([2, 0, 0.5], "float32"), draw(4, 3)
    settings = {"axis": [-1], "invert": False, "mean": None, "variance": None}
    if not stored:
        settings |= {"mean": mean.tolist(), "variance": variance.tolist()}
    arrays = [mean, variance, np.array(7, "int32")] if stored else []
    model = one(tmp_path, entry("Normalization", "n", **settings), (3,), arrays, "layers/normalization")
    close(model.predict(x), (x - mean) / np.maximum(np.sqrt(variance), 1e-7))
    assert model.n_parameters == 0


def test_an_embedding_and_slopes(tmp_path):
    table, alpha = draw(5, 2), draw(1, 2)
    model = load(tmp_path, sequential(
        input_layer((3,), dtype="int32"),
        entry("Embedding", "e", input_dim=5, output_dim=2, mask_zero=False),
        entry("PReLU", "p", shared_axes=[1])), {"layers/embedding": [table], "layers/p_re_lu": [alpha]})
    x = np.array([[0, 4, 2], [1, 1, 3]])
    y = table[x]
    close(model.predict(x), np.where(y > 0, y, y * alpha))


# -- what has no counterpart -----------------------------------------------------------------------------------------


def refused_layers():
    lstm = recurrent("LSTM", "l", 2)
    return [
        ((3,), entry("Lambda", "l", function={"class_name": "__lambda__"}), "Lambda 'l' has no counterpart"),
        ((3,), entry("Dense", "l", "my.layers", units=2), "Dense 'l' has no counterpart"),
        ((3,), dense("d", 2, lora_rank=4), "Dense 'd' must have no lora_rank, got 4"),
        ((3,), dense("d", 2, activation="exponential"), "Dense 'd' must have one of the activations .*'exponential'"),
        ((3,), dense("d", 0), "Dense 'd': Dense: units must be an int >= 1, got 0"),
        ((3,), dense("d", "2"), "Dense 'd': Dense: units must be an int >= 1, got '2'"),
        ((3,), dense("d", 2, dtype="float16"), "Dense 'd' must have one of the dtypes .*got 'float16'"),
        ((3,), dense("d", 2, dtype={"class_name": "QuantizedDTypePolicy", "config": {}}), "one of the dtypes"),
        ((5, 5, 3), conv("Conv2D", "c", 2, (3, 3), data_format="channels_first"),
         "Conv2D 'c' must have data_format 'channels_last'.*got 'channels_first'"),
        ((5, 5, 3), entry("Conv2DTranspose", "c"), "Conv2DTranspose 'c' has no counterpart"),
        ((5, 3), recurrent("GRU", "g", 2, reset_after=False), "GRU 'g' must have reset_after True, got False"),
        ((5, 3), recurrent("LSTM", "l", 2, stateful=True), "LSTM 'l' must have stateful False, got True"),
        ((5, 3), recurrent("LSTM", "l", 2, recurrent_activation="hard_sigmoid"), "recurrent_activation 'sigmoid'"),
        ((5, 3), recurrent("SimpleRNN", "s", 2, activation="leaky_relu"), "SimpleRNN 's' must have one of the activ"),
        ((5, 3), entry("Bidirectional", "b", merge_mode="mul", layer=lstm, backward_layer=recurrent(
            "LSTM", "m", 2, go_backwards=True)), "Bidirectional 'b' must have merge_mode 'concat' or 'sum', got 'mul'"),
        ((5, 3), entry("Bidirectional", "b", layer=lstm, backward_layer=lstm), "differ in go_backwards alone"),
        ((5, 3), entry("Bidirectional", "b", layer=dense("d", 2), backward_layer=lstm), "SimpleRNN, LSTM or GRU in it"),
        ((5, 3), entry("Bidirectional", "b", layer={**lstm, "module": "my"}, backward_layer=lstm),
         "Bidirectional 'b' must have a layer of Keras' own in it, got LSTM 'l'"),
        ((3,), {**dense("d", 2), "module": None}, "Dense 'd' has no counterpart"),
        ((5,), entry("Embedding", "e", input_dim=5, output_dim=2, mask_zero=True), "mask_zero False, got True"),
        ((4, 3), entry("BatchNormalization", "n", axis=1), "BatchNormalization 'n' must have axis -1, the last, got 1"),
        ((4, 3), entry("LayerNormalization", "n", rms_scaling=True), "rms_scaling False, got True"),
        ((3,), entry("ReLU", "r", max_value=4.0), "ReLU 'r' must have max_value None or 6, got 4.0"),
        ((3,), entry("ReLU", "r", threshold=1.0), "ReLU 'r' must have threshold 0, got 1.0"),
        ((3,), entry("ELU", "r", alpha=2.0), "ELU 'r' must have alpha 1, got 2.0"),
        ((4, 3), entry("Softmax", "r", axis=1), "Softmax 'r' must have axis -1, the last, got 1"),
        ((3,), entry("Rescaling", "r", scale=-1.0, offset=0.0), "Rescaling 'r' must have a scale > 0, got -1.0"),
        ((3,), entry("Rescaling", "r", scale="x", offset=0.0), "Rescaling 'r': scale must be an array of numbers"),
        ((3,), entry("Normalization", "r", invert=True), "Normalization 'r' must have invert False, got True"),
        ((3,), entry("UpSampling2D", "u"), "UpSampling2D 'u' has no counterpart"),
        ((3,), {"class_name": "Dense", "config": []}, "each layer must have a class_name and a config"),
        ((3,), 3, "each layer must have a class_name and a config, got 3"),
    ]


@pytest.mark.parametrize("shape, layer, text", refused_layers(), ids=[text[:40] for _, _, text in refused_layers()])
def test_refused_layers(tmp_path, shape, layer, text):
    with pytest.raises(ValueError, match=rf"from_keras: .*model.keras: .*{text}"):
        one(tmp_path, layer, shape)


def test_all_faults_are_listed(tmp_path):
    bad = [entry("Lambda", f"f{i}") for i in range(25)]
    with pytest.raises(ValueError, match=r"Lambda 'f0' has no counterpart; .*Lambda 'f19' .* and 6 more\.$"):
        load(tmp_path, sequential(input_layer((3,)), *bad, recurrent("GRU", "g", 3, reset_after=False)))


def graphs():
    d, add, x = dense("d", 3), entry("Add", "add"), input_layer((3,), "x")
    twice = called(d, "x")
    twice["inbound_nodes"] = twice["inbound_nodes"] * 2
    ops = "keras.src.ops.numpy"
    return {
        "Dense 'd' must be called once, got 2 calls": [x, twice],
        "the model must have one input, got InputLayer 'y' too": [x, input_layer((3,), "y"), called(d, "x")],
        "Dense 'd' must have one input, got 2": [x, called(d, "x", "x", several=True)],
        "Add 'd' must have at least two inputs, got 1": [x, called(entry("Add", "d"), "x", several=True)],
        "Average 'd' has no counterpart": [x, called(entry("Average", "d"), "x", "x", several=True)],
        "Dense 'd' must be called without training, got True": [x, called(d, "x", kwargs={"training": True})],
        "Dense 'd' must be called with outputs of layers, got 'y'": [x, {
            **called(d, "x"), "inbound_nodes": [{"args": ["y"], "kwargs": {}}]}],
        "Dense 'd' must be called with tensors as Keras 3 writes them": [
            x, {**d, "inbound_nodes": [[["x", 0, 0, {}]]]}],
        "Dense 'd' must have its calls in inbound_nodes": [x, d],
        "no cycles, got one at": [x, called(d, "add"), called(add, "d", "x", several=True)],
        "computed from the input": [x, called(d, "nowhere")],
        "names of layers must differ, got Dense 'd' twice": [x, called(d, "x"), called(d, "x")],
        "Add 'd' must have inputs of one shape, got (3,) and (2,)": [
            x, called(dense("e", 2), "x"), called(entry("Add", "d"), "x", "e", several=True)],
        "Concatenate 'd' must have axis -1, the last, got 0": [
            x, called(entry("Concatenate", "d", axis=0), "x", "x", several=True)],
        "Multiply 'd' must have inputs whose axes are equal or 1": [
            x, called(dense("e", 2), "x"), called(entry("Multiply", "d"), "x", "e", several=True)],
        "Subtract 'd' must be called with outputs of layers, got 1": [x, called(entry("Subtract", "d", ops), 1, "x")],
        "Subtract 'd' must have one input, got 2": [x, called(entry("Subtract", "d", ops), "x", "x")],
        "Multiply 'd' must have a scale > 0, got 0": [x, called(entry("Multiply", "d", ops), "x", 0)],
        "Divide 'd': float division by zero": [x, called(entry("Divide", "d", ops), "x", 0)],
        "Matmul 'd' has no counterpart": [x, called(entry("Matmul", "d", ops), "x", "x")],
    }


@pytest.mark.parametrize("text", graphs())
def test_refused_graphs(tmp_path, text):
    groups = {"layers/dense": [draw(3, 2), draw(2)]}
    with pytest.raises(ValueError) as caught:
        load(tmp_path, functional(*graphs()[text], start="x", end="d"), groups)
    assert str(caught.value).startswith("from_keras: ") and text in str(caught.value)


# -- hostile files ---------------------------------------------------------------------------------------------------


CONFIG = sequential(input_layer((3,)), dense("d", 2))
GOOD = {"layers/dense": [draw(3, 2), draw(2)]}


def h5(change):
    """The weights of CONFIG in a file that ``change`` has been at."""
    file = io.BytesIO(weights(GOOD))
    with h5py.File(file, "r+") as target:
        change(target, target["layers/dense/vars"])
    return file.getvalue()


def replaced(**settings):
    def change(file, group):
        del group["0"]
        group.create_dataset("0", **settings)
    return change


def virtual(file, group):
    del group["0"]
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (3, 2))
    group.create_virtual_dataset("0", layout)


def linked(link):
    def change(file, group):
        del group["0"]
        group["0"] = link
    return change


@pytest.mark.parametrize("change, text", [
    (lambda file, group: group.pop("1"), r"Dense 'd' must have 2 arrays in layers/dense/vars, got 1"),
    (lambda file, group: group.create_dataset("2", data=1.0), "must have 2 arrays in layers/dense/vars, got 3"),
    (lambda file, group: group.move("0", "zero"), r"its weights in layers/dense/vars/0, which are missing"),
    (lambda file, group: file.move("layers/dense", "layers/d"), "its weights in layers/dense/vars, which are missing"),
    (replaced(data=np.zeros((2, 3), "f4")), r"of the shape \(3, 2\) in layers/dense/vars/0, got \(2, 3\) of float32"),
    (replaced(data=np.zeros((3, 2), "S4")), r"numbers of the shape \(3, 2\).*got \(3, 2\) of \|S4"),
    (replaced(data=np.zeros((3, 2), complex)), r"got \(3, 2\) of complex128"),
    (replaced(data=np.full((3, 2), np.nan, "f4")), "kernel of Dense 'd' must be finite"),
    (replaced(shape=(3, 2), dtype="f4"), "in one piece in the file"),                   # no number is there
    (replaced(data=np.zeros((3, 2), "f4"), chunks=(1, 2)), "in one piece in the file, uncompressed"),
    (replaced(data=np.zeros((3, 2), "f4"), compression="gzip"), "in one piece in the file, uncompressed"),
    (replaced(shape=(3, 2), dtype="f4", external=[("/etc/passwd", 0, 24)]), "in one piece in the file"),
    (virtual, "in one piece in the file"),
    (linked(h5py.SoftLink("/layers/dense/vars/1")), "which is a link to another place"),
    (linked(h5py.ExternalLink("other.h5", "/0")), "which is a link to another place"),
    (replaced(data=h5py.Empty("f4")), r"numbers of the shape \(3, 2\)"),
], ids=["too few", "too many", "other names", "no layer", "other shape", "text", "complex", "NaN", "no numbers",
        "chunks", "compressed", "external", "virtual", "soft link", "external link", "empty"])
def test_refused_weights(tmp_path, change, text):
    path = tmp_path / "model.keras"
    path.write_bytes(archive(CONFIG, h5(change)))
    with pytest.raises(ValueError, match=rf"from_keras: .*model.keras: .*{text}"):
        from_keras(path)


def test_numbers_that_several_layers_have(tmp_path):
    """Hard links make a small file large."""
    file = io.BytesIO(weights({"layers/dense": [draw(40, 40), draw(40)]}))
    with h5py.File(file, "r+") as target:
        for i in range(1, 10):
            target[f"layers/dense_{i}"] = target["layers/dense"]
    path = tmp_path / "model.keras"
    path.write_bytes(archive(sequential(input_layer((40,)), *(dense(f"d{i}", 40) for i in range(10))), file.getvalue()))
    with pytest.raises(ValueError, match=r"must have numbers of its own in the file, got .*, which others have too"):
        from_keras(path)


@pytest.mark.parametrize("content, text", [
    (b"", "must be a .keras file, which is a zip archive"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "must be a .keras file, which is a zip archive"),
    (archive(CONFIG, weights(GOOD))[:-100], "must be a .keras file, which is a zip archive"),
    (archive(b"{", weights(GOOD)), "config.json must be JSON: Expecting property"),
    (archive(b"\xff\xfe", weights(GOOD)), "config.json must be JSON: Expecting value"),
    (archive(b"[" * 100_000, weights(GOOD)), "config.json must be JSON: .*recursion"),
    (archive([], weights(GOOD)), "each layer must have a class_name and a config"),
    (archive({"class_name": "Sequential", "config": {"layers": 3}}, weights(GOOD)), "must be Sequential or Functional"),
    (archive(entry("MyModel", "m", layers=[]), weights(GOOD)), "must be Sequential or Functional, got MyModel 'm'"),
    (archive({**CONFIG, "module": "my.models"}, weights(GOOD)), "must be Sequential or Functional, got Sequential"),
    (archive(sequential(), weights(GOOD)), "must have the shape of its input, got None"),
    (archive(sequential(input_layer((0,))), weights(GOOD)), "must have the shape of its input"),
    (archive(CONFIG, b"no HDF5"), "[Uu]nable to.*open file"),
    (archive(CONFIG, weights(GOOD)[:2000]), "[Uu]nable to.*open file"),
    (archive(CONFIG, weights(GOOD), version="2.15.0"), "keras_version must be 3, got '2.15.0'"),
    (archive(b" " * (1 << 24) + b"{}", weights(GOOD)), "config.json must have at most"),
    (archive(b" " * (1 << 24), weights(GOOD), compression=8), "must have a size that fits what is stored"),
    (archive(CONFIG, weights(GOOD), compression=14), "must be stored, or compressed by deflate, got method 14"),
], ids=["empty", "h5", "truncated", "no JSON", "no text", "deep", "a list", "no layers", "own class", "own module",
        "no shape", "no numbers", "no h5", "half of h5", "Keras 2", "long", "bomb", "lzma"])
def test_refused_archives(tmp_path, content, text):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"from_keras: .*model.keras.*{text}"):
        from_keras(path)


def test_changed_bytes_are_noticed(tmp_path):
    """By the checksum, also where a part is read in place."""
    config = sequential(input_layer((600,)), dense("a", 700))
    content = archive(config, weights({"layers/dense": [draw(600, 700), draw(700)]}))
    at = len(content) // 2
    path = tmp_path / "model.keras"
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
    with pytest.raises(ValueError, match=r"Bad CRC-32 for file 'model.weights.h5'|must be a .keras file.*Bad CRC-32"):
        from_keras(path)


def test_sizes_that_nothing_holds(tmp_path):
    """Sizes of a config cost nothing: the weights must be there."""
    config = sequential(input_layer((2**20,)), dense("d", 2**11 - 1))
    with pytest.raises(ValueError, match=r"of the shape \(1048576, 2047\) in layers/dense/vars/0, got \(3, 2\)"):
        load(tmp_path, config, GOOD)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="from_keras: path must be a file, got the folder"):
        from_keras(tmp_path)
    with pytest.raises(TypeError, match=r"from_keras: path_or_model must be a .keras file or a Keras model, got 3"):
        from_keras(3)


def test_missing_packages(tmp_path, monkeypatch):
    path = write(tmp_path / "model.keras", CONFIG, GOOD)
    model = from_keras(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'from_keras: needs the package h5py.*pip install "ldl_cy\[io\]"'):
        from_keras(path)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match=r"to_keras: needs the package keras.*pip install keras"):
        to_keras(model)
    with pytest.raises(TypeError, match="to_keras: model must be a Sequential, got 3"):
        to_keras(3)


@pytest.mark.parametrize("axis", [-1, [1, 2]])
def test_weights_that_a_file_leaves_out(axis, tmp_path):
    """A LayerNormalization without scale and center has none in the file, and as many here as its input is large."""
    layer = entry("LayerNormalization", "ln", axis=axis, epsilon=1e-3, scale=False, center=False)
    groups = {"layers/layer_normalization": []}
    model = from_keras(write(tmp_path / "small.keras", sequential(input_layer((2, 3)), layer), groups))
    assert model.network.n_params == (6 if axis == -1 else 12)
    path = write(tmp_path / "large.keras", sequential(input_layer((2, 10**9)), layer), groups)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^from_keras: .*large.keras: the layers must have at most \d+ weights for a "
                                         r"file of this size, got [24]0{9}\."):
        from_keras(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


def test_one_number_for_a_large_input(tmp_path):
    """Of a Normalization; it is one number here too, whatever the size of the input."""
    layer = entry("Normalization", "norm", axis=-1, mean=1.0, variance=[4.0])
    model = from_keras(write(tmp_path / "m.keras", sequential(input_layer((10**9,)), layer), {}))
    assert model.network.statistics.tolist() == [1.0, 4.0]
    model = from_keras(write(tmp_path / "m.keras", sequential(input_layer((3,)), layer), {}))
    assert model.predict(np.array([[1.0, 3.0, 5.0]], "f")).tolist() == [[0.0, 1.0, 2.0]]
