"""Activations as ONNX nodes.

Attributes of nodes are float32: in float64 the functions that have some are written as sums and products.
"""
from __future__ import annotations

import math
from collections.abc import Callable

from ldl_cy.interop.onnx.writing.graph import OnnxGraph

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

# functions that are one node without attributes
NODES = {"relu": "Relu", "softplus": "Softplus", "tanh": "Tanh", "logistic": "Sigmoid", "elu": "Elu", "mish": "Mish",
         "softmax": "Softmax"}
# RNN's nodes have them as a name and two numbers
IN_CELLS = {"identity": ("Affine", 1.0, 0.0), "relu": ("Relu", 0.0, 0.0), "tanh": ("Tanh", 0.0, 0.0),
            "logistic": ("Sigmoid", 0.0, 0.0), "leaky_relu": ("LeakyRelu", 0.01, 0.0), "elu": ("Elu", 1.0, 0.0),
            "softplus": ("Softplus", 0.0, 0.0), "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5)}
EXACT = set(IN_CELLS) - {"leaky_relu", "hard_sigmoid"}          # whose numbers float32 holds


def activate(graph: OnnxGraph, name: str, kind: str, x: str, slope: float = 0.01) -> str:
    """Apply an activation by its canonical name; softmax works along the last axis."""
    if kind == "identity":
        return x
    if kind in NODES:
        return graph.node(NODES[kind], name, x)
    return WRITERS[kind](graph, name, x, slope)


def number(graph: OnnxGraph, value: float) -> str:
    """A constant, once for the whole graph."""
    return graph.once(("number", value), lambda: graph.numbers(f"number_{value:.4g}", value))


def leaky_relu(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    if graph.dtype == "float32":
        return graph.node("LeakyRelu", name, x, alpha=slope)
    return graph.node("PRelu", name, x, number(graph, slope))


def selu(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    """scale (max(x, 0) + alpha elu(min(x, 0)))"""
    if graph.dtype == "float32":
        return graph.node("Selu", name, x)
    below = graph.node("Elu", name, graph.node("Min", name, x, graph.zero()))
    below = graph.node("Mul", name, below, number(graph, SELU_SCALE * SELU_ALPHA))
    above = graph.node("Mul", name, graph.node("Relu", name, x), number(graph, SELU_SCALE))
    return graph.node("Add", name, above, below)


def gelu(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    """x/2 (1 + erf(x / √2))"""
    if graph.opset >= 20 and graph.dtype == "float32":
        return graph.node("Gelu", name, x)
    scaled = graph.node("Mul", name, x, number(graph, math.sqrt(0.5)))
    return half(graph, name, x, graph.node("Erf", name, scaled))


def gelu_tanh(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    """x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))"""
    if graph.opset >= 20 and graph.dtype == "float32":
        return graph.node("Gelu", name, x, approximate="tanh")
    cube = graph.node("Mul", name, graph.node("Mul", name, x, x), x)
    inner = graph.node("Add", name, x, graph.node("Mul", name, cube, number(graph, 0.044715)))
    return half(graph, name, x, graph.node("Tanh", name, graph.node(
        "Mul", name, inner, number(graph, math.sqrt(2 / math.pi)))))


def half(graph: OnnxGraph, name: str, x: str, y: str) -> str:
    """x/2 (1 + y)"""
    return graph.node("Mul", name, graph.node("Mul", name, x, number(graph, 0.5)),
                      graph.node("Add", name, y, number(graph, 1.0)))


def silu(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    return graph.node("Mul", name, x, graph.node("Sigmoid", name, x))


def relu6(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    return graph.node("Clip", name, x, graph.zero(), number(graph, 6.0))


def hard_sigmoid(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    if graph.dtype == "float32":
        return graph.node("HardSigmoid", name, x, alpha=1 / 6, beta=0.5)
    return graph.node("Div", name, relu6(graph, name, graph.node("Add", name, x, number(graph, 3.0)), slope),
                      number(graph, 6.0))


def hard_silu(graph: OnnxGraph, name: str, x: str, slope: float) -> str:
    if graph.dtype == "float32":
        return graph.node("HardSwish", name, x)
    return graph.node("Mul", name, x, hard_sigmoid(graph, name, x, slope))


WRITERS: dict[str, Callable[[OnnxGraph, str, str, float], str]] = {
    "leaky_relu": leaky_relu, "selu": selu, "gelu": gelu, "gelu_tanh": gelu_tanh, "silu": silu, "relu6": relu6,
    "hard_sigmoid": hard_sigmoid, "hard_silu": hard_silu}
