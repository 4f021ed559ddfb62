"""Layers as ONNX nodes: which function writes which layer, and those of the simple ones."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.writing.activations import activate
from ldl_cy.interop.onnx.writing.graph import Axes, OnnxGraph, inverse
from ldl_cy.interop.onnx.writing.norms import batch_norm, layer_norm, normalization
from ldl_cy.interop.onnx.writing.recurrent import recurrent
from ldl_cy.interop.onnx.writing.windows import (
    convolution,
    global_pooling,
    pooling,
    up_sampling,
    zero_padding,
)
from ldl_cy.interop.parts import Part
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.category_embedding import mean_row
from ldl_cy.messages import shown


def write_layers(graph: OnnxGraph, chain: Sequence[Part], x: str, steps: int, steps_of: Mapping[str, int]) -> str:
    """Write layers one after the other; returns the value of the last one's output.

    Parameters
    ----------
    graph : OnnxGraph
    chain : sequence of Part, which ``check_layers`` has accepted
    x : str
        The value that the first one reads.
    steps : int
        Its steps, if lengths apply to them, and zeros are past the ends; else 0.
    steps_of : mapping of names of layers to the steps of their outputs
    """
    for part in chain:
        graph.steps[part.name] = steps
        if part.paths:
            values = [write_layers(graph, path, x, steps, steps_of) for path in part.paths]
            x = join(graph, part, values)
        else:
            x = WRITERS[type(part.layer)](graph, part, x)
        after = steps_of.get(part.name, 0)
        if type(part.layer) not in KEEP_ZEROS:
            x = graph.masked(part.name, x, after, len(part.output_shape) + 1)
        steps = after
    return x


def check_layers(owner: str, chain: Sequence[Part]) -> None:
    """Refuse a layer without a counterpart by its name."""
    for part in every(chain):
        if type(part.layer) not in WRITERS and not part.paths:
            known = ", ".join(sorted(kind.__name__ for kind in WRITERS))
            raise ValueError(f"{owner}: layers must be of {known} or branches of them, got "
                             f"{type(part.layer).__name__} {part.name!r}, which has no counterpart in ONNX.")
        if part.paths and type(part.layer) not in JOINS:
            raise ValueError(f"{owner}: branches must be {', '.join(kind.__name__ for kind in JOINS)}, got "
                             f"{type(part.layer).__name__} {part.name!r}, which has no counterpart in ONNX.")
        layer = getattr(part.layer, "layer", part.layer)
        if isinstance(layer, layers.RNN) and layer.leak != 1:
            raise ValueError(f"{owner}: {type(part.layer).__name__} {part.name!r} must have leak 1, "
                             f"got {shown(layer.leak)}.")


def every(chain: Sequence[Part]) -> Iterator[Part]:
    """The layers of a chain and those within its branches."""
    for part in chain:
        yield part
        for path in part.paths:
            yield from every(path)


def join(graph: OnnxGraph, part: Part, values: list[str]) -> str:
    """The sum, the product or the concatenation of the outputs of paths."""
    kind = JOINS[type(part.layer)]

    def write(sources: list[str], order: Axes) -> str:
        if kind == "Concat":
            return graph.node(kind, part.name, *sources, axis=order[-1])
        if kind == "Add" and len(sources) > 2:
            return graph.node("Sum", part.name, *sources)
        y = sources[0]
        for other in sources[1:]:
            y = graph.node(kind, part.name, y, other)
        return y

    return graph.elementwise(part.name, values, len(part.output_shape) + 1, write)


def activation(graph: OnnxGraph, part: Part, x: str) -> str:
    layer: Any = part.layer
    return activated(graph, part, x, layer.activation, layer.negative_slope)


def activated(graph: OnnxGraph, part: Part, x: str, activation: str | None, slope: float = 0.01) -> str:
    """An activation of a value with the shape of the layer's output."""
    kind, rank = check_activation(part.name, activation), len(part.output_shape) + 1
    if kind == "softmax":
        if rank == 1:                   # of one number
            column = graph.node("Unsqueeze", part.name, x, graph.ints(f"{part.name}/axis", 1))
            return graph.node("Squeeze", part.name, activate(graph, part.name, kind, column),
                              graph.ints(f"{part.name}/axis", 1))
        return activate(graph, part.name, kind, x)
    return graph.elementwise(part.name, [x], rank, lambda xs, order: activate(graph, part.name, kind, xs[0], slope))


def dense(graph: OnnxGraph, part: Part, x: str) -> str:
    layer: Any = part.layer
    y = graph.node("MatMul", part.name, x, graph.numbers(f"{part.name}.kernel", part.weights["kernel"]))
    if layer.use_bias:
        y = graph.node("Add", part.name, y, graph.numbers(f"{part.name}.bias", part.weights["bias"]))
    return activated(graph, part, y, layer.activation)


