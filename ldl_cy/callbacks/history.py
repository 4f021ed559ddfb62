"""Callbacks that record or display the values of each epoch."""
from __future__ import annotations

import csv
import errno
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ldl_cy.callbacks.base import Callback, check_file
from ldl_cy.checks import check_bool
from ldl_cy.messages import shown
from ldl_cy.replacing import as_path, naming

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer


class History(Callback):
    """The values of each epoch, as returned by ``fit``.

    Attributes
    ----------
    history : dict of lists: "loss", with validation data "val_loss", and values that callbacks add to ``logs``
    epoch : list of ints, the model's epoch count after each
    stop_reason : "epochs", "converged", "stalled" (no step lowered the loss), "callback" or "non_finite"
    message : str, the reason as a sentence, with the numbers that decided it
    result : the result object of another library's method, such as SciPy's L-BFGS; None for other optimizers
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {"loss": []}
        self.epoch: list[int] = []
        self.stop_reason = "epochs"
        self.message = "all epochs were made"
        self.result: Any = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.stop_reason == "non-finite":        # in older pickles
            self.stop_reason = "non_finite"

    def extend(self, first: int, losses: np.ndarray) -> None:
        """Append the losses of epochs ``first``, ``first + 1``, ..."""
        self.epoch.extend(range(first, first + len(losses)))
        self.history["loss"].extend(losses.tolist())

    def ended(self, reason: str, message: str, result: Any = None) -> None:
        """Record why the fit ended before its last epoch: ``stop_reason``, ``message`` and ``result``."""
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
    """A tqdm progress bar over the epochs, with the values of ``logs``.

    Parameters
    ----------
    description : str, default=""
        Text in front of the bar.
    """

    on_first_rank = True

    def __init__(self, description: str = "") -> None:
        self.description = description
        self.bar: Any = None

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Create the bar."""
        from tqdm.auto import tqdm

        self.bar = tqdm(total=epochs, desc=self.description or None, unit="epoch")

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Advance the bar by one epoch."""
        self.bar.set_postfix({key: f"{value:.4g}" for key, value in logs.items()}, refresh=False)
        self.bar.update()
        return None

    def on_fit_end(self, model: Sequential) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None             # an open bar cannot be copied or pickled


def open_at_once(path: str, flags: int) -> int:
    """For ``open``: a pipe without a reader is an error; opening it does not wait for one."""
    opened = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(opened, True)
    return opened


class CSVLogger(Callback):
    """Write a CSV file with a line for each epoch: the epoch, then the values of ``logs``.

    Parameters
    ----------
    path : str or path
    append : bool, default=False
        Whether to append to an existing file, as for a fit that is resumed; otherwise the file is overwritten. An
        existing file needs a column for each value; columns without a value stay empty. If a process is killed after
        an epoch and before its checkpoint, the epoch is repeated and has two equal lines.

    Raises
    ------
    TypeError, ValueError
        ``append`` is not a bool; in ``fit`` a folder that does not exist, or a file without one of the columns.
    OSError
        In ``fit``: the file cannot be written, e.g. since the disk is full, or it was deleted meanwhile. The model has
        the weights of the last epoch.
    """

    on_first_rank = True

    def __init__(self, path: str | Path, append: bool = False) -> None:
        self.path = as_path("CSVLogger", path)
        self.append = check_bool("CSVLogger", "append", append)
        self.file: TextIO | None = None
        self.names: list[str] = []

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Refuse a folder that does not exist, and a file to append to that has no column for one of the values."""
        check_file("CSVLogger", self.path)
        names = self._names_there()
        missing = [name for name in ("epoch", *known) if name not in names]
        if names and missing:
            raise ValueError(f"CSVLogger: path must be a file with the columns {', '.join(('epoch', *known))} where "
                             f"append=True, got {shown(str(self.path))} without {', '.join(missing)}.")

    def _names_there(self) -> list[str]:
        """The columns of the file to append to; [] if a new file is written."""
        if not self.append or not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            return next(csv.reader(file), [])

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Open the file."""
        self.names = self._names_there()
        self.file = open(  # noqa: SIM115
            self.path, "a" if self.append else "w", newline="", encoding="utf-8", opener=open_at_once)

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Write a line, after the header if it is the first one."""
        file = self.file
        assert file is not None
        writer = csv.writer(file, lineterminator="\n")
        values = {"epoch": epoch, **{name: repr(float(value)) for name, value in logs.items()}}
        try:
            with naming(self.path):
                if not self.names:
                    self.names = ["epoch", *logs]
                    writer.writerow(self.names)
                writer.writerow([values.get(name, "") for name in self.names])
                file.flush()            # so that each epoch can be read at once
                if not os.fstat(file.fileno()).st_nlink:
                    raise FileNotFoundError(errno.ENOENT, "deleted during the fit")
        except OSError:
            self.file = None
            with suppress(OSError):     # closing writes again what could not be written
                file.close()
            raise
        return None

    def on_fit_end(self, model: Sequential) -> None:
        """Close the file."""
        if self.file is not None:
            file, self.file = self.file, None
            with naming(self.path):
                file.close()
