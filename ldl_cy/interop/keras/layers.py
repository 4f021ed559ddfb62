"""Keras' layers as ours: which settings have a counterpart, and where the weights go.

Images are channels-last and kernels (…, c_in, c_out) in both, so that most weights keep their places. Each function of
``LAYERS`` takes the settings of a layer and returns a ``Make``, which wants the shape that reaches the layer; what has
no counterpart is refused by the first, before any weight is read.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.assembly import Imported
from ldl_cy.interop.keras.recurrent import bidirectional, one_direction
from ldl_cy.interop.keras.settings import Make, Read, Settings
from ldl_cy.layers.base import Layer, Shape
from ldl_cy.layers.merge import Branches


def as_they_are(layer: Layer, s: Settings, after: Sequence[Imported] = ()) -> Make:
    """A layer whose parameters are Keras', in the same order; ``after`` follows it."""
    def make(shape: Shape, read: Read) -> list[Imported]:
        parameters = layer.build(shape).parameters
        arrays = read([p.shape for p in parameters]) if parameters else []
        return [Imported(layer, {p.name: array for p, array in zip(parameters, arrays)}, s.source), *after]
    return make


def several(*made: Layer, s: Settings) -> Make:
    """Layers without weights."""
    return lambda shape, read: [Imported(layer, {}, s.source) for layer in made]


def left_out(s: Settings) -> Make:
    """A layer that does nothing but in training, whatever its settings are."""
    s.leave_rest()
    return several(s=s)


def check_rank(s: Settings, shape: Shape, rank: int) -> None:
    if len(shape) != rank:
        raise ValueError(f"{s.source} must have an input of {rank} axes beside the batch, got {shape}.")


# -- activations ---------------------------------------------------------------------------------------------------


def fused(s: Settings) -> tuple[str | None, list[Imported]]:
    """A layer's own activation: its name, or the layers that apply it after the layer."""
    value = s.get("activation")
    if value == "leaky_relu":           # Keras' slope as a name; here that is another one, unless a layer says it
        layer = layers.Activation("leaky_relu", 0.2, name=s.further("activation"))
        return None, [Imported(layer, {}, s.source)]
    if isinstance(value, dict) and value.get("module") == "keras.layers" and value.get("class_name") in APPLIED:
        inner = s.within(value, s.further("activation"))
        made = APPLIED[value["class_name"]](inner)
        inner.close()
        return None, made((), lambda shapes: [])
    return s.activation(value), []


def activation(s: Settings) -> Make:
    value = s.get("activation")
    if value == "leaky_relu":
        return several(layers.Activation("leaky_relu", 0.2, **s.common()), s=s)
    return several(layers.Activation(s.activation(value) or "identity", **s.common()), s=s)


def relu(s: Settings) -> Make:
    s.must("threshold", 0)
    slope, largest = s.get("negative_slope", 0), s.must("max_value", None, 6)
    if largest is None and slope:
        return several(layers.Activation("leaky_relu", slope, **s.common()), s=s)
    if slope:
        raise ValueError(f"{s.source} must have negative_slope 0 with a max_value, got {slope}.")
    return several(layers.Activation("relu6" if largest else "relu", **s.common()), s=s)


def leaky_relu(s: Settings) -> Make:
    return several(layers.Activation("leaky_relu", s.get("negative_slope", 0.3), **s.common()), s=s)


def elu(s: Settings) -> Make:
    s.must("alpha", 1)
    return several(layers.Activation("elu", **s.common()), s=s)


def softmax(s: Settings) -> Make:
    axis = s.get("axis", -1)
    layer = layers.Activation("softmax", **s.common())

    def make(shape: Shape, read: Read) -> list[Imported]:
        if shape:                       # it is unknown for an activation within another layer, whose axis is the last
            s.last_axis("axis", axis, shape)
        elif axis != -1:
            raise ValueError(f"{s.source} must have axis -1, got {axis}.")
        return [Imported(layer, {}, s.source)]
    return make


def prelu(s: Settings) -> Make:
    shared = s.get("shared_axes")
    return as_they_are(layers.PReLU(tuple(shared) if isinstance(shared, list) else shared, **s.common()), s)


APPLIED: dict[str, Callable[[Settings], Make]] = {"ReLU": relu, "LeakyReLU": leaky_relu, "ELU": elu, "Softmax": softmax}


# -- dense, convolution, pooling -----------------------------------------------------------------------------------


def dense(s: Settings) -> Make:
    name, after = fused(s)
    return as_they_are(layers.Dense(s.get("units"), name, use_bias=s.get("use_bias", True), **s.common()), s, after)


