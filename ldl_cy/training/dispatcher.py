"""The interface through which a fit calls its callbacks, implemented by ``callbacks.CallbackList``."""
from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np


class FitHistory(Protocol):
    """The record of a fit, see ``callbacks.History``."""

    def ended(self, reason: str, message: str, result: Any = None) -> None:
        """Record why the fit ended before its last epoch."""


class CallbackDispatcher(Protocol):
    """Calls the callbacks of one fit. A protocol, since training must not import callbacks, which refer to models."""

    @property
    def history(self) -> FitHistory:
        """The record of the fit."""

    def __bool__(self) -> bool:
        """Whether there are callbacks; without any, several epochs may run in one call."""

    def check(self, optimizer: Any, known: Collection[str]) -> None:
        """Before any computation: let every callback refuse the fit."""

    def prepend(self, callback: Callable[[Any, dict[str, float]], Any]) -> None:
        """Add a function of (model, logs) before all other callbacks."""

    def fitting(self, epochs: int) -> AbstractContextManager[Any, bool | None]:
        """The beginning and, also after an exception, the end of the fit for all callbacks."""

    def load_states(self) -> None:
        """Give the callbacks their states from earlier fits."""

    def epoch_begins(self, epoch: int) -> None:
        """Before an epoch."""

    def epoch_ends(self, epoch: int, logs: dict[str, float]) -> bool:
        """After an epoch: whether a callback requests a stop."""

    def epochs_end(self, first: int, losses: np.ndarray) -> bool:
        """The same after several epochs, of which ``first`` is the number of the first."""

    def non_finite(self, error: FloatingPointError) -> bool:
        """Whether a callback asks to end the fit without the error."""
