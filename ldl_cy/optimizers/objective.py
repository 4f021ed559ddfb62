"""Objective: the function that a full-batch method minimises, and its derivatives, over checked data.

Its variables θ are the trainable weights: all of the network's, or those of some ranges, the others being constants.
"""
from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import get_blas_funcs

from ldl_cy._kernels.losses import make_loss
from ldl_cy.derivatives import RowJacobians

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network

DIFFERENCE = np.finfo(float).eps ** (1 / 3)     # relative step of central differences: balances rounding and truncation


class Ranges:
    """The trainable ranges of vectors as long as all weights.

    Parameters
    ----------
    ranges : (m, 2) ints, ascending

    Attributes
    ----------
    size : int, of what they hold
    views : bool, whether a part is a view: there is one range or none
    """

    def __init__(self, ranges: np.ndarray) -> None:
        self._slices = [slice(int(low), int(high)) for low, high in ranges] or [slice(0, 0)]
        self.size, self.views = sum(s.stop - s.start for s in self._slices), len(self._slices) == 1

    def part(self, vectors: np.ndarray) -> np.ndarray:
        """The numbers in the ranges, along the last axis."""
        parts = [vectors[..., s] for s in self._slices]
        return parts[0] if self.views else np.concatenate(parts, axis=-1)

    def write(self, vectors: np.ndarray, part: np.ndarray) -> None:
        """Set the numbers in the ranges, along the last axis."""
        start = 0
        for s in self._slices:
            stop = start + s.stop - s.start
            vectors[..., s] = part[..., start:stop]
            start = stop


