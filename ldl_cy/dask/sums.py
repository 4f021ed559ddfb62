"""Sums over the chunks of a fit: each is computed where the chunk is, and all are added in the order of a fixed tree.

So their bits depend on the chunks, and not on the number of workers. What travels are weights, and sums as large.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from ldl_cy.dask.chunk import Chunk, Problem
from ldl_cy.dask.chunks import Chunks, insist
from ldl_cy.distributed.shards import tree_sum
from ldl_cy.estimators.closed_form import KEPT_BYTES, read_rows
from ldl_cy.linalg.ridge import Decomposition, Moments, Triangle
from ldl_cy.linalg.ridge_fit import RowBlocks, packed, unpacked
from ldl_cy.optimizers.row_sums import RowSums
from ldl_cy.threads import blas_at_one_thread

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network

# -- on the workers --------------------------------------------------------------------------------------------------

def of_rows(chunk: Chunk, problem: Problem, name: str, arguments: Sequence[Any]) -> np.ndarray:
    """What a method of ``RowSums`` returns for a chunk."""
    with chunk.lock, chunk.prepared(problem, row_sums) as sums:
        return getattr(sums, name)(*arguments)


def row_sums(problem: Problem, data: Data) -> RowSums:
    """The object whose methods ``of_rows`` calls."""
    return RowSums(problem.network, data, problem.loss, problem.n_threads, problem.total_weight)


def of_blocks(chunk: Chunk, problem: Problem, name: str, arguments: Sequence[Any]) -> Any:
    """What a method of ``RowBlocks`` returns for a chunk; moments as a vector."""
    # whatever overflows ends as weights that are not finite, which the fit refuses
    with chunk.lock, blas_at_one_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = getattr(chunk.prepared(problem, row_blocks), name)(*arguments)
        return packed(found) if isinstance(found, Moments) else found


def row_blocks(problem: Problem, data: Data) -> RowBlocks:
    """The object whose methods ``of_blocks`` calls."""
    network, hidden = problem.network, len(problem.network.layers) - 1
    trunk, head = network.split(hidden) if hidden else (None, network)
    m = math.prod(head.input_shape)
    return read_rows(data, trunk, m, head.n_outputs, problem.n_threads,
                     keeps=trunk is not None and problem.n * m * trunk.vectors[0].itemsize <= KEPT_BYTES)


# -- on the client ---------------------------------------------------------------------------------------------------

class ChunkTotals:
    """Sums over all chunks: see ``ldl_cy.optimizers.totals.Totals``.

    Parameters
    ----------
    chunks : Chunks
    network, loss, dtype, n_threads : see ``Problem``
    """

    def __init__(self, chunks: Chunks, network: Network, loss: Loss, dtype: str, n_threads: int) -> None:
        self.chunks, self.total_weight = chunks, chunks.weight
        self._problem = network, loss, dtype, n_threads
        self._sent: Any = None
        self._theta: tuple[Any, Any] = None, None

    def __enter__(self) -> ChunkTotals:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._forget()

    def _forget(self) -> None:
        self._sent, self._theta = None, (None, None)

    def _recover(self) -> None:
        self._forget()
        self.chunks.locate()

    def _send(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """Futures of the problem, of θ, the first argument, which several sums may need, and of the others."""
        send = self.chunks.send
        if self._sent is None:
            self._sent = send(Problem(uuid4().hex, *self._problem, self.chunks.n, self.total_weight))
        # copies: of views that may change
        theta, *others = [np.array(value) if isinstance(value, np.ndarray) else value for value in arguments or [None]]
        if self._theta[0] is None or not np.array_equal(self._theta[0], theta):
            self._theta = theta, send(theta)
        sent = [self._theta[1], *map(send, others)]
        return {"problem": self._sent, "arguments": sent if arguments else []}

    def each(self, name: str, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What a function makes of each chunk, which must be small: the client gets all of it."""
        return insist(lambda: self.chunks.gather(self._map(name, function, arguments)), self._recover)

    def sum(
        self, name: str, function: Callable[..., Any], *arguments: Any, add: Callable[[list[Any]], Any] = tree_sum,
    ) -> Any:
        """The sum of what a function makes of each chunk."""
        return insist(lambda: self.chunks.add(self._map(name, function, arguments), add), self._recover)

    def total(self, name: str, *arguments: np.ndarray) -> np.ndarray:
        """See ``Totals``."""
        return np.array([self.chunks.weight]) if name == "weight" else self.sum(name, of_rows, *arguments)

    def _map(self, name: str, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        return self.chunks.map(name.replace("_", "-"), function, name=name, **self._send(arguments))


class ChunkRows:
    """The rows of all chunks for solver="ridge": see ``ldl_cy.linalg.ridge_fit.RidgeRows``.

    Parameters
    ----------
    totals : ChunkTotals
    m, k : int
        The numbers that the output layer reads and returns for a row.
    """

    def __init__(self, totals: ChunkTotals, m: int, k: int) -> None:
        self.totals, self.n, self.m, self.k = totals, totals.chunks.n, m, k

    def moments(self) -> Moments:
        """See ``RidgeRows``; the shift is the mean of the first block of all."""
        shift = next((mean for mean in self.totals.each("mean", of_blocks) if mean is not None), None)
        return unpacked(self.totals.sum("moments", of_blocks, shift), self.m, self.k, shift)

    def triangle(self) -> Triangle:
        """See ``RidgeRows``; of two parts the triangles are decomposed again, one below the other."""
        return self.totals.sum("triangle", of_blocks, add=partial(tree_sum, add=Triangle.merged))

    def errors(self, found: Decomposition, alphas: Sequence[float]) -> np.ndarray:
        """See ``RidgeRows``."""
        return self.totals.sum("errors", of_blocks, found, np.array(alphas))

    def any(self, value: bool) -> bool:
        """The value: the client decides."""
        return value
