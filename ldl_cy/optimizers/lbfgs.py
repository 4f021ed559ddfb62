"""LBFGS, SciPy's L-BFGS."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy.optimize

from ldl_cy.optimizers.full_batch import Ended, FullBatchMethod, largest_entry, small_gradient, stalled
from ldl_cy.optimizers.settings import Int, Real

if TYPE_CHECKING:
    from ldl_cy.optimizers.objective import Objective

SCIPYS_LOSS_TOL = 1e7 * np.finfo(float).eps         # its default, for ``loss_tol``


class LBFGS(FullBatchMethod):
    """Limited-memory BFGS, ``scipy.optimize.minimize(method="L-BFGS-B")`` on the model's gradients.

    ::

        θ ← θ − η H g           η by a line search, H from the last pairs (Δθ, Δg)

    Parameters
    ----------
    tol : float >= 0, default=1e-5
        The fit has converged if no entry of the gradient is larger.
    memory : int >= 1, default=10
        The number of pairs of steps and gradient changes from which H, the inverse Hessian, is approximated.
    max_fun : int >= 1, default=15000
        Maximum number of evaluations of the loss.
    loss_tol : float >= 0, default=0.0
        If this is not 0, the fit has also converged if an iteration gains at most this, relative to the loss, or to 1
        if the loss is smaller. SciPy's default is 2.2e-9.

    Notes
    -----
    The network computes in its own dtype; θ is float64 meanwhile. A further fit begins with an empty memory, since
    SciPy does not expose it.

    References
    ----------
    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", Math. Programming 45, 1989;
    Zhu, Byrd, Lu and Nocedal, ACM Trans. Math. Software 23, 1997.
    """

    dtype = None
    memory, max_fun, loss_tol = Int(), Int(), Real(0)

    def __init__(self, tol: float = 1e-5, memory: int = 10, max_fun: int = 15000, loss_tol: float = 0.0) -> None:
        super().__init__(tol)
        self.memory, self.max_fun, self.loss_tol = memory, max_fun, loss_tol

    def minimize(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float], epochs: int,
        callback: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """See ``FullBatchMethod.minimize``; ``Ended.result`` is SciPy's result."""
        done, halted, moved = 0, False, True

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            with np.errstate(over="ignore", invalid="ignore"):      # steps that overflow are rejected
                return objective.value_and_grad(x)

        def after_iteration(intermediate_result: scipy.optimize.OptimizeResult) -> None:
            nonlocal done, halted, moved
            theta[:] = at = intermediate_result.x.astype(theta.dtype)
            done += 1
            halted = callback({"loss": float(intermediate_result.fun)})
            moved = not np.array_equal(theta, at)
            if halted or moved:
                raise StopIteration     # ends SciPy's iterations from a callback

        while moved and not halted and done < epochs:       # again if a callback has set other weights
            moved = False
            result = scipy.optimize.minimize(
                evaluate, theta.astype(float), jac=True, method="L-BFGS-B", callback=after_iteration,
                options={"maxcor": self.memory, "maxfun": self.max_fun, "maxiter": epochs - done, "gtol": self.tol,
                         "ftol": self.loss_tol})
            if not (np.isfinite(result.x).all() and np.isfinite(result.fun)):
                raise FloatingPointError("the search met a loss or a weight that is not finite")
        if not done:
            halted = callback({"loss": float(result.fun)})
        return None if halted else self._end(result, done >= epochs)._replace(result=result)

    def _end(self, result: scipy.optimize.OptimizeResult, complete: bool) -> Ended:
        """Why SciPy has ended; its own words do not tell whether the gradient is as small as it was asked for."""
        grad = result.jac
        if (ended := small_gradient(grad, self.tol)) is not None:
            return ended
        if result.status == 0 and self.loss_tol > 0:
            return Ended("converged", f"an iteration lowered the loss by at most loss_tol={self.loss_tol:g} of itself; "
                                      f"{largest_entry(grad)}above tol={self.tol:g}")
        if result.status == 0:
            return stalled("no iteration lowers the loss", grad, self.tol)
        if result.nfev >= self.max_fun:
            return stalled(f"the loss was evaluated max_fun={self.max_fun} times", grad, self.tol)
        if complete:
            return Ended("epochs", f"all epochs were made; {largest_entry(grad)}above tol={self.tol:g}")
        return stalled("the line search finds no lower loss", grad, self.tol)
