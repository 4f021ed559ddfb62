"""A fit on batches that the user makes: data out of core, augmented, or drawn anew."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from ldl_cy.samples import check_samples

if TYPE_CHECKING:
    from ldl_cy import losses, optimizers
    from ldl_cy.between import Between
    from ldl_cy.updates import Updates


class Batches:
    """An iterable of (X, y), (X, y, weights) or (X, y, weights, lengths), gone through once an epoch."""

    def __init__(self, batches: Any, epochs: int, optimizer: optimizers.Optimizer, given: list[str]) -> None:
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
        self.begun: Iterator[Any] | None = iter(batches)
        if self.begun is batches and epochs > 1:
            raise ValueError("Sequential: batches must be an iterable that begins anew for each epoch, such as a list, "
                             f"got {type(batches).__name__}, which ends, for epochs={epochs}.")
        try:
            self.first = self.read(next(self.begun))
        except StopIteration:
            raise ValueError("Sequential: there must be a batch, got none.") from None

    @staticmethod
    def read(batch: Any) -> tuple[Any, Any, Any, Any]:
        """(X, y, weights, lengths) of a batch."""
        if not isinstance(batch, (tuple, list)) or not 2 <= len(batch) <= 4:
            raise TypeError("Sequential: a batch must be (X, y), (X, y, weights) or (X, y, weights, lengths), "
                            f"got {type(batch).__name__}.")
        return (*batch, None, None)[:4]

    def epoch(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """All batches; in the first epoch the one that was looked at comes first."""
        begun, self.begun = self.begun, None
        return map(self.read, self.batches) if begun is None else chain([self.first], map(self.read, begun))


def run_batches(
    updates: Updates, batches: Batches, loss: losses.Loss, threads: int, epochs: int, between: Between,
) -> None:
    """Epochs over batches that the user makes, each of which is a step."""
    model = updates.model
    for _ in range(epochs):
        between.epoch_begins(model.epoch + 1)
        before = model.theta.copy(), model._slots.copy(), model._state.copy()
        steps = model.step, model._optimizer_steps
        total = weight = 0.0
        with updates.steps_weights():
            for X, y, sample_weight, lengths in batches.epoch():
                _, samples = check_samples(model, model._built(), "X", X, y, sample_weight, lengths, loss, model.dtype)
                with model._workspace(samples.n, threads, training=True, loss_size=samples.kernel.target_size) as ws, \
                        model._pool(ws, samples.n) as pool:
                    found, reason, _ = updates.run(ws, pool, samples, samples.n, 1, None, False)
                if len(found) == 0:
                    break
                share = samples.n if samples.weights is None else float(samples.weights.sum(dtype=float))
                total, weight = total + share * float(found[0]), weight + share
        if len(found) == 0:         # the epoch is taken back
            model.theta[:], model._slots[:], model._state[:] = before
            model.step, model._optimizer_steps = steps
        updates.check_finite(reason)
        updates.count(1)
        if between.epoch_ends(model.epoch, {"loss": total / weight}):
            return
