"""What happens between epochs: history, and functions that watch or stop a fit."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldl_cy.models import Sequential


class Callback:
    """Base of the callbacks; every method may be left out.

    ``on_epoch_end(model, epoch, logs)`` returns True to stop the fit. ``logs`` maps "loss" and, with
    validation data, "val_loss" to the epoch's values.
    """

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Before the first epoch."""

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """After each epoch; ``epoch`` is ``model.epoch``."""

    def on_fit_end(self, model: Sequential) -> None:
        """After the last epoch, also when an exception ended the fit."""


class History(Callback):
    """Each epoch's values; ``fit`` returns one.

    Attributes
    ----------
    history : dict of lists, "loss" and, with validation data, "val_loss"
    epoch : list of ints, the model's epoch count after each
    stop_reason : "epochs", "converged", "stalled" (no step lowered the loss) or "callback"
    message : str, the same in a sentence, with the numbers that decided
    result : what another library's method, such as SciPy's L-BFGS, says of itself; None for the others
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {"loss": []}
        self.epoch: list[int] = []
        self.stop_reason = "epochs"
        self.message = "all epochs were made"
        self.result: Any = None

    def ended(self, reason: str, message: str, result: Any = None) -> None:
        """Note why the fit ended before its last epoch."""
        self.stop_reason, self.message, self.result = reason, message, result

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Append the epoch's values."""
        self.epoch.append(epoch)
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)
        return None

    def __repr__(self) -> str:
        last = ", ".join(f"{key}={values[-1]:.6g}" for key, values in self.history.items() if values)
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"


class ProgressBar(Callback):
    """A tqdm bar over epochs with the loss beside it.

    Parameters
    ----------
    description : str, default=""
    """

    def __init__(self, description: str = "") -> None:
        self.description = description
        self.bar: Any = None

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Draw the bar."""
        from tqdm.auto import tqdm

        self.bar = tqdm(total=epochs, desc=self.description or None, unit="epoch")

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """One epoch further."""
        self.bar.set_postfix({key: f"{value:.4g}" for key, value in logs.items()}, refresh=False)
        self.bar.update()
        return None

    def on_fit_end(self, model: Sequential) -> None:
        """Leave the bar as it is."""
        self.bar.close()


class Function(Callback):
    """A plain function ``f(model, logs)`` called after each epoch; True stops the fit."""

    def __init__(self, function: Callable[[Any, dict[str, float]], Any]) -> None:
        self.function = function

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Call the function."""
        return self.function(model, logs) is True


def check_callbacks(callbacks: Any) -> list[Callback]:
    """A list of callbacks; plain functions are wrapped."""
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    try:
        given = list(callbacks or ())
    except TypeError:
        raise TypeError(
            f"Sequential: callbacks must be a list of callbacks or functions, got {callbacks!r}.") from None
    for callback in given:
        if not isinstance(callback, Callback) and not callable(callback):
            raise TypeError(f"Sequential: callbacks must be callbacks or functions, got {callback!r}.")
    return [c if isinstance(c, Callback) else Function(c) for c in given]
