"""The same network in PyTorch: layers applied one by one to tensors that have the library's names and shapes.

The tensors are leaves in the library's own layout, and are transposed on the way into PyTorch's functions;
autograd so gives each gradient under the library's name, in its layout.
"""
from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

ACTIVATIONS = {
    "identity": lambda x: x, "relu": F.relu, "leaky_relu": F.leaky_relu, "elu": F.elu, "selu": F.selu,
    "gelu": F.gelu, "silu": F.silu, "softplus": F.softplus, "tanh": torch.tanh, "logistic": torch.sigmoid,
    "softmax": lambda x: F.softmax(x, dim=-1), "mish": F.mish,
    # F.hardsigmoid takes the gradient's 1/6 in float32 whatever the dtype
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
    "hard_silu": F.hardswish, "relu6": F.relu6, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
CONVOLUTION = {1: F.conv1d, 2: F.conv2d}
POOL = {"max": {1: F.max_pool1d, 2: F.max_pool2d}, "mean": {1: F.avg_pool1d, 2: F.avg_pool2d}}


def per_axis(value, axes):
    return tuple(value) if isinstance(value, tuple) else (value,) * axes


def pads(padding, sizes, kernel, strides, dilation):
    """(before, after) of each axis, written down from the meaning of the names."""
    out = []
    # with one axis a pair is (before, after)
    along = (padding,) if len(sizes) == 1 else per_axis(padding, 2)
    for n, k, s, d, p in zip(sizes, kernel, strides, dilation, along):
        reach = (k - 1) * d + 1
        if p == "same":
            total = max((math.ceil(n / s) - 1) * s + reach - n, 0)
            out.append((total // 2, total - total // 2))
        elif p == "causal":
            out.append((reach - 1, 0))
        else:
            out.append((0, 0) if p == "valid" else p if isinstance(p, tuple) else (p, p))
    return out


def pad(x, around, value=0.0):
    # F.pad begins with the last axis
    return F.pad(x, [n for pair in reversed(around) for n in pair], value=value)


def convolution(layer, p, x):
    axes = x.ndim - 2
    kernel, strides, dilation = (
        per_axis(v, axes) for v in (layer.kernel_size, layer.strides, layer.dilation_rate))
    x = x.movedim(-1, 1)
    x = pad(x, pads(layer.padding, x.shape[2:], kernel, strides, dilation))
    # contiguous: the backward pass of some of PyTorch's convolutions asks for it
    weight = p["kernel"].movedim((-1, -2), (0, 1)).contiguous()
    y = CONVOLUTION[axes](x, weight, p.get("bias"), strides, 0, dilation, layer.groups)
    return ACTIVATIONS[layer.activation or "identity"](y.movedim(1, -1))


def pooling(kind):
    def apply(layer, p, x):
        axes = x.ndim - 2
        kernel = per_axis(layer.pool_size, axes)
        strides = kernel if layer.strides is None else per_axis(layer.strides, axes)
        x = x.movedim(-1, 1)
        around = pads(layer.padding, x.shape[2:], kernel, strides, (1,) * axes)
        pool = POOL[kind][axes]
        if all(a == b and a <= k // 2 for (a, b), k in zip(around, kernel)):
            # what PyTorch can pad itself
            options = {"count_include_pad": False} if kind == "mean" else {}
            y = pool(x, kernel, strides, tuple(a for a, _ in around), **options)
        elif kind == "max":
            y = pool(pad(x, around, -math.inf), kernel, strides)
        else:
            # means over the padded window, divided by the share of it that is not padding
            y = pool(pad(x, around), kernel, strides) / pool(pad(torch.ones_like(x), around), kernel, strides)
        return y.movedim(1, -1)
    return apply


def zero_padding(layer, p, x):
    return pad(x, [*pads(layer.padding, x.shape[1:-1], *[(1,) * (x.ndim - 2)] * 3), (0, 0)])


def global_pooling(kind):
    def apply(layer, p, x):
        axes = tuple(range(1, x.ndim - 1))
        return x.amax(axes) if kind == "max" else x.mean(axes)
    return apply


def recurrent_weights(p, units):
    """PyTorch's names and layouts for the parameters of a recurrent layer."""
    kernel = p["kernel"]
    zeros = kernel.new_zeros(kernel.shape[1])
    hidden = zeros
    if "recurrent_bias" in p:
        # the candidate's bias within r * (h U + c); those of r and z are in ``bias``
        hidden = torch.cat([kernel.new_zeros(2 * units), p["recurrent_bias"]])
    return {"weight_ih_l0": kernel.T, "weight_hh_l0": p["recurrent_kernel"].T,
            "bias_ih_l0": p.get("bias", zeros), "bias_hh_l0": hidden}


def leaky(layer, p, x, lengths=None):
    """Step by step, since nn.RNN does not leak."""
    f, n, steps = ACTIVATIONS[layer.activation or "identity"], len(x), x.shape[1]
    own = torch.full((n,), steps) if lengths is None else torch.as_tensor(lengths)
    h, states = x.new_zeros(n, layer.units), []
    for t in range(steps):
        at = (own - 1 - t if layer.go_backwards else torch.full((n,), t)).clamp(min=0)
        new = f(x[torch.arange(n), at] @ p["kernel"] + h @ p["recurrent_kernel"] + p.get("bias", 0))
        valid = (t < own)[:, None]
        h = torch.where(valid, (1 - layer.leak) * h + layer.leak * new, h)
        states.append(torch.where(valid, h, 0))
    return torch.stack(states, dim=1) if layer.return_sequences else h


def recurrent(module):
    """Of nn.RNN, nn.LSTM or nn.GRU; ``lengths`` goes through packed sequences."""
    def apply(layer, p, x, lengths=None):
        if getattr(layer, "leak", 1) != 1:
            return leaky(layer, p, x, lengths)
        activation = {"nonlinearity": layer.activation} if module is torch.nn.RNN else {}
        cell = module(x.shape[2], layer.units, batch_first=True, dtype=x.dtype, **activation)
        weights = recurrent_weights(p, layer.units)
        steps = x.shape[1]
        own = [steps] * len(x) if lengths is None else [int(n) for n in lengths]
        if layer.go_backwards:
            x = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(x, own)])
        if lengths is not None:
            x = torch.nn.utils.rnn.pack_padded_sequence(x, own, batch_first=True, enforce_sorted=False)
        y, last = torch.func.functional_call(cell, weights, (x,))
        if not layer.return_sequences:
            return (last[0] if isinstance(last, tuple) else last)[0]
        if lengths is not None:
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=steps)
        return y
    return apply


def activation(layer, p, x):
    if layer.activation == "leaky_relu":
        return F.leaky_relu(x, layer.negative_slope)
    return ACTIVATIONS[layer.activation](x)


def dense(layer, p, x):
    return ACTIVATIONS[layer.activation or "identity"](F.linear(x, p["kernel"].T, p.get("bias")))


def below(p, name):
    """The entries of a layer, under the names that they have in it."""
    return {key.removeprefix(name + "."): t for key, t in p.items() if key.startswith(name + ".")}


def batch_norm(layer, p, x):
    """With running statistics in ``p`` inference; without them training, by the statistics of the batch."""
    y = F.batch_norm(
        x.movedim(-1, 1), p.get("mean"), p.get("variance"), p["gamma"], p["beta"], training="mean" not in p,
        eps=layer.epsilon)
    return y.movedim(1, -1)


def layer_norm(layer, p, x):
    given = layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
    axes = sorted(axis % x.ndim for axis in given)
    last = tuple(range(-len(axes), 0))
    y = F.layer_norm(x.movedim(axes, last), p["gamma"].shape, p["gamma"], p["beta"], layer.epsilon)
    return y.movedim(last, axes)


def normalization(layer, p, x):
    """Numbers that PyTorch's buffers would hold; at least 1e-7, as in Keras."""
    given = () if layer.axis is None else layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
    axes = [axis % x.ndim for axis in given]
    shape = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
    return (x - p["mean"].reshape(shape)) / p["variance"].reshape(shape).sqrt().clamp(min=1e-7)


def category_embedding(layer, p, x):
    """A table for each column of categories, with the mean by its counts in a further row, behind the numbers."""
    names = layer.names or [f"x{place}" for place in layer.places]
    parts = [x[:, [i for i in range(x.shape[1]) if i not in layer.places]]]
    for name, place in zip(names, layer.places):
        table = p[f"{name}.table"]
        counts = p.get(f"{name}.counts", torch.ones(len(table), dtype=x.dtype))
        mean = counts @ table / counts.sum()
        parts.append(F.embedding(x[:, place].long(), torch.cat([table, mean[None]])))
    return torch.cat(parts, 1)


def prelu(layer, p, x):
    """PyTorch shares slopes among all axes but one, so that each number of a row gets its own."""
    return F.prelu(x.flatten(1), p["alpha"].expand(x.shape[1:]).flatten()).reshape(x.shape)


def paths(layer, p, x):
    return [forward(path, below(p, str(i)), x) for i, path in enumerate(layer.paths)]


def bidirectional(layer, p, x):
    """By nn.RNN, nn.LSTM or nn.GRU with ``bidirectional``, which holds both directions itself."""
    inner = layer.layer
    module = {"RNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[type(inner).__name__]
    activation = {"nonlinearity": inner.activation} if module is torch.nn.RNN else {}
    cell = module(
        x.shape[2], inner.units, batch_first=True, dtype=x.dtype, bidirectional=True, **activation)
    weights = recurrent_weights(below(p, "forward"), inner.units)
    back = recurrent_weights(below(p, "backward"), inner.units)
    weights |= {f"{key}_reverse": t for key, t in back.items()}
    y, last = torch.func.functional_call(cell, weights, (x,))
    if inner.return_sequences:
        first, second = y[..., :inner.units], y[..., inner.units:]
    else:
        first, second = last[0] if isinstance(last, tuple) else last
    return torch.cat([first, second], dim=-1) if layer.merge_mode == "concat" else first + second


APPLY = {
    "Dense": dense, "Conv1D": convolution, "Conv2D": convolution,
    "MaxPool1D": pooling("max"), "MaxPool2D": pooling("max"),
    "AvgPool1D": pooling("mean"), "AvgPool2D": pooling("mean"),
    "GlobalMaxPool1D": global_pooling("max"), "GlobalMaxPool2D": global_pooling("max"),
    "GlobalAvgPool1D": global_pooling("mean"), "GlobalAvgPool2D": global_pooling("mean"),
    "ZeroPadding1D": zero_padding, "ZeroPadding2D": zero_padding,
    "RNN": recurrent(torch.nn.RNN), "LSTM": recurrent(torch.nn.LSTM), "GRU": recurrent(torch.nn.GRU),
    "Activation": activation,
    **dict.fromkeys(("Dropout", "GaussianNoise", "RandomFlip", "RandomTranslation"), lambda layer, p, x: x),
    "UpSampling1D": lambda layer, p, x: x.repeat_interleave(layer.size, 1),
    "UpSampling2D": lambda layer, p, x: x.repeat_interleave(per_axis(layer.size, 2)[0], 1).repeat_interleave(
        per_axis(layer.size, 2)[1], 2),
    "Flatten": lambda layer, p, x: x.flatten(1),
    "Permute": lambda layer, p, x: x.permute(0, *layer.dims),
    "Reshape": lambda layer, p, x: x.reshape(len(x), *layer.target_shape),
    "BatchNorm": batch_norm, "LayerNorm": layer_norm, "PReLU": prelu, "Normalization": normalization,
    "Embedding": lambda layer, p, x: F.embedding(x.long(), p["table"]),
    "CategoryEmbedding": category_embedding,
    "Add": lambda layer, p, x: sum(paths(layer, p, x)),
    "Multiply": lambda layer, p, x: math.prod(paths(layer, p, x)),
    "Concatenate": lambda layer, p, x: torch.cat(paths(layer, p, x), dim=-1),
    "Bidirectional": bidirectional,
    # a function that takes arrays and tensors alike
    "Custom": lambda layer, p, x: layer.forward(p, x),
}


def tensors(arrays, dtype=torch.float64, grad=True):
    """Leaves with the values of a mapping of names to arrays."""
    return {name: torch.tensor(np.array(a), dtype=dtype, requires_grad=grad) for name, a in arrays.items()}


def forward(layers, p, x):
    """The output of a stack: ``p`` maps the names that a model gives to tensors."""
    for i, layer in enumerate(layers):
        name = layer.name or f"{layer.default_name()}_{i}"
        x = APPLY[type(layer).__name__](layer, below(p, name), x)
    return x


def cross_entropy(out, y, smoothing):
    # class codes have one axis less than probabilities
    y = y.movedim(-1, 1) if y.ndim == out.ndim else y.long()
    return F.cross_entropy(out.movedim(-1, 1), y, reduction="none", label_smoothing=smoothing)


def hinge(out, y):
    """Crammer and Singer's: how much the largest of the others comes within 1 of the true class."""
    true = F.one_hot(y.long(), out.shape[-1]).bool()
    return F.relu(1 + out.masked_fill(true, -torch.inf).amax(-1) - out[true].reshape(y.shape))


# of each output, or of each vector of outputs
LOSSES = {
    "squared_error": lambda out, y, _: F.mse_loss(out, y, reduction="none"),
    "absolute_error": lambda out, y, _: F.l1_loss(out, y, reduction="none"),
    "huber": lambda out, y, _: F.huber_loss(out, y, reduction="none"),
    "quantile": lambda out, y, _: (out - y).abs() / 2,                       # of a half
    "poisson": lambda out, y, _: F.poisson_nll_loss(out, y, reduction="none"),
    "binary_log_loss": lambda out, y, _: F.binary_cross_entropy_with_logits(out, y, reduction="none"),
    "log_loss": cross_entropy,
    "hinge": lambda out, y, _: hinge(out, y),
}


def loss(name, out, y, weights=None, label_smoothing=0.0):
    """Weighted mean over the batch of each row's mean over its outputs."""
    rows = LOSSES[name](out, y, label_smoothing).reshape(len(out), -1).mean(1)
    return rows.mean() if weights is None else (weights * rows).sum() / weights.sum()
