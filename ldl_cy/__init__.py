"""Deep learning as linear algebra: dense, convolutional and recurrent networks in Cython over SciPy's BLAS.

Submodules are imported on first use, so that ``import ldl_cy`` is fast and does not need scikit-learn.
"""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ldl_cy._version import __version__

__all__ = [
    "SKOPS_TRUSTED", "Autoencoder", "CNNClassifier", "CNNRegressor", "MLPClassifier", "MLPRegressor",
    "NeuralNetClassifier", "NeuralNetRegressor", "RNNClassifier", "RNNRegressor", "Sequential", "__version__",
    "callbacks", "find_learning_rate", "initializers", "interop", "layers", "losses", "networks", "optimizers",
    "plotting", "schedules"]

# where a name is defined that is neither an estimator nor a module
_ROOMS = {"SKOPS_TRUSTED": "trusted", "Sequential": "models", "find_learning_rate": "learning_rate"}

if TYPE_CHECKING:
    from ldl_cy import (
        callbacks,
        initializers,
        interop,
        layers,
        losses,
        networks,
        optimizers,
        plotting,
        schedules,
    )
    from ldl_cy.estimators import (
        Autoencoder,
        CNNClassifier,
        CNNRegressor,
        MLPClassifier,
        MLPRegressor,
        NeuralNetClassifier,
        NeuralNetRegressor,
        RNNClassifier,
        RNNRegressor,
    )
    from ldl_cy.learning_rate import find_learning_rate
    from ldl_cy.models import Sequential
    from ldl_cy.trusted import SKOPS_TRUSTED
else:       # hidden from type checkers, which accept any name of a module that has a __getattr__
    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'ldl_cy' has no attribute {name!r}")
        if name in _ROOMS:
            value = getattr(importlib.import_module(f"ldl_cy.{_ROOMS[name]}"), name)
        elif name[0].isupper():
            value = getattr(importlib.import_module("ldl_cy.estimators"), name)
        else:
            value = importlib.import_module(f"ldl_cy.{name}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
