"""Network: a built stack of layers. Only its numbers change."""
from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import setitem
from types import MappingProxyType
from typing import Any

import numpy as np

from ldl_cy._engine.graph import Entry, Graph, end
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.rng import INITIAL_WEIGHTS, Stream
from ldl_cy._engine.version import VersionCounter
from ldl_cy._kernels.activation import activation
from ldl_cy.checks import (
    as_numbers,
    check_choice,
    check_int,
    check_ints,
    check_lengths,
    check_rows,
    check_values,
    zero_tails,
)
from ldl_cy.fast_path import FastPath
from ldl_cy.generator import Generator
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.base import Layer, Shape, layer_names
from ldl_cy.messages import shown
from ldl_cy.workspaces import PREDICT_ROWS, BorrowedWorkspace, WorkspaceCache, choose_pool, memory_rows

OWNER = "Sequential"
MOST_LENGTHS = 8                    # of networks for other numbers of steps that a network keeps

Snapshot = tuple[np.ndarray, np.ndarray]


class Views(dict[str, np.ndarray]):
    """Arrays by name: views into one vector. The error for a name that does not exist lists those that do."""

    def __init__(self, kind: str, vector: np.ndarray, entries: Iterable[Entry]) -> None:
        super().__init__({
            e.name: vector[e.offset:e.offset + e.parameter.size].reshape(e.parameter.shape) for e in entries})
        self.kind = kind

    def __missing__(self, name: str) -> np.ndarray:
        raise KeyError(f"no {self.kind} {name!r}; there are: {', '.join(self) or 'none'}")


