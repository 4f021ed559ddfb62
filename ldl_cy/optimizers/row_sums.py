"""RowSums: what some rows add to an objective, its derivatives and its curvature."""
from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import get_blas_funcs, lapack

from ldl_cy._kernels.losses import make_loss
from ldl_cy.derivatives import RowJacobians
from ldl_cy.optimizers.ranges import Ranges
from ldl_cy.workspaces import Borrower, choose_pool

if TYPE_CHECKING:
    from ldl_cy._engine.pool import Pool
    from ldl_cy.data import Data
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network


class RowSums(Borrower):
    """Sums over rows: their share of Σ wᵢ lᵢ(θ) / W and of its derivatives, θ being the trainable weights.

    ``weight``, ``value``, ``value_and_grad``, ``gauss_newton`` and ``curvature_product`` return a float64 vector; the
    vectors of all rows' parts are added. Rows that have no weight, or no rows at all, give zeros. All but
    ``weight`` are called in a ``with`` statement, which borrows workspaces and threads; it may be entered again.

    Parameters
    ----------
    network : Network
        Computes in its own dtype; its frozen weights and statistics are those of the moment of a call.
    data : Data, with targets in the network's dtype
    loss : Loss
    n_threads : int
    total_weight : float > 0, default=None
        W, the weight of the rows of all parts; None if these are all rows.

    Attributes
    ----------
    pool : Pool or None
        Threads that are at work already; None borrows them with the workspaces.
    """

    pool: Pool | None = None

    def __init__(
        self, network: Network, data: Data, loss: Loss, n_threads: int, total_weight: float | None = None,
    ) -> None:
        self.network, self.data, self.loss, self.n_threads = network, data, loss, n_threads
        self.total_weight, self.ranges = total_weight, Ranges(network.trainable_ranges)
        self.own_weight = data.total_weight
        self._raw: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None      # weights, statistics, outputs

    def borrow(self) -> Generator[None, None, None]:
        """Workspaces, if there are rows, and threads."""
        network, n, size = self.network, self.data.n, self.data.loss_op.target_size
        if not n:
            yield
            return
        with network.workspace(n, self.n_threads, training=True, loss_size=size) as self._ws, \
                network.pool(self._ws, n) if self.pool is None else nullcontext(self.pool) as self._pool, \
                network.workspace(n, self.n_threads, loss_size=size) as self._forward:
            yield

    def threads(self) -> AbstractContextManager[Pool]:
        """The pool for these rows, which objects of no more rows may have as their ``pool``."""
        if not self.data.n:
            return choose_pool(None, 0)
        with self.network.workspace(self.data.n, self.n_threads, training=True,
                                    loss_size=self.data.loss_op.target_size) as workspace:
            return self.network.pool(workspace, self.data.n)

    def _at(self, theta: np.ndarray) -> np.ndarray:
        """All weights of the network."""
        if theta.size == self.network.n_params:
            return np.ascontiguousarray(theta, self.network.dtype)
        at = self.network.vectors[0].copy()
        self.ranges.write(at, theta)
        return at

    @property
    def _divisor(self) -> float:
        """W"""
        return self.own_weight if self.total_weight is None else self.total_weight

    def _parts(self, size: int) -> Iterator[tuple[slice, Data]]:
        """The data, ``size`` rows at a time."""
        for start in range(0, self.data.n, size):
            yield slice(start, start + size), self.data.part(start, size)

    def _forward_parts(self) -> Iterator[tuple[slice, Data]]:
        """The data, in parts that a forward pass can take."""
        if not self.data.n:
            return iter(())
        plan = self._forward.plan
        return self._parts(plan.capacity if plan.whole else self.data.n)

    # -- sums --------------------------------------------------------------------------------------------

    def weight(self) -> np.ndarray:
        """(1,): the sum of these rows' weights."""
        return np.array([self.own_weight])

    def value(self, theta: np.ndarray) -> np.ndarray:
        """(1,): Σ wᵢ lᵢ / W, by a forward pass."""
        if not self.own_weight:
            return np.zeros(1)
        at, total = self._at(theta), 0.0
        for _, part in self._forward_parts():
            total += self._forward.evaluate(part.rows, part.targets, part.weights, at, self.network.vectors[1],
                                            part.loss_op, self._pool, part.lengths)[0]
        return np.array([total / self._divisor])

    def value_and_grad(self, theta: np.ndarray) -> np.ndarray:
        """(1 + n_params,): the same sum, and its gradient."""
        data, found = self.data, np.zeros(1 + self.ranges.size)
        if self.own_weight:
            grad = np.empty(self.network.n_params, self.network.dtype)
            found[0] = self._ws.gradient(data.rows, data.targets, data.weights, self._at(theta),
                                         self.network.vectors[1], data.loss_op, grad, self._pool, lengths=data.lengths)
            found[1:] = self.ranges.part(grad)
            if self.total_weight is not None:       # the engine has divided by the weight of these rows
                found *= self.own_weight / self.total_weight
        return found

    def gauss_newton(self, theta: np.ndarray) -> np.ndarray:
        """The gradient Jᵀ C r and the matrix Jᵀ C J of Σ c r²/2: ``unpack`` takes them out of the vector.

        r are the residuals, C is the diagonal matrix of the c. J is computed and used 64 rows at a time.
        """
        n_params = theta.size
        grad, matrix = np.zeros(n_params), np.zeros((n_params, n_params), order="F")
        if self.own_weight:
            at, outputs = self._at(theta), self.outputs(theta)
            residuals = outputs - self.data.targets
            c = np.ones(len(outputs), self.network.dtype) if self.data.weights is None else self.data.weights
            k = self.network.n_outputs
            root = np.sqrt(c * (2 * self.loss.scale / (k * self._divisor)))
            syrk = get_blas_funcs("syrk", dtype=float)
            for rows, part in self._parts(self._row_jacobians.rows_at_once):
                for j in range(k):
                    # √C J, (rows, n_params)
                    J = np.ascontiguousarray(self.ranges.part(
                        self._row_jacobians(part.rows, j, at, self._pool, root[rows], part.lengths)))
                    grad += (root[rows] * residuals[rows, j]) @ J
                    # matrix += (√C J)ᵀ (√C J)
                    matrix = syrk(1.0, J.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
        return np.concatenate([grad, lapack.dtrttp(matrix, uplo="L")[0]])

    def curvature_product(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(n_params,): Jᵀ B J v, see ``loss_curvature``. The outputs at θ are kept for further products."""
        if not self.own_weight:
            return np.zeros(theta.size)
        at, statistics = self._at(theta), self.network.vectors[1]
        kept = self._raw
        if kept is None or not (np.array_equal(kept[0], at) and np.array_equal(kept[1], statistics)):
            self._raw = kept = at.copy(), statistics.copy(), self.outputs(theta)
        return self.vjp(theta, self.loss_curvature(kept[2], self.jvp(theta, v)))

    # -- of the rows themselves --------------------------------------------------------------------------

    def outputs(self, theta: np.ndarray) -> np.ndarray:
        """The network's raw outputs, (n, n_outputs)."""
        at, out = self._at(theta), np.empty((self.data.n, self.network.n_outputs), self.network.dtype)
        for rows, part in self._forward_parts():
            self._forward.predict(part.rows, out[rows], at, self.network.vectors[1], self._pool, part.lengths)
        return out

    def jvp(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """J v, (n, n_outputs), by a central difference: its error is of the order of eps^(2/3), eps the dtype's."""
        length = float(np.linalg.norm(v))
        if length == 0:
            return np.zeros((self.data.n, self.network.n_outputs))
        # balances rounding and truncation
        h = float(np.finfo(self.network.dtype).eps) ** (1 / 3) * (1 + float(np.linalg.norm(theta))) / length
        # J v ≈ (ŷ(θ + h v) − ŷ(θ − h v)) / 2h
        return (self.outputs(theta + h * v) - self.outputs(theta - h * v)) / (2 * h)

    def vjp(self, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
        """(n_params,): Jᵀ u for u (n, n_outputs), by a backward pass."""
        if not self.data.n:
            return np.zeros(theta.size)
        # a loss whose gradient with respect to the outputs is u: see row_losses.pxd
        loss_op = make_loss("vjp", self.network.dtype, steps=1, k=self.network.n_outputs, scale=1.0)
        grad = np.empty(self.network.n_params, self.network.dtype)
        with self.network.workspace(len(u), self.n_threads, training=True, loss_size=loss_op.target_size) as ws:
            ws.gradient(self.data.rows, np.ascontiguousarray(u, self.network.dtype), None, self._at(theta),
                        self.network.vectors[1], loss_op, grad, self._pool, lengths=self.data.lengths, loss_scale=1.0)
        return self.ranges.part(grad).astype(float)

    def loss_curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """B v, (n, n_outputs), for raw outputs and v of this shape.

        B is block diagonal: the second derivatives of each row's share with respect to its outputs.
        """
        weights = np.ones(len(raw)) if self.data.weights is None else self.data.weights
        return self.loss.curvature(raw, v) * (weights / self._divisor)[:, None]

    @cached_property
    def _row_jacobians(self) -> RowJacobians:
        return RowJacobians(self.network, self.data.n, self.n_threads)


def unpack(found: np.ndarray, n_params: int) -> tuple[np.ndarray, np.ndarray]:
    """The gradient (n_params,) and the lower triangle, in a matrix of zeros, of a sum of ``gauss_newton``."""
    # a copy, since a view would keep the whole vector
    return found[:n_params].copy(), np.asfortranarray(lapack.dtpttr(n_params, found[n_params:], uplo="L")[0])