def embedding(s: Settings) -> Make:
    s.must("mask_zero", False)
    return as_they_are(layers.Embedding(s.get("input_dim"), s.get("output_dim"), **s.common()), s)


def window(s: Settings, axes: int, *names: str) -> dict[str, Any]:
    """The settings of a convolution that all have."""
    s.must("data_format", "channels_last", None)
    paddings = ("valid", "same", "causal") if axes == 1 else ("valid", "same")
    return {"padding": s.must("padding", *paddings), "strides": s.size("strides", axes),
            "dilation_rate": s.size("dilation_rate", axes), "kernel_size": s.size("kernel_size", axes)}


def kind_of(name: str, axes: int) -> Any:
    return getattr(layers, f"{name}{axes}D")


def conv(axes: int) -> Callable[[Settings], Make]:
    def prepare(s: Settings) -> Make:
        name, after = fused(s)
        layer = kind_of("Conv", axes)(
            s.get("filters"), **window(s, axes), groups=s.get("groups", 1), activation=name,
            use_bias=s.get("use_bias", True), **s.common())
        return as_they_are(layer, s, after)
    return prepare


def depthwise(axes: int) -> Callable[[Settings], Make]:
    """A convolution with a group for each channel: (k, c_in, m) is (k, 1, c_in m), in the same order."""
    def prepare(s: Settings) -> Make:
        name, after = fused(s)
        settings, m, bias = window(s, axes), s.get("depth_multiplier", 1), s.get("use_bias", True)
        Conv, common = kind_of("Conv", axes), s.common()
        Conv(m, **settings, activation=name, use_bias=bias, **common)         # its checks, before any shape is known

        def make(shape: Shape, read: Read) -> list[Imported]:
            check_rank(s, shape, axes + 1)
            layer = Conv(shape[-1] * m, **settings, groups=shape[-1], activation=name, use_bias=bias, **common)
            kernel, *rest = layer.build(shape).parameters
            size = (*kernel.shape[:-2], shape[-1], m)
            first, *others = read([size, *(p.shape for p in rest)])
            weights = {"kernel": first.reshape(kernel.shape), **dict(zip(("bias",), others))}
            return [Imported(layer, weights, s.source), *after]
        return make
    return prepare


def separable(axes: int) -> Callable[[Settings], Make]:
    """A depthwise convolution without a bias, and one of single cells."""
    def prepare(s: Settings) -> Make:
        name, after = fused(s)
        settings, m, bias = window(s, axes), s.get("depth_multiplier", 1), s.get("use_bias", True)
        Conv, common, filters = kind_of("Conv", axes), s.common(), s.get("filters")
        first_common = {**common, "name": s.further("depthwise")}
        Conv(m, **settings, **first_common)
        last = Conv(filters, 1, activation=name, use_bias=bias, **common)

        def make(shape: Shape, read: Read) -> list[Imported]:
            check_rank(s, shape, axes + 1)
            first = Conv(shape[-1] * m, **settings, groups=shape[-1], use_bias=False, **first_common)
            kernel, = first.build(shape).parameters
            rest = last.build(first.compute_output_shape(shape)).parameters
            size = (*kernel.shape[:-2], shape[-1], m)
            depth, *others = read([size, *(p.shape for p in rest)])
            return [Imported(first, {"kernel": depth.reshape(kernel.shape)}, s.source),
                    Imported(last, {p.name: array for p, array in zip(rest, others)}, s.source), *after]
        return make
    return prepare


def pooling(name: str, axes: int) -> Callable[[Settings], Make]:
    def prepare(s: Settings) -> Make:
        s.must("data_format", "channels_last", None)
        strides = s.size("strides", axes) if s.get("strides") is not None else None
        layer = kind_of(name, axes)(s.size("pool_size", axes), strides, s.must("padding", "valid", "same"),
                                    **s.common())
        return several(layer, s=s)
    return prepare


def global_pooling(name: str, axes: int) -> Callable[[Settings], Make]:
    def prepare(s: Settings) -> Make:
        s.must("data_format", "channels_last", None)
        layer = kind_of(name, axes)(**s.common())
        if not s.must("keepdims", False, True):
            return several(layer, s=s)
        back = layers.Reshape((*(1,) * axes, -1), name=s.further("reshape"))
        return several(layer, back, s=s)
    return prepare


