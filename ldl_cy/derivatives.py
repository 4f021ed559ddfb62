"""Gradients and Jacobians of a model as functions of its weights."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.plan import Plan
from ldl_cy._engine.program import Workspace
from ldl_cy.checks import as_numbers

if TYPE_CHECKING:
    from ldl_cy.models import Sequential

LARGEST_JACOBIAN = 1 << 31          # bytes
ROWS_AT_ONCE = 64                   # each has a gradient of its own


def check_theta(model: Sequential, theta: Any) -> np.ndarray:
    """Weights given in place of the model's, (n_parameters,) in its dtype."""
    if theta is None:
        return model.theta
    return as_theta(model, theta)


def as_theta(model: Sequential, values: Any) -> np.ndarray:
    """Numbers (n_parameters,) in the model's dtype; what is too large for it becomes infinite."""
    values = as_numbers("Sequential", "theta", values)
    if values.shape != model.theta.shape:
        raise ValueError(f"Sequential: theta must have the shape {model.theta.shape}, got {values.shape}.")
    with np.errstate(over="ignore"):
        return np.require(values, model.dtype, ["C", "A"])


def objective(
    model: Sequential, bound: tuple[Any, ...], training: bool,
) -> Callable[[Any], tuple[float, np.ndarray]]:
    """theta -> (loss, gradient) on data that has been checked; see ``Sequential.objective``."""
    rows, targets, weights, kernel, ends, threads = bound

    def loss_and_gradient(theta: Any) -> tuple[float, np.ndarray]:
        at = check_theta(model, theta)
        grad = np.empty(at.size, model.dtype)
        state = model._state.copy()         # batch statistics must not reach the model's
        with model._workspace(len(rows), threads, training=True, loss_size=kernel.target_size) as ws, \
                model._pool(ws, len(rows)) as pool:
            value = ws.gradient(rows, targets, weights, at, state, kernel, grad, pool, training=training,
                                seed=model.random_state, epoch=model.epoch, step=model.step, lengths=ends)
        return value, grad

    return loss_and_gradient


def jacobian(model: Sequential, rows: np.ndarray, theta: Any, threads: int) -> np.ndarray:
    """d output_j(x_i) / d theta; see ``Sequential.jacobian``.

    A backward pass for each output, seeded with its unit vector, over blocks of one row whose gradient
    accumulators are read one by one.
    """
    from ldl_cy._kernels.losses import make_loss

    graph = model._built()
    n, n_outputs, n_params = len(rows), math.prod(graph.shapes[-1]), graph.n_params
    size = n * n_outputs * n_params * np.dtype(model.dtype).itemsize
    if size > LARGEST_JACOBIAN:
        raise ValueError(f"Sequential: the Jacobian must take at most {LARGEST_JACOBIAN} bytes, got {n} x {n_outputs} "
                         f"x {n_params} numbers in {size} bytes; call it for fewer rows at a time.")
    at = check_theta(model, theta)
    result = np.empty((n, n_outputs, n_params), model.dtype)
    grad = np.empty(n_params, model.dtype)
    most = min(n, ROWS_AT_ONCE)
    plan = Plan(graph, graph.buffers[-1], True, most, 1, block_rows=1, lanes=most)
    workspace = Workspace(plan, threads)
    targets = np.zeros((most, 1), model.dtype)
    with model._pool(workspace, most) as pool:
        for start in range(0, n, most):
            part = rows[start:start + most]
            for j in range(n_outputs):
                kernel = make_loss("output", model.dtype, steps=1, k=n_outputs, scale=1.0, option=j)
                workspace.gradient(part, targets[:len(part)], None, at, model._state, kernel, grad, pool,
                                   loss_scale=1.0)
                result[start:start + len(part), j] = workspace.lane_gradients()[:len(part)]
    return result
