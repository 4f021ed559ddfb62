"""Losses, all computed from the raw output of the last layer: value and gradient in one pass.

A sample's loss is the mean over its outputs (and, for sequences, over its steps); a batch's loss is the
weighted mean sum_i w_i l_i / sum_i w_i.
"""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.checks import check_finite, check_real

if TYPE_CHECKING:
    from ldl_cy._kernels.losses import LossKernel

Shape = tuple[int, ...]


class Loss:
    """Base of the losses.

    Parameters
    ----------
    scale : float > 0, default=1.0
        Multiplies the loss and its gradient.
    """

    name = ""
    #: activations that must not stand in the last layer, since the loss applies them itself
    includes: tuple[str, ...] = ()

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = check_real(type(self).__name__, "scale", scale, 0, low_open=True)

    def bind(self, y: np.ndarray, n: int, output_shape: Shape, dtype: str) -> tuple[np.ndarray, LossKernel]:
        """Check the targets of n samples; (targets (n, target_size) in dtype, kernel) come back."""
        y = self._array(y, n)
        if y.shape == (n,) and output_shape == (1,):
            y = y.reshape(n, 1)
        if y.shape != (n, *output_shape):
            raise ValueError(
                f"{self.name}: y must have the shape {(n, *output_shape)} of the output, got {y.shape}.")
        self._check_values(y)
        steps, k = self._steps(output_shape)
        return self._flat(y, dtype), self._kernel(self.name, dtype, steps, k, 1 / (steps * k))

    def _array(self, y: Any, n: int) -> np.ndarray:
        y = np.asarray(y)
        if y.dtype.kind not in "fiub":
            raise TypeError(f"{self.name}: y must be an array of numbers, got dtype {y.dtype}.")
        if y.ndim == 0 or len(y) != n:
            raise ValueError(f"{self.name}: X and y must have as many rows, got {n} and {y.shape}.")
        if y.dtype.kind == "f":
            check_finite(self.name, "y", y)
        return y

    def _check_values(self, y: np.ndarray) -> None:
        """Refuse values that this loss is not made for."""

    @staticmethod
    def _steps(output_shape: Shape) -> tuple[int, int]:
        return math.prod(output_shape[:-1]), output_shape[-1] if output_shape else 1

    @staticmethod
    def _flat(y: np.ndarray, dtype: str) -> np.ndarray:
        return np.ascontiguousarray(y.reshape(len(y), -1), dtype)

    def _kernel(self, kind: str, dtype: str, steps: int, k: int, scale: float, option: float = 0.0) -> LossKernel:
        from ldl_cy._kernels.losses import make_loss

        return make_loss(kind, dtype, steps=steps, k=k, scale=scale * self.scale, option=option)

    def __repr__(self) -> str:
        given = {k: v for k, v in vars(self).items() if not (k == "scale" and v == 1.0)}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"


class SquaredError(Loss):
    """Mean over samples and outputs of (ŷ − y)²."""

    name = "squared_error"


class LogLoss(Loss):
    """Softmax cross-entropy, −Σ_j t_j log softmax(ŷ)_j.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        t becomes (1 − ε) t + ε/k (Szegedy et al., CVPR 2016).
    scale : float > 0, default=1.0

    Notes
    -----
    y holds class codes 0 .. k−1, of shape (n,) (for sequences (n, T)), or probabilities of the
    output's shape (n, k).
    """

    name = "log_loss"
    includes = ("softmax", "logistic")

    def __init__(self, label_smoothing: float = 0.0, *, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.label_smoothing = check_real("LogLoss", "label_smoothing", label_smoothing, 0, 1, high_open=True)

    def bind(self, y: np.ndarray, n: int, output_shape: Shape, dtype: str) -> tuple[np.ndarray, LossKernel]:
        """See ``Loss.bind``."""
        y = self._array(y, n)
        steps, k = self._steps(output_shape)
        if k < 2:
            raise ValueError("log_loss: the output must have 2 classes or more, got 1; binary_log_loss takes one.")
        if y.shape == (n, *output_shape[:-1]):
            if not (np.all(y >= 0) and np.all(y < k) and (y.dtype.kind != "f" or np.all(y == np.floor(y)))):
                raise ValueError(f"log_loss: y must hold class codes 0 .. {k - 1}, "
                                 f"got values from {y.min()} to {y.max()}.")
            return self._flat(y, dtype), self._kernel(
                "log_loss_codes", dtype, steps, k, 1 / steps, self.label_smoothing)
        if y.shape == (n, *output_shape):
            sums = y.sum(axis=-1, dtype=float)
            if np.any(y < 0) or not np.allclose(sums, 1, atol=1e-4):
                raise ValueError("log_loss: the probabilities in a row of y must be >= 0 and sum to 1, "
                                 f"got a row with sum {sums.ravel()[np.argmax(np.abs(sums.ravel() - 1))]:g}.")
            return self._flat(y, dtype), self._kernel(
                "log_loss_probs", dtype, steps, k, 1 / steps, self.label_smoothing)
        raise ValueError(f"log_loss: y must have the shape {(n, *output_shape[:-1])} (class codes) or "
                         f"{(n, *output_shape)} (probabilities), got {y.shape}.")


class BinaryLogLoss(Loss):
    """Sigmoid cross-entropy, mean over outputs of log(1 + e^ŷ) − y ŷ, with y in [0, 1]."""

    name = "binary_log_loss"
    includes = ("softmax", "logistic")

    def _check_values(self, y: np.ndarray) -> None:
        if y.size and (y.min() < 0 or y.max() > 1):
            raise ValueError(f"binary_log_loss: y must lie in [0, 1], got values from {y.min()} to {y.max()}.")


LOSSES: dict[str, type[Loss]] = {c.name: c for c in (SquaredError, LogLoss, BinaryLogLoss)}


def get(loss: Any) -> Loss:
    """The loss behind a name, or the object itself."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]()
    raise (ValueError if isinstance(loss, str) else TypeError)(
        f"loss must be one of {', '.join(LOSSES)} or a Loss, got {loss!r}.")