class Network:
    """A built network: its graph, weights and running statistics, and its workspaces.

    The two arrays stay the same objects; only their numbers change. A copy and a pickle hold layers and numbers, no
    workspaces. ``theta``, ``statistics``, ``parameters`` and ``state`` hand the arrays out to callers who may write to
    them at any time. Code that reads them only, or writes inside ``with network.version:``, takes ``vectors`` or
    ``views``.

    Parameters
    ----------
    layers : sequence of layers
    graph : Graph of these layers
    theta : (n_params,) array in the graph's dtype, all weights
    statistics : (n_state,) array in the graph's dtype, all running statistics
    seed : int, for initial weights, shuffling and dropout
    version : VersionCounter, default=None
        Of the two arrays, if they are written to only inside ``with version:``. None: anyone may write to them.

    Attributes
    ----------
    input_shape, output_shape : tuples, without the batch axis
    n_params, n_outputs : int, weights; outputs of a sample
    decayed : (m, 2) int64, the ranges of theta that alpha and weight_decay act on
    trainable : (n_params,) bool
    trainable_ranges : (m, 2) int64, the same as ascending ranges of theta, none of which touch
    workspaces : WorkspaceCache
    fast_path : FastPath, of predict
    vectors : tuple of arrays, theta and statistics
    views : tuple of mappings, ``parameters`` and ``state``
    """

    def __init__(
        self, layers: Sequence[Layer], graph: Graph, theta: np.ndarray, statistics: np.ndarray, seed: int,
        version: VersionCounter | None = None,
    ) -> None:
        self.layers, self.graph, self.seed = tuple(layers), graph, seed
        self.dtype = graph.dtype
        self.input_shape, self.output_shape = graph.input_shape, graph.shapes[-1]
        self.n_params, self.n_outputs = graph.n_params, math.prod(graph.shapes[-1])
        self.vectors = theta, statistics
        if version is None:
            version = VersionCounter()
            version.hand_out()
        self.version = version
        self.views = (MappingProxyType(Views("parameter", theta, graph.parameters)),
                      MappingProxyType(Views("running statistic", statistics, graph.state)))
        self.trainable = np.zeros(self.n_params, bool)
        for e in graph.parameters:
            self.trainable[e.offset:e.offset + e.parameter.size] = e.trainable
        self.trainable_ranges = ranges_of(self.trainable)
        self.decayed = np.array(
            [(e.offset, e.offset + e.parameter.size) for e in graph.parameters if e.parameter.decays and e.trainable],
            np.int64).reshape(-1, 2)
        self.decayed.flags.writeable = self.trainable_ranges.flags.writeable = False    # compiled updates trust them
        self.workspaces = WorkspaceCache()
        self.fast_path = FastPath(graph, self.vectors, version)
        self._split: dict[int, tuple[Network, Network]] = {}
        self._of_steps: dict[int, Network] = {}

    @classmethod
    def build(cls, layers: Sequence[Layer], input_shape: Shape, dtype: str, seed: int) -> Network:
        """Infer all shapes and draw the initial weights.

        Raises
        ------
        ValueError
            A layer does not fit the shape that reaches it; the message names both.
        """
        graph = make_graph(layers, input_shape, dtype)
        return cls(layers, graph, *initial_values(graph, seed), seed, VersionCounter())

    @property
    def theta(self) -> np.ndarray:
        """All weights, (n_params,)."""
        self.version.hand_out()
        return self.vectors[0]

    @property
    def statistics(self) -> np.ndarray:
        """All running statistics, (n_state,)."""
        self.version.hand_out()
        return self.vectors[1]

    @property
    def parameters(self) -> Mapping[str, np.ndarray]:
        """Views into theta by name."""
        self.version.hand_out()
        return self.views[0]

    @property
    def state(self) -> Mapping[str, np.ndarray]:
        """Views into the running statistics by name."""
        self.version.hand_out()
        return self.views[1]

    def initial(self) -> Network:
        """The same network with its initial weights and running statistics, in arrays of its own."""
        return self.with_numbers(*initial_values(self.graph, self.seed), self.seed, VersionCounter())

    def snapshot(self) -> Snapshot:
        """Copies of theta and of the running statistics, for ``restore``."""
        theta, statistics = self.vectors
        return theta.copy(), statistics.copy()

    def restore(self, saved: Snapshot) -> None:
        """Copy the numbers of a snapshot into theta and the running statistics.

        Raises
        ------
        ValueError, TypeError
            It is not a snapshot, or one of another network. Nothing has been changed.
        """
        if not (isinstance(saved, (tuple, list)) and len(saved) == 2
                and all(isinstance(array, np.ndarray) for array in saved)):
            raise TypeError(f"Network: saved must be a snapshot, got {type(saved).__name__}.")
        own, other = ([(array.shape, array.dtype.name) for array in arrays]
                      for arrays in (self.vectors, saved))
        if own != other:
            raise ValueError(f"Network: saved must be a snapshot of this network, {own}, got {other}.")
        # both in one call that runs no Python between them: a Ctrl-C comes before or after it
        store: Any = setitem
        with self.version:
            deque(map(store, self.vectors, (slice(None), slice(None)), saved), maxlen=0)

    def __reduce__(self) -> tuple[Any, ...]:
        return from_numbers, (self.layers, self.input_shape, self.dtype, *self.to_read(), self.seed)

    def to_read(self) -> Snapshot:
        """Theta and the running statistics as arrays that can't be written to."""
        theta, statistics = (array.view() for array in self.vectors)
        theta.flags.writeable = statistics.flags.writeable = False
        return theta, statistics

    # -- the same network in another dtype or for other lengths ---------------------------------------

    def astype(self, dtype: str) -> Network:
        """This network if it computes in ``dtype``, otherwise a copy that does."""
        if dtype == self.dtype:
            return self
        graph = make_graph(self.layers, self.input_shape, dtype)
        theta, statistics = self.vectors
        return Network(
            self.layers, graph, theta.astype(dtype), statistics.astype(dtype), self.seed, VersionCounter())

    def with_steps(self, n_steps: int) -> Network:
        """A network that shares these weights, for sequences of ``n_steps`` steps.

        Raises
        ------
        ValueError
            The shapes of weights depend on the number of steps, as in a Dense layer after Flatten.
        """
        if n_steps == self.input_shape[0]:
            return self
        known = self._of_steps
        if n_steps in known:
            return known[n_steps]
        graph = make_graph(self.layers, (n_steps, *self.input_shape[1:]), self.dtype)
        if [e.parameter.shape for e in graph.parameters] != [e.parameter.shape for e in self.graph.parameters]:
            raise ValueError(f"Sequential: the weights must not depend on the number of steps, got {n_steps} steps "
                             f"for a network built for {self.input_shape[0]}.")
        network = Network(self.layers, graph, *self.vectors, self.seed, self.version)
        # a new dictionary, since other threads may read the old one
        self._of_steps = {**dict(list(known.items())[1 - MOST_LENGTHS:]), n_steps: network}
        return network

    def with_numbers(
        self, theta: np.ndarray, statistics: np.ndarray, seed: int, version: VersionCounter | None = None,
    ) -> Network:
        """The same network with these arrays, and another seed."""
        network = Network(self.layers, self.graph, theta, statistics, seed, version)
        network.workspaces = self.workspaces        # planned for the same graph
        return network

    def refrozen(self, layers: Sequence[Layer]) -> Network:
        """The network of layers that differ from these in what is trainable, with the same two arrays."""
        graph = make_graph(layers, self.input_shape, self.dtype)
        return Network(layers, graph, *self.vectors, self.seed, self.version)

    def resized(self, layers: Sequence[Layer]) -> Network:
        """The network of more layers, or of fewer, in arrays of its own.

        What both have keeps its numbers; the others have the initial ones of a network that is built from ``layers``.

        Raises
        ------
        ValueError
            A layer does not fit the shape that reaches it.
        """
        graph, numbers = make_graph(layers, self.input_shape, self.dtype), []
        for entries, own, values in ((graph.parameters, self.graph.parameters, self.vectors[0]),
                                     (graph.state, self.graph.state, self.vectors[1])):
            kept = min(end(entries), values.size)
            vector = drawn(entries, end(entries), self.dtype, self.seed, first=len(own))
            vector[:kept] = values[:kept]
            numbers.append(vector)
        return Network(layers, graph, numbers[0], numbers[1], self.seed, VersionCounter())

    def between(self, first: int, last: int) -> Network:
        """The network of layers first .. last - 1, with copies of their numbers."""
        shape, theta, state = self.input_shape, 0, 0
        if first:
            before = make_graph(self.layers[:first], shape, self.dtype)
            shape, theta, state = before.shapes[-1], before.n_params, before.n_state
        layers = self.layers[first:last]
        graph = make_graph(layers, shape, self.dtype)
        all_theta, statistics = self.vectors
        return Network(layers, graph, all_theta[theta:theta + graph.n_params].copy(),
                       statistics[state:state + graph.n_state].copy(), self.seed, VersionCounter())

    def split(self, k: int) -> tuple[Network, Network]:
        """The networks of the first k layers and of the others, 0 < k < number of layers, on views of these numbers.

        What changes one of the three changes the others. The second counts its layers from the first's, so that they
        keep their names and draw the same random numbers.
        """
        if k not in self._split:
            names = layer_names(OWNER, self.layers)
            first = make_graph(self.layers[:k], self.input_shape, self.dtype, names[:k])
            rest = make_graph(self.layers[k:], first.shapes[-1], self.dtype, names[k:], after=first)
            theta, statistics = self.vectors
            self._split[k] = (
                Network(self.layers[:k], first, theta[:first.n_params], statistics[:first.n_state], self.seed,
                        self.version),
                Network(self.layers[k:], rest, theta[first.n_params:], statistics[first.n_state:], self.seed,
                        self.version))
        return self._split[k]

    # -- memory and threads ---------------------------------------------------------------------------

    def workspace(
        self, n: int, n_threads: int, *, training: bool = False, loss_size: int = 0, keep: tuple[int, ...] = (),
        input_gradient: bool = False, lanes: tuple[int, int, int] | None = None,
    ) -> BorrowedWorkspace:
        """``with network.workspace(...) as ws:`` borrows a workspace that no concurrent call uses.

        Parameters
        ----------
        n : int
            Rows of the largest batch; without ``training``, of the call: a workspace for more rows than a few takes any
            number.
        n_threads : int
        training : bool, default=False
            Whether a backward pass follows.
        loss_size : int, default=0
            Numbers of a row's target; 0 is for no loss.
        keep : tuple of ints, default=()
            Buffers of the graph that are kept for the whole batch.
        input_gradient : bool, default=False
            Whether the gradient with respect to the input is computed as well.
        lanes : 3-tuple of ints, default=None
            With ``training``: the lanes of the plan, each of which has n / lanes rows and a whole gradient; the first
            of those that the workspace has, and their number. None: as the plan chooses, and all.
        """
        rows = n if training else memory_rows(n)

        def make() -> Workspace:
            plan = Plan(self.graph, training, n if training else PREDICT_ROWS, loss_size, keep,
                        input_gradient=input_gradient, rows=rows, lanes=0 if lanes is None else lanes[0])
            return Workspace(plan, n_threads, None if lanes is None else lanes[1:])

        return self.workspaces.borrow((rows, n_threads, training, loss_size, keep, input_gradient, lanes), make)

    def pool(self, workspace: Workspace, n: int) -> AbstractContextManager[Pool]:
        """The pool for n rows: worker threads, or the calling thread for small work."""
        return choose_pool(workspace, n)

    # -- checks of arguments ---------------------------------------------------------------------------

    def check_rows(
        self, name: str, X: Any, lengths: Any = None, own: Callable[[int], slice] | None = None) -> Any:
        """X as rows (n, size) of finite numbers that the first layer accepts; past the lengths they may be NaN.

        ``own``, a function of n, says which rows are read; None is all.
        """
        try:
            rows = check_rows(OWNER, name, X, self.input_shape, self.dtype, own)
        except ValueError:
            ended = X if lengths is None else zero_tails(X, lengths)
            if ended is X:
                raise
            rows = check_rows(OWNER, name, ended, self.input_shape, self.dtype, own)
        for check in self.graph.input_checks:
            check(rows if own is None else rows[own(len(rows))])
        return rows

    def check_lengths(self, lengths: Any, n: int, loss_op: Any = None) -> np.ndarray | None:
        """Lengths of the n sequences, (n,) int32, or None; a loss may refuse sequences of different lengths."""
        fault = self.graph.length_fault
        if loss_op is not None and loss_op.python and self.graph.steps[-1]:
            fault = "losses.Custom sees whole sequences"
        return check_lengths(OWNER, lengths, n, self.graph.steps[0], fault)

    def check_theta(self, theta: Any) -> np.ndarray:
        """theta as a (n_params,) array in the network's dtype, in which numbers that are too large are infinite."""
        values = as_numbers(OWNER, "theta", theta)
        if values.shape != (self.n_params,):
            raise ValueError(f"Sequential: theta must have the shape ({self.n_params},), got {values.shape}.")
        with np.errstate(over="ignore"):
            return np.require(values, self.dtype, ["C", "A"])


