"""Values that do not depend on the input: shapes that a graph computes, weights that it transposes.

They are computed where an exporter would have done it: few operators, of results no larger than what they read but for
Concat, and all of them together within the budget of the file.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ldl_cy.interop.onnx.reading.file import DTYPES, Budget, Op, Unreadable, as_array
from ldl_cy.interop.onnx.reading.values import BATCH, Filled, axis_number

MOST_FILLED = 4096              # numbers of an array of one number that is made; larger ones are known by that number

Inputs = list[Any]              # arrays, Filled; None for one that is left out


def ints(array: Any, what: str) -> tuple[int, ...]:
    """The entries of a constant."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.ndim > 1 or array.size > MOST_FILLED:
        raise Unreadable(f"{what} must be constant ints")
    return tuple(int(n) for n in array.reshape(-1))


def axes_of(op: Op, inputs: Inputs, name: str = "axes") -> tuple[int, ...] | None:
    """The axes of Squeeze, reductions, …: the second input or, in older files, an attribute."""
    if len(inputs) > 1 and inputs[1] is not None:
        return ints(inputs[1], name)
    given = op.attributes.get(name)
    if given is not None and not isinstance(given, tuple):
        raise Unreadable(f"{name} must be ints")
    return given


def constant(op: Op) -> np.ndarray:
    """Of a node Constant."""
    for name, dtype in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        if op.attributes.get(name) is not None:
            return np.array(op.attributes[name], dtype)
    return tensor(op, "value")


def tensor(op: Op, name: str) -> np.ndarray:
    """An attribute that is a tensor."""
    given = op.attributes.get(name)
    if not hasattr(given, "raw_data"):
        raise Unreadable(f"{name} must be numbers")
    return as_array(given, f"{name} of the node {op.source}")


def _gather(op: Op, inputs: Inputs) -> Any:
    data, index = inputs
    axis = axis_number(op.attributes.get("axis", 0), data.ndim)
    if index.dtype.kind not in "iu" or index.size > max(1, data.shape[axis]):        # so that the result is no larger
        raise Unreadable("indices must be a few constant ints")
    return np.take(data, index, axis)


def _slice(op: Op, inputs: Inputs) -> Any:
    places = slices(op, inputs, inputs[0].shape)
    return inputs[0][tuple(places)]


def slices(op: Op, inputs: Inputs, shape: tuple[int, ...]) -> list[slice]:
    """For each axis what a node Slice takes."""
    names = ("starts", "ends", "axes", "steps")
    given: list[Any] = [ints(array, name) if array is not None else None
                        for name, array in zip(names, [*inputs[1:], None, None, None, None])]
    if given[0] is None:
        given = [op.attributes.get(name) for name in names]
    starts, ends, axes, steps = given
    if starts is None or ends is None:
        raise Unreadable("starts and ends must be constant ints")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Unreadable("starts, ends, axes and steps must be as many, and no step 0")
    found = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        at = axis_number(axis, len(shape))
        # the end of a backward slice that takes the first entry is far below 0
        found[at] = slice(start, None if step < 0 and end < -shape[at] else end, step)
    return found


def _reshape(op: Op, inputs: Inputs) -> Any:
    shape = [inputs[0].shape[i] if n == 0 and not op.attributes.get("allowzero") else n
             for i, n in enumerate(ints(inputs[1], "the shape"))]
    return inputs[0].reshape(shape)


def _cast(op: Op, inputs: Inputs) -> Any:
    kind = op.attributes.get("to")
    if kind not in DTYPES:
        raise Unreadable("numbers must be of a known type")
    return inputs[0].astype(DTYPES[kind])


def _squeeze(op: Op, inputs: Inputs) -> Any:
    axes = axes_of(op, inputs)
    return np.squeeze(inputs[0], axes if axes is None else tuple(axes))


def _unsqueeze(op: Op, inputs: Inputs) -> Any:
    return np.expand_dims(inputs[0], axes_of(op, inputs) or ())


def filled(number: np.ndarray, shape: tuple[int, ...]) -> Any:
    """An array of one number: made if it is small."""
    if any(n < 0 for n in shape):
        raise Unreadable("a shape must be ints >= 0")
    if math.prod(shape) <= MOST_FILLED and BATCH not in shape:
        return np.full(shape, number.reshape(-1)[0])
    return Filled(float(number.reshape(-1)[0]))


def _constant_of_shape(op: Op, inputs: Inputs) -> Any:
    number = tensor(op, "value") if "value" in op.attributes else np.zeros(1, "f4")
    if number.size != 1:
        raise Unreadable("the value must be one number")
    return filled(number, ints(inputs[0], "the shape"))


def _expand(op: Op, inputs: Inputs) -> Any:
    data, shape = inputs[0], ints(inputs[1], "the shape")
    if data.size != 1:
        raise Unreadable("what is repeated must be one number")
    return filled(data, shape)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return a / b
    if not b.all():
        raise Unreadable("a divisor must not be 0")
    quotient: np.ndarray = np.trunc(a / b).astype(a.dtype) if (a < 0).any() or (b < 0).any() else a // b
    return quotient


def _modulo(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind != "f" and not b.all():
        raise Unreadable("a divisor must not be 0")
    return np.mod(a, b)


FOLDED: dict[str, Callable[[Op, Inputs], Any]] = {
    "Cast": _cast, "Concat": lambda op, inputs: np.concatenate(inputs, op.attributes.get("axis", 0)),
    "ConstantOfShape": _constant_of_shape, "Expand": _expand, "Gather": _gather,
    "Identity": lambda op, inputs: inputs[0], "Neg": lambda op, inputs: -inputs[0], "Reshape": _reshape,
    "Shape": lambda op, inputs: shape_of(op, inputs[0].shape), "Slice": _slice, "Squeeze": _squeeze,
    "Transpose": lambda op, inputs: inputs[0].transpose(op.attributes.get("perm")), "Unsqueeze": _unsqueeze,
    "Dropout": lambda op, inputs: inputs[0],
}
PAIRS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Mod": _modulo}
# of an array with one number everywhere these leave that number
OF_FILLED = ("Slice", "Gather", "Squeeze", "Unsqueeze", "Transpose", "Reshape", "Identity", "Cast", "Expand")


def shape_of(op: Op, shape: tuple[int, ...]) -> np.ndarray:
    """The result of a node Shape."""
    return np.array(shape[op.attributes.get("start", 0):op.attributes.get("end", len(shape))], "i8")


def fold(op: Op, inputs: Inputs, budget: Budget) -> Any:
    """The result of an operator on constants, an array or Filled."""
    if isinstance(inputs[0], Filled) and op.kind in OF_FILLED:
        return inputs[0]
    if not all(each is None or isinstance(each, np.ndarray) for each in inputs):
        raise Unreadable("it must read arrays")
    try:
        with np.errstate(all="ignore"):
            if op.kind in PAIRS:
                budget.spend(8 * math.prod(np.broadcast_shapes(*(each.shape for each in inputs))))
                return np.asarray(PAIRS[op.kind](*inputs))
            budget.spend(8 * sum(each.size for each in inputs if each is not None))
            made = FOLDED[op.kind](op, inputs)
            return made if isinstance(made, Filled) else np.asarray(made)
    except Unreadable:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if str(error).startswith("from_onnx"):
            raise
        raise Unreadable("its constants must fit each other") from None
