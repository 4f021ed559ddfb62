"""The base class of callbacks, and the checks of the callbacks that are passed to a fit."""
from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer


class Callback:
    """Base class of callbacks; a subclass overrides the methods that it needs.

    ``logs`` maps "loss" and, with validation data, "val_loss" to the values of the epoch, for estimators also
    "val_score"; a callback may add values, which later callbacks and the history see. Callbacks are called in the order
    of the list, those with ``last`` after all others; ``on_fit_end`` is called in reverse order, also for those with
    ``last`` after all others. An exception in a callback ends the fit and is raised by it; the model keeps the weights
    of the last epoch. ``model`` is the ``Sequential`` that is fitted, also in the fit of an estimator. An object serves
    one fit at a time: a second one that would use it meanwhile is a RuntimeError.

    A callback stores its own counters. If the next fit should continue with them, also after the model was saved and
    loaded, the callback defines ``state_dict`` and ``load_state_dict``.

    Attributes
    ----------
    last : bool
        Whether the callback is called after all others; False by default.
    on_first_rank : bool
        Whether, in a fit over several ranks, it acts on rank 0 alone, since it writes files or shows progress; False by
        default. The others act on every rank that has them, and what they change must be the same on all.
    state_key : str
        The key under which the model stores ``state_dict``; a callback with the same key continues from it. The name of
        the class unless it was set.
    """

    last = False
    on_first_rank = False

    @property
    def state_key(self) -> str:
        """See ``Callback``."""
        key: str = vars(self).get("_state_key", self._default_state_key())
        return key

    @state_key.setter
    def state_key(self, key: str) -> None:
        self._state_key = key

    def _default_state_key(self) -> str:
        return type(self).__name__

    def state_dict(self) -> dict[str, Any]:
        """The state to continue from in the next fit.

        Called after each epoch. The model stores it as long as the optimizer's own state: until the model is reset, or
        fitted with another class of optimizer.

        Returns
        -------
        dict of numbers, strings, and lists and dicts of them; an empty one is not stored
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned in an earlier fit; called after ``on_fit_begin``.

        Parameters
        ----------
        state : dict
            May come from a file.

        Raises
        ------
        TypeError, ValueError
            A state that this callback cannot have written.
        """

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Raise a ValueError if this callback cannot be used in the fit; called before any computation.

        Parameters
        ----------
        optimizer : Optimizer
        known : collection of str
            The names in ``logs``.
        """

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Called before the first epoch; ``epochs`` is their number in this fit."""

    def on_epoch_begin(self, model: Sequential, epoch: int) -> None:
        """Called before each epoch; ``epoch`` is its number, counted from 1 over all fits of the model.

        An epoch that has begun may not end: a full-batch method may find that it has converged.
        """

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Called after each epoch; ``epoch`` is ``model.epoch``. Returning True stops the fit."""

    def on_epoch_stored(self, model: Sequential, epoch: int) -> None:
        """Called after each epoch, once the model has the states of all callbacks: for those that save it."""

    def on_non_finite(self, model: Sequential, error: FloatingPointError) -> bool | None:
        """Called if the loss or a weight became non-finite; returning True ends the fit without raising the error."""

    def on_fit_end(self, model: Sequential) -> None:
        """Called after the last epoch, also if an exception ended the fit."""


class Function(Callback):
    """A callback that calls a function after each epoch.

    Parameters
    ----------
    function : callable
        ``f(model, logs)``; returning True stops the fit.
    """

    def __init__(self, function: Callable[[Any, dict[str, float]], Any]) -> None:
        self.function = function

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Call the function."""
        return self.function(model, logs)


def check_file(owner: str, path: Path) -> None:
    """Refuse a path in a folder that does not exist, or that is itself a folder; links are followed."""
    if not (path.parent.is_dir() and Path(os.path.realpath(path)).parent.is_dir()):
        raise ValueError(f"{owner}: path must be in a folder that exists, got {shown(str(path))}.")
    if path.is_dir():
        raise ValueError(f"{owner}: path must be a file, got the folder {shown(str(path))}.")


# types of the ``callbacks`` argument of a fit
AnyCallback = Callback | Callable[[Any, dict[str, float]], Any]
Callbacks = AnyCallback | Sequence[AnyCallback] | None


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks in the order in which they are called; functions are wrapped in ``Function``."""
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    try:
        given = [] if callbacks is None else list(callbacks)
    except TypeError:
        raise TypeError(
            f"Sequential: callbacks must be a list of callbacks or functions, got {shown(callbacks)}.") from None
    for callback in given:
        # a class is callable too, but an object of it is meant
        if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
            raise TypeError(f"Sequential: callbacks must be callbacks or functions, got {shown(callback)}.")
    return sorted([c if isinstance(c, Callback) else Function(c) for c in given], key=lambda c: c.last)
