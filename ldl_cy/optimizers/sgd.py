"""Stochastic gradient descent, plain or with momentum."""
from __future__ import annotations

from typing import Any

import numpy as np

from ldl_cy.checks import check_bool, check_real
from ldl_cy.optimizers.base import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v ← μ v − η g, θ ← θ + v (Nesterov: θ ← θ + μ v − η g).

    Parameters
    ----------
    learning_rate : float > 0, schedule or function of the step, default=0.01
    momentum : float in [0, 1], default=0.0
        The velocity includes the learning rate (Sutskever et al., ICML 2013).
    nesterov : bool, default=False
    clip_norm, weight_decay, ema : see ``Optimizer``
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, *,
        clip_norm: float | None = None, weight_decay: float = 0.0, ema: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, weight_decay=weight_decay, ema=ema)
        self.momentum = check_real("SGD", "momentum", momentum, 0, 1)
        self.nesterov = check_bool("SGD", "nesterov", nesterov)

    slot_counts = (0, 1)

    @property
    def n_slots(self) -> int:                                   # type: ignore[override]
        return 1 if self.momentum > 0 else 0

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """Rows of (rate, momentum, nesterov)."""
        return np.column_stack([rates, np.full(len(rates), self.momentum), np.full(len(rates), float(self.nesterov))])
