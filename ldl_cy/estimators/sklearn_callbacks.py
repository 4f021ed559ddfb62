"""scikit-learn's own callbacks (``set_callbacks``, from 1.9 on), which see each epoch as a task of the fit."""
from __future__ import annotations

import copy
from typing import Any

from ldl_cy.callbacks import Callback
from ldl_cy.models import Sequential

try:                                # scikit-learn 1.9 and later
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:
    class CallbackSupportMixin:     # type: ignore[no-redef]
        """Stands for scikit-learn's where there is none."""


class SklearnCallbacks(Callback):
    """The last of the callbacks of an estimator's fit: shows its epochs to scikit-learn's callbacks, if there are any.

    Parameters
    ----------
    estimator : BaseNetwork
    X, y, sample_weight : what ``fit`` was given, validated
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
        """The epoch is a task."""
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch").call_on_fit_task_begin(
                estimator=self.estimator, reconstruction_attributes=lambda: fitted(model), **self.data)

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Its task ends; whether one of scikit-learn's callbacks asks the fit to stop."""
        if self.epoch is None:
            return None
        task, self.epoch = self.epoch, None
        return bool(task.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=lambda: fitted(model), **self.data))

    def on_fit_end(self, model: Sequential) -> None:
        """An epoch that began and did not end: whoever sees its task begin sees it end."""
        if self.epoch is not None:
            self.epoch.call_on_fit_task_end(estimator=self.estimator)
            self.epoch = None

    def finish(self) -> None:
        """When the estimator is fitted."""
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes={}, **self.data)


def fitted(model: Sequential) -> dict[str, Any]:
    """What makes a copy of the estimator one that is fitted so far."""
    return {"model_": copy.deepcopy(model)}
