"""ChunkFit: a fit over chunks, of which the client asks for sums or for epochs, and takes the steps between them."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from ldl_cy.dask.chunk import Epoch, Problem
from ldl_cy.dask.chunks import Chunks, insist
from ldl_cy.dask.sums import ChunkRows, ChunkTotals
from ldl_cy.estimators.closed_form import RidgeHead
from ldl_cy.optimizers.objective import Objective
from ldl_cy.training import Fit
from ldl_cy.training.full_batch import run_full_batch

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.optimizers.step_rule import StepRule


class ChunkFit(Fit):
    """A fit to the rows of chunks. ``Fit`` is given some rows of their shape, with the weight of all.

    Parameters
    ----------
    chunks : Chunks
    reshuffles : bool
        Whether a step rule shuffles the rows of each chunk in each epoch.
    others : see ``Fit``
    """

    def __init__(
        self, chunks: Chunks, reshuffles: bool, *given: Any, batch_size: Any, n_threads: int | None, **others: Any,
    ) -> None:
        self.chunks, self.reshuffles, self.rows_of_step = chunks, reshuffles, batch_size
        super().__init__(*given, batch_size="auto", n_threads=1 if n_threads is None else n_threads, **others)
        self.all_threads = n_threads is None and not self.data.loss_op.python

    def _find_trunk(self, held_out: Data | None, cache_features: bool | str) -> None:
        self.trunk, self.features, self.held_out = None, None, held_out

    def _with_schedule(self, optimizer: StepRule) -> StepRule:
        kept = self.state.optimizer
        steps = count_steps(self.chunks.sizes, self.rows_of_step)
        return optimizer.in_fit((kept.steps, kept.epochs) if self._continues() else (0, 0),
                                (steps * self.epochs, self.epochs))

    def _run_epochs(self) -> None:
        method, network = self.declared.method, self.network.astype(self.dtype)
        if method is None:
            self._stream()
            return
        totals = ChunkTotals(self.chunks, network, self.loss, self.dtype, self.n_threads)
        if isinstance(method, RidgeHead):
            method.read = partial(ChunkRows, totals)
        objective = Objective(network, self.data, self.loss, self.alpha, self.n_threads, totals=totals)
        run_full_batch(method, self.declared, objective, self.network, self.state, self.epochs, self.callbacks)

    def _stream(self) -> None:
        """Epochs of a step rule, all of them on one worker."""
        state, callbacks = self.state, self.callbacks
        workers: list[str] = []
        with self.chunks.published() as name:
            for _ in range(self.epochs):
                callbacks.epoch_begins(state.epoch + 1)
                loss, numbers, memory, address = insist(partial(self._epoch, name, workers), workers.clear)
                workers[:] = [address]
                self.network.restore(numbers)
                state.restore(memory)
                if callbacks.epoch_ends(state.epoch, {"loss": loss}):
                    return

    def _epoch(self, name: str, workers: list[str]) -> tuple[float, Any, dict[str, Any], str]:
        chunks, threads, rule = self.chunks, 0 if self.all_threads else self.n_threads, cast("StepRule", self.optimizer)
        # copies, since a worker of this process would train the model itself
        problem = Problem(
            uuid4().hex, copy.deepcopy(self.network), self.loss, self.dtype, threads, chunks.n, chunks.weight)
        return chunks.epoch(Epoch(
            problem, copy.deepcopy(self.state), rule, self.alpha, self.rows_of_step, self.reshuffles), name, workers)


def count_steps(sizes: Sequence[int], batch_size: int) -> int:
    """The steps of an epoch, in which each chunk has batches of its own."""
    return sum(-(-n // batch_size) for n in sizes)
