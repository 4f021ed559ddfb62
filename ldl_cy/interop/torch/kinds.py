"""Each kind of module of torch.nn as layers here: one function a kind, and the table of them all."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ldl_cy import layers as L
from ldl_cy.interop.assembly import branch
from ldl_cy.interop.layouts import Layout, channels_first, channels_last
from ldl_cy.interop.torch.reader import OWN, Kind, Reader, arrays_of, paths_of
from ldl_cy.interop.torch.steps import ACTIVATIONS
from ldl_cy.interop.torch.weights import (
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
from ldl_cy.messages import shown


def kind_of(module: Any) -> Kind | None:
    """The entry of a module's own class; subclasses may compute anything."""
    cls = type(module)
    return KINDS.get(cls.__name__) if cls.__module__.startswith("torch.nn.modules.") or cls.__module__ == OWN else None


def _linear(r: Reader, path: str, m: Any) -> None:
    if r.layout.theirs[-1] != m.in_features:
        raise r.error(f"must have an input of {m.in_features} features, got {r.layout.theirs}")
    r.last()
    r.convert(L.Dense(m.out_features, use_bias=m.bias is not None, name=r.name(path)), linear(r.layout), m)
    r.layout = Layout.last((*r.layout.shape[:-1], m.out_features))


def with_channels(rank: int, axis: int) -> tuple[int, ...]:
    """The order in which this axis there is our last one."""
    return (*range(axis), rank - 1, *range(axis, rank - 1))


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes


def _setting(value: Any, axes: int) -> Any:
    """A setting of windows as our layers take it."""
    sizes = _each(value, axes)
    return sizes[0] if axes == 1 or len(set(sizes)) == 1 else sizes


def _conv(axes: int, r: Reader, path: str, m: Any) -> None:
    r.first(axes + 1)
    padding = m.padding if isinstance(m.padding, str) else _setting(m.padding, axes)
    layer = (L.Conv1D if axes == 1 else L.Conv2D)(
        m.out_channels, _setting(m.kernel_size, axes), _setting(m.stride, axes), padding, _setting(m.dilation, axes),
        m.groups, use_bias=m.bias is not None, name=r.name(path))
    r.convert(layer, convolution(axes), m)
    r.output()


