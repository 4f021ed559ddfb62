"""Gradient descent on all rows until it converges."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ldl_cy.checks import check_bool, check_choice, check_real
from ldl_cy.optimizers.base import Optimizer, Rule
from ldl_cy.optimizers.full_batch import Ended, Iteration, Iterative, check_finite, small

if TYPE_CHECKING:
    from ldl_cy.optimizers.objective import Objective as Problem

SUFFICIENT = 1e-4               # share of the gain along the tangent that a step must bring
SHORTEST = 1e-16                # step size, relative to the first, at which the search gives up


class GD(Iterative):
    """Gradient descent, θ ← θ − η ∇f(θ) on all rows, until it converges; ``epochs`` is the bound.

    Parameters
    ----------
    learning_rate : float > 0, a schedule or a function of the step, default=0.01
        η; with a line search the first step size that is tried, a float.
    tol : float >= 0, default=1e-6
        Bound at which the fit has converged; 0 never stops before ``epochs``.
    criterion : {"gradient", "loss"}, default="gradient"
        What tol bounds: the largest entry of the gradient, or the change of the loss from one epoch to the next,
        relative to the loss.
    line_search : bool, default=False
        Halve η until f(θ − η g) <= f(θ) − 10⁻⁴ η gᵀg, and begin the next search with twice the η that did. The network
        is then seen as at prediction, without dropout and with BatchNorm's running statistics.
    clip_norm, weight_decay, ema : see ``Optimizer``; not with a line search

    References
    ----------
    Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées", 1847. Armijo, "Minimization of
    functions having Lipschitz continuous first partial derivatives", Pacific J. Math. 16, 1966.
    """

    dtype = None
    state_scalars: ClassVar[dict[str, float]] = {"rate": np.nextafter(0.0, 1.0), "loss": -np.inf}

    def __init__(
        self, learning_rate: Any = 0.01, tol: float = 1e-6, criterion: str = "gradient", line_search: bool = False, *,
        clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
    ) -> None:
        Optimizer.__init__(self, learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema)
        self.tol = check_real("GD", "tol", tol, 0)
        self.criterion = check_choice("GD", "criterion", criterion, ("gradient", "loss"))
        self.line_search = check_bool("GD", "line_search", line_search)
        if line_search and (callable(learning_rate) or clip_norm is not None or weight_decay or ema is not None):
            raise ValueError("GD: line_search=True takes a float as learning_rate, and no clip_norm, weight_decay or "
                             f"ema, got {learning_rate!r}, {clip_norm!r}, {weight_decay!r} and {ema!r}.")

    @property
    def compiled(self) -> bool:                                 # type: ignore[override]
        return not self.line_search

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """SGD's rows without momentum, (rate, 0, 0)."""
        return np.column_stack([rates, np.zeros((len(rates), 2))])

    def rule(self, alpha: float, ranges: np.ndarray) -> Rule:
        """The constants of the compiled update."""
        return replace(super().rule(alpha, ranges), by_loss=self.criterion == "loss")

    def iterate(
        self, problem: Problem, theta: np.ndarray, slots: np.ndarray, memory: dict[str, float],
    ) -> Iterator[Iteration]:
        """With a line search; see ``Iterative``."""
        assert not callable(self.learning_rate)
        # losses that are compared come from one function: two may round otherwise
        value, grad = problem.value(theta.astype(float)), problem.value_and_grad(theta.astype(float))[1]
        check_finite(value, grad)
        ended = self._converged(value, memory.get("loss"), grad)
        while ended is None:
            at, slope, rate = theta.astype(float), float(grad @ grad), memory.get("rate", self.learning_rate)
            while ended is None:
                new = (at - rate * grad).astype(theta.dtype)
                found = problem.value(new.astype(float))
                if found < value and found <= value - SUFFICIENT * rate * slope:    # which may be value, rounded
                    break
                rate /= 2
                if rate < SHORTEST * self.learning_rate:
                    ended = Ended("stalled", "no step along the gradient lowers the loss")
            if ended is not None:
                break
            # θ changes when the iteration is over: a Ctrl-C before leaves it where it was
            before, value, grad = value, found, problem.value_and_grad(new.astype(float))[1]
            check_finite(value, grad)
            theta[:] = new
            memory["rate"], memory["loss"] = 2 * rate, before
            ended = self._converged(value, before, grad)
            if ended is None:
                yield {"loss": value}, None
        yield {"loss": value}, ended

    def _converged(self, value: float, before: float | None, grad: np.ndarray) -> Ended | None:
        if self.tol == 0:
            return None
        if self.criterion == "gradient":
            return small(grad, self.tol)
        if before is None or abs(before - value) > self.tol * max(abs(before), abs(value)):
            return None
        return Ended("converged", f"the loss changed by at most tol={self.tol:g} of itself")
