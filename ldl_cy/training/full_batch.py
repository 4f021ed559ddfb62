"""A fit by a full-batch method: each of its iterations is an epoch."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.optimizers.contract import check_scalars, read_ended, read_values

if TYPE_CHECKING:
    from ldl_cy.optimizers.contract import Declared
    from ldl_cy.optimizers.full_batch import FullBatchMethod
    from ldl_cy.optimizers.objective import Objective
    from ldl_cy.state import TrainingState
    from ldl_cy.training.dispatcher import CallbackDispatcher


class Iterations:
    """The iterations of a method: what it has made of the weights and of its state is checked after each one.

    Parameters
    ----------
    declared : Declared
    theta : (n_params,) array
        The network's weights, updated in place.
    state : TrainingState
    epochs : int
    callbacks : CallbackDispatcher

    Attributes
    ----------
    left : int, iterations that may still be made
    stopped : bool, whether a callback has asked for a stop
    """

    def __init__(
        self, declared: Declared, theta: np.ndarray, state: TrainingState, epochs: int, callbacks: CallbackDispatcher,
    ) -> None:
        self.declared, self.theta, self.state, self.callbacks = declared, theta, state, callbacks
        self.left, self.stopped = epochs, False
        self._save()

    def _save(self) -> None:
        kept = self.state.optimizer
        self._saved: tuple[Any, ...] | None = self.theta.copy(), kept.slots.copy(), dict(kept.scalars)

    def restore(self) -> None:
        """Return to the last whole iteration; after an exception in a callback, which has seen it, nothing changes."""
        if self._saved is not None:
            self.theta[:], self.state.optimizer.slots[:], self.state.optimizer.scalars = self._saved

    def check_state(self, loss: float = 0.0) -> None:
        """Refuse a loss, weights and vectors that are not finite, and numbers that the method has not declared."""
        slots = self.state.optimizer.slots
        if not (np.isfinite(loss) and np.isfinite(self.theta).all() and np.isfinite(slots).all()):
            raise FloatingPointError("the loss, a weight or a number of the method's state is not finite")
        check_scalars(self.declared, self.state.optimizer.scalars)

    def after(self, given: Any) -> bool:
        """After an iteration with the values ``given``: whether a callback asks for a stop."""
        if not self.left or self.stopped:
            raise RuntimeError(f"{self.declared.owner}: minimize must end after the number of iterations that it was "
                               "given, or when callback returns True.")
        values = read_values(self.declared, given)
        self.check_state(values["loss"])
        self.state.count(steps=1, epochs=1)
        self.left -= 1
        self._saved = None
        self.stopped = self.callbacks.epoch_ends(self.state.epoch, values)
        if self.left and not self.stopped:
            self.callbacks.epoch_begins(self.state.epoch + 1)
        self._save()
        return self.stopped


def run_full_batch(
    method: FullBatchMethod, declared: Declared, objective: Objective, theta: np.ndarray, state: TrainingState,
    epochs: int, callbacks: CallbackDispatcher,
) -> None:
    """Run at most ``epochs`` iterations, each of which counts as a step and as an epoch.

    Parameters
    ----------
    method : FullBatchMethod
    declared : Declared
    objective : Objective
    theta : (n_params,) array
        The network's weights, updated in place; the objective may compute in another dtype.
    state : TrainingState
    epochs : int
    callbacks : CallbackDispatcher

    Raises
    ------
    FloatingPointError
        The loss or a weight became non-finite; the weights are those of the last finite epoch.
    TypeError, ValueError, RuntimeError
        The method does something that its base class does not allow.
    """
    kept = state.optimizer
    with objective:
        callbacks.epoch_begins(state.epoch + 1)
        iterations = Iterations(declared, theta, state, epochs, callbacks)
        try:
            # views, whose flags and shapes are the method's own
            ended = method.minimize(objective, theta[:], kept.slots[:], kept.scalars, epochs, iterations.after)
            if iterations.left == epochs:
                raise TypeError(f"{declared.owner}: minimize must call callback after each iteration, got none.")
            iterations.check_state()
            ended = read_ended(declared, ended, not iterations.left or iterations.stopped)
        except FloatingPointError as error:
            iterations.restore()
            raise FloatingPointError(
                f"Sequential: the loss or a weight became non-finite in epoch {state.epoch + 1} ({error}); the "
                f"weights are those of epoch {state.epoch}.") from error
        except BaseException:
            iterations.restore()
            raise
    if ended is not None:
        callbacks.history.ended(*ended)
