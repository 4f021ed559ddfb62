"""One step of training by a plan of its own: loss and gradients, in blocks and on threads as a test wants them."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from compare import close

from ldl_cy import losses
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace

STEP = {"training": True, "seed": 11, "epoch": 2, "step": 5}            # which step, for what is drawn in it


class Step(NamedTuple):
    """What a step gives; the running statistics as it leaves them."""

    loss: float
    grad: np.ndarray
    dx: np.ndarray | None
    statistics: np.ndarray
    plan: Plan


def run_step(graph: Any, theta: np.ndarray, x: Any, y: Any, *, loss: losses.Loss | None = None, weights: Any = None,
             statistics: np.ndarray | None = None, threads: int = 1, input_gradient: bool = False,
             training: bool = True, lengths: Any = None, **options: Any) -> Step:
    """Loss, gradient and, if wanted, the gradient of the input, every phase shared among the threads.

    The gradients are NaN before, so that an entry left out is seen. ``loss`` is squared errors, ``statistics`` are
    zeros where none are given; they are not changed. ``options`` go to the plan: block_rows, lanes, cuts, defer.
    """
    loss, n, dtype = losses.SquaredError() if loss is None else loss, len(x), graph.dtype
    targets, kernel = loss.encode_targets(y, n, graph.shapes[-1], dtype)
    plan = Plan(graph, True, n, kernel.target_size, input_gradient=input_gradient, **options)
    workspace = Workspace(plan, threads)
    workspace.share_above = 0
    grad = np.full(graph.n_params, np.nan, dtype)
    dx = np.full((n, graph.sizes[0]), np.nan, dtype) if input_gradient else None
    statistics = np.zeros(graph.n_state, dtype) if statistics is None else statistics.copy()
    with Pool(threads) as pool:
        value = workspace.gradient(np.reshape(x, (n, -1)), targets, weights, theta, statistics, kernel, grad, pool,
                                   **{**STEP, "training": training}, dx=dx, lengths=lengths)
    return Step(value, grad, dx, statistics, plan)


def run_model_step(model: Any, x: np.ndarray, y: Any, threads: int = 1, *, input_gradient: bool = True,
                   **options: Any) -> Step:
    """``run_step`` with the graph, weights and running statistics of a model."""
    given = {"statistics": model.network.statistics, **options}
    return run_step(model.network.graph, model.theta, x, y, threads=threads, input_gradient=input_gradient, **given)


def check_same_step(found: Step, expected: Step) -> None:
    """The same bits."""
    for a, b in zip(found[:4], expected[:4]):
        np.testing.assert_array_equal(a, b)


def check_blocks_and_threads(step: Callable[..., Step], tol: float, threads: Iterable[int] = (1, 2, 5),
                             **blocks: Any) -> Step:
    """``step(threads, **options)`` in blocks is what it is in one, to rounding, and the same bits for any threads.

    The blocks are of two rows in three lanes where nothing else is given. The step in blocks is returned.
    """
    blocks = {"block_rows": 2, "lanes": 3, **blocks}
    whole, (first, *others) = step(1), [step(n, **blocks) for n in threads]
    for a, b in zip(first[:4], whole[:4]):
        if b is not None:
            close(a, b, tol)
    for other in others:
        check_same_step(other, first)
    return first
