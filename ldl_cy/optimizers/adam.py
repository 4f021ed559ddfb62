"""Adam, AdamW and Nadam."""
from __future__ import annotations

import numpy as np

from ldl_cy._engine.vec import RULES
from ldl_cy.optimizers.settings import Real
from ldl_cy.optimizers.step_rule import LearningRate, RateFactors, StepRule, table

# Nadam's running product is computed factor by factor up to this step. By then either the product is less than half an
# ulp of the 1 from which it is subtracted, or 0.96^(t ψ) is, and all later factors equal β₁.
FACTORS = 4096


class Adam(StepRule):
    """Adam: steps along the running mean of the gradient, divided by the root of the running mean of its square.

    ::

        m ← β₁ m + (1 − β₁) g                   t = 1, 2, …
        v ← β₂ v + (1 − β₂) g²
        m̂ = m / (1 − β₁ᵗ)
        v̂ = v / (1 − β₂ᵗ)
        θ ← θ − η m̂ / (√v̂ + ε)

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.001
        η.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay rates of the running means of the gradient and of its square.
    epsilon : float > 0, default=1e-8
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    rule_id = RULES.index("adam")
    slot_counts = (2,)              # m, v
    beta_1, beta_2 = Real(0, 1, high_open=True), Real(0, 1, high_open=True)
    epsilon = Real(0, low_open=True)

    def __init__(
        self, learning_rate: LearningRate = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        *, clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
        rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema, rate_factors=rate_factors)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (η/(1−β₁ᵗ), β₁, β₂, 1/√(1−β₂ᵗ), ε), t = 1, 2, …"""
        t = np.arange(first + 1, first + len(rates) + 1, dtype=float)
        return table(
            rates / (1 - self.beta_1**t), self.beta_1, self.beta_2, 1 / np.sqrt(1 - self.beta_2**t), self.epsilon)


class AdamW(Adam):
    """Adam with decoupled weight decay by default. In addition to Adam's step,

    ::

        θ ← θ − η λ θ

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.001
        η.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        See ``Adam``.
    epsilon : float > 0, default=1e-8
    weight_decay : float >= 0, default=0.01
        λ, for parameters with ``decays``, see ``StepRule``.
    clip_norm, ema, rate_factors : see ``StepRule``

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(
        self, learning_rate: LearningRate = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        *, clip_norm: float | None = None, weight_decay: float = 0.01, ema: float | None = None,
        rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema,
            rate_factors=rate_factors)


class Nadam(Adam):
    """Adam with Nesterov's momentum, which grows towards β₁.

    ::

        μₜ = β₁ (1 − ½ 0.96^(t ψ))              t = 1, 2, …
        Πₜ = μ₁ μ₂ ⋯ μₜ
        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        m̂ = (1 − μₜ)/(1 − Πₜ) g + μₜ₊₁/(1 − Πₜ₊₁) m
        v̂ = v / (1 − β₂ᵗ)
        θ ← θ − η m̂ / (√v̂ + ε)

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.002
        η.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        See ``Adam``.
    epsilon : float > 0, default=1e-8
    momentum_decay : float >= 0, default=0.004
        ψ, the speed with which the momentum grows.
    clip_norm, weight_decay, ema, rate_factors : see ``StepRule``

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop, 2016.
    """

    rule_id = RULES.index("nadam")
    momentum_decay = Real(0)

    def __init__(
        self, learning_rate: LearningRate = 0.002, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        momentum_decay: float = 0.004, *, clip_norm: float | None = None, weight_decay: float = 0.0,
        ema: float | None = None, rate_factors: RateFactors = None,
    ) -> None:
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema,
            rate_factors=rate_factors)
        self.momentum_decay = momentum_decay

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (η (1−μₜ)/(1−Πₜ), η μₜ₊₁/(1−Πₜ₊₁), β₁, β₂, 1/√(1−β₂ᵗ), ε), t = 1, 2, …"""
        t = np.arange(first + 1, first + len(rates) + 1)
        now, then, product = self.momenta(t), self.momenta(t + 1), self.products(t)
        _, *adams = super().formula(rates, first).T
        return table(rates * (1 - now) / (1 - product), rates * then / (1 - product * then), *adams)

    def momenta(self, t: np.ndarray) -> np.ndarray:
        """μₜ of steps t."""
        return self.beta_1 * (1 - 0.5 * 0.96**(t * self.momentum_decay))

    def products(self, t: np.ndarray) -> np.ndarray:
        """Πₜ of ascending steps t; always computed from the first factor on, so that it depends on t alone."""
        factors = self.momenta(np.arange(1, min(t[-1], FACTORS) + 1))
        return np.cumprod(factors)[np.minimum(t, FACTORS) - 1] * self.beta_1**np.maximum(t - FACTORS, 0)
