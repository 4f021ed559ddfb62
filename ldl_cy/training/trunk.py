"""The frozen layers at the beginning of a network: a fit trains the rest of it on their outputs.

A row's output is a function of the row alone, to the bit, so that it is the same whether all rows pass the trunk once
or those of some batches pass it in each epoch. For that, rows pass in blocks of B rows, the last one filled up, and row
i has the place i mod B in its block, whichever rows the others are: then each block is computed by the same
instructions, and a product of matrices, which may round by the place of a row, finds it in the same place. Layers that
look across steps order the rows of a block by their lengths: with lengths, B is 1.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.graph import Graph
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.sparse import SparseRows
from ldl_cy.layers.base import layer_names
from ldl_cy.workspaces import PREDICT_ROWS

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Node
    from ldl_cy.network import Network

BLOCK_ROWS = 64                 # at most
BLOCK_BYTES = 1 << 21           # of a block's rows and outputs: rows in any order fill few or large blocks badly
GATHERED_BYTES = 1 << 24        # of rows that are copied to their places at a time


def changes_in_training(node: Node) -> bool:
    """Whether a node's weights are trained, or it computes other numbers in training than in inference."""
    kernel = node.kernel
    return node.trainable or (kernel is not None and (
        kernel.couples_rows or kernel.draws or kernel.calls_python))


def count_frozen(network: Network) -> int:
    """The number of layers at the beginning that a fit cannot change, 0 if none of them has weights.

    They have no trainable weights, draw no random numbers, use no statistics of the batch, and call no Python. What
    follows them has trainable weights.
    """
    entries = network.graph.parameters
    if not entries or entries[0].trainable or not network.trainable.any():
        return 0
    graph = Graph(network.dtype, network.input_shape)
    y = count = n_params = 0
    for layer, name in zip(network.layers, layer_names("Sequential", network.layers)):
        n_nodes = len(graph.nodes)
        y = graph.connect([layer], [name], y, "the input")
        if any(map(changes_in_training, graph.nodes[n_nodes:])):
            break
        count, n_params = count + 1, graph.n_params
    return count if n_params else 0


class Trunk:
    """The first layers of a network, and the network of the others.

    Parameters
    ----------
    network : Network
    count : int
        The number of layers, from ``count_frozen``.
    dtype : str
        In which it computes.
    n_threads : int

    Attributes
    ----------
    trained : Network
        The layers after the trunk, on the network's own numbers.
    rest : Network
        The same layers in ``dtype``: ``trained``, or a copy.
    size : int, numbers of a row's output
    n_changes : int
        How often the trunk's weights or statistics were found changed.
    """

    def __init__(self, network: Network, count: int, dtype: str, n_threads: int) -> None:
        self.source, self.trained = network.split(count)
        self.first, self.rest = network.astype(dtype).split(count)
        self.size, self.n_threads, self.n_changes = self.first.n_outputs, n_threads, 0
        self._seen = self.source.snapshot()
        self._workspaces: dict[int, Workspace] = {}
        row = (self.first.graph.sizes[0] + self.size) * self.first.vectors[0].itemsize
        self._most_rows = max(1, min(
            BLOCK_ROWS, BLOCK_BYTES // row, Plan(self.first.graph, False, PREDICT_ROWS).block_rows))

    def refresh(self) -> None:
        """Take over what has been written to the trunk's weights and statistics since the last call, by a callback."""
        now = self.source.vectors
        bits = f"u{now[0].itemsize}"
        # as ints: NaN is not equal to itself
        if all(np.array_equal(a.view(bits), b.view(bits)) for a, b in zip(now, self._seen)):
            return
        self._seen, self.n_changes = self.source.snapshot(), self.n_changes + 1
        if self.first is not self.source:
            theta, statistics = (a.astype(self.first.dtype) for a in self._seen)
            self.first.restore((theta, statistics))

    def outputs(self, rows: Any, lengths: np.ndarray | None, index: np.ndarray | None = None) -> np.ndarray:
        """The outputs of checked rows, (n, size).

        Parameters
        ----------
        rows : (n, n_in) array or SparseRows
        lengths : (n,) int32 or None
        index : (m,) ints, default=None
            The rows wanted, in this order; None is all of them.
        """
        n_rows = self._block_rows(lengths)
        if index is None:
            return self._in_order(rows, lengths, n_rows)
        filled, slots = in_places(index, n_rows)
        out = np.empty((len(filled), self.size), self.first.dtype)
        width = rows.shape[1] * rows.dtype.itemsize
        step = max(1, GATHERED_BYTES // max(1, width * n_rows)) * n_rows
        for start in range(0, len(filled), step):
            part = filled[start:start + step]
            self._pass(take_rows(rows, part), None if lengths is None else lengths[part], n_rows,
                       out[start:start + step])
        return out[slots]

    def _in_order(self, rows: Any, lengths: np.ndarray | None, n_rows: int) -> np.ndarray:
        """All rows, read in place but for those of the last block."""
        n = len(rows)
        out = np.empty((n, self.size), self.first.dtype)
        whole = n // n_rows * n_rows
        if whole:
            self._pass(rows[:whole], None if lengths is None else lengths[:whole], n_rows, out[:whole])
        if whole < n:
            last = np.minimum(np.arange(whole, whole + n_rows), n - 1)
            filled = np.empty((n_rows, self.size), self.first.dtype)
            self._pass(take_rows(rows, last), None if lengths is None else lengths[last], n_rows, filled)
            out[whole:] = filled[:n - whole]
        return out

    def _block_rows(self, lengths: np.ndarray | None) -> int:
        """B, a function of the network and of whether there are lengths."""
        graph = self.first.graph
        if lengths is not None and any(node.kernel is not None and node.kernel.uses_lengths for node in graph.nodes):
            return 1
        return self._most_rows

    def _pass(self, rows: Any, lengths: np.ndarray | None, n_rows: int, out: np.ndarray) -> None:
        """out (m, size) of m rows, a multiple of ``n_rows``."""
        ws = self._workspaces.get(n_rows)
        if ws is None:
            ws = self._workspaces[n_rows] = Workspace(
                Plan(self.first.graph, False, PREDICT_ROWS, block_rows=n_rows), self.n_threads)
        with self.first.pool(ws, len(rows)) as pool:
            ws.predict(rows, out, *self.first.vectors, pool, lengths, self.first.version)


def in_places(index: np.ndarray, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(filled, slots): blocks in which row i has the place i mod ``n_rows``, and where each of ``index`` is in them.

    Places for which no row is left are filled with one that is there anyway.
    """
    places = index % n_rows
    order = np.argsort(places, kind="stable")
    counts = np.bincount(places, minlength=n_rows)
    first = np.cumsum(counts) - counts
    slots = np.empty(len(index), np.intp)
    # the j-th row of those with a place is in block j
    slots[order] = (np.arange(len(index)) - first[places[order]]) * n_rows + places[order]
    filled = np.full(counts.max() * n_rows, index[0], np.intp)
    filled[slots] = index
    return filled, slots


def take_rows(rows: Any, index: np.ndarray) -> Any:
    """The rows of an array or of SparseRows at ``index``, copied."""
    if not isinstance(rows, SparseRows):
        return rows[index]
    starts, counts = rows.indptr[index], rows.indptr[index + 1] - rows.indptr[index]
    indptr = np.zeros(len(index) + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    entries = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
    return SparseRows(rows.data[entries], rows.indices[entries], indptr, rows.shape[1])
