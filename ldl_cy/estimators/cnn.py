"""CNN estimators: convolutional networks for images and signals."""
from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from ldl_cy import layers
from ldl_cy.callbacks.base import Callbacks
from ldl_cy.checks import check_ints
from ldl_cy.estimators.base import ACTIVATION, DROPOUT, INPUT_FORMAT, INPUT_SHAPE, SIZES, BaseNetwork
from ldl_cy.estimators.data import Shape, check_input_shape
from ldl_cy.estimators.docs import VERBOSE_BAR, share
from ldl_cy.estimators.stacks import dense_layers, dropout_layers, read_sizes
from ldl_cy.estimators.targets import ClassifierNetwork, RegressorNetwork
from ldl_cy.estimators.typed import ClassWeight, DType, RandomState, Sizes, Solver

LAYERS = """filters : int or sequence of ints >= 1, default=(32, 64)
        Filters of the convolutions, which preserve height and width, or the length of a signal.

    kernel_size : int >= 1 or a pair of them, default=3
        Size of the convolutions' kernels.

    pool_size : int >= 1 or a pair of them, default=2
        Size of the max pooling after each convolution, which is left out where no window fits.

    hidden_layer_sizes : int or sequence of ints >= 1, default=(128,)
        Units of the fully connected layers after the convolutions.

    activation : str, default='relu'
        Activation of the convolutions and the hidden layers:
        %(activations)s.

    batch_norm : bool, default=False
        Whether to normalise the convolutions' outputs over the batch, before the activation."""
NONE_READS = "it as a signal of one channel, (n_features, 1)"
LEAST_IMAGE = 8                     # height and width from which samples of two axes may be meant as images


class BaseCNN(BaseNetwork):
    """Blocks of convolution and pooling, then fully connected layers."""

    filters: Sizes
    kernel_size: Sizes
    pool_size: Sizes
    hidden_layer_sizes: Sizes
    activation: str
    batch_norm: bool
    dropout: float
    input_shape: Sequence[int] | None
    input_format: str

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "filters": SIZES,
        "kernel_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "pool_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "hidden_layer_sizes": SIZES,
        "activation": ACTIVATION,
        "batch_norm": ["boolean"],
        "dropout": DROPOUT,
        "input_shape": INPUT_SHAPE,
        "input_format": INPUT_FORMAT,
    }

    def _shape_of_samples(self, row_shape: Shape) -> Shape:
        declared = check_input_shape(self, (2, 3))
        shape = declared or (row_shape if len(row_shape) > 1 else (*row_shape, 1))
        if declared is None and len(shape) == 2 and min(shape) >= LEAST_IMAGE and not self._channels_first:
            warnings.warn(
                f"{type(self).__name__} reads samples of shape {shape} as signals of {shape[0]} steps and {shape[1]} "
                f"channels. For images of one channel set input_shape={(*shape, 1)}; input_shape={shape} says that "
                "they are signals.", UserWarning, stacklevel=6)
        if len(shape) > 3:
            raise ValueError(
                f"{type(self).__name__} reads images (height, width, channels) and signals (time, channels), "
                f"got samples of shape {shape}.")
        return shape

    def _hidden_layers(self, shape: Shape) -> list[layers.Layer]:
        owner, axes = type(self).__name__, len(shape) - 1
        convolution: Any = layers.Conv1D if axes == 1 else layers.Conv2D
        pooling: Any = layers.MaxPool1D if axes == 1 else layers.MaxPool2D
        kernel_sizes = check_ints(owner, "kernel_size", as_tuple(self.kernel_size), axes)
        pool_sizes = check_ints(owner, "pool_size", as_tuple(self.pool_size), axes)
        # layers with one axis take an int
        kernel, pool = (sizes if axes > 1 else sizes[0] for sizes in (kernel_sizes, pool_sizes))
        size = shape[:-1]
        stack: list[layers.Layer] = []
        for filters in read_sizes("filters", self.filters):
            if self.batch_norm:
                stack += [convolution(filters, kernel, padding="same", use_bias=False),
                          layers.BatchNorm(), layers.Activation(self.activation)]
            else:
                stack.append(convolution(filters, kernel, padding="same", activation=self.activation))
            if all(length >= window for length, window in zip(size, pool_sizes)):
                stack.append(pooling(pool))
                size = tuple(length // window for length, window in zip(size, pool_sizes))
        sizes = read_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        return [*stack, layers.Flatten(), *dropout_layers(self.dropout),
                *dense_layers(sizes, [self.activation] * len(sizes), self.dropout)]


def as_tuple(size: Any) -> Any:
    """Lists and arrays of sizes as tuples, of one more than any layer takes if they have more; ints as they are."""
    return tuple(itertools.islice(size, 3)) if hasattr(size, "__iter__") else size


@share(score="Accuracy", verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class CNNClassifier(ClassifierNetwork, BaseCNN):
    """Convolutional network for the classification of images or signals.

    Parameters
    ----------
    %(layers)s

    %(dropout)s

    %(input_shape)s

    %(input_format)s

    %(training)s

    %(class_weight)s

    %(common)s

    Attributes
    ----------
    %(classes)s

    %(attributes)s

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from ldl_cy import CNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = CNNClassifier(filters=8, input_shape=(8, 8, 1), max_iter=5, tol=0.0, random_state=0)
    >>> bool(clf.fit(X / 16, y).score(X / 16, y) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseCNN._parameter_constraints, **ClassifierNetwork._parameter_constraints}

    def __init__(
        self, filters: Sizes = (32, 64), kernel_size: Sizes = 3, pool_size: Sizes = 2,
        hidden_layer_sizes: Sizes = (128,), activation: str = "relu", batch_norm: bool = False,
        dropout: float = 0.0, input_shape: Sequence[int] | None = None, *, solver: Solver = "adam",
        alpha: float = 0.0001, batch_size: int | str = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: RandomState = None, tol: float = 1e-4, verbose: int = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool | str = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, class_weight: ClassWeight = None,
        input_format: str = "channels_last", alphas: Any = None, callbacks: Callbacks = None,
        dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())


@share(score="R²", verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class CNNRegressor(RegressorNetwork, BaseCNN):
    """Convolutional network for regression on images or signals.

    Parameters
    ----------
    %(layers)s

    %(dropout)s

    %(input_shape)s

    %(input_format)s

    %(loss)s

    %(training)s

    %(common)s

    Attributes
    ----------
    %(attributes)s

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import CNNRegressor
    >>> X = np.random.default_rng(0).normal(size=(200, 16))
    >>> reg = CNNRegressor(filters=8, random_state=0).fit(X, X.max(axis=1))
    >>> bool(reg.score(X, X.max(axis=1)) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseCNN._parameter_constraints, **RegressorNetwork._parameter_constraints}

    def __init__(
        self, filters: Sizes = (32, 64), kernel_size: Sizes = 3, pool_size: Sizes = 2,
        hidden_layer_sizes: Sizes = (128,), activation: str = "relu", batch_norm: bool = False,
        dropout: float = 0.0, input_shape: Sequence[int] | None = None, *, loss: str = "squared_error",
        solver: Solver = "adam", alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: RandomState = None, tol: float = 1e-4,
        verbose: int = False, warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool | str = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        input_format: str = "channels_last", alphas: Any = None, callbacks: Callbacks = None,
        dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())
