"""What a callback is."""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer


class Callback:
    """Base of the callbacks; every method may be left out.

    ``logs`` maps "loss" and, with validation data, "val_loss" to the epoch's values; a callback may add values, which
    later callbacks and the history see. The callbacks are called in the order in which they are given, those with
    ``last`` after the others, ``on_fit_end`` in the reverse. An exception in a callback ends the fit and comes out of
    it; the model keeps the weights of the last epoch.

    What a callback counts from epoch to epoch is its own. Where the next fit is to go on with it, also after the model
    was saved and loaded, the callback defines ``state_dict`` and ``load_state_dict``.
    """

    last = False                    # sees the model after all other callbacks

    @property
    def state_key(self) -> str:
        """The name under which the model keeps ``state_dict``: the same for the callback that goes on with it."""
        return type(self).__name__

    def state_dict(self) -> dict[str, Any]:
        """What the model keeps for the next fit: numbers, strings, and lists and dicts of them; {} is nothing.

        Asked for after each epoch. It is kept as long as the optimizer's own state is: until the model is reset, or
        fitted with another class of optimizer.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what ``state_dict`` returned in an earlier fit, after ``on_fit_begin``.

        It may come from a file: a callback refuses with a ValueError what it cannot have written.
        """

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Before any work: raise where the fit is not one for this callback; ``known`` are the names in ``logs``."""

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, model: Sequential, epoch: int) -> None:
        """Before each epoch, the number ``epoch``, counted from 1 over all fits of the model.

        An epoch that has begun may not end: methods that take all rows may find that they have converged.
        """

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """After each epoch; ``epoch`` is ``model.epoch``. True stops the fit."""

    def on_non_finite(self, model: Sequential, error: FloatingPointError) -> bool | None:
        """Where the loss or a weight became non-finite: True ends the fit in place of the error."""

    def on_fit_end(self, model: Sequential) -> None:
        """After the last epoch, also when an exception ended the fit."""


class Function(Callback):
    """A plain function ``f(model, logs)`` called after each epoch; True stops the fit."""

    def __init__(self, function: Callable[[Any, dict[str, float]], Any]) -> None:
        self.function = function

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Call the function."""
        return self.function(model, logs)


def check_file(owner: str, path: Path) -> None:
    """A path where a file is, or can be made."""
    if not path.parent.is_dir():
        raise ValueError(f"{owner}: path must lie in a folder that exists, got {str(path)!r}.")
    if path.is_dir():
        raise ValueError(f"{owner}: path must be a file, got the folder {str(path)!r}.")


# what a fit takes
AnyCallback = Callback | Callable[[Any, dict[str, float]], Any]
Callbacks = AnyCallback | Sequence[AnyCallback] | None


def check_callbacks(callbacks: Any) -> list[Callback]:
    """A list of callbacks in the order in which they are called; plain functions are wrapped."""
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    try:
        given = [] if callbacks is None else list(callbacks)
    except TypeError:
        raise TypeError(
            f"Sequential: callbacks must be a list of callbacks or functions, got {callbacks!r}.") from None
    for callback in given:
        # a class is callable, and meant is an object of it
        if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
            raise TypeError(f"Sequential: callbacks must be callbacks or functions, got {callback!r}.")
    return sorted([c if isinstance(c, Callback) else Function(c) for c in given], key=lambda c: c.last)