def _pool(axes: int, kind: str, r: Reader, path: str, m: Any) -> None:
    r.first(axes + 1)
    sizes, strides, pads = (_each(v, axes) for v in (m.kernel_size, m.stride, m.padding))
    around = []
    for n, k, s, p in zip(r.layout.shape, sizes, strides, pads):
        after = p
        if m.ceil_mode:         # one more window, if it begins in the input or before it
            count = -(-(n + 2 * p - k) // s) + 1
            count -= (count - 1) * s >= n + p
            after = max(0, (count - 1) * s + k - n - p)
        around.append((p, after))
    if kind == "Avg" and m.count_include_pad and any(pads):         # zeros that are part of the mean
        _pad(axes, r, None, [(p, p) for p in pads])
        around = [(0, max(0, after - before)) for before, after in around]
    _add_pool(axes, kind, r, path, (sizes, strides), around)


def _add_pool(
    axes: int, kind: str, r: Reader, path: str, windows: tuple[Sequence[int], Sequence[int]],
    around: Sequence[tuple[int, int]],
) -> None:
    padding: Any = tuple(around)
    if all(before == after for before, after in around):
        padding = _setting(tuple(before for before, _ in around), axes)
    elif axes == 1:
        padding = padding[0]
    sizes, strides = (_setting(tuple(v), axes) for v in windows)
    r.add(getattr(L, f"{kind}Pool{axes}D")(sizes, strides, padding, name=r.name(path)))
    r.output()


def _padded_pool(kind: str, r: Reader, path: str, m: Any) -> None:
    axes = len(m.around)
    r.first(axes + 1)
    _add_pool(axes, kind, r, path, (_each(m.kernel_size, axes), _each(m.stride, axes)), m.around)


def _adaptive_pool(axes: int, kind: str, r: Reader, path: str, m: Any) -> None:
    r.first(axes + 1)
    *sizes, channels = r.layout.shape
    given = _each(m.output_size, axes)
    wanted = [n if size is None else size for size, n in zip(given, sizes)]
    if any(n % size for size, n in zip(wanted, sizes)):
        raise r.error(f"must have an output_size that divides the input's {tuple(sizes)}, got {shown(m.output_size)}")
    if set(wanted) == {1}:
        r.add(getattr(L, f"Global{kind}Pool{axes}D")(name=r.name(path)))
        r.layout = Layout.last((channels,))
        r.reshape((channels, *wanted), prefer=channels_first(axes + 1))
    else:
        windows = [n // size for size, n in zip(wanted, sizes)]
        if set(windows) != {1}:
            _add_pool(axes, kind, r, path, (windows, windows), [(0, 0)] * axes)


def _batch_norm(r: Reader, path: str, m: Any) -> None:
    if m.momentum is None:
        raise r.error("must have a number as its momentum, got None")
    r.first(r.layout.rank)
    r.convert(L.BatchNorm(1 - m.momentum, m.eps, name=r.name(path)), batch_norm(r.layout), m)


def _layer_norm(r: Reader, path: str, m: Any) -> None:
    count = len(m.normalized_shape)
    if r.layout.theirs[-count:] != tuple(m.normalized_shape):
        raise r.error(f"must have normalized_shape as the input's last axes {r.layout.theirs[-count:]}, "
                      f"got {tuple(m.normalized_shape)}")
    axes = sorted(r.layout.order[-count:])
    own = -1 if axes == [r.layout.rank - 1] else tuple(axis + 1 for axis in axes)
    layer = L.LayerNorm(m.eps, own, name=r.name(path))
    one = np.ones(m.normalized_shape, np.float32)
    arrays = {"weight": one, "bias": 0 * one, **arrays_of(m)}
    r.add(layer, layer_norm(r.layout, count).to_ours(arrays))


def _prelu(r: Reader, path: str, m: Any) -> None:
    count, rank = m.num_parameters, r.layout.rank
    if count == 1:
        axes, layout = tuple(range(1, rank + 1)), Layout.last((1,))
    else:
        r.first(rank)
        axes, layout = tuple(range(1, rank)), r.layout
    shape = (*(1,) * (rank - 1), count)
    r.convert(L.PReLU(axes or None, name=r.name(path)), prelu(layout, shape), m)


def _slopes(r: Reader, path: str, m: Any) -> None:
    conversion = broadcast(r.layout, {"weight": "alpha"})
    shape = conversion.to_ours(arrays_of(m))["alpha"].shape
    shared = tuple(axis for axis, (n, size) in enumerate(zip(shape, r.layout.shape), 1) if n < size)
    r.convert(L.PReLU(shared or None, name=r.name(path)), conversion, m)


def _normalization(r: Reader, path: str, m: Any) -> None:
    arrays = arrays_of(m)
    layout = r.layout if arrays["mean"].size > 1 else Layout(r.layout.shape, r.layout.order)
    whole = broadcast(layout, {key: key for key in arrays}).to_ours(arrays)
    axes = tuple(axis for axis, n in enumerate(whole["mean"].shape, 1) if n > 1)
    weights = {key: value.squeeze() for key, value in whole.items()}
    mean, variance = (weights[key].tolist() for key in ("mean", "variance"))
    r.add(L.Normalization(mean, variance, axes or None, name=r.name(path)), weights)


def _embedding(r: Reader, path: str, m: Any) -> None:
    if r.layout.places is not None:
        r.same()
    r.convert(L.Embedding(m.num_embeddings, m.embedding_dim, name=r.name(path)), embedding(), m)
    r.layout = Layout((*r.layout.shape, m.embedding_dim), (*r.layout.order, r.layout.rank))
    r.natural = channels_last(r.layout.rank)


def _category_embedding(r: Reader, path: str, m: Any) -> None:
    sizes = [getattr(m, f"table_{i}").shape for i in range(len(m.places))]
    layer = L.CategoryEmbedding(m.places, [size for size, _ in sizes], [k for _, k in sizes], names=m.names,
                                name=r.name(path))
    r.same()
    r.convert(layer, category_embedding(m.names), m)
    r.layout = Layout.last((len(m.numbers) + sum(k for _, k in sizes),))


def _recurrent(r: Reader, path: str, m: Any) -> None:
    kind = type(m).__name__.removeprefix("Plain")
    plain = kind != type(m).__name__
    if r.layout.rank != 2:
        raise r.error(f"must have an input (time, features), got {r.layout.theirs}")
    r.last()
    options: dict[str, Any] = {"use_bias": m.bias, "return_sequences": True}
    if plain:
        options |= {"return_sequences": m.return_sequences, "go_backwards": m.go_backwards}
    if kind == "RNN":
        options["activation"] = m.nonlinearity
    arrays, name = arrays_of(m), r.name(path)
    for i in range(m.num_layers):
        own = name if m.num_layers == 1 or name is None else f"{name}_l{i}"
        weights = {key.replace(f"_l{i}", "_l0"): value for key, value in arrays.items()
                   if key.removesuffix("_reverse").endswith(f"_l{i}")}
        inner = getattr(L, kind)(m.hidden_size, **options, name=None if m.bidirectional else own)
        layer = L.Bidirectional(inner, m.merge_mode if plain else "concat", name=own) if m.bidirectional else inner
        r.add(layer, (bidirectional(kind) if m.bidirectional else recurrent(kind)).to_ours(weights))
        if m.dropout and i < m.num_layers - 1:
            r.add(L.Dropout(m.dropout))
    width = m.hidden_size * (2 if m.bidirectional and (not plain or m.merge_mode == "concat") else 1)
    r.layout = Layout.last((r.layout.shape[0], width) if options["return_sequences"] else (width,))


def _flatten(r: Reader, path: str, m: Any) -> None:
    theirs = (1, *r.layout.theirs)
    start, end = (at + len(theirs) if at < 0 else at for at in (m.start_dim, m.end_dim))
    if not 1 <= start <= end < len(theirs):
        raise r.error(f"must leave the batch axis and flatten axes of {r.layout.theirs}, got start_dim {m.start_dim} "
                      f"and end_dim {m.end_dim}")
    shape = (*theirs[1:start], int(np.prod(theirs[start:end + 1])), *theirs[end + 1:])
    before = r.chain[-1].layer if r.chain else None
    if len(shape) == 1 and isinstance(before, L.Reshape) and len(r.chain) > 1 and isinstance(
            r.chain[-2].layer, GLOBAL):
        r.chain.pop()                   # of the pooling, whose output was a vector here
        r.layout = Layout.last(shape)
    elif shape != r.layout.theirs:
        r.reshape(shape, name=r.name(path))


def _unflatten(r: Reader, path: str, m: Any) -> None:
    theirs = (1, *r.layout.theirs)
    dim = m.dim + len(theirs) if isinstance(m.dim, int) and m.dim < 0 else m.dim
    sizes = tuple(m.unflattened_size)
    if not isinstance(dim, int) or not 1 <= dim < len(theirs) or not all(isinstance(size, int) for size in sizes):
        raise r.error(f"must divide an axis of {r.layout.theirs} into ints, got dim {shown(m.dim)} and "
                      f"{shown(m.unflattened_size)}")
    rest = theirs[dim] // max(1, -int(np.prod(sizes)))
    shape = (*theirs[1:dim], *(rest if size == -1 else size for size in sizes), *theirs[dim + 1:])
    if np.prod(shape) != np.prod(theirs):
        raise r.error(f"must divide the axis of length {theirs[dim]}, got {sizes}")
    r.reshape(shape, channels_first(3) if r.layout.is_vector and len(shape) == 3 else None, r.name(path))


def _reshape(r: Reader, path: str, m: Any) -> None:
    r.reshape(tuple(m.shape), name=r.name(path), prefer=m.order)


def _permute(r: Reader, path: str, m: Any) -> None:
    if r.layout.places is not None:
        r.same()
    r.add(L.Permute(tuple(r.layout.order[axis] + 1 for axis in m.axes), name=r.name(path)))
    r.output()
    r.layout = Layout.last(r.layout.shape)
    r.natural = r.layout.order


def _move_axes(r: Reader, path: str, m: Any) -> None:
    r.layout = Layout(r.layout.shape, tuple(r.layout.order[axis] for axis in m.axes), r.layout.places, r.layout.origin)
    r.natural = channels_last(r.layout.rank)


def _reorder(r: Reader, path: str, m: Any) -> None:
    places = np.argsort(m.places.cpu().numpy())[r.layout.numbering()]
    r.layout = Layout(r.layout.shape, (0,), places).flattened()._replace(origin=None)


def _dropout(r: Reader, path: str, m: Any) -> None:
    r.add(L.Dropout(m.p, name=r.name(path)))


def _pad(axes: int, r: Reader, name: str | None, around: Sequence[tuple[int, int]]) -> None:
    if any(count < 0 for both in around for count in both):
        raise r.error(f"must have a padding >= 0, got {shown(list(around))}")
    padding: Any = around[0] if axes == 1 else tuple(around)
    r.add((L.ZeroPadding1D if axes == 1 else L.ZeroPadding2D)(padding, name=name))
    r.output()


def _zero_pad(axes: int, r: Reader, path: str, m: Any) -> None:
    r.first(axes + 1)
    sides = _each(m.padding, 2 * axes)
    _pad(axes, r, r.name(path), [(sides[2 * i], sides[2 * i + 1]) for i in reversed(range(axes))])


def _upsample(r: Reader, path: str, m: Any) -> None:
    axes = r.layout.rank - 1
    given = m.scale_factor if isinstance(m.scale_factor, tuple) else (m.scale_factor,) * axes
    if m.mode not in ("nearest", "nearest-exact") or axes not in (1, 2) or len(given) != axes or not all(
            isinstance(one, (int, float)) and one == int(one) for one in given):
        raise r.error("must repeat the nearest number of sequences or images, by a whole scale_factor, got "
                      f"{shown((m.mode, m.size, m.scale_factor))}")
    r.first(axes + 1)
    size: Any = tuple(map(int, given))
    name = r.name(path)
    r.add(L.UpSampling1D(size[0], name=name) if axes == 1 else L.UpSampling2D(size, name=name))
    r.output()


def _activation(name: str, r: Reader, path: str, m: Any) -> None:
    if name == "softmax":
        rank = r.layout.rank
        dim = m.dim + rank + 1 if isinstance(m.dim, int) and m.dim < 0 else m.dim
        if not isinstance(dim, int) or not 1 <= dim <= rank:
            raise r.error(f"must have the dim of an axis of {r.layout.theirs}, got {shown(m.dim)}")
        if r.layout.order[dim - 1] != rank - 1:
            r.arrange(with_channels(rank, dim - 1))
    slope = {"negative_slope": m.negative_slope} if name == "leaky_relu" else {}
    r.add(L.Activation(name, **slope, name=r.name(path)))


def _gelu(r: Reader, path: str, m: Any) -> None:
    _activation("gelu_tanh" if m.approximate == "tanh" else "gelu", r, path, m)


def _branches(r: Reader, path: str, m: Any) -> None:
    source, name = r.source, r.name(path)
    readers = []
    for at, modules in enumerate(paths_of(path, m)):
        readers.append(Reader(r.layout, r.natural, r.kind_of, f"{path}.{at}." if path else f"{at}."))
        readers[-1].read(modules)
    kind = type(m).__name__
    layouts = [each.layout for each in readers]
    if layouts[0].is_vector and kind == "Concatenate":
        starts = np.cumsum([0, *(layout.shape[0] for layout in layouts)])
        places = np.concatenate([layout.numbering() + start for layout, start in zip(layouts, starts)])
        joined = Layout((len(places),), (0,), places).flattened()._replace(origin=None)
    else:
        order, natural = layouts[0].order, readers[0].natural
        if kind == "Concatenate" and order[m.dim - 1] != len(order) - 1:
            order = natural = with_channels(len(order), m.dim - 1)
        for each in readers:
            each.source = source
            if layouts[0].is_vector and not all(one.shape == layouts[0].shape and one.same_numbers(layouts[0])
                                                for one in layouts):
                each.same()
            elif not layouts[0].is_vector:
                each.arrange(order)
        shapes = [each.layout.shape for each in readers]
        shape = tuple(map(max, *shapes))
        if kind == "Concatenate":
            shape = (*shape[:-1], sum(one[-1] for one in shapes))
        joined, r.natural = readers[0].layout._replace(shape=shape), natural
    r.chain.append(branch(getattr(L, kind), [each.named_chain() for each in readers], source, name))
    r.layout = joined


GLOBAL = (L.GlobalAvgPool1D, L.GlobalAvgPool2D, L.GlobalMaxPool1D, L.GlobalMaxPool2D)
_RECURRENT = {"batch_first": True, "proj_size": 0}
_PLAIN = {"num_layers": 1, **_RECURRENT}
_BATCH_NORM = Kind(_batch_norm, "first", {"track_running_stats": True})
KINDS: dict[str, Kind] = {
    "Linear": Kind(_linear, "last"),
    **{f"Conv{axes}d": Kind(partial(_conv, axes), "first", {"padding_mode": "zeros"}) for axes in (1, 2)},
    "BatchNorm1d": _BATCH_NORM, "BatchNorm2d": _BATCH_NORM, "BatchNorm3d": _BATCH_NORM, "BatchNormNd": _BATCH_NORM,
    "LayerNorm": Kind(_layer_norm, "norm"), "Normalization": Kind(_normalization, "first"),
    "Embedding": Kind(_embedding, "stop", {"max_norm": None}),
    "CategoryEmbedding": Kind(_category_embedding, "stop"),
    **{kind: Kind(_recurrent, "last", _RECURRENT) for kind in ("RNN", "LSTM", "GRU")},
    **{f"Plain{kind}": Kind(_recurrent, "last", _PLAIN) for kind in ("RNN", "LSTM", "GRU")},
    **{f"MaxPool{axes}d": Kind(partial(_pool, axes, "Max"), "first", {
        "dilation": 1, "return_indices": False}) for axes in (1, 2)},
    "AvgPool1d": Kind(partial(_pool, 1, "Avg"), "first"),
    "AvgPool2d": Kind(partial(_pool, 2, "Avg"), "first", {"divisor_override": None}),
    "PaddedMaxPool": Kind(partial(_padded_pool, "Max"), "first"),
    "PaddedAvgPool": Kind(partial(_padded_pool, "Avg"), "first"),
    **{f"Adaptive{kind}Pool{axes}d": Kind(partial(_adaptive_pool, axes, kind), "first", {
        "return_indices": False} if kind == "Max" else {}) for kind in ("Max", "Avg") for axes in (1, 2)},
    "Flatten": Kind(_flatten, "stop"), "Unflatten": Kind(_unflatten, "stop"), "Reshape": Kind(_reshape, "stop"),
    "Permute": Kind(_permute, "stop"), "MoveAxes": Kind(_move_axes, "stop"),
    "Reorder": Kind(_reorder, "stop"),
    **{kind: Kind(_dropout) for kind in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
                                         "FeatureAlphaDropout")},
    **{f"ZeroPad{axes}d": Kind(partial(_zero_pad, axes), "first") for axes in (1, 2)},
    **{f"ConstantPad{axes}d": Kind(partial(_zero_pad, axes), "first", {"value": 0}) for axes in (1, 2)},
    "Upsample": Kind(_upsample, "first", {"size": None}), "UpsamplingNearest2d": Kind(_upsample, "first", {
        "size": None}),
    **{cls: Kind(partial(_activation, name)) for name, (cls, _) in ACTIVATIONS.items()},
    "GELU": Kind(_gelu), "ELU": Kind(partial(_activation, "elu"), "", {"alpha": 1.0}),
    "Softplus": Kind(partial(_activation, "softplus"), "", {"beta": 1.0, "threshold": 20.0}),
    "PReLU": Kind(_prelu, "first"), "Slopes": Kind(_slopes),
    "Add": Kind(_branches), "Concatenate": Kind(_branches), "Multiply": Kind(_branches),
}
