"""A network as an ONNX model: its layers, its inputs and outputs, and its producer."""
from __future__ import annotations

from typing import Any

import numpy as np

from ldl_cy._version import __version__
from ldl_cy.checks import check_lengths
from ldl_cy.interop.onnx.writing.graph import OnnxGraph
from ldl_cy.interop.onnx.writing.nodes import check_layers, write_layers
from ldl_cy.interop.parts import parts
from ldl_cy.network import Network

IR_VERSION = 10                 # that of 2024, which older runtimes read
MOST_BYTES = 2**31 - 2**24      # of weights: a protobuf message has less than 2 GiB


def write_network(graph: OnnxGraph, network: Network, x: str, lengths: bool) -> str:
    """The network's layers on the value ``x``; returns its output, ValueError if a layer cannot be written."""
    chain = parts(network)
    check_layers(graph.owner, chain)
    size = (network.n_params + network.graph.n_state) * np.dtype(graph.dtype).itemsize
    if size > MOST_BYTES:
        raise ValueError(f"{graph.owner}: weights must take at most {MOST_BYTES} bytes in {graph.dtype}, as in one "
                         f"file of ONNX, got {size}.")
    steps_of: dict[str, int] = {}
    steps = 0
    if lengths:
        steps = network.graph.steps[0]
        check_lengths(graph.owner, [1], 1, steps, network.graph.length_fault)
        graph.lengths = graph.unique("lengths")
        steps_of = {name: network.graph.steps[value] for name, value in network.graph.outputs.items()}
    x = graph.masked("x", x, steps, len(network.input_shape) + 1)
    return write_layers(graph, chain, x, steps, steps_of)


def network_model(graph: OnnxGraph, network: Network, lengths: bool) -> Any:
    """The ModelProto of a network."""
    x, y = graph.unique("x"), graph.unique("y")
    graph.rename(write_network(graph, network, x, lengths), y)
    return finish(graph, {x: (graph.float_type, ("n", *network.input_shape))},
                  {y: (graph.float_type, ("n", *network.output_shape))}, "Sequential")


def finish(graph: OnnxGraph, inputs: dict[str, Any], outputs: dict[str, Any], name: str) -> Any:
    """The ModelProto of a graph; inputs and outputs are by name (type, shape)."""
    helper = graph.onnx.helper
    if graph.lengths:
        inputs = {**inputs, graph.lengths: (graph.onnx.TensorProto.INT64, ("n",))}
    graph.prune([*outputs])
    given, results = ([helper.make_tensor_value_info(key, *value) for key, value in each.items()]
                      for each in (inputs, outputs))
    proto = helper.make_graph(graph.nodes, name, given, results, graph.initializers,
                              doc_string=f"{name}, written by ldl_cy {__version__}.")
    return helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=IR_VERSION, producer_name="ldl_cy",
        producer_version=__version__, doc_string=f"{name}, written by ldl_cy {__version__}.")
