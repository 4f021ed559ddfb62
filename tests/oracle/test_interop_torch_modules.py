"""torch's own modules here: outputs, names, what is refused, and state dicts of ordinary classes."""
from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which these tests compare")

import torch
from oracle.layouts import bits, first, random_state, there
from oracle.problems import compare
from torch import nn

from ldl_cy import Sequential
from ldl_cy import layers as L
from ldl_cy.interop import from_torch, load_torch

TOL = {"float64": 1e-9, "float32": 2e-5}
torch.set_num_threads(1)


def check_from_torch(tally, module, shape, order=None, ids=0):
    """Outputs here and there, float64 and float32, of 1 and 5 rows."""
    order = order or (first(len(shape)) if len(shape) == 3 else tuple(range(len(shape))))
    tally.networks["from torch"] += 1
    for dtype in ("float64", "float32"):
        module = random_state(module.to(getattr(torch, dtype)))
        model = from_torch(module, shape)
        assert model.dtype == dtype or not [*module.parameters(), *module.buffers()]
        for n in (1, 5):
            rng = np.random.default_rng(n)
            X = (rng.integers(0, ids, (n, *shape)) if ids else rng.standard_normal((n, *shape))).astype(dtype)
            x = there(X, order)
            y = module(x.long() if ids else x)
            y = y[0] if isinstance(y, tuple) else y
            out = model.predict(X)
            y = y.movedim(1, -1) if y.ndim > 2 and out.shape == tuple(y.movedim(1, -1).shape) else y
            compare(tally, f"{model.dtype} from_torch", out, y.detach(), TOL[model.dtype], 0.1)
    return model


CNN = OrderedDict(
    conv=nn.Conv2d(3, 4, 3, padding=1), norm=nn.BatchNorm2d(4), act=nn.ReLU(), pool=nn.MaxPool2d(2),
    block=nn.Sequential(nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), bias=False), nn.BatchNorm2d(6, 1e-3, affine=False),
                        nn.PReLU(6), nn.Dropout2d(0.3)))
FLAT = [nn.Flatten(), nn.BatchNorm1d(24), nn.PReLU(24), nn.LayerNorm(24), nn.Dropout(0.2), nn.Softmax(-1),
        nn.Linear(24, 3), nn.Tanh()]
