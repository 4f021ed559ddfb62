"""What methods have in common whose iterations can be taken one at a time, and what several of them check."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ldl_cy.optimizers.base import Ended, FullBatchMethod

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.optimizers.objective import Objective

__all__ = [
    "Ended", "FullBatchMethod", "Iteration", "IterativeMethod", "check_deterministic", "check_finite",
    "check_single_output", "small_gradient"]

Iteration = tuple[dict[str, float], Ended | None]       # the values to record, and why it was the last one


class IterativeMethod(FullBatchMethod):
    """Base of the methods whose iterations can be taken one at a time."""

    def iterate(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float],
    ) -> Iterator[Iteration]:
        """Improve ``theta`` in place and yield after each iteration; the last one says why it is.

        An iteration that finds nothing to improve counts too: so fits in parts make the iterations of a longer one.
        Arguments are those of ``minimize``.
        """
        raise TypeError(f"{type(self).__name__}: a method must define iterate(objective, theta, slots, scalars).")

    def minimize(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float], epochs: int,
        callback: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """See ``FullBatchMethod``."""
        iterations = self.iterate(objective, theta, slots, scalars)
        for _ in range(epochs):
            with np.errstate(over="ignore", invalid="ignore"):      # a step too long is refused, not reported
                values, ended = next(iterations)
            if callback(values):
                return None
            if ended is not None:
                return ended
        return None


def check_deterministic(owner: str, graph: Graph) -> None:
    """Refuse layers whose training differs from their prediction."""
    for node in graph.nodes:
        kind = {"dropout": "Dropout", "batch_norm": "BatchNorm"}.get(node.kernel.name if node.kernel else "")
        if kind:
            raise ValueError(f"{owner}: the network must be without Dropout and BatchNorm, which make the loss more "
                             f"than a function of the weights, got {kind}.")


def check_single_output(owner: str, graph: Graph) -> None:
    """Refuse outputs with a time axis."""
    if len(graph.shapes[-1]) != 1:
        raise ValueError(f"{owner}: the output must have one axis, got the shape {graph.shapes[-1]}.")


def check_finite(value: float, grad: np.ndarray) -> None:
    """Nothing can be improved from where the loss is not a number."""
    if not (np.isfinite(value) and np.isfinite(grad).all()):
        raise FloatingPointError("Sequential: the loss or its gradient is not finite at the model's weights.")


def small_gradient(grad: np.ndarray, tol: float) -> Ended | None:
    """Converged: no entry of the gradient exceeds tol."""
    largest = float(np.max(np.abs(grad), initial=0.0))
    if largest > tol:
        return None
    return Ended("converged", f"the largest entry of the gradient, {largest:.3g}, is at most tol={tol:g}")
