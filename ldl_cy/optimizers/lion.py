"""Lion: steps of one size, along the sign of a mean of gradients."""
from __future__ import annotations

import numpy as np

from ldl_cy._engine.vec import RULES
from ldl_cy.optimizers.settings import Real
from ldl_cy.optimizers.step_rule import LearningRate, RateFactors, StepRule, table


class Lion(StepRule):
    """Lion, evolved sign momentum: each weight moves by η, against the sign of a running mean of its gradient.

    ::

        c = β₁ m + (1 − β₁) g
        θ ← θ − η sign(c)
        m ← β₂ m + (1 − β₂) g

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=1e-4
        η. All weights move by as much in each step: the paper advises a third to a tenth of Adam's, with a
        ``weight_decay`` that is 3 to 10 times as large.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.99
        β₁: the weight of the mean against the new gradient in the step. β₂: decay of the mean.
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``

    References
    ----------
    Chen, Liang, Huang, Real, Wang, Liu, Pham, Dong, Luong, Hsieh, Lu and Le, "Symbolic discovery of optimization
    algorithms", NeurIPS 2023.
    """

    rule_id = RULES.index("lion")
    slot_counts = (1,)              # m
    depends_on_step = False
    beta_1, beta_2 = Real(0, 1, high_open=True), Real(0, 1, high_open=True)

    def __init__(
        self, learning_rate: LearningRate = 1e-4, beta_1: float = 0.9, beta_2: float = 0.99, *,
        clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
        rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema, rate_factors=rate_factors)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (η, β₁, β₂)."""
        return table(rates, self.beta_1, self.beta_2)
