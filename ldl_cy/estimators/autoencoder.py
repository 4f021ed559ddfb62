"""Autoencoder: rows through a code of a few numbers and back, as a transformer."""
from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from ldl_cy import losses, optimizers
from ldl_cy.callbacks.base import Callbacks
from ldl_cy.estimators.base import ACTIVATION, DROPOUT, INPUT_SHAPE, SIZES, BaseNetwork, _check_partial_fit
from ldl_cy.estimators.data import Rows, Shape, check_input_shape, read, read_weights
from ldl_cy.estimators.docs import VERBOSE_LINES, share
from ldl_cy.estimators.ranks import fitting_together
from ldl_cy.estimators.stacks import activation_names, dense_layers, read_sizes, shape_after
from ldl_cy.estimators.typed import DType, RandomState, Sizes, Solver, available, validated_once
from ldl_cy.inference import predict
from ldl_cy.layers import Dense, Flatten, Layer
from ldl_cy.messages import shown
from ldl_cy.models import Sequential
from ldl_cy.sparse import is_sparse

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks

Stack = Sequence[Layer] | None


@share(
    ridge=False, verbose=VERBOSE_LINES, none_reads="rows in the shape that they have", largest_batch="200",
    score="Minus the mean squared error")
class Autoencoder(BaseNetwork):
    """A network that learns to repeat its rows after a bottleneck: PCA with curved axes.

    The encoder takes a row x to its code z = f(x), the decoder takes the code back, and both are fitted to minimise
    ½ ‖g(f(x)) - x‖². Without hidden layers the code spans the space of PCA's components.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of ints >= 1, default=(128,)
        Units of the hidden layers between a row and its code; those of the decoder are the same in the opposite order.

    n_components : int >= 1, default=16
        Numbers of the code, which is linear in the last hidden layer.

    activation : str or sequence of str, default='relu'
        Activation of the hidden layers, one for all or one per layer of the encoder:
        %(activations)s.

    encoder : list of layers, default=None
        The whole encoder instead: its output, flattened, is the code, whatever `n_components` is. With
        ``layers.GaussianNoise`` or ``layers.Dropout`` as its first layer rows are to be repeated without the noise.

    decoder : list of layers, default=None
        The whole decoder instead: it reads the encoder's output, and its own must have the numbers of a row.

    %(input_shape)s

    %(training)s

    %(dropout)s

    %(common)s

    Attributes
    ----------
    n_components_ : int
        Numbers of the code.

    encoder_, decoder_ : Sequential
        Copies of the two parts of ``model_``, as models.

    %(attributes)s

    Notes
    -----
    Scores are minus mean squared errors. `loss_` is half the mean squared error plus the penalty. y is ignored
    everywhere. Scale the features: an error counts as much as its unit. Errors of features
    between 0 and 1 are small beside `tol`, by which a fit then ends early: lower it, or set `n_iter_no_change` to
    infinity.

    References
    ----------
    Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313 (2006).
    Baldi, Hornik, "Neural networks and principal component analysis: learning from examples without local minima",
    Neural Networks 2 (1989).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from ldl_cy import Autoencoder
    >>> X = load_digits().data / 16
    >>> coder = Autoencoder(n_components=8, max_iter=20, n_iter_no_change=float("inf"), random_state=0)
    >>> codes = coder.fit_transform(X)
    >>> codes.shape, coder.inverse_transform(codes).shape
    ((1797, 8), (1797, 64))
    """

    hidden_layer_sizes: Sizes
    n_components: int
    activation: Any
    encoder: Stack
    decoder: Stack
    input_shape: Sequence[int] | None
    dropout: float

    n_components_: int
    alphas = None                   # of solver="ridge", which has no meaning here

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{name: given for name, given in BaseNetwork._parameter_constraints.items() if name != "alphas"},
        "solver": [StrOptions(set(optimizers.OPTIMIZERS)), optimizers.Optimizer],
        "hidden_layer_sizes": SIZES,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "activation": [*ACTIVATION, list, tuple],
        "encoder": [list, tuple, None],
        "decoder": [list, tuple, None],
        "input_shape": INPUT_SHAPE,
        "dropout": DROPOUT,
    }
    _largest_batch = 200
    _prints = True

    def __init__(
        self, hidden_layer_sizes: Sizes = (128,), n_components: int = 16, activation: Any = "relu", *,
        encoder: Stack = None, decoder: Stack = None, input_shape: Sequence[int] | None = None,
        solver: Solver = "adam", alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: RandomState = None, tol: float = 1e-4, verbose: int = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool | str = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        dropout: float = 0.0, callbacks: Callbacks = None, dtype: DType = None, n_threads: int | None = None,
    ) -> None:
        self._keep(locals())

    # -- the network -------------------------------------------------------------------------------------------------

    @property
    def _reads_sparse(self) -> bool:        # type: ignore[override]
        """Whether rows go into a Dense layer as they are."""
        return self.encoder is None and self.input_shape is None

    def _shape_of_samples(self, row_shape: Shape) -> Shape:
        return check_input_shape(self, (1, 2, 3)) or row_shape

    def _hidden_layers(self, shape: Shape) -> list[Layer]:
        """The encoder, for samples of a shape."""
        if self.encoder is not None:
            return checked_layers("encoder", self.encoder)
        sizes = read_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        names = activation_names(self.activation, len(sizes))
        return [*([Flatten()] if len(shape) > 1 else []), *dense_layers(sizes, names, self.dropout),
                Dense(self.n_components)]

    def _all_layers(self) -> list[Layer]:
        encoder = self._hidden_layers(self._sample_shape)
        code = shape_after(self._sample_shape, encoder)
        if self.decoder is not None:
            decoder = checked_layers("decoder", self.decoder)
        else:
            sizes = read_sizes("hidden_layer_sizes", self.hidden_layer_sizes)[::-1]
            names = activation_names(self.activation, len(sizes))[::-1]
            decoder = [*([Flatten()] if len(code) > 1 else []), *dense_layers(sizes, names, self.dropout),
                       Dense(self.n_outputs_)]
        output = shape_after(code, decoder)
        if math.prod(output) != self.n_outputs_:
            raise ValueError(f"decoder must end with the {self.n_outputs_} numbers of a sample, got the shape "
                             f"{output}.")
        self._encoder_layers, self.n_components_ = len(encoder), math.prod(code)
        return [*encoder, *decoder, *([Flatten()] if len(output) > 1 else [])]

    def _feature_layers(self) -> int:
        return self._encoder_layers

    def _part(self, encoder: bool) -> Sequential:
        model = vars(self).get("model_")
        if model is None:
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet.")
        k = self._encoder_layers
        part: Sequential = model[:k] if encoder else model[k:]
        return part

    @property
    def encoder_(self) -> Sequential:
        """The layers from a row to its code: a model of its own, with copies of their weights."""
        return self._part(True)

    @property
    def decoder_(self) -> Sequential:
        """The layers from a code to a row: a model of its own, with copies of their weights."""
        return self._part(False)

    # -- what is fitted: X to itself -----------------------------------------------------------------------------------

    def _read_fit(
        self, X: Any, y: Any, *, reset: bool, classes: str, ranks: Ranks | None = None,
    ) -> tuple[Any, Any]:
        X = read(self, self._accepts(reset=reset), X, reset=reset, ranks=ranks)
        return X, X

    def _encode(self, y: Any) -> np.ndarray:
        rows: np.ndarray = y.toarray() if is_sparse(y) else y
        return rows.reshape(len(rows), -1)

    def _set_outputs(self, encoded: np.ndarray) -> None:
        self.n_outputs_ = encoded.shape[1]

    def _output_activation(self) -> str:
        return "identity"

    def _make_loss(self) -> losses.Loss:
        return losses.SquaredError(scale=0.5 * self.n_outputs_)         # the sum over outputs, halved

    def _averaged_outputs(self) -> int:
        return self.n_outputs_

    def _score_encoded(self, raw: np.ndarray, rows: Rows) -> float:
        with np.errstate(over="ignore"):        # the score of a fit that diverges is -inf
            scores = negative_errors(raw, rows.y)
            return float(np.average(scores, weights=rows.weight)) if np.isfinite(raw).all() else np.nan

    def fit(    # type: ignore[override]
        self, X: Any, y: Any = None, sample_weight: Any = None, *, X_val: Any = None, sample_weight_val: Any = None,
        comm: Any = None, shards: int = 8, rows: str = "all",
    ) -> Self:
        """Fit encoder and decoder to X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows; without `encoder` and `input_shape` also sparse (CSR, CSC), of which a dense copy is made, since
            the output has all numbers. Arrays of three and four axes are samples of several axes.

        y : ignored

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        X_val, sample_weight_val : array-likes like X and sample_weight, default=None
            Validation data. They are scored after each epoch; early stopping uses them instead of holding out a
            part of the training data.

        comm : mpi4py.MPI.Comm, default=None
            The processes that fit together, its ranks. All call `fit` with the same arguments, and with the same
            parameters but for `n_threads`, `verbose` and `callbacks`; `random_state` is that of rank 0. An error on
            one rank is raised on all, and Ctrl-C ends the fit of all. The fitted estimators are equal, and their
            weights the same to the bit for any number of ranks from 1 to `shards` and any number of threads; with
            ``rows="all"`` those of a fit without a communicator differ only by the order of sums.

        shards : int, a power of two, default=8
            With a communicator the number of parts into which each batch is cut: at least the number of ranks.

        rows : {"all", "local"}, default="all"
            With a communicator whether every rank is given all rows, or only its own. With "all" X may be a memmap
            of float32 or float64 numbers, which is not copied. With "local" classes, categories and the longest
            sequence are those of all ranks, batches take a share of the rows of each, and so does early stopping.
            The bits are the same for any number of ranks if the rows of all of them, in order, are the same, and each
            has those of whole shards, n_samples / `shards` rows each.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            A bad parameter, layers that do not fit the rows, or data that do not fit the fitted network; weights that
            became non-finite without early stopping. Before the first complete epoch, any error leaves the estimator
            as it was, fitted or not.
        RuntimeError
            Another fit of this estimator is running, or one with the same callback.
        """
        with fitting_together(self, comm, shards, rows) as ranks:
            if X_val is None and sample_weight_val is not None:
                raise ValueError("sample_weight_val needs X_val.")
            validation = None if X_val is None else (X_val, None, sample_weight_val)
            return self._fit(X, None, sample_weight, validation=validation, ranks=ranks)

    @available(_check_partial_fit)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Update the network with one pass over the given data.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        y : ignored

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The trained estimator.
        """
        with validated_once(self):
            return self._fit(X, None, sample_weight, incremental=True)

    # -- what a fitted one gives ---------------------------------------------------------------------------------------

    def transform(self, X: Any) -> np.ndarray:
        """The codes of rows: the encoder's output, flattened.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows, as ``fit`` takes them.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components_)
            In the dtype in which the network computes.
        """
        return super().transform(X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The rows that the decoder makes of codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes, as ``transform`` returns them.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            Of the shape of the samples on which the network was fitted.
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=np.dtype(self.model_.dtype), order="C", estimator=self, input_name="X")
        if codes.shape[1] != self.n_components_:
            raise ValueError(f"X has {codes.shape[1]} features, but {type(self).__name__} is expecting codes of "
                             f"{self.n_components_} numbers.")
        decoder = self.model_.network.split(self._encoder_layers)[1]
        rows = predict(decoder, codes.reshape(len(codes), *decoder.input_shape), None, None, self.n_threads)
        return rows.reshape(len(codes), *self._row_shape)

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the mean squared error of each row after encoding and decoding: large for rows like those of the fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            At most 0; in the square of the unit of X.
        """
        check_is_fitted(self)
        X = read(self, self._accepts(reset=False), X)
        return negative_errors(self._outputs(self._as_samples(X), None, self.n_threads), self._encode(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the mean squared error of rows after encoding and decoding.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        y : ignored

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            The (weighted) mean of ``score_samples(X)``.
        """
        scores = self.score_samples(X)
        return float(np.average(scores, weights=read_weights(scores, sample_weight)))


def negative_errors(raw: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """-(1/k) Σⱼ (x̂ⱼ - xⱼ)² of each of n rows of k numbers, in float64."""
    return -np.mean(np.square(np.subtract(raw, rows, dtype=np.float64)), axis=1)


def checked_layers(name: str, stack: Sequence[Layer]) -> list[Layer]:
    """The layers that were given for a part; an error if there are none, or others than layers."""
    if not stack:
        raise ValueError(f"{name} must be None or a list of at least one ldl_cy layer, got {shown(stack)}.")
    for layer in stack:
        if not isinstance(layer, Layer):
            raise TypeError(f"{name} must be None or a list of ldl_cy layers, got {shown(layer)} in it.")
    return list(stack)
