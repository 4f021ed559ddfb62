"""ClassifierNetwork and RegressorNetwork: targets, losses, scores and predictions of the two kinds of estimators."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from ldl_cy import losses
from ldl_cy._kernels.probabilities import class_probabilities
from ldl_cy.checks import check_real
from ldl_cy.estimators.base import BaseNetwork, _check_partial_fit
from ldl_cy.estimators.class_weights import class_weights
from ldl_cy.estimators.data import TOO_LARGE, Rows, read, read_targets, read_weights
from ldl_cy.estimators.ranks import all_labels
from ldl_cy.estimators.solvers import LEAST_SQUARES
from ldl_cy.estimators.typed import ClassWeight, available, validated_once
from ldl_cy.messages import shown
from ldl_cy.optimizers import LevenbergMarquardt
from ldl_cy.sparse import is_sparse

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks

REGRESSION_LOSSES = {"squared_error", "absolute_error", "huber", "quantile", "poisson"}


def fits_codes(solver: Any) -> bool:
    """Whether a solver, a name or an optimizer object, fits a classifier to codes -1 and 1 by squared errors."""
    return solver in LEAST_SQUARES if isinstance(solver, str) else isinstance(solver, LevenbergMarquardt)


def _check_codes(estimator: Any) -> bool:
    """Whether the outputs are decision values; an AttributeError if they become probabilities."""
    if not estimator.without_probabilities():
        raise AttributeError("decision_function is only available for classifiers fitted by squared errors, with "
                             f"solver='lm' or 'ridge'. solver={estimator.solver!r} has predict_proba.")
    return True


def _check_probabilities(estimator: Any) -> bool:
    if estimator.without_probabilities():
        raise AttributeError("predict_proba is not available for classifiers fitted by squared errors, as with "
                             f"solver={estimator.solver!r}. decision_function is.")
    return True


class ClassifierNetwork(ClassifierMixin, BaseNetwork):
    """Classifiers: softmax for three or more classes, a logistic output for two, one per label for multilabel y.

    Solvers of least squares fit the same outputs to codes instead, as ``RidgeClassifier`` does: 1 for the class of a
    row, or a label that it has, and -1 for the others. Their outputs are decision values and no probabilities.
    """

    class_weight: ClassWeight
    classes_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseNetwork._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def _read_fit(
        self, X: Any, y: Any, *, reset: bool, classes: str, ranks: Ranks | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        X, y = read(self, self._accepts(reset=reset), X, y, reset=reset, ranks=ranks)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        several = type_of_target(y).startswith("multilabel")
        given = all_labels(self, unique_labels(y), several, ranks)
        if classes == "learn":
            self._label_binarizer = LabelBinarizer().fit(y if several else given)
            self.classes_ = self._label_binarizer.classes_
            return X, y
        if classes == "same" and set(given) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {given}")
        if len(np.setdiff1d(given, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {given}.")
        return X, y

    def _encode(self, y: np.ndarray) -> np.ndarray:
        """Class codes (n,) for three or more classes; else booleans, (n, 1) for two classes or (n, n_labels).

        For least squares -1 and 1 instead, as int8: (n, n_classes) for three or more classes.
        """
        many = self._label_binarizer.y_type_ == "multiclass"
        numbers = np.searchsorted(self.classes_, y) if many else None
        if not fits_codes(self.solver):
            return self._label_binarizer.transform(y).astype(bool) if numbers is None else numbers
        if numbers is None:
            return np.where(self._label_binarizer.transform(y) > 0, 1, -1).astype(np.int8)
        codes = np.full((len(numbers), len(self.classes_)), -1, np.int8)
        codes[np.arange(len(numbers)), numbers] = 1
        return codes

    def _set_outputs(self, encoded: np.ndarray) -> None:
        many = self._label_binarizer.y_type_ == "multiclass"
        self.n_outputs_ = len(self.classes_) if many else encoded.shape[1]

    def _output_activation(self) -> str:
        if fits_codes(self.solver):
            return "identity"
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def without_probabilities(self) -> bool:
        """Whether the outputs are decision values: as fitted or, before a fit, as the solver will fit them."""
        fitted = vars(self).get("out_activation_")
        return fits_codes(self.solver) if fitted is None else fitted == "identity"

    @property
    def multilabel_(self) -> bool:
        """Whether y had several labels for each sample."""
        return self._label_binarizer.y_type_.startswith("multilabel")

    def _class_weights(self, y: np.ndarray, ranks: Ranks | None) -> np.ndarray | None:
        given = self.class_weight
        if given is None:
            return None
        for weights in given if isinstance(given, list) else [given]:
            if isinstance(weights, dict):
                for label, weight in weights.items():
                    check_real(type(self).__name__, f"class_weight[{shown(label)}]", weight, 0)
            elif not (isinstance(weights, str) and weights == "balanced"):
                raise TypeError(f"{type(self).__name__}: class_weight must be a dict, 'balanced' or a list of them, "
                                f"got {shown(given)}.")
        return class_weights(given, y, ranks)

    def _strata(self, encoded: np.ndarray) -> np.ndarray | None:
        if self.multilabel_:
            return None
        return encoded.argmax(axis=1) if encoded.ndim == 2 and encoded.shape[1] > 1 else encoded

    def _averaged_outputs(self) -> int:
        return self.n_outputs_ if self.out_activation_ == "identity" else 1

    def _make_loss(self) -> losses.Loss:
        # the sum over outputs, as in scikit-learn: scale undoes the mean over outputs of ldl_cy's loss
        if self.out_activation_ == "identity":          # halved, as for regressors
            return losses.SquaredError(scale=0.5 * self.n_outputs_)
        if self.out_activation_ == "softmax":
            return losses.LogLoss()
        return losses.BinaryLogLoss(scale=float(self.n_outputs_))

    def _score_encoded(self, raw: np.ndarray, rows: Rows) -> float:
        if not np.isfinite(raw).all():
            return np.nan
        if self._label_binarizer.y_type_ == "multiclass":
            guess, true = raw.argmax(axis=1), rows.y if rows.y.ndim == 1 else rows.y.argmax(axis=1)
        else:
            guess, true = raw > 0, rows.y > 0
        if len(self.classes_) == 1:         # whatever the output is, predict returns the class, the first one
            guess = np.zeros_like(guess)
        return accuracy_score(true, guess, sample_weight=rows.weight)

    @available(_check_partial_fit)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Update the network with one pass over the given data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The class labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        classes : array-like of shape (n_classes,), default=None
            All classes of all calls. Required in the first call; y need not contain all of them.

        Returns
        -------
        self : object
            The trained estimator.
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which sees a part of the data. "
                "Pass the weights as a dict: compute_class_weight('balanced', classes=classes, y=y).")
        with validated_once(self):
            return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def _declare_classes(self, y: Any, classes: Any) -> None:
        if classes is not None:
            classes = read_targets("classes", classes, False)
            check_classification_targets(classes)
        if _check_partial_fit_first_call(self, classes):
            y = read_targets("y", y, False)
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)

    def _activated(self, X: Any) -> np.ndarray:
        """Probabilities, one column per output, in [eps, 1 - eps]."""
        return class_probabilities(self._raw(X), self.out_activation_ == "softmax")

    def predict(self, X: Any) -> np.ndarray:
        """Predict classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            The predicted classes.
        """
        codes = vars(self).get("out_activation_") == "identity"
        out, threshold = (self._raw(X), 0.0) if codes else (self._activated(X), 0.5)
        kind = self._label_binarizer.y_type_
        # the binarizer's inverse_transform, without its checks
        if kind == "multiclass":
            return self.classes_.take(out.argmax(axis=1))
        if kind == "binary" and len(self.classes_) == 2:
            return self.classes_.take(out.ravel() > threshold)
        return self._label_binarizer.inverse_transform(out.ravel() if self.n_outputs_ == 1 else out, threshold)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy of the predictions for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The true classes.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            The share of samples whose classes, with several labels all of them, are predicted.
        """
        y = read_targets("y", y, False)
        weights, guess = read_weights(y, sample_weight), self.predict(X)
        try:
            return float(accuracy_score(y, guess, sample_weight=weights))
        except TypeError as error:
            if type(error) is TypeError:
                raise
            # NumPy's own class, for dates beside numbers
            raise TypeError(f"y must have labels that can be compared with {self.classes_}.") from error

    @available(_check_codes)
    def decision_function(self, X: Any) -> np.ndarray:
        """The outputs of a network that was fitted to codes -1 and 1 by squared errors.

        Only with solver='lm' or 'ridge', which have no probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        values : ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            For two classes one number, positive for the second of ``classes_``; for more one for each class, of which
            the largest is predicted; for several labels one for each, positive for labels that are predicted.
        """
        values = self._raw(X)
        return values.ravel() if self.n_outputs_ == 1 else values

    @available(_check_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            The probability of each class, in the order of ``classes_``, in [eps, 1 - eps] of its dtype.
        """
        return class_probabilities(self._raw(X), self.out_activation_ == "softmax", self.n_outputs_ == 1)

    @available(_check_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of the estimated class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            The logarithm of ``predict_proba(X)``.
        """
        return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class RegressorNetwork(RegressorMixin, BaseNetwork):
    """Regressors: one linear output per target, or its exponential for the Poisson loss."""

    loss: Any

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseNetwork._parameter_constraints,
        "loss": [StrOptions(REGRESSION_LOSSES)],
    }

    def _read_fit(
        self, X: Any, y: Any, *, reset: bool, classes: str, ranks: Ranks | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        X, y = read(self, self._accepts(reset=reset), X, y, reset=reset, y_numeric=True, ranks=ranks)
        if is_sparse(y):
            check_array(y, input_name="y")          # scikit-learn's sentence
        if y.dtype.kind not in "fiub":
            raise TypeError(f"y must be an array of numbers, got the dtype {y.dtype}.")
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            check_array(y, input_name="y", ensure_2d=False)         # scikit-learn checks before it converts objects
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return y.reshape(len(y), -1)

    def _set_outputs(self, encoded: np.ndarray) -> None:
        self.n_outputs_ = encoded.shape[1]

    def _output_activation(self) -> str:
        return "exp" if self._make_loss().name == "poisson" else "identity"

    def _make_loss(self) -> losses.Loss:
        # the sum over outputs: scale undoes the mean. As in scikit-learn, the squared error is halved, and the
        # Poisson loss includes the terms of the deviance that do not depend on the prediction.
        scale = float(self.n_outputs_)
        if self.loss == "poisson":
            return losses.Poisson(deviance=True, scale=scale)
        if self.loss in ("squared_error", "auto"):
            return losses.SquaredError(scale=0.5 * scale)
        return losses.LOSSES[self.loss](scale=scale)

    def _averaged_outputs(self) -> int:
        return self.n_outputs_ if isinstance(self.loss, str) and self.loss != "poisson" else 1

    def _activate(self, raw: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):        # a mean too large for its dtype is infinite
            return np.exp(raw) if self.out_activation_ == "exp" else raw

    def _score_encoded(self, raw: np.ndarray, rows: Rows) -> float:
        guess = self._activate(raw)
        if not np.isfinite(guess).all():
            return np.nan
        with np.errstate(over="ignore"):        # the score of a fit that diverges is -inf
            return r2_score(rows.y, guess, sample_weight=rows.weight)

    def predict(self, X: Any) -> np.ndarray:
        """Predict target values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predicted values.
        """
        y = self._activate(self._raw(X))
        return y.ravel() if self.n_outputs_ == 1 else y

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R², the coefficient of determination, of the predictions for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The true values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            1 for perfect predictions, 0 for those of the mean of y; the mean over outputs.
        """
        y = read_targets("y", y, True)
        try:
            return float(super().score(X, y, read_weights(y, sample_weight)))
        except OverflowError as error:          # of ints that no float holds
            raise ValueError(f"Input X or y {TOO_LARGE}") from error

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
