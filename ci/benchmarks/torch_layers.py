"""The layers of a row as torch's modules, with the weights that all contenders have."""
from __future__ import annotations

import numpy as np
import torch
from torch import nn

import benchmarks.layers as described
from benchmarks.weights import channels_first, draw

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class States(nn.Module):
    """A recurrent layer of which all states are kept, or the last of each direction."""

    def __init__(self, cell, layer, setting):
        super().__init__()
        self.cell, self.layer = cell, layer
        self.time, self.last = 1 if setting["batch"] == "first" else 0, setting["last"]

    def forward(self, x):
        y, state = self.cell(x)
        if self.layer.sequences:
            return y
        if self.last == "output":
            if not self.layer.both:
                return y.select(self.time, -1)
            n = self.layer.units
            return torch.cat([y.select(self.time, -1)[:, :n], y.select(self.time, 0)[:, n:]], 1)
        h = state[0] if isinstance(state, tuple) else state
        return torch.cat([h[0], h[1]], 1) if self.layer.both else h[0]


class Branches(nn.Module):
    """The sum of paths, or their outputs one after the other."""

    def __init__(self, paths, add):
        super().__init__()
        self.paths, self.add = nn.ModuleList(paths), add

    def forward(self, x):
        values = [path(x) for path in self.paths]
        return sum(values[1:], start=values[0]) if self.add else torch.cat(values, 1)


class Widen(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.channels, self.channels))


class GlobalMean(nn.Module):
    def forward(self, x):
        return x.mean(tuple(range(2, x.ndim)))


def network(row, dtype, setting):
    """The row's network as an nn.Sequential."""
    made = Maker(iter(draw(row, dtype)), setting).stack(row.network, row.shape)
    return made.to(getattr(torch, dtype))


class Maker:
    """Makes modules in order, each with the next of the given weights."""

    def __init__(self, weights, setting):
        self.weights, self.setting = weights, setting
        self.flattened = None                       # the shape of the images that the last Flatten has read

    def stack(self, network, shape):
        made = []
        for layer in network:
            made += self.modules(layer, shape)
            shape = layer.after(shape)
        return nn.Sequential(*made)

    def modules(self, layer, shape):
        """One description as a list of modules."""
        images = len(shape) == 3
        match layer:
            case described.Dense(units, activation):
                return [self.linear(nn.Linear(shape[0], units)), *activated(activation)]
            case described.Conv():
                return [*self.convolution(layer, shape, images), *activated(layer.activation)]
            case described.BatchNorm(epsilon):
                kind = nn.BatchNorm2d if images else nn.BatchNorm1d
                return [self.norm(kind(shape[-1], eps=epsilon))]
            case described.LayerNorm(epsilon):
                return [self.norm(nn.LayerNorm(shape[-1], eps=epsilon))]
            case described.Activation(name):
                return activated(name)
            case described.Pool(kind, size, stride, padding):
                names = {"max": ("MaxPool1d", "MaxPool2d"), "mean": ("AvgPool1d", "AvgPool2d")}
                return [getattr(nn, names[kind][images])(size, stride, padding)]
            case described.GlobalMean():
                return [GlobalMean()]
            case described.Flatten():
                self.flattened = shape
                return [nn.Flatten()]
            case described.Embedding(tokens, width):
                made = nn.Embedding(tokens, width)
                fill(made.weight, next(self.weights)["embeddings"])
                return [made]
            case described.Recurrent(cell, units):
                made = CELLS[cell](shape[1], units, batch_first=self.setting["batch"] == "first",
                                   bidirectional=layer.both)
                return [States(self.recurrent(made, layer), layer, self.setting)]
            case described.Widen(channels):
                return [Widen(channels)]
            case described.Branches(paths):
                return [Branches([self.stack(path, shape) for path in paths], isinstance(layer, described.Add))]
        raise TypeError(f"no module for {layer!r}")

    def linear(self, made):
        given = next(self.weights)
        kernel = given["kernel"]
        if self.flattened is not None:
            kernel = channels_first(kernel, self.flattened)
            self.flattened = None
        fill(made.weight, kernel.T)
        fill(made.bias, given["bias"])
        return made

    def convolution(self, layer, shape, images):
        """The convolution, behind the zeros that it can't add itself: more at one end than at the other."""
        before, after = layer.padding
        both = min(before, after)
        kind = nn.Conv2d if images else nn.Conv1d
        made = kind(shape[-1], layer.filters, layer.size, layer.stride, both, layer.dilation, layer.groups, layer.bias)
        given = next(self.weights)
        fill(made.weight, np.moveaxis(given["kernel"], (-1, -2), (0, 1)))
        if layer.bias:
            fill(made.bias, given["bias"])
        uneven = (before - both, after - both)
        return [*([nn.ConstantPad1d(uneven, 0.0)] if any(uneven) else []), made]

    def norm(self, made):
        given = next(self.weights)
        fill(made.weight, given["gamma"])
        fill(made.bias, given["beta"])
        return made

    def recurrent(self, made, layer):
        """Weights of both directions; torch's second bias is only needed by a GRU's candidate, else it is 0."""
        given = next(self.weights)
        for prefix, suffix in (("forward.", ""), ("backward.", "_reverse")) if layer.both else (("", ""),):
            one = {name.removeprefix(prefix): array for name, array in given.items() if name.startswith(prefix)}
            second = np.zeros_like(one["bias"])
            if layer.cell == "gru":
                second[2 * layer.units:] = one["recurrent_bias"]
            for name, array in (("weight_ih_l0", one["kernel"].T), ("weight_hh_l0", one["recurrent_kernel"].T),
                                ("bias_ih_l0", one["bias"]), ("bias_hh_l0", second)):
                fill(getattr(made, name + suffix), array)
        return made


def activated(name):
    return [] if name is None else [ACTIVATIONS[name]()]


def fill(parameter, array):
    """Give a parameter its numbers, in their dtype."""
    if tuple(parameter.shape) != array.shape:
        raise ValueError(f"a parameter of shape {tuple(parameter.shape)} got {array.shape}")
    parameter.data = torch.from_numpy(np.array(array, order="C"))
