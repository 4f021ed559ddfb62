"""Validation, the loss and the score of an estimator's validation rows after each epoch."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import layers
from ldl_cy.checks import check_weights
from ldl_cy.data import Data
from ldl_cy.estimators.data import Rows
from ldl_cy.inference import evaluate, outputs
from ldl_cy.losses import Loss
from ldl_cy.network import Network
from ldl_cy.training.trunk_outputs import repeated_outputs

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks


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
    ranks : Ranks or None
        Each passes its own shards through the network; all compute loss and score of the rows of all.

    Raises
    ------
    TypeError, ValueError
        Rows that the network or the loss refuses.
    """

    def __init__(
        self, owner: str, network: Network, rows: Rows, *, loss: Loss, averaged_outputs: int,
        score: Callable[[np.ndarray, Rows], float], n_threads: int, cache_features: bool | str, ranks: Ranks | None,
    ) -> None:
        if ranks is None:
            checked, lengths = network.check_rows("X", rows.X), network.check_lengths(rows.lengths, rows.n)
            self.raw = repeated_outputs(network, checked, lengths, n_threads, cache_features)
        else:
            self.raw = outputs_of_shards(network, rows, n_threads, ranks)
            rows = with_all_targets(rows, ranks)
        self.given, self.averaged_outputs, self.score, self.n_threads = rows, averaged_outputs, score, n_threads
        weights = check_weights(owner, rows.weight, rows.n, network.dtype, True)
        targets, loss_op = loss.encode_targets(rows.y, rows.n, network.output_shape, network.dtype)
        self.data = Data(targets, targets, weights, None, loss_op)      # whose rows come with each call
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


def outputs_of_shards(network: Network, rows: Rows, n_threads: int, ranks: Ranks) -> Callable[[], np.ndarray]:
    """A function that computes the raw outputs of the rows of all ranks: shard by shard, for the same bits on any."""
    shards: list[tuple[Any, np.ndarray | None]] = []
    own = ranks.own_rows(rows.n)
    if own.stop > own.start:
        checked = network.check_rows("X", rows.X[own])
        lengths = network.check_lengths(None if rows.lengths is None else rows.lengths[own], own.stop - own.start)
        for part in ranks.own_parts(rows.n):
            if part.stop > part.start:
                here = slice(part.start - own.start, part.stop - own.start)
                shards.append((checked[here], None if lengths is None else lengths[here]))
    none = np.empty((0, *network.output_shape), network.dtype)

    def compute() -> np.ndarray:
        own_outputs = (outputs(network, shard, lengths, n_threads) for shard, lengths in shards)
        return ranks.concatenate(np.concatenate([none, *own_outputs]))

    return compute


def with_all_targets(rows: Rows, ranks: Ranks) -> Rows:
    """The rows, with the targets and weights of all ranks."""
    if not ranks.local:
        return rows
    return rows._replace(y=ranks.concatenate(rows.y),
                         weight=None if rows.weight is None else ranks.concatenate(rows.weight))
