"""Models in files while they are trained."""
from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ldl_cy.callbacks.base import Callback
from ldl_cy.checks import check_int

if TYPE_CHECKING:
    from ldl_cy.models import Sequential


class Checkpoint(Callback):
    """Save the model with the state of its training, so that a fit which was killed can go on to the same bits.

    Parameters
    ----------
    path : str or path
        The newest checkpoint, always whole: ``Sequential.load(path)``, then ``fit`` for the epochs that are left. Older
        ones stand beside it with their epoch in their names, ``model-000012.ldl`` beside ``model.ldl``.
    every : int >= 1, default=1
        Epochs from one to the next, counted from the model's first; also after the last epoch of a fit.
    keep : int >= 1, default=3
        How many are kept, the newest included.
    """

    def __init__(self, path: str | Path, every: int = 1, keep: int = 3) -> None:
        self.path = Path(path)
        self.every = check_int("Checkpoint", "every", every)
        self.keep = check_int("Checkpoint", "keep", keep)
        self.saved: int | None = None

    def check(self, *_: object) -> None:
        """The folder must be there."""
        if not self.path.parent.is_dir():
            raise ValueError(f"Checkpoint: path must lie in a folder that exists, got {str(self.path)!r}.")
        if self.path.is_dir():
            raise ValueError(f"Checkpoint: path must be a file, got the folder {str(self.path)!r}.")

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """What lies there may be of another epoch, and half a file of a process that was killed."""
        self.saved = None
        for half in self.path.parent.glob(f".{self.path.name}.*"):
            half.unlink(missing_ok=True)

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool | None:
        """Save where it is time."""
        if epoch % self.every == 0:
            self.save(model)
        return None

    def on_fit_end(self, model: Sequential) -> None:
        """Save the last epoch, where it is not yet."""
        if self.saved != model.epoch:
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
        for path in self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}"):
            number = path.stem[len(self.path.stem) + 1:]
            if number.isdigit() and int(number) < epoch:
                found[int(number)] = path
        return [found[number] for number in sorted(found)]

    def _set_aside(self, epoch: int) -> None:
        """Give the newest a second name. It stays in its place until it is replaced."""
        from ldl_cy.serialize import epoch_of

        if self.keep == 1 or not self.path.exists():
            return
        try:
            before = epoch_of(self.path)
        except ValueError:              # not a model: it will be replaced
            return
        if before >= epoch:             # of another run, or this very epoch
            return
        aside = self.path.with_name(f"{self.path.stem}-{before:06d}{self.path.suffix}")
        aside.unlink(missing_ok=True)
        try:
            os.link(self.path, aside)
        except OSError:                 # a file system without hard links
            temporary = aside.with_name(f".{aside.name}.part")
            shutil.copyfile(self.path, temporary)
            os.replace(temporary, aside)
