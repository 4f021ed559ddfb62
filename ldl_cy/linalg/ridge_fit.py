"""Ridge regression in passes over rows, which are read block by block, wherever they are.

The numbers are in ``ridge.py``; here is which sums are made of which rows, and in which order parts of them are added.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.linalg import lapack

from ldl_cy.linalg.ridge import Block, Decomposition, Moments, Solution, Triangle, mean, weighted

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks


class RidgeRows(Protocol):
    """The rows of a ridge regression. Each method reads all of them once.

    Attributes
    ----------
    n, m, k : int, rows, features and targets
    """

    n: int
    m: int
    k: int

    def moments(self) -> Moments:
        """The normal equations."""

    def triangle(self) -> Triangle:
        """The triangle of a QR decomposition."""

    def errors(self, found: Decomposition, alphas: Sequence[float]) -> np.ndarray:
        """(len(alphas),): the squares of the leave-one-out errors √s_i (y_i − ŷ_i) over rows and targets."""

    def any(self, value: bool) -> bool:
        """Whether ``value`` is true in a process of those that share the rows and call all methods together."""


class RowBlocks:
    """Rows of one process; see ``RidgeRows``.

    Parameters
    ----------
    blocks : function without arguments
        Returns an iterable over the blocks, the same ones at each call.
    n, m, k : int
    """

    def __init__(self, blocks: Callable[[], Iterable[Block]], n: int, m: int, k: int) -> None:
        self.blocks, self.n, self.m, self.k = blocks, n, m, k

    def mean(self) -> np.ndarray | None:
        """The mean (m + k,) of the first block in which a row has a weight; None if there is none."""
        return next((mean(rows) for rows in map(weighted, self.blocks()) if len(rows)), None)

    def moments(self, shift: np.ndarray | None = None) -> Moments:
        """See ``RidgeRows`` and ``Moments``."""
        sums = Moments(self.m, self.k, shift)
        for block in self.blocks():
            sums.add(block)
        return sums

    def triangle(self, earlier: Triangle | None = None) -> Triangle:
        """See ``RidgeRows``; the rows are added to ``earlier`` ones, if there are any."""
        sums = Triangle(self.m, self.k) if earlier is None else earlier
        for block in self.blocks():
            sums = sums.added(block)
        return sums

    def errors(self, found: Decomposition, alphas: Sequence[float]) -> np.ndarray:
        """See ``RidgeRows``."""
        squares = np.zeros(len(alphas))
        for block in self.blocks():
            squares += [float(np.vdot(errors, errors)) for errors in found.left_out(block, alphas)]
        return squares

    def any(self, value: bool) -> bool:
        """The value."""
        return value


class RankRows:
    """Rows of all ranks; see ``RidgeRows``. The sums over the shards are added in the tree's order.

    Parameters
    ----------
    parts : list of RowBlocks, for this rank's shards
    ranks : Ranks

    Attributes
    ----------
    n : int, rows of all ranks
    m, k : int
    """

    def __init__(self, parts: Sequence[RowBlocks], ranks: Ranks) -> None:
        self.parts, self.ranks, self.m, self.k = parts, ranks, parts[0].m, parts[0].k
        self.n = int(ranks.sum(np.array([part.n], float) for part in parts)[0])

    def moments(self) -> Moments:
        """See ``RidgeRows``; the shift is the mean of the first block of all."""
        means = self.ranks.all(next((m for m in (part.mean() for part in self.parts) if m is not None), None))
        shift = next((m for m in means if m is not None), None)
        return unpacked(self.ranks.sum(packed(part.moments(shift)) for part in self.parts), self.m, self.k, shift)

    def triangle(self) -> Triangle:
        """See ``RidgeRows``; of two parts the triangles are decomposed again, one below the other."""
        ranks, m, k = self.ranks, self.m, self.k
        own = ranks.own_nodes((part.triangle() for part in self.parts), Triangle.merged)
        r = ranks.concatenate(np.concatenate([node.r for node in own]))
        nodes, start = [], 0
        for rows, n in (pair for pairs in ranks.all([(len(node.r), node.n) for node in own]) for pair in pairs):
            nodes.append(Triangle(m, k, n, r[start:start + rows]))
            start += rows
        return ranks.root(nodes, Triangle.merged)

    def errors(self, found: Decomposition, alphas: Sequence[float]) -> np.ndarray:
        """See ``RidgeRows``."""
        return self.ranks.sum(part.errors(found, alphas) for part in self.parts)

    def any(self, value: bool) -> bool:
        """See ``RidgeRows``."""
        return self.ranks.any(value)


def packed(moments: Moments) -> np.ndarray:
    """The sums as a vector, which may be added to those of other rows with the same shift."""
    return np.concatenate([[float(moments.n)], lapack.dtrttp(moments.sums, uplo="L")[0]])


def unpacked(found: np.ndarray, m: int, k: int, shift: np.ndarray | None) -> Moments:
    """The moments of all rows, from a sum of ``packed``."""
    sums = Moments(m, k, shift)
    sums.n, sums.sums = int(found[0]), np.asfortranarray(lapack.dtpttr(1 + m + k, found[1:], uplo="L")[0])
    return sums


def fit_rows(
    rows: RidgeRows, alphas: Sequence[float], *, left_out: bool,
) -> tuple[Moments | Triangle, Solution, float, float | None]:
    """Solve for one α, or for the best of several.

    One pass adds the normal equations. Where these are too ill conditioned for the smallest α, or where there are
    fewer rows than 2 (1 + m + k), a pass with QR decompositions takes their place. With ``left_out`` another pass
    computes the leave-one-out errors of all rows.

    Parameters
    ----------
    rows : RidgeRows
    alphas : floats >= 0, > 0 with ``left_out``
    left_out : bool
        Whether to choose the α of the smallest mean squared leave-one-out error √s_i (y_i − ŷ_i), the first one of
        several; otherwise the first α is taken.

    Returns
    -------
    sums : Moments or Triangle
    solution : Solution
    alpha : float
    score : float or None
        Minus the mean squared leave-one-out error over rows and targets; None without ``left_out``.

    Raises
    ------
    FloatingPointError
        Sums over the rows are not finite.
    """
    sums: Moments | Triangle
    found: Any = None
    if rows.n >= 2 * (1 + rows.m + rows.k):
        sums = rows.moments()
        # squares overflow where the rows themselves do not
        if sums.shift is not None and np.isfinite(sums.sums).all():
            found = sums.decompose(min(alphas)) if left_out else sums.solve(alphas[0])
    # processors of several kinds may round, and so decide, differently
    if rows.any(found is None):
        sums = rows.triangle()
        sums.check_finite()
        found = sums.decompose() if left_out else sums.solve(alphas[0])
    if not left_out:
        return sums, found, alphas[0], None
    squares = rows.errors(found, alphas)
    best = int(np.argmin(squares))
    return sums, found.solve(alphas[best]), alphas[best], -float(squares[best]) / (rows.n * rows.k)
