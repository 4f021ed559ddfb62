"""Callbacks that act when a monitored value stops improving or the loss becomes non-finite."""
from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.callbacks.base import Callback
from ldl_cy.checks import check_bool, check_choice, check_int, check_real
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer

RISING = ("score", "accuracy")      # suffixes of names of values for which larger is better


def sign_of(monitor: str, mode: str) -> float:
    """The factor by which smaller values are better."""
    return -1.0 if mode == "max" or (mode == "auto" and monitor.endswith(RISING)) else 1.0


def check_monitored(owner: str, argument: str, monitor: str, known: Collection[str]) -> None:
    """Refuse the name of a value that is not among ``known``."""
    if monitor not in known:
        validates = any(name.startswith("val_") for name in known)
        hint = "; it needs validation data" if monitor.startswith("val_") and not validates else ""
        names = ", ".join(map(repr, known))
        raise ValueError(f"{owner}: {argument} must be one of {names}, got {shown(monitor)}{hint}.")


class Monitor(Callback):
    """Base class of callbacks that monitor a value, which improves if it is better by more than ``min_delta``."""

    def __init__(self, monitor: str, patience: int, min_delta: float, mode: str) -> None:
        owner = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{owner}: monitor must be the name of a value such as 'val_loss', got {shown(monitor)}.")
        self.monitor = monitor
        self.patience = check_int(owner, "patience", patience, 0)
        self.min_delta = check_real(owner, "min_delta", min_delta, 0)
        self.mode = check_choice(owner, "mode", mode, ("auto", "min", "max"))
        self.sign = sign_of(monitor, mode)

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Refuse a monitored value that is not among ``known``."""
        check_monitored(type(self).__name__, "monitor", self.monitor, known)

    def improves(self, logs: dict[str, float], best: float) -> bool:
        """Whether the value is better than ``best``, which has the sign that makes smaller better."""
        return self.sign * logs[self.monitor] < best - self.min_delta


class EarlyStopping(Monitor):
    """End the fit when a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default="val_loss"
        A value of ``logs``: "loss" or, with validation data, "val_loss"; for estimators "val_score" too.
    patience : int >= 0, default=0
        The number of consecutive epochs without improvement that ends the fit; 0 is the same as 1.
    min_delta : float >= 0, default=0.0
        A change counts as an improvement only if it is larger than this.
    restore_best_weights : bool, default=False
        Whether to restore the weights and running statistics of the best epoch at the end.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger is better; "auto" is "max" for names that end in "score" or "accuracy", else "min".

    Attributes
    ----------
    best : float, the best value of the last fit
    best_epoch : int, the model's epoch count at that time
    stopped_epoch : int or None, the model's epoch count when this callback ended the fit

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``fit`` a monitored value that ``logs`` does not have.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 0, min_delta: float = 0.0, restore_best_weights: bool = False,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.restore_best_weights = check_bool("EarlyStopping", "restore_best_weights", restore_best_weights)

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Start counting from 0."""
        self.best, self.best_epoch = np.nan, model.epoch
        self.stopped_epoch: int | None = None
        self._least, self._wait = np.inf, 0
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Count epochs without improvement, and stop when there are ``patience`` of them."""
        if self.improves(logs, self._least):
            self._wait, self._least = 0, self.sign * logs[self.monitor]
            self.best, self.best_epoch = logs[self.monitor], epoch
            if self.restore_best_weights:
                self._kept = model.network.snapshot()
            return None
        self._wait += 1
        if self._wait < self.patience:
            return None
        self.stopped_epoch = epoch
        return True

    def on_fit_end(self, model: Sequential) -> None:
        """Restore the best weights, if asked for."""
        if self._kept is not None:
            model.network.restore(self._kept)
            self._kept = None


class ReduceOnPlateau(Monitor):
    """Multiply the learning rate, also that of a schedule, by a factor when a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default="val_loss"
        A value of ``logs``, see ``EarlyStopping``.
    factor : float in (0, 1), default=0.1
    patience : int >= 0, default=10
        The number of consecutive epochs without improvement after which the rate is reduced.
    min_delta : float >= 0, default=1e-4
        A change counts as an improvement only if it is larger than this.
    min_factor : float in [0, 1), default=0.0
        The lower bound of the product of all reductions.
    mode : {"auto", "min", "max"}, default="auto"
        See ``EarlyStopping``.

    Attributes
    ----------
    best : float, the best value so far, with the sign that makes smaller better
    wait : int, epochs since then, or since the last reduction

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``fit`` a monitored value that ``logs`` does not have, or an
        optimizer without a learning rate.

    Notes
    -----
    The model stores the product of the reductions (``training_state.rate_factor``), the best value and the epochs
    without improvement, also in files: a further fit continues from them unless its optimizer is of another class.
    """

    best = np.inf
    wait = 0

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, min_delta: float = 1e-4,
        min_factor: float = 0.0, mode: str = "auto",
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.factor = check_real("ReduceOnPlateau", "factor", factor, 0, 1, low_open=True, high_open=True)
        self.min_factor = check_real("ReduceOnPlateau", "min_factor", min_factor, 0, 1, high_open=True)

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Refuse full-batch methods, which have no learning rate that could be reduced."""
        super().check(optimizer, known)
        if optimizer.method is not None:
            raise ValueError("ReduceOnPlateau: the optimizer must take steps of a learning rate, "
                             f"got {type(optimizer).__name__}.")

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Start counting from 0; ``load_state_dict`` follows if the model has a state."""
        self.best, self.wait = np.inf, 0

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Count epochs without improvement, and reduce the rate when there are ``patience`` of them."""
        if self.improves(logs, self.best):
            self.best, self.wait = self.sign * logs[self.monitor], 0
            return None
        self.wait += 1
        if self.wait >= self.patience:
            state = model.training_state
            state.rate_factor = min(state.rate_factor, max(state.rate_factor * self.factor, self.min_factor))
            self.wait = 0
        return None

    def _default_state_key(self) -> str:
        """The class's name and the monitored value, so that two of them do not share a state."""
        return f"ReduceOnPlateau {self.monitor}"

    def state_dict(self) -> dict[str, Any]:
        """The best value and the epochs since then."""
        # before the first epoch the best value is infinite, which cannot be written to a file
        return {"wait": self.wait} if np.isinf(self.best) else {"best": float(self.best), "wait": self.wait}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue counting; TypeError or ValueError for anything but finite numbers and a count >= 0."""
        self.best = check_real("ReduceOnPlateau", "best", state["best"]) if "best" in state else np.inf
        self.wait = int(check_real("ReduceOnPlateau", "wait", state.get("wait", 0), 0))


class TerminateOnNaN(Callback):
    """End the fit without a FloatingPointError if the loss or a weight becomes NaN or infinite.

    The model keeps the weights of the last finite epoch; ``History.stop_reason`` is "non_finite".
    """

    def on_non_finite(self, model: Sequential, error: FloatingPointError) -> bool | None:
        """End the fit."""
        return True
