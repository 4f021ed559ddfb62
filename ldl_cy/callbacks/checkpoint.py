"""Models in files while they are trained."""
from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ldl_cy.callbacks.base import Callback, check_file
from ldl_cy.checks import check_int
from ldl_cy.serialize import HALF, describe_network, read_description

if TYPE_CHECKING:
    from ldl_cy.models import Sequential


class Checkpoint(Callback):
    """Save the model with the state of its training, so that a fit which was killed can go on to the same bits.

    Parameters
    ----------
    path : str or path
        The newest checkpoint, always whole: ``Sequential.load(path)``, then ``fit`` for the epochs that are left. Older
        ones stand beside it with their epoch in their names, ``model-000012.ldl`` beside ``model.ldl``. A file that is
        there is replaced if it is a checkpoint of the same network; any other is refused.
    every : int >= 1, default=1
        Epochs from one to the next, counted from the model's first; also after the last epoch of a fit.
    keep : int >= 1, default=3
        How many are kept, the newest included.

    Attributes
    ----------
    saved : int or None, the model's epoch count when it was last saved, or when the last fit began
    """

    last = True                     # what others count or change belongs to the epoch

    def __init__(self, path: str | Path, every: int = 1, keep: int = 3) -> None:
        self.path = Path(path)
        self.every = check_int("Checkpoint", "every", every)
        self.keep = check_int("Checkpoint", "keep", keep)
        self.saved: int | None = None

    def check(self, *_: object) -> None:
        """The folder must be there, and a file that is no model must not be."""
        check_file("Checkpoint", self.path)
        if self.path.exists():
            try:
                read_description(self.path)
            except ValueError as error:
                raise ValueError("Checkpoint: path must be a new file or a checkpoint of the same network, "
                                 f"got {str(self.path)!r}, which is no model.") from error

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """The model must be one that can be written, and what it replaces a checkpoint of the same network."""
        network = describe_network(model.layers, model.dtype, model.input_shape)
        if self.path.exists() and any(read_description(self.path).get(name) != network[name] for name in network):
            raise ValueError("Checkpoint: path must be a new file or a checkpoint of the same network, "
                             f"got {str(self.path)!r}, which is another network's.")
        self.saved, self._begun = model.epoch, model.epoch + 1
        for half in self.path.parent.glob(f".{glob.escape(self.path.name)}.*{HALF}"):
            if "." not in half.name[len(self.path.name) + 2:-len(HALF)]:
                half.unlink(missing_ok=True)        # of a process that was killed

    def on_epoch_begin(self, model: Sequential, epoch: int) -> None:
        """From now on the weights may be those of the middle of an epoch."""
        self._begun = epoch

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Save where it is time."""
        if epoch % self.every == 0:
            self.save(model)
        return None

    def on_non_finite(self, model: Sequential, error: FloatingPointError) -> bool | None:
        """The weights are those of the last whole epoch again."""
        self._begun = model.epoch
        return None

    def on_fit_end(self, model: Sequential) -> None:
        """Save the last epoch, where it is not yet."""
        if self.saved != model.epoch and self._begun <= model.epoch:
            self.save(model)

    def save(self, model: Sequential) -> None:
        """Write the model; what was the newest gets a name of its own, the oldest goes."""
        self._set_aside(model.epoch)
        model.save(self.path)           # a temporary file, fsync, rename: whole or not there
        self.saved = model.epoch
        for old in self._older(model.epoch)[:-(self.keep - 1) or None]:
            old.unlink(missing_ok=True)

    def _older(self, epoch: int) -> list[Path]:
        """The checkpoints of earlier epochs beside ``path``, oldest first; those of later ones are another run's."""
        found = {}
        for path in self.path.parent.glob(f"{glob.escape(self.path.stem)}-*"):
            number = path.stem[len(self.path.stem) + 1:]
            if number.isdecimal() and path == self._aside(int(number)) and int(number) < epoch:
                found[int(number)] = path
        return [found[number] for number in sorted(found)]

    def _aside(self, epoch: int) -> Path:
        return self.path.with_name(f"{self.path.stem}-{epoch:06d}{self.path.suffix}")

    def _set_aside(self, epoch: int) -> None:
        """Give the newest a second name. It stays in its place until it is replaced."""
        if self.keep == 1 or not self.path.exists():
            return
        before = read_description(self.path).get("epoch", 0)
        if before >= epoch:             # of another run, or this very epoch
            return
        aside = self._aside(before)
        aside.unlink(missing_ok=True)
        try:
            os.link(self.path, aside)
        except OSError:                 # a file system without hard links
            half = self.path.with_name(f".{self.path.name}.{before:06d}{HALF}")
            with self.path.open("rb") as source, half.open("wb") as target:
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
            os.replace(half, aside)
