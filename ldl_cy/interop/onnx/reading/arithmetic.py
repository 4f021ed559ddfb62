"""Readers of operators that compute number by number: activations and their parts, sums, products, constants."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.reading.file import Op, Unreadable
from ldl_cy.interop.onnx.reading.lengths import masked, per_step
from ldl_cy.interop.onnx.reading.points import BINARY, CLOSE, UNARY, activation, computed, settings
from ldl_cy.interop.onnx.reading.reader import TINY, Reader
from ldl_cy.interop.onnx.reading.recurrent import added_directions
from ldl_cy.interop.onnx.reading.values import Filled, Lengths, Outside, Piece, Point, Value, plain
from ldl_cy.layers.merge import Branches
from ldl_cy.layers.normalization import SMALLEST

Number = Value | float


def _made(reader: Reader, op: Op, like: Value, points: tuple[Point, ...]) -> Value:
    """The activation that the points are, or a part of one."""
    for point in points:
        found = activation(point.result)
        if not found:
            continue
        base, (name, slope) = point.base, found
        if name == "identity":
            return replace(base, points=points)
        key = reader.emit(op, base.key, layers.Activation(name, slope))
        return Value(key, base.shape, base.axes, points, op)
    return Value("", like.shape, like.axes, points, op)


def _operand(reader: Reader, op: Op, i: int) -> Any:
    """Input i: a Value, of a layer if it is a x + b; a number; an array."""
    found = reader.get(op, i)
    if isinstance(found, Value) and not found.flipped:
        if not found.key:
            with suppress(Unreadable):          # it may be part of an activation
                found = replace(reader.settled(found), points=found.points)
        return found
    if isinstance(found, Filled):
        return found.number
    if isinstance(found, np.ndarray) and found.dtype.kind in "fiu":
        return float(found.reshape(-1)[0]) if found.size == 1 else found
    return reader.value(op, i)                  # which refuses it


def _function(reader: Reader, op: Op, function: Callable[..., np.ndarray], arguments: list[Number]) -> Value:
    values = [each for each in arguments if isinstance(each, Value)]
    if not values or any(each.axes != values[0].axes for each in values):
        raise Unreadable("what it reads must depend on the graph's input and have one shape")
    points = computed(function, arguments)
    if not points:
        raise Unreadable("it must be part of an activation of one value")
    return _made(reader, op, values[0], points)


def unary(reader: Reader, op: Op) -> Value:
    function, names = UNARY[op.kind]
    found = settings(op, names)
    return _function(reader, op, lambda x: function(x, **found), [_operand(reader, op, 0)])


def clip(reader: Reader, op: Op) -> Value:
    low, high = (op.attributes.get(name) for name in ("min", "max"))
    arguments = [_operand(reader, op, 0)]
    for i, (bound, default) in enumerate(((low, -math.inf), (high, math.inf)), 1):
        given = _operand(reader, op, i) if reader.get(op, i) is not None else bound
        arguments.append(default if given is None else given)
    if not all(isinstance(each, float) for each in arguments[1:]):
        raise Unreadable("min and max must be constant numbers")
    made = reader.made(arguments[0], layers.Activation) if isinstance(arguments[0], Value) else None
    if made and made.layer == layers.Activation("softmax") and 0 <= arguments[1] <= CLOSE <= 1 - CLOSE <= arguments[2]:
        return arguments[0]                     # probabilities away from 0 and 1
    return _function(reader, op, np.clip, arguments)


def where(reader: Reader, op: Op) -> Value | Outside:
    if isinstance(reader.get(op, 0), Lengths):
        return masked(reader, op)
    return _function(reader, op, np.where, [_operand(reader, op, i) for i in range(3)])


def binary(reader: Reader, op: Op) -> Value:
    both = [reader.get(op, i) for i in range(2)]
    if op.kind == "Add" and all(isinstance(each, Piece) for each in both):
        return summed(reader, both)
    if op.kind == "Div" and isinstance(both[1], Lengths):
        return per_step(reader, op)
    a, b = (_operand(reader, op, i) for i in range(2))
    if isinstance(a, Value) and isinstance(b, Value):
        return _two_values(reader, op, a, b)
    value, constant, i = (a, b, 1) if isinstance(a, Value) else (b, a, 0)
    given = reader.get(op, i)
    if isinstance(given, np.ndarray) and given.ndim > value.rank:
        raise Unreadable("a constant must have no more axes than what is computed")
    if op.kind == "Add" and isinstance(given, np.ndarray):
        with_bias = _biased(reader, op, value, given)
        if with_bias:
            return with_bias
    if not isinstance(constant, float):
        return _each_channel(reader, op, value, constant, i == 0)
    return _function(reader, op, BINARY[op.kind], [a, b])


def add_up(reader: Reader, op: Op) -> Value:
    """Sum, of any number of values."""
    values = [reader.value(op, i) for i in range(len(op.inputs))]
    return values[0] if len(values) == 1 else merged(reader, op, layers.Add, values)


def _two_values(reader: Reader, op: Op, a: Value, b: Value) -> Value:
    points: tuple[Point, ...] = ()
    if a.axes == b.axes:
        points = computed(BINARY[op.kind], [a, b])
        for point in points:
            if activation(point.result):
                return _made(reader, op, a, points)
    kind: type[Branches] | None = {"Add": layers.Add, "Sub": layers.Add, "Mul": layers.Multiply}.get(op.kind)
    try:
        if kind is None:
            raise Unreadable("it must be part of an activation of one value")
        values = [reader.settled(each) for each in (a, b)]
        if op.kind == "Sub":
            values[1] = reader.scaled(values[1], -np.ones(1), np.zeros(1), op)
        return replace(merged(reader, op, kind, values), points=points, op=op)
    except Unreadable:
        if not points:
            raise
        return Value("", a.shape, a.axes, points, op)


def merged(reader: Reader, op: Op, kind: type[Branches], values: Sequence[Value]) -> Value:
    """Add or Multiply of values that may have different layouts; Multiply repeats axes of length 1."""
    rank = max(value.rank for value in values)
    values = [replace(value, axes=((),) * (rank - value.rank) + value.axes) for value in values]
    sizes = [value.sizes for value in values]
    out = tuple(max(each) for each in zip(*sizes))
    same = all(each == out for each in sizes)
    if not same and (kind is not layers.Multiply or any(
            n not in (1, most) for each in sizes for n, most in zip(each, out))):
        raise Unreadable("the shapes must be equal")
    first = values[0]
    if all(value.axes == first.axes and value.shape == first.shape for value in values):
        return Value(reader.join(op, kind, [value.key for value in values], first.shape), first.shape, first.axes)
    largest = max(values, key=lambda value: math.prod(value.shape))
    batch = largest.batch
    if any(value.axes[batch] != (0,) for value in values):
        raise Unreadable("the batch must be the same axis of all")
    order = arrangement(largest)
    keys = [reader.laid(value, [value.axes[i] for i in order]) for value in values]
    shape = tuple(out[i] for i in order)
    key = reader.join(op, kind, keys, shape)
    found = dict(zip(order, plain(shape, range(1, len(order) + 1))))
    return Value(key, shape, tuple((0,) if i == batch else found[i] for i in range(rank)))


def arrangement(value: Value) -> list[int]:
    """Their axes but the batch, in our order; those of length 1 where they are in ours, if that can be."""
    axes = [i for i in range(value.rank) if i != value.batch]
    full = sorted((i for i in axes if value.axes[i]), key=lambda i: value.axes[i])
    empty = [i for i in axes if not value.axes[i]]
    if len(axes) == len(value.shape):
        ones, rest = iter(empty), iter(full)
        return [next(ones) if n == 1 else next(rest) for n in value.shape]
    return [*full, *empty]


def _along(value: Value, constant: np.ndarray) -> int:
    """The one axis of theirs along which a constant has several numbers."""
    shape = (1,) * (value.rank - constant.ndim) + constant.shape
    axes = [i for i, n in enumerate(shape) if n > 1]
    if len(axes) != 1 or shape[axes[0]] != value.sizes[axes[0]]:
        raise Unreadable(f"a constant must have one number, or one for each entry of one axis, got {constant.shape}")
    return axes[0]


def _biased(reader: Reader, op: Op, value: Value, constant: np.ndarray) -> Value | None:
    """The layer that makes the value, with this bias, if it has none."""
    before = reader.made(value, layers.Dense, layers.Conv1D, layers.Conv2D)
    if not before or before.layer.get_config()["use_bias"] or constant.size != value.shape[-1]:
        return None
    if constant.size > 1 and value.axes[_along(value, constant)] != (len(value.shape),):
        return None
    layer = type(before.layer).from_config({**before.layer.get_config(), "use_bias": True})
    weights = {**before.weights, "bias": constant.reshape(-1)}
    key = reader.emit(op, reader.source(value.key), layer, weights)
    return Value(key, value.shape, value.axes)


def _each_channel(reader: Reader, op: Op, value: Value, constant: np.ndarray, first: bool) -> Value:
    """A constant for each channel, added or multiplied; ``first`` if it is the first operand."""
    value = reader.settled(value)
    if sum(n > 1 for n in constant.shape) > 1:
        return _each_place(reader, op, value, constant, first)
    before = (np.ones(1), np.zeros(1))
    made = reader.made(value, layers.BatchNorm)
    if made and made.layer.get_config()["epsilon"] == TINY and not any(
            np.ptp(made.weights[name]) for name in ("gamma", "beta")):
        # a x + b, with one number for all, before it: our last axis may be another one
        before = (made.weights["gamma"][:1], made.weights["beta"][:1])
        value = replace(value, key=reader.source(value.key))
    value = reader.channels_first(reader.ending_with(value, _along(value, constant)))
    numbers = constant.reshape(-1)
    ones, zeros = np.ones(numbers.size, numbers.dtype), np.zeros(numbers.size, numbers.dtype)
    if op.kind in ("Add", "Sub"):
        scale = -ones if op.kind == "Sub" and first else ones
        shift = -numbers if op.kind == "Sub" and not first else numbers
    elif op.kind == "Mul" or (op.kind == "Div" and not first):
        with np.errstate(all="ignore"):
            scale = numbers if op.kind == "Mul" else 1 / numbers.astype("f8")
        shift = zeros
    else:
        raise Unreadable("a constant must be one number")
    with np.errstate(all="ignore"):
        return reader.scaled(value, scale * before[0], scale * before[1] + shift, op)


def _each_place(reader: Reader, op: Op, value: Value, constant: np.ndarray, first: bool) -> Value:
    """A constant that differs along several axes: Normalization by it."""
    constant = constant.reshape((1,) * (value.rank - constant.ndim) + constant.shape)
    batch = value.batch
    if any(n not in (1, own) for n, own in zip(constant.shape, value.sizes)) or constant.shape[batch] != 1:
        raise Unreadable(f"a constant must fit what is computed, got {constant.shape}")
    order = arrangement(value)
    value = reader.exactly(value, order)
    numbers = constant.transpose(batch, *order)[0].astype("f8")
    axes = tuple(i for i, n in enumerate(numbers.shape, 1) if n > 1)
    numbers = numbers.squeeze()
    mean, deviation = np.zeros_like(numbers), np.ones_like(numbers)
    if op.kind == "Add" or (op.kind == "Sub" and not first):
        mean = numbers if op.kind == "Sub" else -numbers
    elif op.kind == "Mul" or (op.kind == "Div" and not first):
        with np.errstate(all="ignore"):
            deviation = numbers if op.kind == "Div" else 1 / numbers
    else:
        raise Unreadable("a constant must be one number")
    if not (np.isfinite(mean) & (deviation >= SMALLEST) & np.isfinite(deviation)).all():
        raise Unreadable("constants along several axes must be those of a Normalization: a mean and a deviation")
    made, key = reader.made(value, layers.Normalization), value.key
    if made and made.layer.get_config()["axis"] == axes and op.kind == "Div" and (made.weights["variance"] == 1).all():
        mean, key = made.weights["mean"], reader.source(key)
    reader.file.budget.spend(16 * numbers.size)
    weights = {"mean": mean, "variance": deviation ** 2}
    key = reader.emit(op, key, layers.Normalization(mean, deviation ** 2, axes), weights)
    return Value(key, value.shape, value.axes)


def summed(reader: Reader, pieces: Sequence[Piece]) -> Value:
    """The sum of both directions of a recurrent layer."""
    first = pieces[0]
    if any(each.value is not first.value or each.axis != first.axis for each in pieces) or (
            [each.index for each in pieces] != list(range(first.value.sizes[first.axis]))):
        raise Unreadable("it must add all entries along an axis")
    return added_directions(reader, first.value, first.axis)
