"""Readers of operators that are layers: convolutions, pooling, products, norms."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.reading.file import Op, Unreadable, short
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.values import Value, axis_number, plain

Pads = tuple[tuple[int, int], ...]


# -- convolution and pooling --------------------------------------------------------------------------------------


def maps(reader: Reader, op: Op, maximum: bool = False) -> Value:
    """The input with channels last: a sequence or an image whose axes are (n, c, ...)."""
    value = reader.value_of_maximum(op) if maximum else reader.value(op)
    if value.rank not in (3, 4):
        raise Unreadable(f"it must read sequences or images, got {value.rank - 1} axes")
    if value.axes[0] != (0,):
        raise Unreadable("its first axis must be the batch")
    return reader.channels_first(reader.exactly(value, (*range(2, value.rank), 1)))


def _ints(op: Op, name: str, count: int, default: Any) -> tuple[int, ...]:
    given = op.attributes.get(name, default)
    if not isinstance(given, tuple) or len(given) != count or not all(isinstance(n, int) for n in given):
        raise Unreadable(f"{name} must be {count} ints")
    return given


def windows(op: Op, sizes: Sequence[int], shape: Sequence[int], pool: bool = False) -> tuple[Any, Any, Any, Pads]:
    """(kernel, strides, dilations, (before, after) of each axis) of windows on axes of these lengths.

    With ceil_mode the last window may reach beyond the end, if it begins before it.
    """
    axes = len(shape)
    ones = (1,) * axes
    kernel = _ints(op, "kernel_shape", axes, tuple(sizes) or None)
    strides, dilations = _ints(op, "strides", axes, ones), _ints(op, "dilations", axes, ones)
    if min(*kernel, *strides, *dilations) < 1 or (sizes and kernel != tuple(sizes)):
        raise Unreadable("kernel_shape, strides and dilations must be ints >= 1 that fit the weights")
    mode = op.attributes.get("auto_pad", "NOTSET")
    given = _ints(op, "pads", 2 * axes, (0,) * (2 * axes)) if mode == "NOTSET" else (0,) * (2 * axes)
    pads = []
    for n, k, s, d, before, after in zip(shape, kernel, strides, dilations, given, given[axes:]):
        reach = (k - 1) * d + 1
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-n // s) - 1) * s + reach - n, 0)
            before, after = total // 2, total - total // 2
            if mode == "SAME_LOWER":
                before, after = after, before
        elif mode not in ("NOTSET", "VALID"):
            raise Unreadable(f"auto_pad must be a known word, got {mode!r}")
        if before < 0 or after < 0:
            raise Unreadable(f"pads must be ints >= 0, got {given}")
        if pool and op.attributes.get("ceil_mode"):
            count = -(-(n + before + after - reach) // s) + 1
            if (count - 1) * s >= n + before:
                count -= 1
            after = max(after, (count - 1) * s + reach - n - before)
        pads.append((before, after))
    return kernel, strides, dilations, tuple(pads)


def one_or_pair(values: Sequence[int]) -> Any:
    """An int where all are the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def padding_of(pads: Pads) -> Any:
    """As our layers take it: "valid", an int, a pair of ints or pairs (before, after)."""
    if not any(map(any, pads)):
        return "valid"
    if all(before == after for before, after in pads):
        return one_or_pair([before for before, _ in pads])
    return pads[0] if len(pads) == 1 else pads


def spatial(value: Value, key: str, reader: Reader) -> Value:
    """The value of a layer on (..., channels), whose axes are (n, channels, ...) in the graph."""
    axes = len(value.shape) - 1
    shape = reader.shapes[key]
    return Value(key, shape, plain(shape, (0, axes + 1, *range(1, axes + 1))))


