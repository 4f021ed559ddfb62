"""Forward passes of a network: outputs, losses, and the output of every layer."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.checks import check_int
from ldl_cy.threads import choose_threads

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.distributed import Ranks
    from ldl_cy.network import Network

OWNER = "Sequential"


def predict(network: Network, X: Any, lengths: Any, batch_size: int | None, n_threads: int | None) -> np.ndarray:
    """The last layer's raw output, with all checks; see ``Sequential.predict``."""
    if n_threads is None and lengths is None and batch_size is None and network.fast_path.predictor is not None:
        out = network.fast_path.predictor.predict(X, choose_threads(OWNER, None))
        if out is not None:
            return out
    rows = network.check_rows("X", X, lengths)
    n = len(rows)
    lengths = network.check_lengths(lengths, n)
    size = check_int(OWNER, "batch_size", batch_size) if batch_size is not None else n
    threads = choose_threads(OWNER, n_threads)
    network.fast_path.prepare(n, threads)
    return outputs(network, rows, lengths, threads, size)


def outputs(
    network: Network, rows: Any, lengths: np.ndarray | None, n_threads: int, batch_size: int | None = None,
) -> np.ndarray:
    """The last layer's raw output, (n, *output_shape), for checked rows and lengths."""
    n = len(rows)
    size = n if batch_size is None else batch_size
    with network.workspace(size, n_threads) as ws, network.pool(ws, n) as pool:
        out, (theta, statistics) = np.empty((n, *network.output_shape), network.dtype), network.vectors
        flat = out.reshape(n, -1)
        if ws.plan.whole:
            size = min(size, ws.plan.capacity)
        for start in range(0, n, size):
            part = slice(start, start + size)
            ws.predict(rows[part], flat[part], theta, statistics, pool, None if lengths is None else lengths[part],
                       network.version)
    return out


def evaluate(network: Network, data: Data, n_threads: int, ranks: Ranks | None = None) -> float:
    """The mean loss Σ wᵢ lᵢ / Σ wᵢ over checked data."""
    total, weight = loss_sums(network, data, n_threads, ranks)
    return total / weight


def loss_sums(network: Network, data: Data, n_threads: int, ranks: Ranks | None = None) -> tuple[float, float]:
    """Σ wᵢ lᵢ and Σ wᵢ over checked data; with ranks those of all of them, to which each gives its shards' sums."""
    if ranks is not None:
        parts = (data.part(rows.start, rows.stop - rows.start) for rows in ranks.own_parts(data.n))
        total, weight = ranks.sum(np.array(loss_sums(network, part, n_threads)) for part in parts).tolist()
        return total, weight
    total = weight = 0.0
    if not data.n:
        return total, weight
    with network.workspace(data.n, n_threads, loss_size=data.loss_op.target_size) as ws, \
            network.pool(ws, data.n) as pool:
        size = ws.plan.capacity if ws.plan.whole else data.n
        for start in range(0, data.n, size):
            part = data.part(start, size)
            losses, weights = ws.evaluate(part.rows, part.targets, part.weights, *network.vectors, part.loss_op, pool,
                                          part.lengths, network.version)
            total, weight = total + losses, weight + weights
    return total, weight


def trace(network: Network, X: Any) -> dict[str, np.ndarray]:
    """The output of every layer, by layer name; see ``Sequential.trace``."""
    graph = network.graph
    rows = network.check_rows("X", X)
    kept = tuple(sorted({graph.buffers[v] for v in graph.outputs.values()} - {0}))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    with network.workspace(len(rows), 1, keep=kept) as ws, network.pool(ws, 1) as pool:
        for start in range(0, len(rows), ws.plan.capacity):
            part = np.ascontiguousarray(rows[start:start + ws.plan.capacity], network.dtype)
            ws.predict(part, None, *network.vectors, pool, version=network.version)
            for name, v in graph.outputs.items():
                buffer = graph.buffers[v]
                values = ws.kept(buffer, len(part)) if buffer else part
                parts[name].append(values.reshape(len(part), *graph.shapes[v]))
    return {name: np.concatenate(p) for name, p in parts.items()}
