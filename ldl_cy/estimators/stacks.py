"""Parts of networks that families share."""
from __future__ import annotations

import itertools
import numbers
import operator
from collections.abc import Sequence
from typing import Any

from ldl_cy import layers
from ldl_cy.layers.base import Shape
from ldl_cy.messages import shown

MOST_SIZES = 100_000            # the most layers of a network


def read_sizes(name: str, sizes: Any, most: int = MOST_SIZES) -> list[int]:
    """An int or a sequence of ints as a list; a ValueError if one is not positive, a TypeError if one is no int."""
    # no more of them is read: some sequences never end
    given = list(itertools.islice(sizes, most + 1)) if hasattr(sizes, "__iter__") else [sizes]
    if len(given) > most:
        raise ValueError(f"{name} must be at most {most} ints, got more.")
    for size in given:
        if not hasattr(size, "__index__") and not isinstance(size, numbers.Real):
            raise TypeError(f"{name} must be ints > 0, got {shown(size)}.")
    if any(size <= 0 for size in given):
        raise ValueError(f"{name} must be > 0, got {shown(given)}.")
    return [operator.index(size) for size in given]


def activation_names(activation: Any, count: int) -> list[str]:
    """The activation of each of ``count`` layers, of one name for all or a list of them."""
    if isinstance(activation, str):
        return [activation] * count
    if len(activation) != count:
        raise ValueError(
            f"activation must be one name, or one for each of {count} hidden layers, got {shown(activation)}.")
    return list(activation)


def dense_layers(sizes: list[int], activations: list[str], dropout: float) -> list[layers.Layer]:
    """Hidden fully connected layers, each followed by dropout."""
    stack: list[layers.Layer] = []
    for units, activation in zip(sizes, activations):
        stack += [layers.Dense(units, activation), *dropout_layers(dropout)]
    return stack


def dropout_layers(rate: float) -> list[layers.Layer]:
    """A list of one Dropout layer; an empty list if the rate is 0."""
    return [layers.Dropout(rate)] if rate > 0 else []


def shape_after(shape: Shape, stack: Sequence[layers.Layer]) -> Shape:
    """The shape of the output of layers for samples of a shape."""
    for layer in stack:
        shape = layer.compute_output_shape(shape)
    return shape
