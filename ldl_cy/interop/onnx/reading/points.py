"""Activations that a graph has in parts, as Erf, Mul and Add for gelu: known by what they make of some numbers.

A value that is computed from another one number by number keeps what becomes of PROBES on the way. Where that is an
activation of ours, whatever its formula, the layer is that activation.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf, expit

from ldl_cy._engine.vec import ACTIVATIONS
from ldl_cy.interop.onnx.reading.file import Op, Unreadable, short
from ldl_cy.interop.onnx.reading.values import Point, Value

PROBES = np.concatenate([np.linspace(-9, 9, 49), [-30.0, -20.5, -3.01, -2.99, -1e-3, 1e-3, 2.99, 3.01, 20.5, 30.0]])
CLOSE = 1e-6                # of 1 or of the number: formulas have constants in float32
MOST_POINTS = 12            # values that one is compared with: the longest formula, of hard_silu, has five nodes


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0)


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _gelu(x: np.ndarray, approximate: str = "none") -> np.ndarray:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _selu(x: np.ndarray, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875,
          ) -> np.ndarray:
    return gamma * _elu(x, alpha)


def _hard_sigmoid(x: np.ndarray, alpha: float = 0.2, beta: float = 0.5) -> np.ndarray:
    return np.clip(alpha * x + beta, 0, 1)


# what each activation of ours makes of a number; softmax looks at several
FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x, "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6), "elu": _elu,
    "selu": _selu, "gelu": _gelu, "gelu_tanh": lambda x: _gelu(x, "tanh"), "silu": lambda x: x * expit(x),
    "softplus": _softplus, "tanh": np.tanh, "logistic": expit, "mish": lambda x: x * np.tanh(_softplus(x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6, "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}
RESULTS = {name: formula(PROBES) for name, formula in FORMULAS.items() if name in ACTIVATIONS}
_NAMES, _TABLE = tuple(RESULTS), np.array(list(RESULTS.values()))
_SLACK = CLOSE * np.maximum(1, np.abs(_TABLE))

# operators: the function, and the settings that it takes
UNARY: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
    "Relu": (lambda x: np.maximum(x, 0), ()), "LeakyRelu": (lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
                                                            ("alpha",)),
    "Elu": (_elu, ("alpha",)), "Selu": (_selu, ("alpha", "gamma")), "Gelu": (_gelu, ("approximate",)),
    "Sigmoid": (expit, ()), "Tanh": (np.tanh, ()), "Softplus": (_softplus, ()), "Erf": (erf, ()),
    "HardSigmoid": (_hard_sigmoid, ("alpha", "beta")), "HardSwish": (lambda x: x * _hard_sigmoid(x, 1 / 6), ()),
    "Mish": (FORMULAS["mish"], ()), "Exp": (np.exp, ()), "Log": (np.log, ()), "Neg": (np.negative, ()),
    "Abs": (np.abs, ()), "Sqrt": (np.sqrt, ()), "Reciprocal": (np.reciprocal, ()), "Not": (np.logical_not, ()),
    "Swish": (lambda x, alpha=1.0: x * expit(alpha * x), ("alpha",)),
    "Softsign": (lambda x: x / (1 + np.abs(x)), ()),
    "ThresholdedRelu": (lambda x, alpha=1.0: np.where(x > alpha, x, 0), ("alpha",)),
}
BINARY: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Max": np.maximum,
    "Min": np.minimum, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less,
    "LessOrEqual": np.less_equal,
}


def computed(function: Callable[..., np.ndarray], arguments: list[Value | float]) -> tuple[Point, ...]:
    """How function(arguments) depends on each of the values on which all of them depend, the nearest first."""
    values = [each for each in arguments if isinstance(each, Value)]
    tables = [{(point.base.key, point.base.axes): point for point in _from_itself(value)} for value in values]
    found = []
    for key, point in tables[0].items():
        if all(key in table for table in tables):
            given = iter(tables)
            numbers = [next(given)[key].result if isinstance(each, Value) else each for each in arguments]
            with np.errstate(all="ignore"):
                found.append(Point(point.base, function(*numbers)))
    return tuple(found[:MOST_POINTS])


def _from_itself(value: Value) -> list[Point]:
    return ([Point(value, PROBES)] if value.key else []) + list(value.points)


def activation(result: np.ndarray) -> tuple[str, float] | None:
    """(name, slope) of the activation that makes these of PROBES; the slope is of leaky_relu."""
    close = (np.abs(_TABLE - result) <= _SLACK).all(1)
    if close.any():
        return _NAMES[int(close.argmax())], 0.01
    slope = float(result[0] / PROBES[0]) if np.isfinite(result[0]) else -1.0
    if slope >= 0 and (np.abs(np.where(PROBES < 0, slope * PROBES, PROBES) - result) <= CLOSE * abs(PROBES)).all():
        return "leaky_relu", short(slope)
    return None


def straight(result: np.ndarray) -> tuple[float, float] | None:
    """(a, b) if the result is a PROBES + b."""
    at, other = int(np.argmax(PROBES)), int(np.argmin(PROBES))
    if not np.isfinite(result).all() or result.dtype == bool:
        return None
    a = (result[at] - result[other]) / (PROBES[at] - PROBES[other])
    b = result[at] - a * PROBES[at]
    scale = max(abs(a) * abs(PROBES[at]), abs(b))
    return (float(a), float(b)) if (np.abs(a * PROBES + b - result) <= 1e-12 * scale).all() else None


def settings(op: Op, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of an operator's attributes that are there."""
    found = {name: op.attributes[name] for name in names if name in op.attributes}
    if not all(isinstance(value, str if name == "approximate" else (int, float)) for name, value in found.items()):
        raise Unreadable("settings must be numbers")
    return found
