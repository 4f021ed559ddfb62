"""Sequential, a stack of layers: all of a network's weights in one vector, and what can be done with it."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import derivatives, losses, prediction
from ldl_cy._engine.graph import Graph
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.predictor import Predictor
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.rng import INITIAL_WEIGHTS, Stream
from ldl_cy.checks import (
    as_numbers,
    check_choice,
    check_int,
    check_ints,
    check_lengths,
    check_rows,
    check_values,
    check_weights,
)
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.base import Layer, layer_names
from ldl_cy.threads import choose_threads

if TYPE_CHECKING:
    from ldl_cy.callbacks import History
    from ldl_cy.callbacks.base import Callbacks
    from ldl_cy.optimizers import Optimizer

Shape = tuple[int, ...]


class Sequential:
    """A stack of layers, trained as one.

    Parameters
    ----------
    layers : list of layers
    dtype : "float32" or "float64", default="float32"
        Everything is computed in it.
    random_state : int >= 0, default=None
        Seed of initial weights, permutations and dropout; None draws one.

    Attributes
    ----------
    theta : (n_parameters,) array, every weight, writable
    parameters : mapping of names to views into theta
    state : mapping of names to views of the running statistics, which are not in theta
    epoch, step : int, how far training has come
    input_shape, output_shape : tuples without the batch axis; None before ``build``

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

    def __init__(
        self, layers: Iterable[Layer], dtype: str = "float32", random_state: int | None = None,
    ) -> None:
        try:
            stack = list(layers)
        except TypeError:
            stack = [layers]                    # type: ignore[list-item]
        for layer in stack:
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: layers must be a list of layers, got {layer!r}.")
        if not stack:
            raise ValueError("Sequential: layers must hold at least one layer, got [].")
        self.layers: tuple[Layer, ...] = tuple(stack)
        self.dtype = check_choice("Sequential", "dtype", np.dtype(dtype).name if isinstance(dtype, (type, np.dtype))
                                  else dtype, ("float32", "float64"))
        if random_state is None:
            self.random_state = int(np.random.SeedSequence().generate_state(1)[0])
        else:
            self.random_state = check_int("Sequential", "random_state", random_state, 0)
        self._names = layer_names("Sequential", self.layers)
        self._graph: Graph | None = None
        self._predictor: Predictor | None = None    # the short way of predict, made when first wanted
        self._short_rows: int | None = None          # the most rows that go it
        self._lock = threading.Lock()           # of the list of free workspaces
        self._fit_lock = threading.Lock()

    # -- building -----------------------------------------------------------------------------------

    def build(self, input_shape: int | Sequence[int]) -> Sequential:
        """Infer all shapes and draw the initial weights.

        Parameters
        ----------
        input_shape : int or sequence of ints >= 1
            Shape of one sample, without the batch axis.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A layer does not fit the shape that reaches it; the message names both.
        """
        shape = self._check_shape(input_shape)
        if self._graph is not None and shape == self.input_shape:
            return self
        graph = self._make_graph(shape)
        self._take(graph, *self._draw(graph))
        return self

    @staticmethod
    def _check_shape(input_shape: Any) -> Shape:
        if isinstance(input_shape, (tuple, list)):
            return check_ints("Sequential", "input_shape", tuple(input_shape), len(input_shape))
        return (check_int("Sequential", "input_shape", input_shape),)

    def _take(self, graph: Graph, theta: np.ndarray, state: np.ndarray) -> None:
        """Be this network with these weights and running statistics, as long as the graph says."""
        self._graph, self._theta, self._state = graph, theta, state
        self._free: dict[Any, list[Workspace]] = {}
        self._predictor, self._short_rows = None, None
        self.parameters: Mapping[str, np.ndarray] = MappingProxyType(self._views(self.theta, graph.parameters))
        self.state: Mapping[str, np.ndarray] = MappingProxyType(self._views(self._state, graph.state))
        self._begin()

    def _make_graph(self, shape: Shape) -> Graph:
        from ldl_cy._kernels.activation import activation

        graph = Graph(self.dtype, shape)
        y = graph.connect(self.layers, self._names, 0, "the input")
        if graph.buffers[y] == 0:       # layers that only change the shape: an op between the input and the output
            size = graph.sizes[0]
            graph.add_kernel(activation(self.dtype, vectors=1, k=size, kind="identity", slope=1.0), y, graph.shapes[y])
        return graph

    @staticmethod
    def _views(vector: np.ndarray, entries: Iterable[Any]) -> dict[str, np.ndarray]:
        return {e.name: vector[e.offset:e.offset + e.parameter.size].reshape(e.parameter.shape) for e in entries}

    def reset(self) -> Sequential:
        """Initial weights again, and training counted from 0."""
        self.theta[:], self._state[:] = self._draw(self._built())
        self._begin()
        return self

    def _draw(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Initial weights and running statistics."""
        drawn = []
        for size, entries in ((graph.n_params, graph.parameters), (graph.n_state, graph.state)):
            vector = np.zeros(size, self.dtype)
            for i, e in enumerate(entries):
                draw = get_initializer("Sequential", "initializer", e.parameter.initializer)
                values = as_numbers("Sequential", f"initial values of {e.name}", draw(
                    e.parameter.shape, Stream(self.random_state, INITIAL_WEIGHTS, i)))
                if values.shape != e.parameter.shape:
                    raise ValueError(f"Sequential: initial values of {e.name} must have the shape {e.parameter.shape}, "
                                     f"got {values.shape}.")
                check_values("Sequential", f"initial values of {e.name}", values, self.dtype)
                vector[e.offset:e.offset + e.parameter.size] = values.ravel()
            drawn.append(vector)
        return drawn[0], drawn[1]

    def _begin(self) -> None:
        """Training is counted from 0."""
        self.epoch = self.step = 0
        self._forget_optimizer("", 0)

    def _forget_optimizer(self, name: str, n_slots: int) -> None:
        """The state of an optimizer that begins: vectors, numbers, and the steps and epochs made with it."""
        self._slots = np.zeros((n_slots, self.n_parameters), self.dtype)
        self._memory: dict[str, float] = {}
        self._optimizer_name = name
        self._optimizer_steps = self._optimizer_epochs = 0

    def _built(self) -> Graph:
        if self._graph is None:
            raise ValueError("Sequential: the model must be built first: call build(input_shape) or fit.")
        return self._graph

    @property
    def input_shape(self) -> Shape | None:
        """Shape of a sample."""
        return None if self._graph is None else self._graph.input_shape

    @property
    def output_shape(self) -> Shape | None:
        """Shape of a sample's output."""
        return None if self._graph is None else self._graph.shapes[-1]

    @property
    def theta(self) -> np.ndarray:
        """Every weight in one vector; ``model.theta = values`` copies into it, since ``parameters`` are views."""
        self._built()
        return self._theta

    @theta.setter
    def theta(self, values: Any) -> None:
        self._theta[:] = derivatives.as_theta(self, values)

    @property
    def n_parameters(self) -> int:
        """Length of theta."""
        return self._built().n_params

    # -- workspaces ---------------------------------------------------------------------------------

    def _workspace(self, n: int, n_threads: int, **options: Any) -> prediction.Lease:
        """A workspace of its own for each call at a time; see ``prediction.Lease``."""
        return prediction.Lease(self, n, n_threads, **options)

    def _pool(self, workspace: Workspace, n: int) -> AbstractContextManager[Pool]:
        """Workers for n rows; small work stays on the calling thread."""
        return prediction.workers(workspace, n)

    def _check_X(self, X: Any, name: str = "X") -> np.ndarray:
        rows = check_rows("Sequential", name, X, self._built().input_shape, self.dtype)
        for layer in self._built().input_checks:
            layer.check_input(rows)
        return rows

    def _check_lengths(self, lengths: Any, n: int) -> np.ndarray | None:
        graph = self._built()
        return check_lengths("Sequential", lengths, n, graph.steps[0], graph.length_fault)

    @staticmethod
    def _length_fault(graph: Graph, kernel: Any) -> str:
        """Why sequences of several lengths are refused with this loss; "" where they are not."""
        whole = kernel.python and graph.steps[-1]
        return "losses.Custom sees whole sequences" if whole else graph.length_fault

    # -- what a network gives ------------------------------------------------------------------------

    def predict(
        self, X: Any, *, lengths: Any = None, batch_size: int | None = None, n_threads: int | None = None,
    ) -> np.ndarray:
        """The last layer's raw output.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
        lengths : (n,) ints in 1 .. time, default=None
            Where each sequence of X ends; steps after it have no influence, and outputs there are zero.
        batch_size : int >= 1, default=None
            Rows at a time; the result does not depend on it beyond rounding.
        n_threads : int >= 1, default=None
            None: as many as are available.

        Returns
        -------
        array of shape (n, *output_shape) in the model's dtype
        """
        if self._predictor is not None and lengths is None and batch_size is None and n_threads is None:
            out = self._predictor.predict(X)
            if out is not None:
                return out
        return prediction.predict(self, X, lengths, batch_size, n_threads)

    def _predict_flat(self, X: Any) -> np.ndarray | None:
        """The raw output of rows (n, numbers of a sample) or of samples; None where it needs a closer look."""
        return None if self._predictor is None else self._predictor.predict_flat(X)

    def _bind(self, X: Any, y: Any, loss: Any, sample_weight: Any, lengths: Any, n_threads: Any) -> tuple[Any, ...]:
        graph = self._built()
        loss = losses.get(loss)
        self._check_last_layer(loss)
        rows = self._check_X(X)
        targets, kernel = loss.bind(y, len(rows), graph.shapes[-1], self.dtype)
        weights = check_weights("Sequential", sample_weight, len(rows), self.dtype)
        ends = check_lengths("Sequential", lengths, len(rows), graph.steps[0], self._length_fault(graph, kernel))
        threads = choose_threads("Sequential", n_threads)
        return rows, targets, weights, kernel, ends, 1 if kernel.python else threads

    def _check_last_layer(self, loss: losses.Loss) -> None:
        last = getattr(self.layers[-1], "activation", None)
        if last in loss.includes or (last == "sigmoid" and "logistic" in loss.includes):
            raise ValueError(f"{loss.name}: the last layer must give raw outputs, since the loss applies "
                             f"{last} itself; drop activation={last!r} from layer {self._names[-1]!r}.")

    def evaluate(
        self, X: Any, y: Any, *, loss: str | losses.Loss, sample_weight: Any = None, lengths: Any = None,
        n_threads: int | None = None,
    ) -> float:
        """Mean loss, without dropout and with running statistics.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
        y : targets, see the loss
        loss : str or Loss
        sample_weight : (n,) numbers >= 0, default=None
        lengths : (n,) ints, default=None
            See ``predict``; a sequence's loss is the mean over its own steps.

        Returns
        -------
        float : sum_i w_i l_i / sum_i w_i
        """
        return prediction.evaluate(self, self._bind(X, y, loss, sample_weight, lengths, n_threads))

    def loss_and_grad(
        self, X: Any, y: Any, *, loss: str | losses.Loss, sample_weight: Any = None, lengths: Any = None,
        theta: Any = None, training: bool = False, n_threads: int | None = None,
    ) -> tuple[float, np.ndarray]:
        """Mean loss and its gradient with respect to theta; the model is not changed.

        Parameters
        ----------
        X, y, loss, sample_weight, lengths : see ``evaluate``
        theta : (n_parameters,) array, default=None
            Weights to use in place of the model's.
        training : bool, default=False
            Use dropout masks and batch statistics as at the model's next step.

        Returns
        -------
        loss : float
        grad : (n_parameters,) array in the model's dtype
        """
        f = self.objective(X, y, loss=loss, sample_weight=sample_weight, lengths=lengths, training=training,
                           n_threads=n_threads)
        return f(self.theta if theta is None else theta)

    def objective(
        self, X: Any, y: Any, *, loss: str | losses.Loss, sample_weight: Any = None, lengths: Any = None,
        training: bool = False, n_threads: int | None = None,
    ) -> Callable[[Any], tuple[float, np.ndarray]]:
        """theta -> (loss, gradient), with all checks done once, for optimizers of other libraries.

        ``scipy.optimize.minimize(model.objective(X, y, loss=...), model.theta, jac=True)``
        """
        return derivatives.objective(self, self._bind(X, y, loss, sample_weight, lengths, n_threads), training)

    def jacobian(self, X: Any, *, theta: Any = None, n_threads: int | None = None) -> np.ndarray:
        """Derivatives of the raw outputs by the weights, without dropout and with running statistics.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
        theta : (n_parameters,) array, default=None
            Weights to use in place of the model's.

        Returns
        -------
        (n, n_outputs, n_parameters) array in the model's dtype; zero for weights that are not trainable

        Raises
        ------
        ValueError
            It would take more than 2 GiB.
        """
        rows = self._check_X(X)
        return derivatives.jacobian(self, rows, theta, choose_threads("Sequential", n_threads))

    def trace(self, X: Any) -> dict[str, np.ndarray]:
        """Every layer's output at prediction, by layer name.

        Parameters
        ----------
        X : array of shape (n, *input_shape)

        Returns
        -------
        dict of layer names to arrays (n, *shape)
        """
        return prediction.trace(self, X)

    # -- training ------------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any = None, *, loss: str | losses.Loss, optimizer: str | Optimizer = "sgd",
        batch_size: int | str = "auto", epochs: int = 10, alpha: float = 0.0, shuffle: bool = True,
        sample_weight: Any = None, lengths: Any = None, validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0, callbacks: Callbacks = (), n_threads: int | None = None, verbose: int = 0,
    ) -> History:
        """Train; a second call goes on where the first ended.

        Parameters
        ----------
        X : array of shape (n, *input_shape)
            Builds the model if it is not built yet. Read row by row: memmaps stay on disk.
            Or, without y, an iterable of batches (X, y), (X, y, weights) or (X, y, weights, lengths): each is a step,
            gone through anew in each epoch in the order in which they come.
        y : targets, see the loss
        loss : str or Loss
        optimizer : str or Optimizer, default="sgd"
            Its state is kept from fit to fit as long as its class stays the same.
        batch_size : int >= 1, "auto" or "full", default="auto"
            "auto" is 32, or the full batch for full-batch optimizers.
        epochs : int >= 1, default=10
            Further epochs.
        alpha : float >= 0, default=0.0
            Adds alpha/2 Σθ² / Σw over parameters of two or more axes to a batch's loss.
        shuffle : bool, default=True
            Visit the rows in a new order each epoch, a function of the seed and the epoch.
        sample_weight : (n,) numbers >= 0, default=None
        lengths : (n,) ints in 1 .. time, default=None
            Where each sequence of X ends; see ``predict`` and ``evaluate``.
        validation_data : (X, y), (X, y, sample_weight) or (X, y, sample_weight, lengths), default=None
        validation_split : float in [0, 1), default=0.0
            The share of rows, from the end, that is held out; not with validation_data.
        callbacks : list of callbacks or functions ``f(model, logs)``
        n_threads : int >= 1, default=None
            The result does not depend on it, to the bit.
        verbose : int, default=0
            1 shows a progress bar.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            Bad input, before any work: the model is unchanged.
        FloatingPointError
            The loss or a weight became non-finite; the weights are those of the last finite epoch.
        RuntimeError
            Another fit of this model is running.
        """
        from ldl_cy.training import fit

        with self._fitting():
            return fit(
                self, X, y, loss=loss, optimizer=optimizer, batch_size=batch_size, epochs=epochs, alpha=alpha,
                shuffle=shuffle, sample_weight=sample_weight, lengths=lengths, validation_data=validation_data,
                validation_split=validation_split, callbacks=callbacks, n_threads=n_threads, verbose=verbose)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """A fit is exclusive."""
        if not self._fit_lock.acquire(blocking=False):
            raise RuntimeError("Sequential: another fit of this model is running.")
        try:
            yield
        finally:
            self._fit_lock.release()

    # -- describing and keeping ------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the layers with their output shapes, parameters and multiply-adds, and the memory of a sample."""
        from ldl_cy.summary import summary

        print(summary(self))

    def _repr_html_(self) -> str:
        from ldl_cy.summary import html

        return html(self)

    def save(self, path: str | Path) -> None:
        """Write the model, with the state of its training, to one file (see ``serialize``)."""
        from ldl_cy.serialize import save

        save(self, path)

    @staticmethod
    def load(path: str | Path, custom: Mapping[str, Any] | None = None) -> Sequential:
        """Read a model written by ``save``; no code is run from the file.

        Parameters
        ----------
        path : file
        custom : dict of class name to layer class, default=None
            Layers that are not ldl_cy's own.
        """
        from ldl_cy.serialize import load

        return load(path, dict(custom or {}))

    def __getstate__(self) -> dict[str, Any]:
        from ldl_cy.serialize import to_dict

        return to_dict(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        from ldl_cy.serialize import restore

        restore(self, state)

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], dtype={self.dtype!r})"
