"""Each kind of layer as modules of torch: one function a kind, and the table of them all. Without torch."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ldl_cy import layers as L
from ldl_cy.interop.layouts import Layout, channels_first, channels_last
from ldl_cy.interop.parts import Part, parts
from ldl_cy.interop.torch.steps import OWNER, Step, Writer, own_name
from ldl_cy.interop.torch.weights import (
    Conversion,
    batch_norm,
    bidirectional,
    broadcast,
    category_embedding,
    convolution,
    embedding,
    layer_norm,
    linear,
    prelu,
    recurrent,
)
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.base import Layer
from ldl_cy.layers.recurrent import Recurrent
from ldl_cy.layers.windows import lay_windows, pads, pair
from ldl_cy.messages import listed, shown
from ldl_cy.models import Sequential

NONLINEARITIES = ("tanh", "relu")           # of nn.RNN


def refused(parts: Sequence[Part]) -> list[str]:
    """What has no counterpart, by name."""
    found = []
    for part in parts:
        layer = getattr(part.layer, "layer", part.layer)
        kind = type(part.layer).__name__
        if type(part.layer) not in WRITERS:
            found.append(f"{kind} {part.name!r} has no counterpart")
        elif isinstance(layer, L.RNN) and check_activation(OWNER, layer.activation) not in NONLINEARITIES:
            found.append(f"{kind} {part.name!r} must have activation 'tanh' or 'relu', "
                         f"got {shown(layer.activation)}")
        elif isinstance(layer, L.RNN) and layer.leak != 1:
            found.append(f"{kind} {part.name!r} must have leak 1, got {shown(layer.leak)}")
        for path in part.paths:
            found += refused(path)
    return found


def demanded(parts: Sequence[Part], rank: int) -> tuple[int, ...]:
    """The order of the input's axes: that of the first layer that reads them in one, or channels-first for images."""
    order = _demanded(parts, rank)
    return channels_first(rank) if order == "first" or (not order and rank == 3) else channels_last(rank)


def _demanded(parts: Sequence[Part], rank: int) -> str:
    for part in parts:
        if isinstance(part.layer, (L.Flatten, L.Reshape, L.Permute)):
            return ""
        if part.paths:
            inside = [order for order in (_demanded(path, rank) for path in part.paths) if order]
            if inside:
                return inside[0]
        if isinstance(part.layer, CHANNELS_FIRST):
            return "first"
        if isinstance(part.layer, (L.Dense, L.Bidirectional, Recurrent)):
            return "last"
        if isinstance(part.layer, L.LayerNorm) and norm_axes(part) == (rank - 1,):
            return "last"
    return ""


