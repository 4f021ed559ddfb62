"""GD, full-batch gradient descent until convergence."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ldl_cy._engine.vec import RULES
from ldl_cy.messages import shown
from ldl_cy.optimizers.base import Rule
from ldl_cy.optimizers.full_batch import FullBatchMethod
from ldl_cy.optimizers.line_search import ArmijoDescent
from ldl_cy.optimizers.settings import Bool, Choice, Real
from ldl_cy.optimizers.step_rule import LearningRate, RateFactors, StepRule, table


class GD(StepRule):
    """Full-batch gradient descent until convergence, for at most ``epochs`` epochs.

    ::

        θ ← θ − η ∇f(θ)

    With a line search (Armijo's)::

        η ← η/2 until f(θ − η g) <= f(θ) − 10⁻⁴ η gᵀg
        θ ← θ − η g
        η ← 2 η

    Parameters
    ----------
    learning_rate : float > 0, a schedule or a function of the step, default=0.01
        η; with a line search the initial step size, a float.
    tol : float >= 0, default=1e-6
        The fit has converged if the criterion is at most this; with 0 it never stops before ``epochs``.
    criterion : {"gradient", "loss"}, default="gradient"
        The largest entry of the gradient, or the change of the loss from one epoch to the next, relative to the loss.
    line_search : bool, default=False
        Whether to search for η in each iteration. The network is then used as in inference, without dropout and with
        BatchNorm's running statistics.
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``; not with a line search

    References
    ----------
    Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées", 1847. Armijo, "Minimization of
    functions having Lipschitz continuous first partial derivatives", Pacific J. Math. 16, 1966.
    """

    rule_id = RULES.index("sgd")
    full_batch = True
    depends_on_step = False
    state_scalars = ArmijoDescent.state_scalars     # "loss" with criterion="loss" too
    tol, criterion, line_search = Real(0), Choice(("gradient", "loss")), Bool()

    def __init__(
        self, learning_rate: LearningRate = 0.01, tol: float = 1e-6, criterion: str = "gradient",
        line_search: bool = False, *, clip_norm: float | None = None, weight_decay: float = 0.0,
        ema: float | None = None, rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema, rate_factors=rate_factors)
        self.tol, self.criterion, self.line_search = tol, criterion, line_search
        self._initial_rate()

    @property
    def method(self) -> FullBatchMethod | None:
        """The line search, or None."""
        if not self.line_search:
            return None
        return ArmijoDescent(self._initial_rate(), self.tol, self.criterion)

    def _initial_rate(self) -> float:
        """The line search's initial step size; a ValueError if other settings do not fit a line search."""
        rate, others = self.learning_rate, (self.clip_norm, self.weight_decay, self.ema, self.rate_factors or None)
        if not self.line_search:
            return 0.0
        if callable(rate) or others != (None, 0.0, None, None):
            *first, last = map(shown, (rate, *others))
            raise ValueError("GD: line_search=True takes a float as learning_rate, and no clip_norm, weight_decay, ema "
                             f"or rate_factors, got {', '.join(first)} and {last}.")
        return rate

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """SGD's rows without momentum, (η, 0, 0)."""
        return table(rates, 0.0, 0.0)

    def rule(self, alpha: float, ranges: np.ndarray) -> Rule:
        """See ``StepRule.rule``; with ``tol`` and the criterion."""
        return replace(super().rule(alpha, ranges), tol=self.tol, by_loss=self.criterion == "loss")
