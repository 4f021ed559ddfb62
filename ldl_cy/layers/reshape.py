"""Flatten and Reshape, which change only the shape and cost nothing."""
from __future__ import annotations

import math
from typing import Any

from ldl_cy._engine.graph import MOST_AXES
from ldl_cy.checks import check_int
from ldl_cy.layers.base import Applied, Built, Layer, Shape
from ldl_cy.messages import shown


class Flatten(Layer):
    """Flatten a sample to one axis, in C order.

    Parameters
    ----------
    name, trainable : see ``Layer``

    Shape
    -----
    Input any shape, output (size,).
    """

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        return Built((math.prod(input_shape),))


class Reshape(Layer):
    """Reshape a sample, in C order.

    Parameters
    ----------
    target_shape : tuple of ints >= 1, or an int
        Shape of the output without the batch axis. One entry may be -1, which is inferred from the size.
    name, trainable : see ``Layer``

    Shape
    -----
    Input any shape of the same size, output ``target_shape``.

    Raises
    ------
    TypeError, ValueError
        Entries that are not ints >= 1, more than one -1; in ``build`` an input of another size.
    """

    def __init__(self, target_shape: Any, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        entries = target_shape if isinstance(target_shape, (tuple, list)) else (target_shape,)
        if len(entries) > MOST_AXES:
            raise ValueError(f"Reshape: target_shape must have at most {MOST_AXES} entries, got {len(entries)}.")
        text = f"Reshape: target_shape must be ints >= 1, at most one of them -1, got {shown(target_shape)}."
        try:
            self.target_shape = tuple(check_int("Reshape", "target_shape", entry, -1) for entry in entries)
        except (TypeError, ValueError) as error:
            raise type(error)(text) from None
        if 0 in self.target_shape or self.target_shape.count(-1) > 1:
            raise ValueError(text)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        size = math.prod(input_shape)
        shape = self.target_shape
        if -1 in shape:
            rest = -math.prod(shape)
            shape = tuple(size // rest if entry == -1 else entry for entry in shape)
        if math.prod(shape) != size:
            raise ValueError(
                f"Reshape: target_shape must hold as many numbers as the input {tuple(input_shape)}, "
                f"got {self.target_shape}.")
        return Built(shape)
