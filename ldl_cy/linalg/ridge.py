"""Ridge regression from sums over blocks of rows, and its exact leave-one-out errors.

For rows h_i (m,), targets y_i (k,) and weights s_i >= 0, with a free intercept b,

    minimise over w (m, k), b (k,):   Σ s_i ‖y_i − h_i w − b‖² + α ‖w‖²

Let S = Σ s_i, and h̄, ȳ the weighted means. Then b = ȳ − h̄ w, and w solves the problem of the centred, scaled rows
√s_i (h_i − h̄), √s_i (y_i − ȳ), of which X (n, m) and Z (n, k) are made:

    (XᵀX + α I) w = Xᵀ Z

There are two kinds of sums, which take one block of rows after another and need memory for (1 + m + k)² numbers:

    Moments     XᵀX, XᵀZ: the normal equations. Half the work, but rounding errors grow with the square of X's
                condition number
    Triangle    R of a QR decomposition of the rows (√s_i, √s_i h_i, √s_i y_i), decomposed again with each block (TSQR:
                Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34, 2012). Errors grow with the condition number

Leave-one-out: with X = U diag(σ) Vᵀ, the row's residual r_i and its leverage l_i, the error of row i for the fit to all
others is r_i / (1 − l_i) (Allen's PRESS), where

    l_i = s_i / S + Σ_j t_ij² / (σ_j² + α)          t_i = √s_i (h_i − h̄) V
    r_i = √s_i (y_i − ȳ) − Σ_j t_ij C_j / (σ_j² + α)        C = Vᵀ Xᵀ Z
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

EPS, TINY = float(np.finfo(float).eps), float(np.finfo(float).tiny)
# The normal equations are taken up to this condition number of XᵀX + α I: half of the digits of a double are right.
WORST_CONDITION = 1e8

PANEL = 32                      # columns of a block reflector

Block = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]      # h (n, m), y (n, k), s (n,) or None


class Solution(NamedTuple):
    """Weights (m, k), intercepts (k,), and the weighted sum of the squared residuals."""

    coef: np.ndarray
    intercept: np.ndarray
    squares: float


class Decomposition(NamedTuple):
    """Singular values and right singular vectors of X, from which the solution for any α follows.

    Attributes
    ----------
    values : (r,), σ²
    vectors : (m, r), V
    products : (r, k), C = Vᵀ Xᵀ Z
    mean, target_mean : (m,), (k,), h̄ and ȳ
    total : float, S
    outside : float, the squares of Z outside of the range of X, which no w explains
    complete : bool, whether X has a rank as high as n − 1 rows allow: then w explains all of Z as α goes to 0
    """

    values: np.ndarray
    vectors: np.ndarray
    products: np.ndarray
    mean: np.ndarray
    target_mean: np.ndarray
    total: float
    outside: float
    complete: bool

    def solve(self, alpha: float) -> Solution:
        """The solution for α >= 0; for 0 the one of least norm."""
        # w = V (C / (σ² + α));   Uᵀ (Z − X w) = C/σ · α / (σ² + α)
        coef = self.vectors @ (self.products / (self.values + alpha)[:, None])
        left = self.products * (alpha / (self.values + alpha) / np.sqrt(self.values))[:, None]
        return Solution(coef, self.target_mean - self.mean @ coef, self.outside + float(np.vdot(left, left)))

    def left_out(self, block: Block, alphas: Iterable[float]) -> Iterator[np.ndarray]:
        """For each α the errors √s_i (y_i − ŷ_i) of a block's rows, (n, k), each for the fit to all other rows."""
        h, y, weight = block
        root = np.ones(len(h)) if weight is None else np.sqrt(weight)
        t = root[:, None] * ((h - self.mean) @ self.vectors)        # (n, r)
        z = root[:, None] * (y - self.target_mean)                  # (n, k)
        for alpha in alphas:
            if self.complete:
                # with u = t/σ: s/S + Σ u² = 1 and z = u C/σ, but where s = 0. Only the terms in α are left, and
                # divided by it: no difference of nearly equal numbers
                f = 1 / (self.values * (self.values + alpha))
                r, free = t @ (self.products * f[:, None]), t**2 @ f
            else:
                f = 1 / (self.values + alpha)
                r, free = z - t @ (self.products * f[:, None]), 1 - root**2 / self.total - t**2 @ f
            yield r / np.where(root > 0, np.maximum(free, TINY), 1.0)[:, None]


