"""Epochs over the ranks of a communicator: each step is one of all ranks, and each epoch one compiled call."""
from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.train import CONVERGED, STOPPED
from ldl_cy.distributed.agreement import checksum

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.distributed.ranks import Ranks
    from ldl_cy.distributed.steps import RankSteps
    from ldl_cy.network import Network
    from ldl_cy.state import TrainingState
    from ldl_cy.training.dispatcher import CallbackDispatcher
    from ldl_cy.training.steps import Stepper

OWNER = "Sequential"


def check_ranked(
    ranks: Ranks, network: Network, state: TrainingState, data: Data, settings: dict[str, Any],
    held_out: Data | None, cache_features: bool | str, batches: bool,
) -> None:
    """Refuse what a fit over ranks cannot do, and arguments in which the ranks differ.

    Raises
    ------
    ValueError
        On all ranks.
    """
    if batches:
        raise ValueError(f"{OWNER}: comm must be None with an iterable of batches; with rows='local' each rank brings "
                         "arrays of its own.")
    if cache_features is True:
        raise ValueError(f"{OWNER}: cache_features must be 'auto' or False with comm, got True.")
    ranks.check_settings(OWNER, {
        **({} if ranks.local else {"the number of rows": data.n}),
        "the layers": network.layers, "dtype": network.dtype, "input_shape": network.input_shape,
        "the dtype of X": data.rows.dtype, "whether sample_weight is given": data.weights is not None,
        "whether lengths are given": data.lengths is not None, **settings,
        # a batch that has no weight is no step: its ranks would send other messages
        **({} if ranks.local else {**checksums(data), **checksums(held_out, " of the validation data")}),
        "the model's weights and training state": checksum(network, state)})


def checksums(data: Data | None, of: str = "") -> dict[str, int | None]:
    """Of what each rank reads for all rows, by name."""
    if data is None:
        return {}
    arrays = {"y": data.targets, "sample_weight": data.weights, "lengths": data.lengths}
    return {f"the number of rows{of}": data.n, **{
        f"the checksum of {name}{of}": None if array is None else zlib.crc32(np.ascontiguousarray(array).data)
        for name, array in arrays.items()}}


def run_ranked(
    stepper: Stepper, steps: RankSteps, data: Data, epochs: int, shuffle: bool, callbacks: CallbackDispatcher,
    order_rows: Callable[[], np.ndarray] | None, n_threads: int,
) -> None:
    """Run the epochs; see ``Fit``."""
    network, state, ranks = stepper.part, stepper.state, steps.ranks
    lanes = ranks.shards, ranks.first, ranks.last - ranks.first
    own = int(steps.cuts[:, -1].max())
    with network.workspace(steps.rows_of_shard * ranks.shards, n_threads, training=True,
                           loss_size=data.loss_op.target_size, lanes=lanes) as ws, network.pool(ws, own) as pool:
        for _ in range(epochs):
            first = state.epoch + 1
            callbacks.epoch_begins(first)
            order = steps.order(network.seed, state.epoch, shuffle) if order_rows is None else order_rows()
            exchange = steps.exchange(steps.weights(data.weights, order))
            with stepper.swap_averaged_weights():
                losses, reason, largest = stepper.run(
                    ws, pool, data, steps.total, 1, steps.own(order), exchange=exchange)
                if reason == STOPPED:
                    ranks.agree()               # raises what has stopped another rank
            stepper.check_finite(reason)
            if callbacks.epochs_end(first, losses):
                return
            if reason == CONVERGED:
                callbacks.history.ended("converged", stepper.why_converged(largest))
                return
