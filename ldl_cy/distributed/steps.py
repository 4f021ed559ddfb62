"""RankSteps: which rows of an epoch's steps are a rank's, in which of its shards, and at which places in the batch."""
from __future__ import annotations

from functools import cached_property

import numpy as np

from ldl_cy._engine.collectives import Exchange
from ldl_cy._engine.rng import PERMUTATION, Stream
from ldl_cy.distributed.ranks import Ranks
from ldl_cy.distributed.shards import cut


class RankSteps:
    """The steps of an epoch over the rows of all ranks.

    With ``rows="all"`` a step's batch is the next ``batch_size`` rows of an order of all rows, and shard s has its rows
    from s L to (s + 1) L, where L is the batch size divided by the number of shards, rounded up. With ``rows="local"``
    the rows of each rank are cut into its shards once. There are as many steps as batches in all rows, but no more
    than the largest shard has rows, and of T steps, step t takes the rows from t m // T to (t + 1) m // T of a shard of
    m rows.

    Parameters
    ----------
    ranks : Ranks
    n : int
        Rows that this rank was given.
    batch_size : int
        Rows of a step, on all ranks.

    Attributes
    ----------
    total : int, rows of all ranks
    counts : (steps, shards) int64, rows of each shard in each step
    rows_of_shard : int, the most rows of a shard in a step
    """

    def __init__(self, ranks: Ranks, n: int, batch_size: int) -> None:
        self.ranks, self.n = ranks, n
        sizes = np.array(ranks.all(n) if ranks.local else [n])
        self.total = int(sizes.sum())
        batches = max(1, -(-self.total // batch_size))
        if ranks.local:
            own = [np.diff(cut(int(size), k)) for size, k in zip(sizes, ranks.shards_of_ranks)]
            of_shards = np.concatenate(own)
            steps = min(batches, int(of_shards.max()))
            self._own = own[ranks.rank]
            edges = np.arange(steps + 1)[:, None] * of_shards // steps
            self.counts = np.diff(edges, axis=0)
        else:
            most = -(-batch_size // ranks.shards)
            rows = np.minimum(batch_size, n - batch_size * np.arange(batches))
            self.counts = np.clip(rows[:, None] - most * np.arange(ranks.shards), 0, most)
        self.rows_of_shard = int(self.counts.max())

    @property
    def n_steps(self) -> int:
        """The number of steps of an epoch."""
        return len(self.counts)

    @cached_property
    def cuts(self) -> np.ndarray:
        """Where the rows of each of this rank's shards begin, among its rows of the step: (steps, own shards + 1)."""
        found = np.zeros((self.n_steps, self.ranks.last - self.ranks.first + 1), np.int64)
        np.cumsum(self.counts[:, self.ranks.first:self.ranks.last], axis=1, out=found[:, 1:])
        return found

    @cached_property
    def offsets(self) -> np.ndarray:
        """Rows of the batch before this rank's, (steps,)."""
        return np.ascontiguousarray(self.counts[:, :self.ranks.first].sum(axis=1))

    @cached_property
    def _places(self) -> np.ndarray:
        """The places of the rows that this rank reads in an order, step by step."""
        own = self.counts[:, self.ranks.first:self.ranks.last]
        if self.ranks.local:            # shard by shard; in a shard one step after another
            first = self._own.cumsum() - self._own + own.cumsum(axis=0) - own
        else:                           # step by step; in a step one shard after another
            rows = self.counts.sum(axis=1)
            first = (rows.cumsum() - rows + self.offsets)[:, None] + self.cuts[:, :-1]
        counts = own.ravel()
        return np.arange(int(counts.sum())) + np.repeat(first.ravel() - (counts.cumsum() - counts), counts)

    def order(self, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
        """The order of the rows that this rank was given, in an epoch: of all rows, or of those of each shard."""
        if not self.ranks.local:
            return Stream(seed, PERMUTATION, epoch).permutation(self.n) if shuffle else np.arange(self.n)
        firsts = self._own.cumsum() - self._own
        return np.concatenate([
            first + (Stream(seed, PERMUTATION, epoch, shard).permutation(m) if shuffle else np.arange(m))
            for shard, (first, m) in enumerate(zip(firsts.tolist(), self._own.tolist()), self.ranks.first)])

    def own(self, order: np.ndarray) -> np.ndarray:
        """The rows that this rank reads, step by step, from an ``order``."""
        return np.ascontiguousarray(order[self._places])

    def weights(self, weights: np.ndarray | None, order: np.ndarray) -> np.ndarray:
        """The sum of the weights of each step's batch, (steps,), the same on all ranks.

        Parameters
        ----------
        weights : (n,) array or None
        order : (n,) ints
        """
        rows = self.counts.sum(axis=1)
        if weights is None:
            return rows.astype(float)
        if not self.ranks.local:
            return np.add.reduceat(weights[order].astype(float), rows.cumsum() - rows)
        # of each shard in each step, by differences of places in its order; a shard may have no rows in a step
        sums = np.zeros((len(self._own), self.n_steps))
        firsts = self._own.cumsum() - self._own
        for shard, (first, m) in enumerate(zip(firsts.tolist(), self._own.tolist())):
            own, counts = weights[order[first:first + m]].astype(float), self.counts[:, self.ranks.first + shard]
            some = counts > 0
            if m:
                sums[shard, some] = np.add.reduceat(own, (counts.cumsum() - counts)[some])
        return self.ranks.concatenate(sums).sum(axis=0)

    def exchange(self, weights: np.ndarray) -> Exchange:
        """The messages of an epoch's steps, whose batches have these sums of weights."""
        return self.ranks.exchange(self.cuts, self.offsets, weights)
