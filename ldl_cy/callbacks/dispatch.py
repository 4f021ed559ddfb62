"""Who calls the callbacks of a fit, for models and estimators alike."""
from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.callbacks.base import AnyCallback, Callback, Callbacks, check_callbacks
from ldl_cy.callbacks.history import History, ProgressBar

if TYPE_CHECKING:
    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer


def requests_stop(answer: Any) -> bool:
    """Whether a callback returned True, NumPy's included; whatever else a function returns has no meaning."""
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


class CallbackList:
    """The callbacks of one fit, and its history.

    Parameters
    ----------
    callbacks : see ``Sequential.fit``
    model : Sequential or None
        None: ``model`` is set before the fit begins.
    progress : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    history : History
        Records the epoch's values when all callbacks have seen them, with what these have added.
    """

    model: Sequential

    def __init__(self, callbacks: Callbacks, model: Sequential | None = None, *, progress: bool = False) -> None:
        if model is not None:
            self.model = model
        self.history = History()
        self.callbacks = check_callbacks(callbacks)
        if progress:
            self.callbacks.append(ProgressBar())
        self._checked = False

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Before any work, once: every callback may refuse the fit; ``known`` are the names in ``logs``."""
        if not self._checked:
            for callback in self.callbacks:
                callback.check(optimizer, known)
        self._checked = True

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.callbacks)

    def prepend(self, callback: AnyCallback) -> None:
        """Call one more, before all others."""
        self.callbacks[:0] = check_callbacks(callback)

    def append(self, callback: AnyCallback) -> None:
        """Call one more, after all others."""
        self.callbacks += check_callbacks(callback)

    @contextmanager
    def fitting(self, epochs: int) -> Iterator[None]:
        """The fit begins now, and ends for all callbacks that have begun, in reverse order, however it ends."""
        with ExitStack() as begun:
            for callback in self.callbacks:
                callback.on_fit_begin(self.model, epochs)
                begun.callback(callback.on_fit_end, self.model)
            yield

    def load_states(self) -> None:
        """Callbacks go on with what they kept in the model's last fits."""
        kept = self.model.training_state.callbacks
        for key, callback in self._by_key():
            if key in kept:
                callback.load_state_dict(kept[key])

    def save_states(self) -> None:
        """The model keeps what callbacks need for going on, and is saved with it."""
        kept = self.model.training_state.callbacks
        for key, callback in self._by_key():
            state = callback.state_dict()
            if state:
                kept[key] = state

    def _by_key(self) -> Iterator[tuple[str, Callback]]:
        """Callbacks with a key each: their own, and from the second with the same one on a number behind it."""
        counts: dict[str, int] = {}
        for callback in self.callbacks:
            key = callback.state_key
            counts[key] = counts.get(key, 0) + 1
            yield key if counts[key] == 1 else f"{key} {counts[key]}", callback

    def epoch_begins(self, epoch: int) -> None:
        """Before an epoch, or before several of which nobody sees the single ones."""
        for callback in self.callbacks:
            callback.on_epoch_begin(self.model, epoch)

    def epoch_ends(self, epoch: int, logs: dict[str, float]) -> bool:
        """After an epoch; whether a callback asks the fit to stop. All of them see the epoch."""
        stop = saved = False
        for callback in self.callbacks:
            if callback.last and not saved:
                self.save_states()
                saved = True
            stop |= requests_stop(callback.on_epoch_end(self.model, epoch, logs))
        if not saved:
            self.save_states()
        self.history.on_epoch_end(self.model, epoch, logs)
        if stop:
            self.history.ended("callback", "a callback ended the fit")
        return stop

    def non_finite(self, error: FloatingPointError) -> bool:
        """The loss or a weight became non-finite; whether a callback asks for a quiet end in place of the error."""
        stops = [requests_stop(callback.on_non_finite(self.model, error)) for callback in self.callbacks]
        if any(stops):
            self.history.ended("non-finite", str(error))
        return any(stops)

    def epochs_end(self, first: int, losses: np.ndarray) -> bool:
        """After the epochs from number ``first`` on, with these losses; whether a callback asks the fit to stop."""
        if not self.callbacks:
            self.history.extend(first, losses)
            return False
        return any([self.epoch_ends(first + i, {"loss": float(loss)}) for i, loss in enumerate(losses)])
