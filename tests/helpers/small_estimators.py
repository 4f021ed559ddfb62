"""Every estimator of the package, small enough for a test."""
from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier

import ldl_cy

CLASSIFIERS = tuple(name for name in ldl_cy.__all__ if name.endswith("Classifier"))
REGRESSORS = tuple(name for name in ldl_cy.__all__ if name.endswith("Regressor"))
EVERY = CLASSIFIERS + REGRESSORS
SETTINGS: dict[str, dict[str, Any]] = {           # of a family: an entry for each
    "MLP": {"hidden_layer_sizes": (16,)},
    "CNN": {"filters": (4,), "hidden_layer_sizes": (16,)},
    "RNN": {"units": (16,), "max_iter": 80},
    "NeuralNet": {},
}


def small(name: str, **parameters: Any) -> Any:
    """An estimator by name with few units and a quick step size."""
    family = name.removesuffix("Classifier").removesuffix("Regressor")
    settings = {"random_state": 0, "learning_rate_init": 0.01, "max_iter": 40, **SETTINGS[family]}
    return getattr(ldl_cy, name)(**{**settings, **parameters})


def problem(estimator: Any, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Six features and a target that depends on two of them: three classes, or a number."""
    X = np.random.default_rng(0).normal(size=(n, 6))
    number = X[:, 0] + 0.5 * X[:, 1]
    return X, np.digitize(number, [-0.5, 0.5]) if is_classifier(estimator) else number
