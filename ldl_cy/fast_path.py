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
    from ldl_cy._engine.graph import Graph
    from ldl_cy.network import Network


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


def prepare_predictor(network: Network, n: int, n_threads: int) -> None:
    """Make the fast path for n rows or more and for these threads, if it is not there and they can take it."""
    graph, known = network.graph, network.predictor
    if network.fast_rows is None:
        network.fast_rows = fast_rows(graph)
    alone, most, most_threads = network.fast_rows
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
        workspace, *network.vectors, network.version, graph.input_shape, graph.shapes[-1], rows, alone,
        graph.input_checks)
    if predictor.most_rows < n:             # it refuses this network
        network.fast_rows = NEVER
    else:
        network.predictor = predictor
