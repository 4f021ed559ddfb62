"""The rows of networks as people build them: for images, series, tokens and tables, all with Adam.

A prediction is of a whole batch, not of 64 rows.
"""
from __future__ import annotations

from benchmarks.layers import (
    Activation,
    Add,
    BatchNorm,
    Concatenate,
    Conv,
    Dense,
    Embedding,
    Flatten,
    GlobalMean,
    LayerNorm,
    Pool,
    Recurrent,
    Widen,
)
from benchmarks.row import Row, mlp

KERAS_EPSILON = 1e-3


def normed(conv, activation="relu", epsilon=1e-5):
    """A convolution, BatchNorm and an activation."""
    return (conv, BatchNorm(epsilon), *([Activation(activation)] if activation else []))


def same(filters, size, **settings):
    """A convolution as long as its input, whose odd zero is at the end."""
    return Conv(filters, size, ((size - 1) // 2, size // 2), **settings)


def cnn_with_batch_norm():
    """CNNClassifier's default network with ``batch_norm=True``."""
    return (*normed(same(32, 3, bias=False)), Pool("max"), *normed(same(64, 3, bias=False)), Pool("max"), Flatten(),
            Dense(128, "relu"), Dense(10))


def resnet_20():
    """He, Zhang, Ren, Sun 2016, for CIFAR; ldl_cy.networks.resnet(20)."""
    stack = [*normed(same(16, 3, bias=False))]
    for width in (16, 32, 64):
        for block in range(3):
            wider = block == 0 and width > 16
            path = [*normed(Conv(width, 3, (1, 1), bias=False, stride=2 if wider else 1)),
                    *normed(same(width, 3, bias=False), None)]
            stack += [Add(path, [Widen(width // 4)] if wider else []), Activation("relu")]
    return (*stack, GlobalMean(), Dense(10))


def depthwise_separable():
    """Blocks of MobileNet: a depthwise convolution of 3x3 and one of 1x1, each with BatchNorm and ReLU."""
    stack, channels = [*normed(same(32, 3, bias=False))], 32
    for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        stack += [*normed(Conv(channels, 3, (1, 1), stride=stride, groups=channels, bias=False)),
                  *normed(Conv(filters, 1, bias=False))]
        channels = filters
    return (*stack, GlobalMean(), Dense(10))


def fcn():
    """Wang, Yan, Oates 2017; ldl_cy.networks.fcn()."""
    blocks = [normed(same(filters, size), epsilon=KERAS_EPSILON) for filters, size in ((128, 8), (256, 5), (128, 3))]
    return (*(layer for block in blocks for layer in block), GlobalMean(), Dense(10))


def inception_time():
    """Ismail Fawaz et al. 2020, three of its modules; ldl_cy.networks.inception_time(depth=3)'s with odd windows."""
    path = []
    for module in range(3):
        several = Concatenate(*([same(32, size, bias=False)] for size in (39, 19, 9)))
        first = [Conv(32, 1, bias=False)] if module else []
        pooled = [Pool("max", 3, 1, 1), Conv(32, 1, bias=False)]
        path += [Concatenate([*first, several], pooled), BatchNorm(KERAS_EPSILON), Activation("relu")]
    shortcut = [Conv(128, 1, bias=False), BatchNorm(KERAS_EPSILON)]
    return (Add(path, shortcut), Activation("relu"), GlobalMean(), Dense(10))


def tcn():
    """Dilated causal convolutions."""
    return (*(Conv(64, 3, (2 * d, 0), "relu", dilation=d) for d in (1, 2, 4, 8)), GlobalMean(), Dense(10))


def tabular(norm, activation):
    return (Dense(256), norm, Activation(activation), Dense(128), norm, Activation(activation), Dense(7))


def row(key, title, shape, batch, network, batches, **more):
    return Row(key, title, shape, batch, network, optimizer="adam", batches=batches, predicts=batch, **more)


NETWORKS = (
    row("cnn-bn", "CNN with BatchNorm 32C3-P2-64C3-P2-128-10, 28x28, batch 64", (28, 28, 1), 64,
        cnn_with_batch_norm(), 4),
    row("resnet20", "ResNet-20, 32x32x3, batch 32", (32, 32, 3), 32, resnet_20(), 2),
    row("mobilenet", "depthwise-separable 32-64-128-128-256-256, 32x32x3, batch 32", (32, 32, 3), 32,
        depthwise_separable(), 2),
    row("fcn", "FCN 128C8-256C5-128C3, T=500, batch 32", (500, 1), 32, fcn(), 2),
    row("inception", "InceptionTime, 3 modules, T=250, batch 32", (250, 1), 32, inception_time(), 2),
    row("tcn", "TCN 4 x 64C3, dilations 1 to 8, T=200 in=16, batch 32", (200, 16), 32, tcn(), 4),
    row("bilstm", "Embedding 5000x64, bidirectional LSTM 64, T=80, batch 32", (80,), 32,
        (Embedding(5000, 64), Recurrent("lstm", 64, both=True), Dense(10)), 4),
    row("two-grus", "two GRUs of 64, T=50 in=16, batch 32", (50, 16), 32,
        (Recurrent("gru", 64, sequences=True), Recurrent("gru", 64), Dense(10)), 10),
    row("autoencoder", "autoencoder 784-256-32-256-784, batch 128", (784,), 128, mlp(256, 32, 256, outputs=784), 20,
        outputs=784, loss="squared_error"),
    row("tabular-bn", "MLP 54-256-128-7 with BatchNorm, batch 256", (54,), 256, tabular(BatchNorm(), "relu"), 20,
        outputs=7),
    row("tabular-ln", "the same with LayerNorm and gelu", (54,), 256, tabular(LayerNorm(), "gelu"), 20, outputs=7),
    row("mlp1000", "MLP 128-256-1000, batch 64", (128,), 64, mlp(256, outputs=1000), 20, outputs=1000),
)
