"""BaseNetwork, the base class of all estimators: parameters, fitting and predicting."""
from __future__ import annotations

import inspect
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ldl_cy import layers, optimizers
from ldl_cy._engine.process import Exclusive
from ldl_cy.callbacks import Callback, CallbackList, Callbacks
from ldl_cy.checks import in_dtype
from ldl_cy.estimators.categorical_features import counting, encoder_of, leave_out_weightless
from ldl_cy.estimators.data import (
    Rows,
    Shape,
    canonical,
    check_row_shape,
    given_shape,
    hold_out,
    network_shape,
    read_weights,
)
from ldl_cy.estimators.features import NetworkFeatures
from ldl_cy.estimators.monitor import TrainingMonitor
from ldl_cy.estimators.progress import FitProgress, unchanged_without_epoch
from ldl_cy.estimators.ranks import (
    check_rows,
    check_settings,
    count_batches,
    fitting_together,
    share_progress,
    shared,
    speaks,
    take_end_of_first,
    total_weight,
)
from ldl_cy.estimators.sequences import Sequences, check_steps, lengths_of
from ldl_cy.estimators.sklearn_callbacks import CallbackSupportMixin, SklearnCallbacks
from ldl_cy.estimators.solvers import SOLVERS, check_loss, is_closed_form, make_optimizer, takes_full_batch
from ldl_cy.estimators.stacks import shape_after
from ldl_cy.estimators.training import train
from ldl_cy.estimators.typed import RandomState, Solver, available, validated, validated_once
from ldl_cy.estimators.validation import Validation
from ldl_cy.layers.activation import ACTIVATIONS, ALIASES
from ldl_cy.messages import shown
from ldl_cy.models import Sequential
from ldl_cy.threads import choose_threads
from ldl_cy.training import Fit

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks

# constraints of parameters that only some families have
ACTIVATION = [StrOptions({*ACTIVATIONS, *ALIASES} - {"softmax"})]
DROPOUT = [Interval(Real, 0, 1, closed="left")]
SIZES = ["array-like", Interval(Integral, 1, None, closed="left")]
INPUT_SHAPE = ["array-like", None]
INPUT_FORMAT = [StrOptions({"channels_last", "channels_first"})]
CATEGORICAL = ["array-like", StrOptions({"from_dtype"}), None]


def _check_partial_fit(estimator: Any) -> bool:
    if takes_full_batch(estimator.solver) and not is_closed_form(estimator.solver):
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic.")
    return True


