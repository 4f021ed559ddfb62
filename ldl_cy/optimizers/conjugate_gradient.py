"""ConjugateGradient, Møller's scaled conjugate gradients."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ldl_cy.optimizers.full_batch import Iteration, IterativeMethod, check_finite, small_gradient, stalled
from ldl_cy.optimizers.settings import Real

if TYPE_CHECKING:
    from ldl_cy.optimizers.objective import Objective

SMALLEST_SCALE, LARGEST_SCALE = 1e-15, 1e20       # bounds of λ
WORST_RATIO = -100.0                                # bounds the growth of λ to a factor of about a hundred at a time


class ConjugateGradient(IterativeMethod):
    """Scaled conjugate gradients: the curvature along a direction replaces a line search.

    ::

        δ = pᵀ (∇f(θ + σ p/‖p‖) − g) ‖p‖/σ + λ pᵀp      the curvature along p
        θ ← θ − (pᵀg / δ) p
        β = (g⁺ᵀg⁺ − g⁺ᵀg) / (−pᵀg)                      g⁺ the gradient at the new θ
        p ← −g⁺ + β p

    An iteration computes two gradients. λ keeps the curvature positive, like the damping of Levenberg and Marquardt: it
    is divided by 4 if the quadratic model predicted the gain well, and increased if it did not. After every P
    iterations, for P weights, p is reset to −g.

    Parameters
    ----------
    tol : float >= 0, default=1e-5
        The fit has converged if no entry of the gradient is larger.
    sigma : float > 0, default=1e-4
        σ, the length of the step for the difference of gradients that gives the curvature.
    scale : float > 0, default=1e-6
        The initial λ.

    References
    ----------
    Møller, "A scaled conjugate gradient algorithm for fast supervised learning", Neural Networks 6, 1993.
    """

    slot_counts = (1,)              # the direction p
    state_scalars: ClassVar[Mapping[str, float]] = {"scale": 0.0, "since": 0.0}
    sigma, scale = Real(0, low_open=True), Real(0, low_open=True)

    def __init__(self, tol: float = 1e-5, sigma: float = 1e-4, scale: float = 1e-6) -> None:
        super().__init__(tol)
        self.sigma, self.scale = sigma, scale

    def iterate(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float],
    ) -> Iterator[Iteration]:
        """See ``IterativeMethod``; numbers in brackets are the steps of Møller's algorithm."""
        # losses that are compared come from one function, since two may round differently
        value, grad = objective.value(theta.astype(float)), objective.value_and_grad(theta.astype(float))[1]
        check_finite(value, grad)
        ended = small_gradient(grad, self.tol)
        while ended is None:
            at = theta.astype(float)
            scale, since = scalars.get("scale", self.scale), int(scalars.get("since", 0))
            p = slots[0].astype(float)
            if since == 0 or not float(p @ grad) < 0:
                p = -grad           # restart along the gradient, as after every P iterations
                since = 0
            squared, descent = float(p @ p), -float(p @ grad)
            check_finite(squared, grad)
            if not self.scale * squared * descent > 0:      # underflow, of a gradient of some 1e-100
                ended = stalled("no step changes the loss by more than rounding", grad, self.tol)
                break
            # [2] pᵀ H p by a difference of gradients
            sigma = self.sigma / np.sqrt(squared)
            shifted = objective.value_and_grad(at + sigma * p)[1]
            curvature = float(p @ (shifted - grad)) / sigma
            if not np.isfinite(curvature):
                curvature = 0.0         # λ alone keeps the step short
            while ended is None:
                # [3, 4] make the curvature positive
                delta = curvature + scale * squared
                if not delta > 0:
                    scale = 2 * (scale - delta / squared)
                    delta = curvature + scale * squared
                # [5] the step to the minimum of the quadratic model
                new = (at + descent / delta * p).astype(theta.dtype)
                new_value = objective.value(new.astype(float))
                # [6] the gain divided by the predicted gain, descent²/(2 δ)
                predicted = descent * descent / (2 * delta)
                ratio = (value - new_value) / predicted
                if not ratio > WORST_RATIO:
                    ratio = WORST_RATIO             # also for a loss that explodes or is NaN
                if new_value < value:
                    break
                if predicted <= np.finfo(theta.dtype).eps * abs(value):
                    ended = stalled("no step changes the loss by more than rounding", grad, self.tol)
                # [8] a smaller step
                scale = max(4 * scale, scale + delta * (1 - ratio) / squared)
                if scale > LARGEST_SCALE:
                    ended = stalled("no step lowers the loss", grad, self.tol)
            if ended is not None and since > 0:
                scalars["since"], ended = 0.0, None     # p may be the cause: try once more along the gradient
                continue
            if ended is not None:
                break
            # [7]
            # θ changes only at the end of the iteration, so that Ctrl-C before leaves it unchanged
            value, before, grad = new_value, grad, objective.value_and_grad(new.astype(float))[1]
            check_finite(value, grad)
            theta[:] = new
            if ratio >= 0.75:
                scale = max(0.25 * scale, SMALLEST_SCALE)
            elif ratio < 0.25:
                scale += delta * (1 - ratio) / squared
            beta = (float(grad @ grad) - float(grad @ before)) / descent
            slots[0] = -grad + beta * p
            scalars["scale"], scalars["since"] = scale, float((since + 1) % theta.size)
            ended = small_gradient(grad, self.tol)
            if ended is None:
                yield {"loss": value}, None
        yield {"loss": value}, ended