MODULES = {
    "cnn": (nn.Sequential(CNN), (8, 6, 3)),
    "cnn with a head": (nn.Sequential(nn.Sequential(OrderedDict(CNN)), nn.Sequential(nn.Flatten(), nn.Linear(24, 3))),
                        (8, 6, 3)),
    "flattened": (nn.Sequential(nn.Conv2d(2, 4, 2), *FLAT), (4, 3, 2)),
    "flatten alone": (nn.Sequential(nn.Flatten()), (4, 3, 2)),
    "flattened input": (nn.Sequential(nn.Flatten(), nn.Linear(24, 3)), (4, 3, 2)),
    "ends flattened": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Flatten(), nn.ReLU()), (4, 3, 2)),
    "flattened pixels": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Flatten(2), nn.Conv1d(4, 3, 2)), (4, 3, 2)),
    "flattened, ends so": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Flatten(2)), (4, 3, 2)),
    "channels and rows flattened": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Flatten(1, 2), nn.Linear(2, 3)), (4, 3, 2)),
    "unflattened": (nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Unflatten(1, (4, 3, 2)), nn.Conv2d(4, 2, 2)), (5,)),
    "unflattened, ends so": (nn.Sequential(nn.Linear(5, 24), nn.Unflatten(1, (4, 3, -1))), (5,)),
    "flattened and back": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Flatten(), nn.Unflatten(-1, (4, 3, 2)),
                                         nn.Conv2d(4, 1, 2)), (4, 3, 2)),
    "flattened into another shape": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Flatten(), nn.Unflatten(1, (6, 2, 2)),
                                                   nn.Conv2d(6, 1, 2)), (4, 3, 2)),
    "conv2d same": (nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(2, 1), groups=2), (7, 6, 4)),
    "conv2d valid": (nn.Conv2d(4, 4, 3, 2, "valid", groups=4), (7, 6, 4)),
    "global pool": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
                    (5, 4, 2)),
    "global pool of maps": (nn.Sequential(nn.AdaptiveMaxPool2d((1, 1)), nn.Conv2d(2, 3, 1)), (5, 4, 2)),
    "adaptive pool": (nn.Sequential(nn.Conv2d(2, 4, 1), nn.AdaptiveAvgPool2d((2, 4)), nn.Flatten(), nn.Linear(32, 2)),
                      (6, 4, 2)),
    "adaptive pool of as many": (nn.Sequential(nn.Conv2d(2, 4, 1), nn.AdaptiveMaxPool2d((6, None))), (6, 4, 2)),
    "nothing": (nn.Sequential(nn.AdaptiveAvgPool2d((6, 4)), nn.Sequential()), (6, 4, 2)),
    "layer norm of maps": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.LayerNorm((4, 3, 2))), (4, 3, 2)),
    "layer norm of pixels": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.LayerNorm((3, 2), 1e-2)), (4, 3, 2)),
    "layer norm of a row": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.LayerNorm(2, elementwise_affine=False)), (4, 3, 2)),
    "layer norm without bias": (nn.Sequential(nn.Flatten(), nn.LayerNorm(24, bias=False)), (4, 3, 2)),
    "linear of a row": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Linear(2, 5), nn.Conv2d(4, 2, 1)), (4, 3, 2)),
    "softmax of channels": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Softmax(1)), (4, 3, 2)),
    "softmax of rows": (nn.Sequential(nn.Conv2d(2, 4, 2), nn.Softmax(-2), nn.Conv2d(4, 2, 1)), (4, 3, 2)),
    "padding": (nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(2, 3, 3), nn.ConstantPad2d(2, 0.0)), (4, 3, 2)),
    "repetition": (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 3), nn.UpsamplingNearest2d(
        scale_factor=(1, 3))), (4, 3, 2)),
    "one slope": (nn.Sequential(nn.Conv2d(2, 3, 1), nn.PReLU()), (4, 3, 2)),
    "vectors": (nn.Sequential(nn.Linear(4, 5), nn.Hardswish(), nn.BatchNorm1d(5), nn.PReLU(5), nn.Linear(5, 1)), (4,)),
    "one module": (nn.Linear(4, 5, bias=False), (4,)),
    "identity": (nn.Identity(), (4, 3, 2)),
}
LAST = {            # (n, time, features)
    "linear of steps": (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(approximate="tanh"), nn.Flatten(),
                                      nn.Linear(20, 2)), (5, 3)),
    "norm of steps": (nn.Sequential(nn.LayerNorm((5, 3)), nn.Linear(3, 2)), (5, 3)),
    "batch norm of steps": (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(5)), (5, 3)),
    **{f"{cell} {layers} {both} {bias}": (getattr(nn, cell)(
        3, 4, layers, batch_first=True, bidirectional=both, bias=bias, dropout=0.1 * (layers > 1)), (6, 3))
       for cell in ("RNN", "LSTM", "GRU") for layers in (1, 2) for both in (False, True) for bias in (False, True)},
    "relu rnn": (nn.RNN(3, 4, nonlinearity="relu", batch_first=True), (6, 3)),
}
FIRST = {           # (n, channels, time)
    "conv1d": (nn.Sequential(nn.Conv1d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm1d(4), nn.SiLU(), nn.Conv1d(
        4, 4, 2, padding="same", dilation=2, groups=2), nn.Flatten(), nn.Linear(4 * 5, 2)), (9, 3)),
    "signals and steps": (nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3), nn.Dropout1d(), nn.Conv1d(3, 4, 2),
                                        nn.Linear(8, 2)), (9, 3)),
    "padded signals": (nn.Sequential(nn.ZeroPad1d((2, 1)), nn.MaxPool1d(3, 2, 1), nn.ConstantPad1d(1, 0)), (9, 3)),
    "repeated signals": (nn.Sequential(nn.Upsample(scale_factor=3.0, mode="nearest-exact")), (4, 3)),
    "global pool1d": (nn.Sequential(nn.Conv1d(3, 4, 2), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(4, 2)),
                      (9, 3)),
    "adaptive pool1d": (nn.Sequential(nn.AdaptiveAvgPool1d(3), nn.Flatten(1)), (9, 3)),
}


