"""Who watches a fit besides the estimator itself: the user's callbacks, and scikit-learn's where it has them."""
from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any

from ldl_cy.callbacks import ProgressBar, check_callbacks, is_true
from ldl_cy.estimators.solvers import make_optimizer
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
        Its ``callbacks`` see each epoch, or iteration of lbfgs, with the network and what is recorded of
        the epoch: "loss" and, where rows are held out, "val_score".
    scored : bool
        Whether rows are held out.
    """

    def __init__(self, estimator: Any, *, scored: bool) -> None:
        self.estimator = estimator
        self.own = check_callbacks(estimator.callbacks)
        optimizer = make_optimizer(estimator)
        for callback in self.own:
            callback.check(optimizer, ["loss", "val_score"] if scored else ["loss"])
        if estimator.verbose and not estimator._prints:
            self.own.append(ProgressBar())
        self.ends = ExitStack()
        self.data: dict[str, Any] = {}
        self.fit: Any = None
        self.epoch: Any = None

    def start(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> None:
        """Before the model is built, with what ``fit`` got, validated.

        For scikit-learn's callbacks (``set_callbacks``), which see each epoch as a task of the fit.
        """
        estimator = self.estimator
        self.data = {"X": X, "y": y}
        if sample_weight is not None:
            self.data["metadata"] = {"sample_weight": sample_weight}
        watched = hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")
        if watched and not incremental and hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(estimator=estimator, **self.data)

    def begin(self, epochs: int) -> None:
        """Before the first epoch."""
        model = self.estimator.model_
        with ExitStack() as begun:              # one that cannot begin ends those that have
            for callback in self.own:
                callback.on_fit_begin(model, epochs)
                begun.callback(callback.on_fit_end, model)
            self._next_task()
            self.ends = begun.pop_all()

    def epoch_begins(self, epoch: int) -> None:
        """Before each epoch."""
        for callback in self.own:
            callback.on_epoch_begin(self.estimator.model_, epoch)

    def non_finite(self, error: FloatingPointError) -> bool:
        """Where the loss or a weight became non-finite; whether one of them wants the fit to end quietly."""
        return any([is_true(callback.on_non_finite(self.estimator.model_, error)) for callback in self.own])

    def epoch_ends(self, logs: dict[str, float]) -> bool:
        """After each epoch; whether one of them wants the fit to end."""
        model: Sequential = self.estimator.model_
        stops = [is_true(callback.on_epoch_end(model, model.epoch, logs)) for callback in self.own]
        if self.epoch is not None:
            stops.append(self.epoch.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=self._network, **self.data))
            self.epoch = None
            if self.estimator.n_iter_ < self.estimator.max_iter and not any(stops):
                self._next_task()
        return any(stops)

    def end(self) -> None:
        """After the last epoch, also when an exception ended the fit."""
        with self.ends:
            if self.epoch is not None:      # begun, and never run: who sees a task begin sees it end
                self.epoch.call_on_fit_task_end(estimator=self.estimator)
                self.epoch = None

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
