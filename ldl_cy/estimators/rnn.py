"""Recurrent networks for sequences."""
from __future__ import annotations

from typing import Any, ClassVar

from sklearn.utils._param_validation import StrOptions

from ldl_cy import layers
from ldl_cy.estimators.base import ACTIVATION, DROPOUT, INPUT_SHAPE, SIZES, BaseNetwork
from ldl_cy.estimators.data import Shape, check_input_shape
from ldl_cy.estimators.docs import VERBOSE_BAR, share
from ldl_cy.estimators.stacks import dense_layers, dropout_layers, need, read_sizes
from ldl_cy.estimators.targets import ClassifierNetwork, RegressorNetwork

LAYERS = """cell : {'gru', 'lstm', 'rnn'}, default='gru'
        Kind of the recurrent layers.

    units : int or sequence of ints >= 1, default=(64,)
        Units of the recurrent layers; the last one passes on its last state.

    bidirectional : bool, default=False
        Whether every recurrent layer also reads the sequence backwards.

    hidden_layer_sizes : int or sequence of ints >= 1, default=()
        Units of the fully connected layers behind the recurrent ones.

    activation : str, default='relu'
        Activation of the fully connected layers: 'identity', 'relu', 'leaky_relu', 'elu', 'selu',
        'gelu', 'silu', 'softplus', 'tanh', 'logistic', 'mish' or 'hard_sigmoid'."""
NONE_READS = "it as a sequence of single numbers, (n_features, 1)"
CELLS = {"gru": "GRU", "lstm": "LSTM", "rnn": "RNN"}


class BaseRNN(BaseNetwork):
    """Recurrent layers, the last state of the last one, then fully connected layers."""

    cell: str
    units: Any
    bidirectional: bool
    hidden_layer_sizes: Any
    activation: str
    dropout: float
    input_shape: Any

    _reads_lists = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "cell": [StrOptions(set(CELLS))],
        "units": SIZES,
        "bidirectional": ["boolean"],
        "hidden_layer_sizes": SIZES,
        "activation": ACTIVATION,
        "dropout": DROPOUT,
        "input_shape": INPUT_SHAPE,
    }

    def _shape_of_samples(self, row_shape: Shape) -> Shape:
        shape = check_input_shape(self, (2,)) or (row_shape if len(row_shape) > 1 else (*row_shape, 1))
        if len(shape) > 2:
            raise ValueError(
                f"{type(self).__name__} reads sequences (time, features), got samples of shape {shape}.")
        return shape

    def _hidden_layers(self, shape: Shape) -> list[layers.Layer]:
        units = read_sizes("units", self.units)
        if not units:
            raise ValueError(f"units must name at least one recurrent layer, got {self.units!r}.")
        cell = getattr(layers, CELLS[self.cell])
        stack: list[layers.Layer] = [
            cell(n, return_sequences=i < len(units) - 1) for i, n in enumerate(units)]
        if self.bidirectional:
            stack = [need(layers, "Bidirectional", "bidirectional=True")(layer) for layer in stack]
        sizes = read_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        return [*stack, *dropout_layers(self.dropout),
                *dense_layers(sizes, [self.activation] * len(sizes), self.dropout)]


@share(verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class RNNClassifier(ClassifierNetwork, BaseRNN):
    """Recurrent network for classes of sequences.

    Parameters
    ----------
    %(layers)s

    %(dropout)s

    %(input_shape)s

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
        self, cell="gru", units=(64,), bidirectional=False, hidden_layer_sizes=(), dropout=0.0,
        input_shape=None, *, activation="relu", solver="adam", alpha=0.0001, batch_size="auto",
        learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
        random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999,
        epsilon=1e-8, n_iter_no_change=10, max_fun=15000, class_weight=None, callbacks=None, dtype=None, n_threads=None,
    ):
        self._keep(locals())


@share(verbose=VERBOSE_BAR, layers=LAYERS, none_reads=NONE_READS, largest_batch="32")
class RNNRegressor(RegressorNetwork, BaseRNN):
    """Recurrent network for numbers from sequences.

    Parameters
    ----------
    %(layers)s

    %(dropout)s

    %(input_shape)s

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
        self, cell="gru", units=(64,), bidirectional=False, hidden_layer_sizes=(), dropout=0.0,
        input_shape=None, *, activation="relu", loss="squared_error", solver="adam", alpha=0.0001,
        batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200,
        shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999,
        epsilon=1e-8, n_iter_no_change=10, max_fun=15000, callbacks=None, dtype=None, n_threads=None,
    ):
        self._keep(locals())
