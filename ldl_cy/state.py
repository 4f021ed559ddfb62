"""The state of training: everything that a fit changes besides the network's weights and running statistics."""
from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ldl_cy._engine.process import Exclusive

# Keys of a file's "memory" that do not belong to the optimizer: see ``TrainingState.to_dict``.
RATE_FACTOR, AVERAGE_CHECKSUM = "rate_factor", "averaged"
# The smallest value of each.
LEAST = {RATE_FACTOR: 0.0, AVERAGE_CHECKSUM: 0.0}
# Prefixes of keys in files written before callbacks had a state of their own; the name of the monitored value follows.
# For each the name in ReduceOnPlateau's state, and the smallest value.
OLD_PLATEAU = {"plateau_best ": ("best", -math.inf), "plateau_wait ": ("wait", 0.0)}


def least_in_memory(key: str) -> float | None:
    """The smallest value that a file's "memory" can have under a key of the training state; None for other keys."""
    for prefix, (_, least) in OLD_PLATEAU.items():
        if key.startswith(prefix):
            return least
    return LEAST.get(key)


class OptimizerState:
    """What an optimizer needs for its next step.

    Attributes
    ----------
    name : str
        The kind of optimizer to which it belongs; "" before the first fit.
    slots : (n_slots, n_params) array in the network's dtype
        Vectors of state, such as momenta and running means; with averaged weights there is one more.
    scalars : dict of str to float
        Numbers of state, such as a damping.
    steps, epochs : int
        Made since this state was new.
    """

    def __init__(self, name: str, slots: np.ndarray) -> None:
        self.name = name
        self.slots = slots
        self.scalars: dict[str, float] = {}
        self.steps = self.epochs = 0

    def copy(self) -> OptimizerState:
        """The same state in arrays of its own."""
        copied = OptimizerState(self.name, self.slots.copy())
        copied.scalars, copied.steps, copied.epochs = dict(self.scalars), self.steps, self.epochs
        return copied


class TrainingState:
    """The state of one model's training.

    Attributes
    ----------
    epoch, step : int
        Epochs and steps over all fits. Random numbers are functions of them.
    optimizer : OptimizerState
    rate_factor : float
        Factor of the learning rate: the product of all reductions so far.
    average_checksum : float or None
        CRC-32 of theta when the averaged weights were written to it; None if theta is not an average.
    callbacks : dict of str to dict
        States of callbacks, by ``Callback.state_key``.
    """

    def __init__(self) -> None:
        self._lock = Exclusive("Sequential: another fit of this model is running.")
        self.begin(0, "float32")

    def begin(self, n_params: int, dtype: str) -> None:
        """Start from 0, for a network of ``n_params`` weights."""
        self.epoch = self.step = 0
        self.begin_optimizer("", np.zeros((0, n_params), dtype))

    def begin_optimizer(self, name: str, slots: np.ndarray) -> None:
        """Start with a new optimizer state; reductions of the learning rate and states of callbacks are dropped."""
        self.optimizer = OptimizerState(name, slots)
        self.rate_factor = 1.0
        self.average_checksum: float | None = None
        self.callbacks: dict[str, dict[str, Any]] = {}

    def count(self, *, steps: int = 0, epochs: int = 0) -> None:
        """Add steps and epochs to the counts."""
        self.step += steps
        self.optimizer.steps += steps
        self.epoch += epochs
        self.optimizer.epochs += epochs

    def exclusive(self) -> AbstractContextManager[None]:
        """Context manager: one fit of a model at a time. In a forked child a fit of the parent does not count.

        Raises
        ------
        RuntimeError
            Another fit of the model is running.
        """
        return self._lock.entry()

    def snapshot(self) -> dict[str, Any]:
        """A copy of the whole state, for ``restore``."""
        return {
            "epoch": self.epoch, "step": self.step, "optimizer": self.optimizer.copy(),
            "rate_factor": self.rate_factor, "average_checksum": self.average_checksum,
            "callbacks": copy.deepcopy(self.callbacks)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Return to a snapshot."""
        vars(self).update(saved, optimizer=saved["optimizer"].copy(), callbacks=copy.deepcopy(saved["callbacks"]))

    def __getstate__(self) -> dict[str, Any]:
        return self.snapshot()

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self._lock = Exclusive("Sequential: another fit of this model is running.")
        self.restore(saved)

    def to_dict(self) -> dict[str, Any]:
        """The state as files describe it, in numbers and strings, without the vectors ``optimizer.slots``."""
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
        """The state from ``to_dict``'s description; files written before callbacks had states can be read as well."""
        state = cls()
        state.begin_optimizer(described["optimizer"], slots)
        state.epoch, state.step = described["epoch"], described["step"]
        state.optimizer.steps, state.optimizer.epochs = described["optimizer_steps"], described["optimizer_epochs"]
        state.callbacks = copy.deepcopy(dict(described.get("callbacks", {})))
        scalars = dict(described["memory"])
        state.rate_factor = float(scalars.pop(RATE_FACTOR, 1.0))
        state.average_checksum = scalars.pop(AVERAGE_CHECKSUM, None)
        for prefix, (name, _) in OLD_PLATEAU.items():
            for key in [key for key in scalars if key.startswith(prefix)]:
                kept = state.callbacks.setdefault(f"ReduceOnPlateau {key.removeprefix(prefix)}", {})
                kept[name] = scalars.pop(key)
        state.optimizer.scalars = scalars
        return state
