"""One example of every public layer, with what it computes in NumPy: a line here is all that a new layer needs.

The tests of tests/layers/test_every_layer.py and the oracle's run over ``ldl_cy.layers.__all__`` and fail by the name
of a layer that is not in LAYERS. A layer's own test file adds what is particular to it.
"""
from __future__ import annotations

import numpy as np
from contract import LayerCase
from convolutions import case as convolution
from recurrences import recurrence

from ldl_cy import layers as L

PUBLIC = sorted({getattr(L, name).__name__ for name in L.__all__} - {"Layer"})      # aliases are classes met before


def stretch(p, x):
    return x * x * p["scale"]


def stretch_backward(p, x, y, dy):
    return 2 * x * dy * p["scale"], {"scale": (dy * x * x).sum(0)}


def dense(p, x, name=""):
    return x @ p[f"{name}kernel"] + p[f"{name}bias"]


def normalized(x, axis, p, epsilon):
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return p["gamma"] * (x - mean) / np.sqrt(variance + epsilon) + p["beta"]


def both_directions(layer, p, x):
    """Forward on x, backward on x reversed in time, side by side."""
    def one(direction, x):
        return recurrence(layer, {name.removeprefix(direction): value for name, value in p.items()}, x)
    return np.concatenate([one("forward.", x), one("backward.", x[:, ::-1])], -1)


