"""Keras' files that are none, or none any more: ValueError "from_keras: ...", and little memory."""
from __future__ import annotations

import io
import re

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'fuzz' brings hypothesis, which draws the examples")
pytest.importorskip("h5py", reason="the extra 'fuzz' brings h5py, which reads .keras files")

from fuzz.damage import damaged, spoilt_json
from fuzz.outcomes import Refused, attempt, measured
from hypothesis import given
from hypothesis import strategies as st
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
    weights,
)

from ldl_cy.interop import from_keras

FORM = re.compile(r"from_keras: ")
LARGEST = 1 << 23               # bytes that reading a file of some kB may take
VALUES = [None, True, False, -1, 0, 1, 3, 2**31, 2**70, 1e300, float("nan"), float("inf"), "", "x", [], {}, [1, 2],
          [[[]]], {"a": 1}, "relu", "same", ["x", 0, 0], [None, 2**40], {"class_name": "Dense", "config": {}},
          {"class_name": "Lambda", "config": {"name": "f"}}, {"class_name": "__lambda__", "config": {"code": "aa=="}},
          {"module": "os", "class_name": "system", "config": {"name": "x"}}, "Dense", "LSTM", "Add", "float64"]


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def models():
    """(config, weights) of a chain with a model in it, and of a graph."""
    chain = sequential(
        input_layer((5, 3)), conv("Conv1D", "c", 4, (2,), padding="same", activation="relu"),
        sequential(recurrent("GRU", "g", 2, return_sequences=True), name="inner"),
        entry("BatchNormalization", "n", axis=-1, momentum=0.99, epsilon=1e-3, scale=True, center=True),
        entry("Reshape", "r", target_shape=[-1]), dense("d", 2, activation="softmax"))
    graph = functional(
        input_layer((4, 4, 2), "x"), called(conv("SeparableConv2D", "s", 2, (3, 3), padding="same"), "x"),
        called(entry("Add", "a"), "s", "x", several=True),
        called(entry("GlobalAveragePooling2D", "p", data_format="channels_last", keepdims=True), "a"),
        called(entry("Multiply", "m"), "a", "p", several=True),
        called(entry("Multiply", "o", "keras.src.ops.numpy"), "m", 0.5),
        called(entry("Concatenate", "c", axis=-1), "o", "x", several=True), start="x", end="c")
    return [(chain, weights({
        "layers/conv1d": [draw(2, 3, 4), draw(4)], "layers/batch_normalization": [draw(2) ** 2] * 4,
        "layers/sequential/layers/gru/cell": [draw(4, 6), draw(2, 6), draw(2, 6)],
        "layers/dense": [draw(10, 2), draw(2)]})), (graph, weights({
            "layers/separable_conv2d": [draw(3, 3, 2, 1), draw(1, 1, 2, 2), draw(2)]}))]


@pytest.fixture(scope="module")
def found():
    """The models, one after the other; what is imported for them is there from now on."""
    both = models()
    for each in both:
        from_keras(io.BytesIO(archive(*each)))
    return both


def check(tally, kind, content):
    """Read a file; a model that comes out is one."""
    model, largest = measured(lambda: from_keras(io.BytesIO(content)), FORM)
    tally(kind, "refused" if isinstance(model, Refused) else "read")
    assert largest < LARGEST
    if not isinstance(model, Refused) and np.prod(model.input_shape) < 1000 and max(
            np.prod(shape) for shape in model.network.graph.shapes) < 1e5:
        X = np.zeros((2, *model.input_shape))
        assert attempt(lambda: model.predict(X).shape == (2, *model.output_shape), re.compile("Sequential: "))


@given(st.integers(0, 1), st.data())
def test_bytes(tally, found, which, data):
    check(tally, "damaged Keras files", damaged(archive(*found[which]), data))


@given(st.integers(0, 1), st.data())
def test_weights(tally, found, which, data):
    """A sound archive of a damaged HDF5 file."""
    config, h5 = found[which]
    check(tally, "Keras files of damaged weights", archive(config, damaged(h5, data)))


@given(st.integers(0, 1), st.integers(1, 3), st.sampled_from([0, 8]), st.data())
def test_configs(tally, found, which, count, compression, data):
    """A sound archive whose config is not."""
    config, h5 = found[which]
    for _ in range(count):
        config = spoilt_json(data.draw, config, VALUES)
    check(tally, "Keras files of other configs", archive(config, h5, compression=compression))
