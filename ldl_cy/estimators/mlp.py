"""Multi-layer perceptrons, with scikit-learn's parameters."""
from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from ldl_cy import layers
from ldl_cy.callbacks.base import Callbacks
from ldl_cy.checks import as_result, check_values
from ldl_cy.estimators.base import ACTIVATION, CATEGORICAL, DROPOUT, SIZES, BaseNetwork
from ldl_cy.estimators.categorical_features import CategoricalFeatures
from ldl_cy.estimators.data import Shape
from ldl_cy.estimators.docs import VERBOSE_LINES, share
from ldl_cy.estimators.stacks import activation_names, dense_layers, read_sizes
from ldl_cy.estimators.targets import ClassifierNetwork, RegressorNetwork
from ldl_cy.estimators.typed import ClassWeight, DType, RandomState, Sizes, Solver
from ldl_cy.messages import shown

HIDDEN = """hidden_layer_sizes : int or sequence of ints >= 1, default=(100,)
        Units of the hidden layers.

    activation : str or sequence of str, default='relu'
        Activation of the hidden layers, one for all or one per layer:
        %(activations)s."""


class BaseMLP(CategoricalFeatures, BaseNetwork):
    """Fully connected hidden layers with scikit-learn's initial weights."""

    hidden_layer_sizes: Sizes
    activation: Any
    dropout: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": SIZES,
        "activation": [*ACTIVATION, list, tuple],
        "dropout": DROPOUT,
        "categorical_features": CATEGORICAL,
    }
    _reads_nd = False
    _reads_bytes = False            # as in scikit-learn, float64
    _reads_sparse = True
    _largest_batch = 200
    _prints = True

    def _shape_of_samples(self, row_shape: Shape) -> Shape:
        return row_shape

    def _activations(self, count: int) -> list[str]:
        return activation_names(self.activation, count)

    def _hidden_layers(self, shape: Shape) -> list[layers.Layer]:
        sizes = read_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        return dense_layers(sizes, self._activations(len(sizes)), self.dropout)

    def _draw_seed(self, random_state: np.random.RandomState) -> int:
        # from a copy: the numbers of random_state itself are used for the weights, as in scikit-learn
        return super()._draw_seed(copy.deepcopy(random_state))

    def _build(self, dtype: np.dtype, random_state: np.random.RandomState) -> None:
        """Weights and biases uniform in ±sqrt(6 / (n_in + n_out)), with 2 instead of 6 for the logistic function.

        They are drawn layer by layer in float64 from ``random_state``: a seed gives scikit-learn's weights.
        """
        super()._build(dtype, random_state)
        kernels, biases = self._views(".kernel"), self._views(".bias")
        names = self._activations(len(kernels) - 1)
        with self.model_.network.version:
            for kernel, bias, name in zip(kernels, biases, [*names, names[-1] if names else ""]):
                factor = 2.0 if name in ("logistic", "sigmoid") else 6.0
                bound = np.sqrt(factor / sum(kernel.shape))
                kernel[...] = random_state.uniform(-bound, bound, kernel.shape)
                bias[...] = random_state.uniform(-bound, bound, bias.shape)

    def _views(self, kind: str) -> list[np.ndarray]:
        """Weights or biases, for reads, and for writes inside ``with network.version:``."""
        if "model_" not in vars(self):
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet.")
        return [view for name, view in self.model_.network.views[0].items() if name.endswith(kind)]

    def _handed_out(self, kind: str) -> list[np.ndarray]:
        """The same for a caller, who may write to them at any time."""
        views = self._views(kind)
        self.model_.network.version.hand_out()
        return views

    def _assign(self, attribute: str, kind: str, arrays: Any) -> None:
        """Copy all arrays, which may be views of the weights in another order, or none."""
        views, owner = self._views(kind), type(self).__name__
        try:
            given = list(arrays)
        except TypeError:
            raise TypeError(f"{owner}: {attribute} must be a list of arrays, got {shown(arrays)}.") from None
        if len(given) != len(views):
            raise ValueError(f"There are {len(views)} layers, got arrays for {len(given)}.")
        values = [as_result(owner, f"{attribute}[{i}]", array, view.shape, view.dtype).copy()
                  for i, (view, array) in enumerate(zip(views, given))]
        with self.model_.network.version:
            for view, array in zip(views, values):
                view[...] = array

    def adopt(
        self, y: np.ndarray, coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], record: Mapping[str, Any],
    ) -> None:
        """Become fitted, with weights from another library.

        Parameters
        ----------
        y : array
            Targets as ``fit`` takes them, with every class.
        coefs, intercepts : sequences of arrays of shapes (n_in, n_out) and (n_out,)
            One per layer; the network computes in the dtype of the first.
        record : mapping
            Further attributes of a fitted estimator, by name: ``loss_curve_``, ``n_iter_``.

        Raises
        ------
        ValueError
            The weights do not have the shapes of the hidden layers and of y, or are not finite.
        """
        # rows without an entry take no memory, however many classes and features there are
        X = csr_matrix((len(y), coefs[0].shape[0]), dtype=coefs[0].dtype)
        X, y = self._read_fit(X, y, reset=True, classes="learn")
        self._start(X, self._encode(y))
        each = [(self._views(".kernel"), coefs), (self._views(".bias"), intercepts)]
        for views, arrays in each:
            shapes, given = [view.shape for view in views], [array.shape for array in arrays]
            if shapes != given:
                raise ValueError(f"{type(self).__name__}: weights must have the shapes {shown(shapes)}, got "
                                 f"{shown(given)}.")
            for view, array in zip(views, arrays):
                check_values(type(self).__name__, "weights", array, view.dtype.name)
        with self.model_.network.version:
            for views, arrays in each:
                for view, array in zip(views, arrays):
                    view[...] = array
        for name, value in record.items():
            setattr(self, name, value)
        if self.early_stopping:
            self._progress.best = self.model_.network.snapshot()

    @property
    def _no_improvement_count(self) -> int:
        """Epochs since the last improvement, where scikit-learn's class has it."""
        return self._progress.no_improvement_count

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weight matrices (n_in, n_out), one per layer, as views into the model; assigning copies into them."""
        return self._handed_out(".kernel")

    @coefs_.setter
    def coefs_(self, arrays: Any) -> None:
        self._assign("coefs_", ".kernel", arrays)

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Bias vectors (n_out,), one per layer, as views into the model; assigning copies into them."""
        return self._handed_out(".bias")

    @intercepts_.setter
    def intercepts_(self, arrays: Any) -> None:
        self._assign("intercepts_", ".bias", arrays)


