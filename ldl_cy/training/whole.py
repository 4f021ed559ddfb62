"""The checks on which compiled steps rely, and the error of an epoch that was taken back."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldl_cy.network import Network
    from ldl_cy.state import TrainingState

EXCHANGED = "Sequential: the model was built, reset or restored to another state during its fit."


def check_arrays(network: Network, state: TrainingState, n_vectors: int) -> None:
    """Refuse arrays that are not those that the fit began with, since compiled code trusts them.

    Raises
    ------
    RuntimeError
        A callback has exchanged them.
    """
    theta, statistics = network.vectors
    for array, shape in ((theta, (network.n_params,)), (statistics, (network.graph.n_state,)),
                         (state.optimizer.slots, (n_vectors, network.n_params))):
        if array.shape != shape or array.dtype != network.dtype or not array.flags.carray:
            raise RuntimeError(EXCHANGED)


def non_finite(state: TrainingState, *, cause: str = "", advice: str = "") -> FloatingPointError:
    """The error of an epoch that was not counted because its loss or a weight is not finite."""
    return FloatingPointError(
        f"Sequential: the loss or a weight became non-finite in epoch {state.epoch + 1}{cause}; the weights are those "
        f"of epoch {state.epoch}.{advice}")
