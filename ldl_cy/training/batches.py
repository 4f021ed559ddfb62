"""A fit on batches from an iterable: data out of core, augmented, or generated for each epoch."""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import TYPE_CHECKING, Any

from ldl_cy._engine.train import NON_FINITE
from ldl_cy._engine.whole import WholeEpoch
from ldl_cy.class_weights import weighted
from ldl_cy.data import validate_data

if TYPE_CHECKING:
    from ldl_cy.data import Arrays
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers import Optimizer
    from ldl_cy.training.dispatcher import CallbackDispatcher
    from ldl_cy.training.steps import Stepper


class Batches:
    """An iterable of (X, y), (X, y, weights) or (X, y, weights, lengths), over which each epoch iterates once.

    Parameters
    ----------
    batches : iterable
    epochs : int
    optimizer : Optimizer
    given : list of str
        Arguments that were passed to the fit and that are not allowed with an iterable of batches.

    Attributes
    ----------
    first : tuple, the first batch, which is read here
    count : int or None, the number of batches in an epoch if the iterable has a length

    Raises
    ------
    TypeError, ValueError
        Not an iterable, one that is used up after an epoch, one without batches, or a full-batch optimizer.
    """

    def __init__(self, batches: Any, epochs: int, optimizer: Optimizer, given: list[str]) -> None:
        if hasattr(batches, "shape") or not isinstance(batches, Iterable):
            raise TypeError("Sequential: y must be given with X, unless X is an iterable of batches (X, y), "
                            f"got X of type {type(batches).__name__} and y=None.")
        if given:
            raise ValueError(f"Sequential: {', '.join(given)} must be left out with an iterable of batches, each of "
                             "which is a step and brings its own weights and lengths.")
        if optimizer.full_batch:
            raise ValueError("Sequential: an iterable of batches needs an optimizer that takes batches, got "
                             f"{type(optimizer).__name__}, which takes all rows.")
        self.batches = batches
        self.count = len(batches) if isinstance(batches, Sized) else None
        self._begun: Iterator[Any] | None = iter(batches)
        if self._begun is batches and epochs > 1:
            raise ValueError("Sequential: batches must be an iterable that restarts in each epoch, such as a list, "
                             f"got {type(batches).__name__}, which ends, for epochs={epochs}.")
        try:
            self.first = self.read(next(self._begun))
        except StopIteration:
            raise ValueError("Sequential: there must be a batch, got none.") from None

    @staticmethod
    def read(batch: Any) -> Arrays:
        """A batch as (X, y, weights or None, lengths or None)."""
        if not isinstance(batch, (tuple, list)) or not 2 <= len(batch) <= 4:
            raise TypeError("Sequential: a batch must be (X, y), (X, y, weights) or (X, y, weights, lengths), "
                            f"got {type(batch).__name__}.")
        X, y, weights, lengths = (*batch, None, None)[:4]
        return X, y, weights, lengths

    def epoch(self) -> Iterator[Arrays]:
        """The batches of one epoch; in the first epoch the batch that has already been read comes first."""
        begun, self._begun = self._begun, None
        return map(self.read, self.batches) if begun is None else chain([self.first], map(self.read, begun))


def run_batches(
    stepper: Stepper, batches: Batches, loss: Loss, n_threads: int, epochs: int, callbacks: CallbackDispatcher,
    class_weight: Any = None,
) -> None:
    """Run epochs over the user's batches, each of which is a step.

    An exception, also one of the iterable's, takes back the epoch that it ends.
    """
    network, state = stepper.network, stepper.state
    for _ in range(epochs):
        callbacks.epoch_begins(state.epoch + 1)
        with WholeEpoch(network, state):
            mean = run_epoch(stepper, batches, loss, n_threads, class_weight)
            state.count(epochs=1)
        if callbacks.epoch_ends(state.epoch, {"loss": mean}):
            return


def run_epoch(stepper: Stepper, batches: Batches, loss: Loss, n_threads: int, class_weight: Any) -> float:
    """The steps of one epoch, and its mean loss Σ wᵢ lᵢ / Σ wᵢ."""
    network, epoch = stepper.network, stepper.state.epoch + 1
    total, weight, rows = 0.0, 0.0, 0
    with stepper.swap_averaged_weights():
        for X, y, sample_weight, lengths in batches.epoch():
            data = validate_data(network, "X", X, y, sample_weight, lengths, loss, network.dtype, weightless=True)
            data = weighted(data, y, class_weight, loss, network, some=False)
            share, rows = data.total_weight, rows + data.n
            if share == 0:              # no step, as in a fit on arrays
                continue
            with network.workspace(data.n, n_threads, training=True, loss_size=data.loss_op.target_size) as ws, \
                    network.pool(ws, data.n) as pool:
                losses, reason, _ = stepper.run(ws, pool, data, data.n, 1, partial=True)
            stepper.check_finite(reason)
            total, weight = total + share * float(losses[0]), weight + share
        if not math.isfinite(total):
            stepper.check_finite(NON_FINITE)
    if not rows:
        raise ValueError(f"Sequential: batches must give a batch in each epoch, got none in epoch {epoch}.")
    if not weight:
        raise ValueError("Sequential: weights must not be zero for every row of an epoch, got only zeros in epoch "
                         f"{epoch}.")
    return total / weight
