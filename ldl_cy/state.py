"""The state of training: everything that a fit changes besides the network's weights and running statistics."""
from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

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
    """What an optimizer needs for its next step, and what lasts as long as its vectors do.

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
    rate_factor, average_checksum, callbacks : see ``TrainingState``
    """

    def __init__(self, name: str, slots: np.ndarray) -> None:
        self.name = name
        self.slots = slots
        self.scalars: dict[str, float] = {}
        self.steps = self.epochs = 0
        self.rate_factor = 1.0
        self.average_checksum: float | None = None
        self.callbacks: dict[str, dict[str, Any]] = {}

    def copy(self) -> OptimizerState:
        """The same state in arrays and dicts of its own."""
        copied = OptimizerState(self.name, self.slots.copy())
        copied._take(self)
        return copied

    def restore(self, saved: OptimizerState) -> None:
        """Return to a copy, in place: a method that runs keeps the vectors and the dict of scalars."""
        self.slots[:] = saved.slots
        scalars = self.scalars
        self._take(saved)
        scalars.clear()
        scalars.update(saved.scalars)
        self.scalars = scalars

    def _take(self, other: OptimizerState) -> None:
        """Everything but the vectors, copied."""
        vars(self).update(
            vars(other), slots=self.slots, scalars=dict(other.scalars),
            callbacks=copy.deepcopy(other.callbacks) if other.callbacks else {})


class TrainingState:
    """The state of one model's training.

    Parameters
    ----------
    n_params : int, default=0
        Weights of the network; 0 if there is none.
    dtype : str, default="float32"

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

    Notes
    -----
    The last three belong to the optimizer's state, and are replaced with it by one assignment: another thread that
    reads ``optimizer`` once finds what belongs together.
    """

    def __init__(self, n_params: int = 0, dtype: str = "float32") -> None:
        self.epoch = self.step = 0
        self.optimizer = OptimizerState("", np.zeros((0, n_params), dtype))

    def begin_optimizer(self, name: str, slots: np.ndarray) -> None:
        """Start with a new optimizer state; reductions of the learning rate and states of callbacks are dropped."""
        self.optimizer = OptimizerState(name, slots)

    @property
    def rate_factor(self) -> float:
        """See ``TrainingState``."""
        return self.optimizer.rate_factor

    @rate_factor.setter
    def rate_factor(self, factor: float) -> None:
        self.optimizer.rate_factor = factor

    @property
    def average_checksum(self) -> float | None:
        """See ``TrainingState``."""
        return self.optimizer.average_checksum

    @average_checksum.setter
    def average_checksum(self, checksum: float | None) -> None:
        self.optimizer.average_checksum = checksum

    @property
    def callbacks(self) -> dict[str, dict[str, Any]]:
        """See ``TrainingState``."""
        return self.optimizer.callbacks

    @callbacks.setter
    def callbacks(self, states: dict[str, dict[str, Any]]) -> None:
        self.optimizer.callbacks = states

    def count(self, *, steps: int = 0, epochs: int = 0) -> None:
        """Add steps and epochs to the counts."""
        self.step += steps
        self.optimizer.steps += steps
        self.epoch += epochs
        self.optimizer.epochs += epochs

    def snapshot(self) -> dict[str, Any]:
        """A copy of the whole state, for ``restore``."""
        return {**vars(self), "optimizer": self.optimizer.copy()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Return to a snapshot, in place.

        Raises
        ------
        ValueError, TypeError
            It is not a snapshot, or one of another network or optimizer. Nothing has been changed.
        """
        if not isinstance(saved, dict) or saved.keys() != vars(self).keys():
            raise TypeError(f"TrainingState: saved must be a snapshot, got {type(saved).__name__}.")
        own, other = ((s.name, s.slots.shape, s.slots.dtype.name) for s in (self.optimizer, saved["optimizer"]))
        if own != other:
            raise ValueError("TrainingState: saved must be a snapshot with this network and this optimizer, "
                             f"{own}, got {other}.")
        self.epoch, self.step = saved["epoch"], saved["step"]
        self.optimizer.restore(saved["optimizer"])

    def to_dict(self) -> dict[str, Any]:
        """The state as files describe it, in numbers and strings, without the vectors ``optimizer.slots``."""
        return self.parts()[0]

    def parts(self) -> tuple[dict[str, Any], np.ndarray]:
        """What ``to_dict`` returns, and the vectors that belong to it."""
        optimizer = self.optimizer      # read once, since a fit in another thread may replace it
        memory = dict(optimizer.scalars)
        if optimizer.rate_factor != 1.0:
            memory[RATE_FACTOR] = optimizer.rate_factor
        if optimizer.average_checksum is not None:
            memory[AVERAGE_CHECKSUM] = optimizer.average_checksum
        described = {
            "epoch": self.epoch, "step": self.step, "optimizer": optimizer.name,
            "optimizer_steps": optimizer.steps, "optimizer_epochs": optimizer.epochs, "memory": memory}
        if optimizer.callbacks:
            described["callbacks"] = copy.deepcopy(optimizer.callbacks)
        return described, optimizer.slots

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


def check_training_state(state: Any, n_params: int, dtype: str) -> None:
    """Refuse what is no state of training of ``n_params`` weights."""
    if not isinstance(state, TrainingState):
        raise TypeError("Sequential: training_state must be None or a TrainingState, got "
                        f"{type(state).__name__}.")
    slots = state.optimizer.slots
    if slots.shape[1] != n_params or slots.dtype != dtype:
        raise ValueError(f"Sequential: training_state must be one of {n_params} weights in {dtype}, got one of "
                         f"{slots.shape[1]} in {slots.dtype}.")
