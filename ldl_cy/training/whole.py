"""Epochs that are made completely or not at all, and the checks on which compiled steps rely."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldl_cy.network import Network
    from ldl_cy.state import TrainingState

EXCHANGED = "Sequential: the model was built, reset or restored to another state during its fit."


class WholeEpoch:
    """In a ``with`` statement: an exception takes back all that has changed since ``begin``, until ``complete``.

    Parameters
    ----------
    network : Network
    state : TrainingState
    """

    def __init__(self, network: Network, state: TrainingState) -> None:
        self.network, self.state = network, state
        self._before: tuple[Any, ...] | None = None

    def begin(self) -> None:
        """Copy all that an epoch changes."""
        self._before = self.state.optimizer, self.network.snapshot(), self.state.snapshot()

    @property
    def begun(self) -> bool:
        """Whether an exception would take something back."""
        return self._before is not None

    def complete(self) -> None:
        """Keep the epoch, whatever follows."""
        self._before = None

    def __enter__(self) -> WholeEpoch:
        self.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._before is not None:
            self.state.optimizer, numbers, counts = self._before    # it may have been exchanged
            self.network.restore(numbers)
            self.state.restore(counts)


def check_arrays(network: Network, state: TrainingState, n_vectors: int) -> None:
    """Refuse arrays that are not those that the fit began with, since compiled code trusts them.

    Raises
    ------
    RuntimeError
        A callback has exchanged them.
    """
    for array, shape in ((network.theta, (network.n_params,)), (network.statistics, (network.graph.n_state,)),
                         (state.optimizer.slots, (n_vectors, network.n_params))):
        if array.shape != shape or array.dtype != network.dtype or not array.flags.carray:
            raise RuntimeError(EXCHANGED)


def non_finite(state: TrainingState, *, cause: str = "", advice: str = "") -> FloatingPointError:
    """The error of an epoch that was not counted because its loss or a weight is not finite."""
    return FloatingPointError(
        f"Sequential: the loss or a weight became non-finite in epoch {state.epoch + 1}{cause}; the weights are those "
        f"of epoch {state.epoch}.{advice}")
