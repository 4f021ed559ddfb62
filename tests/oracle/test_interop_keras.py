"""Networks to Keras and back, and Keras' own layers and graphs here: outputs of both, and the same bits of weights."""
from __future__ import annotations

import os
import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which Keras computes here")
pytest.importorskip("hypothesis", reason="the extra 'oracle' brings hypothesis, which draws the networks")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras", reason="the extra 'oracle' brings Keras, with which these tests compare")
pytest.importorskip("h5py", reason="the extra 'test' brings h5py, which reads Keras' files")

import keras
import torch
from cases import example
from keras import layers as K
from oracle import networks
from oracle.problems import compare, make_batch, make_model

from ldl_cy import Sequential
from ldl_cy import layers as L
from ldl_cy.interop import from_keras, to_keras
from ldl_cy.interop.keras.layers import LAYERS

TOL = {"float64": 1e-9, "float32": 2e-5}
FLOOR = 1e-2
REFUSED = re.compile(r"to_keras: .*(strides 1 or dilation_rate 1|padding 'valid' or 'same')")

# with every backend but TensorFlow, Keras rounds the results of float64 to float32, unless this table is changed
pytest.importorskip("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE["float64"] = "float64"
torch.set_num_threads(1)


def outputs(model, X):
    with torch.no_grad():
        return model(X, training=False).detach().numpy()



def file_of(model, folder):
    path = folder / "model.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keras")


