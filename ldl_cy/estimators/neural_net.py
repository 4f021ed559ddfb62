"""NeuralNet estimators, for any stack of layers."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import StrOptions

from ldl_cy import losses
from ldl_cy.callbacks.base import Callbacks
from ldl_cy.checks import check_values
from ldl_cy.estimators.base import CATEGORICAL, INPUT_FORMAT, INPUT_SHAPE, BaseNetwork
from ldl_cy.estimators.categorical_features import CategoricalFeatures, encoder_of
from ldl_cy.estimators.data import Shape, check_input_shape
from ldl_cy.estimators.docs import VERBOSE_BAR, share
from ldl_cy.estimators.targets import REGRESSION_LOSSES, ClassifierNetwork, RegressorNetwork
from ldl_cy.estimators.typed import ClassWeight, DType, RandomState, Solver
from ldl_cy.layers import Dense, Layer
from ldl_cy.messages import shown
from ldl_cy.models import Sequential
from ldl_cy.network import Network

Stack = Sequence[Layer] | Sequential | None

LAYERS = """layers : list of layers, or a built Sequential, default=None
        The layers before the output layer. The output layer is a `Dense` layer whose size follows from y, after
        a `Flatten` if its input has several axes. None is ``[Dense(100, "relu")]``.
        A fit with a `Sequential` begins with copies of its weights and running statistics, in the dtype of X (or
        `dtype`), and trains the layers that are trainable there: the model itself is never changed. Its layers may
        read samples of another shape, given as `input_shape`, if no weight depends on it."""
NONE_READS = """flat rows as they are, (n_features,), or, with a
        `Sequential` as `layers`, in the shape for which that was built"""


class BaseNeuralNet(CategoricalFeatures, BaseNetwork):
    """The user's layers, or those of the user's model with its weights, followed by the output layer."""

    layers: Stack
    loss: str | losses.Loss
    input_shape: Sequence[int] | None
    input_format: str
    cache_features: bool | str

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "layers": [list, tuple, Sequential, None],
        "input_shape": INPUT_SHAPE,
        "input_format": INPUT_FORMAT,
        "categorical_features": CATEGORICAL,
        "cache_features": [StrOptions({"auto"}), "boolean"],
    }

    def _trunk(self) -> Network | None:
        """The network of a model that was given as ``layers``."""
        if not isinstance(self.layers, Sequential):
            return None
        if self.layers.input_shape is None:
            raise ValueError("layers must be a list of layers or a Sequential that is built, got one without weights: "
                             "call its build(input_shape), or pass the list of its layers.")
        return self.layers.network

    def _shape_of_samples(self, row_shape: Shape) -> Shape:
        if encoder_of(self) is not None:
            if self.input_shape is not None:
                raise ValueError(f"input_shape must be None with categorical_features, got {shown(self.input_shape)}.")
            if isinstance(self.layers, Sequential):
                raise ValueError("layers must be None or a list of layers with categorical_features, got a Sequential.")
            return row_shape
        trunk = self._trunk()
        # without a channel axis the channels of one sequence are not first: it has one
        single = self._channels_first and len(row_shape) == 1
        inferred = trunk.input_shape if trunk is not None else (*row_shape, 1) if single else row_shape
        return check_input_shape(self, (1, 2, 3)) or inferred

    def _hidden_layers(self, shape: Shape) -> list[Layer]:
        trunk = self._trunk()
        if trunk is not None:
            return list(trunk.layers)
        stack: list[Any] = [Dense(100, "relu")] if self.layers is None else list(self.layers)
        for layer in stack:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers must be None or a list of ldl_cy layers, got {shown(layer)} in it.")
        return stack

    def _build(self, dtype: np.dtype, random_state: np.random.RandomState) -> None:
        super()._build(dtype, random_state)
        trunk = self._trunk()
        if trunk is not None:
            take_numbers(type(self).__name__, self.model_.network, trunk)


def take_numbers(owner: str, network: Network, trunk: Network) -> None:
    """Copy the weights and running statistics of a network into one that begins with the same layers.

    Raises
    ------
    ValueError
        Weights depend on the shape of a sample, which is another one, or do not fit into the dtype.
    """
    graphs = ((network.graph.parameters, trunk.graph.parameters), (network.graph.state, trunk.graph.state))
    vectors = [(own, entries, values, given) for own, values, (entries, given)
               in zip(network.vectors, trunk.vectors, graphs)]
    for _, entries, values, given in vectors:
        if [e.parameter.shape for e in entries[:len(given)]] != [e.parameter.shape for e in given]:
            raise ValueError(f"layers must be a Sequential whose weights do not depend on input_shape, got one built "
                             f"for {trunk.input_shape} and input_shape={network.input_shape}.")
        check_values(owner, "the weights of layers", values, network.dtype)
    with network.version:
        for numbers, _, values, _ in vectors:
            numbers[:values.size] = values


@share(score="Accuracy", verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class NeuralNetClassifier(ClassifierNetwork, BaseNeuralNet):
    """Any stack of layers as a classifier.

    Parameters
    ----------
    %(layers)s

    loss : 'auto' or a LogLoss or BinaryLogLoss object of ``ldl_cy.losses``, default='auto'
        'auto' is the softmax cross-entropy for three or more classes, and the sum of logistic cross-entropies
        for two classes and for multilabel targets. An object replaces the loss of the same kind.

    %(input_shape)s

    %(input_format)s

    %(categorical_features)s

    %(cache_features)s

    %(training)s

    %(class_weight)s

    %(common)s

    Attributes
    ----------
    %(classes)s

    %(attributes)s

    %(category_encoder)s

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ldl_cy import NeuralNetClassifier, layers
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = NeuralNetClassifier([layers.Dense(20, "tanh")], solver="lbfgs", alpha=1.0, random_state=0)
    >>> clf.fit(X, y).predict(X[[0, 60, 120]])
    array([0, 1, 2])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseNeuralNet._parameter_constraints, **ClassifierNetwork._parameter_constraints,
        "loss": [StrOptions({"auto"}), losses.Loss]}

    def __init__(
        self, layers: Stack = None, loss: str | losses.Loss = "auto", solver: Solver = "adam",
        input_shape: Sequence[int] | None = None, *, alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: RandomState = None, tol: float = 1e-4,
        verbose: int = False, warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool | str = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        class_weight: ClassWeight = None, input_format: str = "channels_last", categorical_features: Any = None,
        cache_features: bool | str = "auto", alphas: Any = None, callbacks: Callbacks = None,
        dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())

    def _make_loss(self) -> losses.Loss:
        if isinstance(self.loss, str):
            return super()._make_loss()
        if self.out_activation_ == "identity":
            raise ValueError(f"loss must be 'auto' with solver={shown(self.solver)}, which fits classes by squared "
                             f"errors, got {shown(self.loss)}.")
        kind = losses.LogLoss if self.out_activation_ == "softmax" else losses.BinaryLogLoss
        if not isinstance(self.loss, kind):
            raise ValueError(
                f"loss must be 'auto' or a {kind.__name__} object for these classes, got {shown(self.loss)}.")
        return self.loss


