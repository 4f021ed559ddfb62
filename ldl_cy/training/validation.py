"""The loss on validation data, after each epoch."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldl_cy.callbacks.base import Callback
from ldl_cy.inference import evaluate

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.network import Network


class ValidationLoss(Callback):
    """Adds "val_loss" to the values of each epoch.

    Parameters
    ----------
    network : Network
    data : Data, checked once for the whole fit
    n_threads : int
    """

    def __init__(self, network: Network, data: Data, n_threads: int) -> None:
        self.network, self.data, self.n_threads = network, data, n_threads

    def on_epoch_end(self, model: Any, epoch: int, logs: dict[str, float]) -> bool | None:
        """Evaluate the network."""
        logs["val_loss"] = evaluate(self.network, self.data, self.n_threads)
        return None
