"""LayerNorm that a graph has in parts, as files before version 17 of the operators do.

Mean, Sub, Mul or Pow, mean, Add, Sqrt, Div, and the product and sum with gamma and beta.
"""
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.reading.constants import axes_of
from ldl_cy.interop.onnx.reading.file import Op, Unreadable, short
from ldl_cy.interop.onnx.reading.layers import normalized_axes
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.values import Lengths, Nothing, Value, axis_number

KINDS = ("ReduceMean", "ReduceSum", "Sub", "Mul", "Pow", "Add", "Sqrt", "Div", "Where")


class Role(NamedTuple):
    """What a value is of the norm of ``x`` along axes of theirs."""

    # "mean", "centered", "square", "variance", "deviation", "normalized", "scaled"; with lengths "sum" before "mean"
    # and "squares" before "variance"
    kind: str
    x: str
    axes: tuple[int, ...]
    epsilon: float = 0.0


def part(reader: Reader, op: Op) -> Any:
    """The result of a node that is part of a norm; None if it is not."""
    own = [reader.roles.get(name) for name in op.inputs]
    role = _role(reader, op, own)
    if role is None:
        return None
    reader.roles[op.outputs[0]] = role
    if role.kind in ("mean", "sum"):
        return None                     # it may be a pooling
    if role.kind == "normalized":
        return _norm(reader, op, role)
    if role.kind == "scaled":
        return _weighted(reader, op, role)
    return Nothing("it must be part of a norm", op)


def _role(reader: Reader, op: Op, own: list[Role | None]) -> Role | None:
    if op.kind in ("ReduceMean", "ReduceSum"):
        of_squares, of_x = ("variance", "mean") if op.kind == "ReduceMean" else ("squares", "sum")
        if not op.attributes.get("keepdims", 1) or not isinstance(reader.get(op, 0), (Value, Nothing)):
            return None
        axes = axes_of(op, [None, reader.get(op, 1)]) or ()
        if own[0] and own[0].kind == "square":
            rank = reader.value_of(own[0].x).rank
            found = tuple(sorted(axis_number(axis, rank) for axis in axes))
            return own[0]._replace(kind=of_squares) if found == own[0].axes else None
        found = reader.get(op, 0)
        if not isinstance(found, Value):
            return None
        return Role(of_x, op.inputs[0], tuple(sorted(axis_number(axis, found.rank) for axis in axes)))
    first, second = (*own, None)[:2]
    if isinstance(reader.get(op, int(op.kind == "Div")), Lengths):
        return _within(reader, op, first, second)
    if op.kind == "Sub" and second and second.kind == "mean" and second.x == op.inputs[0]:
        return second._replace(kind="centered")
    if first and first.kind == "centered" and op.kind in ("Mul", "Pow"):
        power = reader.get(op, 1)
        two = isinstance(power, np.ndarray) and power.size == 1 and power.reshape(-1)[0] == 2
        return first._replace(kind="square") if two or (op.kind == "Mul" and second == first) else None
    if op.kind == "Sqrt" and first and first.kind == "variance":
        return first._replace(kind="deviation")
    if op.kind == "Div" and first and second and (first.kind, second.kind) == ("centered", "deviation"):
        return second._replace(kind="normalized") if second[1:3] == first[1:3] else None
    return _with_constant(reader, op, first, second) if op.kind in ("Add", "Mul") else None


def _within(reader: Reader, op: Op, first: Role | None, second: Role | None) -> Role | None:
    """What lengths make of sums, and of what is centered past the ends."""
    if op.kind == "Div" and first and first.kind in ("sum", "squares") and reader.file.ours:
        return first._replace(kind="mean" if first.kind == "sum" else "variance")
    fill = reader.get(op, 2)
    zeros = isinstance(fill, np.ndarray) and not fill.any()
    return second if op.kind == "Where" and second and second.kind == "centered" and zeros else None


def _with_constant(reader: Reader, op: Op, first: Role | None, second: Role | None) -> Role | None:
    role, constant = (first, reader.get(op, 1)) if first else (second, reader.get(op, 0))
    if role is None or not isinstance(constant, np.ndarray):
        return None
    if op.kind == "Add" and role.kind == "variance" and constant.size == 1 and not role.epsilon:
        return role._replace(epsilon=float(constant.reshape(-1)[0]))
    if role.kind == "normalized" or (op.kind == "Add" and role.kind == "scaled"):
        return role._replace(kind="scaled")
    return None


def _norm(reader: Reader, op: Op, role: Role) -> Value:
    value = reader.settled(reader.value_of(role.x))
    value, axis = normalized_axes(reader, value, role.axes)
    shape = (value.shape[-1],) if axis == -1 else tuple(value.shape[i - 1] for i in _several(axis))
    reader.file.budget.spend(16 * math.prod(shape))
    layer = layers.LayerNorm(short(role.epsilon), axis)
    key = reader.emit(op, value.key, layer, {"gamma": np.ones(shape), "beta": np.zeros(shape)})
    return Value(key, value.shape, value.axes)


def _several(axis: int | tuple[int, ...]) -> tuple[int, ...]:
    return axis if isinstance(axis, tuple) else (axis,)


def _weighted(reader: Reader, op: Op, role: Role) -> Value:
    """The norm with this gamma or beta."""
    at = 0 if isinstance(reader.get(op, 0), Value) else 1
    value, constant = reader.value(op, at), reader.array(op, 1 - at, "gamma and beta")
    made = reader.made(value, layers.LayerNorm)
    sizes = tuple(n if i in role.axes else 1 for i, n in enumerate(value.sizes))
    if made is None or constant.ndim > value.rank:
        raise Unreadable("gamma and beta must fit the axes of the norm")
    try:
        numbers = np.broadcast_to(constant, sizes).reshape(made.weights["gamma"].shape)
    except ValueError:
        raise Unreadable("gamma and beta must fit the axes of the norm") from None
    before = made.weights
    if op.kind == "Mul":
        weights = {"gamma": numbers, "beta": before["beta"] * numbers}
        if np.ptp(before["gamma"]) or before["gamma"].flat[0] != 1:
            weights["gamma"] = before["gamma"] * numbers
    else:
        weights = {"gamma": before["gamma"], "beta": numbers if not before["beta"].any() else before["beta"] + numbers}
    return Value(reader.emit(op, reader.source(value.key), made.layer, weights), value.shape, value.axes)
