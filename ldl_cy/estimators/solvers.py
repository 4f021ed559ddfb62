"""Solvers: the optimizer for an estimator's parameters."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ldl_cy import optimizers
from ldl_cy.estimators.closed_form import HeadSums, make_head
from ldl_cy.messages import shown
from ldl_cy.optimizers.lbfgs import SCIPYS_LOSS_TOL

RIDGE = "ridge"
SOLVERS = {*optimizers.OPTIMIZERS, RIDGE}
LEAST_SQUARES = {"lm", RIDGE}           # solvers that minimise squared errors and nothing else


def is_closed_form(solver: Any) -> bool:
    """Whether a solver, a name or an optimizer object, computes the output layer without iterations."""
    return isinstance(solver, str) and solver == RIDGE


def takes_full_batch(solver: Any) -> bool:
    """Whether a solver, a name or an optimizer object, uses all rows in each step."""
    return is_closed_form(solver) or (optimizers.OPTIMIZERS[solver] if isinstance(solver, str) else solver).full_batch


class Adam(optimizers.Adam):
    """Adam with epsilon as in scikit-learn, added to the root of the uncorrected second moment.

    ::

        m ← β₁ m + (1 − β₁) g                   t = 1, 2, …
        v ← β₂ v + (1 − β₂) g²
        θ ← θ − η √(1 − β₂ᵗ)/(1 − β₁ᵗ) m / (√v + ε)

    The two versions differ for gradients as small as ε, such as those of a unit that is never active, which come from
    the penalty alone.
    """

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """As in the parent class, but with ε/√(1−β₂ᵗ) in the last column."""
        rows = super().formula(rates, first)
        rows[:, 4] *= rows[:, 3]
        return rows


def check_loss(estimator: Any, loss: Any) -> None:
    """Refuse a loss that the solver cannot minimise."""
    if isinstance(estimator.solver, str) and estimator.solver in LEAST_SQUARES and loss.name != "squared_error":
        raise ValueError(f"solver={estimator.solver!r} minimises squared errors only, got the loss "
                         f"{shown(loss.name)} of {type(estimator).__name__}; solver='lbfgs' and solver='cg' minimise "
                         "any.")


def make_optimizer(
    estimator: Any, step_size: Callable[[], float], *, incremental: bool = False, earlier: HeadSums | None = None,
) -> optimizers.Optimizer:
    """The optimizer of a fit or a call of ``partial_fit``.

    A learning rate that changes is read from ``step_size()`` before each epoch. With solver="ridge" ``partial_fit``
    adds its rows to the ``earlier`` ones.
    """
    est: Any = estimator
    rate: Any = step_size()
    if not isinstance(est.solver, str):
        return est.solver
    if is_closed_form(est.solver):
        return make_head(est, incremental=incremental, earlier=earlier)
    if est.solver == "gd":
        return optimizers.GD(rate, tol=0.0)     # TrainingMonitor decides when to stop, as for the minibatch solvers
    if est.solver == "sgd":
        if est.learning_rate != "constant":
            def rate(steps: np.ndarray) -> np.ndarray:
                return np.full(len(steps), step_size())
        return optimizers.SGD(
            rate, momentum=est.momentum, nesterov=bool(est.nesterovs_momentum and est.momentum > 0))
    if est.solver == "lbfgs":
        return optimizers.LBFGS(est.tol, max_fun=est.max_fun, loss_tol=SCIPYS_LOSS_TOL)     # as in scikit-learn
    kind: Any = Adam if est.solver == "adam" else optimizers.OPTIMIZERS[est.solver]
    if issubclass(kind, optimizers.FullBatchMethod):
        return kind(tol=est.tol)
    known = inspect.signature(kind).parameters
    return kind(rate, **{name: getattr(est, name) for name in ("beta_1", "beta_2", "epsilon") if name in known})