def zero_padding(axes: int) -> Callable[[Settings], Make]:
    def prepare(s: Settings) -> Make:
        s.must("data_format", "channels_last", None)
        value = s.get("padding", 1)
        if isinstance(value, list):
            value = tuple(tuple(each) if isinstance(each, list) else each for each in value)
        return several(kind_of("ZeroPadding", axes)(value, **s.common()), s=s)
    return prepare


def up_sampling(axes: int) -> Callable[[Settings], Make]:
    def prepare(s: Settings) -> Make:
        s.must("data_format", "channels_last", None)
        s.must("interpolation", "nearest")
        layer = kind_of("UpSampling", axes)(s.size("size", axes), **s.common())
        return several(layer, s=s)
    return prepare


# -- normalization -------------------------------------------------------------------------------------------------


def batch_norm(s: Settings) -> Make:
    axis, scale, center = s.get("axis", -1), s.must("scale", True, False), s.must("center", True, False)
    s.must("renorm", False)
    layer = layers.BatchNorm(s.get("momentum", 0.99), s.get("epsilon", 1e-3), **s.common())

    def make(shape: Shape, read: Read) -> list[Imported]:
        s.last_axis("axis", axis, shape)
        k = shape[-1:]
        arrays = read([k] * (2 + scale + center))
        gamma = arrays.pop(0) if scale else np.broadcast_to(1.0, k)
        beta = arrays.pop(0) if center else np.broadcast_to(0.0, k)
        return [Imported(layer, {"gamma": gamma, "beta": beta, "mean": arrays[0], "variance": arrays[1]}, s.source)]
    return make


def layer_norm(s: Settings) -> Make:
    scale, center = s.must("scale", True, False), s.must("center", True, False)
    s.must("rms_scaling", False)
    layer = layers.LayerNorm(s.get("epsilon", 1e-3), axes_of(s), **s.common())

    def make(shape: Shape, read: Read) -> list[Imported]:
        size = layer.build(shape).parameters[0].shape
        arrays = read([size] * (scale + center))
        gamma = arrays.pop(0) if scale else np.broadcast_to(1.0, size)
        beta = arrays.pop(0) if center else np.broadcast_to(0.0, size)
        return [Imported(layer, {"gamma": gamma, "beta": beta}, s.source)]
    return make


def axes_of(s: Settings) -> Any:
    """One axis or several, as here."""
    axis = s.get("axis", -1)
    if isinstance(axis, list):
        return axis[0] if len(axis) == 1 else tuple(axis)
    return axis


def affine(s: Settings, scale: Any, offset: Any) -> Make:
    """y = scale x + offset, as (x + offset / scale) / sqrt(1 / scale²)."""
    a, b = np.broadcast_arrays(s.numbers("scale", scale), s.numbers("offset", offset))
    if not (a > 0).all():
        raise ValueError(f"{s.source} must have a scale > 0, got {scale}.")
    return fixed(s, -b / a, 1 / a ** 2, None if a.ndim == 0 else -1)


def fixed(s: Settings, mean: np.ndarray, variance: np.ndarray, axis: Any = -1) -> Make:
    """y = (x - mean) / sqrt(variance), numbers or arrays along axes."""
    if mean.size == variance.size == 1:         # for all numbers, of which the file has as few as it says
        mean, variance, axis = mean.reshape(()), variance.reshape(()), None
    layer = layers.Normalization(mean.tolist(), variance.tolist(), axis, **s.common())

    def make(shape: Shape, read: Read) -> list[Imported]:
        state = layer.build(shape).state
        return [Imported(layer, {p.name: np.broadcast_to(value, p.shape) for p, value in zip(state, (mean, variance))},
                         s.source)]
    return make


def normalization(s: Settings) -> Make:
    axis, mean, variance = axes_of(s), s.get("mean"), s.get("variance")
    axis = None if axis == () else axis
    s.must("invert", False)
    if mean is not None or variance is not None:
        return fixed(s, s.numbers("mean", mean), s.numbers("variance", variance), axis)
    unknown = layers.Normalization(axis=axis, **s.common())

    def make(shape: Shape, read: Read) -> list[Imported]:
        size = unknown.build(shape).state[0].shape
        mean, variance, _ = read([size, size, ()])          # the third is how many rows they are of
        return fixed(s, mean.astype(float), variance.astype(float), axis)(shape, read)
    return make


def rescaling(s: Settings) -> Make:
    return affine(s, s.get("scale"), s.get("offset", 0.0))


# -- shapes --------------------------------------------------------------------------------------------------------


def flatten(s: Settings) -> Make:
    s.must("data_format", "channels_last", None)
    return several(layers.Flatten(**s.common()), s=s)


