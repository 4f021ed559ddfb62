"""Published architectures give the numbers of the same networks in PyTorch, written as their authors have them.

Where Keras has a network, its own weights and outputs are compared as well.
"""
import os

import numpy as np
import pytest

from ldl_cy import Sequential, networks

torch = pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which these tests compare")
F = torch.nn.functional
RNG = np.random.default_rng(0)


class Weights:
    """The weights of a model one after the other, for functions on (n, channels, ...) tensors."""

    def __init__(self, model, epsilon):
        self.values = [torch.from_numpy(v) for v in model.parameters.values()]
        self.statistics = [torch.from_numpy(v) for v in model.state.values()]
        self.epsilon = epsilon

    def conv(self, x, stride=1, padding=0, groups=1, bias=False, dilation=1):
        """padding: an int, (before, after) along the one axis, or "same", with the odd cell at the end."""
        kernel = self.values.pop(0)
        axes = kernel.ndim - 2
        kernel = kernel.permute(axes + 1, axes, *range(axes))
        if padding == "same":
            sizes = [max(0, (-(-n // stride) - 1) * stride + k - n) for n, k in zip(x.shape[2:], kernel.shape[2:])]
            around = [side for total in reversed(sizes) for side in (total // 2, total - total // 2)]
        else:
            around = list(padding) if isinstance(padding, tuple) else [padding, padding] * axes
        call = F.conv1d if axes == 1 else F.conv2d
        return call(F.pad(x, around), kernel, self.values.pop(0) if bias else None, stride, 0, dilation, groups)

    def norm(self, x):
        (gamma, beta), (mean, variance) = (parts[:2] for parts in (self.values, self.statistics))
        del self.values[:2], self.statistics[:2]
        return F.batch_norm(x, mean, variance, gamma, beta, False, 0, self.epsilon)

    def conv_norm(self, x, *args, **settings):
        return self.norm(self.conv(x, *args, **settings))

    def dense(self, x):
        kernel = self.values.pop(0)
        return x @ kernel + self.values.pop(0)

    def lstm(self, x):
        """The last state for x (n, steps, features); gates i, f, g, o."""
        W, U, b = (self.values.pop(0) for _ in range(3))
        cell = torch.nn.LSTM(W.shape[0], U.shape[0], batch_first=True).double()
        for name, value in (("weight_ih_l0", W.T), ("weight_hh_l0", U.T), ("bias_ih_l0", b), ("bias_hh_l0", 0 * b)):
            getattr(cell, name).data = value.contiguous()
        return cell(x)[0][:, -1]


def compare(stack, X, twin, epsilon=1e-5):
    """The outputs of a list of layers with drawn weights and statistics, and of a function (Weights, x)."""
    model = Sequential(stack, dtype="float64", random_state=0).build(X.shape[1:])
    model.theta = model.theta + RNG.normal(0, 0.05, model.n_parameters)
    for name, value in model.state.items():
        value[:] = RNG.uniform(0.5, 1.5, value.shape) if name.endswith("variance") else RNG.normal(0, 0.1, value.shape)
    weights = Weights(model, epsilon)
    with torch.no_grad():
        expected = twin(weights, torch.from_numpy(X).movedim(-1, 1)).numpy()
    assert not weights.values and not weights.statistics
    found = model.predict(X)
    assert np.ptp(found, axis=0).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def flat(x):
    """Rows of a Flatten of channels-last numbers."""
    return x.movedim(1, -1).flatten(1)


@pytest.mark.parametrize(("padding", "size"), [(2, 28), (0, 32)])
def test_lenet5(padding, size):
    def lenet(w, x):
        x = F.avg_pool2d(torch.tanh(w.conv(x, padding=padding, bias=True)), 2)
        x = F.avg_pool2d(torch.tanh(w.conv(x, bias=True)), 2)
        return torch.tanh(w.dense(torch.tanh(w.dense(flat(x)))))

    compare(networks.lenet5(padding=padding), RNG.normal(size=(3, size, size, 1)), lenet)


@pytest.mark.parametrize("norm", [False, True])
def test_vgg(norm):
    """Configuration A, and with BatchNorm D."""
    configuration = [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"] if norm else [
        64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]

    def vgg(w, x):
        for entry in configuration:
            if entry == "M":
                x = F.max_pool2d(x, 2)
            else:
                x = w.conv(x, padding=1, bias=True)
                assert x.shape[1] == entry
                x = F.relu(w.norm(x) if norm else x)
        x = flat(x)
        for _ in range(2):
            x = F.relu(w.dense(x))
        return x

    compare(networks.vgg(16 if norm else 11, norm, (20, 10)), RNG.normal(size=(2, 64, 32, 3)), vgg)


@pytest.mark.parametrize(("depth", "blocks", "size"), [(18, (2, 2, 2, 2), 40), (50, (3, 4, 6, 3), 64)])
def test_resnet(depth, blocks, size):
    """torchvision's forward passes: BasicBlock, and Bottleneck with the stride in the second convolution."""
    def resnet(w, x):
        x = F.max_pool2d(F.relu(w.conv_norm(x, 2, 3)), 3, 2, 1)
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage and not block else 1
                if depth == 18:
                    y = w.conv_norm(F.relu(w.conv_norm(x, stride, 1)), 1, 1)
                    downsample = stage > 0 and block == 0
                else:
                    y = w.conv_norm(F.relu(w.conv_norm(F.relu(w.conv_norm(x)), stride, 1)))
                    downsample = block == 0
                x = F.relu(y + (w.conv_norm(x, stride) if downsample else x))
        return x.mean((2, 3))

    compare(networks.resnet(depth), RNG.normal(size=(2, size, size, 3)), resnet)


@pytest.mark.parametrize("size", [32, 9])
def test_resnet_for_cifar(size):
    def resnet(w, x):
        x = F.relu(w.conv_norm(x, 1, 1))
        for width in (16, 32, 64):
            for block in range(5):
                wider = width > 16 and block == 0
                y = w.conv_norm(F.relu(w.conv_norm(x, 2 if wider else 1, 1)), 1, 1)
                if wider:
                    x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, width // 4, width // 4))
                x = F.relu(y + x)
        return x.mean((2, 3))

    compare(networks.resnet(32), RNG.normal(size=(2, size, size, 3)), resnet)


@pytest.mark.parametrize(("alpha", "size"), [(0.35, 64), (0.5, 37)])
def test_mobilenet_v2(alpha, size):
    def rounded(v):                         # torchvision's _make_divisible
        new = max(8, int(v + 4) // 8 * 8)
        return new + 8 if new < 0.9 * v else new

    def mobilenet(w, x):
        x = F.relu6(w.conv_norm(x, 2, "same"))
        for t, c, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                           (6, 320, 1, 1)]:
            for i in range(n):
                y, stride = x, s if i == 0 else 1
                if t > 1:
                    y = F.relu6(w.conv_norm(y))
                y = F.relu6(w.conv_norm(y, stride, "same", groups=y.shape[1]))
                y = w.conv_norm(y)
                assert y.shape[1] == rounded(c * alpha)
                x = x + y if stride == 1 and x.shape[1] == y.shape[1] else y
        return F.relu6(w.conv_norm(x)).mean((2, 3))

    compare(networks.mobilenet_v2(alpha), RNG.normal(size=(2, size, size, 3)), mobilenet, 1e-3)


def series(n_steps, n_channels):
    return RNG.normal(size=(3, n_steps, n_channels))


def series_block(w, x):
    return w.conv_norm(x, padding="same", bias=True)


def fcn(w, x):
    for _ in range(3):
        x = F.relu(series_block(w, x))
    return x.mean(2)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_networks_for_series(n_channels):
    def lstm_fcn(w, x):
        return torch.cat([w.lstm(x), fcn(w, x)], 1)         # a channel is a step

    def resnet(w, x):
        for block in range(3):
            y = F.relu(series_block(w, x))
            y = F.relu(series_block(w, y))
            y = series_block(w, y)
            x = F.relu(y + (w.norm(x) if block == 2 else series_block(w, x)))
        return x.mean(2)

    X = series(31, n_channels)
    compare(networks.fcn(), X, fcn, 1e-3)
    compare(networks.lstm_fcn(), X, lstm_fcn, 1e-3)
    compare(networks.resnet_series(), X, resnet, 1e-3)


@pytest.mark.parametrize(("depth", "n_channels", "kernel_size"), [(6, 1, 40), (6, 3, 40), (4, 2, 11), (2, 1, 8)])
def test_inception_time(depth, n_channels, kernel_size):
    """The loop over modules of the authors' build_model."""
    def inception(w, x):
        residual = x
        for d in range(depth):
            y = w.conv(x) if x.shape[1] > 1 else x
            parts = [w.conv(y, padding="same") for _ in range(3)]
            parts.append(w.conv(F.max_pool1d(x, 3, 1, 1)))
            x = F.relu(w.norm(torch.cat(parts, 1)))
            if d % 3 == 2:
                x = F.relu(x + w.conv_norm(residual))
                residual = x
        return x.mean(2)

    stack = networks.inception_time(depth=depth, kernel_size=kernel_size, n_channels=n_channels)
    compare(stack, series(45, n_channels), inception, 1e-3)


@pytest.mark.parametrize("n_channels", [1, 25])
def test_tcn(n_channels):
    def tcn(w, x):
        for i in range(4):
            y = x
            for _ in range(2):
                y = F.relu(w.conv(y, padding=(6 * 2**i, 0), bias=True, dilation=2**i))
            x = F.relu(y + (w.conv(x, bias=True) if x.shape[1] != 25 else x))
        return x[:, :, -1]

    compare(networks.tcn((25,) * 4, dropout=0.2, output=60, n_channels=n_channels), series(60, n_channels), tcn)


@pytest.mark.parametrize(("name", "settings", "stack"), [
    ("VGG16", {}, networks.vgg(hidden_layer_sizes=(1,))[:-3]),
    ("MobileNetV2", {"alpha": 0.35, "pooling": "avg"}, networks.mobilenet_v2(0.35)[:-1])])
def test_networks_that_keras_has(name, settings, stack):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="the extra 'oracle' brings Keras, with which this test compares")
    X = RNG.normal(size=(2, 64, 48, 3)).astype(np.float32)
    twin = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=X.shape[1:], **settings)
    model = Sequential(stack).build(X.shape[1:])
    weights, statistics = list(model.parameters.values()), list(model.state.values())
    for layer in twin.layers:
        values = layer.get_weights()
        if type(layer).__name__ == "BatchNormalization":
            variance = RNG.uniform(0.5, 1.5, values[3].shape)
            layer.set_weights([*values[:3], variance])
            statistics.pop(0)[:], statistics.pop(0)[:] = values[2], variance
            values = values[:2]
        for value in values:
            own = weights.pop(0)
            own[:] = value if own.shape == value.shape else value.swapaxes(2, 3)    # of a depthwise convolution
    assert not weights and not statistics
    expected = np.asarray(twin.predict(X, verbose=0))
    np.testing.assert_allclose(model.predict(X).reshape(expected.shape), expected, rtol=1e-3,
                               atol=1e-5 * np.abs(expected).max())
