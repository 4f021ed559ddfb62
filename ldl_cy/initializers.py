"""Initial weights. Each initializer is a pure function of a shape and of random numbers.

``initializer(shape, rng)`` returns an array of that shape, a tuple of ints. A function of your own can be passed in
place of a name; ``rng`` has the methods of ``numpy.random.Generator``, such as ``rng.uniform(-1, 1, shape)``, and its
numbers depend on the model's seed and on the place of the parameter alone: see ``ldl_cy.generator``.

Weights are drawn in float64 and rounded to the model's dtype afterwards. Fans follow Keras: the last
axis holds the outputs, the one before it the inputs, and the axes before these (a convolution's window)
multiply both.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ldl_cy.messages import shown

Shape = tuple[int, ...]
Draw = Callable[[Shape, Any], np.ndarray]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out): the number of inputs to one output, and of outputs that one input feeds."""
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def zeros(shape: Shape, rng: Any) -> np.ndarray:
    """All 0."""
    return np.zeros(shape)


def ones(shape: Shape, rng: Any) -> np.ndarray:
    """All 1."""
    return np.ones(shape)


def normal(shape: Shape, rng: Any) -> np.ndarray:
    """N(0, 0.05^2), as Keras's RandomNormal."""
    return 0.05 * rng.normal(shape)


def uniform(shape: Shape, rng: Any) -> np.ndarray:
    """U(-0.05, 0.05), as Keras's RandomUniform."""
    return 0.05 * (2 * rng.uniform(shape) - 1)


def _normal(variance: float, shape: Shape, rng: Any) -> np.ndarray:
    return math.sqrt(variance) * rng.normal(shape)


def _uniform(variance: float, shape: Shape, rng: Any) -> np.ndarray:
    # U(-a, a) has the variance a^2 / 3
    return math.sqrt(3 * variance) * (2 * rng.uniform(shape) - 1)


def _over_fan_in(numerator: float, shape: Shape) -> float:
    return numerator / max(1, fans(shape)[0])


def _over_both_fans(numerator: float, shape: Shape) -> float:
    return numerator / max(1, sum(fans(shape)))


def glorot_uniform(shape: Shape, rng: Any) -> np.ndarray:
    """U(-a, a) with the variance a^2/3 = 2/(fan_in + fan_out) (Glorot and Bengio, AISTATS 2010)."""
    return _uniform(_over_both_fans(2, shape), shape, rng)


def glorot_normal(shape: Shape, rng: Any) -> np.ndarray:
    """Normal with the variance 2/(fan_in + fan_out) (Glorot and Bengio, AISTATS 2010)."""
    return _normal(_over_both_fans(2, shape), shape, rng)


def he_uniform(shape: Shape, rng: Any) -> np.ndarray:
    """U(-a, a) with the variance a^2/3 = 2/fan_in (He et al., ICCV 2015)."""
    return _uniform(_over_fan_in(2, shape), shape, rng)


def he_normal(shape: Shape, rng: Any) -> np.ndarray:
    """Normal with the variance 2/fan_in (He et al., ICCV 2015)."""
    return _normal(_over_fan_in(2, shape), shape, rng)


def lecun_uniform(shape: Shape, rng: Any) -> np.ndarray:
    """U(-a, a) with the variance a^2/3 = 1/fan_in (LeCun et al., "Efficient BackProp", 1998)."""
    return _uniform(_over_fan_in(1, shape), shape, rng)


def lecun_normal(shape: Shape, rng: Any) -> np.ndarray:
    """Normal with the variance 1/fan_in (LeCun et al., "Efficient BackProp", 1998)."""
    return _normal(_over_fan_in(1, shape), shape, rng)


def orthogonal(shape: Shape, rng: Any) -> np.ndarray:
    """Orthonormal rows or columns: Q of a QR factorisation of a normal matrix, times the signs of R's diagonal.

    Saxe, McClelland, Ganguli, ICLR 2014. With the signs, Q is uniformly distributed over the orthogonal group
    (Mezzadri, Notices of the AMS 54, 2007).

    Raises
    ------
    ValueError
        A shape of fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"orthogonal: the shape must have two axes or more, got {shape}.")
    rows, cols = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.normal((max(rows, cols), min(rows, cols))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q if rows >= cols else q.T).reshape(shape)


def identity(shape: Shape, rng: Any) -> np.ndarray:
    """The identity matrix (Le, Jaitly, Hinton, arXiv:1504.00941, for recurrent ReLU networks).

    Raises
    ------
    ValueError
        A shape that does not have two axes.
    """
    if len(shape) != 2:
        raise ValueError(f"identity: the shape must have two axes, got {shape}.")
    return np.eye(*shape)


class Constant:
    """All weights equal to one value.

    Parameters
    ----------
    value : float
        A finite number.

    Raises
    ------
    TypeError, ValueError
        Not a finite number.
    """

    def __init__(self, value: float) -> None:
        from ldl_cy.checks import check_real

        self.value = check_real("Constant", "value", value)

    def __call__(self, shape: Shape, rng: Any) -> np.ndarray:
        return np.full(shape, self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and other.value == self.value

    def __hash__(self) -> int:
        return hash(("Constant", self.value))

    def __repr__(self) -> str:
        return f"Constant({self.value!r})"

    def get_config(self) -> dict[str, float]:
        """The constructor's arguments, by name."""
        return {"value": self.value}


INITIALIZERS: dict[str, Draw] = {
    "zeros": zeros, "ones": ones, "normal": normal, "uniform": uniform,
    "glorot_uniform": glorot_uniform, "glorot_normal": glorot_normal,
    "he_uniform": he_uniform, "he_normal": he_normal,
    "lecun_uniform": lecun_uniform, "lecun_normal": lecun_normal,
    "orthogonal": orthogonal, "identity": identity,
}


def get(owner: str, argument: str, initializer: Any) -> Draw:
    """The initializer of a name, or the callable itself.

    Raises
    ------
    TypeError, ValueError
        Anything else; the message names ``owner`` and ``argument``.
    """
    if isinstance(initializer, str) and initializer in INITIALIZERS:
        return INITIALIZERS[initializer]
    if callable(initializer):
        return initializer
    raise (ValueError if isinstance(initializer, str) else TypeError)(
        f"{owner}: {argument} must be one of {', '.join(INITIALIZERS)} or a function of (shape, rng), "
        f"got {shown(initializer)}.")
