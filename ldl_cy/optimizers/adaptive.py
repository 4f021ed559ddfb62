"""Adagrad, RMSprop and Adadelta, which scale the step of each weight by its past gradients."""
from __future__ import annotations

import numpy as np

from ldl_cy._engine.vec import RULES
from ldl_cy.optimizers.settings import Bool, Real
from ldl_cy.optimizers.step_rule import LearningRate, RateFactors, StepRule, table


class Adagrad(StepRule):
    """Adagrad: steps along the gradient, divided by the root of the sum of its squares.

    ::

        s ← s + g²                              t = 1, 2, …
        ηₜ = η / (1 + (t − 1) d)
        θ ← θ − ηₜ g / (√(s₀ + s) + ε)

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.01
        η.
    learning_rate_decay : float >= 0, default=0.0
        d; weight_decay uses the decayed rate ηₜ too.
    initial_accumulator_value : float >= 0, default=0.0
        s₀, the initial value of the sum.
    epsilon : float > 0, default=1e-10
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12, 2011.
    """

    rule_id = RULES.index("adagrad")
    slot_counts = (1,)              # s
    learning_rate_decay, initial_accumulator_value = Real(0), Real(0)
    epsilon = Real(0, low_open=True)

    def __init__(
        self, learning_rate: LearningRate = 0.01, learning_rate_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, epsilon: float = 1e-10, *, clip_norm: float | None = None,
        weight_decay: float = 0.0, ema: float | None = None, rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema, rate_factors=rate_factors)
        self.learning_rate_decay, self.initial_accumulator_value = learning_rate_decay, initial_accumulator_value
        self.epsilon = epsilon

    @property
    def depends_on_step(self) -> bool:
        """Whether the rate decays."""
        return self.learning_rate_decay > 0

    def rates(self, first: int, count: int, epoch: int = 0, steps_per_epoch: int = 1) -> np.ndarray:
        """ηₜ; see ``StepRule.rates``."""
        decayed = 1 + self.learning_rate_decay * np.arange(first, first + count)
        return super().rates(first, count, epoch, steps_per_epoch) / decayed

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (ηₜ, s₀, ε)."""
        return table(rates, self.initial_accumulator_value, self.epsilon)


class RMSprop(StepRule):
    """RMSprop: steps along the gradient, divided by the root of the running mean of its square.

    ::

        s ← ρ s + (1 − ρ) g²
        v ← μ v − η g / (√s + ε)
        θ ← θ + v

    If centered, it is divided by the root of the running variance::

        m ← ρ m + (1 − ρ) g
        v ← μ v − η g / (√(s − m²) + ε)

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.01
        η.
    rho : float in [0, 1), default=0.99
        ρ, the decay rate of the running means.
    epsilon : float > 0, default=1e-8
    momentum : float in [0, 1], default=0.0
        μ; the velocity v includes the learning rate, as in ``SGD``.
    centered : bool, default=False
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: RMSProp", Coursera, Neural Networks for Machine Learning, 2012.
    Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013 (momentum, centered).
    """

    rule_id = RULES.index("rmsprop")
    slot_counts = (1, 2, 3)         # s; v; m
    depends_on_step = False
    rho, epsilon = Real(0, 1, high_open=True), Real(0, low_open=True)
    momentum, centered = Real(0, 1), Bool()

    def __init__(
        self, learning_rate: LearningRate = 0.01, rho: float = 0.99, epsilon: float = 1e-8, momentum: float = 0.0,
        centered: bool = False, *, clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
        rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema, rate_factors=rate_factors)
        self.rho, self.epsilon, self.momentum, self.centered = rho, epsilon, momentum, centered

    @property
    def n_slots(self) -> int:
        """1 to 3: the mean square, the velocity and the mean.

        With ``centered`` and without momentum the velocity is not used, but the number of vectors must identify them.
        """
        return 3 if self.centered else 2 if self.momentum > 0 else 1

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (η, ρ, ε, μ, centered)."""
        return table(rates, self.rho, self.epsilon, self.momentum, float(self.centered))


class Adadelta(StepRule):
    """Adadelta: steps along the gradient, scaled by the ratio of the root mean squares of past steps and gradients.

    ::

        s ← ρ s + (1 − ρ) g²
        d = g √(u + ε) / √(s + ε)
        u ← ρ u + (1 − ρ) d²
        θ ← θ − η d

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=1.0
        η; the paper has none, since steps already have the unit of the weights.
    rho : float in [0, 1), default=0.9
        ρ, the decay rate of both running means.
    epsilon : float > 0, default=1e-6
        The first steps are proportional to its square root.
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701, 2012.
    """

    rule_id = RULES.index("adadelta")
    slot_counts = (2,)              # s, u
    depends_on_step = False
    rho, epsilon = Real(0, 1, high_open=True), Real(0, low_open=True)

    def __init__(
        self, learning_rate: LearningRate = 1.0, rho: float = 0.9, epsilon: float = 1e-6, *,
        clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
        rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema, rate_factors=rate_factors)
        self.rho, self.epsilon = rho, epsilon

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (η, ρ, ε)."""
        return table(rates, self.rho, self.epsilon)