class Moments:
    """Sums of products of the rows (1, h, y), shifted by ``shift`` or, if it is None, the mean of the first block.

    Attributes
    ----------
    n : int, rows with a weight
    m, k : int >= 1, features and targets
    """

    def __init__(self, m: int, k: int, shift: np.ndarray | None = None) -> None:
        self.m, self.k, self.n, self.shift = m, k, 0, shift
        self.sums = np.zeros((1 + m + k, 1 + m + k), order="F")     # the lower triangle

    @property
    def total(self) -> float:
        """S, the sum of the weights."""
        return float(self.sums[0, 0])

    def add(self, block: Block) -> None:
        """Add the rows of a block."""
        rows = weighted(block)
        if len(rows) == 0:
            return
        if self.shift is None:
            self.shift = mean(rows)
        rows[:, 1:] -= rows[:, :1] * self.shift
        self.n += len(rows)
        # sums += rowsᵀ rows
        self.sums = scipy.linalg.blas.dsyrk(1.0, rows.T, beta=1.0, c=self.sums, lower=1, overwrite_c=1)

    def _centred(self) -> tuple[np.ndarray, np.ndarray, float]:
        """XᵀX (its lower triangle), XᵀZ, and the sum of the squares of Z."""
        m = self.m
        sums = self.sums[1:, 1:] - np.outer(self.sums[1:, 0], self.sums[1:, 0] / self.total)
        return np.asfortranarray(sums[:m, :m]), sums[m:, :m].T, float(np.trace(sums[m:, m:]))

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        means = (0 if self.shift is None else self.shift) + self.sums[1:, 0] / self.sums[0, 0]
        return means[:self.m], means[self.m:]

    def solve(self, alpha: float) -> Solution | None:
        """The solution for α >= 0, by Cholesky decomposition; None if the condition number is above the limit."""
        matrix, products, squares = self._centred()
        matrix[np.diag_indices_from(matrix)] += alpha
        norm = symmetric_norm(matrix)
        factor, fault = lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
        if fault or lapack.dpocon(factor, norm, uplo="L")[0] < 1 / WORST_CONDITION:
            return None
        coef, _ = lapack.dpotrs(factor, products, lower=1)
        # ‖Z − X w‖² = ‖Z‖² − tr wᵀ XᵀZ − α ‖w‖²
        squares -= float(np.vdot(coef, products) + alpha * np.vdot(coef, coef))
        mean, target_mean = self._means()
        return Solution(coef, target_mean - mean @ coef, max(squares, 0.0))

    def decompose(self, alpha: float) -> Decomposition | None:
        """Eigenvalues and eigenvectors of XᵀX; None if the condition number for α is above the limit."""
        matrix, products, squares = self._centred()
        values, vectors = scipy.linalg.eigh(matrix, lower=True, overwrite_a=True, check_finite=False)
        kept = values > max(self.n, self.m) * EPS * float(values.max(initial=0.0))
        largest, least = float(values.max(initial=0.0)) + alpha, max(float(values.min(initial=np.inf)), 0.0) + alpha
        if largest > WORST_CONDITION * least:
            return None
        values, vectors = values[kept], vectors[:, kept]
        products = vectors.T @ products
        outside = squares - float(np.sum(products**2 / values[:, None]))
        return Decomposition(
            values, vectors, products, *self._means(), self.total, max(outside, 0.0), complete=False)

    def triangle(self) -> Triangle:
        """The same sums as a triangle; what is smaller than rounding errors of the sums is lost."""
        found = Triangle(self.m, self.k)
        if self.shift is not None:
            values, vectors = scipy.linalg.eigh(self.sums, lower=True, check_finite=False)
            rows = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
            rows[:, 1:] += rows[:, :1] * self.shift
            found = Triangle(self.m, self.k, self.n, upper(rows))
        return found