class Objective:
    """f(θ) = Σ wᵢ lᵢ(θ) / Σ wᵢ + α/2 Σ θ² / Σ wᵢ of the trainable weights θ, without dropout, with running statistics.

    Used in a ``with`` statement, which borrows a workspace and threads.

    Parameters
    ----------
    network : Network
        Computes in its own dtype; arguments and results of the methods are float64.
    data : Data, with targets in the network's dtype
    loss : Loss
    alpha : float >= 0
        L2 penalty on the ranges ``network.decayed``.
    n_threads : int

    Attributes
    ----------
    n_params : int, the number of trainable weights
    decay : (n_params,) float64, the penalty's part of the Hessian's diagonal; a method may change it
    total_weight : float, Σ wᵢ
    n_outputs : int
    """

    def __init__(self, network: Network, data: Data, loss: Loss, alpha: float, n_threads: int) -> None:
        self.network, self.data, self.loss, self.n_threads = network, data, loss, n_threads
        self.n_outputs, self.total_weight = network.n_outputs, data.total_weight
        self.ranges = Ranges(network.trainable_ranges)
        self.n_params = self.ranges.size
        decay = np.zeros(network.n_params)
        for low, high in network.decayed:
            decay[low:high] = alpha / self.total_weight
        self.decay = self.ranges.part(decay).copy()

    def __enter__(self) -> Objective:
        self._borrowing = self._borrow()
        try:
            next(self._borrowing)
        except BaseException:       # a signal's handler may raise after all was borrowed
            self._borrowing.close()
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        self._borrowing.close()

    def _borrow(self) -> Generator[None, None, None]:
        network, size = self.network, self.data.loss_op.target_size
        with network.workspace(self.data.n, self.n_threads, training=True, loss_size=size) as self._ws, \
                network.pool(self._ws, self.data.n) as self._pool, \
                network.workspace(self.data.n, self.n_threads, loss_size=size) as self._forward:
            yield

    def follow(self, network: Network) -> None:
        """Take over the numbers of the network that is trained, or of its last layers, if this is a copy of it."""
        own = self.network
        if own.dtype != network.dtype:
            own.theta[:] = network.theta[network.n_params - own.n_params:]
            own.statistics[:] = network.statistics[network.statistics.size - own.statistics.size:]

    def _at(self, theta: np.ndarray) -> np.ndarray:
        """All weights of the network."""
        if theta.size == self.network.n_params:
            return np.ascontiguousarray(theta, self.network.dtype)
        at = self.network.theta.copy()
        self.ranges.write(at, theta)
        return at

    def _parts(self, size: int) -> Iterator[tuple[slice, Data]]:
        """The data, ``size`` rows at a time."""
        for start in range(0, self.data.n, size):
            yield slice(start, start + size), self.data.part(start, size)

    def _forward_parts(self) -> Iterator[tuple[slice, Data]]:
        """The data, in parts that a forward pass can take."""
        plan = self._forward.plan
        return self._parts(plan.capacity if plan.whole else self.data.n)

    def penalty(self, theta: np.ndarray) -> float:
        """α/2 Σ θ² / Σ w"""
        return 0.5 * float((self.decay * theta) @ theta)

    def value(self, theta: np.ndarray) -> float:
        """f(θ), by a forward pass over all rows."""
        at, total = self._at(theta), 0.0
        for _, part in self._forward_parts():
            total += self._forward.evaluate(part.rows, part.targets, part.weights, at, self.network.statistics,
                                            part.loss_op, self._pool, part.lengths)[0]
        return total / self.total_weight + self.penalty(theta)

    def value_and_grad(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """f(θ) and its gradient, (n_params,)."""
        data, grad = self.data, np.empty(self.network.n_params, self.network.dtype)
        value = self._ws.gradient(data.rows, data.targets, data.weights, self._at(theta), self.network.statistics,
                                  data.loss_op, grad, self._pool, lengths=data.lengths)
        return value + self.penalty(theta), self.ranges.part(grad) + self.decay * theta

    def outputs(self, theta: np.ndarray) -> np.ndarray:
        """The network's raw outputs, (n, n_outputs)."""
        at, out = self._at(theta), np.empty((self.data.n, self.n_outputs), self.network.dtype)
        for rows, part in self._forward_parts():
            self._forward.predict(part.rows, out[rows], at, self.network.statistics, self._pool, part.lengths)
        return out

    def jvp(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """J v, (n, n_outputs), by a central difference: its error is of the order of eps^(2/3)."""
        length = float(np.linalg.norm(v))
        if length == 0:
            return np.zeros((self.data.n, self.n_outputs))
        h = DIFFERENCE * (1 + float(np.linalg.norm(theta))) / length
        # J v ≈ (ŷ(θ + h v) − ŷ(θ − h v)) / 2h
        return (self.outputs(theta + h * v) - self.outputs(theta - h * v)) / (2 * h)

    def vjp(self, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Jᵀ u for u (n, n_outputs), by a backward pass."""
        # a loss whose gradient with respect to the outputs is u: see row_losses.pxd
        loss_op = make_loss("vjp", self.network.dtype, steps=1, k=self.n_outputs, scale=1.0)
        grad = np.empty(self.network.n_params, self.network.dtype)
        with self.network.workspace(len(u), self.n_threads, training=True, loss_size=loss_op.target_size) as ws:
            ws.gradient(self.data.rows, np.ascontiguousarray(u, self.network.dtype), None, self._at(theta),
                        self.network.statistics, loss_op, grad, self._pool, lengths=self.data.lengths, loss_scale=1.0)
        return self.ranges.part(grad).astype(float)

    def loss_curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """B v, (n, n_outputs), for raw outputs and v of this shape.

        B is block diagonal: the second derivatives of each row's loss with respect to its outputs.
        """
        weights = np.ones(len(raw)) if self.data.weights is None else self.data.weights
        return self.loss.curvature(raw, v) * (weights / self.total_weight)[:, None]

    def gauss_newton(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient Jᵀ C r, (n_params,), and the lower triangle of the Gauss-Newton matrix Jᵀ C J of Σ c r²/2.

        r are the residuals, C is the diagonal matrix of the c; the penalty is not included. J is computed and used 64
        rows at a time.
        """
        n_params, at = theta.size, self._at(theta)
        outputs = self.outputs(theta)
        residuals = outputs - self.data.targets
        c = np.ones(len(outputs)) if self.data.weights is None else self.data.weights
        root = np.sqrt(c * (2 * self.loss.scale / (self.n_outputs * self.total_weight)))
        grad = np.zeros(n_params)
        matrix = np.zeros((n_params, n_params), order="F")
        syrk = get_blas_funcs("syrk", dtype=float)
        for rows, part in self._parts(self._row_jacobians.rows_at_once):
            for j in range(self.n_outputs):
                # √C J, (rows, n_params)
                J = np.ascontiguousarray(self.ranges.part(
                    self._row_jacobians(part.rows, j, at, self._pool, root[rows], part.lengths)))
                grad += (root[rows] * residuals[rows, j]) @ J
                # matrix += (√C J)ᵀ (√C J)
                matrix = syrk(1.0, J.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
        return grad, matrix

    @cached_property
    def _row_jacobians(self) -> RowJacobians:
        return RowJacobians(self.network, self.data.n, self.n_threads)
