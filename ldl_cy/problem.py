"""The function that a full-batch method minimises, and its derivatives, over data that has been checked."""
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import get_blas_funcs

from ldl_cy._engine.plan import Plan
from ldl_cy._engine.program import Workspace
from ldl_cy._kernels.losses import make_loss

if TYPE_CHECKING:
    from ldl_cy import losses
    from ldl_cy.models import Sequential
    from ldl_cy.samples import Samples

ROWS_AT_ONCE = 64                           # of a Jacobian: each has a gradient of its own
DIFFERENCE = np.finfo(float).eps ** (1 / 3)     # of central differences: rounding and curvature in balance


def in_precision(model: Sequential, dtype: str) -> Sequential:
    """The model, or its twin in another dtype; where θ lies is always said by the caller."""
    if model.dtype == dtype:
        return model
    twin = type(model)(list(model.layers), dtype=dtype, random_state=0).build(model._built().input_shape)
    twin._state[:] = model._state
    return twin


class Problem:
    """f(θ) = Σ wᵢ lᵢ(θ) / Σ wᵢ + α/2 Σ θ² / Σ wᵢ, the network as at prediction: no dropout, running statistics.

    Parameters
    ----------
    model : Sequential, built
    dtype : what the network is computed in; vectors of weights come and go in float64
    samples : Samples, checked and bound to this dtype
    loss : Loss
    alpha : float, acts on the pieces ``ranges`` (m, 2) of θ
    n_threads : int
    """

    def __init__(
        self, model: Sequential, dtype: str, samples: Samples, loss: losses.Loss, alpha: float, ranges: np.ndarray,
        n_threads: int,
    ) -> None:
        self.model = in_precision(model, dtype)
        self.rows, self.targets, self.weights, self.lengths, self.kernel = samples
        self.loss, self.n_threads = loss, n_threads
        self.n_outputs = math.prod(self.model.output_shape or ())
        self.total_weight = float(samples.n) if self.weights is None else float(
            self.weights.sum(dtype=float))
        self.trainable = np.zeros(self.model.n_parameters, bool)
        for entry in self.model._built().parameters:
            self.trainable[entry.offset:entry.offset + entry.parameter.size] = entry.trainable
        # (n_params,) what the penalty adds to the diagonal of the Hessian
        self.decay = np.zeros(self.model.n_parameters)
        for low, high in ranges:
            self.decay[low:high] = alpha / self.total_weight

    def __enter__(self) -> Problem:
        with ExitStack() as stack:
            model, n = self.model, len(self.rows)
            self._ws = stack.enter_context(
                model._workspace(n, self.n_threads, training=True, loss_size=self.kernel.target_size))
            self._pool = stack.enter_context(model._pool(self._ws, n))
            self._forward = stack.enter_context(
                model._workspace(0, self.n_threads, loss_size=self.kernel.target_size))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.close()

    def _at(self, theta: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(theta, self.model.dtype)

    def _pieces(self, size: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
        """Rows, and where they end, ``size`` at a time."""
        for start in range(0, len(self.rows), size):
            part = slice(start, start + size)
            yield part, self.rows[part], None if self.lengths is None else self.lengths[part]

    def penalty(self, theta: np.ndarray) -> float:
        """α/2 Σ θ² / Σ w"""
        return 0.5 * float((self.decay * theta) @ theta)

    def value(self, theta: np.ndarray) -> float:
        """f(θ), by a forward pass."""
        ws, at, total = self._forward, self._at(theta), 0.0
        for part, rows, ends in self._pieces(ws.plan.capacity if ws.plan.whole else len(self.rows)):
            total += ws.evaluate(rows, self.targets[part], None if self.weights is None else self.weights[part],
                                 at, self.model._state, self.kernel, self._pool, ends)[0]
        return total / self.total_weight + self.penalty(theta)

    def value_and_grad(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """f(θ) and its gradient, (n_params,)."""
        grad = np.empty(theta.size, self.model.dtype)
        value = self._ws.gradient(self.rows, self.targets, self.weights, self._at(theta), self.model._state,
                                  self.kernel, grad, self._pool, lengths=self.lengths)
        return value + self.penalty(theta), grad + self.decay * theta

    def outputs(self, theta: np.ndarray) -> np.ndarray:
        """The network's raw outputs, (n, n_outputs)."""
        ws, at = self._forward, self._at(theta)
        out = np.empty((len(self.rows), self.n_outputs), self.model.dtype)
        for part, rows, ends in self._pieces(ws.plan.capacity if ws.plan.whole else len(self.rows)):
            ws.predict(rows, out[part], at, self.model._state, self._pool, ends)
        return out

    def push_forward(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """J v, (n, n_outputs), by a central difference: its error is of the order of eps^(2/3)."""
        v = v * self.trainable          # J is zero for frozen weights, as it is transposed
        length = float(np.linalg.norm(v))
        if length == 0:
            return np.zeros((len(self.rows), self.n_outputs))
        h = DIFFERENCE * (1 + float(np.linalg.norm(theta))) / length
        return (self.outputs(theta + h * v) - self.outputs(theta - h * v)) / (2 * h)

    def pull_back(self, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Jᵀ u for u (n, n_outputs), by a backward pass."""
        kernel = make_loss("pull_back", self.model.dtype, steps=1, k=self.n_outputs, scale=1.0)
        grad = np.empty(theta.size, self.model.dtype)
        with self.model._workspace(len(u), self.n_threads, training=True, loss_size=kernel.target_size) as ws:
            ws.gradient(self.rows, np.ascontiguousarray(u, self.model.dtype), None, self._at(theta),
                        self.model._state, kernel, grad, self._pool, lengths=self.lengths, loss_scale=1.0)
        return grad.astype(float)

    def loss_curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """B v, (n, n_outputs): the second derivatives of the loss by the outputs, which block the rows."""
        weights = np.ones(len(raw)) if self.weights is None else self.weights
        return self.loss.curvature(raw, v) * (weights / self.total_weight)[:, None]

    def squares(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient Jᵀ C r (n_params,) and Gauss-Newton matrix Jᵀ C J, lower triangle, of the loss Σ c r²/2.

        r are the residuals, C the diagonal of the c; the penalty is left out. J is made and used up 64 rows at a time.
        """
        n_params, at = theta.size, self._at(theta)
        outputs = self.outputs(theta)
        residuals = outputs - self.targets
        c = np.ones(len(outputs)) if self.weights is None else self.weights
        root = np.sqrt(c * (2 * self.loss.scale / (self.n_outputs * self.total_weight)))
        grad = np.zeros(n_params)
        matrix = np.zeros((n_params, n_params), order="F")
        syrk = get_blas_funcs("syrk", dtype=float)
        most = min(len(outputs), ROWS_AT_ONCE)
        workspace = self._row_by_row
        nothing = np.zeros((most, 1), self.model.dtype)
        for part, rows, ends in self._pieces(most):
            for j in range(self.n_outputs):
                kernel = make_loss("output", self.model.dtype, steps=1, k=self.n_outputs, scale=1.0, option=j)
                workspace.gradient(rows, nothing[:len(rows)], root[part], at, self.model._state, kernel, None,
                                   self._pool, lengths=ends, loss_scale=1.0)
                J = np.ascontiguousarray(workspace.lane_gradients()[:len(rows)])    # √c J, (rows, n_params)
                grad += (root[part] * residuals[part, j]) @ J
                # matrix += (√c J)ᵀ (√c J)
                matrix = syrk(1.0, J.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
        return grad, matrix

    @cached_property
    def _row_by_row(self) -> Workspace:
        """A workspace whose rows have a gradient each."""
        graph, most = self.model._built(), min(len(self.rows), ROWS_AT_ONCE)
        plan = Plan(graph, graph.buffers[-1], True, most, 1, block_rows=1, lanes=most)
        return Workspace(plan, self.n_threads)
