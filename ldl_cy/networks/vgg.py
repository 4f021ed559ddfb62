"""VGG: stacks of convolutions of 3x3."""
from __future__ import annotations

from collections.abc import Sequence

from ldl_cy.checks import check_bool, check_int
from ldl_cy.layers import Activation, BatchNorm, Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D
from ldl_cy.messages import shown
from ldl_cy.networks.blocks import sizes

# convolutions of 64, 128, 256, 512 and 512 filters
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)


def vgg(
    depth: int = 16, batch_norm: bool = False, hidden_layer_sizes: Sequence[int] = (4096, 4096), dropout: float = 0.5,
) -> list[Layer]:
    """VGG with 11, 13, 16 or 19 layers.

    Parameters
    ----------
    depth : {11, 13, 16, 19}, default=16
        Layers with weights, the output layer and the paper's two hidden layers included.
    batch_norm : bool, default=False
        Whether convolutions are followed by BatchNorm, as in torchvision's ``vgg16_bn``.
    hidden_layer_sizes : sequence of ints >= 1, default=(4096, 4096)
        Units of the fully connected layers, which for small images may be fewer.
    dropout : float in [0, 1), default=0.5
        After each fully connected layer.

    Returns
    -------
    list of layers
        For images (height, width, channels) of at least 32x32. For 224x224x3 and 1000 classes 132,863,336, 133,047,848,
        138,357,544 and 143,667,240 parameters, by depth, as in Keras and torchvision; with ``batch_norm`` 132,868,840,
        133,053,736, 138,365,992 and 143,678,248, as in torchvision.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    References
    ----------
    Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """
    if check_int("vgg", "depth", depth) not in STAGES:
        raise ValueError(f"vgg: depth must be one of {', '.join(map(str, STAGES))}, got {shown(depth)}.")
    check_bool("vgg", "batch_norm", batch_norm)
    stack: list[Layer] = []
    for filters, count in zip(FILTERS, STAGES[depth]):
        for _ in range(count):
            stack.append(Conv2D(filters, 3, padding=1, activation=None if batch_norm else "relu",
                                kernel_initializer="he_normal"))
            if batch_norm:
                stack += [BatchNorm(), Activation("relu")]
        stack.append(MaxPool2D())
    stack.append(Flatten())
    for units in sizes("vgg", "hidden_layer_sizes", hidden_layer_sizes):
        stack += [Dense(units, "relu"), Dropout(dropout)]
    return stack
