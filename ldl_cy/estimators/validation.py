"""Validation, the loss and the score of an estimator's validation rows after each epoch."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ldl_cy import layers
from ldl_cy.checks import check_weights
from ldl_cy.data import Data
from ldl_cy.estimators.data import Rows
from ldl_cy.inference import evaluate
from ldl_cy.losses import Loss
from ldl_cy.network import Network
from ldl_cy.training.trunk_outputs import repeated_outputs


class Validation:
    """Computes loss and score with the weights of the moment, from one pass of the rows through the network.

    Parameters
    ----------
    owner : str
        For errors.
    network : Network
        For the number of steps of the rows.
    rows : Rows
        With encoded targets. All are checked here, once.
    loss : Loss
        That of the fit.
    averaged_outputs : int
        By which the loss is divided: see ``TrainingMonitor.reported_loss``.
    score : function of raw outputs and rows
    n_threads : int
    cache_features : bool or "auto"
        See ``repeated_outputs``.

    Raises
    ------
    TypeError, ValueError
        Rows that the network or the loss refuses.
    """

    def __init__(
        self, owner: str, network: Network, rows: Rows, *, loss: Loss, averaged_outputs: int,
        score: Callable[[np.ndarray, Rows], float], n_threads: int, cache_features: bool | str,
    ) -> None:
        self.given, self.averaged_outputs, self.score, self.n_threads = rows, averaged_outputs, score, n_threads
        checked, lengths = network.check_rows("X", rows.X), network.check_lengths(rows.lengths, rows.n)
        self.raw = repeated_outputs(network, checked, lengths, n_threads, cache_features)
        weights = check_weights(owner, rows.weight, rows.n, network.dtype, True)
        targets, loss_op = loss.encode_targets(rows.y, rows.n, network.output_shape, network.dtype)
        self.data = Data(checked, targets, weights, None, loss_op)
        # the loss alone: a network whose outputs are its inputs
        self.identity = Network.build([layers.Activation("identity")], network.output_shape, network.dtype, 0)

    def __call__(self) -> tuple[float, float]:
        """(loss, score): the loss is without the penalty, and both are NaN if all weights are 0."""
        if not self.data.total_weight:
            return np.nan, np.nan
        raw = self.raw()
        data = self.data._replace(rows=raw.reshape(len(raw), -1))
        loss = evaluate(self.identity, data, 1 if data.loss_op.python else self.n_threads)
        return loss / self.averaged_outputs, float(self.score(raw, self.given))
