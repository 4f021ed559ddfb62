"""Who watches a fit besides the estimator itself: the user's callbacks, and scikit-learn's where it has them."""
from __future__ import annotations

import copy
from typing import Any

from ldl_cy.callbacks import ProgressBar, check_callbacks
from ldl_cy.models import Sequential

try:                                # scikit-learn 1.9 and later
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:
    class CallbackSupportMixin:     # type: ignore[no-redef]
        """Stands for scikit-learn's where there is none."""


class Observers:
    """The callbacks of one fit.

    Parameters
    ----------
    estimator : BaseNetwork
        Its ``callbacks`` are called after each epoch, or iteration of lbfgs, with the network and what is
        recorded of the epoch: "loss" and, where rows are held out, "val_score".
    X, y, sample_weight : what ``fit`` got, validated
        For scikit-learn's callbacks (``set_callbacks``), which see each epoch as a task of the fit.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> None:
        self.estimator = estimator
        self.own = check_callbacks(estimator.callbacks)
        if estimator.verbose and not estimator._prints:
            self.own.append(ProgressBar())
        self.data = {"X": X, "y": y}
        if sample_weight is not None:
            self.data["metadata"] = {"sample_weight": sample_weight}
        self.fit = self.epoch = None
        watched = hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")
        if watched and not incremental and hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(estimator=estimator, **self.data)

    def begin(self, epochs: int) -> None:
        """Before the first epoch."""
        for callback in self.own:
            callback.on_fit_begin(self.estimator.model_, epochs)
        self._next_task()

    def epoch_ends(self, logs: dict[str, float]) -> bool:
        """After each epoch; whether one of them wants the fit to end."""
        model: Sequential = self.estimator.model_
        stops = [callback.on_epoch_end(model, model.epoch, logs) is True for callback in self.own]
        if self.epoch is not None:
            stops.append(self.epoch.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=self._network, **self.data))
            self.epoch = None
            if self.estimator.n_iter_ < self.estimator.max_iter and not any(stops):
                self._next_task()
        return any(stops)

    def end(self) -> None:
        """After the last epoch, also when an exception ended the fit."""
        if self.epoch is not None:          # begun, and never run: who sees a task begin sees it end
            self.epoch.call_on_fit_task_end(estimator=self.estimator)
            self.epoch = None
        for callback in self.own:
            callback.on_fit_end(self.estimator.model_)

    def finish(self) -> None:
        """When the estimator is fitted."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes={}, **self.data)

    def _next_task(self) -> None:
        if self.fit is not None:
            self.epoch = self.fit.subcontext(task_name="epoch").call_on_fit_task_begin(
                estimator=self.estimator, reconstruction_attributes=self._network, **self.data)

    def _network(self) -> dict[str, Any]:
        """What makes a copy of the estimator one that is fitted so far."""
        return {"model_": copy.deepcopy(self.estimator.model_)}
