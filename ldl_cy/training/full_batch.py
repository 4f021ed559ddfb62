"""A fit by a full-batch method: each of its iterations is an epoch."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.whole import WholeEpoch
from ldl_cy.optimizers.base import Ended
from ldl_cy.optimizers.contract import check_scalars, read_ended, read_values
from ldl_cy.optimizers.ranges import Ranges
from ldl_cy.training.whole import EXCHANGED, check_arrays, non_finite

if TYPE_CHECKING:
    from ldl_cy.network import Network
    from ldl_cy.optimizers.contract import Declared
    from ldl_cy.optimizers.full_batch import FullBatchMethod
    from ldl_cy.optimizers.objective import Objective
    from ldl_cy.state import TrainingState
    from ldl_cy.training.dispatcher import CallbackDispatcher


class TrainedPart:
    """The trainable weights and their vectors of state, as a method changes them.

    The weights are a copy that is read before an iteration and written after it, so that the network knows when its own
    change. The vectors are views of the state's or, where several ranges of weights are trainable, copies likewise.

    Attributes
    ----------
    theta : (n,) array
    slots : (n_slots, n) array
    """

    def __init__(self, network: Network, slots: np.ndarray) -> None:
        self._network, self._whole_slots, self._ranges = network, slots, Ranges(network.trainable_ranges)
        self.theta = self._ranges.part(network.vectors[0]).copy()
        self.slots = self._ranges.part(slots[:])        # of a view, whose flags and shape are the method's own

    def read(self) -> None:
        """What a callback has set."""
        self.theta[...] = self._ranges.part(self._network.vectors[0])
        if not self._ranges.views:
            self.slots[...] = self._ranges.part(self._whole_slots)

    def write(self) -> None:
        """What the method has made."""
        with self._network.version:
            self._ranges.write(self._network.vectors[0], self.theta)
        if not self._ranges.views:
            self._ranges.write(self._whole_slots, self.slots)


class Iterations:
    """The iterations of a method: what it has made of the weights and of its state is checked after each one.

    In a ``with`` statement around one of its ``epoch``: an exception of the method's, not of a callback, takes back
    what it has done since the last whole iteration.

    Parameters
    ----------
    declared : Declared
    objective : Objective
    network : Network
    state : TrainingState
    epochs : int
    callbacks : CallbackDispatcher
    refresh : function without arguments, default=None
        Called before each iteration: what a callback has changed outside the method's vectors.

    Attributes
    ----------
    part : TrainedPart
    left : int, iterations that may still be made
    stopped : bool, whether a callback has asked for a stop
    epoch : WholeEpoch, of the iteration
    within : bool, whether the method is at work, not a callback
    """

    def __init__(
        self, declared: Declared, objective: Objective, network: Network, state: TrainingState, epochs: int,
        callbacks: CallbackDispatcher, refresh: Callable[[], object] | None = None,
    ) -> None:
        self.objective, self.part = objective, TrainedPart(network, state.optimizer.slots)
        self.declared, self.network, self.state, self.callbacks = declared, network, state, callbacks
        self.refresh = refresh
        self.left, self.stopped, self.within = epochs, False, False
        self._given = state.optimizer, state.optimizer.slots, state.optimizer.scalars
        self.epoch = WholeEpoch(network, state)

    def __enter__(self) -> Iterations:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if self.within and isinstance(error, FloatingPointError):
            raise non_finite(self.state, cause=f" ({error})") from error

    def _begin(self) -> None:
        """Before an iteration or, after the last one, the end of the method."""
        if self.left and not self.stopped:
            self.callbacks.epoch_begins(self.state.epoch + 1)
        kept = self.state.optimizer
        check_arrays(self.network, self.state, self.declared.n_vectors)
        if any(now is not given for now, given in zip((kept, kept.slots, kept.scalars), self._given)):
            raise RuntimeError(EXCHANGED)       # the method would write to those of before
        self.part.read()
        self.objective.follow(self.network)
        if self.refresh is not None:
            self.refresh()
        self.epoch.begin()
        self.within = True

    def check_state(self, loss: float = 0.0) -> None:
        """Refuse a loss, weights and vectors that are not finite, and numbers that the method has not declared."""
        self.part.write()
        kept = self.state.optimizer
        if not (np.isfinite(loss) and np.isfinite(self.network.vectors[0]).all() and np.isfinite(kept.slots).all()):
            raise FloatingPointError("the loss, a weight or a number of the method's state is not finite")
        check_scalars(self.declared, kept.scalars)

    def after(self, given: Any) -> bool:
        """After an iteration with the values ``given``: whether a callback asks for a stop."""
        if not self.left or self.stopped:
            raise RuntimeError(f"{self.declared.owner}: minimize must end after the number of iterations that it was "
                               "given, or when callback returns True.")
        values = read_values(self.declared, given)
        self.check_state(values["loss"])
        self.state.count(steps=1, epochs=1)
        self.left -= 1
        ranks = self.objective.ranks
        # what callbacks raise takes nothing back
        if not self.epoch.complete(None if ranks is None else ranks.collectives):
            assert ranks is not None
            ranks.agree()                       # raises what has stopped another rank
        self.within = False
        self.stopped = self.callbacks.epoch_ends(self.state.epoch, values)
        self._begin()
        return self.stopped


def run_full_batch(
    method: FullBatchMethod, declared: Declared, objective: Objective, network: Network, state: TrainingState,
    epochs: int, callbacks: CallbackDispatcher, refresh: Callable[[], object] | None = None,
) -> None:
    """Run at most ``epochs`` iterations, each of which counts as a step and as an epoch.

    Parameters
    ----------
    method : FullBatchMethod
    declared : Declared
    objective : Objective
        It may compute in another dtype than the network, and be a function of its last layers, if only these train.
    network : Network
    state : TrainingState
    epochs : int
    callbacks : CallbackDispatcher
    refresh : function without arguments, default=None
        Called before each iteration, see ``Iterations``.

    Raises
    ------
    FloatingPointError
        The loss or a weight became non-finite; the weights are those of the last finite epoch.
    TypeError, ValueError, RuntimeError
        The method does something that its base class does not allow, or a callback exchanges what it writes to.
    """
    kept = state.optimizer
    with objective, Iterations(
            declared, objective, network, state, epochs, callbacks, refresh) as iterations, iterations.epoch:
        part = iterations.part
        if objective.n_params:
            ended = method.minimize(objective, part.theta, part.slots, kept.scalars, epochs, iterations.after)
        else:
            iterations.after({"loss": objective.value(part.theta), **dict.fromkeys(declared.log_keys, 0.0)})
            ended = Ended("converged", "no weight is trainable")
        if iterations.left == epochs:
            raise TypeError(f"{declared.owner}: minimize must call callback after each iteration, got none.")
        iterations.check_state()
        ended = read_ended(declared, ended, not iterations.left or iterations.stopped)
    if ended is not None:
        callbacks.history.ended(*ended)
