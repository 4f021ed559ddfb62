"""What a fit reads: rows, targets, weights and lengths, checked before any work."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldl_cy import losses, optimizers
from ldl_cy.checks import as_numbers, check_int, check_lengths, check_rows, check_weights
from ldl_cy.sparse import is_sparse

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.models import Sequential

OWNER = "Sequential"


class Samples(NamedTuple):
    """Checked data of n samples, and the loss bound to them."""

    rows: Any
    targets: np.ndarray
    weights: np.ndarray | None
    lengths: np.ndarray | None
    kernel: Any                     # of the loss

    @property
    def n(self) -> int:
        return len(self.rows)


def check_samples(
    model: Sequential, graph: Graph | None, name: str, X: Any, y: Any, sample_weight: Any, lengths: Any,
    loss: losses.Loss, dtype: str,
) -> tuple[Graph, Samples]:
    """The samples, and the network they were checked against: that given, or one made for their shape."""
    rows = check_rows(OWNER, name, X, None if graph is None else graph.input_shape, model.dtype)
    if graph is None:
        graph = model._make_graph(tuple(np.shape(X)[1:]))
    weights = check_weights(OWNER, sample_weight, len(rows), dtype)
    for layer in graph.input_checks:
        layer.check_input(rows)
    targets, kernel = loss.bind(y, len(rows), graph.shapes[-1], dtype)
    ends = check_lengths(OWNER, lengths, len(rows), graph.steps[0], model._length_fault(graph, kernel))
    return graph, Samples(rows, targets, weights, ends, kernel)


def choose_batch_size(batch_size: Any, optimizer: optimizers.Optimizer, n: int) -> int:
    """The rows of a step; see ``Sequential.fit``."""
    if isinstance(batch_size, str) and batch_size in ("auto", "full"):
        return n if batch_size == "full" or optimizer.full_batch else min(32, n)
    if isinstance(batch_size, str):
        raise ValueError(f"Sequential: batch_size must be an int >= 1, 'auto' or 'full', got {batch_size!r}.")
    size = check_int("Sequential", "batch_size", batch_size)
    if optimizer.full_batch:
        raise ValueError(f"Sequential: batch_size must be 'auto' or 'full' with {type(optimizer).__name__}, "
                         f"which takes the full batch, got {batch_size}.")
    return min(size, n)


def split_validation(
    data: tuple[Any, Any, Any, Any], validation_data: Any, share: float,
) -> tuple[tuple[Any, Any, Any, Any], tuple[Any, Any, Any, Any] | None]:
    """Both parts of (X, y, sample_weight, lengths); the second is None without validation."""
    if validation_data is not None:
        if share:
            raise ValueError("Sequential: validation_split must be 0 with validation_data, got both.")
        if not isinstance(validation_data, (tuple, list)) or not 2 <= len(validation_data) <= 4:
            raise TypeError("Sequential: validation_data must be (X, y), (X, y, sample_weight) or "
                            f"(X, y, sample_weight, lengths), got {type(validation_data).__name__}.")
        X, y, weights, lengths = (*validation_data, None, None)[:4]
        return data, (X, y, weights, lengths)
    if not share:
        return data, None
    arrays = [None if a is None else a.tocsr() if is_sparse(a) else as_numbers(OWNER, name, a)
              for name, a in zip(("X", "y", "sample_weight", "lengths"), data)]
    for a in arrays:
        if a is not None and a.ndim == 0:
            raise ValueError(f"{OWNER}: validation_split needs arrays of rows, got the number {a}.")
    rows = np.shape(arrays[0])[0]           # type: ignore[arg-type]
    n = rows - max(1, round(share * rows))
    if n < 1:
        raise ValueError(f"Sequential: validation_split must leave a row to train on, got {share} of {rows}.")
    first = tuple(None if a is None else a[:n] for a in arrays)
    second = tuple(None if a is None else a[n:] for a in arrays)
    return first, second                    # type: ignore[return-value]
