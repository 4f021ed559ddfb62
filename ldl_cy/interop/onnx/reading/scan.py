"""Reader of Scan: an RNN whose activation ONNX's own node does not have, as ``to_onnx`` writes it.

Each step computes h = f(x_t + h U), with x_t of a Dense layer before it; f may be any activation, in any number of
nodes. Past the end of a sequence h is kept, and the output is 0. No other loop is read.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.reading import arithmetic
from ldl_cy.interop.onnx.reading import layers as readers
from ldl_cy.interop.onnx.reading.file import Op, Unreadable, as_array, ordered, read_op
from ldl_cy.interop.onnx.reading.points import BINARY, UNARY
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.recurrent import both_directions
from ldl_cy.interop.onnx.reading.values import Filled, Lengths, Value, plain

MOST_NODES = 40                 # of a step
# what an activation may be made of
READERS: dict[str, Callable[[Reader, Op], Any]] = {
    **dict.fromkeys(UNARY, arithmetic.unary), **dict.fromkeys(BINARY, arithmetic.binary), "Clip": arithmetic.clip,
    "PRelu": readers.prelu, "Softmax": readers.softmax}
REFUSED = "it must be an RNN as to_onnx writes it: h = f(x + h U) at each step"


class Step:
    """The graph of one step, h = f(x + h U)."""

    def __init__(self, reader: Reader, body: Any, lengths: bool) -> None:
        self.constants = {tensor.name: as_array(tensor, f"the initializer {tensor.name!r}")
                          for tensor in body.initializer}
        names, outputs = [value.name for value in body.input], [value.name for value in body.output]
        if len(names) != 2 + lengths or len(outputs) != 2 or len(body.node) > MOST_NODES or body.sparse_initializer:
            raise Unreadable(REFUSED)
        self.reader, (self.before, self.given) = reader, names[:2]
        self.ops = [read_op(node) for node in body.node]
        self.valid = names[2] if lengths else ""
        self.makers = {output: op for op in self.ops for output in op.outputs}
        known = {*names, *self.constants}
        if len(self.makers) != sum(len(op.outputs) for op in self.ops) or known & set(self.makers):
            raise Unreadable(REFUSED)
        after, y = (self._inside(name, i) for i, name in enumerate(outputs))
        if after != y:
            raise Unreadable(REFUSED)
        self.end, self.known = after, known

    def _maker(self, name: str, kind: str) -> Op:
        op = self.makers.get(name)
        if op is None or op.kind != kind:
            raise Unreadable(REFUSED)
        return op

    def _inside(self, name: str, i: int) -> str:
        """What an output is within the sequence: 0 is the state, 1 the output."""
        for _ in self.ops:
            op = self.makers.get(name)
            if op is None or op.kind != "Identity" or len(op.inputs) != 1:
                break
            name, = op.inputs
        if not self.valid:
            return name
        op = self._maker(name, "Where")
        if len(op.inputs) != 3 or op.inputs[0] != self.valid:
            raise Unreadable(REFUSED)
        other = self.constants.get(op.inputs[2])
        kept = op.inputs[2] == self.before if i == 0 else other is not None and not other.any()
        if not kept:
            raise Unreadable("past the end of a sequence the state must stay, and the output be 0")
        return op.inputs[1]

    def recurrent_kernel(self) -> tuple[np.ndarray, str]:
        """(U, the name of x + h U)."""
        sums = [op for op in self.ops if op.kind == "Add" and self.given in op.inputs]
        if len(sums) != 1 or len(sums[0].inputs) != 2:
            raise Unreadable(REFUSED)
        name = sums[0].inputs[1 - sums[0].inputs.index(self.given)]
        product = self._maker(name, "MatMul")
        if len(product.inputs) != 2 or product.inputs[0] != self.before or product.inputs[1] not in self.constants:
            raise Unreadable(REFUSED)
        return self.constants[product.inputs[1]], sums[0].outputs[0]

    def activation(self, start: str, units: int) -> str:
        """The name of f."""
        known = {name: array for name, array in self.constants.items() if name in self.known}
        ops = [op for op in self.ops if start not in op.outputs]
        # whatever reads the state or the step again, past their sum, is unknown there
        ops = ordered(ops, {start, *known}, self.end)
        file = replace(self.reader.file, ops=ops, constants=known, input=start, output=self.end, others=())
        inner = Reader(file, 0)
        inner.shapes[inner.start] = (units,)
        inner.values[start] = Value(inner.start, (units,), plain((units,), (0, 1)))
        for op in ops:
            if op.kind not in READERS or len(op.outputs) != 1:
                raise Unreadable(f"a step must have an activation that is known, got {op.kind}")
            inner.values[op.outputs[0]] = READERS[op.kind](inner, op)
        value = inner.value_of(self.end)
        if value.key == inner.start and not value.points:
            return "identity"
        made = inner.made(inner.settled(value), layers.Activation)
        if made is None or inner.source(value.key) != inner.start or (
                made.layer.activation == "leaky_relu" and made.layer.negative_slope != 0.01):   # type: ignore
            raise Unreadable("a step must have an activation that is known")
        return str(made.layer.activation)               # type: ignore[attr-defined]


def scan(reader: Reader, op: Op) -> Any:
    """(the last state, all states)."""
    body, count = op.attributes.get("body"), op.attributes.get("num_scan_inputs")
    if set(op.attributes) != {"body", "num_scan_inputs"} or not hasattr(body, "node") or count not in (1, 2) or (
            len(op.inputs) != 1 + count or len(op.outputs) != 2):
        raise Unreadable(REFUSED)
    start, data = reader.get(op, 0), reader.get(op, 1)
    zero = isinstance(start, Filled) and start.number == 0
    if not zero and not (isinstance(start, np.ndarray) and not start.any()):
        raise Unreadable("its initial states must be zeros")
    if count == 2 and not isinstance(reader.get(op, 2), Lengths):
        raise Unreadable(REFUSED)
    value = data if isinstance(data, Value) and data.flipped else reader.value(op, 1)
    made = reader.made(value, layers.Dense)
    whole = (1, *value.shape) if len(value.shape) == 1 else value.shape         # of one step, whose axis is left out
    axes = plain(whole, (1, 0, 2))
    if made is None or made.layer.get_config()["activation"] or len(whole) != 2 or value.axes != (
            axes if whole == value.shape else ((), (0,), (1,) * (value.shape[-1] > 1))):
        raise Unreadable("each step must read a product with weights")
    try:
        step = Step(reader, body, count == 2)
        U, name = step.recurrent_kernel()
        n_steps, units = whole
        if U.shape != (units, units):
            raise Unreadable(f"the recurrent weights must have the shape {(units, units)}, got {U.shape}")
        function = step.activation(name, units)
    except ValueError as error:                         # of a node within: the loop is named
        raise Unreadable(str(error) if isinstance(error, Unreadable) else REFUSED) from None
    weights = {**made.weights, "recurrent_kernel": U}
    options: dict[str, Any] = {"use_bias": "bias" in weights, "go_backwards": value.flipped}
    source = reader.source(value.key)
    if whole != value.shape:
        source = reader.reshaped(source, (1, len(made.weights["kernel"])))
    every, end = (reader.emit(op, source, layers.RNN(units, function, return_sequences=sequences, **options), weights)
                  for sequences in (True, False))
    reader.loops.update((every, end))
    t, h = (1,) * (n_steps > 1), (2,) * (units > 1)
    return (Value(end, (units,), ((0,), (1,) * (units > 1)), op=op),
            Value(every, (n_steps, units), (t, (0,), h), op=op))


def joined_loops(reader: Reader, op: Op, values: list[Any]) -> Value | None:
    """A bidirectional layer, of two loops over one sequence whose results Concat joins along an axis of their own."""
    if len(values) != 2 or not all(isinstance(each, Value) and each.key in reader.loops for each in values):
        return None
    made: list[Any] = [reader.nodes[each.key].made for each in values]
    first, second = (each.layer for each in made)
    source = reader.source(values[0].key)
    n_steps = reader.shapes[source][0]
    config = {**first.get_config(), "go_backwards": n_steps > 1}
    if first.get_config()["go_backwards"] or second.get_config() != config or reader.source(values[1].key) != source:
        return None
    sequences = config["return_sequences"]
    rank, axis = (4, 1) if sequences else (3, 0)
    several = sequences and n_steps > 1
    if any(each.rank != rank or each.axes[axis] for each in values) or op.attributes.get("axis") != axis or (
            [each.flipped for each in values] != [False, several]):
        return None
    states, ends = both_directions(reader, op, source, n_steps, first, made[0].weights, made[1].weights)
    return states if sequences else ends