class Triangle:
    """R of the QR decomposition of the weighted rows (1, h, y); an object does not change.

    Attributes
    ----------
    n : int, rows with a weight
    m, k : int, features and targets
    r : (min(n, 1 + m + k), 1 + m + k), R
    """

    def __init__(self, m: int, k: int, n: int = 0, r: np.ndarray | None = None) -> None:
        self.m, self.k, self.n = m, k, n
        self.r = np.zeros((0, 1 + m + k)) if r is None else r

    @property
    def total(self) -> float:
        """S, the sum of the weights."""
        return float(self.r[0, 0] ** 2)

    def added(self, block: Block) -> Triangle:
        """The triangle with the rows of a block added."""
        rows = weighted(block)
        return Triangle(self.m, self.k, self.n + len(rows), appended(self.r, rows))

    def merged(self, other: Triangle) -> Triangle:
        """The triangle of both objects' rows."""
        if not (self.n and other.n):
            return self if self.n else other
        return Triangle(self.m, self.k, self.n + other.n, appended(self.r, other.r, triangular=True))

    def check_finite(self) -> None:
        """A FloatingPointError if sums of the rows have overflowed, before LAPACK reads them."""
        if not np.isfinite(self.r).all():
            raise FloatingPointError("a sum over rows is not finite")

    def _centred(self) -> tuple[np.ndarray, np.ndarray, float]:
        """A factor of X, the targets' part of it, and the squares of Z below it.

        R has the rows (√S, √S h̄, √S ȳ) and (0, X', Z'): the first column has eliminated the means.
        """
        m, used = self.m, min(self.m, len(self.r) - 1)
        below = self.r[1 + used:, 1 + m:]
        return self.r[1:1 + used, 1:1 + m], self.r[1:1 + used, 1 + m:], float(np.vdot(below, below))

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        means = self.r[0, 1:] / self.r[0, 0]
        return means[:self.m], means[self.m:]

    def solve(self, alpha: float) -> Solution:
        """The solution for α >= 0, by a QR decomposition; for 0 the one of least norm."""
        x, z, below = self._centred()
        if not len(x):                          # of one row alone
            return self.decompose(alpha).solve(alpha)
        q = None
        if len(x) < self.m:
            # Xᵀ = Q T, w = Q v: the same problem for v with Tᵀ, as many unknowns as rows
            q, t = scipy.linalg.qr(x.T, mode="economic", check_finite=False)
            x = t.T
        size = x.shape[1]
        # minimise ‖(x; √α I) v − (z; 0)‖²
        added = np.sqrt(alpha) * np.eye(size, size + self.k)
        if q is None and len(self.r) == self.r.shape[1]:
            r = appended(self.r[1:, 1:], added, triangular=True)
        else:
            r = upper(np.concatenate([np.concatenate([x, z], axis=1), added]))
        own = r[:size, :size]
        # as its own LU decomposition, since older versions of SciPy have no dtrcon
        if size and lapack.dgecon(own, np.abs(own).sum(axis=0).max())[0] < max(self.n, self.m) * EPS:
            return self.decompose(alpha).solve(alpha)
        v = scipy.linalg.solve_triangular(r[:size, :size], r[:size, size:], check_finite=False)
        coef = v if q is None else q @ v
        left = z - x @ v
        mean, target_mean = self._means()
        return Solution(coef, target_mean - mean @ coef, below + float(np.vdot(left, left)))

    def decompose(self, alpha: float = 0.0) -> Decomposition:
        """Singular values and vectors, without those that are as small as rounding errors, for any α."""
        x, z, below = self._centred()
        u, s, vt = scipy.linalg.svd(x, full_matrices=False, check_finite=False) if len(x) else (
            np.empty((0, 0)), np.empty(0), np.empty((0, self.m)))
        kept = s > max(self.n, self.m) * EPS * float(s.max(initial=0.0))
        u, s, vt = u[:, kept], s[kept], vt[kept]
        inside = u.T @ z
        left = z - u @ inside
        return Decomposition(
            s * s, vt.T, s[:, None] * inside, *self._means(), self.total,
            below + float(np.vdot(left, left)), complete=len(s) == self.n - 1)


def weighted(block: Block) -> np.ndarray:
    """Rows √s (1, h, y) in float64, (n, 1 + m + k), without those of weight 0."""
    h, y, weight = block
    if weight is not None and not weight.all():
        h, y, weight = h[weight > 0], y[weight > 0], weight[weight > 0]
    rows = np.concatenate([np.ones((len(h), 1)), h, y], axis=1, dtype=float)
    if weight is not None:
        rows *= np.sqrt(weight)[:, None]
    return rows


def mean(rows: np.ndarray) -> np.ndarray:
    """h̄, ȳ (m + k,) of rows from ``weighted``, of which there must be one."""
    found: np.ndarray = rows[:, 0] @ rows[:, 1:] / (rows[:, 0] @ rows[:, 0])
    return found


def upper(rows: np.ndarray) -> np.ndarray:
    """R of a QR decomposition, (min(shape), columns); the rows are not needed any more."""
    if not rows.size:                   # which older versions of SciPy refuse
        return rows[:rows.shape[1]]
    r: np.ndarray = scipy.linalg.qr(rows, mode="r", overwrite_a=True, check_finite=False)[0]
    return r[:rows.shape[1]]


def appended(r: np.ndarray, rows: np.ndarray, *, triangular: bool = False) -> np.ndarray:
    """R of a QR decomposition of r, itself one or what there is of it, with rows below, which may be ``triangular``.

    These are another R, or what there is of it.
    """
    if len(r) < r.shape[1] or not len(rows):
        return upper(np.concatenate([r, rows]))
    # LAPACK leaves the zeros of r alone: the work is that for the rows
    found: np.ndarray = lapack.dtpqrt(len(rows) if triangular else 0, min(PANEL, r.shape[1]), r, rows)[0]
    return np.triu(found)


def symmetric_norm(lower: np.ndarray) -> float:
    """The 1-norm of a symmetric matrix of which the lower triangle is given."""
    sizes = np.abs(np.tril(lower))
    return float(np.max(sizes.sum(axis=0) + sizes.sum(axis=1) - np.diagonal(sizes), initial=0.0))
