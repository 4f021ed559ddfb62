"""Damped Gauss-Newton steps: the damping follows from how well the quadratic model predicts the gain of a step."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from ldl_cy.optimizers.full_batch import (
    Iteration,
    IterativeMethod,
    check_deterministic,
    check_finite,
    check_single_output,
    small_gradient,
    stalled,
)
from ldl_cy.optimizers.settings import Real

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.objective import Objective

GROW, SHRINK = 10.0, 0.1        # factors of the damping, as in MATLAB's trainlm
EXACT = 1e-3                    # relative error of the predicted gain up to which the damping shrinks by SHRINK_EXACT
SHRINK_EXACT = 1e-3
SMALLEST = 1e-20                # smaller damping has no effect on any Hessian, but would take longer to grow again


class Quadratic(NamedTuple):
    """f(θ) + gᵀδ + δᵀHδ/2 around θ."""

    value: float
    grad: np.ndarray
    solve: Callable[[float], np.ndarray | None]     # μ -> δ of (H + μ I) δ = -g; None where it cannot be solved
    logs: dict[str, float]                          # further values to record for the iteration


class Damped(IterativeMethod):
    """Base class of methods that take damped Newton steps with H ≥ 0.

    ::

        (H + μ I) δ = −g
        θ ← θ + δ

    μ is multiplied by 10 until a step lowers the loss. Then it is divided by 10, or by 1000 if the quadratic model
    predicted the gain to one part in a thousand, as it does near a minimum and in linear problems.

    Parameters
    ----------
    damping : float > 0
        The initial μ.
    tol : float >= 0
        The fit has converged if no entry of the gradient is larger.
    max_damping : float > 0
        The fit ends if no step lowers the loss up to this μ.

    References
    ----------
    Levenberg, Quarterly of Applied Mathematics 2, 1944; Marquardt, SIAM J. Appl. Math. 11, 1963.
    """

    state_scalars: ClassVar[Mapping[str, float]] = {"damping": np.finfo(float).tiny}
    damping, max_damping = Real(0, low_open=True), Real(0, low_open=True)

    def __init__(self, damping: float, tol: float, max_damping: float) -> None:
        super().__init__(tol)
        self.damping, self.max_damping = damping, max_damping

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse networks that are not functions of their weights, and outputs with a time axis."""
        check_single_output(type(self).__name__, graph)
        check_deterministic(type(self).__name__, graph)

    def quadratic(self, objective: Objective, at: np.ndarray, scalars: dict[str, float]) -> Quadratic:
        """The quadratic model of the loss around ``at``; ``scalars`` are those of ``iterate``."""
        raise TypeError(f"{type(self).__name__}: a damped method must define quadratic(objective, at, scalars).")

    def iterate(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float],
    ) -> Iterator[Iteration]:
        """See ``IterativeMethod``."""
        eps = np.finfo(theta.dtype).eps
        while True:
            at = theta.astype(float)
            value, grad, solve, logs = self.quadratic(objective, at, scalars)
            check_finite(value, grad)
            damping = scalars.get("damping", self.damping)
            ended = small_gradient(grad, self.tol)
            while ended is None:
                step = solve(damping)
                if step is not None:
                    new = (at + step).astype(theta.dtype)
                    new_value = objective.value(new.astype(float))
                    # −gᵀδ − δᵀHδ/2, where δᵀHδ = −gᵀδ − μ δᵀδ
                    predicted = 0.5 * float(step @ (damping * step - grad))
                    if new_value < value:
                        break
                    if predicted <= eps * abs(value):
                        ended = stalled("no step changes the loss by more than rounding", grad, self.tol)
                        break
                damping *= GROW
                if damping > self.max_damping:
                    ended = stalled(
                        f"no step lowers the loss up to a damping of {self.max_damping:g}", grad, self.tol)
            if ended is None:
                exact = abs((value - new_value) / predicted - 1) < EXACT
                scalars["damping"] = max(damping * (SHRINK_EXACT if exact else SHRINK), SMALLEST)
                theta[:], value = new, new_value
            yield {"loss": value, **logs}, ended
