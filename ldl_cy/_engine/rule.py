"""Rule: the settings of an optimizer's compiled update, passed once per fit. Its coefficients are passed per step."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Rule:
    """The settings of a compiled update, without its coefficients."""

    rule_id: int                # the kernel: its index in vec.RULES
    alpha: float                # L2 penalty: adds alpha/2 sum theta^2 / sum w to the loss
    clip_norm: float            # 0: no clipping
    tol: float                  # stop when no gradient entry is larger; 0: never
    by_loss: bool               # tol bounds the relative change of the loss instead
    averages: bool              # the last slot is the average of theta
    ranges: np.ndarray          # (m, 2): the ranges of theta on which alpha and weight_decay act
