"""Gradient descent with a line search."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ldl_cy.optimizers.full_batch import (
    Ended,
    Iteration,
    IterativeMethod,
    check_finite,
    small_gradient,
    stalled,
)

if TYPE_CHECKING:
    from ldl_cy.optimizers.objective import Objective

SUFFICIENT = 1e-4               # a step must gain at least this share of what the tangent predicts
SHORTEST = 1e-16                # the search gives up at this step size, relative to the initial one


class ArmijoDescent(IterativeMethod):
    """Gradient descent with Armijo's rule: the method of ``GD(line_search=True)``.

    ::

        η ← η/2 until f(θ − η g) <= f(θ) − 10⁻⁴ η gᵀg
        θ ← θ − η g
        η ← 2 η

    Parameters
    ----------
    learning_rate : float > 0
        The initial η.
    tol : float >= 0
        The fit has converged if the criterion is at most this; with 0 it never converges.
    criterion : {"gradient", "loss"}
        See ``GD``.

    References
    ----------
    Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", Pacific J. Math. 16,
    1966.
    """

    dtype = None
    state_scalars: ClassVar[Mapping[str, float]] = {"rate": np.nextafter(0.0, 1.0), "loss": -np.inf}

    def __init__(self, learning_rate: float, tol: float, criterion: str) -> None:
        super().__init__(tol)
        self.learning_rate = learning_rate
        self.criterion = criterion

    def iterate(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float],
    ) -> Iterator[Iteration]:
        """See ``IterativeMethod``; ``scalars`` store the next η and the loss before the last step."""
        # losses that are compared come from one function, since two may round differently
        value, grad = objective.value(theta.astype(float)), objective.value_and_grad(theta.astype(float))[1]
        check_finite(value, grad)
        ended = self._converged(value, scalars.get("loss"), grad)
        while ended is None:
            at, slope, rate = theta.astype(float), float(grad @ grad), scalars.get("rate", self.learning_rate)
            while ended is None:
                new = (at - rate * grad).astype(theta.dtype)
                new_value = objective.value(new.astype(float))
                # the bound may round to value
                if new_value < value and new_value <= value - SUFFICIENT * rate * slope:
                    break
                rate /= 2
                if rate < SHORTEST * self.learning_rate:
                    ended = self._stalled(grad)
            if ended is not None:
                break
            # θ changes only at the end of the iteration, so that Ctrl-C before leaves it unchanged
            before, value, grad = value, new_value, objective.value_and_grad(new.astype(float))[1]
            check_finite(value, grad)
            theta[:] = new
            scalars["rate"], scalars["loss"] = 2 * rate, before
            ended = self._converged(value, before, grad)
            if ended is None:
                yield {"loss": value}, None
        yield {"loss": value}, ended

    def _stalled(self, grad: np.ndarray) -> Ended:
        why = "no step along the gradient lowers the loss"
        return stalled(why, grad, self.tol) if self.criterion == "gradient" else Ended("stalled", why)

    def _converged(self, value: float, before: float | None, grad: np.ndarray) -> Ended | None:
        if self.tol == 0:
            return None
        if self.criterion == "gradient":
            return small_gradient(grad, self.tol)
        if before is None or abs(before - value) > self.tol * max(abs(before), abs(value)):
            return None
        return Ended("converged", f"the loss changed by at most tol={self.tol:g} of itself")
