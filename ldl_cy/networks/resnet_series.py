"""The ResNet for series."""
from __future__ import annotations

from ldl_cy.checks import check_int
from ldl_cy.layers import Activation, Add, Conv1D, GlobalAvgPool1D, Layer
from ldl_cy.networks.blocks import keras_norm, series_block


def resnet_series(filters: int = 64) -> list[Layer]:
    """Residual network for series.

    Three residual blocks of three convolutions, over 8, 5 and 3 steps, then the mean over time.

    Parameters
    ----------
    filters : int >= 1, default=64
        Filters of the first block; the other two have twice as many.

    Returns
    -------
    list of layers
        For series (time, channels). With one channel 504,000 parameters before the output layer.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    References
    ----------
    Wang, Yan, Oates, "Time series classification from scratch with deep neural networks: a strong baseline", IJCNN
    2017, in the form of Ismail Fawaz, Forestier, Weber, Idoumghar, Muller, "Deep learning for time series
    classification: a review", Data Mining and Knowledge Discovery 33 (2019). 504,000: Ismail-Fawaz et al., "LITE",
    DSAA 2023, table I.

    Examples
    --------
    >>> from ldl_cy import Sequential, networks
    >>> Sequential(networks.resnet_series()).build((150, 1)).n_parameters
    504000
    """
    check_int("resnet_series", "filters", filters)
    stack: list[Layer] = []
    for block, width in enumerate((filters, 2 * filters, 2 * filters)):
        path = [*series_block(width, 8), *series_block(width, 5), *series_block(width, 3, activation=None)]
        # the last block has as many channels as its input
        shortcut: list[Layer] = [keras_norm()] if block == 2 else [Conv1D(width, 1), keras_norm()]
        stack += [Add(path, shortcut), Activation("relu")]
    return [*stack, GlobalAvgPool1D()]