def conv(reader: Reader, op: Op) -> Value:
    value, W = maps(reader, op), reader.array(op, 1, "the weights")
    axes = value.rank - 2
    if W.ndim != axes + 2:
        raise Unreadable(f"the weights must have {axes + 2} axes, got {W.ndim}")
    kernel, strides, dilations, pads = windows(op, W.shape[2:], value.shape[:-1])
    groups = op.attributes.get("group", 1)
    if not isinstance(groups, int) or groups < 1 or W.shape[1] * groups != value.shape[-1] or W.shape[0] % groups:
        raise Unreadable(f"the weights {W.shape} in {groups} groups must fit the {value.shape[-1]} channels")
    weights = {"kernel": W.transpose(*range(2, axes + 2), 1, 0)}
    if reader.get(op, 2) is not None:
        weights["bias"] = reader.vector(op, 2, "the bias", W.shape[0])
    kind = layers.Conv1D if axes == 1 else layers.Conv2D
    padding = padding_of(pads)
    if axes == 1 and pads == (((kernel[0] - 1) * dilations[0], 0),) and pads != ((0, 0),):
        padding = "causal"
    layer = kind(W.shape[0], one_or_pair(kernel), one_or_pair(strides), padding, one_or_pair(dilations), groups,
                 use_bias="bias" in weights)
    return spatial(value, reader.emit(op, value.key, layer, weights), reader)


def pool(reader: Reader, op: Op) -> Value:
    value = maps(reader, op, op.kind == "MaxPool")
    axes = value.rank - 2
    kernel, strides, dilations, pads = windows(op, (), value.shape[:-1], pool=True)
    if set(dilations) != {1} or op.attributes.get("storage_order"):
        raise Unreadable("dilations must be 1")
    key = value.key
    given = op.attributes.get("pads") or ()
    if op.kind == "AveragePool" and op.attributes.get("count_include_pad") and any(map(any, pads)):
        # zeros that count; what ceil_mode adds beyond them does not
        inner = tuple(zip(given[:axes], given[axes:])) if given else ((0, 0),) * axes
        if op.attributes.get("auto_pad", "NOTSET") != "NOTSET":
            inner = pads
        key = zeros_around(reader, op, key, inner)
        pads = tuple((0, after - own) for (_, after), (_, own) in zip(pads, inner))
    name = f"{'Max' if op.kind == 'MaxPool' else 'Avg'}Pool{axes}D"
    steps = None if strides == kernel else one_or_pair(strides)
    layer = getattr(layers, name)(one_or_pair(kernel), steps, padding_of(pads))
    return spatial(value, reader.emit(op, key, layer), reader)


def zeros_around(reader: Reader, op: Op, key: str, pads: Pads) -> str:
    """The key of a map with zeros around it."""
    if not any(map(any, pads)):
        return key
    if len(pads) == 1:
        return reader.emit(op, key, layers.ZeroPadding1D(pads[0]))
    return reader.emit(op, key, layers.ZeroPadding2D(pads))


