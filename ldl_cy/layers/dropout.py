"""Dropout, a layer that sets a random share of its inputs to zero in training."""
from __future__ import annotations

import math
from functools import partial

from ldl_cy.checks import check_real
from ldl_cy.layers.base import Applied, Built, Layer, Shape


class Dropout(Layer):
    """Set a random share of the inputs to zero in training, y = x m / (1 - rate); the identity in inference.

    Parameters
    ----------
    rate : float in [0, 1)
        The probability that a number is set to 0. The others are scaled by 1 / (1 - rate), which keeps the mean.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, any shape.

    Raises
    ------
    TypeError, ValueError
        A rate that is not a number in [0, 1).

    Notes
    -----
    The mask m is a function of the model's seed, the epoch, the step, the layer, and the position of the number
    in the batch.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent neural
    networks from overfitting", JMLR 15 (2014).
    """

    def __init__(self, rate: float, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.rate = check_real("Dropout", "rate", rate, 0, 1, high_open=True)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.dropout import dropout

        return Built(tuple(input_shape), partial(dropout, size=math.prod(input_shape), rate=self.rate))
