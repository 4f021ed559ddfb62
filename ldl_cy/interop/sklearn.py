"""scikit-learn's multi-layer perceptrons as ours, and back.

``coefs_`` and ``intercepts_`` are the same arrays in both libraries, so that weights keep their bits in both
directions; predictions differ by the order of sums.
"""
from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.layers.activation import ALIASES
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy.estimators import MLPClassifier, MLPRegressor

# what a fit leaves behind besides weights and classes, in both libraries
RECORD = ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_",
          "feature_names_in_")


def from_sklearn(mlp: Any) -> MLPClassifier | MLPRegressor:
    """A fitted multi-layer perceptron of scikit-learn as ldl_cy's estimator of the same name.

    Parameters
    ----------
    mlp : fitted sklearn.neural_network.MLPClassifier or MLPRegressor
        Not changed; the result shares no memory with it.

    Returns
    -------
    MLPClassifier or MLPRegressor
        With its parameters, weights, classes and curves, in the dtype of its weights. Predictions are equal to
        rounding. ``partial_fit`` and a fit with ``warm_start`` continue from the weights, with a new state of the
        optimizer and new random numbers.

    Raises
    ------
    TypeError
        It is no perceptron of scikit-learn.
    ValueError
        It is not fitted; its weights are not finite, or not those of its ``hidden_layer_sizes``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPRegressor
    >>> from ldl_cy.interop import from_sklearn
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> fitted = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", random_state=0).fit(X, X.ravel() ** 2)
    >>> bool(np.allclose(from_sklearn(fitted).predict(X), fitted.predict(X)))
    True
    """
    from sklearn import neural_network

    from ldl_cy import estimators

    kinds = {neural_network.MLPClassifier: estimators.MLPClassifier,
             neural_network.MLPRegressor: estimators.MLPRegressor}
    kind: Any = next((ours for theirs, ours in kinds.items() if isinstance(mlp, theirs)), None)
    if kind is None:
        raise TypeError("from_sklearn: mlp must be sklearn.neural_network's MLPClassifier or MLPRegressor, got "
                        f"{shown(mlp)}.")
    if not hasattr(mlp, "coefs_"):
        raise ValueError(f"from_sklearn: mlp must be fitted, got {shown(mlp)}.")
    known = kind().get_params()
    ours = kind(**{name: value for name, value in _parameters(mlp).items() if name in known})
    record = {"loss_curve_": [], "best_loss_": None, "validation_scores_": None, "best_validation_score_": None,
              **_record(mlp)}
    try:
        if mlp.n_outputs_ != len(mlp.intercepts_[-1]):
            raise ValueError(f"from_sklearn: mlp must have n_outputs_ {len(mlp.intercepts_[-1])}, as many as its last "
                             f"intercepts_, got {shown(mlp.n_outputs_)}.")
        ours.adopt(_targets(mlp), mlp.coefs_, mlp.intercepts_, record)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"from_sklearn: mlp must have the attributes of a fitted perceptron, got {error}.") from error
    return ours