def reshape(s: Settings) -> Make:
    shape = s.get("target_shape")
    return several(layers.Reshape(tuple(shape) if isinstance(shape, list) else shape, **s.common()), s=s)


def permute(s: Settings) -> Make:
    dims = s.get("dims")
    return several(layers.Permute(tuple(dims) if isinstance(dims, list) else dims, **s.common()), s=s)


def dropout(s: Settings) -> Make:
    if s.get("noise_shape") is not None:                # one draw for several numbers
        return left_out(s)
    rate = s.get("rate")
    return several(layers.Dropout(rate, **s.common()), s=s)


def noise(s: Settings) -> Make:
    return several(layers.GaussianNoise(s.get("stddev"), **s.common()), s=s)


def flip(s: Settings) -> Make:
    if s.get("data_format", "channels_last") not in ("channels_last", None):
        return left_out(s)
    layer = layers.RandomFlip(s.get("mode", "horizontal_and_vertical"), **s.common())
    s.leave_rest()
    return several(layer, s=s)


def translation(s: Settings) -> Make:
    """By whole pixels here, by any part of one there; other fillings than zeros are left out."""
    if s.get("data_format", "channels_last") not in ("channels_last", None) or (
            s.get("fill_mode", "reflect") != "constant" or s.get("fill_value", 0.0) != 0):
        return left_out(s)
    height, width = (tuple(each) if isinstance(each, list) else each
                     for each in (s.get("height_factor"), s.get("width_factor")))
    layer = layers.RandomTranslation(height, width, **s.common())
    s.leave_rest()

    def make(shape: Shape, read: Read) -> list[Imported]:
        try:
            layer.build(shape)
        except ValueError:              # less than a pixel
            return []
        return [Imported(layer, {}, s.source)]
    return make


def gelu(s: Settings) -> Make:
    exact = not s.must("approximate", True, False)
    return several(layers.Activation("gelu" if exact else "gelu_tanh", **s.common()), s=s)


# what a layer of one input is made of
LAYERS: dict[str, Callable[[Settings], Make]] = {
    **APPLIED, "Activation": activation, "PReLU": prelu, "Dense": dense, "Embedding": embedding,
    "BatchNormalization": batch_norm, "LayerNormalization": layer_norm, "Normalization": normalization,
    "Rescaling": rescaling, "Flatten": flatten, "Reshape": reshape, "Permute": permute, "Dropout": dropout,
    "GaussianNoise": noise, "RandomFlip": flip, "RandomTranslation": translation,
    "SimpleRNN": one_direction, "LSTM": one_direction, "GRU": one_direction, "Bidirectional": bidirectional,
    **{f"Conv{axes}D": conv(axes) for axes in (1, 2)},
    **{f"DepthwiseConv{axes}D": depthwise(axes) for axes in (1, 2)},
    **{f"SeparableConv{axes}D": separable(axes) for axes in (1, 2)},
    **{f"ZeroPadding{axes}D": zero_padding(axes) for axes in (1, 2)},
    **{f"UpSampling{axes}D": up_sampling(axes) for axes in (1, 2)},
    **{f"{theirs}Pooling{axes}D": pooling(ours, axes)
       for axes in (1, 2) for theirs, ours in (("Max", "MaxPool"), ("Average", "AvgPool"))},
    **{f"Global{theirs}Pooling{axes}D": global_pooling(f"Global{ours}", axes)
       for axes in (1, 2) for theirs, ours in (("Max", "MaxPool"), ("Average", "AvgPool"))},
    **dict.fromkeys(("Identity", "ActivityRegularization", "AlphaDropout", "GaussianDropout", "SpatialDropout1D",
                     "SpatialDropout2D", "RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness"),
                    left_out),
}
# where a layer of several inputs has them
BRANCHES: dict[str, type[Branches]] = {
    "Add": layers.Add, "Concatenate": layers.Concatenate, "Multiply": layers.Multiply}
# the parts of a layer that hold its weights in a file, in the order of ``get_weights``
WEIGHTS_IN = {**dict.fromkeys(("SimpleRNN", "LSTM", "GRU"), ("cell",)),
              "Bidirectional": ("forward_layer/cell", "backward_layer/cell")}
HAVE_WEIGHTS = {"Dense", "Embedding", "PReLU", "BatchNormalization", "LayerNormalization", "Bidirectional", "SimpleRNN",
                "LSTM", "GRU", *(f"{kind}Conv{axes}D" for kind in ("", "Depthwise", "Separable") for axes in (1, 2))}
