"""Parts of networks that families share."""
from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ldl_cy import layers


def read_sizes(name: str, sizes: Any) -> list[int]:
    """An int or a sequence of ints as a list; a ValueError if one is not positive, a TypeError if one is no int."""
    given = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if np.any(np.array(given) <= 0):
        raise ValueError(f"{name} must be > 0, got {given}.")
    return [operator.index(size) for size in given]


def dense_layers(sizes: list[int], activations: list[str], dropout: float) -> list[layers.Layer]:
    """Hidden fully connected layers, each followed by dropout."""
    stack: list[layers.Layer] = []
    for units, activation in zip(sizes, activations):
        stack += [layers.Dense(units, activation), *dropout_layers(dropout)]
    return stack


def dropout_layers(rate: float) -> list[layers.Layer]:
    """A list of one Dropout layer; an empty list if the rate is 0."""
    return [layers.Dropout(rate)] if rate > 0 else []
