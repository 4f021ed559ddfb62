"""The layers of a row as functions of JAX: images (n, h, w, c), series (n, time, c), sequences (time, n, features).

Weights are dicts by ldl_cy's names, in its layouts. BatchNorm uses the statistics of the batch in training, which
returns the next running statistics, and those otherwise.
"""
from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

import benchmarks.layers as described

MOMENTUM = 0.9
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": lambda x: jax.nn.gelu(x, approximate=False)}


def activated(name, x):
    return x if name is None else ACTIVATIONS[name](x)


class Pass:
    """One forward pass: weights and running statistics are taken in order."""

    def __init__(self, weights, running, training, unroll):
        self.weights, self.running = iter(weights), iter(running)
        self.training, self.unroll, self.updated = training, unroll, []

    def stack(self, network, x):
        for layer in network:
            x = self.apply(layer, x)
        return x

    def apply(self, layer, x):
        match layer:
            case described.Dense(_, activation):
                w = next(self.weights)
                return activated(activation, x @ w["kernel"] + w["bias"])
            case described.Conv():
                return self.convolution(layer, x)
            case described.BatchNorm(epsilon):
                return self.batch_norm(epsilon, x)
            case described.LayerNorm(epsilon):
                w = next(self.weights)
                mean = x.mean(-1, keepdims=True)
                variance = jnp.square(x - mean).mean(-1, keepdims=True)
                return (x - mean) * lax.rsqrt(variance + epsilon) * w["gamma"] + w["beta"]
            case described.Activation(name):
                return activated(name, x)
            case described.Pool():
                return pool(layer, x)
            case described.GlobalMean():
                return x.mean(tuple(range(1, x.ndim - 1)))
            case described.Flatten():
                return x.reshape(len(x), -1)
            case described.Embedding():
                return next(self.weights)["embeddings"][x]
            case described.Recurrent():
                return self.recurrent(layer, x)
            case described.Widen(channels):
                return jnp.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (channels, channels)))
            case described.Branches(paths):
                values = [self.stack(path, x) for path in paths]
                if isinstance(layer, described.Add):
                    return sum(values[1:], start=values[0])
                return jnp.concatenate(values, -1)
        raise TypeError(f"no function for {layer!r}")

    def convolution(self, layer, x):
        w, axes = next(self.weights), x.ndim - 2
        letters = "HW"[:axes]
        y = lax.conv_general_dilated(
            x, w["kernel"], (layer.stride,) * axes, [layer.padding] * axes, rhs_dilation=(layer.dilation,) * axes,
            dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"), feature_group_count=layer.groups)
        return activated(layer.activation, y + w["bias"] if layer.bias else y)

    def batch_norm(self, epsilon, x):
        w, (mean, variance) = next(self.weights), next(self.running)
        if self.training:
            axes = tuple(range(x.ndim - 1))
            now = x.mean(axes)
            spread = jnp.square(x - now).mean(axes)
            self.updated.append((MOMENTUM * mean + (1 - MOMENTUM) * now, MOMENTUM * variance + (1 - MOMENTUM) * spread))
            mean, variance = now, spread
        return (x - mean) * (lax.rsqrt(variance + epsilon) * w["gamma"]) + w["beta"]

    def recurrent(self, layer, x):
        w = next(self.weights)
        if not layer.both:
            return self.direction(layer, w, x, False)
        one, other = ({name.removeprefix(way): array for name, array in w.items() if name.startswith(way)}
                      for way in ("forward.", "backward."))
        return jnp.concatenate([self.direction(layer, one, x, False), self.direction(layer, other, x, True)], -1)

    def direction(self, layer, w, x, backwards):
        """States of one direction; the product with the inputs of all steps comes first."""
        h = jnp.zeros((x.shape[1], layer.units), x.dtype)
        begin = (h, h) if layer.cell == "lstm" else h
        end, states = lax.scan(lambda state, z: cell(layer, w, state, z), begin, x @ w["kernel"] + w["bias"],
                               reverse=backwards, unroll=self.unroll)
        return states if layer.sequences else end[0] if layer.cell == "lstm" else end


def cell(layer, w, state, z):
    """One step: (the next state, what is kept of each step). z are the products with the input, with the bias."""
    n = layer.units
    if layer.cell == "lstm":
        h, c = state
        z = z + h @ w["recurrent_kernel"]
        i, f, o = (jax.nn.sigmoid(z[:, k * n:(k + 1) * n]) for k in (0, 1, 3))
        c = f * c + i * jnp.tanh(z[:, 2 * n:3 * n])
        h = o * jnp.tanh(c)
        state = h, c
    elif layer.cell == "gru":
        product = state @ w["recurrent_kernel"]
        r, u = (jax.nn.sigmoid(z[:, k * n:(k + 1) * n] + product[:, k * n:(k + 1) * n]) for k in (0, 1))
        new = jnp.tanh(z[:, 2 * n:] + r * (product[:, 2 * n:] + w["recurrent_bias"]))
        state = h = (1 - u) * new + u * state
    else:
        state = h = jnp.tanh(z + state @ w["recurrent_kernel"])
    return state, h if layer.sequences else None


def pool(layer, x):
    axes = x.ndim - 2
    window, strides = (1, *[layer.size] * axes, 1), (1, *[layer.step] * axes, 1)
    padding = [(0, 0), *[(layer.padding, layer.padding)] * axes, (0, 0)]
    if layer.kind == "max":
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)
    return lax.reduce_window(x, 0.0, lax.add, window, strides, padding) / layer.size**axes
