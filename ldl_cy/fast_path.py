"""The fast path of predictions: for which calls a network takes it, and the Predictor that they share."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ldl_cy._engine.plan import Plan
from ldl_cy._engine.predictor import BLAS_THREADED_FLOPS, Predictor
from ldl_cy._engine.program import SHARED_FLOPS, Workspace
from ldl_cy.threads import find_blas
from ldl_cy.workspaces import PREDICT_ROWS, memory_rows

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy._engine.graph import Graph
    from ldl_cy._engine.version import VersionCounter


class FastRows(NamedTuple):
    """The calls that take the fast path.

    Attributes
    ----------
    alone : int
        The most rows that one thread computes.
    most : int
        The most rows that several threads compute.
    most_threads : int
        The most threads that can share them.
    """

    alone: int
    most: int
    most_threads: int


NEVER = FastRows(0, 0, 1)


def fast_rows(graph: Graph) -> FastRows:
    """For which rows and threads a network's predictions can take the fast path."""
    kernels = [node.kernel for node in graph.nodes if node.kernel is not None]
    if any(k.calls_python for k in kernels):
        return NEVER
    plan = Plan(graph, False, PREDICT_ROWS)
    alone, most = math.ceil(SHARED_FLOPS / max(1.0, graph.flops)) - 1, plan.capacity
    if not plan.forks:
        alone = max(alone, plan.block_rows)     # one block is one task
    if not find_blas():                         # BLAS cannot be limited there, which longer products need
        most = min(most, int((BLAS_THREADED_FLOPS - 1) / max([1.0, *(k.flops for k in kernels)])))
    return FastRows(min(alone, most), most, -(-plan.capacity // plan.block_rows))


class FastPath:
    """The Predictor of a network, made when the first call can take it and again for more rows or threads.

    Parameters
    ----------
    graph : Graph
    vectors : tuple of arrays, theta and the running statistics
    version : VersionCounter
        Of the two arrays.

    Attributes
    ----------
    predictor : Predictor or None
    limits : FastRows or None, the calls that take it; None until they are known
    """

    def __init__(self, graph: Graph, vectors: tuple[np.ndarray, np.ndarray], version: VersionCounter) -> None:
        self.graph, self.vectors, self.version = graph, vectors, version
        self.predictor: Predictor | None = None
        self.limits: FastRows | None = None

    def prepare(self, n: int, n_threads: int) -> None:
        """Make the predictor for n rows or more and for these threads, if it is not there and they can take it."""
        graph, known = self.graph, self.predictor
        if self.limits is None:
            self.limits = fast_rows(graph)
        alone, most, most_threads = self.limits
        n_threads = min(n_threads, most_threads) if n > alone else 1
        if n > most or (known is not None and not known.abandoned
                        and n <= known.most_rows and n_threads <= known.n_threads):
            return
        few = memory_rows(n)
        if n <= alone:
            rows = min(alone if few is None else few, alone)
        else:
            rows = most if few is None else min(few, most)      # a few rows by several threads: branches
        if known is not None:
            rows, n_threads = max(rows, known.most_rows), max(n_threads, known.n_threads)
        workspace = Workspace(Plan(graph, False, PREDICT_ROWS, rows=rows), n_threads)
        predictor = Predictor(
            workspace, *self.vectors, self.version, graph.input_shape, graph.shapes[-1], rows, alone,
            graph.input_checks)
        if predictor.most_rows < n:             # it refuses this network
            self.limits = NEVER
        else:
            self.predictor = predictor