def to_sklearn(mlp: Any) -> Any:
    """A fitted ``MLPClassifier`` or ``MLPRegressor`` of ldl_cy as scikit-learn's.

    Parameters
    ----------
    mlp : fitted MLPClassifier or MLPRegressor
        Not changed; the result shares no memory with it.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        With its parameters, weights, classes and curves. Predictions are equal to rounding. ``partial_fit`` and a fit
        with ``warm_start`` continue from the weights, with a new state of the optimizer.

    Raises
    ------
    TypeError
        It is no ``MLPClassifier`` or ``MLPRegressor`` of ldl_cy.
    ValueError
        It is not fitted; it has an activation that scikit-learn lacks, or different ones in its hidden layers; it has
        columns of categories; it is a classifier without ``predict_proba``.

    Warns
    -----
    UserWarning
        It has settings that scikit-learn lacks and that change training only, which the warning names: they are left
        out. For another solver, or another loss with the same output, further fits use scikit-learn's default.

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import MLPRegressor, interop
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> fitted = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", random_state=0).fit(X, X.ravel() ** 2)
    >>> bool(np.allclose(interop.to_sklearn(fitted).predict(X), fitted.predict(X)))
    True
    """
    from scipy.sparse import csr_matrix
    from sklearn import config_context, neural_network

    from ldl_cy import estimators

    if not isinstance(mlp, (estimators.MLPClassifier, estimators.MLPRegressor)):
        raise TypeError(f"to_sklearn: mlp must be an MLPClassifier or MLPRegressor of ldl_cy, got {shown(mlp)}.")
    if not hasattr(mlp, "model_"):
        raise ValueError(f"to_sklearn: mlp must be fitted, got {shown(mlp)}.")
    if hasattr(mlp, "category_encoder_"):
        raise ValueError("to_sklearn: mlp must have no categorical_features, which scikit-learn's lacks, got "
                         f"{shown(mlp)}.")
    if isinstance(mlp, estimators.MLPClassifier) and mlp.without_probabilities():
        raise ValueError(f"to_sklearn: mlp must have predict_proba, as scikit-learn's has, got {shown(mlp)}.")
    kind: Any = getattr(neural_network, "MLPClassifier" if isinstance(mlp, estimators.MLPClassifier) else
                        "MLPRegressor")
    theirs = kind(**_their_parameters(mlp, kind()))
    wanted = theirs.get_params()
    # scikit-learn creates its private attributes in fit: here in one of no epochs, on rows without entries. With early
    # stopping it holds out rows of each class, hence four of each, and keeps the initial weights as the best ones.
    y = np.concatenate([_targets(mlp)] * 4)
    X = csr_matrix((len(y), mlp.n_features_in_), dtype=mlp.coefs_[0].dtype)
    solver = "adam" if theirs.solver == "lbfgs" else theirs.solver
    theirs.set_params(max_iter=0, solver=solver, validation_fraction=0.5, random_state=0, batch_size="auto")
    with config_context(skip_parameter_validation=True):
        theirs.fit(X, y)
    theirs.set_params(**wanted)
    for own, arrays in ((theirs.coefs_, mlp.coefs_), (theirs.intercepts_, mlp.intercepts_)):
        for array, values in zip(own, arrays):
            array[...] = values
    vars(theirs).update(_record(mlp))
    return theirs


def _record(mlp: Any) -> dict[str, Any]:
    """Copies of what a fit has left behind."""
    return {name: copy.copy(getattr(mlp, name)) for name in RECORD if hasattr(mlp, name)}


def _parameters(mlp: Any) -> dict[str, Any]:
    """Copies of the constructor's arguments; a random state of the user's stays the user's alone."""
    return {name: copy.deepcopy(value) for name, value in mlp.get_params(deep=False).items()}


def _targets(mlp: Any) -> np.ndarray:
    """The fewest targets with the classes, or the outputs, of a fitted perceptron."""
    k = mlp.n_outputs_
    if not hasattr(mlp, "classes_"):
        return np.zeros((1, k) if k > 1 else 1)
    several_labels = mlp.out_activation_ == "logistic" and k > 1
    return np.eye(k, dtype=int) if several_labels else mlp.classes_


def _their_parameters(mlp: Any, theirs: Any) -> dict[str, Any]:
    """The arguments of scikit-learn's class, which has those of ``theirs``; a warning names what is left out."""
    given, known = _parameters(mlp), theirs.get_params()
    names = given["activation"]
    names = [names] if isinstance(names, str) else list(names)
    names = list(dict.fromkeys(ALIASES.get(name, name) for name in names))
    if len(names) > 1 or names[:1] not in ([], ["identity"], ["logistic"], ["tanh"], ["relu"]):
        raise ValueError("to_sklearn: activation must be one of 'identity', 'logistic', 'tanh', 'relu' for all hidden "
                         f"layers, got {shown(given['activation'])}.")
    given["activation"] = names[0] if names else known["activation"]
    defaults = type(mlp)().get_params()
    lost = {name: value for name, value in given.items()
            if name not in known and name != "n_threads" and value != defaults[name]}
    if given["early_stopping"] == "loss":
        lost["early_stopping"], given["early_stopping"] = "loss", True
    for name, choices in (("solver", ("lbfgs", "sgd", "adam")), ("loss", ("squared_error", "poisson"))):
        if name in given and given[name] not in choices:
            lost[name] = given[name]
            given[name] = known.get(name)
    if lost:
        found = ", ".join(f"{name}={shown(value)}" for name, value in lost.items())
        warnings.warn(f"to_sklearn: scikit-learn lacks {found}; predictions are the same, and further fits are without "
                      "it.", stacklevel=3)
    return {name: value for name, value in given.items() if name in known}
