"""Losses, computed from the raw output of the last layer: value and gradient in one pass.

The loss of a sample is the mean over its outputs (and, for sequences, over its steps); the loss of a batch is
the weighted mean sum_i w_i l_i / sum_i w_i.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, softmax

from ldl_cy.checks import (
    as_numbers,
    as_result,
    check_bool,
    check_finite,
    check_real,
    in_dtype,
    without_repeats,
)
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy._engine.loss import LossKernel

Shape = tuple[int, ...]


class Loss:
    """Base class of the losses.

    Parameters
    ----------
    scale : float > 0, default=1.0
        Multiplies the loss and its gradient.

    Attributes
    ----------
    name : str, the name by which ``fit`` knows the loss
    applied_activations : tuple of str
    has_curvature, has_classes : bool

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.
    """

    name = ""
    #: activations that the last layer must not have, since the loss applies them itself
    applied_activations: tuple[str, ...] = ()
    #: whether ``curvature`` is defined
    has_curvature = False
    #: whether targets are classes, which may have weights: ``classes`` is defined
    has_classes = False

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = check_real(type(self).__name__, "scale", scale, 0, low_open=True)

    def encode_targets(self, y: np.ndarray, n: int, output_shape: Shape, dtype: str) -> tuple[np.ndarray, LossKernel]:
        """Check and encode the targets of n samples.

        Parameters
        ----------
        y : array-like of n targets
        n : int
        output_shape : tuple, the shape of a sample's output
        dtype : "float32" or "float64"

        Returns
        -------
        targets : (n, target_size) array in ``dtype``
        kernel : LossKernel

        Raises
        ------
        TypeError, ValueError
            Targets of another shape, or values for which the loss is not defined.
        """
        y = self._outputs(y, n, output_shape)
        self._check_values(without_repeats(y))
        steps, k = self._steps(output_shape)
        return self._flat(y, dtype), self._kernel(self.name, dtype, steps, k, 1 / (steps * k), self._option())

    def curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """∇²l(ŷ) v of each sample: raw outputs ŷ and v are (n, k); it does not depend on the targets.

        These Hessians are positive semi-definite, and so is the Gauss-Newton matrix (Schraudolph, Neural
        Computation 14, 2002).

        Raises
        ------
        TypeError
            ``has_curvature`` is False.
        """
        raise TypeError(f"{self.name}: this loss defines no curvature.")

    def classes(self, y: np.ndarray, output_shape: Shape) -> tuple[dict[int, int], np.ndarray]:
        """The classes of targets that ``encode_targets`` has accepted.

        Returns
        -------
        places : dict of labels of classes to their places 0, 1, …
        codes : (n,) ints, the place of each sample's class

        Raises
        ------
        ValueError
            A sample has no class or several.
        TypeError
            ``has_classes`` is False.
        """
        raise TypeError(f"{self.name}: this loss has no classes.")

    def _no_class(self, required: str, y: np.ndarray) -> ValueError:
        return ValueError(f"{self.name}: with class_weight, y must hold {required}, got targets of shape {y.shape}.")

    def _array(self, y: Any, n: int) -> np.ndarray:
        y = as_numbers(self.name, "y", y)
        if y.ndim == 0 or len(y) != n:
            raise ValueError(f"{self.name}: X and y must have as many rows, got {n} and {y.shape}.")
        if y.dtype.kind == "f":
            check_finite(self.name, "y", y)
        return y

    def _outputs(self, y: Any, n: int, output_shape: Shape) -> np.ndarray:
        """Targets of the outputs' shape; (n,) is read as (n, 1)."""
        y = self._array(y, n)
        if y.shape == (n,) and output_shape == (1,):
            y = y.reshape(n, 1)
        if y.shape != (n, *output_shape):
            raise ValueError(
                f"{self.name}: y must have the shape {(n, *output_shape)} of the output, got {y.shape}.")
        return y

    def _check_codes(self, y: np.ndarray, k: int) -> None:
        """Refuse anything but whole numbers 0 .. k-1."""
        if not (np.all(y >= 0) and np.all(y < k) and (y.dtype.kind != "f" or np.all(y == np.floor(y)))):
            raise ValueError(f"{self.name}: y must hold class codes 0 .. {k - 1}, "
                             f"got values from {y.min()} to {y.max()}.")

    def _check_values(self, y: np.ndarray) -> None:
        """Refuse values for which this loss is not defined."""

    def _option(self) -> float:
        """The parameter of the kernel's formula, if it has one."""
        return 0.0

    @staticmethod
    def _steps(output_shape: Shape) -> tuple[int, int]:
        return math.prod(output_shape[:-1]), output_shape[-1] if output_shape else 1

    def _flat(self, y: np.ndarray, dtype: str) -> np.ndarray:
        return in_dtype(self.name, "y", y.reshape(len(y), -1), dtype)

    def _kernel(self, kind: str, dtype: str, steps: int, k: int, scale: float, option: float = 0.0) -> LossKernel:
        from ldl_cy._kernels.losses import make_loss

        return make_loss(kind, dtype, steps=steps, k=k, scale=scale * self.scale, option=option)

    def __repr__(self) -> str:
        given = {k: v for k, v in vars(self).items() if k != "scale"}
        if self.scale != 1.0:
            given["scale"] = self.scale
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"