@pytest.mark.parametrize("name", MODULES)
def test_from_torch(tally, name):
    check_from_torch(tally, *MODULES[name])


@pytest.mark.parametrize("name", LAST)
def test_from_torch_of_steps(tally, name):
    check_from_torch(tally, *LAST[name], order=(0, 1))


@pytest.mark.parametrize("name", FIRST)
def test_from_torch_of_signals(tally, name):
    check_from_torch(tally, *FIRST[name], order=(1, 0))


def test_from_torch_of_tokens(tally):
    check_from_torch(tally, nn.Sequential(nn.Embedding(7, 3, padding_idx=0), nn.Linear(3, 2)), (6,), ids=7)


@pytest.mark.parametrize("name", [
    "ReLU", "ReLU6", "ELU", "SELU", "GELU", "SiLU", "Softplus", "Tanh", "Sigmoid", "Mish", "Hardsigmoid", "Hardswish",
    "LeakyReLU", "Identity", "Dropout", "AlphaDropout", "FeatureAlphaDropout"])
def test_from_torch_of_activations(tally, name):
    options = {"negative_slope": 0.3} if name == "LeakyReLU" else {}
    check_from_torch(tally, nn.Sequential(nn.Linear(3, 5), getattr(nn, name)(**options), nn.Linear(5, 2)), (3,))
    check_from_torch(tally, nn.Sequential(nn.Conv2d(2, 3, 2), getattr(nn, name)(**options)), (4, 5, 2))


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool"])
def test_from_torch_of_pools(tally, kind, axes):
    """Sizes that windows fit or do not, padding, and the window more of ceil_mode."""
    for n, (size, stride, padding), ceil, counted in itertools.product(
            (4, 5, 7, 8), ((2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 3, 1), (3, 3, 1), (4, 3, 2), (5, 1, 2), (3, 4, 0)),
            (False, True), (False, True)):
        if n + 2 * padding < size:
            continue
        options = {"count_include_pad": counted} if kind == "AvgPool" else {}
        module = getattr(nn, f"{kind}{axes}d")(size, stride, padding, ceil_mode=ceil, **options)
        shape = (n, 3) if axes == 1 else (n, 6, 3)
        try:
            module(torch.zeros(1, *shape[-1:], *shape[:-1]))
        except RuntimeError:            # no window
            continue
        check_from_torch(tally, module, shape, first(axes + 1))


def test_names_of_layers():
    module = nn.Sequential(OrderedDict(
        features=nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 2), norm=nn.BatchNorm2d(2))), flatten_3=nn.Flatten(),
        head=nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), rnn=nn.Identity()))
    model = from_torch(module, (3, 3, 1))
    assert [layer.name for layer in model.layers] == [
        "features_conv", "features_norm", "flatten_3", "head_0", "head_1", "head_2", "rnn"]
    model = from_torch(nn.Sequential(OrderedDict(lstm=nn.LSTM(2, 3, 2, batch_first=True, dropout=0.5))), (4, 2))
    assert [layer.name for layer in model.layers] == ["lstm_l0", None, "lstm_l1"]
    # a name that a layer without one would have
    model = from_torch(nn.Sequential(OrderedDict(dropout_1=nn.LSTM(2, 3, 1, batch_first=True), b=nn.ReLU())), (4, 2))
    model = from_torch(nn.Sequential(OrderedDict(
        a=nn.LSTM(2, 3, 2, batch_first=True, dropout=0.5), dropout_1=nn.Dropout())), (4, 2))
    assert [layer.name for layer in model.layers] == ["a_l0", "dropout_1_", "a_l1", "dropout_1"]


def test_dtypes():
    assert from_torch(nn.Linear(2, 3).half(), (2,)).dtype == "float32"
    module = nn.Linear(2, 3).to(torch.bfloat16)
    model = from_torch(module, (2,))
    assert np.array_equal(model.parameters["dense_0.kernel"], module.weight.detach().float().numpy().T)
    assert from_torch(nn.Linear(2, 3).double(), (2,)).dtype == "float64"