def ranges_of(mask: np.ndarray) -> np.ndarray:
    """The ranges (m, 2) in which a mask (n,) is True, in ascending order."""
    edges = np.diff(mask.astype(np.int8), prepend=0, append=0)
    return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)]).astype(np.int64)


def check_settings(layers: Any, dtype: Any, random_state: Any) -> tuple[tuple[Layer, ...], str, int]:
    """The checked arguments of ``Sequential``: layers with distinct names, the dtype's name, and the seed."""
    try:
        stack = list(layers)
    except TypeError:
        stack = [layers]
    for layer in stack:
        if not isinstance(layer, Layer):
            raise TypeError(f"Sequential: layers must be a list of layers, got {shown(layer)}.")
    if not stack:
        raise ValueError("Sequential: layers must hold at least one layer, got [].")
    if isinstance(dtype, (type, np.dtype)):
        dtype = np.dtype(dtype).name
    dtype = check_choice(OWNER, "dtype", dtype, ("float32", "float64"))
    if random_state is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    else:
        seed = check_int(OWNER, "random_state", random_state, 0)
    layer_names(OWNER, stack)
    return tuple(stack), dtype, seed


def check_input_shape(input_shape: Any) -> Shape:
    """The shape of a sample as a tuple of ints >= 1; an int is the length of its one axis."""
    if isinstance(input_shape, (tuple, list)):
        return check_ints(OWNER, "input_shape", tuple(input_shape), len(input_shape))
    return (check_int(OWNER, "input_shape", input_shape),)