def steps(model: Any, owner: str = OWNER) -> tuple[tuple[Step, ...], tuple[int, ...]]:
    """The modules of a built model, and the order of the axes of its input there.

    Raises
    ------
    TypeError, ValueError
        It is no model, or one that is not built; layers without a counterpart, all of them named.
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"{owner}: model must be a Sequential, got {type(model).__name__}.")
    network = model.network
    found = parts(network)
    without = refused(found)
    if without:
        raise ValueError(f"{owner}: {listed(without, '; ')}.")
    order = demanded(found, len(network.input_shape))
    writer = Writer(Layout(network.input_shape, order), [own_name(part) for part in found], WRITERS)
    writer.write(found)
    if writer.layout.places is not None:
        writer.arrange(found[-1], writer.layout.order, "_order")
    return tuple(writer.steps), order


# -- one function for each kind of layer ------------------------------------------------------------------


def _dense(w: Writer, part: Part) -> None:
    w.last(part)
    w.add(part, "Linear", linear(w.layout), in_features=part.input_shape[-1], out_features=part.output_shape[-1],
          bias=part.layer.use_bias)             # type: ignore[attr-defined]
    w.layout = Layout.last(part.output_shape)
    w.activate(part)


def _around(part: Part, axes: int, size: Any, strides: Any, dilation: Any) -> tuple[list[tuple[int, int]], bool]:
    """(before, after) of each axis as windows need it, and whether the same on both sides gives as many windows."""
    layer: Any = part.layer
    image = part.input_shape if axes == 2 else (1, *part.input_shape)
    laid = lay_windows(
        OWNER, "a window", image, axes, size, strides, dilation, layer.padding)     # type: ignore[arg-type]
    found, symmetric = [], True
    each = zip(image[:2], laid["kernel"], laid["strides"], pair(dilation, axes), laid["padding"], laid["output"])
    for n, k, s, d, before, count in list(each)[-axes:]:
        reach = (k - 1) * d + 1
        found.append((before, max(0, (count - 1) * s + reach - n - before)))
        symmetric = symmetric and (n + 2 * before - reach) // s + 1 == count
    return found, symmetric


def _sides(around: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """(before, after) of each axis as torch has it, which begins with the last one."""
    return tuple(count for both in reversed(around) for count in both)


def _conv(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    axes = layer.axes
    w.first(part)
    around, symmetric = _around(part, axes, layer.kernel_size, layer.strides, layer.dilation_rate)
    if not symmetric:
        w.add(part, f"ZeroPad{axes}d", suffix="_padding", padding=_sides(around))
    w.add(part, f"Conv{axes}d", convolution(axes), in_channels=part.input_shape[-1], out_channels=layer.filters,
          kernel_size=layer.kernel_size, stride=layer.strides, dilation=layer.dilation_rate, groups=layer.groups,
          padding=tuple(before for before, _ in around) if symmetric else 0, bias=layer.use_bias)
    w.becomes(part)
    w.activate(part)


def _pool(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    axes = layer.axes
    kind = "MaxPool" if layer.kind == "max" else "AvgPool"
    strides = layer.pool_size if layer.strides is None else layer.strides
    w.first(part)
    around, symmetric = _around(part, axes, layer.pool_size, strides, 1)
    sizes = pair(layer.pool_size, axes)[-axes:]
    settings = {"kernel_size": layer.pool_size, "stride": strides}
    if symmetric and all(before <= size // 2 for (before, _), size in zip(around, sizes)):
        settings["padding"] = tuple(before for before, _ in around)
        if kind == "AvgPool":
            settings["count_include_pad"] = False
        w.add(part, f"{kind}{axes}d", **settings)
    else:
        w.add(part, f"Padded{kind}", **settings, around=tuple(around))
    w.becomes(part)


def _global_pool(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    w.first(part)
    w.add(part, f"Adaptive{'Max' if layer.kind == 'max' else 'Avg'}Pool{layer.axes}d", output_size=1)
    w.add(part, "Flatten", suffix="_flatten")
    w.layout = Layout.last(part.output_shape)


def _batch_norm(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    w.first(part)
    kind = {1: "BatchNorm1d", 2: "BatchNorm1d", 3: "BatchNorm2d", 4: "BatchNorm3d"}.get(w.layout.rank, "BatchNormNd")
    w.add(part, kind, batch_norm(w.layout), num_features=part.input_shape[-1], eps=layer.epsilon,
          momentum=1 - layer.momentum)


def norm_axes(part: Part) -> tuple[int, ...]:
    """The axes of a LayerNorm or Normalization, counted from 0 without the batch axis, in their order."""
    axis: Any = part.layer.axis      # type: ignore[attr-defined]
    given = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(each + len(part.input_shape) if each < 0 else each - 1 for each in given))


def _layer_norm(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    axes, before = norm_axes(part), w.layout
    count = len(axes)
    if set(before.order[-count:]) != set(axes):
        if set(channels_last(before.rank)[-count:]) == set(axes):
            w.last(part)
        else:
            w.arrange(part, (*(a for a in range(before.rank) if a not in axes), *axes))
    w.add(part, "LayerNorm", layer_norm(w.layout, count), normalized_shape=w.layout.theirs[-count:], eps=layer.epsilon)
    if w.layout.order not in (before.order, channels_last(before.rank)):
        w.arrange(part, before.order, "_back")


def _prelu(w: Writer, part: Part) -> None:
    slopes = part.weights["alpha"].shape
    if slopes[:-1].count(1) == len(slopes) - 1 and slopes[-1] in (1, part.input_shape[-1]):
        if slopes[-1] > 1:
            w.first(part)
        layout = w.layout if slopes[-1] > 1 else Layout.last((1,))
        w.add(part, "PReLU", prelu(layout, slopes), num_parameters=slopes[-1])
    else:
        theirs = tuple(slopes[axis] for axis in w.layout.order)
        w.add(part, "Slopes", broadcast(w.layout, {"weight": "alpha"}), shape=theirs)


def _normalization(w: Writer, part: Part) -> None:
    axes = norm_axes(part)
    shape = tuple(n if axis in axes else 1 for axis, n in enumerate(part.input_shape))
    layout = w.layout if axes else Layout(shape, w.layout.order)
    whole = broadcast(layout, {key: key for key in part.weights})
    shapes = {key: value.shape for key, value in part.weights.items()}
    conversion = Conversion(
        lambda weights: whole.to_theirs({key: value.reshape(shape) for key, value in weights.items()}),
        lambda arrays: {key: value.reshape(shapes[key]) for key, value in whole.to_ours(arrays).items()})
    w.add(part, "Normalization", conversion, shape=tuple(shape[axis] for axis in layout.order))


def _embedding(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    w.arrange(part, w.layout.order)             # a vector's numbers
    w.add(part, "Embedding", embedding(), num_embeddings=layer.input_dim, embedding_dim=layer.output_dim)
    w.layout = Layout(part.output_shape, (*w.layout.order, w.layout.rank))


def _category_embedding(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    w.arrange(part, w.layout.order)
    names = layer.column_names()
    sizes = [part.weights[f"{name}.table"].shape for name in names]
    w.add(part, "CategoryEmbedding", category_embedding(names), n_in=part.input_shape[0], places=layer.places,
          input_dims=[size for size, _ in sizes], output_dims=[k for _, k in sizes], names=names)
    w.layout = Layout.last(part.output_shape)


def _recurrent(w: Writer, part: Part) -> None:
    inner: Any = getattr(part.layer, "layer", part.layer)
    kind = type(inner).__name__
    both = inner is not part.layer
    w.last(part)
    settings: dict[str, Any] = {"nonlinearity": check_activation(OWNER, inner.activation)} if kind == "RNN" else {}
    if both:
        settings |= {"bidirectional": True, "merge_mode": part.layer.merge_mode}    # type: ignore[attr-defined]
    w.add(part, f"Plain{kind}", bidirectional(kind) if both else recurrent(kind), input_size=part.input_shape[-1],
          hidden_size=inner.units, bias=inner.use_bias, return_sequences=inner.return_sequences,
          go_backwards=inner.go_backwards, **settings)
    w.layout = Layout.last(part.output_shape)


def _flatten(w: Writer, part: Part) -> None:
    w.add(part, "Flatten")
    w.layout = w.layout.flattened()


def _reshape(w: Writer, part: Part) -> None:
    rank = len(part.output_shape)
    if rank == 1:
        w.add(part, "Flatten")
        w.layout = w.layout.flattened()
        return
    first = Layout(part.output_shape, channels_first(rank))
    own = w.layout
    if (rank == 3 or own.order != channels_last(own.rank) or own.places is not None) and own.same_numbers(first):
        w.layout = first
    else:
        w.arrange(part, channels_last(own.rank))
        w.layout = Layout.last(part.output_shape)
    w.add(part, "Reshape", shape=w.layout.theirs, order=w.layout.order)


def _permute(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    w.arrange(part, w.layout.order)
    axes = tuple(w.layout.order.index(axis - 1) for axis in layer.dims)
    w.add(part, "Permute", axes=axes)
    w.layout = Layout.last(part.output_shape)


def _zero_padding(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    w.first(part)
    w.add(part, f"ZeroPad{layer.axes}d", padding=_sides(pads(layer.padding, layer.axes)))
    w.becomes(part)


def _up_sampling(w: Writer, part: Part) -> None:
    layer: Any = part.layer
    w.first(part)
    factors = tuple(map(float, pair(layer.size, layer.axes)[-layer.axes:]))
    w.add(part, "Upsample", scale_factor=factors, mode="nearest-exact")
    w.becomes(part)


def _branches(w: Writer, part: Part) -> None:
    writers = [Writer(w.layout, [own_name(inner) for inner in path], w.writers) for path in part.paths]
    for writer, path in zip(writers, part.paths):
        writer.write(path)
    layouts = [writer.layout for writer in writers]
    kind, settings = type(part.layer).__name__, {}
    if len(part.output_shape) == 1 and kind == "Concatenate":
        places = np.concatenate([layout.numbering() + start for layout, start in zip(
            layouts, np.cumsum([0, *(layout.shape[0] for layout in layouts)]))])
        w.layout = Layout(part.output_shape, (0,), places).flattened()._replace(origin=None)
        settings["dim"] = 1
    else:
        same = all(layout.shape == layouts[0].shape and layout.same_numbers(layouts[0]) for layout in layouts)
        if len(part.output_shape) != 1 or not same:
            for writer, path in zip(writers, part.paths):
                writer.arrange(path[-1] if path else part, layouts[0].order)
        w.layout = writers[0].layout._replace(shape=part.output_shape)
        if kind == "Concatenate":
            settings["dim"] = 1 + w.layout.order.index(w.layout.rank - 1)
    w.steps.append(Step(own_name(part), kind, settings, {}, paths=tuple(tuple(writer.steps) for writer in writers)))


CHANNELS_FIRST: tuple[type[Layer], ...] = (
    L.Conv1D, L.Conv2D, L.MaxPool1D, L.MaxPool2D, L.AvgPool1D, L.AvgPool2D, L.GlobalMaxPool1D, L.GlobalMaxPool2D,
    L.GlobalAvgPool1D, L.GlobalAvgPool2D, L.BatchNorm, L.ZeroPadding1D, L.ZeroPadding2D, L.UpSampling1D,
    L.UpSampling2D)
WRITERS: dict[type[Layer], Callable[[Writer, Part], None]] = {
    L.Dense: _dense, L.Conv1D: _conv, L.Conv2D: _conv, L.BatchNorm: _batch_norm, L.LayerNorm: _layer_norm,
    L.MaxPool1D: _pool, L.MaxPool2D: _pool, L.AvgPool1D: _pool, L.AvgPool2D: _pool,
    L.GlobalMaxPool1D: _global_pool, L.GlobalMaxPool2D: _global_pool, L.GlobalAvgPool1D: _global_pool,
    L.GlobalAvgPool2D: _global_pool, L.PReLU: _prelu, L.Embedding: _embedding, L.RNN: _recurrent, L.LSTM: _recurrent,
    L.GRU: _recurrent, L.Bidirectional: _recurrent, L.Flatten: _flatten, L.Reshape: _reshape,
    L.ZeroPadding1D: _zero_padding, L.ZeroPadding2D: _zero_padding, L.Permute: _permute,
    L.Normalization: _normalization, L.CategoryEmbedding: _category_embedding, L.UpSampling1D: _up_sampling,
    L.UpSampling2D: _up_sampling,
    L.Activation: lambda w, part: w.activate(part, ""),
    L.Dropout: lambda w, part: w.add(part, "Dropout", p=part.layer.rate),    # type: ignore[attr-defined]
    **dict.fromkeys((L.GaussianNoise, L.RandomFlip, L.RandomTranslation), lambda w, part: w.add(part, "Identity")),
    L.Add: _branches, L.Concatenate: _branches, L.Multiply: _branches,
}
