"""Convolution and pooling as ONNX nodes: channels-first, with explicit pads.

The padding after an axis is what the last window needs, which may be less than the layer's setting: cells that no
window covers are left out by ONNX too.
"""
from __future__ import annotations

from typing import Any

from ldl_cy.interop.onnx.writing.activations import activate
from ldl_cy.interop.onnx.writing.graph import Axes, OnnxGraph, channels_first, inverse
from ldl_cy.interop.parts import Part
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.windows import image_shape, lay_windows, pads, pair


def geometry(part: Part, size: Any, strides: Any, dilation: Any) -> dict[str, list[int]]:
    """The attributes kernel_shape, strides, dilations and pads of a layer's windows."""
    layer, owner = part.layer, type(part.layer).__name__
    axes: int = layer.axes              # type: ignore[attr-defined]
    windows = lay_windows(owner, "kernel_size", image_shape(owner, part.input_shape, axes), axes, size, strides,
                          dilation, layer.padding)      # type: ignore[attr-defined]
    kernel, steps, before, output = (windows[key][2 - axes:] for key in ("kernel", "strides", "padding", "output"))
    dilations = pair(dilation, axes)[2 - axes:]
    after = [max(0, (out - 1) * step + (k - 1) * d + 1 - n - first) for n, k, step, d, first, out in zip(
        part.input_shape, kernel, steps, dilations, before, output)]
    return {"kernel_shape": list(kernel), "strides": list(steps), "dilations": list(dilations),
            "pads": [*before, *after]}


def convolution(graph: OnnxGraph, part: Part, x: str) -> str:
    layer: Any = part.layer
    name, rank = part.name, len(part.input_shape) + 1
    order = channels_first(rank)
    kernel = part.weights["kernel"]
    weights = [graph.numbers(f"{name}.kernel", kernel.transpose(rank - 1, rank - 2, *range(rank - 2)))]
    if layer.use_bias:
        weights.append(graph.numbers(f"{name}.bias", part.weights["bias"]))
    y = graph.node("Conv", name, graph.transpose(name, x, order), *weights, group=layer.groups,
                   **geometry(part, layer.kernel_size, layer.strides, layer.dilation_rate))
    kind = check_activation(name, layer.activation)
    if kind == "softmax":               # along the channels, which are last afterwards
        return activate(graph, name, kind, graph.transpose(name, y, inverse(order)))
    return graph.transpose(name, activate(graph, name, kind, y), inverse(order))


def pooling(graph: OnnxGraph, part: Part, x: str) -> str:
    layer: Any = part.layer
    name, rank = part.name, len(part.input_shape) + 1
    settings = geometry(part, layer.pool_size, layer.pool_size if layer.strides is None else layer.strides, 1)
    if graph.steps.get(name) and layer.axes == 1:
        y = pooling_within(graph, part, x, settings)
    elif layer.kind == "max":
        y = graph.node("MaxPool", name, graph.transpose(name, x, channels_first(rank)), **settings)
    else:
        y = average(graph, name, graph.transpose(name, x, channels_first(rank)), settings, 0)
    return graph.transpose(name, y, inverse(channels_first(rank)))


def zero_padding(graph: OnnxGraph, part: Part, x: str) -> str:
    layer: Any = part.layer
    name, rank = part.name, len(part.input_shape) + 1
    around = [(0, 0), *pads(layer.padding, layer.axes), (0, 0)]

    def write(xs: list[str], order: Axes) -> str:
        placed = [around[axis] for axis in inverse(order)]
        sizes = graph.ints(f"{name}/pads", *(before for before, _ in placed), *(after for _, after in placed))
        return graph.node("Pad", name, *xs, sizes)

    return graph.elementwise(name, [x], rank, write)


def average(graph: OnnxGraph, name: str, x: str, settings: dict[str, list[int]], count_include_pad: int) -> str:
    """AveragePool; before opset 19 it has no dilations."""
    own = {key: value for key, value in settings.items() if key != "dilations"}
    return graph.node("AveragePool", name, x, count_include_pad=count_include_pad, **own)


def pooling_within(graph: OnnxGraph, part: Part, x: str, settings: dict[str, list[int]]) -> str:
    """Pooling of (n, steps, channels) that leaves out the steps past the end of a sequence; windows of these are 0.

    The mean is that of all cells of the window, with zeros past the end, divided by the share of valid cells.
    """
    layer: Any = part.layer
    name, steps = part.name, part.input_shape[0]
    first = channels_first(3)
    inside = graph.node("Cast", name, graph.mask(steps, 3), to=graph.float_type)
    inside = graph.transpose(name, inside, first)
    if layer.kind == "mean":
        share = average(graph, name, inside, settings, 1)
        total = average(graph, name, graph.transpose(name, x, first), settings, 1)
        least = graph.numbers(f"{name}/least", 0.5 / settings["kernel_shape"][0])       # less than any share but 0
        return graph.node("Div", name, total, graph.node("Max", name, share, least))
    lowest = graph.lowest()
    x = graph.masked(name, x, steps, 3, lowest)
    y = graph.node("MaxPool", name, graph.transpose(name, x, first), **settings)
    any_inside = graph.node("Greater", name, graph.node("MaxPool", name, inside, **settings), graph.zero())
    return graph.node("Where", name, any_inside, y, graph.zero())


def global_pooling(graph: OnnxGraph, part: Part, x: str) -> str:
    layer: Any = part.layer
    name, rank = part.name, len(part.input_shape) + 1
    within = bool(graph.steps.get(name)) and layer.axes == 1
    if within and layer.kind == "max":
        lowest = graph.lowest()
        x = graph.masked(name, x, part.input_shape[0], rank, lowest)
    order = graph.order(x, rank)
    if order[0] > order[-1]:
        order = tuple(range(rank))
    source = graph.transpose(name, x, inverse(order))
    axes = graph.ints(f"{name}/axes", *sorted(order[1:-1]))
    op = "ReduceMax" if layer.kind == "max" else "ReduceSum" if within else "ReduceMean"
    y = graph.node(op, name, source, axes, keepdims=0)
    if within and layer.kind == "mean":         # zeros past the ends are in the sum
        lengths = graph.node("Unsqueeze", name, graph.lengths_as("float"), graph.ints(f"{name}/axis", 1))
        y = graph.node("Div", name, y, lengths)
    return y


def up_sampling(graph: OnnxGraph, part: Part, x: str) -> str:
    """y[i] = x[floor(i / scale)] along each axis, in whichever order the axes are."""
    layer: Any = part.layer
    scales = (1, *pair(layer.size, layer.axes)[-layer.axes:], 1)

    def write(xs: list[str], order: Axes) -> str:
        there = graph.floats(f"{part.name}/scales", *(scales[order.index(axis)] for axis in range(len(order))))
        return graph.node("Resize", part.name, xs[0], "", there, mode="nearest", nearest_mode="floor",
                          coordinate_transformation_mode="asymmetric")

    return graph.elementwise(part.name, [x], len(scales), write)