def check_network(network: Any, layers: Sequence[Layer], dtype: str) -> None:
    """Refuse what is no network of these layers in this dtype."""
    if not isinstance(network, Network):
        raise TypeError(f"{OWNER}: network must be a Network, got {shown(network)}.")
    if network.layers != tuple(layers) or network.dtype != dtype:
        raise ValueError(f"{OWNER}: network must be built from the model's layers in {dtype}, got one in "
                         f"{network.dtype} from {shown(network.layers)}.")


def make_graph(
    layers: Sequence[Layer], input_shape: Shape, dtype: str, names: Sequence[str] | None = None,
    after: Graph | None = None,
) -> Graph:
    """The graph of a stack of layers, with all shapes inferred.

    ``names`` are those of the layers, None for their own; ``after`` is the graph whose output they read, if they are
    the rest of a stack.
    """
    graph = Graph(dtype, input_shape)
    if after is not None:
        graph.follow(after)
    y = graph.connect(layers, layer_names(OWNER, layers) if names is None else names, 0, "the input")
    if graph.buffers[y] == 0:       # layers that only reshape: an identity op copies the input to the output
        size = graph.sizes[0]
        graph.add_kernel(activation(dtype, vectors=1, k=size, kind="identity", slope=1.0), y, graph.shapes[y])
    return graph


