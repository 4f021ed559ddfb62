"""Callbacks that watch one value and act where it no longer improves, and one for values that are none."""
from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.callbacks.base import Callback
from ldl_cy.checks import check_bool, check_choice, check_int, check_real

if TYPE_CHECKING:
    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer

RISING = ("score", "accuracy")      # ends of names of values that are better when larger


class Monitor(Callback):
    """Base of those that watch a value: better by more than ``min_delta``, or one epoch more of patience used."""

    def __init__(self, monitor: str, patience: int, min_delta: float, mode: str) -> None:
        owner = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{owner}: monitor must be the name of a value such as 'val_loss', got {monitor!r}.")
        self.monitor = monitor
        self.patience = check_int(owner, "patience", patience, 0)
        self.min_delta = check_real(owner, "min_delta", min_delta, 0)
        self.mode = check_choice(owner, "mode", mode, ("auto", "min", "max"))
        self.sign = -1.0 if mode == "max" or (mode == "auto" and monitor.endswith(RISING)) else 1.0

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """The value must be there."""
        if self.monitor not in known:
            validates = any(name.startswith("val_") for name in known)
            hint = "; it needs validation data" if self.monitor.startswith("val_") and not validates else ""
            raise ValueError(f"{type(self).__name__}: monitor must be one of {', '.join(map(repr, known))}, "
                             f"got {self.monitor!r}{hint}.")

    def improves(self, logs: dict[str, float], best: float) -> bool:
        """Whether the value is better than the best so far, both with the sign that makes less better."""
        return self.sign * logs[self.monitor] < best - self.min_delta


class EarlyStopping(Monitor):
    """End the fit where a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default="val_loss"
        A value of ``logs``: "loss", "val_loss"; "val_score" for estimators.
    patience : int >= 0, default=0
        Epochs in a row without improvement that end the fit; 0 is as 1.
    min_delta : float >= 0, default=0.0
        What counts as an improvement is more than this.
    restore_best_weights : bool, default=False
        Whether the model ends with the weights, and running statistics, of its best epoch.
    mode : {"auto", "min", "max"}, default="auto"
        Whether less is better; "auto" is "max" for names that end in "score" or "accuracy", else "min".

    Attributes
    ----------
    best : float, the best value of the last fit
    best_epoch : int, the model's epoch count then
    stopped_epoch : int or None, that of the last epoch where this ended the fit
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 0, min_delta: float = 0.0, restore_best_weights: bool = False,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.restore_best_weights = check_bool("EarlyStopping", "restore_best_weights", restore_best_weights)

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Forget the last fit."""
        self.best, self.best_epoch = np.nan, model.epoch
        self.stopped_epoch: int | None = None
        self._least, self._wait = np.inf, 0
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Count, and stop when patience has run out."""
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
        """The best weights again."""
        if self._kept is not None:
            model.network.restore(self._kept)
            self._kept = None


class ReduceOnPlateau(Monitor):
    """Multiply the learning rate, or what a schedule says, by a factor where a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default="val_loss"
    factor : float in (0, 1), default=0.1
    patience : int >= 0, default=10
        Epochs in a row without improvement after which the rate is reduced.
    min_delta : float >= 0, default=1e-4
    min_factor : float in [0, 1), default=0.0
        The product of all reductions does not fall below it.
    mode : {"auto", "min", "max"}, default="auto"

    Attributes
    ----------
    best : float, the best value so far, with the sign that makes less better
    wait : int, epochs since then, or since the last reduction

    Notes
    -----
    The model keeps the reductions so far (``training_state.rate_factor``), the best value and the epochs without
    improvement, and is saved with them: a further fit continues with them, unless its optimizer is of another class.
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
        """There must be a learning rate to reduce."""
        super().check(optimizer, known)
        if optimizer.method is not None:
            raise ValueError("ReduceOnPlateau: the optimizer must take steps of a learning rate, "
                             f"got {type(optimizer).__name__}.")

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Count from 0, unless the model has kept where to go on."""
        self.best, self.wait = np.inf, 0

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Count, and reduce when patience has run out."""
        if self.improves(logs, self.best):
            self.best, self.wait = self.sign * logs[self.monitor], 0
            return None
        self.wait += 1
        if self.wait >= self.patience:
            state = model.training_state
            state.rate_factor = min(state.rate_factor, max(state.rate_factor * self.factor, self.min_factor))
            self.wait = 0
        return None

    @property
    def state_key(self) -> str:
        """One for each monitored value."""
        return f"ReduceOnPlateau {self.monitor}"

    def state_dict(self) -> dict[str, Any]:
        """The best value and the epochs since then."""
        # an infinite one, before the first epoch, is no number of a file
        return {"wait": self.wait} if np.isinf(self.best) else {"best": float(self.best), "wait": self.wait}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.best = check_real("ReduceOnPlateau", "best", state["best"]) if "best" in state else np.inf
        self.wait = int(check_real("ReduceOnPlateau", "wait", state.get("wait", 0), 0))


class TerminateOnNaN(Callback):
    """End the fit quietly where the loss or a weight becomes NaN or infinite, in place of a FloatingPointError.

    The weights are those of the last finite epoch; ``History.stop_reason`` is "non-finite".
    """

    def on_non_finite(self, model: Sequential, error: FloatingPointError) -> bool | None:
        """The fit ends here."""
        return True
