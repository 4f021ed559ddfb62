"""Gradient descent whose step size is found by a line search."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ldl_cy.optimizers.full_batch import Ended, Iteration, IterativeMethod, check_finite, small_gradient

if TYPE_CHECKING:
    from ldl_cy.optimizers.objective import Objective

SUFFICIENT = 1e-4               # share of the gain along the tangent that a step must bring
SHORTEST = 1e-16                # step size, relative to the first, at which the search gives up


class ArmijoDescent(IterativeMethod):
    """Gradient descent with Armijo's rule: the method of ``GD(line_search=True)``.

    ::

        η ← η/2 until f(θ − η g) <= f(θ) − 10⁻⁴ η gᵀg
        θ ← θ − η g
        η ← 2 η

    Parameters
    ----------
    learning_rate : float > 0
        The first η that is tried.
    tol : float >= 0
        Bound at which the fit has converged; 0 never.
    criterion : {"gradient", "loss"}
        What tol bounds; see ``GD``.

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
        """See ``IterativeMethod``; keeps the next η to try and the loss before the last step."""
        # losses that are compared come from one function: two may round otherwise
        value, grad = objective.value(theta.astype(float)), objective.value_and_grad(theta.astype(float))[1]
        check_finite(value, grad)
        ended = self._converged(value, scalars.get("loss"), grad)
        while ended is None:
            at, slope, rate = theta.astype(float), float(grad @ grad), scalars.get("rate", self.learning_rate)
            while ended is None:
                new = (at - rate * grad).astype(theta.dtype)
                found = objective.value(new.astype(float))
                if found < value and found <= value - SUFFICIENT * rate * slope:    # which may be value, rounded
                    break
                rate /= 2
                if rate < SHORTEST * self.learning_rate:
                    ended = Ended("stalled", "no step along the gradient lowers the loss")
            if ended is not None:
                break
            # θ changes when the iteration is over: a Ctrl-C before leaves it where it was
            before, value, grad = value, found, objective.value_and_grad(new.astype(float))[1]
            check_finite(value, grad)
            theta[:] = new
            scalars["rate"], scalars["loss"] = 2 * rate, before
            ended = self._converged(value, before, grad)
            if ended is None:
                yield {"loss": value}, None
        yield {"loss": value}, ended

    def _converged(self, value: float, before: float | None, grad: np.ndarray) -> Ended | None:
        if self.tol == 0:
            return None
        if self.criterion == "gradient":
            return small_gradient(grad, self.tol)
        if before is None or abs(before - value) > self.tol * max(abs(before), abs(value)):
            return None
        return Ended("converged", f"the loss changed by at most tol={self.tol:g} of itself")
