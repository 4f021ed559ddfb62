"""What methods have in common that minimise the loss of all rows, an iteration an epoch."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldl_cy.checks import check_real
from ldl_cy.optimizers.base import Optimizer

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.optimizers.objective import Objective as Problem


class Ended(NamedTuple):
    """Why a method ended by itself."""

    reason: str                     # "converged" or "stalled"
    message: str
    result: Any = None              # what another library's method says of itself


Iteration = tuple[dict[str, float], Ended | None]       # what to record of it


class FullBatch(Optimizer):
    """Base of the methods that Python leads: every iteration is an epoch over all rows.

    They see the network as at prediction, without dropout and with BatchNorm's running statistics, which they
    leave as they are: a function of the weights alone. Vectors are kept in float64.

    Parameters
    ----------
    tol : float >= 0
        The largest entry of the gradient at which the fit has converged.
    """

    full_batch = True
    compiled = False
    dtype: str | None = "float64"

    def __init__(self, tol: float) -> None:
        self.tol = check_real(type(self).__name__, "tol", tol, 0)

    @abstractmethod
    def minimize(
        self, problem: Problem, theta: np.ndarray, slots: np.ndarray, memory: dict[str, float], epochs: int,
        after: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """Improve ``theta`` in place by at most ``epochs`` iterations.

        ``after`` sees the values of each and returns True to end. What an iteration needs of the ones before lies in
        ``slots`` and ``memory``, so that a new call goes on where the last one ended. None: it did not end by itself.
        """


class Iterative(FullBatch):
    """Base of the methods whose iterations can be taken one at a time."""

    @abstractmethod
    def iterate(
        self, problem: Problem, theta: np.ndarray, slots: np.ndarray, memory: dict[str, float],
    ) -> Iterator[Iteration]:
        """Improve ``theta`` in place and yield after each iteration; the last one says why it is.

        An iteration that finds nothing to improve counts too: a fit that goes on makes those of a longer one.
        """

    def minimize(
        self, problem: Problem, theta: np.ndarray, slots: np.ndarray, memory: dict[str, float], epochs: int,
        after: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """See ``FullBatch``."""
        iterations = self.iterate(problem, theta, slots, memory)
        for _ in range(epochs):
            with np.errstate(over="ignore", invalid="ignore"):      # a step too long is refused, not reported
                values, ended = next(iterations)
            if after(values):
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


def small(grad: np.ndarray, tol: float) -> Ended | None:
    """Converged: no entry of the gradient exceeds tol."""
    largest = float(np.max(np.abs(grad), initial=0.0))
    if largest > tol:
        return None
    return Ended("converged", f"the largest entry of the gradient, {largest:.3g}, is at most tol={tol:g}")
