"""Rules of the first order: each step is one compiled pass over the flat vector."""
from __future__ import annotations

from typing import Any

import numpy as np

from ldl_cy.checks import check_bool, check_real
from ldl_cy.optimizers.base import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v ← μ v − η g, θ ← θ + v (Nesterov: θ ← θ + μ v − η g).

    Parameters
    ----------
    learning_rate : float > 0 or function, default=0.01
    momentum : float in [0, 1], default=0.0
        The velocity includes the learning rate (Sutskever et al., ICML 2013).
    nesterov : bool, default=False
    clip_norm, weight_decay : see ``Optimizer``
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, *,
        clip_norm: float | None = None, weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, weight_decay=weight_decay)
        self.momentum = check_real("SGD", "momentum", momentum, 0, 1)
        self.nesterov = check_bool("SGD", "nesterov", nesterov)

    @property
    def n_slots(self) -> int:                                   # type: ignore[override]
        return 1 if self.momentum > 0 else 0

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (rate, momentum, nesterov)."""
        return np.column_stack([rates, np.full(len(rates), self.momentum), np.full(len(rates), float(self.nesterov))])


class GD(SGD):
    """Gradient descent: the full batch each epoch, until no entry of the gradient exceeds ``tol``.

    Parameters
    ----------
    learning_rate : float > 0 or function, default=0.01
    tol : float >= 0, default=1e-6
        Bound on the largest gradient entry at which the fit has converged; 0 never stops before ``epochs``.
    clip_norm, weight_decay : see ``Optimizer``

    References
    ----------
    Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées", 1847.
    """

    full_batch = True

    def __init__(
        self, learning_rate: Any = 0.01, tol: float = 1e-6, *, clip_norm: float | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, weight_decay=weight_decay)
        self.tol = check_real("GD", "tol", tol, 0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {k: v for k, v in vars(self).items() if k not in ("momentum", "nesterov")}


class Adam(Optimizer):
    """Adam: step along the running mean of the gradient over the root of its running square.

    m ← β₁ m + (1−β₁) g, v ← β₂ v + (1−β₂) g², θ ← θ − η/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)

    Parameters
    ----------
    learning_rate : float > 0 or function, default=0.001
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
    epsilon : float > 0, default=1e-8
    clip_norm, weight_decay : see ``Optimizer``

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    number = 1
    n_slots = 2
    constant = False

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, *,
        clip_norm: float | None = None, weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, weight_decay=weight_decay)
        self.beta_1 = check_real("Adam", "beta_1", beta_1, 0, 1, high_open=True)
        self.beta_2 = check_real("Adam", "beta_2", beta_2, 0, 1, high_open=True)
        self.epsilon = check_real("Adam", "epsilon", epsilon, 0, low_open=True)

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (rate/(1−β₁ᵗ), β₁, β₂, 1/√(1−β₂ᵗ), ε), t = 1, 2, …"""
        t = np.arange(first + 1, first + len(rates) + 1, dtype=float)
        ones = np.ones(len(rates))
        return np.column_stack([
            rates / (1 - self.beta_1**t), self.beta_1 * ones, self.beta_2 * ones,
            1 / np.sqrt(1 - self.beta_2**t), self.epsilon * ones])
