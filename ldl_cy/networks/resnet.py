"""ResNets for images: those for ImageNet and those for CIFAR."""
from __future__ import annotations

from ldl_cy.checks import check_int
from ldl_cy.layers import (
    Activation,
    Add,
    AvgPool2D,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    Permute,
    ZeroPadding2D,
)
from ldl_cy.messages import shown
from ldl_cy.networks.blocks import image_block

# blocks of 64, 128, 256 and 512 filters, for ImageNet
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# 6 n + 2 layers: n blocks each of 16, 32 and 64 filters, for CIFAR
CIFAR = {6 * n + 2: n for n in (3, 5, 7, 9, 18)}


def resnet(depth: int = 50) -> list[Layer]:
    """A residual network for images.

    Parameters
    ----------
    depth : {18, 34, 50, 101, 152} or {20, 32, 44, 56, 110}, default=50
        Layers with weights on the way through the blocks, the output layer included. The first five are the paper's
        networks for ImageNet, the other five those for CIFAR-10.

    Returns
    -------
    list of layers
        ImageNet: images of at least 32x32; for 224x224x3 and 1000 classes 11,689,512, 21,797,672, 25,557,032,
        44,549,160 and 60,192,808 parameters, by depth, as in torchvision. CIFAR: small images; for 32x32x3 and 10
        classes 269,722, 464,154, 658,586, 853,018 and 1,727,962, the paper's 0.27 to 1.7 million.

    Raises
    ------
    TypeError, ValueError
        Another depth.

    Notes
    -----
    In blocks of three convolutions the one of 3x3 has the stride, as in torchvision; in the paper it is the first one.
    Where a block for CIFAR has more channels than its input, every second pixel and zeros for the new channels are
    added, without weights: the paper's option A.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016. Counts for CIFAR: Idelbayev,
    "Proper ResNet implementation for CIFAR10/CIFAR100 in PyTorch", github.com/akamaster/pytorch_resnet_cifar10.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers, networks
    >>> Sequential([*networks.resnet(20), layers.Dense(10)]).build((32, 32, 3)).n_parameters
    269722
    """
    if check_int("resnet", "depth", depth) in CIFAR:
        return for_cifar(CIFAR[depth])
    if depth not in BASIC and depth not in BOTTLENECK:
        depths = ", ".join(map(str, (*BASIC, *BOTTLENECK, *CIFAR)))
        raise ValueError(f"resnet: depth must be one of {depths}, got {shown(depth)}.")
    stack = [*image_block(64, 7, 2), MaxPool2D(3, 2, padding=1)]
    channels = 64
    for stage, count in enumerate(BASIC.get(depth) or BOTTLENECK[depth]):
        width = 64 * 2**stage
        filters = width if depth in BASIC else 4 * width
        for block in range(count):
            strides = 2 if block == 0 and stage > 0 else 1
            path = (basic_path(width, strides) if depth in BASIC else
                    [*image_block(width, 1), *image_block(width, 3, strides),
                     *image_block(filters, 1, activation=None)])
            same = strides == 1 and channels == filters
            stack += [Add(path, [] if same else image_block(filters, 1, strides, activation=None)), Activation("relu")]
            channels = filters
    return [*stack, GlobalAvgPool2D()]


def for_cifar(n: int) -> list[Layer]:
    """The network of 6 n + 2 layers for CIFAR."""
    stack = image_block(16, 3)
    for width in (16, 32, 64):
        for block in range(n):
            wider = block == 0 and width > 16
            stack += [Add(basic_path(width, 2 if wider else 1), widened(width // 4) if wider else []),
                      Activation("relu")]
    return [*stack, GlobalAvgPool2D()]


def basic_path(filters: int, strides: int) -> list[Layer]:
    """Two convolutions of 3x3; the sum with the other path is activated."""
    return [*image_block(filters, 3, strides), *image_block(filters, 3, activation=None)]


def widened(channels: int) -> list[Layer]:
    """Every second pixel, with as many channels of zeros before and after the others."""
    return [AvgPool2D(1, 2), Permute((3, 1, 2)), ZeroPadding2D(((channels, channels), (0, 0))), Permute((2, 3, 1))]
