"""BatchNorm, over the batch for each channel, and LayerNorm, over the channels of each vector."""
from __future__ import annotations

import math
from functools import partial

from ldl_cy.checks import check_real
from ldl_cy.layers.base import Built, Layer, Parameter, Shape


def channels(owner: str, input_shape: Shape) -> int:
    """The length of the last axis; a ValueError if there is none."""
    if not input_shape:
        raise ValueError(f"{owner}: the input must have the shape (..., channels), got ().")
    return input_shape[-1]


class BatchNorm(Layer):
    """Normalize each channel over the batch: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    In training, mean and variance are those of the whole batch, over all axes but the last; in inference they are
    running averages, updated after each step: running = momentum running + (1 - momentum) batch. A layer that is
    not trainable uses its running averages in training too, and does not update them.

    Parameters
    ----------
    momentum : float in [0, 1], default=0.9
        The weight of the old running average.
    epsilon : float > 0, default=1e-5
        Added to the variance.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, (..., channels). With lengths and an input (time, ..., channels) only valid steps are used,
    and the output past the end of a sequence is zero.

    Attributes
    ----------
    gamma : (channels,), initially ones
    beta : (channels,), initially zeros
    mean : (channels,), state, initially zeros
    variance : (channels,), state, initially ones; biased: the sum of squares is divided by the count

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input without axes.

    References
    ----------
    Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift", ICML 2015. Statistics of blocks are merged as in Chan, Golub, LeVeque, "Algorithms for computing
    the sample variance", The American Statistician 37 (1983).
    """

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, *, name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.momentum = check_real("BatchNorm", "momentum", momentum, 0, 1)
        self.epsilon = check_real("BatchNorm", "epsilon", epsilon, 0, low_open=True)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.batch_norm import batch_norm

        k = channels("BatchNorm", input_shape)
        n_steps = input_shape[0] if len(input_shape) > 1 else 1
        kernel = partial(
            batch_norm, n_steps=n_steps, inner=math.prod(input_shape) // (n_steps * k), k=k,
            momentum=self.momentum, epsilon=self.epsilon)
        return Built(
            tuple(input_shape), kernel, (Parameter("gamma", (k,), "ones"), Parameter("beta", (k,), "zeros")),
            (Parameter("mean", (k,), "zeros"), Parameter("variance", (k,), "ones")))


class LayerNorm(Layer):
    """Normalize each vector along the last axis: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    Mean and variance are those of the vector itself, in training and in inference: samples, steps and pixels
    are independent of each other.

    Parameters
    ----------
    epsilon : float > 0, default=1e-5
        Added to the variance.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, (..., channels).

    Attributes
    ----------
    gamma : (channels,), initially ones
    beta : (channels,), initially zeros

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input without axes.

    References
    ----------
    Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450 (2016).
    """

    def __init__(self, epsilon: float = 1e-5, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.epsilon = check_real("LayerNorm", "epsilon", epsilon, 0, low_open=True)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.layer_norm import layer_norm

        k = channels("LayerNorm", input_shape)
        kernel = partial(layer_norm, vectors=math.prod(input_shape) // k, k=k, epsilon=self.epsilon)
        return Built(
            tuple(input_shape), kernel, (Parameter("gamma", (k,), "ones"), Parameter("beta", (k,), "zeros")))
