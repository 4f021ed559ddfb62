"""PyTorch's networks through its exporters and ``from_onnx``: the same outputs in float32.

LDL_CY_ORACLE is the number of networks; 200 otherwise, of which one in 25 goes through torch.export, which is slow.
"""
from __future__ import annotations

import copy
import io
import logging
import os
import warnings

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'oracle' brings hypothesis, which draws the networks")
pytest.importorskip("onnxscript", reason="the extra 'oracle' brings onnxscript, by which PyTorch exports")
pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, which exports the graphs")

import onnx
import torch
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from torch import nn

from ldl_cy import interop

TOL = 2e-5                                              # of the largest output
WANTED = int(os.environ.get("LDL_CY_ORACLE") or 200)
DRAWS = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck),
         "phases": [Phase.generate]}                    # an export takes too long for hundreds of smaller examples
POINTWISE = [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, lambda: nn.GELU("tanh"), nn.SiLU, nn.Softplus,
             nn.Tanh, nn.Sigmoid, nn.Mish, nn.Hardsigmoid, nn.Hardswish, nn.PReLU, nn.Identity, lambda: nn.Dropout(0.3)]


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(channels, 2), nn.ReLU(), nn.Linear(2, channels), nn.Hardsigmoid())

    def forward(self, x):
        gate = self.dense(x.mean(tuple(range(2, x.ndim))))
        return x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))


class Inception(nn.Module):
    def __init__(self, *paths):
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x):
        return torch.cat([path(x) for path in self.paths], 1)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of maps."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class Flat(nn.Module):
    def forward(self, x):
        return x.contiguous().view(x.size(0), -1)


class Turned(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Recurrent(nn.Module):
    def __init__(self, cell, n_in, units, end, **options):
        super().__init__()
        self.cell, self.end = cell(n_in, units, batch_first=True, **options), end

    def forward(self, x):
        y, h = self.cell(x)
        if self.end == "state":
            h = h[0] if isinstance(h, tuple) else h
            return torch.cat([h[-2], h[-1]], 1) if self.cell.bidirectional else h[-1]
        return y[:, -1] if self.end == "last" else y.mean(1) if self.end == "mean" else y


def convolution(axes):
    return {1: nn.Conv1d, 2: nn.Conv2d}[axes]


@st.composite
def conv_part(draw, channels, axes):
    """(module, channels after it): a convolution with or without a norm, and what follows it."""
    kernel = draw(st.sampled_from([1, 2, 3]))
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    after = groups * draw(st.integers(1, 3))
    layer = convolution(axes)(channels, after, kernel, draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2 + 1)),
                              groups=groups, bias=draw(st.booleans()))
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[axes]
    parts = [layer, *([norm(after)] if draw(st.booleans()) else []), draw(st.sampled_from(POINTWISE))()]
    return nn.Sequential(*parts), after


