"""An ONNX graph that is being written: its nodes, initializers and names, and values in other orders of axes.

ONNX reads images channels-first, and sequences with the steps before the batch. The writer of a node asks for the order
that it needs, and transpositions of a value that was transposed before are merged: between two convolutions, or two
recurrent layers, none is left.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ldl_cy.checks import in_dtype

Axes = tuple[int, ...]          # axis i of a value is axis axes[i] of another


def inverse(axes: Axes) -> Axes:
    """The order that undoes another."""
    return tuple(int(i) for i in np.argsort(axes))


def channels_first(rank: int) -> Axes:
    """The order of axes (n, channels, …) for values (n, …, channels)."""
    return (0, rank - 1, *range(1, rank - 1))


class OnnxGraph:
    """Nodes and initializers, in the order in which they are added.

    Parameters
    ----------
    owner : str
        The function that writes, for errors.
    onnx : module
    opset : int
    dtype : "float32" or "float64"

    Attributes
    ----------
    lengths : str
        The input with the lengths of the sequences, (n,) int64; "" if there is none.
    steps : dict of ints by the names of layers
        The steps of a layer's input, where lengths are those of its first axis; 0 or nothing elsewhere.
    """

    def __init__(self, owner: str, onnx: ModuleType, opset: int, dtype: str) -> None:
        self.owner, self.onnx, self.opset, self.dtype = owner, onnx, opset, dtype
        self.lengths = ""
        self.steps: dict[str, int] = {}
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._names: set[str] = set()
        self._origins: dict[str, tuple[str, Axes]] = {}         # value -> (value, axes) of which it is a transposition
        self._transposed: dict[tuple[str, Axes], str] = {}
        self._made: dict[Any, str] = {}

    @property
    def float_type(self) -> int:
        """The type of the numbers, as ONNX counts them."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)))

    # -- names, nodes, numbers ------------------------------------------------------------------------

    def unique(self, name: str) -> str:
        """The name, or that with a number, if it is used already."""
        found, i = name, 1
        while found in self._names:
            found, i = f"{name}_{i}", i + 1
        self._names.add(found)
        return found

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of the layer ``name``; returns its output."""
        return self.nodes_outputs(op, name, inputs, 1, **attributes)[0]

    def nodes_outputs(self, op: str, name: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Add a node of the layer ``name``; returns its ``count`` outputs."""
        own = self.unique(f"{name}/{op}")
        outputs = [own, *(self.unique(own) for _ in range(count - 1))]
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), outputs, name=own, **attributes))
        return outputs

    def numbers(self, name: str, values: Any) -> str:
        """An initializer in the dtype of the graph; a ValueError if a number does not fit into it."""
        return self._initializer(name, in_dtype(self.owner, name, np.asarray(values), self.dtype))

    def ints(self, name: str, *values: int) -> str:
        """An initializer of ints, (len(values),)."""
        return self._initializer(name, np.array(values, np.int64))

    def floats(self, name: str, *values: float) -> str:
        """An initializer of float32 whatever the dtype of the graph is, (len(values),)."""
        return self._initializer(name, np.array(values, np.float32))

    def labels(self, name: str, values: np.ndarray) -> str:
        """An initializer of int64 or str."""
        return self._initializer(name, values)

    def once(self, key: Any, make: Callable[[], str]) -> str:
        """What ``make`` returned the first time."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def zero(self) -> str:
        """The number 0."""
        return self.once("zero", lambda: self.numbers("zero", 0.0))

    def lowest(self) -> str:
        """Minus infinity."""
        return self.once("lowest", lambda: self._initializer("lowest", np.array(-np.inf, self.dtype)))

    def _initializer(self, name: str, array: np.ndarray) -> str:
        own = self.unique(name)
        # not ascontiguousarray, which would give a scalar an axis
        self.initializers.append(self.onnx.numpy_helper.from_array(np.array(array, order="C"), own))
        return own

    # -- orders of axes -------------------------------------------------------------------------------

    def transpose(self, name: str, x: str, axes: Axes) -> str:
        """The value whose axis i is axis axes[i] of x; x itself, or what x was made of, where that is the same."""
        source, before = self._origins.get(x, (x, tuple(range(len(axes)))))
        whole = tuple(before[i] for i in axes)
        if whole == tuple(range(len(axes))):
            return source
        if (source, whole) not in self._transposed:
            y = self.node("Transpose", name, source, perm=whole)
            self._origins[y] = source, whole
            self._transposed[source, whole] = y
        return self._transposed[source, whole]

    def order(self, x: str, rank: int) -> Axes:
        """Axis i of x is axis order[i] of the value that it was made of."""
        return self._origins.get(x, (x, tuple(range(rank))))[1]

    def elementwise(self, name: str, xs: Sequence[str], rank: int, write: Callable[[list[str], Axes], str]) -> str:
        """Write nodes that work on each number, where possible on values before they are transposed.

        Parameters
        ----------
        name : str
        xs : values of ``rank`` axes
        rank : int
        write : function of the values, with their axes in another order, and of this order
            Axis i of xs is axis order[i] of what it is given; it returns its output, in that order too.
        """
        same = tuple(range(rank))
        order = next((found for x in xs if (found := self.order(x, rank)) != same), same)
        y = write([self.transpose(name, x, inverse(order)) for x in xs], order)
        return self.transpose(name, y, order)

    # -- sequences of several lengths -----------------------------------------------------------------

    def mask(self, steps: int, rank: int) -> str:
        """Whether a step is one of its sequence, (n, steps, 1, …) of ``rank`` axes."""
        def two_axes() -> str:
            places = self._initializer("steps", np.arange(steps)[None])
            return self.node("Less", "mask", places, self.node("Unsqueeze", "mask", self.lengths,
                                                               self.ints("mask/axis", 1)))

        def all_axes() -> str:
            return self.node("Unsqueeze", "mask", two, self.ints("mask/axes", *range(2, rank)))

        two = self.once(("mask", steps), two_axes)
        return two if rank == 2 else self.once(("mask", steps, rank), all_axes)

    def masked(self, name: str, x: str, steps: int, rank: int, filling: str = "") -> str:
        """x, (n, steps, …), with ``filling`` (0) past the ends of sequences; x where there are no lengths."""
        if not (self.lengths and steps):
            return x
        return self.elementwise(name, [self.mask(steps, rank), x], rank, lambda values, order: self.node(
            "Where", name, *values, filling or self.zero()))

    def lengths_as(self, name: str) -> str:
        """The lengths as a value of another type: "int32", or "float" for that of the graph's numbers."""
        kind = self.float_type if name == "float" else self.onnx.TensorProto.INT32
        return self.once(("lengths", name), lambda: self.node("Cast", "lengths", self.lengths, to=kind))

    # -- the end --------------------------------------------------------------------------------------

    def rename(self, value: str, name: str) -> None:
        """Call the output of a node ``name``, which is not in use; of anything else, a copy."""
        for node in self.nodes:
            if value in node.output:
                break
        else:
            self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], name=self.unique("Identity")))
            return
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, each in enumerate(names):
                    if each == value:
                        names[i] = name

    def prune(self, outputs: Sequence[str]) -> None:
        """Leave out nodes and initializers that do not lead to the outputs."""
        wanted, kept = set(outputs), []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.initializers = [each for each in self.initializers if each.name in wanted]
