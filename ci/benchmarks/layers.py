"""The layers of a row's network as plain descriptions, which every contender translates for itself.

Shapes are those of ldl_cy: images (height, width, channels), series (time, channels), ids of tokens (time,). Each layer
knows the shape of its output, the shapes of its weights under ldl_cy's names, in ldl_cy's layouts and order, and the
multiply-adds of its forward pass over one sample.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


class Layer:
    """A layer without weights, whose output has the shape of its input."""

    def after(self, shape):
        """The shape of the output."""
        return shape

    def weights(self, shape):
        """{name: shape}."""
        return {}

    def products(self, shape):
        """Multiply-adds of one sample: (those with the input, those with the layer's own state)."""
        return 0, 0


@dataclass(frozen=True)
class Dense(Layer):
    units: int
    activation: str | None = None

    def after(self, shape):
        return (self.units,)

    def weights(self, shape):
        return {"kernel": (*shape, self.units), "bias": (self.units,)}

    def products(self, shape):
        return shape[0] * self.units, 0


@dataclass(frozen=True)
class Conv(Layer):
    """Along all axes of the input but the last: images or series. ``padding`` is of zeros before and after."""

    filters: int
    size: int
    padding: tuple[int, int] = (0, 0)
    activation: str | None = None
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = True

    def after(self, shape):
        window = self.dilation * (self.size - 1) + 1
        return (*((n + sum(self.padding) - window) // self.stride + 1 for n in shape[:-1]), self.filters)

    def weights(self, shape):
        kernel = (*[self.size] * (len(shape) - 1), shape[-1] // self.groups, self.filters)
        return {"kernel": kernel, **({"bias": (self.filters,)} if self.bias else {})}

    def products(self, shape):
        return math.prod(self.after(shape)[:-1]) * math.prod(self.weights(shape)["kernel"]), 0


@dataclass(frozen=True)
class Norm(Layer):
    epsilon: float = 1e-5

    def weights(self, shape):
        return {"gamma": shape[-1:], "beta": shape[-1:]}


class BatchNorm(Norm):
    """Of each channel over the batch and the other axes."""


class LayerNorm(Norm):
    """Over the last axis."""


@dataclass(frozen=True)
class Activation(Layer):
    name: str


@dataclass(frozen=True)
class Pool(Layer):
    """Maxima ("max") or means ("mean") of windows; ``padding`` is before and after, and is never the largest."""

    kind: str
    size: int = 2
    stride: int | None = None
    padding: int = 0

    @property
    def step(self):
        return self.stride or self.size

    def after(self, shape):
        return (*((n + 2 * self.padding - self.size) // self.step + 1 for n in shape[:-1]), shape[-1])


@dataclass(frozen=True)
class GlobalMean(Layer):
    """Over all axes but the last."""

    def after(self, shape):
        return shape[-1:]


@dataclass(frozen=True)
class Flatten(Layer):
    def after(self, shape):
        return (math.prod(shape),)


@dataclass(frozen=True)
class Embedding(Layer):
    tokens: int
    width: int

    def after(self, shape):
        return (*shape, self.width)

    def weights(self, shape):
        return {"embeddings": (self.tokens, self.width)}


@dataclass(frozen=True)
class Recurrent(Layer):
    """The last state, or with ``sequences`` that of every step; with ``both`` of two layers, in both directions."""

    cell: str
    units: int
    sequences: bool = False
    both: bool = False

    def after(self, shape):
        width = (1 + self.both) * self.units
        return (shape[0], width) if self.sequences else (width,)

    def weights(self, shape):
        wide = GATES[self.cell] * self.units
        one = {"kernel": (shape[1], wide), "recurrent_kernel": (self.units, wide), "bias": (wide,),
               **({"recurrent_bias": (self.units,)} if self.cell == "gru" else {})}
        if not self.both:
            return one
        return {f"{direction}.{name}": of for direction in ("forward", "backward") for name, of in one.items()}

    def products(self, shape):
        steps = (1 + self.both) * shape[0] * GATES[self.cell]
        return steps * shape[1] * self.units, steps * self.units**2


@dataclass(frozen=True)
class Widen(Layer):
    """Every second pixel, with as many channels of zeros before and after the others: a shortcut without weights."""

    channels: int

    def after(self, shape):
        return (*(-(-n // 2) for n in shape[:-1]), shape[-1] + 2 * self.channels)


@dataclass(frozen=True, init=False)
class Branches(Layer):
    """Several stacks of layers on one input; an empty one is the input itself."""

    paths: tuple[tuple[Layer, ...], ...]

    def __init__(self, *paths):
        object.__setattr__(self, "paths", tuple(map(tuple, paths)))


class Add(Branches):
    """The sum of the paths."""

    def after(self, shape):
        return after(self.paths[0], shape)


class Concatenate(Branches):
    """The outputs of the paths, one after the other along the channels."""

    def after(self, shape):
        shapes = [after(path, shape) for path in self.paths]
        return (*shapes[0][:-1], sum(one[-1] for one in shapes))


def after(network, shape):
    """The shape of the output of a stack of layers."""
    for layer in network:
        shape = layer.after(shape)
    return shape


def walk(network, shape):
    """(layer, its input's shape, its output's shape) from the first to the last; of branches, the layers inside."""
    for layer in network:
        if isinstance(layer, Branches):
            for path in layer.paths:
                yield from walk(path, shape)
        else:
            yield layer, shape, layer.after(shape)
        shape = layer.after(shape)
