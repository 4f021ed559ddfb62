"""RNN estimators: recurrent networks for sequences."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from ldl_cy import layers
from ldl_cy.callbacks.base import Callbacks
from ldl_cy.checks import check_values
from ldl_cy.estimators.base import ACTIVATION, DROPOUT, INPUT_FORMAT, INPUT_SHAPE, SIZES, BaseNetwork
from ldl_cy.estimators.data import Shape, check_input_shape
from ldl_cy.estimators.docs import VERBOSE_BAR, share
from ldl_cy.estimators.stacks import dense_layers, dropout_layers, read_sizes
from ldl_cy.estimators.targets import ClassifierNetwork, RegressorNetwork
from ldl_cy.estimators.typed import ClassWeight, DType, RandomState, Sizes, Solver
from ldl_cy.messages import shown

LAYERS = """cell : {'gru', 'lstm', 'rnn'}, default='gru'
        Kind of the recurrent layers.

    units : int or sequence of ints >= 1, default=(64,)
        Units of the recurrent layers; the last layer returns its last state only.

    bidirectional : bool, default=False
        Whether every recurrent layer also reads the sequence backwards.

    hidden_layer_sizes : int or sequence of ints >= 1, default=()
        Units of the fully connected layers after the recurrent ones.

    activation : str, default='relu'
        Activation of the fully connected layers:
        %(activations)s."""
NONE_READS = "it as a sequence of single numbers, (n_features, 1)"
CELLS = {"gru": "GRU", "lstm": "LSTM", "rnn": "RNN"}


class BaseRNN(BaseNetwork):
    """Recurrent layers, then fully connected layers on the last state."""

    cell: str
    units: Sizes
    bidirectional: bool
    hidden_layer_sizes: Sizes
    activation: str
    dropout: float
    input_shape: Sequence[int] | None
    input_format: str
    spectral_radius: float | None
    leak: float

    _reads_lists = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "cell": [StrOptions(set(CELLS))],
        "units": SIZES,
        "bidirectional": ["boolean"],
        "hidden_layer_sizes": SIZES,
        "activation": ACTIVATION,
        "dropout": DROPOUT,
        "input_shape": INPUT_SHAPE,
        "input_format": INPUT_FORMAT,
        "spectral_radius": [Interval(Real, 0, None, closed="neither"), None],
        "leak": [Interval(Real, 0, 1, closed="right")],
    }

    def _declared_shape(self) -> Shape | None:
        return check_input_shape(self, (2,))

    def _shape_of_samples(self, row_shape: Shape) -> Shape:
        shape = check_input_shape(self, (2,)) or (row_shape if len(row_shape) > 1 else (*row_shape, 1))
        if len(shape) > 2:
            raise ValueError(
                f"{type(self).__name__} reads sequences (time, features), got samples of shape {shape}.")
        return shape

    def _hidden_layers(self, shape: Shape) -> list[layers.Layer]:
        units = read_sizes("units", self.units)
        if not units:
            raise ValueError(f"units must name at least one recurrent layer, got {shown(self.units)}.")
        for name, default in (("spectral_radius", None), ("leak", 1)):
            value = getattr(self, name)
            if self.cell != "rnn" and value != default:
                raise ValueError(f"{name} must be {default} with cell={self.cell!r}, got {shown(value)}; cell='rnn' "
                                 "takes others.")
        cell = getattr(layers, CELLS[self.cell])
        options = {"leak": self.leak} if self.cell == "rnn" else {}
        stack = [cell(n, return_sequences=i < len(units) - 1, **options) for i, n in enumerate(units)]
        if self.bidirectional:
            stack = [layers.Bidirectional(layer) for layer in stack]
        sizes = read_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        return [*stack, *dropout_layers(self.dropout),
                *dense_layers(sizes, [self.activation] * len(sizes), self.dropout)]

    def _build(self, dtype: np.dtype, random_state: np.random.RandomState) -> None:
        super()._build(dtype, random_state)
        if self.spectral_radius is not None:
            # drawn as orthogonal matrices: their eigenvalues have the absolute value 1
            network = self.model_.network
            for name, recurrent_kernel in network.views[0].items():
                if name.endswith("recurrent_kernel"):
                    scaled = self.spectral_radius * recurrent_kernel.astype(float)
                    check_values(type(self).__name__, f"spectral_radius times {name}", scaled, dtype.name)
                    with network.version:
                        recurrent_kernel[...] = scaled


@share(score="Accuracy", verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class RNNClassifier(ClassifierNetwork, BaseRNN):
    """Recurrent network for the classification of sequences.

    Parameters
    ----------
    %(layers)s

    %(dropout)s

    %(input_shape)s

    %(input_format)s

    %(reservoir)s

    %(training)s

    %(class_weight)s

    %(common)s

    Attributes
    ----------
    %(classes)s

    %(attributes)s

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import RNNClassifier
    >>> X = np.random.default_rng(0).normal(size=(200, 10, 2))
    >>> y = np.where(X[:, :, 0].sum(axis=1) > 0, "up", "down")
    >>> clf = RNNClassifier(units=16, learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> bool(clf.score(X, y) > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseRNN._parameter_constraints, **ClassifierNetwork._parameter_constraints}

    def __init__(
        self, cell: str = "gru", units: Sizes = (64,), bidirectional: bool = False,
        hidden_layer_sizes: Sizes = (), dropout: float = 0.0, input_shape: Sequence[int] | None = None, *,
        activation: str = "relu", solver: Solver = "adam", alpha: float = 0.0001,
        batch_size: int | str = "auto", learning_rate: str = "constant", learning_rate_init: float = 0.001,
        power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True, random_state: RandomState = None,
        tol: float = 1e-4, verbose: int = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool | str = False, validation_fraction: float = 0.1,
        beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10,
        max_fun: int = 15000, class_weight: ClassWeight = None, input_format: str = "channels_last",
        spectral_radius: float | None = None, leak: float = 1.0, alphas: Any = None,
        callbacks: Callbacks = None, dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())


@share(score="R²", verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class RNNRegressor(RegressorNetwork, BaseRNN):
    """Recurrent network for regression on sequences.

    Parameters
    ----------
    %(layers)s

    %(dropout)s

    %(input_shape)s

    %(input_format)s

    %(reservoir)s

    %(loss)s

    %(training)s

    %(common)s

    Attributes
    ----------
    %(attributes)s

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import RNNRegressor
    >>> X = np.random.default_rng(0).normal(size=(200, 10, 2))
    >>> y = X[:, :, 0].mean(axis=1)
    >>> reg = RNNRegressor(units=16, learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> bool(reg.score(X, y) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseRNN._parameter_constraints, **RegressorNetwork._parameter_constraints}

    def __init__(
        self, cell: str = "gru", units: Sizes = (64,), bidirectional: bool = False,
        hidden_layer_sizes: Sizes = (), dropout: float = 0.0, input_shape: Sequence[int] | None = None, *,
        activation: str = "relu", loss: str = "squared_error", solver: Solver = "adam", alpha: float = 0.0001,
        batch_size: int | str = "auto", learning_rate: str = "constant", learning_rate_init: float = 0.001,
        power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True, random_state: RandomState = None,
        tol: float = 1e-4, verbose: int = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool | str = False, validation_fraction: float = 0.1,
        beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10,
        max_fun: int = 15000, input_format: str = "channels_last", spectral_radius: float | None = None,
        leak: float = 1.0, alphas: Any = None, callbacks: Callbacks = None, dtype: DType = None,
        n_threads: int | None = None,
    ) -> None:
        self._keep(locals())
