"""Compiled steps: what stands between a fit and the engine's loop."""
from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ldl_cy._engine.train import NON_FINITE, train

if TYPE_CHECKING:
    from ldl_cy import optimizers
    from ldl_cy._engine.pool import Pool
    from ldl_cy._engine.program import Workspace
    from ldl_cy.models import Sequential
    from ldl_cy.samples import Samples


class Updates:
    """A model's steps by the rule of an optimizer.

    Parameters
    ----------
    model : Sequential, built
    optimizer : Optimizer, compiled
    alpha : float
    ranges : (m, 2) ints, the pieces of θ that alpha and weight_decay act on
    """

    def __init__(
        self, model: Sequential, optimizer: optimizers.Optimizer, alpha: float, ranges: np.ndarray,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.rule = optimizer.rule(alpha, ranges)

    def run(
        self, ws: Workspace, pool: Pool, samples: Samples, batch_size: int, epochs: int, order: np.ndarray | None,
        reshuffle: bool,
    ) -> tuple[np.ndarray, int, float]:
        """Passes over the samples: (losses of those done, why it ended, largest entry of the last gradient).

        Counts the steps, not the epochs.
        """
        model, optimizer = self.model, self.optimizer
        steps = -(-samples.n // batch_size)
        found = np.zeros(epochs)
        coefficients = optimizer.coefficients(
            model._optimizer_steps, epochs * steps, model._optimizer_epochs, steps,
            model._memory.get("rate_factor", 1.0))
        done, taken, reason, largest, error = train(
            ws, model.theta, model._slots, model._state, samples.rows, samples.targets, samples.weights,
            samples.kernel, self.rule, coefficients, batch_size=batch_size, epochs=epochs, order=order,
            reshuffle=reshuffle, seed=model.random_state, epoch=model.epoch, step=model.step, losses=found, pool=pool,
            lengths=samples.lengths, before=model._memory.get("loss", np.nan))
        if reason == NON_FINITE:            # the epoch that failed was taken back
            taken = done * steps
        model.step += taken
        model._optimizer_steps += taken
        if self.rule.by_loss and done:
            model._memory["loss"] = float(found[done - 1])
        if error is not None:
            self.count(done)
            raise error
        return found[:done], reason, largest

    def count(self, epochs: int) -> None:
        """Count epochs."""
        self.model.epoch += epochs
        self.model._optimizer_epochs += epochs

    def check_finite(self, reason: int) -> None:
        """Raise where a step met something that is not a number."""
        if reason == NON_FINITE:
            epoch = self.model.epoch
            raise FloatingPointError(
                f"Sequential: the loss or a weight became non-finite in epoch {epoch + 1}; the weights are those of "
                f"epoch {epoch}. A smaller learning_rate or clip_norm may help.")

    def why_converged(self, largest: float) -> str:
        """In a sentence."""
        if self.rule.by_loss:
            return f"the loss changed by at most tol={self.rule.tol:g} of itself"
        return f"the largest entry of the gradient, {largest:.3g}, is at most tol={self.rule.tol:g}"

    @contextmanager
    def steps_weights(self) -> Iterator[None]:
        """With averages: steps go on from their own weights, and between epochs θ is the average of these.

        The steps' own weights then take its place among the slots. Where θ was changed since, both begin from what it
        is now.
        """
        model = self.model
        if not self.rule.averages:
            yield
            return
        if model._memory.pop("averaged", None) != zlib.crc32(model.theta.data):
            model._slots[-1] = model.theta
        else:
            model.theta[:], model._slots[-1] = model._slots[-1].copy(), model.theta.copy()
        try:
            yield
        finally:
            if model._optimizer_steps:
                model.theta[:], model._slots[-1] = model._slots[-1].copy(), model.theta.copy()
                model._memory["averaged"] = float(zlib.crc32(model.theta.data))
