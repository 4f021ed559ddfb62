"""Support for scikit-learn's callbacks (``set_callbacks``, from 1.9 on), for which each epoch is a task of the fit."""
from __future__ import annotations

import copy
from typing import Any

from ldl_cy.callbacks import Callback
from ldl_cy.models import Sequential

try:                                # scikit-learn 1.9 and later
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:
    class CallbackSupportMixin:     # type: ignore[no-redef]
        """Empty, for versions of scikit-learn that do not have it."""


class SklearnCallbacks(Callback):
    """The last callback of an estimator's fit, which reports its epochs to scikit-learn's callbacks, if there are any.

    Parameters
    ----------
    estimator : BaseNetwork
    X, y, sample_weight : the validated arguments of ``fit``
    context : scikit-learn's callback context of this fit, or None without callbacks
    """

    last = True

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, context: Any) -> None:
        self.estimator, self.context = estimator, context
        self.data: dict[str, Any] = {"X": X, "y": y}
        if sample_weight is not None:
            self.data["metadata"] = {"sample_weight": sample_weight}
        self.epoch: Any = None
        if context is not None:
            context.call_on_fit_task_begin(estimator=estimator, **self.data)

    def on_epoch_begin(self, model: Sequential, epoch: int) -> None:
        """Begin a task for the epoch."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch").call_on_fit_task_begin(
                estimator=self.estimator, reconstruction_attributes=lambda: fitted(model), **self.data)

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """End the epoch's task: whether one of scikit-learn's callbacks requests a stop."""
        if self.epoch is None:
            return None
        task, self.epoch = self.epoch, None
        return bool(task.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=lambda: fitted(model), **self.data))

    def on_fit_end(self, model: Sequential) -> None:
        """End the task of an epoch that was not completed, so that each task that begins also ends."""
        if self.epoch is not None:
            self.epoch.call_on_fit_task_end(estimator=self.estimator)
            self.epoch = None

    def finish(self) -> None:
        """End the task of the fit, once the estimator is fitted."""
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes={}, **self.data)


def fitted(model: Sequential) -> dict[str, Any]:
    """The attributes that make a copy of the estimator a fitted one."""
    return {"model_": copy.deepcopy(model)}
