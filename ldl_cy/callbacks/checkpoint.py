"""Checkpoints: model files that are written during a fit."""
from __future__ import annotations

import glob
import os
import shutil
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.callbacks.base import Callback, check_file
from ldl_cy.callbacks.stopping import check_monitored, sign_of
from ldl_cy.checks import check_choice, check_int, check_real
from ldl_cy.messages import shown
from ldl_cy.replacing import as_path, check_regular, delete_leftovers, replace_file
from ldl_cy.serialize import describe_network, read_description

if TYPE_CHECKING:
    from ldl_cy.models import Sequential
    from ldl_cy.optimizers import Optimizer


LONGEST_NAME = 255                  # bytes of a file's name, in nearly all file systems


class Checkpoint(Callback):
    """Save the model and its training state, so that a fit that was killed can be resumed, with the same bits.

    Parameters
    ----------
    path : str or path
        The newest checkpoint, always complete: ``Sequential.load(path)``, then ``fit`` for the remaining epochs. Older
        ones are in the same folder with their epoch in their names, ``model-000012.ldl`` for ``model.ldl``. An existing
        file is replaced if it is a checkpoint of the same network; any other file is refused. If it is a link, the file
        that it leads to is replaced, and the older ones are beside the link.
    every : int >= 1, default=1
        Epochs between two checkpoints, counted from the model's first; one is also written at the end of a fit, with
        the best weights if ``EarlyStopping`` or an estimator's early stopping has restored them.
    keep : int >= 1, default=3
        The number of checkpoints to keep, the newest included.
    save_best : str, default=None
        A value of ``logs``, such as "val_loss": only an epoch with the best value so far is saved, so that ``path`` has
        the model as it was after its best epoch, and the older files have those that were best before. A further fit
        compares with the best value of earlier ones as long as the optimizer's state is kept and the file is there.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better, see ``EarlyStopping``.

    Attributes
    ----------
    saved : int or None, the model's epoch count when it was last saved, or when the last fit began
    best : float or None, with ``save_best`` the best value

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``fit`` a folder that does not exist, a file that is not a
        checkpoint of the same network, a name that is too long for the epoch, or a value that ``logs`` does not have.
    OSError
        In ``fit``: a checkpoint cannot be written, e.g. since the disk is full. The last one is still there, and the
        model has the weights of the last epoch.
    """

    on_first_rank = True
    last = True                     # the states of the other callbacks are part of the checkpoint

    def __init__(
        self, path: str | Path, every: int = 1, keep: int = 3, save_best: str | None = None, mode: str = "auto",
    ) -> None:
        self.path = as_path("Checkpoint", path)
        self.every = check_int("Checkpoint", "every", every)
        self.keep = check_int("Checkpoint", "keep", keep)
        if save_best is not None and not isinstance(save_best, str):
            raise TypeError("Checkpoint: save_best must be None or the name of a value such as 'val_loss', got "
                            f"{shown(save_best)}.")
        self.save_best = save_best
        self.mode = check_choice("Checkpoint", "mode", mode, ("auto", "min", "max"))
        self.saved: int | None = None
        self.best: float | None = None
        self._due = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        # what older pickles lack
        vars(self).update({"save_best": None, "mode": "auto", "best": None, "_due": False, **state})

    def check(self, optimizer: Optimizer, known: Collection[str]) -> None:
        """Refuse a folder that does not exist, a file that is not a model, and a value that there will not be."""
        if self.save_best is not None:
            check_monitored("Checkpoint", "save_best", self.save_best, known)
        check_file("Checkpoint", self.path)
        if self.keep > 1 and len(os.fsencode(self._aside(0).name)) > LONGEST_NAME:
            raise ValueError("Checkpoint: path must have a name that leaves room for the epoch in older names, or "
                             f"keep=1, got {shown(str(self.path))}.")
        if check_regular("Checkpoint", self.path) is not None:
            try:
                read_description(self.path)
            except ValueError as error:
                raise ValueError("Checkpoint: path must be a new file or a checkpoint of the same network, "
                                 f"got {shown(str(self.path))}, which is no model.") from error

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Refuse a model that cannot be written, and a file of another network; delete what a killed process left."""
        network = describe_network(model.layers, model.dtype, model.input_shape)
        if self.path.exists() and any(read_description(self.path).get(name) != network[name] for name in network):
            raise ValueError("Checkpoint: path must be a new file or a checkpoint of the same network, "
                             f"got {shown(str(self.path))}, which is another network's.")
        self.saved, self._checksum = model.epoch, checksum(model)
        self.best, self._due, self._exists = None, False, self.path.exists()
        delete_leftovers(self.path)

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Decide whether the epoch is to be saved."""
        self._due = epoch % self.every == 0
        if self._due and self.save_best is not None:
            value = float(logs[self.save_best])
            sign = sign_of(self.save_best, self.mode)
            self._due = sign * value < (np.inf if self.best is None else sign * self.best)      # not so with NaN
            if self._due:
                self.best = value
        return None

    def on_epoch_stored(self, model: Sequential, epoch: int) -> None:
        """Save the epoch, with the states of all callbacks, this one's included."""
        if self._due:
            self.save(model)

    def on_fit_end(self, model: Sequential) -> None:
        """Save the last complete epoch, unless it has been saved with these weights; one that failed was taken back."""
        changed = self.saved != model.epoch or self._checksum != checksum(model)
        if self._due or (changed and self.save_best is None):
            self.save(model)

    def _default_state_key(self) -> str:
        """The class's name and the value, so that the best values of two of them do not mix."""
        return "Checkpoint" if self.save_best is None else f"Checkpoint {self.save_best}"

    def state_dict(self) -> dict[str, float]:
        """The best value, if it is finite."""
        return {} if self.best is None or not np.isfinite(self.best) else {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare with the best value of an earlier fit, whose file is there; an error for anything but a number."""
        if "best" in state and self._exists:
            self.best = check_real("Checkpoint", "best", state["best"])

    def save(self, model: Sequential) -> None:
        """Write the model to ``path``, rename the checkpoint that was there, and delete the oldest ones."""
        self._set_aside(model.epoch)
        model.save(self.path)           # atomic: a temporary file, fsync, rename
        self.saved, self._checksum, self._due = model.epoch, checksum(model), False
        for old in self._older(model.epoch)[:-(self.keep - 1) or None]:
            old.unlink(missing_ok=True)

    def _older(self, epoch: int) -> list[Path]:
        """The checkpoints of earlier epochs, oldest first; checkpoints of later epochs are from another run."""
        found = {}
        for path in self.path.parent.glob(f"{glob.escape(self.path.stem)}-*"):
            number = path.stem[len(self.path.stem) + 1:]
            if number.isdecimal() and path == self._aside(int(number)) and int(number) < epoch:
                found[int(number)] = path
        return [found[number] for number in sorted(found)]

    def _aside(self, epoch: int) -> Path:
        return self.path.with_name(f"{self.path.stem}-{epoch:06d}{self.path.suffix}")

    def _set_aside(self, epoch: int) -> None:
        """Give the newest checkpoint its second name; ``path`` stays valid until it is replaced."""
        if self.keep == 1 or not self.path.exists():
            return
        before = read_description(self.path).get("epoch", 0)
        if before >= epoch:             # from another run, or from this epoch
            return
        aside = self._aside(before)
        aside.unlink(missing_ok=True)
        try:
            os.link(os.path.realpath(self.path), aside)     # of the file itself where path is a link to it
        except OSError:                 # a file system without hard links
            with self.path.open("rb") as source:
                replace_file("Checkpoint", aside, lambda target: shutil.copyfileobj(source, target))


def checksum(model: Sequential) -> int:
    """A number that changes with the weights and the running statistics."""
    network = model.network
    theta, statistics = network.vectors
    return zlib.crc32(statistics.data, zlib.crc32(theta.data))
