"""Recurrent layers as ONNX nodes.

ONNX reads (steps, n, features) and gives (steps, directions, n, units), in the order of the input, also where it reads
backwards, and the last state (directions, n, units). Matrices are transposed, the gates of LSTM in the order i, o, f,
g, those of GRU z, r, n; the bias is that of the input followed by that of the state.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ldl_cy.interop.onnx.writing.activations import EXACT, IN_CELLS, activate
from ldl_cy.interop.onnx.writing.graph import OnnxGraph, inverse
from ldl_cy.interop.parts import Part
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.bidirectional import Bidirectional
from ldl_cy.layers.recurrent import GRU, RNN, Recurrent

GATES = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}       # the places of ONNX's gates among ours
STEPS_FIRST = (1, 0, 2)


class States(NamedTuple):
    """What one node computes, of D directions: all states (steps, D, n, units), the last (D, n, units)."""

    all: str
    last: str


def recurrent(graph: OnnxGraph, part: Part, x: str) -> str:
    """RNN, LSTM, GRU, and Bidirectional ones."""
    name, both = part.name, isinstance(part.layer, Bidirectional)
    layer: Recurrent = part.layer.layer if isinstance(part.layer, Bidirectional) else part.layer   # type: ignore
    if both:
        weights = [{key.removeprefix(f"{direction}."): value for key, value in part.weights.items()
                    if key.startswith(f"{direction}.")} for direction in ("forward", "backward")]
        if layer.go_backwards:
            weights.reverse()
    else:
        weights = [part.weights]
    directions = ["forward", "reverse"] if both else ["reverse" if layer.go_backwards else "forward"]
    steps = graph.transpose(name, x, STEPS_FIRST)
    kind = check_activation(name, layer.activation) if isinstance(layer, RNN) else "tanh"
    if kind in IN_CELLS and (graph.dtype == "float32" or kind in EXACT):
        states = [cell(graph, name, steps, layer, weights, directions)]
    else:
        states = [scan(graph, part, steps, layer, own, direction == "reverse")
                  for own, direction in zip(weights, directions)]
    merged = merge(graph, part, layer, states)
    return graph.transpose(name, merged, inverse(STEPS_FIRST)) if layer.return_sequences else merged


def cell(
    graph: OnnxGraph, name: str, x: str, layer: Recurrent, weights: Sequence[Mapping[str, np.ndarray]],
    directions: Sequence[str],
) -> States:
    """The RNN, LSTM or GRU node."""
    op, units = layer.cell.upper(), layer.units
    inputs = [x]
    for key in ("kernel", "recurrent_kernel"):
        matrices = np.stack([ordered(layer, own[key]).T for own in weights])
        inputs.append(graph.numbers(f"{name}.{key}", matrices))
    if layer.use_bias:
        biases = []
        for own in weights:
            state = np.zeros(layer.gates * units, own["bias"].dtype)
            if isinstance(layer, GRU):
                state[2 * units:] = own["recurrent_bias"]
            biases.append(np.concatenate([ordered(layer, own["bias"]), state]))
        inputs.append(graph.numbers(f"{name}.bias", np.stack(biases)))
    if graph.steps.get(name):
        inputs += ["", graph.lengths_as("int32")][layer.use_bias:]
    settings: dict[str, Any] = {"hidden_size": units,
                                "direction": "bidirectional" if len(directions) == 2 else directions[0]}
    if isinstance(layer, GRU):
        settings["linear_before_reset"] = 1
    if isinstance(layer, RNN):
        activation, alpha, beta = IN_CELLS[check_activation(name, layer.activation)]
        settings["activations"] = [activation] * len(directions)
        if (alpha, beta) != (0.0, 0.0):
            settings.update(activation_alpha=[alpha] * len(directions), activation_beta=[beta] * len(directions))
    return States(*graph.nodes_outputs(op, name, inputs, 2, **settings))


def ordered(layer: Recurrent, array: np.ndarray) -> np.ndarray:
    """The columns of the gates in ONNX's order."""
    gates = np.split(array, layer.gates, axis=-1)
    return np.concatenate([gates[i] for i in GATES[layer.cell]], axis=-1)


