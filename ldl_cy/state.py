"""How far training has come: what a fit changes besides the network's weights, in one place."""
from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

# Names of numbers in a file's "memory", beside the optimizer's own: see ``TrainingState.to_dict``.
RATE_FACTOR, AVERAGE_CHECKSUM = "rate_factor", "averaged"
# In files of before callbacks kept their own state: the best value and the epochs without improvement of the
# callback that reduces the learning rate, each followed by the name of the value that it monitors.
OLD_PLATEAU = {"plateau_best ": "best", "plateau_wait ": "wait"}


class OptimizerState:
    """What an optimizer needs for its next step.

    Attributes
    ----------
    name : str
        The kind of optimizer that it belongs to; "" before the first fit.
    slots : (n_slots, n_params) array in the network's dtype
        Vectors of state, such as momenta and running means, and with averages one more.
    scalars : dict of str to float
        Numbers such as a damping.
    steps, epochs : int
        Those made with it.
    """

    def __init__(self, name: str, slots: np.ndarray) -> None:
        self.name = name
        self.slots = slots
        self.scalars: dict[str, float] = {}
        self.steps = self.epochs = 0


class TrainingState:
    """How far the training of one model has come.

    Attributes
    ----------
    epoch, step : int
        Epochs and steps over all fits. Random numbers are functions of them.
    optimizer : OptimizerState
    rate_factor : float
        The learning rate is multiplied by it.
    average_checksum : float or None
        Of theta where it is the average of the steps' own weights; None where it is no average.
    callbacks : dict of str to dict
        What callbacks keep from fit to fit, by ``Callback.state_key``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin(0, "float32")

    def begin(self, n_params: int, dtype: str) -> None:
        """Count training from 0, for a network of so many weights."""
        self.epoch = self.step = 0
        self.begin_optimizer("", np.zeros((0, n_params), dtype))

    def begin_optimizer(self, name: str, slots: np.ndarray) -> None:
        """Begin with a new optimizer; the reductions of its rate and what callbacks kept are forgotten too."""
        self.optimizer = OptimizerState(name, slots)
        self.rate_factor = 1.0
        self.average_checksum: float | None = None
        self.callbacks: dict[str, dict[str, Any]] = {}

    def count(self, *, steps: int = 0, epochs: int = 0) -> None:
        """Count steps and epochs that were made."""
        self.step += steps
        self.optimizer.steps += steps
        self.epoch += epochs
        self.optimizer.epochs += epochs

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """A fit is the only one of its model.

        Raises
        ------
        RuntimeError
            Another one is running.
        """
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("Sequential: another fit of this model is running.")
        try:
            yield
        finally:
            self._lock.release()

    def snapshot(self) -> dict[str, Any]:
        """A copy of everything, for ``restore``."""
        return copy.deepcopy({name: value for name, value in vars(self).items() if name != "_lock"})

    def restore(self, saved: dict[str, Any]) -> None:
        """Be again as at the snapshot; it may be restored once."""
        vars(self).update(saved)

    def to_dict(self) -> dict[str, Any]:
        """The state as a file describes it; the vectors, ``optimizer.slots``, are kept beside it."""
        memory = dict(self.optimizer.scalars)
        if self.rate_factor != 1.0:
            memory[RATE_FACTOR] = self.rate_factor
        if self.average_checksum is not None:
            memory[AVERAGE_CHECKSUM] = self.average_checksum
        described = {
            "epoch": self.epoch, "step": self.step, "optimizer": self.optimizer.name,
            "optimizer_steps": self.optimizer.steps, "optimizer_epochs": self.optimizer.epochs, "memory": memory}
        return {**described, "callbacks": copy.deepcopy(self.callbacks)} if self.callbacks else described

    @classmethod
    def from_dict(cls, described: Mapping[str, Any], slots: np.ndarray) -> TrainingState:
        """The state that ``to_dict`` described; files of before callbacks kept their own state are read as well."""
        state = cls()
        state.begin_optimizer(described["optimizer"], slots)
        state.epoch, state.step = described["epoch"], described["step"]
        state.optimizer.steps, state.optimizer.epochs = described["optimizer_steps"], described["optimizer_epochs"]
        state.callbacks = copy.deepcopy(dict(described.get("callbacks", {})))
        scalars = dict(described["memory"])
        state.rate_factor = float(scalars.pop(RATE_FACTOR, 1.0))
        state.average_checksum = scalars.pop(AVERAGE_CHECKSUM, None)
        for prefix, name in OLD_PLATEAU.items():
            for key in [key for key in scalars if key.startswith(prefix)]:
                kept = state.callbacks.setdefault(f"ReduceOnPlateau {key.removeprefix(prefix)}", {})
                kept[name] = scalars.pop(key)
        state.optimizer.scalars = scalars
        return state