def test_settings_are_kept():
    model = from_torch(nn.Sequential(nn.BatchNorm1d(3, 1e-3, 0.2), nn.Dropout(0.3), nn.LeakyReLU(0.4)), (3,))
    norm, dropout, leaky = model.layers
    assert (norm.momentum, norm.epsilon, dropout.rate, leaky.negative_slope) == (0.8, 1e-3, 0.3, 0.4)
    assert from_torch(nn.BatchNorm1d(3), (3,)).layers[0].momentum == 0.9


class Mine(nn.Module):
    def forward(self, x):
        return x


class Chain(nn.Sequential):
    """With the forward of nn.Sequential."""


class NoChain(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


def test_subclasses():
    linear = nn.Linear(2, 3)
    assert len(from_torch(Chain(linear, Chain(nn.ReLU())), (2,)).layers) == 2
    assert refusal(NoChain(linear), (2,)).startswith("from_torch: NoChain has no counterpart")


def refusal(module, shape):
    with pytest.raises(ValueError) as raised:
        from_torch(module, shape)
    assert str(raised.value).startswith("from_torch: "), str(raised.value)
    return str(raised.value)


def test_all_that_is_refused_is_named():
    shared = nn.Linear(2, 2)
    old, new = nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")         # that it is an old form
        nn.utils.weight_norm(old)
    module = nn.Sequential(OrderedDict(
        a=Mine(), b=nn.Sequential(nn.ConvTranspose2d(2, 2, 2), nn.Conv2d(2, 2, 2, padding_mode="reflect")),
        c=nn.LSTM(2, 2), d=nn.GRU(2, 2, batch_first=True), e=nn.LSTM(2, 3, proj_size=2, batch_first=True),
        f=nn.BatchNorm2d(2, track_running_stats=False), g=nn.ELU(0.5), h=nn.Softplus(2), i=nn.MaxPool2d(2, dilation=2),
        j=nn.MaxPool1d(2, return_indices=True), k=nn.AvgPool2d(2, divisor_override=3), l=nn.ConstantPad2d(1, 2.0),
        m=nn.Embedding(3, 2, max_norm=1), n=old, o=new, p=shared, q=shared, r=nn.MultiheadAttention(4, 2)))
    text = refusal(module, (4, 4, 2))
    for part in ("Mine 'a' has no counterpart", "ConvTranspose2d 'b.0' has no counterpart",
                 "Conv2d 'b.1' must have padding_mode 'zeros', got 'reflect'",
                 "LSTM 'c' must have batch_first True, got False",
                 "LSTM 'e' must have proj_size 0, got 2",
                 "BatchNorm2d 'f' must have track_running_stats True", "ELU 'g' must have alpha 1.0, got",
                 "Softplus 'h' must have beta 1.0", "MaxPool2d 'i' must have dilation 1, got 2",
                 "MaxPool1d 'j' must have return_indices False",
                 "AvgPool2d 'k' must have divisor_override",
                 "ConstantPad2d 'l' must have value 0, got 2.0", "Embedding 'm' must have max_norm None",
                 "Linear 'n' must have no hooks", "ParametrizedLinear 'o' has no counterpart",
                 "Linear 'q' must be used once", "MultiheadAttention 'r' has no counterpart"):
        assert part in text, part
    for name in ("'d'", "'p'"):
        assert name not in text


@pytest.mark.parametrize(("module", "shape", "part"), [
    (nn.Conv2d(3, 2, 2), (4, 4, 2), "Conv2d"), (nn.Conv2d(3, 2, 2), (4, 2), "Conv2d must have an input of 3 axes"),
    (nn.Sequential(nn.Linear(3, 2)), (4,), "Linear '0' must have an input of 3 features, got (4,)"),
    (nn.Conv2d(1, 2, 5), (4, 4, 1), "does not fit into the padded input"),
    (nn.LSTM(3, 2, batch_first=True), (4,), "LSTM must have an input (time, features)"),
    (nn.LayerNorm(3), (4,), "LayerNorm must have normalized_shape as the input's last axes (4,), got (3,)"),
    (nn.AdaptiveAvgPool2d(3), (4, 6, 1), "must have an output_size that divides the input's (4, 6), got 3"),
    (nn.BatchNorm1d(3, momentum=None), (3,), "BatchNorm1d must have a number as its momentum, got None"),
    (nn.BatchNorm1d(3), (4,), "must have the shape (4,), got (3,)"),
    (nn.ZeroPad2d(-1), (4, 4, 1), "ZeroPad2d must have a padding >= 0"),
    (nn.Flatten(0), (4, 4, 1), "Flatten must leave the batch axis"),
    (nn.Softmax(0), (4,), "Softmax must have the dim"),
    (nn.Softmax(), (4,), "Softmax must have the dim"), (nn.Softmax(4), (4, 4, 1), "Softmax must have the dim"),
    (nn.Unflatten(1, (3, 3)), (8,), "Unflatten must divide the axis of length 8"),
    (nn.Dropout(1.0), (8,), "Dropout: rate must be"),
    (nn.Upsample(scale_factor=1.5), (4, 4, 1), "Upsample must repeat the nearest number of sequences or images"),
    (nn.Upsample(scale_factor=2, mode="bilinear"), (4, 4, 1), "must repeat the nearest number"),
    (nn.Upsample(scale_factor=(2, 2)), (4, 4), "must repeat the nearest number"),
    (nn.Upsample(size=8), (4, 4, 1), "Upsample must have size None, got 8"),
    (nn.Sequential(), (3,), "module must have modules, got Sequential()")])
def test_what_does_not_fit(module, shape, part):
    assert part in refusal(module, shape)


def test_what_is_no_module():
    with pytest.raises(TypeError, match=r"^from_torch: module must be an nn.Module, got {}"):
        from_torch({}, (3,))
    with pytest.raises(TypeError, match=r"input_shape"):
        from_torch(nn.ReLU(), "x")
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight[0, 0] = torch.nan
    assert "must be finite" in refusal(linear, (2,))


# -- state dicts of ordinary classes ---------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv1 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n)
        self.conv2 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + x)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Block(4), Block(4)])
        self.fc = nn.Linear(4 * 4 * 5, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.flatten(1))


