"""Independent NumPy formulas that several test files compare with."""
import math
from collections.abc import Callable

import numpy as np
from scipy import special

SCALE, ALPHA = 1.0507009873554804934, 1.6732632423543772848             # of selu


def leaky_relu(z, slope=0.01):
    return np.where(z > 0, z, slope * z)


def elu(z, slope=1.0):
    return np.where(z > 0, z, slope * np.expm1(np.minimum(z, 0)))


# An activation without its formula here fails every test that runs over the library's table, by its name.
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": lambda z: SCALE * elu(z, ALPHA),
    "gelu": lambda z: z * special.ndtr(z),
    "silu": lambda z: z * special.expit(z),
    "softplus": lambda z: np.logaddexp(0, z),
    "tanh": np.tanh,
    "logistic": special.expit,
    "softmax": lambda z: special.softmax(z, axis=-1),
    "mish": lambda z: z * np.tanh(np.logaddexp(0, z)),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "hard_silu": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "relu6": lambda z: np.clip(z, 0, 6),
    "gelu_tanh": lambda z: z * special.expit(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)),
}


def activate(name: str, z: np.ndarray, slope: float | None = None) -> np.ndarray:
    """An activation by its name; the slope is for leaky_relu and elu, which have one."""
    assert name in ACTIVATIONS, f"{name} has no formula in tests/helpers/references.py"
    f = ACTIVATIONS[name]
    return f(z) if slope is None or f not in (leaky_relu, elu) else f(z, slope)