def computable(stack, shape):
    """The layers, but for those that Keras takes and computes otherwise, or fails at, with PyTorch.

    The mean over a window with "same" padding, where one side has more than the other, counts the cells at the border
    twice there; LayerNormalization raises an error for axes that are not the last ones.
    """
    changed = []
    for layer in stack:
        config = layer.get_config()
        if type(layer).__name__.startswith("AvgPool") and config["padding"] == "same":
            axes = len(shape) - 1
            sizes, strides = (value if isinstance(value, tuple) else (value,) * axes for value in (
                config["pool_size"], config["strides"] or config["pool_size"]))
            if any((max(0, (-(-n // step) - 1) * step + size - n)) % 2 for n, size, step in zip(shape, sizes, strides)):
                layer = type(layer).from_config({**config, "padding": "valid"})
        elif isinstance(layer, L.LayerNorm):
            axes = layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
            found = sorted(axis % (len(shape) + 1) for axis in axes)
            if found != list(range(len(shape) + 1 - len(found), len(shape) + 1)):
                layer = L.LayerNorm(layer.epsilon)
        changed.append(layer)
        shape = layer.compute_output_shape(shape)
    return changed


def nearest(stack):
    """The layers with settings that Keras has in place of those that are refused."""
    changed = []
    for layer in stack:
        config = layer.get_config()
        if "dilation_rate" in config and np.max(config["strides"]) > 1:
            config["dilation_rate"] = 1
        if "pool_size" in config and not isinstance(config["padding"], str):
            config["padding"] = "same"
        changed.append(type(layer).from_config(config))
    return changed


def check_network(tally, folder, kind, problem):
    tally.networks[f"keras {kind}"] += 1
    tally.layers.update(type(layer).__name__ for layer in problem["stack"])
    for dtype in TOL:
        model = make_model(problem, dtype)
        try:
            to_keras(model)
        except ValueError as error:
            assert REFUSED.match(str(error))
            problem = {**problem, "stack": nearest(problem["stack"])}
        problem = {**problem, "stack": computable(problem["stack"], problem["shape"])}
        model = make_model(problem, dtype)
        theirs = to_keras(model)
        X = make_batch(problem, model.output_shape)[0].astype(dtype)
        expected = outputs(theirs, X)
        assert expected.dtype == dtype
        compare(tally, f"Keras {dtype} outputs", model.predict(X), expected, TOL[dtype], FLOOR)
        for source in (theirs, file_of(theirs, folder)):
            back = from_keras(source)
            assert back.dtype == dtype and back.theta.tobytes() == model.theta.tobytes()
            for ours, others in zip(model.state.values(), back.state.values(), strict=True):
                assert ours.tobytes() == others.tobytes()
            compare(tally, f"Keras {dtype} and back", back.predict(X), model.predict(X), TOL[dtype] / 10, FLOOR)


@networks.drawn(networks.dense_networks(), 30)
def test_dense(tally, folder, problem):
    check_network(tally, folder, "dense", problem)


@networks.drawn(networks.conv2d_networks(), 40)
def test_conv2d(tally, folder, problem):
    check_network(tally, folder, "conv2d", problem)


@networks.drawn(networks.conv1d_networks(), 35)
def test_conv1d(tally, folder, problem):
    check_network(tally, folder, "conv1d", problem)


@networks.drawn(networks.recurrent_networks(), 25)
def test_recurrent(tally, folder, problem):
    check_network(tally, folder, "recurrent", problem)


@networks.drawn(networks.normalized_networks(), 25)
def test_normalized(tally, folder, problem):
    check_network(tally, folder, "normalized", problem)


@networks.drawn(networks.branching_networks(), 20)
def test_branches(tally, folder, problem):
    check_network(tally, folder, "branches", problem)


@networks.drawn(networks.bidirectional_networks(), 15)
def test_bidirectional(tally, folder, problem):
    check_network(tally, folder, "bidirectional", problem)


@networks.drawn(networks.token_networks(), 10)
def test_tokens(tally, folder, problem):
    check_network(tally, folder, "tokens", {**problem, "ids": 11})


# -- Keras' own layers -----------------------------------------------------------------------------------------------


def randomized(model, seed=0):
    """All weights random; those that are variances are positive."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.dtype.startswith("float"):
            values = rng.normal(size=weight.shape) * (0.5 if len(weight.shape) > 1 else 1)
            weight.assign(np.exp(values) if "variance" in weight.path else values)
    return model


def stack(shape, *layers):
    return randomized(keras.Sequential([keras.Input(shape), *layers]))


def check_here(tally, folder, model, X=None):
    """A model of Keras from a file and live: the outputs; and those of what is made of ours."""
    if X is None:
        X = np.random.default_rng(1).normal(size=(3, *model.input_shape[1:])).astype("float32")
    expected = outputs(model, X)
    for source in (model, file_of(model, folder)):
        ours = from_keras(source)
        compare(tally, "from Keras, float32 outputs", ours.predict(X), expected, TOL["float32"], FLOOR)
    return ours


IMAGE, STEPS, ROW = (9, 8, 4), (9, 4), (6,)
ONE = {          # an entry for each class of layers that is read
    "Activation": [(ROW, [K.Activation(name)]) for name in (
        "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid",
        "softmax", "mish", "hard_sigmoid", "hard_silu")],
    "ReLU": [(ROW, [K.ReLU()]), (ROW, [K.ReLU(6)]), (ROW, [K.ReLU(negative_slope=0.2)])],
    "LeakyReLU": [(ROW, [K.LeakyReLU()]), (ROW, [K.Dense(4, activation=K.LeakyReLU(0.1))])],
    "ELU": [(ROW, [K.ELU()])],
    "Softmax": [(STEPS, [K.Softmax()]), (STEPS, [K.Softmax(axis=2)])],
    "PReLU": [(IMAGE, [K.PReLU(shared_axes=[1, 2])]), (STEPS, [K.PReLU()]), (IMAGE, [K.PReLU(shared_axes=2)])],
    "Dense": [(ROW, [K.Dense(3, "gelu")]), (IMAGE, [K.Dense(3, use_bias=False)]), (ROW, [K.Dense(3, "leaky_relu")])],
    "Embedding": [((5,), [K.Embedding(7, 3)])],
    "BatchNormalization": [(IMAGE, [K.BatchNormalization()]), (ROW, [K.BatchNormalization(axis=1, scale=False)]),
                           (STEPS, [K.BatchNormalization(center=False, trainable=False)])],
    "LayerNormalization": [(IMAGE, [K.LayerNormalization()]), (IMAGE, [K.LayerNormalization(axis=[2, 3])]),
                           (IMAGE, [K.LayerNormalization(axis=(-1, -2, -3))]),      # Keras fails at other axes
                           (STEPS, [K.LayerNormalization(axis=2, scale=False, center=False)])],
    "Normalization": [(STEPS, [K.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 0, 4])]),
                      (ROW, [K.Normalization(axis=None, mean=2.0, variance=3.0)]), (ROW, [K.Normalization()]),
                      (STEPS, [K.Normalization(axis=2)]), (IMAGE, [K.Normalization(axis=(3, 1))])],
    "Rescaling": [(IMAGE, [K.Rescaling(1 / 127.5, -1)]), (STEPS, [K.Rescaling([1.0, 2, 3, 4], 0.5)])],
    "Flatten": [(IMAGE, [K.Flatten(), K.Dense(3)])],
    "Reshape": [(IMAGE, [K.Reshape((-1, 6))])],
    "Permute": [(IMAGE, [K.Permute((3, 1, 2))])],
    "Dropout": [(ROW, [K.Dropout(0.5)]), (IMAGE, [K.Dropout(0.5, noise_shape=(None, 1, 1, 1)), K.Flatten()])],
    "SimpleRNN": [(STEPS, [K.SimpleRNN(3)]), (STEPS, [K.SimpleRNN(3, "relu", return_sequences=True, use_bias=False)])],
    "LSTM": [(STEPS, [K.LSTM(3, return_sequences=True, go_backwards=True), K.LSTM(2, dropout=0.5)])],
    "GRU": [(STEPS, [K.GRU(3, return_sequences=True), K.GRU(2, use_bias=False, recurrent_dropout=0.5)])],
    "Bidirectional": [(STEPS, [K.Bidirectional(K.LSTM(3, return_sequences=True)), K.Bidirectional(
        K.GRU(2), merge_mode="sum")]), (STEPS, [K.Bidirectional(K.SimpleRNN(2), backward_layer=K.SimpleRNN(
            2, go_backwards=True, name="other"))])],
    "Conv1D": [(STEPS, [K.Conv1D(6, 3, padding="causal", dilation_rate=2, groups=2, activation="silu")]),
               (STEPS, [K.Conv1D(6, 4, strides=3, padding="same", use_bias=False)])],
    "Conv2D": [(IMAGE, [K.Conv2D(6, (3, 2), strides=(2, 1), padding="same")]), (IMAGE, [K.Conv2D(4, 3, groups=4)]),
               (IMAGE, [K.Conv2D(6, 3, dilation_rate=(2, 1), activation="leaky_relu")])],
    "DepthwiseConv1D": [(STEPS, [K.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2)])],
    "DepthwiseConv2D": [(IMAGE, [K.DepthwiseConv2D(3, depth_multiplier=3, use_bias=False, activation="relu6")]),
                        (IMAGE, [K.DepthwiseConv2D(3, padding="same", dilation_rate=2)])],
    "SeparableConv1D": [(STEPS, [K.SeparableConv1D(5, 3, depth_multiplier=2, padding="same", activation="tanh")])],
    "SeparableConv2D": [(IMAGE, [K.SeparableConv2D(5, 3, strides=2, padding="same"), K.SeparableConv2D(
        3, 2, use_bias=False)])],
    "ZeroPadding1D": [(STEPS, [K.ZeroPadding1D(2)]), (STEPS, [K.ZeroPadding1D((0, 1))])],
    "UpSampling1D": [(STEPS, [K.UpSampling1D(), K.UpSampling1D(3)])],
    "UpSampling2D": [(IMAGE, [K.UpSampling2D(), K.UpSampling2D((1, 3))])],
    "ZeroPadding2D": [(IMAGE, [K.ZeroPadding2D(1)]), (IMAGE, [K.ZeroPadding2D((1, 2))]),
                      (IMAGE, [K.ZeroPadding2D(((0, 1), (2, 0))), K.MaxPooling2D(3)])],
    "MaxPooling1D": [(STEPS, [K.MaxPooling1D(3, padding="same")])],
    "MaxPooling2D": [(IMAGE, [K.MaxPooling2D(3, 2, padding="same")]), (IMAGE, [K.MaxPooling2D((2, 3))])],
    "AveragePooling1D": [(STEPS, [K.AveragePooling1D(3, 2, padding="same")])],
    "AveragePooling2D": [(IMAGE, [K.AveragePooling2D((3, 2), (2, 2), padding="same")]),
                         (IMAGE, [K.AveragePooling2D(2)])],
    "GlobalMaxPooling1D": [(STEPS, [K.GlobalMaxPooling1D()])],
    "GlobalMaxPooling2D": [(IMAGE, [K.GlobalMaxPooling2D(keepdims=True)])],
    "GlobalAveragePooling1D": [(STEPS, [K.GlobalAveragePooling1D(keepdims=True)])],
    "GlobalAveragePooling2D": [(IMAGE, [K.GlobalAveragePooling2D()])],
    **{name: [(ROW, [getattr(K, name)(*arguments), K.Dense(2)])] for name, arguments in (
        ("Identity", ()), ("ActivityRegularization", (0.1,)), ("AlphaDropout", (0.5,)), ("GaussianDropout", (0.5,)),
        ("GaussianNoise", (0.5,)))},
    "SpatialDropout1D": [(STEPS, [K.SpatialDropout1D(0.5), K.Dense(2)])],
    **{name: [((*IMAGE[:2], 3), [getattr(K, name)(*arguments), K.Dense(2)])] for name, arguments in (
        ("SpatialDropout2D", (0.5,)), ("RandomFlip", ()), ("RandomRotation", (0.1,)), ("RandomTranslation", (0.1, 0.1)),
        ("RandomZoom", (0.1,)), ("RandomContrast", (0.1,)), ("RandomBrightness", (0.1,)))},
}


@pytest.mark.parametrize("name", ONE)
def test_a_layer(tally, folder, name):
    for shape, made in ONE[name]:
        X = np.array([[0, 6, 2, 2, 1]] * 2, "float32") if name == "Embedding" else None
        check_here(tally, folder, stack(shape, *made), X)


def test_every_layer_is_read():
    assert set(ONE) == set(LAYERS)


def test_embeddings_of_masked_ids_are_refused():
    with pytest.raises(ValueError, match=r"from_keras: Embedding 'e' must have mask_zero False, got True.$"):
        from_keras(stack((5,), K.Embedding(7, 3, mask_zero=True, name="e")))


def test_lambdas_are_refused_and_not_run(folder):
    ran = []
    model = keras.Sequential([keras.Input((3,)), K.Lambda(lambda x: ran.append(1) or x, name="f"), K.Dense(2)])
    path = file_of(model, folder)
    ran.clear()
    for source in (model, path):
        with pytest.raises(ValueError, match=r"from_keras: .*Lambda 'f' has no counterpart.$"):
            from_keras(source)
    assert not ran


# -- Keras' graphs ---------------------------------------------------------------------------------------------------


def graph(shape, build):
    x = keras.Input(shape)
    return randomized(keras.Model(x, build(x)))


def residual(x):
    for i in range(3):
        y = K.Conv2D(6, 3, strides=2 if i else 1, padding="same", use_bias=False)(x)
        y = K.Activation("tanh")(K.BatchNormalization()(y))
        y = K.BatchNormalization(name=f"bn{9 - i}")(K.Conv2D(6, 3, padding="same")(y))
        if i != 2:
            x = K.Conv2D(6, 1, strides=2 if i else 1, name=f"project{i}")(x)
        else:
            x = K.AveragePooling2D(2, padding="same")(x)
        x = K.ReLU()(K.Add()([y, x]))
    return K.Dense(3)(K.GlobalAveragePooling2D()(x))


def inception(x):
    branches = [K.Conv2D(2, 1)(x), K.Conv2D(3, 3, padding="same")(K.Conv2D(2, 1)(x)),
                K.Conv2D(1, 1)(K.MaxPooling2D(3, 1, padding="same")(x)), x]
    x = K.Concatenate()(branches)
    a = K.Conv2D(4, 3)(x)
    return K.Concatenate(axis=3)([a, K.Concatenate()([K.Conv2D(1, 1)(a), K.Conv2D(2, 1)(a)])])


def excite(x):
    gate = K.GlobalAveragePooling2D()(x)
    gate = K.Reshape((1, 1, 4))(gate)
    gate = K.Conv2D(4, 1, activation="hard_sigmoid")(K.Conv2D(2, 1, activation="silu")(gate))
    y = K.Multiply()([x, gate])
    return K.Add()([y, x * 0.5 + 1.0, keras.ops.gelu(x, approximate=True)])


def dense_block(x):
    for i in range(12):
        x = K.Concatenate()([x, K.Conv2D(2, 3, padding="same", name=f"c{(i * 5) % 12}")(x)])
    return x


def nested(x):
    block = keras.Sequential([K.Conv2D(4, 3, padding="same"), K.BatchNormalization()], name="block")
    inner = keras.Input((9, 8, 4))
    other = keras.Model(inner, K.Add()([inner, keras.Sequential([K.Conv2D(4, 1)])(inner)]), name="other")
    return K.Add()([K.Conv2D(4, 1)(other(block(x))), x])


@pytest.mark.parametrize("build", [residual, inception, excite, dense_block, nested])
def test_graphs(tally, folder, build):
    model = graph(IMAGE, build)
    ours = check_here(tally, folder, model)
    assert ours.n_parameters == sum(np.prod(weight.shape) for weight in model.trainable_weights)
    back = to_keras(ours)
    X = np.random.default_rng(2).normal(size=(2, *IMAGE)).astype("float32")
    compare(tally, "from Keras and back", outputs(back, X), outputs(model, X), TOL["float32"], FLOOR)
    for source in (back, file_of(back, folder)):
        assert from_keras(source).theta.tobytes() == ours.theta.tobytes()


def test_a_model_in_training_is_read(tally, folder):
    """Compiled, fitted, its Normalization adapted; the optimizer's state is in the file too."""
    scaled = K.Normalization()
    X = np.random.default_rng(0).normal(2, 3, size=(64, 6)).astype("float32")
    scaled.adapt(X)
    model = keras.Sequential([keras.Input((6,)), scaled, K.Dense(5, "tanh"), K.Dropout(0.2), K.BatchNormalization(),
                              K.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, X[:, :1], epochs=1, verbose=0)
    check_here(tally, folder, model, X)


# -- our layers there ------------------------------------------------------------------------------------------------


OURS = {
    "Activation": ((6,), [L.Activation("leaky_relu", 0.3), L.Activation("gelu_tanh"), L.Activation("linear")]),
    "Dense": ((6,), [L.Dense(4, "leaky_relu"), L.Dense(3, "gelu_tanh")]),
    "Conv1D": ((9, 4), [L.Conv1D(6, 3, padding=(0, 2)), L.Conv1D(4, 2, padding="causal", dilation_rate=2),
                        L.Conv1D(2, 2, 2, padding=3)]),
    "Conv2D": ((9, 8, 4), [L.Conv2D(6, 3, padding=((0, 1), (2, 0))), L.Conv2D(4, (3, 2), (2, 1), (1, 0), groups=2),
                           L.Conv2D(4, 3, padding="same")]),
    "MaxPool1D": ((9, 4), [L.MaxPool1D(3, 2, (1, 1)), L.Activation("relu"), L.MaxPool1D(3, 2, (0, 2))]),
    "MaxPool2D": ((9, 8, 4), [L.Conv2D(3, 3, activation="relu6"), L.Dropout(0.1), L.MaxPool2D(3, 2, 1)]),
    "AvgPool1D": ((9, 4), [L.AvgPool1D(3, 2, 1)]),
    "AvgPool2D": ((9, 9, 4), [L.AvgPool2D(3, 2, 1), L.AvgPool2D(2, padding=0)]),
    "GlobalMaxPool1D": ((9, 4), [L.GlobalMaxPool1D()]), "GlobalMaxPool2D": ((9, 8, 4), [L.GlobalMaxPool2D()]),
    "GlobalAvgPool1D": ((9, 4), [L.GlobalAvgPool1D()]), "GlobalAvgPool2D": ((9, 8, 4), [L.GlobalAvgPool2D()]),
    "RNN": ((9, 4), [L.RNN(3, "silu", return_sequences=True), L.RNN(2, go_backwards=True)]),
    "LSTM": ((9, 4), [L.LSTM(3, return_sequences=True, go_backwards=True), L.LSTM(2, use_bias=False)]),
    "GRU": ((9, 4), [L.GRU(3, return_sequences=True), L.GRU(2, use_bias=False)]),
    "Bidirectional": ((9, 4), [L.Bidirectional(L.GRU(3, return_sequences=True)), L.Bidirectional(
        L.LSTM(2, go_backwards=True), "sum")]),
    "Embedding": ((5,), [L.Embedding(2, 3)]),
    "BatchNorm": ((9, 4), [L.BatchNorm(0.5, 1e-2, trainable=False)]),
    "LayerNorm": ((9, 8, 4), [L.LayerNorm(), L.LayerNorm(1e-3, (2, 3)), L.LayerNorm(axis=3)]),
    "Normalization": ((9, 4), [L.Normalization(1.0, 2.0), L.Normalization((1.0, 2, 3, 4), (1.0, 2, 3, 4)),
                                L.Normalization(1.0, 2.0, None), L.Normalization(1.0, 2.0, 1)]),
    "GaussianNoise": ((6,), [L.GaussianNoise(0.5)]),
    "RandomFlip": ((9, 8, 4), [L.RandomFlip(), L.RandomFlip("vertical")]),
    "RandomTranslation": ((9, 8, 4), [L.RandomTranslation(0.2, (-0.1, 0.3))]),
    "UpSampling1D": ((9, 4), [L.UpSampling1D(3), L.UpSampling1D()]),
    "UpSampling2D": ((9, 8, 4), [L.UpSampling2D(), L.UpSampling2D((1, 3)), L.UpSampling2D([2, 1])]),
    "Dropout": ((6,), [L.Dropout(0.5)]), "PReLU": ((9, 8, 4), [L.PReLU((1, 2)), L.PReLU()]),
    "Flatten": ((9, 4), [L.Flatten()]), "Reshape": ((9, 4), [L.Reshape((6, -1))]),
    "Permute": ((9, 8, 4), [L.Permute((3, 1, 2))]),
    "ZeroPadding1D": ((9, 4), [L.ZeroPadding1D((0, 2))]),
    "ZeroPadding2D": ((9, 8, 4), [L.ZeroPadding2D(((0, 1), (2, 0))), L.ZeroPadding2D((1, 2)), L.ZeroPadding2D()]),
    "Add": ((6,), [L.Add([L.Dense(6, "gelu_tanh")], []), L.Dense(2)]),
    "Multiply": ((9, 4), [L.Multiply([], [L.GlobalAvgPool1D(), L.Reshape((1, 4))])]),
    "Concatenate": ((9, 4), [L.Concatenate([], [L.Conv1D(3, 3, padding=1), L.Activation("relu")], name="both")]),
}


NOT_THERE = ("CategoryEmbedding",)


@pytest.mark.parametrize("name", OURS)
def test_ours_there(tally, folder, name):
    shape, made = OURS[name]
    for dtype in TOL:
        model = make_model({"stack": made, "shape": shape, "seed": 3}, dtype)
        X = np.random.default_rng(4).normal(size=(2, *shape)).astype(dtype)
        if name == "Embedding":
            X = (X > 0).astype(dtype)
        theirs = to_keras(model)
        compare(tally, f"Keras {dtype} outputs", model.predict(X), outputs(theirs, X), TOL[dtype], FLOOR)
        for source in (theirs, file_of(theirs, folder)):
            back = from_keras(source)
            assert back.theta.tobytes() == model.theta.tobytes()
            compare(tally, f"Keras {dtype} and back", back.predict(X), model.predict(X), TOL[dtype] / 10, FLOOR)
        frozen = [weight.path for weight in theirs.trainable_weights]
        assert bool(frozen) == bool(model.network.trainable.any())


def test_every_layer_is_written():
    names = {getattr(L, name).__name__ for name in L.__all__} - {"Layer", "Custom", *NOT_THERE}
    assert names == set(OURS)


@pytest.mark.parametrize("name", NOT_THERE)
def test_what_keras_has_no_layer_for(name):
    case = example(name)
    with pytest.raises(ValueError, match=rf"{name} '{case.layer.default_name()}_0'.* no counterpart"):
        to_keras(Sequential([case.layer]).build(case.input_shape))


def test_branches_have_names_that_keras_takes():
    inner = L.Add([L.Dense(3, name="a")], [L.Dense(3, name="a"), L.Dense(3)], name="sum")
    model = make_model({"stack": [inner, L.Dense(2)], "shape": (3,), "seed": 0}, "float32")
    assert [layer.name for layer in to_keras(model).layers if layer.weights] == [
        "sum_1_a", "sum_0_a", "sum_1_dense_1", "dense_1"]


def custom():
    return L.Custom(lambda x: x, lambda x, y, dy: dy, lambda shape: shape, name="mine")


@pytest.mark.parametrize("shape, made, text", [
    ((6,), [custom()], "Custom 'mine' has no counterpart"),
    ((9, 9, 4), [L.Conv2D(2, 3, 2, dilation_rate=2)], r"Conv2D 'conv2d_0' must have strides 1 or dilation_rate 1, got"),
    ((9, 4), [L.MaxPool1D(3, 2, (0, 2))], "MaxPool1D 'max_pool1d_0' must have padding 'valid'"),
    ((9, 4), [L.Activation("relu"), L.AvgPool1D(3, 2, (0, 2))], "AvgPool1D 'avg_pool1d_1' must have padd"),
    ((9, 4), [L.RNN(2, "gelu_tanh")], "RNN 'rnn_0' must have an activation that Keras has as a name, got 'gelu_tanh'"),
    ((9, 4), [L.RNN(2, leak=0.5)], "RNN 'rnn_0' must have leak 1, got 0.5"),
    ((9, 4), [L.Bidirectional(L.LSTM(2, True, True))], "Bidirectional 'bidirectional_0' must have a layer"),
    ((6,), [L.Add([], [custom()]), custom()], "Custom 'add_0.1.mine' has no counterpart; Custom 'mine' has no count"),
])
def test_ours_without_a_counterpart(shape, made, text):
    model = make_model({"stack": made, "shape": shape, "seed": 0}, "float32")
    with pytest.raises(ValueError, match=f"to_keras: {text}"):
        to_keras(model)
