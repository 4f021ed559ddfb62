"""GaussNewtonCG, truncated Gauss-Newton: solves the damped system by conjugate gradients, without a matrix."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from ldl_cy.optimizers.damped import Damped, Quadratic
from ldl_cy.optimizers.settings import Int, Real

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.objective import Objective


class GaussNewtonCG(Damped):
    """Truncated Gauss-Newton, which stores no matrix and so is suited to any number of weights.

    ::

        (Jᵀ B J + μ I) δ = −g           by conjugate gradients, truncated
        θ ← θ + δ

    J is the Jacobian of the outputs, B the Hessian of the loss with respect to the outputs. A product with the matrix
    is a directional derivative of the outputs (a central difference, in float64), then B, then a backward pass.

    Parameters
    ----------
    damping : float > 0, default=1e-3
        The initial μ; see ``Damped`` for how it changes.
    tol : float >= 0, default=1e-10
        The fit has converged if no entry of the gradient is larger.
    max_damping : float > 0, default=1e10
        The fit ends if no step lowers the loss up to this μ.
    max_products : int >= 1, default=100
        Maximum number of products per iteration.
    accuracy : float in (0, 1), default=1e-4
        The system of an iteration is solved up to this residual, relative to the gradient.

    Notes
    -----
    For squared_error, log_loss, binary_log_loss and poisson. Refuses layers that draw random numbers, such as
    Dropout, BatchNorm that is not frozen, and outputs that are sequences.

    References
    ----------
    Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", Neural Computation 14,
    2002; Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    """

    max_products, accuracy = Int(), Real(0, 1, low_open=True, high_open=True)

    def __init__(
        self, damping: float = 1e-3, tol: float = 1e-10, max_damping: float = 1e10, max_products: int = 100,
        accuracy: float = 1e-4,
    ) -> None:
        super().__init__(damping, tol, max_damping)
        self.max_products, self.accuracy = max_products, accuracy

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse losses without curvature, and what ``Damped`` refuses."""
        if not loss.has_curvature:
            raise ValueError("GaussNewtonCG: the loss must be squared_error, log_loss, binary_log_loss or poisson, "
                             f"got {loss.name}.")
        super().check(graph, loss)

    def quadratic(self, objective: Objective, at: np.ndarray, scalars: dict[str, float]) -> Quadratic:
        """H = JᵀBJ plus the penalty's part, as products with vectors."""
        grad = objective.value_and_grad(at)[1]

        def solve(damping: float) -> np.ndarray:
            def product(v: np.ndarray) -> np.ndarray:
                # Jᵀ B J v, the penalty and the damping
                return objective.curvature_product(at, v) + (objective.decay + damping) * v

            matrix = LinearOperator((at.size, at.size), matvec=product, dtype=float)
            # a truncated δ is fine for the predicted gain: CG's residual is orthogonal to it
            return cg(matrix, -grad, rtol=self.accuracy, atol=0.0, maxiter=self.max_products)[0]

        return Quadratic(objective.value(at), grad, solve, {})
