"""Features: the rows of a fit after a frozen trunk, kept for the whole fit or computed when they are needed."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.loss import LossKernel
from ldl_cy._engine.whole import WholeEpoch
from ldl_cy.available import available_bytes
from ldl_cy.data import Data
from ldl_cy.inference import loss_sums, outputs
from ldl_cy.training.trunk import Trunk, count_frozen

if TYPE_CHECKING:
    from ldl_cy._engine.pool import Pool
    from ldl_cy._engine.program import Workspace
    from ldl_cy.network import Network
    from ldl_cy.training.steps import Stepper

SHARE = 0.5                     # of the available memory that kept features may take
CHUNK_BYTES = 1 << 26           # of rows and features, where the features of all rows are not in memory at a time
EVALUATED_BYTES = 1 << 26       # of features that are evaluated at a time: sums have one order, kept or not


class Features:
    """What the rows of checked data become in a trunk.

    Parameters
    ----------
    trunk : Trunk
    data : Data
        For the whole network, with targets in the trunk's dtype.
    kept : bool
        Whether the features of all rows are computed only once, as long as the trunk's numbers stay the same.
    """

    def __init__(self, trunk: Trunk, data: Data, kept: bool) -> None:
        self.trunk, self.kept = trunk, kept
        self._given = data
        # for the rest there are no lengths once the steps are gone
        self._data = data if trunk.rest.graph.steps[0] else data._replace(lengths=None)
        self._found: np.ndarray | None = None
        self._n_changes = 0

    @property
    def n(self) -> int:
        """The number of rows."""
        return self._given.n

    def all(self) -> Data:
        """The data for the rest of the network, in their order."""
        trunk, given = self.trunk, self._given
        trunk.refresh()
        found = self._found
        if found is None or not self.kept:
            found = trunk.outputs(given.rows, given.lengths)
        elif self._n_changes != trunk.n_changes:
            # in place: data that were handed out hold this array
            found[...] = trunk.outputs(given.rows, given.lengths)
        self._found, self._n_changes = found if self.kept else None, trunk.n_changes
        return self._data._replace(rows=found)

    def chosen(self, index: np.ndarray) -> Data:
        """Those of the rows ``index``, in this order; the caller refreshes the trunk."""
        data, rows = self._data, self.trunk.outputs(self._given.rows, self._given.lengths, index)
        weights, lengths = (None if part is None else part[index] for part in (data.weights, data.lengths))
        return Data(rows, data.targets[index], weights, lengths, data.loss_op)

    def rows_of_chunk(self, batch_size: int) -> int:
        """A multiple of the batch size whose rows and features take about ``CHUNK_BYTES``, or of one batch."""
        row = self.trunk.size * self.trunk.rest.vectors[0].itemsize
        row += self._given.rows.shape[1] * self._given.rows.dtype.itemsize
        return max(1, CHUNK_BYTES // row // batch_size) * batch_size

    def parts(self) -> Iterator[Data]:
        """The data for the rest of the network, some rows at a time: the same ones whether features are kept or not."""
        data = self.all() if self.kept else None
        self.trunk.refresh()
        step = max(1, EVALUATED_BYTES // (self.trunk.size * self.trunk.rest.vectors[0].itemsize))
        for start in range(0, self.n, step):
            yield data.part(start, step) if data is not None else self.chosen(
                np.arange(start, min(self.n, start + step)))

    def evaluate(self, n_threads: int) -> float:
        """The mean loss Σ wᵢ lᵢ / Σ wᵢ of the rest of the network."""
        total = weight = 0.0
        for part in self.parts():
            sums = loss_sums(self.trunk.rest, part, n_threads)
            total, weight = total + sums[0], weight + sums[1]
        return total / weight

    def outputs(self, n_threads: int) -> np.ndarray:
        """The raw outputs of the rest of the network, (n, *output_shape)."""
        return np.concatenate([outputs(self.trunk.rest, part.rows, part.lengths, n_threads) for part in self.parts()])


def are_kept(trunk: Trunk, n: int, cache_features: bool | str) -> bool:
    """Whether the features of n rows are kept: see ``Sequential.fit``."""
    if isinstance(cache_features, bool):
        return cache_features
    return n * trunk.size * trunk.rest.vectors[0].itemsize <= SHARE * available_bytes()


def repeated_outputs(
    network: Network, rows: Any, lengths: np.ndarray | None, n_threads: int, cache_features: bool | str,
) -> Callable[[], np.ndarray]:
    """A function that computes the raw outputs of checked rows, with the weights that the network has at each call."""
    count = count_frozen(network)
    if not count:
        return lambda: outputs(network, rows, lengths, n_threads)
    trunk, n = Trunk(network, count, network.dtype, n_threads), len(rows)
    # neither targets nor a loss are read
    data = Data(rows, np.zeros((n, 0), network.dtype), None, lengths, LossKernel())
    features = Features(trunk, data, are_kept(trunk, n, cache_features))
    return lambda: features.outputs(n_threads)


def run_in_chunks(
    stepper: Stepper, ws: Workspace, pool: Pool, features: Features, order: np.ndarray, batch_size: int,
) -> np.ndarray:
    """One epoch on features that are computed for some batches at a time, and (its mean loss,); or none of it."""
    rows, carried = features.rows_of_chunk(batch_size), np.zeros(2)
    features.trunk.refresh()
    with WholeEpoch(stepper.network, stepper.state):
        with stepper.swap_averaged_weights():
            for start in range(0, features.n, rows):
                part = features.chosen(order[start:start + rows])
                _, reason, _ = stepper.run(ws, pool, part, batch_size, 1, partial=True, carried=carried)
                stepper.check_finite(reason)
        stepper.state.count(epochs=1)
    return carried[:1] / carried[1]
