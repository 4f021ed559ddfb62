"""Rules that scale each number's step by the gradients it has seen: sums of squares, or their running means."""
from __future__ import annotations

from typing import Any

import numpy as np

from ldl_cy._engine.vec import RULES
from ldl_cy.checks import check_bool, check_real
from ldl_cy.optimizers.base import Optimizer


def table(rates: np.ndarray, *numbers: Any) -> np.ndarray:
    """Rows of coefficients: arrays as long as ``rates`` stand as they are, numbers in every row."""
    return np.column_stack([np.broadcast_to(number, rates.shape) for number in numbers])


class Adagrad(Optimizer):
    """Adagrad: step along the gradient over the root of the sum of its squares.

    s ← s + g², θ ← θ − η/(1 + (t−1) d) · g / (√(s₀ + s) + ε), t = 1, 2, …

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.01
    learning_rate_decay : float >= 0, default=0.0
        d: the rate of step t is divided by 1 + (t−1) d.
    initial_accumulator_value : float >= 0, default=0.0
        s₀: what the sum begins with.
    epsilon : float > 0, default=1e-10
    clip_norm, weight_decay, ema : see ``Optimizer``

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12, 2011.
    """

    number = RULES.index("adagrad")
    n_slots = 1

    def __init__(
        self, learning_rate: Any = 0.01, learning_rate_decay: float = 0.0, initial_accumulator_value: float = 0.0,
        epsilon: float = 1e-10, *, clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema)
        self.learning_rate_decay = check_real("Adagrad", "learning_rate_decay", learning_rate_decay, 0)
        self.initial_accumulator_value = check_real(
            "Adagrad", "initial_accumulator_value", initial_accumulator_value, 0)
        self.epsilon = check_real("Adagrad", "epsilon", epsilon, 0, low_open=True)

    @property
    def constant(self) -> bool:                                 # type: ignore[override]
        return self.learning_rate_decay == 0

    def rates(self, first: int, count: int, epoch: int = 0, steps_per_epoch: int = 1) -> np.ndarray:
        """See ``Optimizer``; weight_decay follows them too."""
        decayed = 1 + self.learning_rate_decay * np.arange(first, first + count)
        return super().rates(first, count, epoch, steps_per_epoch) / decayed

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (rate, s₀, ε)."""
        return table(rates, rates, self.initial_accumulator_value, self.epsilon)


class RMSprop(Optimizer):
    """RMSprop: step along the gradient over the root of the running mean of its square.

    s ← ρ s + (1−ρ) g², v ← μ v − η g / (√s + ε), θ ← θ + v. Centered, the root is that of the running variance
    s − m², m ← ρ m + (1−ρ) g.

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.01
    rho : float in [0, 1), default=0.99
        Decay of the running means.
    epsilon : float > 0, default=1e-8
    momentum : float in [0, 1], default=0.0
        The velocity includes the learning rate, as that of ``SGD``.
    centered : bool, default=False
    clip_norm, weight_decay, ema : see ``Optimizer``

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: RMSProp", Coursera, Neural Networks for Machine Learning, 2012.
    Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013 (momentum, centered).
    """

    number = RULES.index("rmsprop")

    def __init__(
        self, learning_rate: Any = 0.01, rho: float = 0.99, epsilon: float = 1e-8, momentum: float = 0.0,
        centered: bool = False, *, clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema)
        self.rho = check_real("RMSprop", "rho", rho, 0, 1, high_open=True)
        self.epsilon = check_real("RMSprop", "epsilon", epsilon, 0, low_open=True)
        self.momentum = check_real("RMSprop", "momentum", momentum, 0, 1)
        self.centered = check_bool("RMSprop", "centered", centered)

    slot_counts = (1, 2, 3)

    @property
    def n_slots(self) -> int:                                   # type: ignore[override]
        # centered needs no velocity without momentum, but so many slots always mean the same
        return 3 if self.centered else 2 if self.momentum > 0 else 1

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (rate, ρ, ε, momentum, centered)."""
        return table(rates, rates, self.rho, self.epsilon, self.momentum, float(self.centered))


class Adadelta(Optimizer):
    """Adadelta: step along the gradient, over the root of its running square, times that of the steps' own.

    s ← ρ s + (1−ρ) g², d = g √(u + ε) / √(s + ε), u ← ρ u + (1−ρ) d², θ ← θ − η d

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=1.0
        The paper has none: steps already have the weights' unit.
    rho : float in [0, 1), default=0.9
        Decay of both running means.
    epsilon : float > 0, default=1e-6
        The first steps are of the size of its root.
    clip_norm, weight_decay, ema : see ``Optimizer``

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701, 2012.
    """

    number = RULES.index("adadelta")
    n_slots = 2

    def __init__(
        self, learning_rate: Any = 1.0, rho: float = 0.9, epsilon: float = 1e-6, *, clip_norm: float | None = None,
        weight_decay: float = 0.0, ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema)
        self.rho = check_real("Adadelta", "rho", rho, 0, 1, high_open=True)
        self.epsilon = check_real("Adadelta", "epsilon", epsilon, 0, low_open=True)

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (rate, ρ, ε)."""
        return table(rates, rates, self.rho, self.epsilon)
