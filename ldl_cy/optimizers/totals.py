"""Totals: where an objective gets its sums over all rows from, wherever the rows are."""
from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ldl_cy.optimizers.row_sums import RowSums
from ldl_cy.workspaces import Borrower

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.distributed import Ranks
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network


class Totals(Protocol):
    """A source of sums over all rows, parts of which may be elsewhere, each with a ``RowSums`` there.

    A sum is added in an order that does not depend on where the parts are, so that it always has the same bits:
    ``distributed.shards.tree_sum`` of the parts in their order. ``with totals:`` encloses all sums but "weight".

    Attributes
    ----------
    total_weight : float
        The sum of "weight", which ``Objective`` sets before it asks for others: that of every part's ``RowSums``.
    """

    total_weight: float

    def total(self, name: str, *arguments: np.ndarray) -> np.ndarray:
        """The sum over all parts of the vectors of a method of ``RowSums``.

        Parameters
        ----------
        name : {"weight", "value", "value_and_grad", "gauss_newton", "curvature_product"}
        arguments : the method's, float64 vectors of the trainable weights' length: θ, or θ and v, or none
            They may be views that change after the call.

        Returns
        -------
        float64 array with one axis
        """

    def __enter__(self) -> Any:
        """Borrow what sums need, as ``RowSums`` does."""

    def __exit__(self, *exc: Any) -> None:
        """Return it, whatever has happened."""


class OwnRows(Borrower):
    """Sums over the rows of this process or, with ranks, over the shards of all of them; see ``Totals``.

    Parameters
    ----------
    network, data, loss, n_threads : see ``RowSums``
    ranks : Ranks or None
        All of them make the same calls. ``data`` are what this rank was given: all rows, or its own.

    Attributes
    ----------
    parts : list of RowSums, for this rank's shards, or one
    rows : list of slices, the rows of the parts among this process's
    """

    def __init__(self, network: Network, data: Data, loss: Loss, n_threads: int, ranks: Ranks | None) -> None:
        self.ranks = ranks
        rows = [slice(0, data.n)] if ranks is None else ranks.own_parts(data.n)
        self.parts = [RowSums(network, data.part(s.start, s.stop - s.start), loss, n_threads) for s in rows]
        first = rows[0].start
        self.rows = [slice(s.start - first, s.stop - first) for s in rows]

    @property
    def total_weight(self) -> float:
        """The weight of all rows."""
        return self.parts[0].total_weight or self.parts[0].own_weight

    @total_weight.setter
    def total_weight(self, weight: float) -> None:
        if self.ranks is not None:
            for part in self.parts:
                part.total_weight = weight

    def borrow(self) -> Generator[None, None, None]:
        """Threads and, without ranks, workspaces; shards of one size use the same ones, one after another.

        A pool holds BLAS at one thread: what is computed from the sums is the same for any number of processors.
        """
        if self.ranks is None:
            with self.parts[0]:
                yield
            return
        with max(self.parts, key=lambda part: part.data.n).threads() as pool:
            for part in self.parts:
                part.pool = pool
            yield

    def each(self, name: str, *arguments: np.ndarray, cut: Sequence[np.ndarray] = ()) -> Iterator[np.ndarray]:
        """What a method of ``RowSums`` returns for each part, one after another.

        Arrays in ``cut`` have a row for each of this process's, and are further arguments.
        """
        for part, rows in zip(self.parts, self.rows):
            given = *arguments, *(array[rows] for array in cut)
            if self.ranks is None or name == "weight":
                yield getattr(part, name)(*given)
            else:
                with part:
                    yield getattr(part, name)(*given)

    def total(self, name: str, *arguments: np.ndarray, cut: Sequence[np.ndarray] = ()) -> np.ndarray:
        """See ``Totals``, and ``each``."""
        values = self.each(name, *arguments, cut=cut)
        return next(values) if self.ranks is None else self.ranks.sum(values)

    def joined(self, name: str, *arguments: np.ndarray, cut: Sequence[np.ndarray] = ()) -> np.ndarray:
        """What the method returns for all rows of this process; see ``each``."""
        found = list(self.each(name, *arguments, cut=cut))
        return found[0] if len(found) == 1 else np.concatenate(found)
