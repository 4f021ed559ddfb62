"""Activation, an activation function as a layer, and the names of activations."""
from __future__ import annotations

import math
from functools import partial
from typing import Any

from ldl_cy._engine.vec import ACTIVATIONS
from ldl_cy.checks import check_real
from ldl_cy.layers.base import Applied, Built, Layer, Shape
from ldl_cy.messages import shown

__all__ = ["ACTIVATIONS", "ALIASES", "Activation", "check_activation"]

ALIASES = {"linear": "identity", "sigmoid": "logistic", "swish": "silu", "hard_swish": "hard_silu"}


def check_activation(owner: str, activation: Any) -> str:
    """The canonical name of an activation; None is the identity, other unknown names are a TypeError or ValueError.

    It is a plain str also for one of NumPy's, which kernels do not take.
    """
    if activation is None:
        return "identity"
    known = (*ACTIVATIONS, *ALIASES)
    if not isinstance(activation, str) or activation not in known:
        raise (ValueError if isinstance(activation, str) else TypeError)(
            f"{owner}: activation must be None or one of {', '.join(known)}, got {shown(activation)}.")
    return ALIASES.get(activation) or known[known.index(activation)]


class Activation(Layer):
    """An activation function as a separate layer.

    Parameters
    ----------
    activation : str
        identity (linear), relu, leaky_relu, elu, selu, gelu (exact, by erf), silu (swish), softplus,
        tanh, logistic (sigmoid), softmax (along the last axis), mish, hard_sigmoid (relu6(x + 3)/6),
        hard_silu (hard_swish; x relu6(x + 3)/6), relu6 (the smaller of relu and 6), gelu_tanh (gelu by its
        approximation 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))).
    negative_slope : float >= 0, default=0.01
        Slope of leaky_relu below 0.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, any shape.

    Raises
    ------
    TypeError, ValueError
        An unknown name; a slope that is not a finite number.

    References
    ----------
    elu: Clevert et al., ICLR 2016. selu: Klambauer et al., NeurIPS 2017. gelu, gelu_tanh: Hendrycks and
    Gimpel, arXiv:1606.08415. silu: Elfwing et al., Neural Networks 107 (2018). mish: Misra, BMVC 2020.
    hard_sigmoid, hard_silu: Howard et al. (MobileNetV3), ICCV 2019. relu6: Krizhevsky, "Convolutional deep belief
    networks on CIFAR-10", University of Toronto 2010; Howard et al. (MobileNets), arXiv:1704.04861.
    """

    def __init__(
        self, activation: str, negative_slope: float = 0.01, *, name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.activation = activation
        check_activation("Activation", activation)
        self.negative_slope = check_real("Activation", "negative_slope", negative_slope, 0)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Its own; those of the input if it is the identity."""
        identity = check_activation("Activation", self.activation) == "identity"
        return before if identity else super().output_activations(before, name)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.activation import activation

        kind = check_activation("Activation", self.activation)
        k = input_shape[-1] if input_shape else 1
        kernel = partial(
            activation, vectors=math.prod(input_shape) // k, k=k, kind=kind,
            slope=self.negative_slope if kind == "leaky_relu" else 1.0)
        return Built(tuple(input_shape), kernel)
