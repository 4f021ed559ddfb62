"""Methods that minimise the loss of all rows as a function of the weights, one iteration an epoch."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ldl_cy.checks import check_real
from ldl_cy.optimizers.base import Optimizer

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.optimizers.objective import Objective


class Ended(NamedTuple):
    """Why a method ended by itself."""

    reason: str                     # "converged" or "stalled"
    message: str
    result: Any = None              # what another library's method says of itself


Iteration = tuple[dict[str, float], Ended | None]       # the values to record, and why it was the last one


class FullBatchMethod(Optimizer):
    """Base of the methods; one of your own defines ``minimize``, or ``iterate`` where it is an ``IterativeMethod``.

    A method sees the network as at prediction, without dropout and with BatchNorm's running statistics, which it
    leaves as they are: a function of the weights alone.

    Parameters
    ----------
    tol : float >= 0
        The largest entry of the gradient at which the fit has converged.

    Attributes
    ----------
    dtype : str or None
        What the network is computed in; None is the model's own. Vectors of weights are float64 in either case.
    """

    full_batch = True
    dtype: ClassVar[str | None] = "float64"

    def __init__(self, tol: float) -> None:
        self.tol = check_real(type(self).__name__, "tol", tol, 0)

    @property
    def method(self) -> FullBatchMethod | None:
        """Itself."""
        return self

    def minimize(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float], epochs: int,
        callback: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """Improve ``theta`` in place by at most ``epochs`` iterations.

        What an iteration needs of the ones before is kept in ``slots`` and ``scalars``, so that a new call continues
        where the last one ended.

        Parameters
        ----------
        objective : the function to minimise; see there
        theta : (n_params,) floats of the model's dtype
        slots : (n_slots, n_params) floats of the same, zeros at first
        scalars : dict
            Numbers under the names in ``state_scalars``, empty at first.
        epochs : int >= 1
        callback : function
            Is called with the values of each iteration and returns True to end.

        Returns
        -------
        Ended, or None where the method did not end by itself
        """
        raise TypeError(f"{type(self).__name__}: a method must define minimize(objective, theta, slots, scalars, "
                        "epochs, callback).")


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


def small(grad: np.ndarray, tol: float) -> Ended | None:
    """Converged: no entry of the gradient exceeds tol."""
    largest = float(np.max(np.abs(grad), initial=0.0))
    if largest > tol:
        return None
    return Ended("converged", f"the largest entry of the gradient, {largest:.3g}, is at most tol={tol:g}")