def from_numbers(
    layers: Sequence[Layer], input_shape: Shape, dtype: str, theta: np.ndarray, statistics: np.ndarray, seed: int,
) -> Network:
    """The network with copies of these numbers: arrays from a file may be read-only."""
    return Network(layers, make_graph(layers, input_shape, dtype), np.array(theta), np.array(statistics), seed,
                   VersionCounter())


def initial_values(graph: Graph, seed: int) -> Snapshot:
    """Initial weights and running statistics, functions of the seed alone."""
    return drawn(graph.parameters, graph.n_params, graph.dtype, seed), drawn(graph.state, graph.n_state, graph.dtype,
                                                                            seed)


def drawn(entries: Sequence[Entry], size: int, dtype: str, seed: int, first: int = 0) -> np.ndarray:
    """(size,) numbers: each entry has its initializer and its own random stream; zeros before the ``first`` entry."""
    try:
        vector = np.zeros(size, dtype)
    except MemoryError:
        raise MemoryError(f"Sequential: {size} weights do not fit into memory.") from None
    for i, e in enumerate(entries[first:], first):
        draw = get_initializer(OWNER, "initializer", e.parameter.initializer)
        values = as_numbers(OWNER, f"initial values of {e.name}", draw(
            e.parameter.shape, Generator(Stream(seed, INITIAL_WEIGHTS, i))))
        if values.shape != e.parameter.shape:
            raise ValueError(f"Sequential: initial values of {e.name} must have the shape {e.parameter.shape}, "
                             f"got {values.shape}.")
        check_values(OWNER, f"initial values of {e.name}", values, dtype)
        vector[e.offset:e.offset + e.parameter.size] = values.ravel()
    return vector
