"""Readers of operators that move numbers or take some of them: shapes, axes, Concat, Gather, Slice, Pad, reductions."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.reading import categories
from ldl_cy.interop.onnx.reading.arithmetic import arrangement
from ldl_cy.interop.onnx.reading.constants import axes_of, shape_of, slices
from ldl_cy.interop.onnx.reading.file import Op, Unreadable
from ldl_cy.interop.onnx.reading.layers import reduced, zeros_around
from ldl_cy.interop.onnx.reading.lengths import summed
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.recurrent import added_directions, swapped_directions
from ldl_cy.interop.onnx.reading.scan import joined_loops
from ldl_cy.interop.onnx.reading.values import (
    BATCH,
    Lengths,
    Nothing,
    Outside,
    Piece,
    Summed,
    Value,
    axis_number,
    plain,
)
from ldl_cy.layers.upsampling import MOST_COPIES

MADE = "made"                   # in a tree of what was joined: the value that has all parts up to here


@dataclass(frozen=True, eq=False)
class Ids:
    """Numbers cast to whole ones, which an Embedding alone may read."""

    value: Value


def identity(reader: Reader, op: Op) -> Any:
    return reader.values[op.inputs[0]]


def cast(reader: Reader, op: Op) -> Any:
    found, kind = reader.get(op, 0), op.attributes.get("to")
    if isinstance(found, Lengths):
        return found
    if kind in (1, 10, 11, 16):
        return found if isinstance(found, Value) else reader.value(op)
    if kind in (6, 7) and isinstance(found, Piece):
        return categories.column(reader, found)
    if kind in (6, 7):
        return Ids(reader.value(op))
    raise Unreadable("numbers must stay numbers")


def shape(reader: Reader, op: Op) -> np.ndarray:
    found = reader.values[op.inputs[0]]
    if not isinstance(found, Value):
        raise Unreadable("it must read a value of a layer")
    return shape_of(op, found.sizes)


def transpose(reader: Reader, op: Op) -> Value | Outside:
    found = reader.get(op, 0)
    if isinstance(found, Outside):
        return Outside(_transposed(found.value, op))
    return _transposed(found if isinstance(found, Value) and found.flipped else reader.value(op), op)


def _transposed(value: Value, op: Op) -> Value:
    order = op.attributes.get("perm", tuple(reversed(range(value.rank))))
    order = tuple(axis_number(axis, value.rank) for axis in order)
    if sorted(order) != list(range(value.rank)):
        raise Unreadable(f"perm must have each axis once, got {order}")
    return Value(value.key, value.shape, tuple(value.axes[i] for i in order), flipped=value.flipped)


# -- shapes -------------------------------------------------------------------------------------------------------


def reshape(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    given = reader.ints(op, 1, "the shape") if len(op.inputs) > 1 else op.attributes.get("shape", ())
    sizes = value.sizes
    if given.count(-1) > 1 or min(given, default=0) < -1 or len(given) > 31:
        raise Unreadable(f"the shape must be ints >= 0, at most one of them -1, got {given}")
    try:
        wanted = [sizes[i] if n == 0 and not op.attributes.get("allowzero") else n for i, n in enumerate(given)]
    except IndexError:
        raise Unreadable(f"the shape must fit {value.rank} axes, got {given}") from None
    reasons: list[Unreadable] = []
    # where the file has a number of samples, that number may be the batch
    fixed = [i for i, n in enumerate(wanted) if n == reader.samples and BATCH not in wanted]
    fixed.sort(key=lambda i: abs(i - value.batch))
    for place in (*fixed, None):
        tried = [BATCH if i == place else n for i, n in enumerate(wanted)]
        try:
            return _reshaped(reader, value, completed(tried, sizes))
        except Unreadable as error:
            reasons.append(error)
    raise reasons[0]


def completed(wanted: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The lengths with -1 put in."""
    total, known = _product(sizes), _product(n for n in wanted if n != -1)
    if known == 0 or total % known or (-1 not in wanted and total != known):
        raise Unreadable("the shape must hold as many numbers as the value, for any number of samples")
    return [total // known if n == -1 else n for n in wanted]


def _product(numbers: Any) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def flatten(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    axis = op.attributes.get("axis", 1)
    axis = axis if axis == value.rank else axis_number(axis, value.rank)
    return _reshaped(reader, value, [_product(value.sizes[:axis]), _product(value.sizes[axis:])])


def _reshaped(reader: Reader, value: Value, sizes: Sequence[int]) -> Value:
    """The value with axes of other lengths; where there are lengths, they have no meaning afterwards."""
    found = reader.view(value, sizes)
    return reader.exactly(found) if reader.file.others and list(sizes) != list(value.sizes) else found


def squeeze(reader: Reader, op: Op) -> Any:
    found = reader.get(op, 0)
    value = found if isinstance(found, Value) and found.flipped else reader.value(op)
    axes = axes_of(op, [None, reader.get(op, 1)])
    if axes is None:
        axes = tuple(i for i, n in enumerate(value.sizes) if n == 1)
    numbers = {axis_number(axis, value.rank) for axis in axes}
    if any(value.sizes[i] != 1 for i in numbers):
        raise Unreadable("the axes that it leaves out must have the length 1")
    return Value(value.key, value.shape, tuple(each for i, each in enumerate(value.axes) if i not in numbers),
                 flipped=value.flipped)


def unsqueeze(reader: Reader, op: Op) -> Value:
    found = reader.get(op, 0)
    value = found if isinstance(found, Value) and found.flipped else reader.value(op)
    axes = axes_of(op, [None, reader.get(op, 1)]) or ()
    rank = value.rank + len(axes)
    numbers = {axis_number(axis, rank) for axis in axes}
    if len(numbers) != len(axes) or rank > 31:
        raise Unreadable("the axes must be different ones")
    rest = iter(value.axes)
    return Value(value.key, value.shape, tuple(() if i in numbers else next(rest) for i in range(rank)),
                 flipped=value.flipped)


def expand(reader: Reader, op: Op) -> Value:
    value, sizes = reader.value(op), reader.ints(op, 1, "the shape")
    own = (1,) * (len(sizes) - value.rank) + value.sizes
    if len(sizes) > len(own) or any(n not in (1, mine) for n, mine in zip(sizes[::-1], own[::-1])):
        raise Unreadable("what depends on the input must not be repeated")
    return Value(value.key, value.shape, ((),) * (len(own) - value.rank) + value.axes)


# -- parts and wholes ---------------------------------------------------------------------------------------------


def gather(reader: Reader, op: Op) -> Any:
    data, index = reader.get(op, 0), reader.get(op, 1)
    if isinstance(data, np.ndarray) and isinstance(index, categories.Code):
        return categories.chosen(data, index)
    if isinstance(data, np.ndarray):
        value = index.value if isinstance(index, Ids) else reader.value(op, 1)
        return _embedding(reader, op, data, value)
    axis = op.attributes.get("axis", 0)
    if isinstance(index, np.ndarray) and index.tolist() == [1, 0]:
        return swapped_directions(reader, reader.value(op), axis)
    if isinstance(data, Value) and isinstance(index, np.ndarray):
        several = categories.columns(reader, data, axis, index)
        if several is not None:
            return several
    if not isinstance(index, np.ndarray) or index.size != 1 or index.ndim > 1 or index.dtype.kind not in "iu":
        raise Unreadable("it must take one entry along an axis")
    found = entry(reader, op, data, axis, int(index.reshape(-1)[0]))
    if not index.ndim:
        return found
    if not isinstance(found, Value):
        raise Unreadable("it must take the only entry along an axis, or the last one of a recurrent layer")
    return with_one(found, axis_number(axis, found.rank + 1))


def with_one(value: Value, axis: int) -> Value:
    """The value with a further axis of length 1."""
    return Value(value.key, value.shape, (*value.axes[:axis], (), *value.axes[axis:]))


def entry(reader: Reader, op: Op, data: Any, axis: int, index: int) -> Any:
    """One entry along an axis, which is left out."""
    axis_joined, parts = reader.joined.get(op.inputs[0], (None, []))
    if axis == axis_joined:
        index += sum(part.sizes[axis] for part in parts) if index < 0 else 0
        for part in parts:
            if 0 <= index < part.sizes[axis]:
                return _entry_of(reader, op, part, axis, index)
            index -= part.sizes[axis]
    value = data if isinstance(data, Value) and data.flipped else reader.value(op)
    return _entry_of(reader, op, value, axis, index)


def _entry_of(reader: Reader, op: Op, value: Value, axis: int, index: int) -> Any:
    axis = axis_number(axis, value.rank)
    n = value.sizes[axis]
    index += n if index < 0 else 0
    if value.axes[axis] == (0,) or not 0 <= index < n:
        raise Unreadable("it must take an entry that is there, not of the batch")
    rest = [each for i, each in enumerate(value.axes) if i != axis]
    if n == 1:
        return Value(value.key, value.shape, tuple(rest), flipped=value.flipped)
    key, place = reader.last.get(value.key, ("", 0))
    if key and value.axes[axis] == (1,) and index == place:
        return Value(key, value.shape[1:], tuple(tuple(atom - (atom > 1) for atom in each) for each in rest))
    return Piece(value, axis, index)


def _embedding(reader: Reader, op: Op, table: np.ndarray, value: Value) -> Value:
    if table.ndim != 2 or table.dtype.kind != "f" or op.attributes.get("axis", 0) or not table.size:
        raise Unreadable("it must take rows of a matrix")
    key = reader.emit(op, value.key, layers.Embedding(*table.shape), {"table": table})
    last = () if table.shape[1] == 1 else (len(value.shape) + 1,)
    return Value(key, reader.shapes[key], (*value.axes, last))


def concat(reader: Reader, op: Op) -> Any:
    given = [reader.get(op, i) for i in range(len(op.inputs))]
    if all(isinstance(each, Piece) for each in given):
        return _whole(op, given)
    if any(isinstance(each, categories.Columns) for each in given):
        return categories.joined(reader, op, given)
    loops = joined_loops(reader, op, given)
    if loops is not None:
        return loops
    values = [reader.value(op, i) for i in range(len(op.inputs))]
    if len(values) == 1:
        return values[0]
    first = values[0]
    axis = axis_number(op.attributes.get("axis", 0), first.rank)
    if any(value.rank != first.rank for value in values):
        raise Unreadable("what it joins must have as many axes")
    reader.joined[op.outputs[0]] = (axis, values)
    try:
        order = [i for i in arrangement(first) if i != axis]
        if axis == first.batch or any(value.axes[first.batch] != (0,) for value in values):
            raise Unreadable("the batch must be one axis of all, and left alone")
        if any(value.sizes[i] != first.sizes[i] for value in values for i in order):
            raise Unreadable("what it joins must have equal shapes but for one axis")
    except Unreadable as error:
        return Nothing(str(error), op)              # one of its parts may be taken
    whole = tuple((value.key, value.axes) for value in values)
    # what another Concat has joined is one of the parts, as in DenseNet, where each layer reads all before it
    tree, before, count = reader.wholes.setdefault(axis, {}), None, 0
    for i, part in enumerate(whole, 1):
        tree = tree.setdefault(part, {})
        if 1 < i < len(values) and MADE in tree:
            before, count = tree[MADE], i
    if before:
        values = [before, *values[count:]]
    keys = [reader.laid(value, [*(value.axes[i] for i in order), value.axes[axis]]) for value in values]
    shape = (*(first.sizes[i] for i in order), sum(value.sizes[axis] for value in values))
    key = reader.join(op, layers.Concatenate, keys, shape)
    place = dict(zip([*order, axis], plain(shape, range(1, len(shape) + 1))))
    found = Value(key, shape, tuple((0,) if i == first.batch else place[i] for i in range(first.rank)))
    tree[MADE] = found
    return found


def _whole(op: Op, pieces: Sequence[Piece]) -> Value:
    """All entries along an axis, joined along another one."""
    first = pieces[0]
    value, axis = first.value, first.axis
    if any(each.value.key != value.key or each.value.axes != value.axes or each.axis != axis for each in pieces) or (
            [each.index for each in pieces] != list(range(value.sizes[axis]))):
        raise Unreadable("it must join all entries along an axis, in their order")
    rest = [each for i, each in enumerate(value.axes) if i != axis]
    at = axis_number(op.attributes.get("axis", 0), len(rest))
    rest[at] = value.axes[axis] + rest[at]
    return Value(value.key, value.shape, tuple(rest))


def slice_(reader: Reader, op: Op) -> Any:
    data = reader.get(op, 0)
    value = data if isinstance(data, Value) and data.flipped else reader.value(op)
    places = slices(op, [None, *(reader.get(op, i) for i in range(1, len(op.inputs)))], value.sizes)
    for axis, (place, n) in enumerate(zip(places, value.sizes)):
        start, stop, step = place.indices(n)
        taken = range(start, stop, step)
        if taken == range(n) or (n == BATCH and start == 0 and step == 1 and place.stop in (None, 2**63 - 1, BATCH)):
            continue
        if taken == range(n - 1, -1, -1) and value.axes[axis] == (1,):
            value = Value(value.key, value.shape, value.axes, flipped=not value.flipped)
        elif len(taken) == 1:
            found = _entry_of(reader, op, value, axis, taken[0])
            if not isinstance(found, Value):
                raise Unreadable("it must take all, the only entry or the last one of a recurrent layer")
            value = with_one(found, axis)
        else:
            raise Unreadable("it must take all along an axis, or the last step of a recurrent layer")
    return value


def reverse_sequence(reader: Reader, op: Op) -> Value:
    """The time turned round; lengths are given to our models with the rows."""
    data = reader.get(op, 0)
    value = data if isinstance(data, Value) and data.flipped else reader.value(op)
    axis = axis_number(op.attributes.get("time_axis", 0), value.rank)
    if value.axes[axis] not in ((1,), ()):
        raise Unreadable("it must turn round the time")
    return Value(value.key, value.shape, value.axes, flipped=value.flipped != bool(value.axes[axis]))


# -- padding, reductions ------------------------------------------------------------------------------------------


def pad(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    given = reader.ints(op, 1, "pads") if len(op.inputs) > 1 else op.attributes.get("pads", ())
    fill = reader.get(op, 2)
    number = op.attributes.get("value", 0.0) if fill is None else fill
    if op.attributes.get("mode", "constant") != "constant" or not isinstance(number, (float, np.ndarray)) or (
            np.any(number)):
        raise Unreadable("it must put zeros around")
    axes = tuple(range(value.rank)) if reader.get(op, 3) is None else reader.ints(op, 3, "axes")
    numbers = [axis_number(axis, value.rank) for axis in axes]
    if len(given) != 2 * len(numbers) or min(given, default=0) < 0:
        raise Unreadable(f"pads must be two ints >= 0 for each axis, got {given}")
    pads = dict(zip(numbers, zip(given, given[len(numbers):])))
    padded = [i for i in sorted(pads) if any(pads[i])]
    if not padded:
        return value
    laid, order = with_channels_last(reader, value, padded, "it must put zeros around sequences or images")
    key = zeros_around(reader, op, laid.key, tuple(pads.get(i, (0, 0)) for i in order[:-1]))
    return in_their_order(reader, key, value, order)


def with_channels_last(reader: Reader, value: Value, changed: Sequence[int], text: str) -> tuple[Value, list[int]]:
    """Sequences or images of which these axes become longer, with another one last; and their axes in our order."""
    inside = [i for i in range(value.rank) if i != value.batch]
    channels = [i for i in inside if i not in changed]
    last = max(channels, key=lambda i: (value.axes[i] == (len(value.shape),), i == 1, i), default=None)
    if value.batch in changed or last is None or len(inside) not in (2, 3):
        raise Unreadable(text)
    order = [*(i for i in inside if i != last), last]
    return reader.channels_first(reader.exactly(value, order)), order


def in_their_order(reader: Reader, key: str, before: Value, order: Sequence[int]) -> Value:
    """The value of a layer that has read ``with_channels_last``."""
    found = dict(zip(order, plain(reader.shapes[key], range(1, len(order) + 1))))
    return Value(key, reader.shapes[key], tuple((0,) if i == before.batch else found[i] for i in range(before.rank)))


def resize(reader: Reader, op: Op) -> Value:
    """The nearest number, for whole scales: y[i] = x[i // scale]."""
    value = reader.value(op)
    text = "it must repeat the nearest number of sequences or images, by whole scales"
    if reader.get(op, 2) is None:
        raise Unreadable(text)
    scales = reader.array(op, 2, "the scales")
    axes = [axis_number(axis, value.rank) for axis in op.attributes.get("axes", range(value.rank))]
    # all that have i // scale for whole scales
    rounding = {"asymmetric": ("floor",), "half_pixel": ("round_prefer_floor", "round_prefer_ceil")}
    mode = op.attributes.get("coordinate_transformation_mode", "half_pixel")
    if (op.attributes.get("mode", "nearest") != "nearest" or scales.shape != (len(axes),) or np.any(scales < 1)
            or np.any(scales != np.round(scales)) or np.any(scales > MOST_COPIES)
            or op.attributes.get("nearest_mode", "round_prefer_floor") not in rounding.get(mode, ())):
        raise Unreadable(text)
    times = dict(zip(axes, map(int, scales)))
    repeated = [i for i in sorted(times) if times[i] > 1]
    if not repeated:
        return value
    laid, order = with_channels_last(reader, value, repeated, text)
    size = tuple(times.get(i, 1) for i in order[:-1])
    layer = layers.UpSampling1D(size[0]) if len(size) == 1 else layers.UpSampling2D(size)       # type: ignore[arg-type]
    key = reader.emit(op, laid.key, layer, shape=tuple(map(mul, laid.shape, (*size, 1))))
    return in_their_order(reader, key, value, order)


def reduce(reader: Reader, op: Op) -> Value | Summed:
    value = reader.value_of_maximum(op) if op.kind == "ReduceMax" else reader.value(op)
    axes = axes_of(op, [None, reader.get(op, 1)])
    if not axes:
        if op.attributes.get("noop_with_empty_axes"):
            return value
        raise Unreadable("it must leave the batch alone")
    numbers = sorted({axis_number(axis, value.rank) for axis in axes})
    keep = bool(op.attributes.get("keepdims", 1))
    if op.kind != "ReduceSum":
        return reduced(reader, op, value, numbers, "Max" if op.kind == "ReduceMax" else "Avg", keep)
    if reader.file.others and value.key not in reader.parted:
        return summed(reader, value, numbers, keep)
    if len(numbers) != 1:
        raise Unreadable("it must add the directions of a recurrent layer")
    found = added_directions(reader, value, numbers[0])
    return with_one(found, numbers[0]) if keep else found
