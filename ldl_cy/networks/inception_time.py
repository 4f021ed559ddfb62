"""InceptionTime: convolutions of several lengths side by side."""
from __future__ import annotations

from ldl_cy.checks import check_int
from ldl_cy.layers import Activation, Add, Concatenate, Conv1D, GlobalAvgPool1D, Layer, MaxPool1D
from ldl_cy.networks.blocks import keras_norm

RESIDUAL = 3                # modules between one residual connection and the next


def inception_time(
    filters: int = 32, depth: int = 6, kernel_size: int = 40, bottleneck: int = 32, n_channels: int = 1,
) -> list[Layer]:
    """One network of the ensemble InceptionTime, for series.

    Modules of three convolutions of different lengths, behind a bottleneck, and a maximum over three steps; every three
    of them have a residual connection.

    Parameters
    ----------
    filters : int >= 1, default=32
        Filters of each convolution; a module gives four times as many channels.
    depth : int >= 1, default=6
        The number of modules.
    kernel_size : int >= 4, default=40
        Steps of the longest windows; the others have a half and a quarter of it.
    bottleneck : int >= 1, default=32
        Channels to which a module's input is reduced first.
    n_channels : int >= 1, default=1
        Channels of the series: only where there are several, the first module has a bottleneck too.

    Returns
    -------
    list of layers
        For series (time, channels). With one channel 420,192 parameters before the output layer.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    Notes
    -----
    The published classifier is the mean of the probabilities of five such networks. For series of one channel as rows
    this is scikit-learn's ``BaggingClassifier(NeuralNetClassifier(networks.inception_time(), input_shape=(150, 1)), 5,
    bootstrap=False)``, here with 150 steps.

    References
    ----------
    Ismail Fawaz et al., "InceptionTime: finding AlexNet for time series classification", Data Mining and Knowledge
    Discovery 34 (2020), and its code, github.com/hfawaz/InceptionTime. 420,192: Ismail-Fawaz et al., "LITE", DSAA
    2023, table I.

    Examples
    --------
    >>> from ldl_cy import Sequential, networks
    >>> Sequential(networks.inception_time()).build((150, 1)).n_parameters
    420192
    """
    owner = "inception_time"
    for name, value in (("filters", filters), ("depth", depth), ("bottleneck", bottleneck), ("n_channels", n_channels)):
        check_int(owner, name, value)
    check_int(owner, "kernel_size", kernel_size, 4)
    windows = [kernel_size // 2**i for i in range(3)]
    modules = [module(filters, windows, bottleneck if i or n_channels > 1 else None) for i in range(depth)]
    stack: list[Layer] = []
    for first in range(0, depth, RESIDUAL):
        path = [layer for layers in modules[first:first + RESIDUAL] for layer in layers]
        if first + RESIDUAL <= depth:
            path = [Add(path, [convolution(4 * filters, 1), keras_norm()]), Activation("relu")]
        stack += path
    return [*stack, GlobalAvgPool1D()]


def module(filters: int, windows: list[int], bottleneck: int | None) -> list[Layer]:
    """An inception module; without a bottleneck its convolutions read the input itself."""
    several = Concatenate(*([convolution(filters, size)] for size in windows))
    first = [] if bottleneck is None else [convolution(bottleneck, 1)]
    pooled = [MaxPool1D(3, 1, padding="same"), convolution(filters, 1)]
    return [Concatenate([*first, several], pooled), keras_norm(), Activation("relu")]


def convolution(filters: int, kernel_size: int) -> Layer:
    """Conv1D without bias, as long as its input."""
    return Conv1D(filters, kernel_size, padding="same", use_bias=False)