@share(score="Accuracy", verbose=VERBOSE_LINES, hidden=HIDDEN, largest_batch="200")
class MLPClassifier(ClassifierNetwork, BaseMLP):
    """Multi-layer perceptron classifier, with scikit-learn's parameters and further ones.

    Parameters
    ----------
    %(hidden)s

    %(training)s

    %(dropout)s

    %(categorical_features)s

    %(class_weight)s

    %(common)s

    Attributes
    ----------
    %(classes)s

    %(attributes)s

    %(category_encoder)s

    coefs_, intercepts_ : lists of ndarrays of shapes (n_in, n_out) and (n_out,)
        Views into the model's weights; assigning copies into them.

    Notes
    -----
    Works like scikit-learn's class, with the same random draws: a seed gives its loss curve up to rounding, with one
    difference. `warm_start` and `partial_fit` keep the optimizer's state and the order of rows of the last call, so
    that n epochs in one call or in several are the same to the bit; scikit-learn resets both.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ldl_cy import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(solver="lbfgs", alpha=1.0, random_state=0).fit(X, y)
    >>> clf.predict(X[[0, 60, 120]])
    array([0, 1, 2])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints, **ClassifierNetwork._parameter_constraints}
    loss = "log_loss"

    def __init__(
        self, hidden_layer_sizes: Sizes = (100,), activation: str = "relu", *, solver: Solver = "adam",
        alpha: float = 0.0001, batch_size: int | str = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: RandomState = None, tol: float = 1e-4, verbose: int = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool | str = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, dropout: float = 0.0,
        class_weight: ClassWeight = None, categorical_features: Any = None, alphas: Any = None,
        callbacks: Callbacks = None, dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())

    def _strata(self, encoded: np.ndarray) -> np.ndarray | None:
        # as scikit-learn's classifier: only with one output, for two classes
        return encoded if self.n_outputs_ == 1 else None


@share(score="R²", verbose=VERBOSE_LINES, hidden=HIDDEN, largest_batch="200")
class MLPRegressor(RegressorNetwork, BaseMLP):
    """Multi-layer perceptron regressor, with scikit-learn's parameters and further ones.

    Parameters
    ----------
    %(loss)s

    %(hidden)s

    %(training)s

    %(dropout)s

    %(categorical_features)s

    %(common)s

    Attributes
    ----------
    %(attributes)s

    %(category_encoder)s

    coefs_, intercepts_ : lists of ndarrays of shapes (n_in, n_out) and (n_out,)
        Views into the model's weights; assigning copies into them.

    Notes
    -----
    Works like scikit-learn's class, with the same random draws: a seed gives its loss curve up to rounding, with one
    difference. `warm_start` and `partial_fit` keep the optimizer's state and the order of rows of the last call, so
    that n epochs in one call or in several are the same to the bit; scikit-learn resets both.

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import MLPRegressor
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> reg = MLPRegressor(hidden_layer_sizes=20, activation="tanh", solver="lbfgs", random_state=0)
    >>> bool(reg.fit(X, X.ravel() ** 2).score(X, X.ravel() ** 2) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints, **RegressorNetwork._parameter_constraints}

    def __init__(
        self, loss: str = "squared_error", hidden_layer_sizes: Sizes = (100,), activation: str = "relu", *,
        solver: Solver = "adam", alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: RandomState = None, tol: float = 1e-4,
        verbose: int = False, warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool | str = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        dropout: float = 0.0, categorical_features: Any = None, alphas: Any = None, callbacks: Callbacks = None,
        dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())
