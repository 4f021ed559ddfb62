"""SGD, stochastic gradient descent, plain or with momentum."""
from __future__ import annotations

import numpy as np

from ldl_cy._engine.vec import RULES
from ldl_cy.optimizers.settings import Bool, Real
from ldl_cy.optimizers.step_rule import LearningRate, RateFactors, StepRule, table


class SGD(StepRule):
    """Stochastic gradient descent, plain, with momentum, or with Nesterov's momentum.

    ::

        θ ← θ − η g             (plain)

        v ← μ v − η g           (momentum)
        θ ← θ + v

        v ← μ v − η g           (Nesterov)
        θ ← θ + μ v − η g

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.01
        η.
    momentum : float in [0, 1], default=0.0
        μ; the velocity v includes the learning rate.
    nesterov : bool, default=False
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", Ann. Math. Statist. 22, 1951. Sutskever, Martens, Dahl and
    Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013.
    """

    rule_id = RULES.index("sgd")
    slot_counts = (0, 1)            # v
    depends_on_step = False
    momentum, nesterov = Real(0, 1), Bool()

    def __init__(
        self, learning_rate: LearningRate = 0.01, momentum: float = 0.0, nesterov: bool = False, *,
        clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
        rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema, rate_factors=rate_factors)
        self.momentum, self.nesterov = momentum, nesterov

    @property
    def n_slots(self) -> int:
        """1 for the velocity if there is momentum, else 0."""
        return 1 if self.momentum > 0 else 0

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (η, μ, nesterov)."""
        return table(rates, self.momentum, float(self.nesterov))