def global_pool(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    if value.rank < 3 or value.axes[0] != (0,):
        raise Unreadable("it must read sequences or images whose first axis is the batch")
    return reduced(reader, op, value, tuple(range(2, value.rank)), "Max" if op.kind == "GlobalMaxPool" else "Avg", True)


def reduced(reader: Reader, op: Op, value: Value, axes: Sequence[int], kind: str, keep: bool) -> Value:
    """The maximum or mean over axes of theirs: a global pooling of what they are here."""
    if any(0 in value.axes[i] for i in axes):
        raise Unreadable("it must leave the batch alone")
    inside = sorted(atom for i in axes for atom in value.axes[i])
    rest = sorted(atom for i, each in enumerate(value.axes) if i not in axes for atom in each if atom)
    key, shape = value.key, value.shape
    place = {atom: atom for atom in range(len(shape) + 1)}
    if inside:
        ones = [i for i, n in enumerate(shape, 1) if n == 1]
        if reader.file.others and len(axes) == 2 > len(inside) and ones:        # an image, whose rows are the steps
            inside = sorted([*inside, ones[0]])
        over = [[atom] for atom in inside] if len(inside) == 2 else [inside]
        key = reader.laid(value, [*over, rest])
        if len(over) == 2 and len(rest) == 1:
            reader.channels_first(replace(value, key=key))
        key = reader.emit(op, key, getattr(layers, f"Global{kind}Pool{len(over)}D")())
        shape = tuple(value.size(atom) for atom in rest) or (1,)
        key = reader.reshaped(key, shape)
        place = {0: 0, **{atom: i for i, atom in enumerate(rest, 1)}}
    after = [() if i in axes else tuple(place[atom] for atom in each) for i, each in enumerate(value.axes)
             if keep or i not in axes]
    return Value(key, shape, tuple(after))


# -- products -----------------------------------------------------------------------------------------------------


def dense(reader: Reader, op: Op, value: Value, W: np.ndarray, bias: np.ndarray | None) -> Value:
    """x W + b on the last axis. Rows of W are put in our order of the numbers, as behind Flatten of an image."""
    last = value.axes[-1]
    if W.ndim != 2 or W.shape[0] != value.sizes[-1] or 0 in last or not W.size:
        raise Unreadable(f"the weights must have the shape ({value.sizes[-1]}, units), got {W.shape}")
    inside = sorted(last)
    if list(last) != inside:
        reader.file.budget.spend(W.nbytes)
        sizes = [value.size(atom) for atom in last]
        rows = W.reshape(*sizes, W.shape[1]).transpose(*(last.index(atom) for atom in inside), len(last))
        W = rows.reshape(W.shape)
    before = reader.before(value, last)
    key = reader.laid(value, [*((atom,) for atom in before), inside])
    weights = {"kernel": W} | ({} if bias is None else {"bias": bias})
    key = reader.emit(op, key, layers.Dense(W.shape[1], use_bias=bias is not None), weights)
    place = {0: 0, **{atom: i for i, atom in enumerate(before, 1)}}
    axes = [tuple(place[atom] for atom in each) for each in value.axes[:-1]]
    return Value(key, reader.shapes[key], (*axes, (len(before) + 1,) * (W.shape[1] > 1)))


def gemm(reader: Reader, op: Op) -> Value:
    value, W = reader.value(op), reader.array(op, 1, "the weights")
    if op.attributes.get("transA") or value.rank != 2 or W.ndim != 2:
        raise Unreadable("it must read vectors and a matrix of weights, and transA be 0")
    W = W.T if op.attributes.get("transB") else W
    bias = None
    if reader.get(op, 2) is not None:
        bias = reader.array(op, 2, "the bias").reshape(-1)
        if bias.size not in (1, W.shape[1]):
            raise Unreadable(f"the bias must have {W.shape[1]} numbers, got {bias.size}")
        bias = np.broadcast_to(bias, W.shape[1])
    for name in ("alpha", "beta"):
        factor = op.attributes.get(name, 1.0)
        if not isinstance(factor, float):
            raise Unreadable(f"{name} must be a number")
        if factor != 1 and name == "alpha":
            reader.file.budget.spend(W.nbytes)
            W = W * W.dtype.type(factor)
        elif factor != 1 and bias is not None:
            bias = bias * bias.dtype.type(factor) if factor else None
    return dense(reader, op, value, W, bias)


def matmul(reader: Reader, op: Op) -> Value:
    return dense(reader, op, reader.value(op), reader.array(op, 1, "the second factor"), None)


# -- norms, slopes, the rest --------------------------------------------------------------------------------------


def batch_normalization(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    if op.attributes.get("training_mode") or op.attributes.get("spatial", 1) != 1:
        raise Unreadable("training_mode must be 0")
    if value.rank < 2:
        raise Unreadable("it must read channels")
    n = value.sizes[1]
    value = reader.channels_first(reader.ending_with(value, 1))
    names = ("gamma", "beta", "mean", "variance")
    weights = {name: reader.vector(op, i, name, n) for i, name in enumerate(names, 1)}
    momentum, epsilon = op.attributes.get("momentum", 0.9), op.attributes.get("epsilon", 1e-5)
    key = reader.emit(op, value.key, layers.BatchNorm(short(momentum), short(epsilon)), weights)
    return Value(key, value.shape, value.axes)


def layer_normalization(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    first = axis_number(op.attributes.get("axis", -1), value.rank)
    gamma = reader.array(op, 1, "the scale")
    if gamma.shape != value.sizes[first:]:
        raise Unreadable(f"the scale must have the shape {value.sizes[first:]}, got {gamma.shape}")
    beta = np.zeros_like(gamma) if reader.get(op, 2) is None else reader.array(op, 2, "the bias")
    if beta.shape != gamma.shape:
        raise Unreadable(f"the bias must have the shape {gamma.shape}, got {beta.shape}")
    epsilon = short(op.attributes.get("epsilon", 1e-5))
    value, norm_axes = normalized_axes(reader, value, tuple(range(first, value.rank)))
    key = reader.emit(op, value.key, layers.LayerNorm(epsilon, norm_axes), {"gamma": gamma, "beta": beta})
    return Value(key, value.shape, value.axes)


def normalized_axes(reader: Reader, value: Value, axes: tuple[int, ...]) -> tuple[Value, int | tuple[int, ...]]:
    """The value, and which axes of it LayerNorm must take: those of theirs, in their order."""
    if len(axes) > 1:
        if value.batch or any(value.axes[i] == (0,) for i in axes):
            raise Unreadable("the batch must be the first axis, and left alone")
        return reader.exactly(value), axes
    axis, = axes
    own = value.axes[axis]
    if not own and 1 in value.shape[:-1]:
        return value, value.shape.index(1) + 1
    if len(own) == 1 and own[0] not in (0, len(value.shape)):
        return value, own[0]
    return reader.ending_with(value, axis), -1


def softmax(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    early = reader.file.version < 13            # over all axes from this one on
    axis = axis_number(op.attributes.get("axis", 1 if early else -1), value.rank)
    if early and math.prod(value.sizes[axis + 1:]) > 1:
        raise Unreadable("it must be over one axis")
    value = reader.ending_with(value, axis)
    return Value(reader.emit(op, value.key, layers.Activation("softmax")), value.shape, value.axes)


def prelu(reader: Reader, op: Op) -> Value:
    value, slopes = reader.value(op), reader.array(op, 1, "the slopes")
    if slopes.ndim > value.rank:
        raise Unreadable("the slopes must have no more axes than what is computed")
    if not slopes.ndim and slopes >= 0:             # a number, which is no weight
        layer: layers.Layer = layers.Activation("leaky_relu", short(float(slopes)))
        return Value(reader.emit(op, value.key, layer), value.shape, value.axes)
    if slopes.size == 1:
        shape = (1,) * len(value.shape)
        layer = layers.PReLU(tuple(range(1, len(shape) + 1)))
        return Value(reader.emit(op, value.key, layer, {"alpha": slopes.reshape(shape)}), value.shape, value.axes)
    slopes = slopes.reshape((1,) * (value.rank - slopes.ndim) + slopes.shape)
    batch = value.batch
    order = sorted((i for i in range(value.rank) if i != batch), key=lambda i: value.axes[i] or (len(value.shape),))
    if any(slopes.shape[i] not in (1, n) for i, n in enumerate(value.sizes)) or slopes.shape[batch] != 1:
        raise Unreadable(f"the slopes must fit what is computed, got {slopes.shape}")
    value = reader.exactly(value, order)
    alpha = slopes.transpose(batch, *order)[0]
    shared = tuple(i for i, n in enumerate(alpha.shape, 1) if n == 1)
    key = reader.emit(op, value.key, layers.PReLU(shared or None), {"alpha": alpha})
    return Value(key, value.shape, value.axes)


def scaler(reader: Reader, op: Op) -> Value:
    """scikit-learn's scalers within pipelines: (x - offset) scale."""
    value = reader.value(op)
    value = reader.ending_with(value, value.rank - 1)
    offset, scale = (np.array(op.attributes.get(name, default), "f8") for name, default in (("offset", 0.0),
                                                                                           ("scale", 1.0)))
    if any(each.size not in (1, value.shape[-1]) for each in (offset, scale)):
        raise Unreadable(f"offset and scale must have {value.shape[-1]} numbers")
    return reader.scaled(value, scale, -offset * scale, op)


def dropout(reader: Reader, op: Op) -> Value:
    value = reader.value(op)
    rate = op.attributes.get("ratio", 0.5)
    given = reader.get(op, 1)
    if isinstance(given, np.ndarray) and given.size == 1:
        rate = float(given.reshape(-1)[0])
    key = reader.emit(op, value.key, layers.Dropout(short(rate)))
    return Value(key, value.shape, value.axes)
