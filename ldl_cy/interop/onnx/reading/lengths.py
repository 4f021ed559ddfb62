"""Readers of the nodes that ``to_onnx`` adds for sequences of different lengths, which layers here need no help with.

They put zeros or minus infinity past the ends of sequences, and divide sums by the number of valid steps.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.reading.file import Op, Unreadable
from ldl_cy.interop.onnx.reading.layers import padding_of, reduced
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.values import Outside, Summed, Value
from ldl_cy.layers.windows import pads


def check_ours(reader: Reader) -> None:
    """Refuse masks of other producers, which may have another meaning."""
    if not reader.file.ours:
        raise Unreadable("masks must be those of to_onnx")


def masked(reader: Reader, op: Op) -> Value | Outside:
    """Where, of a mask."""
    check_ours(reader)
    fill = reader.get(op, 2)
    if not isinstance(fill, np.ndarray) or not fill.size or not ((fill == 0).all() or np.isneginf(fill).all()):
        raise Unreadable("masks must put zeros past the ends of sequences, or minus infinity")
    value = reader.value(op, 1)
    return value if (fill == 0).all() else Outside(value)


def summed(reader: Reader, value: Value, axes: Sequence[int], keep: bool) -> Summed:
    """The sum over the steps, of which a mean is made."""
    check_ours(reader)
    return Summed(value, tuple(axes), keep)


def per_step(reader: Reader, op: Op) -> Value:
    """Div by the number of valid steps: their mean."""
    check_ours(reader)
    found: Any = reader.get(op, 0)
    if isinstance(found, Summed):
        return reduced(reader, op, found.value, found.axes, "Avg", found.keep)
    value = reader.value(op)
    made = reader.made(value, layers.AvgPool1D)
    if made is None or made.layer.get_config()["padding"] != "valid":
        raise Unreadable("a mean within lengths must be that of a pooling")
    key, config = reader.source(value.key), made.layer.get_config()
    node = reader.nodes.get(key)
    around = getattr(node.made, "layer", None) if node else None
    if node and isinstance(around, layers.ZeroPadding1D):           # cells outside do not count
        key, config["padding"] = reader.source(key), padding_of(pads(around.padding, 1))
    return Value(reader.emit(op, key, layers.AvgPool1D.from_config(config)), value.shape, value.axes)
