"""A fit by a full-batch method: each of its iterations is an epoch."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ldl_cy.optimizers.objective import Objective

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy.optimizers.full_batch import FullBatchMethod
    from ldl_cy.state import TrainingState
    from ldl_cy.training.dispatcher import CallbackDispatcher


def run_full_batch(
    method: FullBatchMethod, objective: Objective, theta: np.ndarray, state: TrainingState, epochs: int,
    callbacks: CallbackDispatcher,
) -> None:
    """Run at most ``epochs`` iterations, each of which counts as a step and as an epoch.

    Parameters
    ----------
    method : FullBatchMethod
    objective : Objective
    theta : (n_params,) array
        The network's weights, updated in place; the objective may compute in another dtype.
    state : TrainingState
    epochs : int
    callbacks : CallbackDispatcher
    """
    last = state.epoch + epochs

    def after_iteration(values: dict[str, float]) -> bool:
        state.count(steps=1, epochs=1)
        stop = callbacks.epoch_ends(state.epoch, values)
        if not stop and state.epoch < last:
            callbacks.epoch_begins(state.epoch + 1)
        return stop

    with objective:
        callbacks.epoch_begins(state.epoch + 1)
        ended = method.minimize(
            objective, theta, state.optimizer.slots, state.optimizer.scalars, epochs, after_iteration)
    if ended is not None:
        callbacks.history.ended(*ended)
