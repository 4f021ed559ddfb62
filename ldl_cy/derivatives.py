"""Gradients and Jacobians of a network as functions of its weights."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.plan import Plan
from ldl_cy._engine.program import Workspace
from ldl_cy._kernels.losses import make_loss

if TYPE_CHECKING:
    from ldl_cy._engine.pool import Pool
    from ldl_cy.data import Data
    from ldl_cy.network import Network
    from ldl_cy.state import TrainingState

LARGEST_JACOBIAN = 1 << 31          # bytes
ROWS_AT_ONCE = 64                   # of a Jacobian: each row takes a gradient accumulator


def objective(
    network: Network, state: TrainingState, data: Data, n_threads: int, training: bool,
) -> Callable[[Any], tuple[float, np.ndarray]]:
    """The function theta -> (loss, gradient) over checked data; see ``Sequential.objective``."""

    def loss_and_gradient(theta: Any) -> tuple[float, np.ndarray]:
        at = network.vectors[0] if theta is None else network.check_theta(theta)
        grad = np.empty(at.size, network.dtype)
        statistics = network.vectors[1].copy()      # a training pass updates them: not the network's own
        with network.workspace(data.n, n_threads, training=True, loss_size=data.loss_op.target_size) as ws, \
                network.pool(ws, data.n) as pool:
            value = ws.gradient(
                data.rows, data.targets, data.weights, at, statistics, data.loss_op, grad, pool, training=training,
                seed=network.seed, epoch=state.epoch, step=state.step, lengths=data.lengths)
        return value, grad

    return loss_and_gradient


class RowJacobians:
    """Gradients of one output for each row, ∂ŷⱼ(xᵢ)/∂θ, by backward passes from dy = eⱼ, the unit vector.

    The plan has blocks of one row and a lane for each of them, so that lane i accumulates the gradient of row i.

    Parameters
    ----------
    network : Network
    n : int
        Rows in total; a call takes at most ``rows_at_once`` of them.
    n_threads : int

    Attributes
    ----------
    rows_at_once : int
    workspace : Workspace
    """

    def __init__(self, network: Network, n: int, n_threads: int) -> None:
        self.network = network
        self.rows_at_once = min(n, ROWS_AT_ONCE)
        plan = Plan(network.graph, True, self.rows_at_once, 1, block_rows=1,
                    lanes=self.rows_at_once)
        self.workspace = Workspace(plan, n_threads)
        self._nothing = np.zeros((self.rows_at_once, 1), network.dtype)
        self._ops = [make_loss("output", network.dtype, steps=1, k=network.n_outputs, scale=1.0, option=j)
                     for j in range(network.n_outputs)]

    def __call__(
        self, rows: Any, j: int, theta: np.ndarray, pool: Pool, weights: np.ndarray | None = None,
        lengths: np.ndarray | None = None,
    ) -> np.ndarray:
        """wᵢ ∂ŷⱼ(xᵢ)/∂θ of each row, (m, n_params), as a view that the next call overwrites."""
        self.workspace.gradient(rows, self._nothing[:len(rows)], weights, theta, self.network.vectors[1],
                                self._ops[j], None, pool, lengths=lengths, loss_scale=1.0)
        return self.workspace.lane_gradients()[:len(rows)]


def jacobian(network: Network, X: Any, theta: Any, n_threads: int) -> np.ndarray:
    """∂ŷⱼ(xᵢ)/∂θ, (n, n_outputs, n_params); see ``Sequential.jacobian``."""
    rows = network.check_rows("X", X)
    n, k, n_params = len(rows), network.n_outputs, network.n_params
    size = n * k * n_params * np.dtype(network.dtype).itemsize
    if size > LARGEST_JACOBIAN:
        raise ValueError(f"Sequential: the Jacobian must take at most {LARGEST_JACOBIAN} bytes, got {n} x {k} "
                         f"x {n_params} numbers in {size} bytes; call it for fewer rows at a time.")
    at = network.vectors[0] if theta is None else network.check_theta(theta)
    result = np.empty((n, k, n_params), network.dtype)
    gradients = RowJacobians(network, n, n_threads)
    most = gradients.rows_at_once
    with network.pool(gradients.workspace, most) as pool:
        for start in range(0, n, most):
            part = slice(start, start + most)
            for j in range(k):
                result[part, j] = gradients(rows[part], j, at, pool)
    return result
