"""LevenbergMarquardt, also with MacKay's Bayesian regularisation."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import scipy.linalg

from ldl_cy.optimizers.damped import Damped, Quadratic
from ldl_cy.optimizers.full_batch import check_finite, small_gradient
from ldl_cy.optimizers.settings import Bool

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.objective import Objective

LARGEST_MATRICES = 1 << 32      # bytes of the Gauss-Newton matrix and its factor
FIRST_SHARE = 1e-3              # the initial penalty, relative to the loss, if alpha is 0
SETTLED = 0.01                  # τ is estimated again after an iteration that gains less than this share of the loss


class LevenbergMarquardt(Damped):
    """Levenberg-Marquardt: least squares in few iterations, each of which solves a P x P system for P weights.

    ::

        (JᵀJ + μ I) δ = −Jᵀr
        θ ← θ + δ

    r are the residuals, J is their Jacobian.

    Parameters
    ----------
    damping : float > 0, default=1e-3
        The initial μ; see ``Damped`` for how it changes.
    tol : float >= 0, default=1e-10
        The fit has converged if no entry of the gradient is larger.
    max_damping : float > 0, default=1e10
        The fit ends if no step lowers the loss up to this μ.
    bayesian : bool, default=False
        Minimise L(θ) + τ Σ θ² with the mean squared error L, and estimate τ again after each iteration that lowers the
        sum by less than 1 %::

            γ = P − 2 τ tr (H + 2 τ I)⁻¹            effective parameters
            τ ← γ L / ((N − γ) Σ θ²)                for N outputs in all

        History records γ as "effective_parameters". The initial τ follows from the fit's ``alpha``; if that is 0, the
        initial penalty is a thousandth of the loss.

    Notes
    -----
    P counts the trainable weights. Memory is O(P²), independent of the number of rows. Refuses layers that draw random
    numbers, such as Dropout, BatchNorm that is not frozen, and outputs that are sequences.

    References
    ----------
    Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", SIAM J. Appl. Math. 11, 1963;
    Hagan and Menhaj, IEEE Trans. Neural Networks 5, 1994. MacKay, "Bayesian interpolation", Neural Computation 4,
    1992; Foresee and Hagan, "Gauss-Newton approximation to Bayesian learning", ICNN 1997.
    """

    state_scalars: ClassVar[Mapping[str, float]] = {**Damped.state_scalars, "tau": 0.0, "value": 0.0}
    bayesian = Bool()

    def __init__(
        self, damping: float = 1e-3, tol: float = 1e-10, max_damping: float = 1e10, bayesian: bool = False,
    ) -> None:
        super().__init__(damping, tol, max_damping)
        self.bayesian = bayesian

    @property
    def log_keys(self) -> tuple[str, ...]:
        """γ, if it is estimated."""
        return ("effective_parameters",) if self.bayesian else ()

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse losses other than squared_error, matrices of more than 4 GiB, and what ``Damped`` refuses."""
        if loss.name != "squared_error":
            raise ValueError(f"LevenbergMarquardt: the loss must be squared_error, got {loss.name}; GaussNewtonCG, "
                             "ConjugateGradient and LBFGS take others.")
        super().check(graph, loss)
        n_params = sum(entry.parameter.size for entry in graph.parameters if entry.trainable)
        size = 16 * n_params**2
        if size > LARGEST_MATRICES:
            raise ValueError(
                f"LevenbergMarquardt: its matrices may take at most {LARGEST_MATRICES / 2**30:.0f} GiB, got "
                f"{n_params} weights, for which they take {size / 2**30:.1f} GiB; GaussNewtonCG needs none.")

    def quadratic(self, objective: Objective, at: np.ndarray, scalars: dict[str, float]) -> Quadratic:
        """H = JᵀCJ, with the weights C of the squares, plus the penalty's part."""
        grad, matrix = objective.gauss_newton(at)
        logs = self._regularise(objective, at, grad, matrix, scalars) if self.bayesian else {}
        grad += objective.decay * at
        matrix[np.diag_indices_from(matrix)] += objective.decay
        return Quadratic(objective.value(at), grad, lambda damping: solve_damped(matrix, damping, -grad), logs)

    def _regularise(
        self, objective: Objective, at: np.ndarray, grad: np.ndarray, matrix: np.ndarray, scalars: dict[str, float],
    ) -> dict[str, float]:
        """The effective number of parameters at θ; sets the penalty to τ Σ θ², with a new τ if the loss has settled."""
        tau = scalars.get("tau", 0.5 * float(objective.decay.max(initial=0.0)))
        objective.decay = np.zeros(at.size)
        residual = objective.value(at)
        squares = float(at @ at)
        if tau == 0 and squares > 0:
            # from τ = 0 the first estimate would mistake a loss far from its minimum for noise, and stop all learning
            tau = FIRST_SHARE * residual / squares
        used = float(at.size)
        if tau > 0:
            check_finite(residual, matrix)
            matrix = matrix.copy(order="F")
            # large enough that the matrix is positive definite in spite of rounding
            added = max(2 * tau, at.size * float(np.finfo(float).eps * np.trace(matrix)))
            matrix[np.diag_indices_from(matrix)] += added
            factor = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
            inverse = scipy.linalg.lapack.dtrtri(factor, lower=1, overwrite_c=1)[0]
            # tr (L Lᵀ)⁻¹ = ‖L⁻¹‖²
            used = at.size - added * float(np.vdot(inverse, inverse))
        value = residual + tau * squares
        settled = value > (1 - SETTLED) * scalars.get("value", np.inf)
        settled |= small_gradient(grad + 2 * tau * at, self.tol) is not None
        if settled and squares > 0 and residual > 0:
            n = objective.total_weight * objective.n_outputs
            # N numbers determine at most N − 1 parameters
            tau = used * residual / (max(n - used, 1.0) * squares)
            value = residual + tau * squares
        scalars["tau"], scalars["value"] = tau, value
        objective.decay = np.full(at.size, 2 * tau)
        return {"effective_parameters": used}


def solve_damped(matrix: np.ndarray, damping: float, right: np.ndarray) -> np.ndarray | None:
    """(H + μ I)⁻¹ b by Cholesky decomposition of the lower triangle of H; None if H + μ I is not positive definite."""
    damped = matrix.copy(order="F")
    damped[np.diag_indices_from(damped)] += damping
    try:
        factor = scipy.linalg.cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    return scipy.linalg.cho_solve(factor, right, check_finite=False)
