"""FCN, a fully convolutional network for series, and LSTM-FCN, which reads them with an LSTM as well."""
from __future__ import annotations

from collections.abc import Sequence

from ldl_cy.layers import LSTM, Concatenate, Dropout, GlobalAvgPool1D, Layer, Permute
from ldl_cy.messages import shown
from ldl_cy.networks.blocks import series_block, sizes


def fcn(filters: Sequence[int] = (128, 256, 128), kernel_sizes: Sequence[int] = (8, 5, 3)) -> list[Layer]:
    """Fully convolutional network for series.

    Convolutions with BatchNorm and ReLU, then the mean over time.

    Parameters
    ----------
    filters, kernel_sizes : sequences of ints >= 1, default=(128, 256, 128), (8, 5, 3)
        Filters and steps of the window of each convolution.

    Returns
    -------
    list of layers
        For series (time, channels). With one channel 264,704 parameters before the output layer.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    References
    ----------
    Wang, Yan, Oates, "Time series classification from scratch with deep neural networks: a strong baseline", IJCNN
    2017. 264,704: Ismail-Fawaz, Devanne, Berretti, Weber, Forestier, "LITE: light inception with boosting techniques
    for time series classification", DSAA 2023, table I.

    Examples
    --------
    >>> from ldl_cy import Sequential, networks
    >>> Sequential(networks.fcn()).build((150, 1)).n_parameters
    264704
    """
    filters, kernel_sizes = sizes("fcn", "filters", filters), sizes("fcn", "kernel_sizes", kernel_sizes)
    if len(filters) != len(kernel_sizes):
        raise ValueError(f"fcn: kernel_sizes must be as many as filters {shown(filters)}, got {shown(kernel_sizes)}.")
    stack = [layer for count, size in zip(filters, kernel_sizes) for layer in series_block(count, size)]
    return [*stack, GlobalAvgPool1D()]


def lstm_fcn(units: int = 8, dropout: float = 0.8) -> list[Layer]:
    """LSTM-FCN for series.

    An FCN, and beside it an LSTM that reads the whole series of each channel as one step.

    Parameters
    ----------
    units : int >= 1, default=8
        Units of the LSTM.
    dropout : float in [0, 1), default=0.8
        Of the LSTM's output.

    Returns
    -------
    list of layers
        For series (time, channels), all of one length T. With one channel 264,704 + 4 units (T + units + 1)
        parameters before the output layer, those of the published network.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    References
    ----------
    Karim, Majumdar, Darabi, Chen, "LSTM fully convolutional networks for time series classification", IEEE Access 6
    (2018); the count is that of its layers in github.com/titu1994/LSTM-FCN.
    """
    return [Concatenate([Permute((2, 1)), LSTM(units), Dropout(dropout)], fcn())]