class BaseNetwork(CallbackSupportMixin, NetworkFeatures, BaseEstimator, ABC):
    """Base class of all estimators.

    A family (MLP, CNN, RNN, NeuralNet) defines the layers and how rows are read; ClassifierNetwork and
    RegressorNetwork define targets, losses and scores. The attributes below are constructor parameters that all
    estimators have, and what a fit sets.
    """

    solver: Solver
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: RandomState
    tol: float
    verbose: int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool | str
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    alphas: Any
    callbacks: Callbacks

    n_features_in_: int
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    n_iter_: int
    t_: int
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    validation_loss_curve_: list[float] | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    stop_reason_: str
    alpha_: float
    best_score_: float

    _progress: FitProgress

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "solver": [StrOptions(SOLVERS), optimizers.Optimizer],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean", StrOptions({"loss"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "alphas": ["array-like", None],
        "callbacks": [Callback, callable, list, tuple, None],
        "dtype": [StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64}), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    _largest_batch = 32             # of batch_size="auto"
    _prints = False                 # whether verbose prints lines, as scikit-learn's MLP does, or shows a bar

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Store the constructor's arguments unchanged under their own names, as ``clone`` requires."""
        for name in self._get_param_names():
            setattr(self, name, arguments[name])

    # Defined by a family of networks.

    @abstractmethod
    def _hidden_layers(self, shape: Shape) -> list[layers.Layer]:
        """The layers before the output layer, for samples of a shape."""

    @abstractmethod
    def _shape_of_samples(self, row_shape: Shape) -> Shape:
        """The shape in which the network reads rows: ``input_shape``, or derived from the shape of the rows."""

    # Defined by the kind of targets: ClassifierNetwork, RegressorNetwork.

    @abstractmethod
    def _read_fit(
        self, X: Any, y: Any, *, reset: bool, classes: str, ranks: Ranks | None = None,
    ) -> tuple[np.ndarray, Any]:
        """X and y, validated. ``classes``: "learn" them; y must have the "same" ones, or only "known" ones."""

    @abstractmethod
    def _encode(self, y: Any) -> np.ndarray:
        """y as the network's targets."""

    @abstractmethod
    def _set_outputs(self, encoded: np.ndarray) -> None:
        """Set ``n_outputs_``."""

    @abstractmethod
    def _output_activation(self) -> str:
        """The activation that predictions apply to raw outputs, ``out_activation_``: it follows from the loss."""

    @abstractmethod
    def _make_loss(self) -> Any:
        """The loss for ``Sequential.fit``."""

    @abstractmethod
    def _score_encoded(self, raw: np.ndarray, rows: Rows) -> float:
        """Accuracy or R² of the network's raw outputs for rows with encoded targets."""

    def _declare_classes(self, y: Any, classes: Any) -> None:
        """Learn the classes of all calls of ``partial_fit`` in the first one; only classifiers have any."""

    def _class_weights(self, y: Any, ranks: Ranks | None) -> np.ndarray | None:
        """A factor for each sample from ``class_weight``, or None."""
        return None

    def _strata(self, encoded: np.ndarray) -> np.ndarray | None:
        """The classes by which the rows that are held out are stratified, (n,) or (n, 1); None if they are not."""
        return None

    def _averaged_outputs(self) -> int:
        """The number of outputs over which the reported loss is a mean while the minimised loss is a sum."""
        return 1

    # Fitting.

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None, comm: Any = None, shards: int = 8, rows: str = "all",
    ) -> Self:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data. MLPs also accept sparse matrices (CSR, CSC); the other networks accept arrays of three
            and four axes. RNNs also accept sequences of different lengths: lists of arrays (n_steps, n_features), or
            (n_steps,) for one feature, and arrays with NaN in all features of the steps past each end. Later fits and
            predictions may have longer sequences than the first.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The class labels, or the target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        X_val, y_val, sample_weight_val : array-likes like X, y and sample_weight, default=None
            Validation data. Their loss and score are computed after each epoch; early stopping uses them instead of
            holding out a part of the training data.

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
            A bad parameter, or data that do not fit each other or the fitted network; weights that became
            non-finite without early stopping. Before the first complete epoch, any error leaves the estimator as it
            was, fitted or not.
        RuntimeError
            Another fit of this estimator is running, or one with the same callback.
        """
        with fitting_together(self, comm, shards, rows) as ranks:
            if (X_val is None) != (y_val is None):
                raise ValueError("X_val and y_val must be given together.")
            if X_val is None and sample_weight_val is not None:
                raise ValueError("sample_weight_val needs X_val and y_val.")
            validation = None if X_val is None else (X_val, y_val, sample_weight_val)
            return self._fit(X, y, sample_weight, validation=validation, ranks=ranks)

    @validated
    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, validation: tuple[Any, Any, Any] | None = None,
        incremental: bool = False, classes: Any = None, ranks: Ranks | None = None,
    ) -> Self:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        validates = validation is not None or self.early_stopping
        known = ["loss", *(["val_loss", "val_score"] if validates else [])]
        callbacks = CallbackList(self.callbacks, progress=bool(self.verbose) and not self._prints, ranks=ranks)
        with Exclusive([self], "of this estimator"), callbacks.exclusive(), unchanged_without_epoch(self):
            self._check_floats()
            callbacks.check(make_optimizer(self, lambda: self.learning_rate_init, incremental=incremental), known)
            first = not hasattr(self, "model_") or not (self.warm_start or incremental)
            check_settings(self, sample_weight, validation, None if first else self._progress, ranks)
            if incremental:
                self._declare_classes(y, classes)
            learn = first and not incremental
            given = X
            X, y = self._read_fit(
                X, y, reset=first, classes="learn" if learn else "same" if self.warm_start else "known", ranks=ranks)
            sample_weight = read_weights(X, sample_weight)
            weight, factors = sample_weight, self._class_weights(y, ranks)
            if factors is not None:
                weight = factors if weight is None else weight * factors
            if encoder_of(self) is None:
                given = X
            elif first:
                X = leave_out_weightless(self, X, sample_weight, ranks)
            tasks = SklearnCallbacks(self, given, y, sample_weight, self._callback_context(incremental))
            callbacks.append(tasks)
            encoded = self._encode(y)
            check_rows(self, X, None if y is X else encoded, sample_weight, ranks)
            if first:
                self._start(X, encoded, ranks)
            else:               # the solver or the loss may have changed since
                share_progress(self._progress, ranks)
                self.out_activation_ = self._output_activation()
                self._grow(X)
            rows, held = Rows(self._as_samples(X), self._as_targets(encoded), weight, lengths_of(X)), None
            if validation is not None:
                held = self._read_validation(*validation, ranks)
            elif self.early_stopping:
                rows, held = hold_out(rows, sample_weight, self.validation_fraction, self._progress.split_state(),
                                      self._strata(encoded), ranks)
            if takes_full_batch(self.solver) and not is_closed_form(self.solver) and ranks is None:
                rows = canonical(rows)
            with (Exclusive([self.model_], "of this model"),
                  counting(self, rows, held, add=incremental, ranks=ranks) as held_as_seen):
                self._train(rows, held_as_seen, callbacks, incremental, ranks)
            take_end_of_first(self, self._progress, ranks)
            tasks.finish()
            return self

    def _start(self, X: Any, encoded: np.ndarray, ranks: Ranks | None = None) -> None:
        """A new model for these rows and encoded targets, and the attributes of an estimator without any epoch."""
        self._progress = FitProgress(shared(check_random_state(self.random_state), ranks))
        if isinstance(X, Sequences):
            self._row_shape, self._sample_shape = X.row_shape, self._shape_of_samples(X.shape[1:])
            check_steps(self, X, self._sample_shape)
        else:
            self._row_shape = X.shape[1:]
            self._sample_shape = self._shape_of_samples(network_shape(self._row_shape, self._channels_first))
            check_row_shape(self, self._row_shape, given_shape(self._sample_shape, self._channels_first))
        self._set_outputs(encoded)
        self.out_activation_ = self._output_activation()
        self._build(np.dtype(np.float32) if X.dtype == np.uint8 else X.dtype, self._progress.random_state)
        TrainingMonitor.start(self)

    def _grow(self, X: Any) -> None:
        """Make room for sequences that are longer than all before; weights and the state of training are kept."""
        if isinstance(X, Sequences) and X.shape[1] > self._sample_shape[0]:
            model, steps = self.model_, X.shape[1]
            model.adopt(model.network.with_steps(steps), model.training_state)
            self._sample_shape = (steps, *self._sample_shape[1:])

    def _check_floats(self) -> None:
        """Refuse ints that no float holds, which scikit-learn's check of the parameters accepts."""
        for name, constraints in self._parameter_constraints.items():
            reals = any(isinstance(c, Interval) and c.type is Real for c in constraints)
            value: Any = getattr(self, name)
            if reals and isinstance(value, Integral) and abs(int(value)) > sys.float_info.max:
                raise ValueError(f"The {name!r} parameter of {type(self).__name__} must fit into a float, got "
                                 f"{shown(value)}.")

    def _train(
        self, rows: Rows, held: Rows | None, callbacks: CallbackList, incremental: bool, ranks: Ranks | None,
    ) -> None:
        n = rows.n if ranks is None else ranks.count(rows.n)
        size = self._batch_size(n, ranks)
        self._run(rows, held, callbacks, n=n, weight=total_weight(rows.weight, rows.n, ranks), size=size,
                  n_batches=1 if isinstance(size, str) else count_batches(rows.n, size, ranks),
                  incremental=incremental, ranks=ranks)

    def _run(
        self, rows: Rows, held: Rows | None, callbacks: CallbackList, *, n: int, weight: float, size: int | str,
        n_batches: int, incremental: bool = False, ranks: Ranks | None = None, kind: Callable[..., Fit] = Fit,
    ) -> None:
        """Run the fit that ``kind`` makes, an epoch of which has n rows of this weight in batches of ``size`` rows."""
        progress, loss = self._progress, self._make_loss()
        if self.t_ == 0 or progress.first_step_size != self.learning_rate_init:
            progress.step_size = progress.first_step_size = self.learning_rate_init
        optimizer = make_optimizer(
            self, lambda: progress.step_size, incremental=incremental, earlier=progress.head_sums)
        check_loss(self, loss)
        # chosen before the fit begins, which would count as another running fit
        n_threads = choose_threads(type(self).__name__, self.n_threads)
        if ranks is not None:
            n_threads = ranks.divide_threads(self.n_threads, n_threads)
        averaged = 1 if is_closed_form(self.solver) else self._averaged_outputs()
        monitor = TrainingMonitor(
            self, progress, n, weight, n_batches=n_batches, compiled=optimizer.method is None,
            averaged_outputs=averaged,
            validate=None if held is None else self._validation(held, loss, averaged, n_threads, ranks),
            prints=bool(self.verbose) and self._prints and speaks(ranks))
        train(self, rows, optimizer, loss, size, monitor, callbacks, incremental=incremental, ranks=ranks,
              kind=kind)

    def _validation(self, held: Rows, loss: Any, averaged: int, n_threads: int, ranks: Ranks | None) -> Validation:
        """A function that computes loss and score of rows with the current weights."""
        return Validation(
            type(self).__name__, self._network_for(held.X, held.lengths), held, loss=loss,
            averaged_outputs=averaged, score=self._score_encoded, n_threads=n_threads,
            cache_features=getattr(self, "cache_features", "auto"), ranks=ranks)

    def _callback_context(self, incremental: bool) -> Any:
        """scikit-learn's context of this fit if scikit-learn callbacks are set, else None."""
        watched = hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx")
        if watched and not incremental and hasattr(self, "_init_callback_context"):
            return self._init_callback_context(max_subtasks=self.max_iter)
        return None

    def __setstate__(self, state: dict[str, Any]) -> None:
        # parameters that the class did not have when the estimator was pickled
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        super().__setstate__({**defaults, **FitProgress.upgrade(state)})

    def _build(self, dtype: np.dtype, random_state: np.random.RandomState) -> None:
        """A new model with its initial weights."""
        self.model_ = Sequential(
            self._all_layers(), dtype=np.dtype(dtype).name,
            random_state=self._draw_seed(random_state)).build(self._sample_shape)
        owners = {entry.name.partition(".")[0] for entry in self.model_.network.graph.parameters}
        self.n_layers_ = len(owners) + 1

    def _all_layers(self) -> list[layers.Layer]:
        """Those of categories and of the family, a Flatten where their output has several axes, the output layer."""
        encoder, shape = encoder_of(self), self._sample_shape
        tables = [] if encoder is None else [encoder.layer(fixed=is_closed_form(self.solver))]
        hidden = [*tables, *self._hidden_layers(shape)]
        flat = [layers.Flatten()] if len(shape_after(shape, hidden)) > 1 else []
        return [*hidden, *flat, layers.Dense(self.n_outputs_)]

    def _draw_seed(self, random_state: np.random.RandomState) -> int:
        """The seed of the model."""
        return int(random_state.randint(2**31 - 1))

    def _as_targets(self, encoded: np.ndarray) -> np.ndarray:
        """Targets with two axes in the model's dtype; class codes are returned unchanged."""
        if encoded.dtype.kind in "iu" and encoded.ndim == 1:
            return encoded
        encoded = in_dtype(type(self).__name__, "y", encoded.reshape(len(encoded), -1), self.model_.dtype)
        if encoded.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {encoded.shape[1]} outputs, but {type(self).__name__} was fitted with "
                f"{self.n_outputs_} outputs.")
        return encoded

    def _read_validation(self, X: Any, y: Any, sample_weight: Any, ranks: Ranks | None) -> Rows:
        X, y = self._read_fit(X, y, reset=False, classes="known", ranks=ranks)
        weight = read_weights(X, sample_weight)
        return Rows(self._as_samples(X), self._as_targets(self._encode(y)), weight, lengths_of(X))

    def _batch_size(self, n: int, ranks: Ranks | None) -> int | str:
        if takes_full_batch(self.solver):
            return "full"
        if isinstance(self.batch_size, str):        # "auto"
            return min(self._largest_batch, n)
        if self.batch_size > n and speaks(ranks):
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=6)
        return min(int(self.batch_size), n)

    @available(_check_partial_fit)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Update the network with one pass over the given data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The trained estimator.
        """
        with validated_once(self):
            return self._fit(X, y, sample_weight, incremental=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = self._reads_nd
        tags.input_tags.sparse = self._reads_sparse
        return tags