@share(score="R²", verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class NeuralNetRegressor(RegressorNetwork, BaseNeuralNet):
    """Any stack of layers as a regressor.

    Parameters
    ----------
    %(layers)s

    loss : 'auto', 'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson' or an object of \
            ``ldl_cy.losses``, default='auto'
        'auto' is 'squared_error', half the squared error; 'poisson' is half the Poisson deviance with a
        logarithmic link; an object, such as ``losses.Quantile(0.9)``, is used unchanged.

    %(input_shape)s

    %(input_format)s

    %(categorical_features)s

    %(cache_features)s

    %(training)s

    %(common)s

    Attributes
    ----------
    %(attributes)s

    %(category_encoder)s

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from ldl_cy import NeuralNetRegressor, layers
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = NeuralNetRegressor([layers.Dense(10, "tanh")], solver="lbfgs", alpha=1.0, random_state=0)
    >>> bool(reg.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.5)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseNeuralNet._parameter_constraints, **RegressorNetwork._parameter_constraints,
        "loss": [StrOptions({"auto", *REGRESSION_LOSSES}), losses.Loss]}

    def __init__(
        self, layers: Stack = None, loss: str | losses.Loss = "auto", solver: Solver = "adam",
        input_shape: Sequence[int] | None = None, *, alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: RandomState = None, tol: float = 1e-4,
        verbose: int = False, warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool | str = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        input_format: str = "channels_last", categorical_features: Any = None,
        cache_features: bool | str = "auto", alphas: Any = None, callbacks: Callbacks = None,
        dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())

    def _make_loss(self) -> losses.Loss:
        return super()._make_loss() if isinstance(self.loss, str) else self.loss
