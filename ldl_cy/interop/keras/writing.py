"""Our layers as Keras': a live model of Keras' layers with our weights."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.keras.settings import Names
from ldl_cy.interop.parts import Part
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.base import Layer
from ldl_cy.layers.merge import Branches
from ldl_cy.layers.windows import pads, pair, place
from ldl_cy.messages import listed, shown

OWNER = "to_keras"
# names of activations in Keras; leaky_relu has another slope there, and the approximate gelu no name
ACTIVATIONS = {"identity": None, "logistic": "sigmoid", **{name: name for name in (
    "relu", "relu6", "elu", "selu", "gelu", "silu", "softplus", "tanh", "softmax", "mish", "hard_sigmoid",
    "hard_silu")}}
NEVER_NEGATIVE = {"relu", "relu6", "logistic", "softmax", "softplus", "hard_sigmoid"}
Pairs = tuple[tuple[int, int], ...]


class Item(NamedTuple):
    """A layer of Keras, or a function of it, and the weights that the layer is to get."""

    apply: Any
    weights: Sequence[np.ndarray] = ()


class Fault(ValueError):
    """What has no counterpart in Keras."""


class Writer:
    """Writes the layers of a network, one after the other, and collects what has no counterpart.

    Parameters
    ----------
    keras : module
    dtype : str
    """

    def __init__(self, keras: Any, dtype: str) -> None:
        self.keras, self.dtype = keras, dtype
        self.names = Names()
        self.faults: list[str] = []

    def chain(self, chain: Sequence[Part], positive: bool = False, trainable: bool = True) -> tuple[list[Any], bool]:
        """Items and, for branches, (their class, the items of each path); and whether the output is never negative.

        ``positive`` says so of the input.
        """
        written: list[Any] = []
        for part in chain:
            kept = trainable and part.layer.trainable
            if isinstance(part.layer, Branches):
                paths = [self.chain(path, positive, kept) for path in part.paths]
                merge = getattr(self.keras.layers, type(part.layer).__name__)
                written.append((merge(name=self.name(part), dtype=self.dtype), [path for path, _ in paths]))
                positive = all(each for _, each in paths)
                continue
            try:
                written += self.items(part, positive, kept)
            except Fault as fault:
                self.faults.append(str(fault))
            positive = never_negative(part.layer, positive)
        return written, positive

    def name(self, part: Part, role: str = "") -> str:
        """The name of a layer in Keras, which does not take every character, for the whole model."""
        return self.names.take(f"{part.name}_{role}" if role else part.name)

    def items(self, part: Part, positive: bool, trainable: bool) -> list[Item]:
        layer = part.layer
        write = WRITERS.get(type(layer))
        if write is None:
            raise Fault(f"{type(layer).__name__} {part.name!r} has no counterpart")
        return write(self, part, {"trainable": trainable, "dtype": self.dtype}, positive)

    def make(self, kind: str, part: Part, common: dict[str, Any], *arguments: Any, role: str = "",
             weights: Sequence[np.ndarray] = (), **options: Any) -> Item:
        """A layer of Keras by the name of its class; ``role`` tells it from others that one of ours becomes."""
        layer = getattr(self.keras.layers, kind)(*arguments, name=self.name(part, role), **common, **options)
        return Item(layer, weights)

    def applied(self, part: Part, common: dict[str, Any], kind: str, slope: float = 0.01, role: str = "") -> Item:
        """An activation after a layer."""
        if kind == "gelu_tanh":
            return Item(lambda x: self.keras.ops.gelu(x, approximate=True))
        if kind == "leaky_relu":
            return self.make("LeakyReLU", part, common, slope, role=role)
        return self.make("Activation", part, common, ACTIVATIONS[kind] or "linear", role=role)

    def fused(self, part: Part, common: dict[str, Any]) -> tuple[str | None, list[Item]]:
        """A layer's own activation: its name in Keras, or what follows the layer."""
        kind = check_activation(OWNER, part.layer.get_config()["activation"])
        if kind in ACTIVATIONS:
            return ACTIVATIONS[kind], []
        return None, [self.applied(part, common, kind, role="activation")]


Write = Callable[[Writer, Part, dict[str, Any], bool], list[Item]]


def never_negative(layer: Layer, before: bool) -> bool:
    """Whether no number of a layer's output is negative; ``before`` says the same of its input."""
    kind = layer.get_config().get("activation")
    if kind is not None and check_activation(OWNER, kind) != "identity":
        return check_activation(OWNER, kind) in NEVER_NEGATIVE
    keeps = ("Activation", "Dropout", "Flatten", "Reshape", "Permute", "RandomFlip", "RandomTranslation")
    return before and (type(layer).__name__ in keeps or "Pool" in type(layer).__name__
                       or type(layer).__name__.startswith(("ZeroPadding", "UpSampling")))


def fail(part: Part, required: str, got: Any) -> Fault:
    return Fault(f"{type(part.layer).__name__} {part.name!r} must have {required}, got {shown(got)}")