def pooled(function, x):
    """Over windows of two on each axis but the last."""
    sizes = [size for n in x.shape[1:-1] for size in (n // 2, 2)]
    return function(x.reshape(len(x), *sizes, x.shape[-1]), tuple(range(2, 2 * x.ndim - 3, 2)))


def looked_up(layer, p, x, counts=None):
    """The numbers of each row, then a vector of each category; of a code that is no id the mean of its table."""
    names = layer.names or [f"x{place}" for place in layer.places]
    parts = [np.delete(x, layer.places, axis=1)]
    for name, place in zip(names, layer.places):
        table = p[f"{name}.table"]
        share = np.ones(len(table)) if counts is None else np.asarray(counts[name], float)
        mean = share @ table / share.sum() if share.sum() else 0 * table[0]
        parts.append(np.vstack([table, mean])[x[:, place].astype(int)])
    return np.concatenate(parts, 1)


GRU, LSTM, RNN, INNER = L.GRU(3), L.LSTM(3), L.RNN(3), L.GRU(2)
CATEGORIES = L.CategoryEmbedding((3, 1), (6, 8), (2, 3), names=("city", "job"))
LAYERS = {case.name: case for case in (
    LayerCase("Activation", L.Activation("tanh"), (3, 2), lambda p, x: np.tanh(x)),
    LayerCase("Add", L.Add([L.Dense(4)], []), (4,), lambda p, x: dense(p, x, "0.dense_0.") + x),
    LayerCase("AvgPool1D", L.AvgPool1D(), (6, 3), lambda p, x: pooled(np.mean, x)),
    LayerCase("AvgPool2D", L.AvgPool2D(), (4, 6, 2), lambda p, x: pooled(np.mean, x)),
    LayerCase("BatchNorm", L.BatchNorm(), (3, 4), lambda p, x: p["gamma"] * x / np.sqrt(1 + 1e-5) + p["beta"]),
    LayerCase("Bidirectional", L.Bidirectional(INNER), (4, 3), lambda p, x: both_directions(INNER, p, x)),
    LayerCase("CategoryEmbedding", CATEGORIES, (4,), lambda p, x: looked_up(CATEGORIES, p, x),
              data=lambda rng, n: rng.integers(0, 7, (n, 4))),
    LayerCase("Concatenate", L.Concatenate([L.Dense(2)], []), (3,),
              lambda p, x: np.concatenate([dense(p, x, "0.dense_0."), x], -1)),
    convolution("Conv1D", L.Conv1D(3, 2, activation="tanh"), (6, 2)),
    convolution("Conv2D", L.Conv2D(3, 2, activation="tanh"), (4, 5, 2)),
    LayerCase("Custom", L.Custom(stretch, stretch_backward, lambda shape: shape, {"scale": 3}), (3,), stretch),
    LayerCase("Dense", L.Dense(3, "tanh"), (4,), lambda p, x: np.tanh(dense(p, x))),
    LayerCase("Dropout", L.Dropout(0.4), (5,), lambda p, x: x),
    LayerCase("Embedding", L.Embedding(7, 3), (4,), lambda p, x: p["table"][x.astype(int)],
              data=lambda rng, n: rng.integers(0, 7, (n, 4))),
    LayerCase("Flatten", L.Flatten(), (2, 3), lambda p, x: x.reshape(len(x), 6)),
    LayerCase("GRU", GRU, (4, 2), lambda p, x: recurrence(GRU, p, x)),
    LayerCase("GaussianNoise", L.GaussianNoise(0.4), (5,), lambda p, x: x),
    LayerCase("GlobalAvgPool1D", L.GlobalAvgPool1D(), (5, 2), lambda p, x: x.mean(1)),
    LayerCase("GlobalAvgPool2D", L.GlobalAvgPool2D(), (3, 4, 2), lambda p, x: x.mean((1, 2))),
    LayerCase("GlobalMaxPool1D", L.GlobalMaxPool1D(), (5, 2), lambda p, x: x.max(1)),
    LayerCase("GlobalMaxPool2D", L.GlobalMaxPool2D(), (3, 4, 2), lambda p, x: x.max((1, 2))),
    LayerCase("LSTM", LSTM, (4, 2), lambda p, x: recurrence(LSTM, p, x)),
    LayerCase("LayerNorm", L.LayerNorm(), (3, 4), lambda p, x: normalized(x, -1, p, 1e-5)),
    LayerCase("MaxPool1D", L.MaxPool1D(), (6, 3), lambda p, x: pooled(np.max, x)),
    LayerCase("MaxPool2D", L.MaxPool2D(), (4, 6, 2), lambda p, x: pooled(np.max, x)),
    LayerCase("Multiply", L.Multiply([], [L.Dense(1)]), (3, 4), lambda p, x: x * dense(p, x, "1.dense_0.")),
    LayerCase("Normalization", L.Normalization((1, -2, 0.5), (4, 0.25, 1e-20)), (4, 3),
              lambda p, x: (x - (1, -2, 0.5)) / (2, 0.5, 1e-7)),
    LayerCase("PReLU", L.PReLU(1), (4, 3), lambda p, x: np.maximum(x, 0) + p["alpha"] * np.minimum(x, 0)),
    LayerCase("Permute", L.Permute((3, 1, 2)), (2, 3, 4), lambda p, x: x.transpose(0, 3, 1, 2)),
    LayerCase("RNN", RNN, (4, 2), lambda p, x: recurrence(RNN, p, x)),
    LayerCase("RandomFlip", L.RandomFlip(), (3, 4, 2), lambda p, x: x),
    LayerCase("RandomTranslation", L.RandomTranslation(0.5, (-0.3, 0.6)), (3, 4, 2), lambda p, x: x),
    LayerCase("Reshape", L.Reshape((3, -1)), (2, 6), lambda p, x: x.reshape(len(x), 3, 4)),
    LayerCase("UpSampling1D", L.UpSampling1D(3), (4, 2), lambda p, x: x.repeat(3, 1)),
    LayerCase("UpSampling2D", L.UpSampling2D((2, 3)), (3, 2, 2), lambda p, x: x.repeat(2, 1).repeat(3, 2)),
    LayerCase("ZeroPadding1D", L.ZeroPadding1D((2, 1)), (3, 2), lambda p, x: np.pad(x, ((0, 0), (2, 1), (0, 0)))),
    LayerCase("ZeroPadding2D", L.ZeroPadding2D(((0, 2), (1, 0))), (2, 3, 2),
              lambda p, x: np.pad(x, ((0, 0), (0, 2), (1, 0), (0, 0)))),
)}


def example(name: str) -> LayerCase:
    """The case of a layer by the name of its class."""
    assert name in LAYERS, f"{name} has no example in tests/helpers/cases.py"
    return LAYERS[name]
