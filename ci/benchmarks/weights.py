"""The numbers with which all contenders begin: every one computes the same function."""
from __future__ import annotations

import numpy as np

from benchmarks.layers import walk


def draw(row, dtype):
    """A dict {name: array} for each layer with weights, in order; see ``layers.py`` for names and layouts."""
    rng = np.random.default_rng(2)
    return [{name: numbers(rng, name, of).astype(dtype) for name, of in layer.weights(before).items()}
            for layer, before, _ in walk(row.network, row.shape) if layer.weights(before)]


def numbers(rng, name, shape):
    """Kernels keep the variance of what passes through them; the rest are small, or near 1."""
    kind = name.rpartition(".")[2]
    values = rng.standard_normal(shape)
    if kind.endswith("kernel"):
        return values / np.sqrt(np.prod(shape[:-1]))
    return {"gamma": 1.0, "embeddings": 0.0}.get(kind, 0.0) + (1.0 if kind == "embeddings" else 0.1) * values


def count(row):
    """The number of weights."""
    return sum(int(np.prod(of)) for layer, before, _ in walk(row.network, row.shape)
               for of in layer.weights(before).values())


def channels_first(kernel, shape):
    """A Dense kernel behind Flatten of (h, w, c), its rows in the order in which (c, h, w) is flattened."""
    return kernel.reshape(*shape, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