@st.composite
def block(draw, channels, axes):
    """A module that keeps the map's size, or pools it, and its channels."""
    kind = draw(st.sampled_from(["residual", "mobile", "gate", "inception", "max", "mean", "norm", "prelu", "pad",
                                 "repeat"]))
    conv = convolution(axes)
    if kind == "residual":
        inner = nn.Sequential(conv(channels, 3, 3, padding=1), draw(st.sampled_from(POINTWISE))(),
                              conv(3, channels, 3, padding=2, dilation=2))
        return nn.Sequential(Residual(inner), nn.ReLU()), channels
    if kind == "mobile":
        return Residual(nn.Sequential(conv(channels, 6, 1, bias=False), nn.ReLU6(), conv(6, 6, 3, padding=1, groups=6),
                                      nn.ReLU6(), conv(6, channels, 1))), channels
    if kind == "inception":
        pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d}[axes]
        return Inception(conv(channels, 2, 1), nn.Sequential(conv(channels, 3, 3, padding=1), nn.ReLU()),
                         nn.Sequential(pool(3, 1, 1), conv(channels, 2, 1))), 7
    if kind in ("max", "mean"):
        size = draw(st.integers(2, 3))
        options = {"stride": draw(st.integers(1, 2)), "padding": draw(st.integers(0, size // 2))}
        if kind == "max":           # the mean's ceil_mode differs between the exporters' shapes and PyTorch
            options["ceil_mode"] = draw(st.booleans())
        else:
            options["count_include_pad"] = draw(st.booleans())
        return getattr(nn, f"{'Max' if kind == 'max' else 'Avg'}Pool{axes}d")(size, **options), channels
    if kind == "pad":
        around = draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes))
        return {1: nn.ConstantPad1d, 2: nn.ConstantPad2d}[axes](around, 0.0), channels
    if kind == "repeat":
        return nn.Upsample(scale_factor=draw(st.integers(1, 3))), channels
    return {"gate": Gate, "norm": ChannelNorm, "prelu": nn.PReLU}[kind](channels), channels


@st.composite
def dense_part(draw, n_in):
    parts = []
    for _ in range(draw(st.integers(0, 2))):
        units = draw(st.integers(1, 9))
        norm = draw(st.sampled_from([None, nn.LayerNorm, nn.BatchNorm1d]))
        parts += [nn.Linear(n_in, units, bias=draw(st.booleans())), draw(st.sampled_from(POINTWISE))()]
        parts += [norm(units)] if norm else []
        n_in = units
    return [*parts, nn.Linear(n_in, draw(st.integers(1, 5))), *([nn.Softmax(-1)] if draw(st.booleans()) else [])]


@st.composite
def convolutional(draw):
    axes = draw(st.integers(1, 2))
    shape = (draw(st.integers(1, 4)), *(draw(st.integers(6, 12)) for _ in range(axes)))
    channels, parts = shape[0], []
    for _ in range(draw(st.integers(1, 4))):
        module, channels = draw(st.one_of(conv_part(channels, axes), block(channels, axes)))
        parts.append(module)
    if axes == 1 and draw(st.booleans()):
        return shape, nn.Sequential(*parts, Turned(), draw(recurrent_part(channels))[0])
    end = draw(st.sampled_from(["flatten", "view", "mean", "max", "map"]))
    if end == "map":
        return shape, nn.Sequential(*parts, convolution(axes)(channels, 2, 1))
    if end in ("mean", "max"):
        parts.append(getattr(nn, f"Adaptive{'Avg' if end == 'mean' else 'Max'}Pool{axes}d")(1))
    parts.append(Flat() if end == "view" else nn.Flatten())
    n_in = nn.Sequential(*parts).eval()(torch.zeros(1, *shape)).shape[1]
    return shape, nn.Sequential(*parts, *draw(dense_part(n_in)))


@st.composite
def recurrent_part(draw, n_in):
    units, both = draw(st.integers(1, 6)), draw(st.booleans())
    end = draw(st.sampled_from(["all", "state", "mean"] + ([] if both else ["last"])))
    cell = draw(st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
    return Recurrent(cell, n_in, units, end, num_layers=draw(st.integers(1, 2)), bidirectional=both,
                     bias=draw(st.booleans())), units * (1 + both)


@st.composite
def recurrent(draw):
    shape = (draw(st.integers(1, 8)), draw(st.integers(1, 5)))
    module, n_in = draw(recurrent_part(shape[1]))
    return shape, nn.Sequential(module, *draw(dense_part(n_in)) if module.end != "all" else [nn.Linear(n_in, 2)])


@st.composite
def dense(draw):
    shape = (draw(st.integers(1, 9)),)
    return shape, nn.Sequential(*draw(dense_part(*shape)))


NETWORKS = st.one_of(convolutional(), convolutional(), convolutional(), recurrent(), dense())


def exported(module, X, dynamo):
    """The graph that PyTorch writes, for any number of samples."""
    options = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    buffer = io.BytesIO()
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (X,), buffer, input_names=["x"], dynamo=dynamo, verbose=False, **options)
    finally:
        logging.disable(level)
    return onnx.load_model_from_string(buffer.getvalue())


def compare(tally, shape, module, seed, dynamo):
    torch.manual_seed(seed)
    module = copy.deepcopy(module).eval()
    with torch.no_grad():
        for values in (*module.parameters(), *module.buffers()):
            if values.dtype.is_floating_point:
                values.uniform_(0.5, 1.5) if values.ndim == 1 else values.normal_(0, 0.5)
        X = torch.randn(3, *shape)
        try:
            expected = module(X).numpy()
        except RuntimeError:
            reject()                            # windows that do not fit into the map
        proto = exported(module, X, dynamo)
    model = interop.from_onnx(proto)
    turned = model.input_shape != shape             # channels are fewer than steps or pixels, so the shape tells
    rows = np.moveaxis(X.numpy(), 1, -1) if turned else X.numpy()
    found = model.predict(np.ascontiguousarray(rows))
    if turned and isinstance(module[-1], (nn.Conv1d, nn.Conv2d)):
        found = np.moveaxis(found, -1, 1)
    assert found.shape == expected.shape
    error = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3)
    assert error <= TOL, (module, model.layers)
    tally.networks["torch.export" if dynamo else "TorchScript"] += 1
    tally.layers.update(type(layer).__name__ for layer in model.layers)
    tally.error("outputs through ONNX", error)


@settings(max_examples=WANTED - WANTED // 25, **DRAWS)
@given(NETWORKS, st.integers(0, 2**16))
def test_networks(tally, network, seed):
    compare(tally, *network, seed, dynamo=False)


@settings(max_examples=WANTED // 25, **DRAWS)
@given(st.one_of(convolutional(), dense()), st.integers(0, 2**16))
def test_networks_through_torch_export(tally, network, seed):
    compare(tally, *network, seed, dynamo=True)


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_networks_through_torch_export(tally, cell, both):
    """An nn.RNN is written step by step there, with the same weights at each: that is refused."""
    compare(tally, (7, 3), nn.Sequential(Recurrent(cell, 3, 4, "state", num_layers=2, bidirectional=both),
                                  nn.Linear(8 if both else 4, 2)), 0, dynamo=True)