def embedding(graph: OnnxGraph, part: Part, x: str) -> str:
    ids = graph.node("Cast", part.name, x, to=graph.onnx.TensorProto.INT64)
    return graph.node("Gather", part.name, graph.numbers(f"{part.name}.table", part.weights["table"]), ids)


def category_embedding(graph: OnnxGraph, part: Part, x: str) -> str:
    """The columns of numbers, and beside them a row of each table, whose last one is that of unknown categories."""
    layer: Any = part.layer
    numbers = [i for i in range(part.input_shape[0]) if i not in set(layer.places)]
    found = []
    if numbers:
        found.append(graph.node("Gather", part.name, x, graph.ints(f"{part.name}/numbers", *numbers), axis=1))
    for name, place in zip(layer.column_names(), layer.places):
        table, counts = part.weights[f"{name}.table"], part.weights[f"{name}.counts"]
        rows = graph.numbers(f"{part.name}.{name}.table", np.vstack([table, mean_row(table, counts)]))
        column = graph.node("Gather", part.name, x, graph.labels(f"{part.name}/place", np.array(place)), axis=1)
        ids = graph.node("Cast", part.name, column, to=graph.onnx.TensorProto.INT64)
        found.append(graph.node("Gather", part.name, rows, ids))
    return graph.node("Concat", part.name, *found, axis=1) if len(found) > 1 else found[0]


def prelu(graph: OnnxGraph, part: Part, x: str) -> str:
    alpha, rank = part.weights["alpha"], len(part.input_shape) + 1

    def write(xs: list[str], order: Axes) -> str:
        slopes = alpha[None].transpose(inverse(order))
        own = graph.numbers(f"{part.name}.alpha", slopes[0] if order[0] == 0 else slopes)
        return graph.node("PRelu", part.name, *xs, own)

    return graph.elementwise(part.name, [x], rank, write)


def reshape(graph: OnnxGraph, part: Part, x: str) -> str:
    if part.input_shape == part.output_shape:
        return x
    if len(part.output_shape) == 1:
        return graph.node("Flatten", part.name, x, axis=1)
    if not part.input_shape:            # 0 would be the batch axis
        return graph.node("Reshape", part.name, x, graph.ints(f"{part.name}/shape", -1, *part.output_shape))
    return graph.node("Reshape", part.name, x, graph.ints(f"{part.name}/shape", 0, *part.output_shape))


def permute(graph: OnnxGraph, part: Part, x: str) -> str:
    layer: Any = part.layer
    return graph.transpose(part.name, x, (0, *layer.dims))


def unchanged(graph: OnnxGraph, part: Part, x: str) -> str:
    """Layers that act only in training."""
    return x


Writer = Callable[[OnnxGraph, Part, str], str]
WRITERS: dict[type[layers.Layer], Writer] = {
    layers.Activation: activation, layers.BatchNorm: batch_norm, layers.Bidirectional: recurrent,
    layers.CategoryEmbedding: category_embedding, layers.Dense: dense, layers.Dropout: unchanged,
    layers.Embedding: embedding, layers.Flatten: reshape, layers.GaussianNoise: unchanged,
    layers.RandomFlip: unchanged, layers.RandomTranslation: unchanged,
    layers.LayerNorm: layer_norm, layers.Normalization: normalization, layers.PReLU: prelu, layers.Permute: permute,
    layers.Reshape: reshape,
    **dict.fromkeys((layers.Conv1D, layers.Conv2D), convolution),
    **dict.fromkeys((layers.RNN, layers.LSTM, layers.GRU), recurrent),
    **dict.fromkeys((layers.ZeroPadding1D, layers.ZeroPadding2D), zero_padding),
    **dict.fromkeys((layers.UpSampling1D, layers.UpSampling2D), up_sampling),
    **dict.fromkeys((layers.MaxPool1D, layers.MaxPool2D, layers.AvgPool1D, layers.AvgPool2D), pooling),
    **dict.fromkeys((layers.GlobalMaxPool1D, layers.GlobalMaxPool2D, layers.GlobalAvgPool1D, layers.GlobalAvgPool2D),
                    global_pooling)}
JOINS: dict[type[layers.Layer], str] = {layers.Add: "Add", layers.Concatenate: "Concat", layers.Multiply: "Mul"}
# layers whose output is zero past the ends of sequences, as their input is
KEEP_ZEROS = {*JOINS, layers.Dropout, layers.Flatten, layers.GaussianNoise, layers.Permute, layers.RandomFlip,
              layers.RandomTranslation, layers.Reshape}
