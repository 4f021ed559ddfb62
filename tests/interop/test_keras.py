"""Keras' files without Keras: files that the tests write as Keras does, against formulas in NumPy."""
import io

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
    load,
    one,
    recurrent,
    sequential,
    tensor,
    weights,
)
from scipy.special import erf, expit

from ldl_cy import layers
from ldl_cy.interop import from_keras

pytest.importorskip("h5py", reason="the extra 'test' brings h5py, which reads .keras files")
RNG = np.random.default_rng(0)
MASK = {"mask": None, "training": False}


def draw(*shape):
    return RNG.normal(size=shape).astype("float32")


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