class SquaredError(Loss):
    """Mean over samples and outputs of (ŷ − y)².

    Parameters
    ----------
    scale : float > 0, default=1.0
    """

    name = "squared_error"
    has_curvature = True

    def curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """2/k v"""
        return 2 * self.scale / raw.shape[1] * v


class AbsoluteError(Loss):
    """Mean over samples and outputs of |ŷ − y|; its gradient is the sign, 0 where ŷ = y.

    Parameters
    ----------
    scale : float > 0, default=1.0
    """

    name = "absolute_error"


class Huber(Loss):
    """Mean over samples and outputs of ½ e² for |e| ≤ δ and of δ (|e| − ½ δ) beyond, e = ŷ − y.

    Parameters
    ----------
    delta : float > 0, default=1.0
        δ, where the loss changes from quadratic to linear.
    scale : float > 0, default=1.0

    Notes
    -----
    Huber, Annals of Mathematical Statistics 35 (1964).
    """

    name = "huber"

    def __init__(self, delta: float = 1.0, *, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.delta = check_real("Huber", "delta", delta, 0, low_open=True)

    def _option(self) -> float:
        return self.delta


class Quantile(Loss):
    """Mean over samples and outputs of q max(y − ŷ, 0) + (1 − q) max(ŷ − y, 0), minimised by the q-quantile of y.

    Parameters
    ----------
    quantile : float in (0, 1), default=0.5
        q; 0.5 is half the absolute error.
    scale : float > 0, default=1.0

    Notes
    -----
    Koenker and Bassett, Econometrica 46 (1978). The gradient at ŷ = y is taken as 0.
    """

    name = "quantile"

    def __init__(self, quantile: float = 0.5, *, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.quantile = check_real("Quantile", "quantile", quantile, 0, 1, low_open=True, high_open=True)

    def _option(self) -> float:
        return self.quantile


class Poisson(Loss):
    """Mean over samples and outputs of exp(ŷ) − y ŷ: ŷ is the logarithm of a Poisson variable's mean.

    Parameters
    ----------
    deviance : bool, default=False
        Add y log y − y, which does not depend on ŷ: this is half the Poisson deviance, 0 where exp(ŷ) = y.
    scale : float > 0, default=1.0

    Notes
    -----
    y are counts or other numbers >= 0. McCullagh and Nelder, Generalized Linear Models (1989), 6.2.
    """

    name = "poisson"
    has_curvature = True

    def __init__(self, deviance: bool = False, *, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.deviance = check_bool("Poisson", "deviance", deviance)

    def _check_values(self, y: np.ndarray) -> None:
        if y.size and y.min() < 0:
            raise ValueError(f"poisson: y must be >= 0, got {y.min()}.")

    def _option(self) -> float:
        return float(self.deviance)

    def curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """exp(ŷ)/k ∘ v"""
        with np.errstate(over="ignore", invalid="ignore"):      # infinite where the loss is
            return self.scale / raw.shape[1] * np.exp(raw) * v


class LogLoss(Loss):
    """Softmax cross-entropy, −Σ_j t_j log softmax(ŷ)_j.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        ε: t becomes (1 − ε) t + ε/k (Szegedy et al., CVPR 2016).
    scale : float > 0, default=1.0

    Notes
    -----
    y are class codes 0 .. k−1 of shape (n,) (for sequences (n, T)), or probabilities t of the
    output's shape (n, k).
    """

    name = "log_loss"
    applied_activations = ("softmax", "logistic")
    has_curvature = has_classes = True

    def __init__(self, label_smoothing: float = 0.0, *, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.label_smoothing = check_real("LogLoss", "label_smoothing", label_smoothing, 0, 1, high_open=True)

    def encode_targets(self, y: np.ndarray, n: int, output_shape: Shape, dtype: str) -> tuple[np.ndarray, LossKernel]:
        """See ``Loss.encode_targets``."""
        y = self._array(y, n)
        steps, k = self._steps(output_shape)
        if k < 2:
            raise ValueError("log_loss: the output must have 2 classes or more, got 1; binary_log_loss takes one.")
        if y.shape == (n, *output_shape[:-1]):
            self._check_codes(without_repeats(y), k)
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

    def classes(self, y: np.ndarray, output_shape: Shape) -> tuple[dict[int, int], np.ndarray]:
        """See ``Loss``; rows that are 1 in one place and 0 elsewhere have a class too."""
        if y.shape == (len(y), *output_shape) and np.all((y == 0) | (y == 1)):
            y = np.argmax(y, axis=-1)
        if y.ndim != 1 or len(output_shape) != 1:
            raise self._no_class("one class code for a sample", y)
        return {code: code for code in range(output_shape[0])}, y.astype(np.intp)

    def curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """p ∘ v − p (pᵀ v), p = softmax(ŷ)"""
        p = softmax(raw, axis=1)
        return self.scale * (p * v - p * np.sum(p * v, axis=1, keepdims=True))


class BinaryLogLoss(Loss):
    """Sigmoid cross-entropy, the mean over outputs of log(1 + e^ŷ) − y ŷ, with y in [0, 1].

    Parameters
    ----------
    scale : float > 0, default=1.0
    """

    name = "binary_log_loss"
    applied_activations = ("softmax", "logistic")
    has_curvature = has_classes = True

    def classes(self, y: np.ndarray, output_shape: Shape) -> tuple[dict[int, int], np.ndarray]:
        """See ``Loss``."""
        if output_shape != (1,) or not np.all((y == 0) | (y == 1)):
            raise self._no_class("0 or 1 for a sample with one output", y)
        return {0: 0, 1: 1}, y.ravel().astype(np.intp)

    def curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """p (1 − p)/k ∘ v, p = σ(ŷ)"""
        return self.scale / raw.shape[1] * expit(raw) * expit(-raw) * v

    def _check_values(self, y: np.ndarray) -> None:
        if y.size and (y.min() < 0 or y.max() > 1):
            raise ValueError(f"binary_log_loss: y must be in [0, 1], got values from {y.min()} to {y.max()}.")


class Hinge(Loss):
    """Hinge loss: max(0, 1 + max_{j≠y} ŷ_j − ŷ_y) for k ≥ 2 outputs, max(0, 1 − s ŷ) for one output.

    Parameters
    ----------
    scale : float > 0, default=1.0

    Notes
    -----
    For k outputs y are class codes 0 .. k−1 of shape (n,) (for sequences (n, T)); for one output 0 and 1, or
    −1 and 1, of the output's shape or (n,), and s is −1 or 1. Crammer and Singer, JMLR 2 (2001).
    If several ŷ_j are largest, the first one gets the gradient; where the loss is 0, the gradient is 0.
    """

    name = "hinge"
    has_classes = True

    def classes(self, y: np.ndarray, output_shape: Shape) -> tuple[dict[int, int], np.ndarray]:
        """See ``Loss``; for one output −1 and 0 are one class."""
        if len(output_shape) != 1:
            raise self._no_class("one class for a sample", y)
        y = y.ravel().astype(np.intp)
        if output_shape == (1,):
            return {-1: 0, 0: 0, 1: 1}, (y > 0).astype(np.intp)
        return {code: code for code in range(output_shape[0])}, y

    def encode_targets(self, y: np.ndarray, n: int, output_shape: Shape, dtype: str) -> tuple[np.ndarray, LossKernel]:
        """See ``Loss.encode_targets``."""
        steps, k = self._steps(output_shape)
        if k == 1:
            y = self._outputs(y, n, output_shape)
            values = without_repeats(y)
            if np.all((values == 0) | (values == 1)):
                y = np.where(y == 1, 1.0, -1.0)
            elif not np.all((values == -1) | (values == 1)):
                raise ValueError("hinge: y must hold 0 and 1 or -1 and 1 for one output, "
                                 f"got {', '.join(str(v) for v in np.unique(y)[:4])}.")
            return self._flat(y, dtype), self._kernel("binary_hinge", dtype, steps, k, 1 / steps)
        y = self._array(y, n)
        if y.shape != (n, *output_shape[:-1]):
            raise ValueError(f"hinge: y must have the shape {(n, *output_shape[:-1])} (class codes), got {y.shape}.")
        self._check_codes(without_repeats(y), k)
        return self._flat(y, dtype), self._kernel("hinge", dtype, steps, k, 1 / steps)


class Custom(Loss):
    """A loss written in NumPy.

    Parameters
    ----------
    fn : callable
        ``fn(y_pred, y) -> (loss, gradient)`` for a block of m samples: y_pred (m, *output_shape) are the raw
        outputs, y the targets of the block, both in the model's dtype; loss (m,) are the losses of the
        samples, gradient (m, *output_shape) their derivatives with respect to y_pred.
    scale : float > 0, default=1.0

    Raises
    ------
    TypeError
        fn is not callable.

    Notes
    -----
    A step calls fn once for each block of rows, so the loss of a sample must not depend on other samples.
    Sample weights are applied outside fn, and the network runs on the calling thread. An exception in fn is
    raised by the call that uses the loss; a fit keeps the weights of the last complete epoch. NumPy's warnings about
    numbers that are not finite are off in fn: such a number ends the fit with a FloatingPointError.
    y may have any shape (n, ...).
    """

    name = "custom"

    def __init__(self, fn: Callable[[np.ndarray, np.ndarray], tuple[Any, Any]], *, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        if not callable(fn):
            raise TypeError(f"Custom: fn must be a function, got {shown(fn)}.")
        self.fn = fn

    def encode_targets(self, y: np.ndarray, n: int, output_shape: Shape, dtype: str) -> tuple[np.ndarray, LossKernel]:
        """See ``Loss.encode_targets``."""
        from ldl_cy._kernels.custom_loss import CustomKernel

        y = self._array(y, n)
        return self._flat(y, dtype), CustomKernel(self._call, dtype, y.shape[1:], output_shape, self.scale)

    def _call(self, y_pred: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """fn's result, checked: losses (m,) in float64 and their gradient in the model's dtype."""
        shape, dtype = y_pred.shape, y_pred.dtype
        given = self.fn(y_pred, y)
        if not isinstance(given, tuple) or len(given) != 2:
            raise TypeError(f"Custom: fn must return a tuple (loss per sample, gradient), got {type(given).__name__}.")
        return (as_result("Custom", "fn's loss per sample", given[0], shape[:1], float),
                as_result("Custom", "fn's gradient", given[1], shape, dtype))


LOSSES: dict[str, type[Loss]] = {c.name: c for c in (
    SquaredError, AbsoluteError, Huber, Quantile, Poisson, LogLoss, BinaryLogLoss, Hinge)}


# Keras' and PyTorch's names, and what people abbreviate them to.
ALIASES = {
    "mse": "squared_error", "mean_squared_error": "squared_error", "mae": "absolute_error", "l1": "absolute_error",
    "mean_absolute_error": "absolute_error", "smooth_l1": "huber", "pinball": "quantile",
    "crossentropy": "log_loss", "cross_entropy": "log_loss", "categorical_crossentropy": "log_loss",
    "sparse_categorical_crossentropy": "log_loss", "categorical_hinge": "hinge",
    "bce": "binary_log_loss", "binary_crossentropy": "binary_log_loss", "binary_cross_entropy": "binary_log_loss"}


def get(loss: Any) -> Loss:
    """The loss of a name or an alias, or the object itself; anything else is a TypeError or a ValueError."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and ALIASES.get(loss, loss) in LOSSES:
        return LOSSES[ALIASES.get(loss, loss)]()
    raise (ValueError if isinstance(loss, str) else TypeError)(
        f"Sequential: loss must be one of {', '.join(LOSSES)} or a Loss, got {shown(loss)}.")
