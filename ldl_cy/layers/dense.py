"""Dense, the fully connected layer."""
from __future__ import annotations

import math
from functools import partial
from typing import Any

from ldl_cy.checks import check_blas_size, check_bool, check_int
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.base import Built, Layer, Parameter, Shape


class Dense(Layer):
    """Fully connected layer on the last axis: y = f(x W + b).

    Parameters
    ----------
    units : int >= 1
        Length of the output's last axis.
    activation : str, default=None
        Name of an activation (see ``Activation``); None is the identity.
    use_bias : bool, default=True
    kernel_initializer, bias_initializer : str or initializer, default="glorot_uniform", "zeros"
    name, trainable : see ``Layer``

    Shape
    -----
    Input (..., n_in), output (..., units).

    Attributes
    ----------
    kernel : (n_in, units)
    bias : (units,), with ``use_bias``

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input without axes.

    References
    ----------
    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986).
    """

    def __init__(
        self, units: int, activation: str | None = None, *, use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.units = check_int("Dense", "units", units)
        self.activation = activation
        check_activation("Dense", activation)
        self.use_bias = check_bool("Dense", "use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        get_initializer("Dense", "kernel_initializer", kernel_initializer)
        get_initializer("Dense", "bias_initializer", bias_initializer)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.dense import dense

        if not input_shape:
            raise ValueError("Dense: the input must have the shape (..., n_in), got ().")
        *front, n_in = input_shape
        check_blas_size("Dense", "n_in * units", n_in * self.units)
        check_blas_size("Dense", "the number of vectors", math.prod(front))
        parameters: tuple[Parameter, ...] = (
            Parameter("kernel", (n_in, self.units), self.kernel_initializer, decays=True),)
        if self.use_bias:
            parameters += (Parameter("bias", (self.units,), self.bias_initializer),)
        kernel = partial(
            dense, steps=math.prod(front), n_in=n_in, n_out=self.units,
            activation=check_activation("Dense", self.activation), use_bias=self.use_bias)
        return Built((*front, self.units), kernel, parameters)
