"""What a fit needs of whoever calls its callbacks: ``callbacks.CallbackList`` is one."""
from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np


class FitHistory(Protocol):
    """What a fit writes of itself: see ``callbacks.History``."""

    def ended(self, reason: str, message: str, result: Any = None) -> None:
        """Why the fit ended before its last epoch."""


class CallbackDispatcher(Protocol):
    """Calls the callbacks of one fit. A protocol, so that training is below the callbacks, which know models."""

    @property
    def history(self) -> FitHistory:
        """The record of the fit."""

    def __bool__(self) -> bool:
        """Whether there are callbacks; without any, several epochs may run in one call."""

    def check(self, optimizer: Any, known: Collection[str]) -> None:
        """Before any work: every callback may refuse the fit."""

    def prepend(self, callback: Callable[[Any, dict[str, float]], Any]) -> None:
        """Call a function of (model, logs) as well, before all others."""

    def fitting(self, epochs: int) -> AbstractContextManager[None]:
        """The fit begins and ends for all callbacks, however it ends."""

    def load_states(self) -> None:
        """Callbacks continue with what they kept in earlier fits."""

    def epoch_begins(self, epoch: int) -> None:
        """Before an epoch."""

    def epoch_ends(self, epoch: int, logs: dict[str, float]) -> bool:
        """After an epoch; whether a callback asks the fit to stop."""

    def epochs_end(self, first: int, losses: np.ndarray) -> bool:
        """The same after the epochs from number ``first`` on."""

    def non_finite(self, error: FloatingPointError) -> bool:
        """Whether a callback asks for a quiet end in place of the error."""
