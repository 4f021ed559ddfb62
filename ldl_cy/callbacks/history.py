"""Callbacks that record or show what happens."""
from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ldl_cy.callbacks.base import Callback, check_file
from ldl_cy.checks import check_bool

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer


class History(Callback):
    """Each epoch's values; ``fit`` returns one.

    Attributes
    ----------
    history : dict of lists, "loss" and, with validation data, "val_loss"
    epoch : list of ints, the model's epoch count after each
    stop_reason : "epochs", "converged", "stalled" (no step lowered the loss), "callback" or "non-finite"
    message : str, the same in a sentence, with the numbers that decided
    result : what another library's method, such as SciPy's L-BFGS, says of itself; None for the others
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {"loss": []}
        self.epoch: list[int] = []
        self.stop_reason = "epochs"
        self.message = "all epochs were made"
        self.result: Any = None

    def extend(self, first: int, losses: np.ndarray) -> None:
        """Append the losses of epochs from number ``first`` on."""
        self.epoch.extend(range(first, first + len(losses)))
        self.history["loss"].extend(losses.tolist())

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
        if self.bar is not None:
            self.bar.close()
            self.bar = None             # which cannot be copied


class CSVLogger(Callback):
    """A line an epoch in a file of comma-separated values: the epoch, then the values of ``logs``.

    Parameters
    ----------
    path : str or path
    append : bool, default=False
        Whether to add to the lines that are there, as for a fit that goes on; else the file begins anew. The file needs
        a column for each value; one that has no value any more stays empty. An epoch that was killed before its
        checkpoint was written is made again, and has two equal lines.
    """

    def __init__(self, path: str | Path, append: bool = False) -> None:
        self.path = Path(path)
        self.append = check_bool("CSVLogger", "append", append)
        self.file: TextIO | None = None
        self.names: list[str] = []

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """The folder must be there, and in a file that goes on the columns."""
        check_file("CSVLogger", self.path)
        names = self._names_there()
        missing = [name for name in ("epoch", *known) if name not in names]
        if names and missing:
            raise ValueError(f"CSVLogger: path must be a file with the columns {', '.join(('epoch', *known))} where "
                             f"append=True, got {str(self.path)!r} without {', '.join(missing)}.")

    def _names_there(self) -> list[str]:
        """The columns of the file that goes on."""
        if not self.append or not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            return next(csv.reader(file), [])

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Open the file."""
        self.names = self._names_there()
        self.file = self.path.open("a" if self.append else "w", newline="", encoding="utf-8")

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Write a line, and the names above the first one."""
        assert self.file is not None
        writer = csv.writer(self.file, lineterminator="\n")
        if not self.names:
            self.names = ["epoch", *logs]
            writer.writerow(self.names)
        values = {"epoch": epoch, **{name: repr(float(value)) for name, value in logs.items()}}
        writer.writerow([values.get(name, "") for name in self.names])
        self.file.flush()               # who watches the file sees each epoch
        return None

    def on_fit_end(self, model: Sequential) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()
            self.file = None