def merge(graph: OnnxGraph, part: Part, layer: Recurrent, states: list[States]) -> str:
    """The layer's output, (steps, n, k) or (n, k), of one node with one or two directions, or of two with one each."""
    name, sequences = part.name, layer.return_sequences
    outputs = [each.all if sequences else each.last for each in states]
    direction_axis = 1 if sequences else 0
    axis = graph.ints(f"{name}/direction", direction_axis)
    if not isinstance(part.layer, Bidirectional):
        y = graph.node("Squeeze", name, outputs[0], axis)
        return reversed_steps(graph, name, y) if layer.go_backwards and sequences else y
    y = outputs[0] if len(outputs) == 1 else graph.node("Concat", name, *outputs, axis=direction_axis)
    if part.layer.merge_mode == "sum":
        return graph.node("ReduceSum", name, y, axis, keepdims=0)
    if layer.go_backwards:              # the layer's own direction is first
        y = graph.node("Gather", name, y, graph.ints(f"{name}/order", 1, 0), axis=direction_axis)
    y = graph.node("Transpose", name, y, perm=(0, 2, 1, 3) if sequences else (1, 0, 2))
    shape = (0, 0, 2 * layer.units) if sequences else (0, 2 * layer.units)
    return graph.node("Reshape", name, y, graph.ints(f"{name}/shape", *shape))


def reversed_steps(graph: OnnxGraph, name: str, x: str) -> str:
    """The steps of (steps, n, …), each sequence within its own length, from the last to the first."""
    if graph.steps.get(name):
        return graph.node("ReverseSequence", name, x, graph.lengths, time_axis=0, batch_axis=1)
    last, before_first, axis, back = (graph.ints(f"{name}/slice", value) for value in (-1, -2**62, 0, -1))
    return graph.node("Slice", name, x, last, before_first, axis, back)


def scan(
    graph: OnnxGraph, part: Part, x: str, layer: Recurrent, weights: Mapping[str, np.ndarray], backwards: bool,
) -> States:
    """An RNN as a loop, where ONNX's node lacks the activation, in any dtype or in float64: h = f(x_t W + b + h U).

    Past the end of a sequence the state is kept, and the output is 0. For the backward direction the steps are reversed
    before and after the loop: not every runtime supports scan_input_directions.
    """
    name, steps, units = part.name, part.input_shape[0], layer.units
    y = graph.node("MatMul", name, x, graph.numbers(f"{name}.kernel", weights["kernel"]))
    if layer.use_bias:
        y = graph.node("Add", name, y, graph.numbers(f"{name}.bias", weights["bias"]))
    if backwards:
        y = reversed_steps(graph, name, y)
    read = [y]
    if graph.steps.get(name):
        read.append(graph.transpose(name, graph.mask(steps, 3), STEPS_FIRST))
    rows = graph.node("Concat", name, graph.node("Shape", name, x, start=1, end=2),
                      graph.ints(f"{name}/units", units), axis=0)
    start = graph.node("Expand", name, graph.zero(), rows)
    last, states = graph.nodes_outputs("Scan", name, [start, *read], 2, num_scan_inputs=len(read),
                                       body=step(graph, layer, weights["recurrent_kernel"], len(read) > 1))
    if backwards:
        states = reversed_steps(graph, name, states)
    return States(graph.node("Unsqueeze", name, states, graph.ints(f"{name}/axis", 1)),
                  graph.node("Unsqueeze", name, last, graph.ints(f"{name}/axis", 0)))


def step(graph: OnnxGraph, layer: Recurrent, recurrent_kernel: np.ndarray, lengths: bool) -> Any:
    """The graph of one step, (h, x_t) or (h, x_t, whether the step is one of its sequence) -> (h, y_t)."""
    helper = graph.onnx.helper
    body = OnnxGraph(graph.owner, graph.onnx, graph.opset, graph.dtype)
    before, given, valid = (body.unique(each) for each in ("before", "given", "valid"))
    recurrent = body.node("MatMul", "step", before, body.numbers("recurrent_kernel", recurrent_kernel))
    kind = check_activation(type(layer).__name__, layer.activation)         # type: ignore[attr-defined]
    after = activate(body, "step", kind, body.node("Add", "step", given, recurrent))
    y = after
    if lengths:
        after, y = (body.node("Where", "step", valid, after, other) for other in (before, body.zero()))
    values = [helper.make_tensor_value_info(each, graph.float_type, ("n", layer.units)) for each in (before, given)]
    if lengths:
        values.append(helper.make_tensor_value_info(valid, graph.onnx.TensorProto.BOOL, ("n", 1)))
    results = []
    for value in (after, y):
        results.append(body.unique("after"))
        body.nodes.append(helper.make_node("Identity", [value], results[-1:], name=body.unique("step/Identity")))
    outputs = [helper.make_tensor_value_info(each, graph.float_type, ("n", layer.units)) for each in results]
    return helper.make_graph(body.nodes, "step", values, outputs, body.initializers)
