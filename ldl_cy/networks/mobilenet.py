"""MobileNetV2: inverted residual blocks with depthwise convolutions."""
from __future__ import annotations

from ldl_cy.checks import check_real
from ldl_cy.layers import Activation, Add, BatchNorm, Conv2D, Dropout, GlobalAvgPool2D, Layer

# expansion, channels, blocks, stride of the first one: table 2 of the paper
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v2(alpha: float = 1.0, dropout: float = 0.2) -> list[Layer]:
    """MobileNetV2.

    Parameters
    ----------
    alpha : float > 0, default=1.0
        Factor of all numbers of channels, which are then rounded to multiples of 8. The last convolution has at least
        1280 filters.
    dropout : float in [0, 1), default=0.2
        Before the output layer.

    Returns
    -------
    list of layers
        For images of at least 32x32. For three channels and 1000 classes 3,504,872 parameters, as in Keras and
        torchvision; with an alpha of 0.35 1,677,128 and of 1.4 6,108,776, as in Keras.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    Notes
    -----
    At stride 2 the odd pixel of padding is at the end, as in Keras; torchvision has one on each side.

    References
    ----------
    Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018.
    """
    alpha = check_real("mobilenet_v2", "alpha", alpha, 0, low_open=True)
    channels = rounded(32 * alpha)
    stack = block(channels, 3, 2)
    for expansion, width, count, first in STAGES:
        filters = rounded(width * alpha)
        for i in range(count):
            strides, inner = first if i == 0 else 1, expansion * channels
            path = [*(block(inner, 1) if expansion > 1 else []), *block(inner, 3, strides, groups=inner),
                    *block(filters, 1, activation=None)]
            stack += [Add(path, [])] if strides == 1 and channels == filters else path
            channels = filters
    return [*stack, *block(rounded(1280 * max(1.0, alpha)), 1), GlobalAvgPool2D(), Dropout(dropout)]


def block(
    filters: int, kernel_size: int, strides: int = 1, groups: int = 1, activation: str | None = "relu6",
) -> list[Layer]:
    """Conv2D without bias, BatchNorm with Keras's epsilon, and an activation."""
    layers: list[Layer] = [
        Conv2D(filters, kernel_size, strides, padding="same", groups=groups, use_bias=False,
               kernel_initializer="he_normal"),
        BatchNorm(epsilon=1e-3)]
    return layers if activation is None else [*layers, Activation(activation)]


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not less than 0.9 of the number."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
