"""Gradient descent: on batches, plain or with momentum, and on all rows until it has converged."""
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
