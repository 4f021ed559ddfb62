"""Types of the estimators' parameters, and typed forms of scikit-learn's decorators, which have no types."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
from sklearn import config_context
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if

from ldl_cy.optimizers import Optimizer

Method = TypeVar("Method", bound=Callable[..., Any])

Sizes = int | Sequence[int] | np.ndarray
Solver = str | Optimizer
RandomState = int | np.random.RandomState | None
ClassWeight = dict[Any, float] | list[dict[Any, float]] | str | None
DType = str | type[np.float32 | np.float64] | None


def validated(method: Method) -> Method:
    """Decorator: check the estimator's parameters before a fit."""
    decorated: Method = _fit_context(prefer_skip_nested_validation=True)(method)
    return decorated


def validated_once(estimator: Any) -> AbstractContextManager[None]:
    """Within it a fitted estimator's parameters are not checked: ``partial_fit`` checks them in its first call."""
    fitted: AbstractContextManager[None] = config_context(skip_parameter_validation=True)
    return fitted if hasattr(estimator, "model_") else nullcontext()


def available(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Decorator: a method that an estimator has only if ``check(estimator)`` does not raise."""
    decorator: Callable[[Method], Method] = available_if(check)
    return decorator
