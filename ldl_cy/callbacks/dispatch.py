"""CallbackList, the only caller of callbacks, for models and estimators."""
from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.process import Exclusive
from ldl_cy.callbacks.base import AnyCallback, Callback, Callbacks, check_callbacks
from ldl_cy.callbacks.history import History, ProgressBar
from ldl_cy.distributed.agreement import agree_on_epoch
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy.distributed.ranks import Ranks
    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer


def requests_stop(answer: Any) -> bool:
    """Whether a callback returned True, or NumPy's; any other value is ignored."""
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


class CallbackList:
    """The callbacks of one fit, and its history.

    Parameters
    ----------
    callbacks : see ``Sequential.fit``
    model : Sequential or None
        None if ``model`` is set later, before the fit begins.
    progress : bool, default=False
        Whether to show a progress bar.
    ranks : Ranks, default=None
        Those that fit together: a stop that is requested on one of them ends the fit on all.

    Attributes
    ----------
    history : History
        Records the values of each epoch after all callbacks, with those that callbacks have added.
    callbacks : list of Callback, in the order in which they are called
    """

    model: Sequential

    def __init__(
        self, callbacks: Callbacks, model: Sequential | None = None, *, progress: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        if model is not None:
            self.model = model
        self.history = History()
        self.callbacks = check_callbacks(callbacks)
        if progress:
            self.callbacks.append(ProgressBar())
        self.ranks = ranks
        if ranks is not None and not ranks.is_first:
            self.callbacks = [callback for callback in self.callbacks if not callback.on_first_rank]
        self._checked = self._on_any_rank = False

    def exclusive(self) -> Exclusive:
        """Context manager of a fit: RuntimeError if another one that runs has one of the callbacks."""
        return Exclusive(self.callbacks, "with this callback")

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Let every callback refuse the fit, only the first time; ``known`` are the names in ``logs``."""
        if not self._checked:
            for callback in self.callbacks:
                callback.check(optimizer, known)
            list(self._by_key())            # refuses keys that are no strings
        self._checked = True

    def __bool__(self) -> bool:
        """Whether there are callbacks."""
        return bool(self.callbacks)

    def prepend(self, callback: AnyCallback) -> None:
        """Add a callback before all others."""
        self.callbacks[:0] = check_callbacks(callback)

    def append(self, callback: AnyCallback) -> None:
        """Add a callback after all others."""
        self.callbacks += check_callbacks(callback)

    def fitting(self, epochs: int) -> ExitStack:
        """Call on_fit_begin now; at the end of the ``with`` block, also of an exception, on_fit_end in reverse order.

        Those with ``last`` come after all others there too: they save what the others have made of the weights. Only
        callbacks whose on_fit_begin returned get an on_fit_end. ``epochs`` is the number of epochs of the fit.
        """
        self._on_any_rank = self.ranks is not None and self.ranks.any(bool(self.callbacks))
        with ExitStack() as last, ExitStack() as others:
            for callback in self.callbacks:
                callback.on_fit_begin(self.model, epochs)
                (last if callback.last else others).callback(callback.on_fit_end, self.model)
            begun = ExitStack()
            begun.push(last.pop_all())
            begun.push(others.pop_all())        # which is left first
            return begun

    def load_states(self) -> None:
        """Give the callbacks their states from earlier fits of the model."""
        kept = self.model.training_state.callbacks
        for key, callback in self._by_key():
            if key in kept:
                callback.load_state_dict(copy.deepcopy(kept[key]))

    def _save_state(self, key: str, callback: Callback) -> None:
        """Store a callback's state in the model's training state, or drop it if there is none."""
        state, training = callback.state_dict(), self.model.training_state
        if not isinstance(state, dict):
            raise TypeError(f"{type(callback).__name__}: state_dict must return a dict, got {shown(state)}.")
        try:
            state = copy.deepcopy(state)
        except RecursionError:
            raise ValueError(f"{type(callback).__name__}: state_dict must return a dict of fewer levels than Python's "
                             "limit of recursion.") from None
        # a new dict: another thread may read the one that is there
        others = {other: value for other, value in training.callbacks.items() if other != key}
        training.callbacks = {**others, key: state} if state else others

    def _by_key(self) -> Iterator[tuple[str, Callback]]:
        """Callbacks with distinct keys: a number is appended to a key that is taken."""
        taken: set[str] = set()
        for callback in self.callbacks:
            own, count = callback.state_key, 1
            if not isinstance(own, str):
                raise TypeError(f"{type(callback).__name__}: state_key must be a str, got {shown(own)}.")
            key = own
            while key in taken:
                count += 1
                key = f"{own} {count}"
            taken.add(key)
            yield key, callback

    def epoch_begins(self, epoch: int) -> None:
        """Before an epoch, or before several that run in one call without callbacks."""
        for callback in self.callbacks:
            callback.on_epoch_begin(self.model, epoch)
        if self.ranks is not None and self._on_any_rank:
            agree_on_epoch(self.ranks, self.model.network, self.model.training_state)

    def epoch_ends(self, epoch: int, logs: dict[str, float]) -> bool:
        """After an epoch with the values ``logs``: whether a callback requests a stop. All callbacks are called."""
        stop, given = False, dict(logs)
        for key, callback in self._by_key():
            stop |= requests_stop(callback.on_epoch_end(self.model, epoch, logs))
            # at once: a later callback may save the model, or raise
            self._save_state(key, callback)
        for callback in self.callbacks:
            callback.on_epoch_stored(self.model, epoch)
        # with what callbacks have added, without what they made of the rest
        self.history.on_epoch_end(self.model, epoch, {**given, **{k: v for k, v in logs.items() if k not in given}})
        return self._ends(stop)

    def _ends(self, stop: bool) -> bool:
        """Whether the fit ends, since a callback, on any rank, requests it."""
        if self.ranks is not None:
            stop = agree_on_epoch(self.ranks, self.model.network, self.model.training_state, stop)
        if stop:
            self.history.ended("callback", "a callback ended the fit")
        return stop

    def non_finite(self, error: FloatingPointError) -> bool:
        """The loss or a weight became non-finite: whether a callback asks to end the fit without the error."""
        stops = [requests_stop(callback.on_non_finite(self.model, error)) for callback in self.callbacks]
        stop = any(stops) if self.ranks is None else self.ranks.any(any(stops))
        if stop:
            self.history.ended("non_finite", str(error))
        return stop

    def epochs_end(self, first: int, losses: np.ndarray) -> bool:
        """After epochs ``first``, ``first + 1``, ... with these losses: whether a callback requests a stop."""
        if not self.callbacks:
            self.history.extend(first, losses)
            return self._ends(False)
        return any([self.epoch_ends(first + i, {"loss": float(loss)}) for i, loss in enumerate(losses)])