def keras_pads(pairs: Pairs) -> Any:
    """As ZeroPadding1D and ZeroPadding2D of Keras take them."""
    return pairs[0] if len(pairs) == 1 else pairs


def values(part: Part, *names: str) -> list[np.ndarray]:
    return [part.weights[name] for name in names if name in part.weights]


# -- a function for each layer -------------------------------------------------------------------------------------


def dense(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    name, after = w.fused(part, common)
    return [w.make("Dense", part, common, layer.units, name, use_bias=layer.use_bias,
                   weights=values(part, "kernel", "bias")), *after]


def conv(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    axes = 1 if isinstance(layer, layers.Conv1D) else 2
    if max(pair(layer.strides, axes)) > 1 and max(pair(layer.dilation_rate, axes)) > 1:
        raise fail(part, "strides 1 or dilation_rate 1", (layer.strides, layer.dilation_rate))
    name, after = w.fused(part, common)
    before, padding = [], layer.padding
    if not isinstance(padding, str):
        zeros, padding = pads(padding, axes), "valid"
        if any(map(any, zeros)):
            before = [w.make(f"ZeroPadding{axes}D", part, common, keras_pads(zeros), role="padding")]
    return [*before, w.make(
        f"Conv{axes}D", part, common, layer.filters, layer.kernel_size, layer.strides, padding,
        dilation_rate=layer.dilation_rate, groups=layer.groups, activation=name, use_bias=layer.use_bias,
        weights=values(part, "kernel", "bias")), *after]


def pooling(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    """Padding other than Keras' own "same" is zeros that are never the largest number, or none."""
    layer: Any = part.layer
    axes = len(part.input_shape) - 1
    kind = "Max" if isinstance(layer, (layers.MaxPool1D, layers.MaxPool2D)) else "Average"
    strides = layer.pool_size if layer.strides is None else layer.strides
    before, padding = [], layer.padding
    if not isinstance(padding, str):
        zeros = pads(padding, axes)
        windows = list(zip(part.input_shape, part.output_shape, pair(layer.pool_size, axes)[-axes:],
                           pair(strides, axes)[-axes:], zeros))
        if not any(map(any, zeros)):
            padding = "valid"
        elif all(place(n, size, step, 1, "same")[::2] == (first, count)
                 for n, count, size, step, (first, _) in windows):
            padding = "same"
        elif kind == "Max" and positive:
            padding = "valid"
            before = [w.make(f"ZeroPadding{axes}D", part, common, keras_pads(zeros), role="padding")]
        else:
            raise fail(part, "padding 'valid' or 'same'" + (
                ", or an input that is never negative" if kind == "Max" else ""), layer.padding)
    return [*before, w.make(f"{kind}Pooling{axes}D", part, common, layer.pool_size, strides, padding)]


def global_pooling(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    kind = "Max" if "Max" in type(part.layer).__name__ else "Average"
    return [w.make(f"Global{kind}Pooling{len(part.input_shape) - 1}D", part, common)]


def recurrent_layer(w: Writer, part: Part, common: dict[str, Any], layer: Any, name: str) -> Any:
    kind = {"RNN": "SimpleRNN"}.get(type(layer).__name__, type(layer).__name__)
    options = {"return_sequences": layer.return_sequences, "go_backwards": layer.go_backwards,
               "use_bias": layer.use_bias}
    if kind == "SimpleRNN":
        activation = check_activation(OWNER, layer.activation)
        if activation not in ACTIVATIONS:
            raise fail(part, "an activation that Keras has as a name", activation)
        if layer.leak != 1:
            raise fail(part, "leak 1", layer.leak)
        options["activation"] = ACTIVATIONS[activation]
    return getattr(w.keras.layers, kind)(layer.units, name=name, **common, **options)


def recurrent_weights(layer: Any, own: dict[str, np.ndarray]) -> list[np.ndarray]:
    if not isinstance(layer, layers.GRU):
        return [own[name] for name in ("kernel", "recurrent_kernel", "bias") if name in own]

    def turned(array: np.ndarray) -> np.ndarray:
        r, z, n = np.split(array, 3, axis=-1)
        return np.concatenate([z, r, n], axis=-1)

    found = [turned(own["kernel"]), turned(own["recurrent_kernel"])]
    if "bias" in own:
        states = np.concatenate([np.zeros_like(own["bias"][:2 * layer.units]), own["recurrent_bias"]])
        found.append(np.stack([turned(own["bias"]), states]))
    return found


def recurrent(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    made = recurrent_layer(w, part, common, part.layer, w.name(part))
    return [Item(made, recurrent_weights(part.layer, part.weights))]


def bidirectional(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    inner = layer.layer
    if inner.go_backwards and inner.return_sequences:
        raise fail(part, "a layer that reads forwards", inner)
    mirrored = type(inner).from_config({**inner.get_config(), "go_backwards": not inner.go_backwards})
    forward, backward = (recurrent_layer(w, part, common, each, name)
                         for each, name in ((inner, "forward"), (mirrored, "backward")))
    both = w.make("Bidirectional", part, common, forward, merge_mode=layer.merge_mode, backward_layer=backward)
    weights = [array for direction in ("forward.", "backward.") for array in recurrent_weights(inner, {
        name.removeprefix(direction): value for name, value in part.weights.items() if name.startswith(direction)})]
    return [Item(both.apply, weights)]


def embedding(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("Embedding", part, common, layer.input_dim, layer.output_dim, weights=values(part, "table"))]


def batch_norm(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("BatchNormalization", part, common, momentum=layer.momentum, epsilon=layer.epsilon,
                   weights=values(part, "gamma", "beta", "mean", "variance"))]


def layer_norm(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    axis = list(layer.axis) if isinstance(layer.axis, tuple) else layer.axis
    return [w.make("LayerNormalization", part, common, axis=axis, epsilon=layer.epsilon,
                   weights=values(part, "gamma", "beta"))]


def normalization(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("Normalization", part, common, axis=layer.axis, mean=part.weights["mean"].tolist(),
                   variance=part.weights["variance"].tolist())]


def activation(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.applied(part, common, check_activation(OWNER, layer.activation), layer.negative_slope)]


def prelu(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    shared = None if layer.shared_axes is None else list(layer.shared_axes)
    return [w.make("PReLU", part, common, shared_axes=shared, weights=values(part, "alpha"))]


def zero_padding(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    axes = 1 if isinstance(layer, layers.ZeroPadding1D) else 2
    return [w.make(f"ZeroPadding{axes}D", part, common, keras_pads(pads(layer.padding, axes)))]


def dropout(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("Dropout", part, common, layer.rate)]


def noise(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    if layer.stddev > 1:                # Keras takes no more
        raise fail(part, "a stddev of at most 1", layer.stddev)
    return [w.make("GaussianNoise", part, common, layer.stddev)]


def flip(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("RandomFlip", part, common, layer.mode, data_format="channels_last")]


def translation(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("RandomTranslation", part, common, layer.height_factor, layer.width_factor, fill_mode="constant",
                   interpolation="nearest", fill_value=0.0, data_format="channels_last")]


def up_sampling(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make(type(layer).__name__, part, common, layer.size)]


def flatten(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    return [w.make("Flatten", part, common)]


def reshape(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("Reshape", part, common, layer.target_shape)]


def permute(w: Writer, part: Part, common: dict[str, Any], positive: bool) -> list[Item]:
    layer: Any = part.layer
    return [w.make("Permute", part, common, layer.dims)]


WRITERS: dict[type[Layer], Write] = {
    layers.Dense: dense, layers.Conv1D: conv, layers.Conv2D: conv, layers.Embedding: embedding,
    layers.BatchNorm: batch_norm, layers.LayerNorm: layer_norm, layers.Normalization: normalization,
    layers.RNN: recurrent, layers.LSTM: recurrent, layers.GRU: recurrent, layers.Bidirectional: bidirectional,
    layers.Activation: activation, layers.PReLU: prelu, layers.Dropout: dropout, layers.Flatten: flatten,
    layers.GaussianNoise: noise, layers.RandomFlip: flip, layers.RandomTranslation: translation,
    layers.Reshape: reshape, layers.Permute: permute,
    layers.ZeroPadding1D: zero_padding, layers.ZeroPadding2D: zero_padding,
    layers.UpSampling1D: up_sampling, layers.UpSampling2D: up_sampling,
    **dict.fromkeys((layers.MaxPool1D, layers.MaxPool2D, layers.AvgPool1D, layers.AvgPool2D), pooling),
    **dict.fromkeys((layers.GlobalMaxPool1D, layers.GlobalMaxPool2D, layers.GlobalAvgPool1D, layers.GlobalAvgPool2D),
                    global_pooling),
}


def apply(keras: Any, written: Sequence[Any], x: Any) -> Any:
    """The output of items and branches for a symbolic tensor."""
    for each in written:
        if isinstance(each, Item):
            x = each.apply(x)
        else:
            merge, paths = each
            x = merge([apply(keras, path, x) for path in paths])
    return x


def flat(written: Sequence[Any]) -> list[Item]:
    """All items, those of branches included."""
    found = []
    for each in written:
        found += [each] if isinstance(each, Item) else [item for path in each[1] for item in flat(path)]
    return found


def write_model(keras: Any, chain: Sequence[Part], input_shape: tuple[int, ...], dtype: str) -> Any:
    """A Sequential of Keras or, with branches or functions in it, a functional model.

    Raises
    ------
    ValueError
        All layers without a counterpart, before any is made into a model.
    """
    writer = Writer(keras, dtype)
    written, _ = writer.chain(chain)
    if writer.faults:
        raise ValueError(f"{OWNER}: {listed(writer.faults, '; ')}.")
    items = flat(written)
    x = keras.Input(input_shape, dtype=dtype)
    if all(isinstance(each, Item) and isinstance(each.apply, keras.layers.Layer) for each in written):
        model = keras.Sequential([x, *(item.apply for item in items)])
    else:
        model = keras.Model(x, apply(keras, written, x))
    for item in items:
        if len(item.weights):
            item.apply.set_weights(list(item.weights))
    return model