def residual(dtype):
    def block():
        return [L.Add([L.Conv2D(4, 3, padding=1, use_bias=False), L.BatchNorm(), L.Activation("relu"),
                       L.Conv2D(4, 3, padding=1, use_bias=False), L.BatchNorm()], []), L.Activation("relu")]
    return Sequential([L.Conv2D(4, 3, 2, 1, activation="relu"), *block(), *block(), L.Flatten(), L.Dense(3)],
                      dtype).build((7, 9, 1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_residual_network(tally, dtype, tmp_path):
    """Names of their own, in order; from a file, where the order is lost, by the numbers in the names."""
    module = random_state(Residual().to(getattr(torch, dtype)))
    model = residual(dtype)
    report = load_torch(model, module.state_dict())
    assert report.loaded == [*model.parameters, *model.state]
    X = np.random.default_rng(0).standard_normal((5, 7, 9, 1)).astype(dtype)
    y = module(there(X, (2, 0, 1))).detach()
    compare(tally, f"{dtype} load_torch", model.predict(X), y, TOL[dtype], 0.1)
    # kernels of one shape differ in their numbers only
    save_file = pytest.importorskip(
        "safetensors.torch", reason="the extra 'test' brings safetensors, which writes the file").save_file
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    again = residual(dtype)
    load_torch(again, tmp_path / "w.safetensors")
    assert bits(again) == bits(model)


class Tagger(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.embed = nn.Embedding(9, 3)
        self.rnn = getattr(nn, cell)(3, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.rnn(self.embed(x))[0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_recurrent_modules_of_two_layers(tally, cell, dtype):
    module = random_state(Tagger(cell).to(getattr(torch, dtype)))
    both = [L.Bidirectional(getattr(L, cell)(4, return_sequences=True)) for _ in range(2)]
    model = Sequential([L.Embedding(9, 3), *both, L.Dense(2)], dtype).build((6,))
    load_torch(model, module.state_dict())
    X = np.random.default_rng(0).integers(0, 9, (5, 6))
    compare(tally, f"{dtype} load_torch", model.predict(X), module(torch.tensor(X)).detach(), TOL[dtype], 0.1)
