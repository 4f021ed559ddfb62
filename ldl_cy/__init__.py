"""Deep learning as linear algebra: dense, convolutional and recurrent networks in Cython over SciPy's BLAS.

Everything loads on first use; the estimators, and with them scikit-learn, too.
"""
from __future__ import annotations

import importlib
from typing import Any

from ldl_cy._version import __version__

_MODULES = ("callbacks", "initializers", "layers", "losses", "optimizers", "plotting", "schedules")
_ESTIMATORS = tuple(f"{family}{kind}" for family in ("MLP", "CNN", "RNN", "NeuralNet")
                    for kind in ("Classifier", "Regressor"))

__all__ = ["Sequential", "__version__", "find_learning_rate", *_MODULES, *_ESTIMATORS]


def __getattr__(name: str) -> Any:
    value: Any
    if name == "Sequential":
        value = importlib.import_module("ldl_cy.models").Sequential
    elif name == "find_learning_rate":
        value = importlib.import_module("ldl_cy.learning_rate").find_learning_rate
    elif name in _ESTIMATORS:
        value = getattr(importlib.import_module("ldl_cy.estimators"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"ldl_cy.{name}")
    else:
        raise AttributeError(f"module 'ldl_cy' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
