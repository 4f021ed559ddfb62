"""What the compiled update of an optimizer is told once a fit; its coefficients come step by step."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Rule:
    """What the compiled update needs besides coefficients."""

    rule_id: int                # which kernel: the place in vec.RULES
    alpha: float                # L2: adds alpha/2 sum theta^2 / sum w to the loss
    clip_norm: float            # 0: no clipping
    tol: float                  # stop when no gradient entry is larger; 0: never
    by_loss: bool               # tol bounds the relative change of the loss instead
    averages: bool              # the last slot is the average of theta
    ranges: np.ndarray          # (m, 2): the pieces of theta that alpha and weight_decay act on
