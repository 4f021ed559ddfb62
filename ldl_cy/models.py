"""Sequential, a stack of layers whose weights are one vector: the façade over network, data and training state."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import derivatives, inference, losses, summary
from ldl_cy._engine.process import Exclusive
from ldl_cy.callbacks import CallbackList
from ldl_cy.composing import Composes
from ldl_cy.data import bind_data
from ldl_cy.distributed import read_ranks
from ldl_cy.distributed.agreement import take_first
from ldl_cy.layers.base import Layer, Shape
from ldl_cy.network import Network, check_input_shape, check_network, check_settings
from ldl_cy.state import TrainingState, check_training_state
from ldl_cy.threads import choose_threads
from ldl_cy.training import Fit

if TYPE_CHECKING:
    from ldl_cy.callbacks import Callbacks, History
    from ldl_cy.distributed import Ranks
    from ldl_cy.optimizers import Optimizer


class Sequential(Composes):
    """A stack of layers.

    Parameters
    ----------
    layers : list of layers
        Names of layers must differ.
    dtype : "float32" or "float64", default="float32"
        The dtype of weights, activations and gradients.
    random_state : int >= 0, default=None
        Seed for the initial weights, shuffling and dropout; None draws a seed.

    Attributes
    ----------
    theta : (n_parameters,) array, all weights, writable
    parameters : mapping of names to views into theta
    state : mapping of names to views of the running statistics, which are not in theta
    epoch, step : int, epochs and steps over all fits; 0 before training
    layers : tuple of layers, those that were given or, where ``freeze`` has changed a setting, copies
    input_shape, output_shape : tuples without the batch axis; None before ``build``
    network : Network, what is built
    training_state : TrainingState

    Notes
    -----
    Bad arguments are a TypeError or a ValueError before any work, and so are methods that need a built model before it
    is built, and data that fit neither the model nor the loss. While a fit of the model runs, ``fit``, ``reset``,
    ``adopt``, ``append``, ``extend``, ``pop``, ``freeze``, ``unfreeze``, ``load_weights`` and a ``build`` for another
    shape are a RuntimeError, in callbacks and in other threads; everything else works, on the numbers of that moment.
    ``model[i]`` and ``model["name"]`` are layers, ``model[a:b]`` is a model of some of the layers with copies of their
    weights. A model is always true.

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import Sequential, layers
    >>> model = Sequential([layers.Dense(4, "tanh"), layers.Dense(1)], random_state=0)
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> history = model.fit(X, X**2, loss="squared_error", optimizer="adam", epochs=5)
    >>> model.predict(X).shape
    (64, 1)
    """

    def __init__(self, layers: Iterable[Layer], dtype: str = "float32", random_state: int | None = None) -> None:
        stack, self.dtype, self._seed = check_settings(layers, dtype, random_state)
        self._built = stack, None, TrainingState()      # replaced as one

    def build(self, input_shape: int | Sequence[int]) -> Sequential:
        """Infer all shapes and draw the initial weights; returns the model itself.

        Parameters
        ----------
        input_shape : int or sequence of ints >= 1
            Shape of one sample, without the batch axis.

        Raises
        ------
        ValueError
            A layer does not fit the shape that reaches it; the message names both.
        """
        shape = check_input_shape(input_shape)
        if shape != self.input_shape:
            self.adopt(Network.build(self.layers, shape, self.dtype, self._seed))
        return self

    def adopt(self, network: Network, training_state: TrainingState | None = None) -> None:
        """Take over a network that was built from the model's layers; training is counted from 0.

        ``training_state`` is kept in its place, the model's own where the network has the same weights in another
        graph. A TypeError or a ValueError if it is no network, one of other layers, or one in another dtype, or no
        state of as many weights.
        """
        with Exclusive([self], "of this model"):
            layers = self.layers
            check_network(network, layers, self.dtype)
            if training_state is None:
                training_state = TrainingState(network.n_params, network.dtype)
            check_training_state(training_state, network.n_params, network.dtype)
            self._built = layers, network, training_state

    def reset(self) -> Sequential:
        """Return to the initial weights, in new arrays, and forget all training; returns the model itself."""
        self.adopt(self.network.initial())
        return self

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in order."""
        return self._built[0]

    @property
    def random_state(self) -> int:
        """The seed."""
        return self._seed

    @property
    def network(self) -> Network:
        """The built network: its graph, weights, running statistics and workspaces; ValueError before ``build``."""
        network = self._built[1]
        if network is None:
            raise ValueError("Sequential: the model must be built first: call build(input_shape) or fit.")
        return network

    @property
    def training_state(self) -> TrainingState:
        """The state of training: numbers of epochs and steps, the optimizer's state, the callbacks' states."""
        return self._built[2]

    @property
    def epoch(self) -> int:
        """Epochs over all fits; 0 before the first."""
        return self.training_state.epoch

    @property
    def step(self) -> int:
        """Steps (updates of the weights) over all fits; 0 before the first."""
        return self.training_state.step

    @property
    def input_shape(self) -> Shape | None:
        """Shape of a sample, without the batch axis; None before ``build``."""
        return getattr(self._built[1], "input_shape", None)

    @property
    def output_shape(self) -> Shape | None:
        """Shape of a sample's output, without the batch axis; None before ``build``."""
        return getattr(self._built[1], "output_shape", None)

    @property
    def theta(self) -> np.ndarray:
        """All weights, (n_parameters,). ``model.theta = values`` copies, so that ``parameters`` stay views into it.

        A caller who has this array may write to it at any time; so may one who has a value of ``parameters`` or
        ``state``. From then on each prediction looks for changes, which takes a little longer.
        """
        return self.network.theta

    @theta.setter
    def theta(self, values: Any) -> None:
        network = self.network
        theta = network.check_theta(values)
        with network.version:
            network.vectors[0][:] = theta

    @property
    def parameters(self) -> Mapping[str, np.ndarray]:
        """Weights by name, as views into theta; empty before ``build``."""
        return getattr(self._built[1], "parameters", {})

    @property
    def state(self) -> Mapping[str, np.ndarray]:
        """Running statistics by name, as views into one vector; empty before ``build``."""
        return getattr(self._built[1], "state", {})

    @property
    def n_parameters(self) -> int:
        """The number of weights; ValueError before ``build``."""
        return self.network.n_params

    def predict(
        self, X: Any, *, lengths: Any = None, batch_size: int | None = None, n_threads: int | None = None,
    ) -> np.ndarray:
        """The last layer's raw output.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
        lengths : (n,) ints in 1 .. time, default=None
            The length of each sequence of X. Later steps are ignored, also if they are NaN, and outputs there are zero.
        batch_size : int >= 1, default=None
            Rows at a time; beyond rounding the result does not depend on it.
        n_threads : int >= 1, default=None
            None uses all that are available.

        Returns
        -------
        array of shape (n, *output_shape) in the model's dtype
        """
        network = self._built[1] or self.network
        predictor = network.fast_path.predictor
        if predictor is not None and lengths is None and batch_size is None:
            out = predictor.predict(X, n_threads)
            if out is not None:
                return out
        return inference.predict(network, X, lengths, batch_size, n_threads)

    def evaluate(
        self, X: Any, y: Any, *, loss: str | losses.Loss, sample_weight: Any = None, lengths: Any = None,
        n_threads: int | None = None,
    ) -> float:
        """The mean loss, without dropout and with running statistics.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
        y : targets, see the loss
        loss : str or Loss
        sample_weight : (n,) numbers >= 0, default=None
        lengths : (n,) ints, default=None
            See ``predict``; the loss of a sequence is the mean over its valid steps.
        n_threads : int >= 1, default=None

        Returns
        -------
        float : sum_i w_i l_i / sum_i w_i
        """
        network = self.network
        return inference.evaluate(network, *bind_data(network, X, y, loss, sample_weight, lengths, n_threads))

    def loss_and_grad(
        self, X: Any, y: Any, *, loss: str | losses.Loss, sample_weight: Any = None, lengths: Any = None,
        theta: Any = None, training: bool = False, n_threads: int | None = None,
    ) -> tuple[float, np.ndarray]:
        """The mean loss and its gradient with respect to theta; the model is not changed.

        Parameters
        ----------
        X, y, loss, sample_weight, lengths : see ``evaluate``
        theta : (n_parameters,) array, default=None
            Weights to use instead of the model's.
        training : bool, default=False
            Use dropout masks and batch statistics, as the model's next step will.
        n_threads : int >= 1, default=None

        Returns
        -------
        loss : float
        grad : (n_parameters,) array in the model's dtype
        """
        return self.objective(X, y, loss=loss, sample_weight=sample_weight, lengths=lengths, training=training,
                              n_threads=n_threads)(theta)

    def objective(
        self, X: Any, y: Any, *, loss: str | losses.Loss, sample_weight: Any = None, lengths: Any = None,
        training: bool = False, n_threads: int | None = None,
    ) -> Callable[[Any], tuple[float, np.ndarray]]:
        """A function theta -> (loss, gradient) for optimizers of other libraries; the data are checked only once.

        ``scipy.optimize.minimize(model.objective(X, y, loss=...), model.theta, jac=True)``

        The arguments are those of ``loss_and_grad``. The function returns the loss, a float, and its gradient,
        (n_parameters,) in the model's dtype. It keeps the network of now, even if the model gets another one by
        ``build`` or ``reset``.
        """
        _, network, state = self._built
        network = network or self.network
        return derivatives.objective(
            network, state, *bind_data(network, X, y, loss, sample_weight, lengths, n_threads), training)

    def jacobian(self, X: Any, *, theta: Any = None, n_threads: int | None = None) -> np.ndarray:
        """Derivatives of the raw outputs with respect to the weights, without dropout and with running statistics.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
        theta : (n_parameters,) array, default=None
            Weights to use instead of the model's.
        n_threads : int >= 1, default=None

        Returns
        -------
        (n, n_outputs, n_parameters) array in the model's dtype; zero for weights that are not trainable

        Raises
        ------
        ValueError
            The result would take more than 2 GiB.
        """
        return derivatives.jacobian(self.network, X, theta, choose_threads("Sequential", n_threads))

    def trace(self, X: Any) -> dict[str, np.ndarray]:
        """Every layer's output in inference for X (n, *input_shape): arrays (n, *shape) by layer name."""
        return inference.trace(self.network, X)

    def fit(
        self, X: Any, y: Any = None, *, loss: str | losses.Loss, optimizer: str | Optimizer = "sgd",
        batch_size: int | str = "auto", epochs: int = 10, alpha: float = 0.0, shuffle: bool = True,
        sample_weight: Any = None, class_weight: Mapping[int, float] | str | None = None, lengths: Any = None,
        validation_data: tuple[Any, ...] | None = None, validation_split: float = 0.0, callbacks: Callbacks = (),
        n_threads: int | None = None, verbose: int = 0, cache_features: bool | str = "auto", comm: Any = None,
        shards: int = 8, rows: str = "all",
    ) -> History:
        """Train the model; a further call continues where the last one ended.

        An exception within an epoch, also Ctrl-C, takes that epoch back: the model is as after its last complete one.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
            Builds the model if it is not built yet. Rows are read as they are needed: memmaps stay on disk.
            Or, without y, an iterable of batches (X, y), (X, y, weights) or (X, y, weights, lengths), over which each
            epoch iterates once; each batch is one step. An epoch without a batch that has weight is a ValueError.
        y : targets, see the loss
        loss : str or Loss
        optimizer : str or Optimizer, default="sgd"
            Its state is kept from fit to fit as long as its class stays the same.
        batch_size : int >= 1, "auto" or "full", default="auto"
            "auto" is 32, or the full batch for full-batch optimizers.
        epochs : int >= 1, default=10
            Epochs to add to those of earlier fits.
        alpha : float >= 0, default=0.0
            L2 penalty: adds alpha/2 Σθ² / Σw, over parameters with ``decays`` (kernels and tables, not biases and the
            parameters of normalization), to the loss of a batch.
        shuffle : bool, default=True
            Visit the rows in a new order each epoch, a function of the seed and the epoch.
        sample_weight : (n,) numbers >= 0, default=None
            A batch whose weights are all zero is no step.
        class_weight : dict of classes to numbers >= 0, or "balanced", default=None
            Multiplies the weights of samples, with log_loss, binary_log_loss or hinge; for classes that are left out by
            1. "balanced" is n / (classes in y × samples of the class), counted in what is trained on. Validation losses
            are without it.
        lengths : (n,) ints in 1 .. time, default=None
            The length of each sequence of X; see ``predict`` and ``evaluate``.
        validation_data : (X, y), (X, y, sample_weight) or (X, y, sample_weight, lengths), default=None
            Its loss is computed after each epoch, as "val_loss".
        validation_split : float in [0, 1), default=0.0
            The share of rows, from the end, that is held out, with rows="local" from the end of each shard; not with
            validation_data.
        callbacks : list of callbacks or functions ``f(model, logs)``, default=()
        n_threads : int >= 1, default=None
            The result does not depend on it, to the bit. None uses all that are available, or one while another fit
            runs in this process; ranks that share processors divide them.
        verbose : int, default=0
            1 shows a progress bar.
        cache_features : "auto" or bool, default="auto"
            Whether the outputs of frozen layers at the beginning of the model are computed once for the fit, or in each
            epoch, for some batches at a time. The result is the same to the bit. "auto" keeps them if they take at most
            half of the memory that is available; False is for X that a callback changes between epochs.
        comm : mpi4py.MPI.Comm, or an object with its methods, default=None
            The ranks that fit together, each of which calls ``fit`` with the same arguments, but for n_threads, verbose
            and callbacks. All begin with the weights and the seed of rank 0, and have the same model at the end.
        shards : int, a power of two, default=8
            With comm, the parts into which each batch is cut; at least the number of ranks. Weights are the same to the
            bit for any number of ranks and threads, and differ from those of ``comm=None`` by the order of sums.
        rows : {"all", "local"}, default="all"
            With comm, whether each rank is given all rows, of whose X it reads its own, or only rows of its own, which
            are shuffled within its shards. With "local" the weights are the same for any number of ranks if the rows
            of all, in the order of ranks, are the same, and divided where shards begin.

        Returns
        -------
        History
            The values of each epoch, and why the fit ended.

        Raises
        ------
        ValueError, TypeError
            Bad input, before any work: the model is unchanged. Bad batches after the first end an epoch.
        FloatingPointError
            The loss or a weight became non-finite; the weights are those of the last finite epoch.
        RuntimeError
            Another fit of this model is running, or one with the same callback.

        Notes
        -----
        With comm, an error on one rank, also Ctrl-C, ends the fit on all ranks with that error, and a callback that
        requests a stop ends it on all. Callbacks that write files or show progress act on rank 0 alone.
        """
        ranks = read_ranks("Sequential", comm, shards, rows)
        with nullcontext() if ranks is None else ranks.together(), Exclusive([self], "of this model"):
            watched = CallbackList(callbacks, self, progress=bool(verbose), ranks=ranks)
            self._fit(
                X, y, ranks, watched, loss=loss,
                optimizer=optimizer, batch_size=batch_size, epochs=epochs, alpha=alpha, shuffle=shuffle,
                sample_weight=sample_weight, lengths=lengths, validation_data=validation_data,
                validation_split=validation_split, n_threads=n_threads, cache_features=cache_features,
                class_weight=class_weight)
        return watched.history

    def _fit(self, X: Any, y: Any, ranks: Ranks | None, callbacks: CallbackList, **arguments: Any) -> None:
        with callbacks.exclusive():
            (layers, network, state), seed = self._built, self._seed
            if ranks is not None:
                ranks.check_settings("Sequential", {
                    "shards": ranks.shards, "rows": "local" if ranks.local else "all"})
                seed, shape = ranks.share((seed, self.input_shape))
                if shape is None:
                    network = None
                else:
                    if network is None:
                        network = Network.build(layers, shape, self.dtype, seed)
                        state = TrainingState(network.n_params, network.dtype)
                    network, state = take_first(ranks, network, state)
            fit = Fit(network, state, lambda shape: Network.build(layers, shape, self.dtype, seed), X, y,
                      callbacks=callbacks, ranks=ranks, **arguments)
            if ranks is not None:
                ranks.agree()                   # all of them have a network now, or none
            self._built, self._seed = (layers, fit.network, fit.state), seed
            fit.run()

    def summary(self) -> None:
        """Print the layers with their output shapes, parameters and multiply-adds, what is frozen, and memory.

        Before the model is built, print the layers with their settings.
        """
        layers, network, _ = self._built
        print(summary.settings(layers) if network is None else summary.summary(network))

    def _repr_html_(self) -> str:
        _, network, state = self._built
        return f"<pre>{escape(repr(self))}</pre>" if network is None else summary.html(network, state.epoch)

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], dtype={self.dtype!r})"
