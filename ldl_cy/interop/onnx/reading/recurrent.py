"""Readers of RNN, LSTM and GRU.

ONNX's gates are i, o, f, c and z, r, h; ours i, f, g, o and r, z, n. A sequence read in reverse has its states in the
order of the input there, and in the order of processing here.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.assembly import Imported
from ldl_cy.interop.onnx.reading.file import Op, Unreadable
from ldl_cy.interop.onnx.reading.points import PROBES, UNARY, activation
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.values import Filled, Nothing, Value, axis_number
from ldl_cy.layers.base import Shape
from ldl_cy.layers.recurrent import Recurrent

# blocks of theirs in our order
BLOCKS = {"RNN": (0,), "LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
FUNCTIONS = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def _blocks(array: np.ndarray, kind: str) -> np.ndarray:
    """The rows of one direction with the gates in our order."""
    parts = np.split(array, len(BLOCKS[kind]))
    return np.concatenate([parts[i] for i in BLOCKS[kind]])


def weights_of(reader: Reader, op: Op, units: int, n_in: int, count: int) -> list[dict[str, np.ndarray]]:
    """The weights of each direction."""
    rows = len(BLOCKS[op.kind]) * units
    W, R = reader.array(op, 1, "W"), reader.array(op, 2, "R")
    B = None if reader.get(op, 3) is None else reader.array(op, 3, "B")
    for name, array, shape in (("W", W, (count, rows, n_in)), ("R", R, (count, rows, units)),
                               ("B", B, (count, 2 * rows))):
        if array is not None and array.shape != shape:
            raise Unreadable(f"{name} must have the shape {shape}, got {array.shape}")
    reader.file.budget.spend(2 * (W.nbytes + R.nbytes))
    found = []
    for i in range(count):
        one = {"kernel": _blocks(W[i], op.kind).T, "recurrent_kernel": _blocks(R[i], op.kind).T}
        if B is not None:
            inner, hidden = _blocks(B[i, :rows], op.kind), _blocks(B[i, rows:], op.kind)
            if op.kind == "GRU":            # the candidate's second bias is within r * (h U + c)
                hidden, one["recurrent_bias"] = hidden.copy(), hidden[2 * units:]
                hidden[2 * units:] = 0
            one["bias"] = inner + hidden
        found.append(one)
    return found


def _check(reader: Reader, op: Op, count: int) -> str | None:
    """Refuse settings that have no counterpart; the activation of an RNN."""
    if op.attributes.get("clip") or op.attributes.get("input_forget") or (
            op.kind == "GRU" and not op.attributes.get("linear_before_reset")):
        raise Unreadable("it must have no clip and no input_forget, and a GRU linear_before_reset=1")
    for i in range(5, 8):                   # initial states, and the peepholes of an LSTM
        given = reader.get(op, i)
        zero = given is None or (isinstance(given, Filled) and given.number == 0) or (
            isinstance(given, np.ndarray) and not given.any())
        if not zero:
            raise Unreadable("its initial states must be zeros, and it must have no peepholes")
    names = op.attributes.get("activations", FUNCTIONS[op.kind] * count)
    if op.kind != "RNN":
        if names != FUNCTIONS[op.kind] * count:
            raise Unreadable("its activations must be sigmoid and tanh")
        return None
    settings = [op.attributes.get(f"activation_{name}", ()) for name in ("alpha", "beta")]
    if len(names) != count or any(len(set(each)) > 1 for each in (names, *settings)):
        raise Unreadable("its activations must be the same in both directions")
    found = _activation(names[0], [each[0] for each in settings if each])
    if not found:
        raise Unreadable(f"its activation must be one that is known, got {names[0]}")
    return found


def _activation(name: str, numbers: list[float]) -> str | None:
    """The activation of an RNN by its name and its settings there."""
    if name == "Affine":
        return "identity" if numbers == [1, 0] else None
    function, settings = UNARY.get(name, (np.isnan, ()))
    found = activation(function(PROBES, *numbers[:len(settings)]))
    return found[0] if found and (found[0] != "leaky_relu" or abs(found[1] - 0.01) < 1e-8) else None


def recurrent(reader: Reader, op: Op) -> Any:
    found = reader.get(op, 0)
    value = found if isinstance(found, Value) and found.flipped else reader.value(op)
    direction = op.attributes.get("direction", "forward")
    count, units = DIRECTIONS.get(direction, 0), op.attributes.get("hidden_size", 0)
    if not count or value.rank != 3 or not isinstance(units, int) or units < 1:
        raise Unreadable("it must read sequences, in a direction that is known, and have a hidden_size")
    first = bool(op.attributes.get("layout", 0))        # whether the batch comes before the time
    time = int(first)
    if value.axes[1 - time] != (0,):
        raise Unreadable("the batch must be an axis of its own")
    if value.flipped and count == 2:
        raise Unreadable("both directions must read a sequence from its start")
    function = _check(reader, op, count)
    weights = weights_of(reader, op, units, value.sizes[2], count)
    key = reader.laid(value, [value.axes[time], value.axes[2]])
    backwards = (direction == "reverse") != value.flipped
    options = {"use_bias": "bias" in weights[0], "go_backwards": backwards}
    kind: Any = getattr(layers, op.kind)

    def layer(sequences: bool) -> Recurrent:
        arguments = (units, function) if op.kind == "RNN" else (units,)
        made: Recurrent = kind(*arguments, return_sequences=sequences, **options)
        return made

    n_steps = reader.shapes[key][0]
    nothing = Nothing("the state of the cells has no counterpart", op)
    if count == 1:
        every = reader.emit(op, key, layer(True), weights[0])
        end = reader.emit(op, key, layer(False), weights[0])
        reader.last[every] = (end, 0 if direction == "reverse" else n_steps - 1)
        t, h = (1,) * (n_steps > 1), (2,) * (units > 1)
        # states of a reversed sequence are in the order of processing here
        flipped = direction == "reverse" and n_steps > 1
        states = Value(every, (n_steps, units), ((0,), t, (), h) if first else (t, (), (0,), h), op=op, flipped=flipped)
        h = (1,) * (units > 1)
        return states, Value(end, (units,), ((0,), (), h) if first else ((), (0,), h), op=op), nothing
    states, ends = both_directions(reader, op, key, n_steps, layer(True), *weights)
    if first:
        states, ends = (replace(each, axes=(each.axes[-2], *each.axes[:-2], each.axes[-1])) for each in (states, ends))
    return states, ends, nothing


def both_directions(
    reader: Reader, op: Op, key: str, n_steps: int, layer: Recurrent, forward: Mapping[str, np.ndarray],
    backward: Mapping[str, np.ndarray],
) -> tuple[Value, Value]:
    """All states (time, 2, n, units), the last ones (2, n, units)."""
    units = layer.units
    both = {f"{name}.{own}": array for name, one in (("forward", forward), ("backward", backward))
            for own, array in one.items()}

    def emitted(sequences: bool, shape: Shape) -> str:
        inner = type(layer).from_config({**layer.get_config(), "return_sequences": sequences})
        return reader.emit(op, key, layers.Bidirectional(inner), both, shape)

    every, end = emitted(True, (n_steps, 2 * units)), emitted(False, (2 * units,))
    shape: Shape = (n_steps, 2, units)
    t, h = (1,) * (n_steps > 1), (3,) * (units > 1)
    states = Value(reader.reshaped(every, shape), shape, (t, (2,), (0,), h), op=op)
    h = (2,) * (units > 1)
    ends = Value(reader.reshaped(end, shape[1:]), shape[1:], ((1,), (0,), h), op=op)
    reader.parted.update((states.key, ends.key))
    return states, ends


def _joined(reader: Reader, value: Value, axis: int) -> tuple[str, Imported]:
    """(key, layer) of the bidirectional layer whose directions are an axis of theirs."""
    key = reader.reshaped(value.key, (*value.shape[:-2], value.shape[-2] * value.shape[-1]))
    made = reader.made(replace(value, key=key), layers.Bidirectional)
    if not made or value.shape[-2] != 2 or value.axes[axis_number(axis, value.rank)] != (len(value.shape) - 1,):
        raise Unreadable("it must take both directions of a recurrent layer")
    return key, made


def added_directions(reader: Reader, value: Value, axis: int) -> Value:
    """A bidirectional layer that adds, for one that joins; ``axis`` is that of the directions."""
    key, made = _joined(reader, value, axis)
    layer = layers.Bidirectional.from_config({**made.layer.get_config(), "merge_mode": "sum"})
    shape = (*value.shape[:-2], value.shape[-1])
    new = reader.emit(value.op, reader.source(key), layer, made.weights, shape)
    place = len(value.shape) - 1
    axes = [tuple(place if atom == place + 1 else atom for atom in each) for i, each in enumerate(value.axes)
            if i != axis_number(axis, value.rank)]
    return Value(new, shape, tuple(axes))


def swapped_directions(reader: Reader, value: Value, axis: int) -> Value:
    """A bidirectional layer whose first direction is the backward one."""
    key, made = _joined(reader, value, axis)
    inner = made.layer.get_config()["layer"]
    inner = type(inner).from_config({**inner.get_config(), "go_backwards": not inner.go_backwards})
    names = {"forward": "backward", "backward": "forward"}
    weights = {f"{names[name.partition('.')[0]]}.{name.partition('.')[2]}": array
               for name, array in made.weights.items()}
    new = reader.emit(value.op, reader.source(key), layers.Bidirectional(inner), weights, reader.shapes[key])
    parted = reader.reshaped(new, value.shape)
    reader.parted.add(parted)
    return replace(value, key=parted)
