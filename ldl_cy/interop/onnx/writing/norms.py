"""BatchNorm, LayerNorm and Normalization as ONNX nodes."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ldl_cy.interop.onnx.writing.graph import Axes, OnnxGraph, inverse
from ldl_cy.interop.parts import Part
from ldl_cy.layers.normalization import SMALLEST, own_axes


def batch_norm(graph: OnnxGraph, part: Part, x: str) -> str:
    """BatchNormalization where the channels are the second axis already, otherwise a product and a sum.

    Its epsilon is float32, so that a float64 graph has a product and a sum as well.
    """
    layer: Any = part.layer
    name, rank, own = part.name, len(part.input_shape) + 1, part.weights

    def write(xs: list[str], order: Axes) -> str:
        if order[0] == 0 and order[-1] == 1 and graph.dtype == "float32":
            weights = [graph.numbers(f"{name}.{key}", own[key]) for key in ("gamma", "beta", "mean", "variance")]
            return graph.node("BatchNormalization", name, *xs, *weights, epsilon=layer.epsilon)
        exact = {key: value.astype(np.float64) for key, value in own.items()}
        scale = exact["gamma"] / np.sqrt(exact["variance"] + layer.epsilon)
        shift = exact["beta"] - exact["mean"] * scale
        shape = [-1 if axis == order[-1] else 1 for axis in range(rank)]
        y = graph.node("Mul", name, *xs, graph.numbers(f"{name}.scale", placed(scale, shape)))
        return graph.node("Add", name, y, graph.numbers(f"{name}.shift", placed(shift, shape)))

    return graph.elementwise(name, [x], rank, write)


def placed(vector: np.ndarray, shape: list[int]) -> np.ndarray:
    """A vector along one axis of several; unchanged if that is the last one."""
    return vector if shape[-1] == -1 else vector.reshape(shape)


def layer_norm(graph: OnnxGraph, part: Part, x: str) -> str:
    """LayerNormalization where the axes are the last ones, all steps count and epsilon is float32; else its formula."""
    layer: Any = part.layer
    name, rank = part.name, len(part.input_shape) + 1
    axes = tuple(axis + 1 for axis in own_axes(name, layer.axis, part.input_shape))
    within = bool(graph.steps.get(name)) and 1 in axes
    gamma, beta = (part.weights[key] for key in ("gamma", "beta"))
    if graph.dtype == "float32" and not within and axes == tuple(range(axes[0], rank)):
        weights = [graph.numbers(f"{name}.gamma", gamma), graph.numbers(f"{name}.beta", beta)]
        return graph.node("LayerNormalization", name, x, *weights, axis=axes[0], epsilon=layer.epsilon)
    over = graph.ints(f"{name}/axes", *axes)

    def mean(values: str) -> str:
        if not within:
            return graph.node("ReduceMean", name, values, over, keepdims=1)
        # zeros past the ends are in the sum
        lengths = graph.node("Unsqueeze", name, graph.lengths_as("float"), graph.ints(f"{name}/axes", *range(1, rank)))
        others = math.prod(part.input_shape[axis - 1] for axis in axes if axis > 1)
        count = graph.node("Mul", name, lengths, graph.numbers(f"{name}/others", others))
        return graph.node("Div", name, graph.node("ReduceSum", name, values, over, keepdims=1), count)

    centered = graph.node("Sub", name, x, mean(x))
    if within:
        centered = graph.masked(name, centered, part.input_shape[0], rank)
    variance = mean(graph.node("Mul", name, centered, centered))
    variance = graph.node("Add", name, variance, graph.numbers(f"{name}/epsilon", layer.epsilon))
    y = graph.node("Div", name, centered, graph.node("Sqrt", name, variance))
    shape = [size if axis in axes else 1 for axis, size in enumerate(part.input_shape, 1)]
    y = graph.node("Mul", name, y, graph.numbers(f"{name}.gamma", gamma.reshape(shape)))
    return graph.node("Add", name, y, graph.numbers(f"{name}.beta", beta.reshape(shape)))


def normalization(graph: OnnxGraph, part: Part, x: str) -> str:
    """Its formula, with the standard deviation as one constant."""
    layer: Any = part.layer
    name, dtype = part.name, part.weights["mean"].dtype
    axes = () if layer.axis is None else own_axes(name, layer.axis, part.input_shape)
    shape = [size if axis in axes else 1 for axis, size in enumerate(part.input_shape)]
    sigma = np.maximum(np.sqrt(part.weights["variance"].astype(np.float64)), SMALLEST).astype(dtype)

    def write(xs: list[str], order: Axes) -> str:
        def own(values: np.ndarray) -> np.ndarray:
            laid = values.reshape(1, *shape).transpose(inverse(order))
            return laid[0] if order[0] == 0 else laid

        centered = graph.node("Sub", name, *xs, graph.numbers(f"{name}.mean", own(part.weights["mean"])))
        return graph.node("Div", name, centered, graph.numbers(f"{name}.sigma", own(sigma)))

    return graph.elementwise(name, [x], len(shape) + 1, write)
