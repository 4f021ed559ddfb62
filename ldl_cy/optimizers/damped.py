"""Damped Gauss-Newton steps: the quadratic model is trusted as far as it foresees what a step gains."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from ldl_cy.checks import check_real
from ldl_cy.optimizers.full_batch import (
    Ended,
    Iteration,
    IterativeMethod,
    check_deterministic,
    check_finite,
    check_single_output,
    small_gradient,
)

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.objective import Objective

GROW, SHRINK = 10.0, 0.1        # of the damping, as in MATLAB's trainlm
EXACT = 1e-3                    # the gain is so close to what was foreseen that the damping may all but end
SHRINK_EXACT = 1e-3
SMALLEST = 1e-20                # less is nothing beside any Hessian, and μ would have to grow from there again


class Quadratic(NamedTuple):
    """f(θ) + gᵀδ + δᵀHδ/2 around θ."""

    value: float
    grad: np.ndarray
    solve: Callable[[float], np.ndarray | None]     # μ -> δ of (H + μ I) δ = -g; None where it cannot be solved
    logs: dict[str, float]                          # what else to record of the iteration


class Damped(IterativeMethod):
    """Base of the methods that take damped Newton steps, H ≥ 0.

    ::

        (H + μ I) δ = −g
        θ ← θ + δ

    μ grows tenfold until a step lowers the loss. Then it falls to a tenth, or to a thousandth where the quadratic model
    foresaw the gain to a thousandth, as close to a minimum and in linear problems.

    Parameters
    ----------
    damping : float > 0
        The first μ.
    tol : float >= 0
        The largest entry of the gradient at which the fit has converged.
    max_damping : float > 0
        The fit ends where no step lowers the loss up to this μ.

    References
    ----------
    Levenberg, Quarterly of Applied Mathematics 2, 1944; Marquardt, SIAM J. Appl. Math. 11, 1963.
    """

    state_scalars: ClassVar[Mapping[str, float]] = {"damping": np.finfo(float).tiny}

    def __init__(self, damping: float, tol: float, max_damping: float) -> None:
        super().__init__(tol)
        owner = type(self).__name__
        self.damping = check_real(owner, "damping", damping, 0, low_open=True)
        self.max_damping = check_real(owner, "max_damping", max_damping, 0, low_open=True)

    def check(self, graph: Graph, loss: Loss) -> None:
        """A network that is a function of its weights, with outputs of one axis."""
        check_single_output(type(self).__name__, graph)
        check_deterministic(type(self).__name__, graph)

    def quadratic(self, objective: Objective, at: np.ndarray, scalars: dict[str, float]) -> Quadratic:
        """The model of the loss around θ."""
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
                    found = objective.value(new.astype(float))
                    # −gᵀδ − δᵀHδ/2, where δᵀHδ = −gᵀδ − μ δᵀδ
                    foreseen = 0.5 * float(step @ (damping * step - grad))
                    if found < value:
                        break
                    if foreseen <= eps * abs(value):
                        ended = Ended("converged", "no step changes the loss by more than rounding")
                        break
                damping *= GROW
                if damping > self.max_damping:
                    ended = Ended("stalled", f"no step lowers the loss up to a damping of {self.max_damping:g}")
            if ended is None:
                exact = abs((value - found) / foreseen - 1) < EXACT
                scalars["damping"] = max(damping * (SHRINK_EXACT if exact else SHRINK), SMALLEST)
                theta[:], value = new, found
            yield {"loss": value, **logs}, ended
