"""IterativeMethod, the base class of methods that are generators of iterations, and checks that several of them use."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.messages import shown
from ldl_cy.optimizers.base import Ended, FullBatchMethod

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.optimizers.objective import Objective

__all__ = [
    "Ended", "FullBatchMethod", "Iteration", "IterativeMethod", "check_deterministic", "check_finite",
    "check_single_output", "largest_entry", "small_gradient", "stalled"]

Iteration = tuple[dict[str, float], Ended | None]       # the values to record, and why it was the last one, if it was


class IterativeMethod(FullBatchMethod):
    """Base class of methods whose iterations are those of a generator.

    Parameters
    ----------
    tol : float >= 0
        The fit has converged if no entry of the gradient is larger.
    """

    def iterate(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float],
    ) -> Iterator[Iteration]:
        """Update ``theta`` in place and yield the values of each iteration and, after the last one, why it is the last.

        An iteration without improvement counts too, so that several fits make the same iterations as one long fit.
        The arguments ``objective``, ``theta``, ``slots`` and ``scalars`` are those of ``minimize``.
        """
        raise TypeError(f"{type(self).__name__}: a method must define iterate(objective, theta, slots, scalars).")

    def minimize(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float], epochs: int,
        callback: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """See ``FullBatchMethod``."""
        iterations = self.iterate(objective, theta, slots, scalars)
        for _ in range(epochs):
            with np.errstate(over="ignore", invalid="ignore"):      # steps that overflow are rejected
                values, ended = self._next(iterations)
            before = theta.copy()
            if callback(values):
                return None
            if ended is not None:
                return ended
            if not np.array_equal(theta, before):       # a callback has set others: as in a further fit
                iterations = self.iterate(objective, theta, slots, scalars)
        return None

    def _next(self, iterations: Any) -> Iteration:
        """What a user's generator yields next, if it is one."""
        given = next(iterations, None) if isinstance(iterations, Iterator) else iterations
        if not (isinstance(given, tuple) and len(given) == 2 and (given[1] is None or isinstance(given[1], Ended))):
            raise TypeError(f"{type(self).__name__}: iterate must yield (values, None), or (values, Ended) for the "
                            f"last iteration, got {shown(given)}.")
        return given


def check_deterministic(owner: str, graph: Graph) -> None:
    """Refuse networks with layers that differ between training and inference."""
    names = {graph.buffers[value]: name for name, value in reversed(graph.outputs.items())}
    for node in graph.nodes:
        kernel = node.kernel
        if kernel is not None and (kernel.couples_rows or kernel.draws):
            raise ValueError(f"{owner}: the network must be without trainable BatchNorm and layers that draw random "
                             "numbers in training, which make the loss more than a function of the weights, got "
                             f"{names.get(node.y, kernel.name)}.")


def check_single_output(owner: str, graph: Graph) -> None:
    """Refuse outputs with a time axis."""
    if len(graph.shapes[-1]) != 1:
        raise ValueError(f"{owner}: the output must have one axis, got the shape {graph.shapes[-1]}.")


def check_finite(value: float, grad: np.ndarray) -> None:
    """Raise a FloatingPointError, to which the fit adds the epoch, if the loss or its gradient is not finite."""
    if not (np.isfinite(value) and np.isfinite(grad).all()):
        raise FloatingPointError("the loss or its gradient is not finite at the model's weights")


def largest_entry(grad: np.ndarray) -> str:
    """How the messages of ``Ended`` begin or continue."""
    return f"the largest entry of the gradient, {np.max(np.abs(grad), initial=0.0):.3g}, is "


def small_gradient(grad: np.ndarray, tol: float) -> Ended | None:
    """``Ended`` if no entry of the gradient exceeds tol, else None."""
    if float(np.max(np.abs(grad), initial=0.0)) > tol:
        return None
    return Ended("converged", f"{largest_entry(grad)}at most tol={tol:g}")


def stalled(why: str, grad: np.ndarray, tol: float) -> Ended:
    """``Ended`` for a method that cannot continue although an entry of the gradient exceeds tol."""
    return Ended("stalled", f"{why}; {largest_entry(grad)}above tol={tol:g}")
