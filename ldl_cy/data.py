"""Training and validation data: rows, targets, weights and lengths, checked once, before any computation."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldl_cy.checks import as_numbers, check_weights, read_rows, zero_tails
from ldl_cy.layers.activation import ALIASES
from ldl_cy.layers.base import layer_names, output_activations
from ldl_cy.losses import get as get_loss
from ldl_cy.sparse import as_csr, is_sparse
from ldl_cy.threads import choose_threads

if TYPE_CHECKING:
    from ldl_cy._engine.loss import LossKernel
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network

OWNER = "Sequential"

Arrays = tuple[Any, Any, Any, Any]              # X, y, sample_weight, lengths as the caller passed them


class Data(NamedTuple):
    """Checked data of n samples, and their loss.

    Attributes
    ----------
    rows : (n, n_in) array, or SparseRows
    targets : (n, target_size) array
    weights : (n,) array or None
    lengths : (n,) int32 or None
    loss_op : LossKernel for targets of this shape
    """

    rows: Any
    targets: np.ndarray
    weights: np.ndarray | None
    lengths: np.ndarray | None
    loss_op: LossKernel

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.rows)

    @property
    def total_weight(self) -> float:
        """The sum of the weights; n if there are none."""
        return float(self.n) if self.weights is None else float(self.weights.sum(dtype=float))

    def part(self, start: int, size: int) -> Data:
        """Samples ``start`` to ``start + size``, as views."""
        rows = slice(start, start + size)
        weights, lengths = (None if a is None else a[rows] for a in (self.weights, self.lengths))
        return Data(self.rows[rows], self.targets[rows], weights, lengths, self.loss_op)


def validate_data(
    network: Network, name: str, X: Any, y: Any, sample_weight: Any, lengths: Any, loss: Loss, dtype: str,
    weightless: bool = False, own: Callable[[int], slice] | None = None,
) -> Data:
    """Check data against a network and a loss; targets and weights are converted to ``dtype``.

    Parameters
    ----------
    network : Network
    name : str
        What X is called in error messages.
    X : array of shape (n, *input_shape), or a SciPy sparse matrix
    y : targets, see the loss
    sample_weight : (n,) numbers >= 0, or None
    lengths : (n,) ints, or None
    loss : Loss
    dtype : str
    weightless : bool, default=False
        Whether all weights may be zero.
    own : function of n, default=None
        Which rows of X are read; None is all.

    Returns
    -------
    Data

    Raises
    ------
    ValueError, TypeError
        The data do not fit the network, the loss or each other.
    """
    rows = network.check_rows(name, X, lengths, own)
    weights = check_weights(OWNER, sample_weight, len(rows), dtype, weightless)
    if lengths is not None and network.graph.steps[-1] == network.graph.steps[0]:
        y = zero_tails(y, lengths)              # targets after each step
    targets, loss_op = loss.encode_targets(y, len(rows), network.output_shape, dtype)
    return Data(rows, targets, weights, network.check_lengths(lengths, len(rows), loss_op), loss_op)


def check_last_layer(network: Network, loss: Loss) -> None:
    """Raise a ValueError if the outputs have passed an activation that is part of the loss."""
    for last, name in output_activations(network.layers, layer_names(OWNER, network.layers), {}).items():
        if ALIASES.get(last, last) in loss.applied_activations:
            raise ValueError(f"{loss.name}: the last layer must give raw outputs, since the loss applies "
                             f"{last} itself; drop activation={last!r} from layer {name!r}.")


def bind_data(
    network: Network, X: Any, y: Any, loss: str | Loss, sample_weight: Any, lengths: Any, n_threads: int | None,
) -> tuple[Data, int]:
    """Data for one evaluation of the loss, checked, and the number of threads that can work on it."""
    loss = get_loss(loss)
    check_last_layer(network, loss)
    data = validate_data(network, "X", X, y, sample_weight, lengths, loss, network.dtype)
    threads = choose_threads(OWNER, n_threads)
    return data, 1 if data.loss_op.python else threads


def split_validation(
    data: Arrays, validation_data: Any, share: float, parts: Callable[[int], list[slice]] | None = None,
) -> tuple[Arrays, Arrays | None]:
    """(training data, validation data or None); see ``Sequential.fit``.

    ``parts``, a function of the number of rows, are those of whose ends a share is held out; None is one of all rows.
    """
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
    arrays = read_arrays(OWNER, data)
    rows = arrays[0].shape[0]
    for name, array in zip(("y", "sample_weight", "lengths"), arrays[1:]):
        if array is not None and array.shape[:1] != (rows,):
            raise ValueError(f"{OWNER}: {name} must have as many rows as X, {rows}, got the shape {array.shape}.")
    if parts is not None:
        return split_parts(arrays, share, parts(rows))
    n = rows - max(1, round(share * rows))
    if n < 1:
        raise ValueError(f"Sequential: validation_split must leave a row to train on, got {share} of {rows}.")
    first = tuple(None if a is None else a[:n] for a in arrays)
    second = tuple(None if a is None else a[n:] for a in arrays)
    return first, second                    # type: ignore[return-value]


def split_parts(arrays: Arrays, share: float, parts: list[slice]) -> tuple[Arrays, Arrays]:
    """Copies of the rows that are trained on, and of those that are held out of each part's end."""
    held = np.zeros(arrays[0].shape[0], bool)
    for part in parts:
        n = part.stop - part.start
        held[part.stop - round(share * n):part.stop] = True
    if held.all() or not held.any():
        raise ValueError("Sequential: validation_split must hold out a row of a shard, and leave a row to train on, "
                         f"got {share} of {held.size} rows in {len(parts)} shards.")
    first, second = (tuple(None if a is None else a[chosen] for a in arrays) for chosen in (~held, held))
    return first, second                    # type: ignore[return-value]


def read_arrays(owner: str, data: Arrays) -> Arrays:
    """X, y, sample_weight and lengths as arrays; None stays None, but for X. A sparse X becomes CSR.

    Neither their shapes, except that X has rows, nor their values are checked.
    """
    X = read_rows(owner, "X", data[0])
    others = (None if given is None else as_numbers(owner, name, given)
              for name, given in zip(("y", "sample_weight", "lengths"), data[1:]))
    return as_csr(f"{owner}: X", X) if is_sparse(X) else X, *others
