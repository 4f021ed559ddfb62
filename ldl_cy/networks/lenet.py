"""LeNet-5."""
from __future__ import annotations

from ldl_cy.checks import check_int
from ldl_cy.layers import AvgPool2D, Conv2D, Dense, Flatten, Layer


def lenet5(activation: str = "tanh", padding: int = 2) -> list[Layer]:
    """LeNet-5 for images of digits.

    Two convolutions of 5x5 with mean pooling, then 120 and 84 units. Every map of the second convolution reads all six
    maps below it; in the paper a table left some connections out, and pooling had weights.

    Parameters
    ----------
    activation : str, default="tanh"
        Activation of all layers but the pooling.
    padding : int >= 0, default=2
        Zeros around the image: 2 for 28x28, 0 for the paper's 32x32.

    Returns
    -------
    list of layers
        For images (height, width, channels) of at least 16x16 with their padding. With one channel and 10 classes
        61,706 parameters.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE
    86 (1998). 61,706: Zhang, Lipton, Li, Smola, "Dive into deep learning", section 7.6.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers, networks
    >>> Sequential([*networks.lenet5(), layers.Dense(10)]).build((28, 28, 1)).n_parameters
    61706
    """
    return [
        Conv2D(6, 5, padding=check_int("lenet5", "padding", padding, 0), activation=activation), AvgPool2D(),
        Conv2D(16, 5, activation=activation), AvgPool2D(),
        Flatten(), Dense(120, activation), Dense(84, activation)]
