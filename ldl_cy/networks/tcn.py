"""TCN: dilated causal convolutions with residual connections."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from ldl_cy.checks import check_int
from ldl_cy.layers import (
    Activation,
    Add,
    Conv1D,
    Dropout,
    GlobalAvgPool1D,
    GlobalMaxPool1D,
    Layer,
    MaxPool1D,
    Reshape,
    ZeroPadding1D,
)
from ldl_cy.messages import shown
from ldl_cy.networks.blocks import sizes


def tcn(
    filters: Sequence[int] = (25,) * 8, kernel_size: int = 7, dropout: float = 0.0, output: str | int | None = "mean",
    n_channels: int = 1,
) -> list[Layer]:
    """Temporal convolutional network for series.

    Block i has two causal convolutions whose windows have gaps of 2^i steps, and a residual connection.

    Parameters
    ----------
    filters : sequence of ints >= 1, default=(25,) * 8
        Channels of each block.
    kernel_size : int >= 1, default=7
        Steps of a window. The output at a step depends on 1 + 2 (kernel_size - 1) (2^blocks - 1) steps up to it.
    dropout : float in [0, 1), default=0.0
        Of the outputs of the convolutions.
    output : "mean", int >= 1 or None, default="mean"
        "mean" is the mean over time; an int is the last step of series of that many, as published for the classes of
        whole series; None is every step, for a target after each.
    n_channels : int >= 1, default=1
        Channels of the series: only where the first block has another number, its residual connection has weights.

    Returns
    -------
    list of layers
        For series (time, channels). For MNIST as a sequence of 784 pixels, ``tcn(output=784)``, and 10 classes 66,510
        parameters, the paper's 70 thousand; its weight normalization would add one for each filter, to 66,910. What
        is computed is the same without.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    References
    ----------
    Bai, Kolter, Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence
    modeling", arXiv:1803.01271 (2018), and its code, github.com/locuslab/TCN.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers, networks
    >>> Sequential([*networks.tcn(output=784), layers.Dense(10)]).build((784, 1)).n_parameters
    66510
    """
    check_int("tcn", "kernel_size", kernel_size)
    channels = check_int("tcn", "n_channels", n_channels)
    if not (output is None or (isinstance(output, str) and output == "mean") or isinstance(output, Integral)):
        raise (ValueError if isinstance(output, str) else TypeError)(
            f"tcn: output must be 'mean', None or an int >= 1, got {shown(output)}.")
    stack: list[Layer] = []
    for i, width in enumerate(sizes("tcn", "filters", filters)):
        path: list[Layer] = []
        for _ in range(2):
            path.append(Conv1D(width, kernel_size, padding="causal", dilation_rate=2**i, activation="relu"))
            if dropout:
                path.append(Dropout(dropout))
        stack += [Add(path, [] if channels == width else [Conv1D(width, 1)]), Activation("relu")]
        channels = width
    if output is None:
        return stack
    if isinstance(output, str):
        return [*stack, GlobalAvgPool1D()]
    steps = check_int("tcn", "output", output)
    # a zero, then the steps; of these the first and the last; behind ReLU the larger of both is the last step. Reshape
    # refuses series of another length.
    return [*stack, ZeroPadding1D((1, 0)), Reshape((steps + 1, channels)), MaxPool1D(1, steps), GlobalMaxPool1D()]
