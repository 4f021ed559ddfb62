"""The layers that a graph's nodes become: what every reader of an operator works with.

Layers are made as soon as a node can be read, whether or not a later one says better what they are (a Sigmoid may turn
out to be half of a silu): those that do not lead to the output are left out at the end.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.assembly import Imported
from ldl_cy.interop.chains import Node
from ldl_cy.interop.onnx.reading.constants import ints
from ldl_cy.interop.onnx.reading.file import File, Op, Unreadable
from ldl_cy.interop.onnx.reading.points import straight
from ldl_cy.interop.onnx.reading.values import BATCH, Nothing, Outside, Piece, Summed, Value, plain, regrouped
from ldl_cy.layers.base import Layer, Shape
from ldl_cy.layers.merge import Branches

SHAPE_ONLY = (layers.Flatten, layers.Reshape)       # what moves no number
# sqrt(1 + TINY) is 1: a BatchNorm with the variance 1 multiplies and adds, and nothing else
TINY = 1e-30


class Reader:
    """The values and layers of one graph.

    Attributes
    ----------
    file : File
    values : dict
        By the name of the graph: Value, array, Filled, Piece, Nothing; a value without a counterpart is None.
    nodes : dict of Node
        The layers, by the key of what they compute.
    shapes : dict of shapes
        Of what they compute.
    start : str
        The key of the input.
    samples : int
        How many the file is made for, 0 for any number.
    relaid : set of str
        Keys of the input with its first axis last.
    first : bool
        Whether a node that reads channels first asked for one of them.
    last : dict
        For the key of a recurrent layer's sequence that of its last state, and the place of it in the sequence.
    joined : dict
        For the name of a value that Concat makes: the axis, and what is joined.
    wholes : dict
        What Concat makes: for each axis a tree whose edges are the keys and axes of what is joined, in its order.
    loops : set of str
        Keys of recurrent layers that are loops in the graph.
    parted : set of str
        Keys of sequences whose last axis is reshaped into the directions of a recurrent layer and its units.
    roles : dict
        For the name of a value what it is of a norm in parts.
    """

    def __init__(self, file: File, samples: int) -> None:
        self.file, self.samples = file, samples
        self.start = "the input"
        self.values: dict[str, Any] = dict(file.constants)
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.relaid: set[str] = set()
        self.first = False
        self.last: dict[str, tuple[str, int]] = {}
        self.joined: dict[str, tuple[int, list[Any]]] = {}
        self.wholes: dict[int, dict[Any, Any]] = {}
        self.loops: set[str] = set()
        self.parted: set[str] = set()
        self.roles: dict[str, Any] = {}
        self._laid: dict[tuple[Any, ...], str] = {}

    # -- what a node reads ---------------------------------------------------------------------------------------

    def get(self, op: Op, i: int) -> Any:
        """Input i of a node, None if it is left out."""
        return self.values[op.inputs[i]] if i < len(op.inputs) and op.inputs[i] else None

    def value(self, op: Op, i: int = 0) -> Value:
        """Input i, which depends on the graph's input and is computed by a layer."""
        return self.settled(self._checked(self.get(op, i), i))

    def value_of_maximum(self, op: Op) -> Value:
        """Input 0 of a maximum, which may have minus infinity past the ends of sequences."""
        found = self.get(op, 0)
        return found.value if isinstance(found, Outside) else self.value(op)

    def value_of(self, name: str) -> Value:
        """The value of a name of the graph."""
        return self._checked(self.values[name], 0)

    def _checked(self, found: Any, i: int) -> Value:
        if isinstance(found, Nothing):
            raise Unreadable(found.reason, found.op)
        if isinstance(found, Piece):
            raise Unreadable(f"one of {found.value.sizes[found.axis]} entries along an axis has no counterpart")
        if isinstance(found, (Outside, Summed)):
            raise Unreadable("what a mask makes of sequences must be part of a pooling or a norm")
        if not isinstance(found, Value):
            raise Unreadable(f"input {i} must depend on the graph's input")
        if found.flipped:
            raise Unreadable("a sequence in reverse must be turned round first")
        return found

    def array(self, op: Op, i: int, what: str) -> np.ndarray:
        """Input i, constant numbers."""
        found = self.get(op, i)
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
            raise Unreadable(f"{what} must be constant numbers")
        return found

    def vector(self, op: Op, i: int, what: str, size: int) -> np.ndarray:
        """Input i, as many constant numbers."""
        found = self.array(op, i, what)
        if found.shape != (size,):
            raise Unreadable(f"{what} must have the shape {(size,)}, got {found.shape}")
        return found

    def ints(self, op: Op, i: int, what: str) -> tuple[int, ...]:
        """Input i, constant ints."""
        return ints(self.get(op, i), what)

    def settled(self, value: Value) -> Value:
        """The value of a layer: parts of an activation must have become one, or be a x + b."""
        if value.key:
            return value
        for base, result in value.points:
            found = straight(result)
            if found:
                scale, shift = (np.full(1, number) for number in found)
                return self.scaled(base, scale, shift, value.op)
        raise Unreadable("it is no part of an activation that is known", value.op)

    # -- layers --------------------------------------------------------------------------------------------------

    def emit(self, op: Op | None, key: str, layer: Layer, weights: Mapping[str, np.ndarray] | None = None,
             shape: Shape | None = None) -> str:
        """The key of a layer's output; ``shape`` where the layer does not know it before it is connected."""
        if shape is None:
            try:
                shape = layer.build(self.shapes[key]).output_shape
            except ValueError as error:
                raise Unreadable(str(error)) from None
        if math.prod(shape) >= BATCH:
            raise Unreadable(f"a sample must have less than {BATCH} numbers, got {shape}")
        source = f"the node {op.source}" if op else "a reshape"
        new = f"{len(self.nodes)}"
        self.nodes[new] = Node((key,), Imported(layer, dict(weights or {}), source), source)
        self.shapes[new] = shape
        return new

    def join(self, op: Op, kind: type[Branches], keys: Sequence[str], shape: Shape) -> str:
        """The key of Add, Concatenate or Multiply over values of layers."""
        if math.prod(shape) >= BATCH:
            raise Unreadable(f"a sample must have less than {BATCH} numbers, got {shape}")
        new = f"{len(self.nodes)}"
        self.nodes[new] = Node(tuple(keys), kind, f"the node {op.source}")
        self.shapes[new] = shape
        return new

    def made(self, value: Value, *kinds: type[Layer]) -> Imported | None:
        """The layer that makes a value, if it is one of these."""
        node = self.nodes.get(value.key)
        found = node.made if node else None
        return found if isinstance(found, Imported) and isinstance(found.layer, kinds) else None

    def source(self, key: str) -> str:
        """What a layer reads."""
        return self.nodes[key].inputs[0]

    # -- layout --------------------------------------------------------------------------------------------------

    def laid(self, value: Value, groups: Sequence[Sequence[int]]) -> str:
        """The key of the value with these axes; each is made of ours, the batch left out.

        Numbers move only if their order changes.
        """
        shape = tuple(math.prod(value.size(atom) for atom in group) for group in groups)
        atoms = [atom for group in groups for atom in group]
        if atoms == sorted(atoms):
            return self.reshaped(value.key, shape)
        cached = self._laid.get((value.key, tuple(atoms), shape))
        if cached:
            return cached
        ones = [i for i, n in enumerate(value.shape, 1) if i not in atoms]
        empty = [i for i, group in enumerate(groups) if not group]
        single = all(len(group) <= 1 for group in groups) and len(ones) == len(empty)
        spare = iter(ones)
        order = [next(iter(group), None) or next(spare) for group in groups] if single else [*atoms, *ones]
        key = self.emit(None, value.key, layers.Permute(tuple(order)))
        if order == [*range(2, len(order) + 1), 1] and self._is_input(value.key):
            self.relaid.add(key)
        key = self._laid[value.key, tuple(atoms), shape] = self.reshaped(key, shape)
        return key

    def channels_first(self, value: Value) -> Value:
        """The same value, of which a node that reads channels first has asked for channels last."""
        self.first |= value.key in self.relaid
        return value

    def _is_input(self, key: str) -> bool:
        """Whether this is the input, or activations of it."""
        while key in self.nodes:
            made = self.nodes[key].made
            if not isinstance(made, Imported) or not isinstance(made.layer, layers.Activation):
                return False
            key = self.source(key)
        return True

    def reshaped(self, key: str, shape: Shape) -> str:
        """The key of the same numbers in another shape."""
        first = key
        while self.shapes[key] != shape and key in self.nodes:
            made = self.nodes[key].made
            if not isinstance(made, Imported) or not isinstance(made.layer, SHAPE_ONLY):
                break
            if self.file.others and key not in self.parted:         # lengths have no meaning after a reshape
                break
            key = self.source(key)
        if self.shapes[key] == shape:
            return key
        cached = self._laid.get((key, shape))
        if not cached:
            layer = layers.Flatten() if len(shape) == 1 else layers.Reshape(shape)
            cached = self._laid[key, shape] = self.emit(None, key, layer)
            ones = [n for n in self.shapes[key] if n > 1] == [n for n in shape if n > 1]
            if self._is_input(first) and ones and len(shape) == len(self.shapes[key]):
                self.relaid.add(cached)
        return cached

    def before(self, value: Value, last: Sequence[int]) -> list[int]:
        """The axes of ours but the batch and those that become the last one.

        Where there are lengths, also those of length 1: they have no meaning after a reshape.
        """
        found = [atom for each in value.axes for atom in each if atom and atom not in last]
        if self.file.others:
            ones = [i for i, n in enumerate(value.shape, 1) if n == 1 and i not in found and i not in last]
            found += ones if last else ones[:-1]
        return sorted(found)

    def ending_with(self, value: Value, axis: int) -> Value:
        """The value with one axis of theirs as our last one; the others keep our order."""
        last = value.axes[axis]
        if 0 in last:
            raise Unreadable("it must leave the batch alone")
        before = self.before(value, last)
        key = self.laid(value, [*((atom,) for atom in before), last])
        place = {0: 0, **{atom: i for i, atom in enumerate(before, 1)}}
        axes = [tuple(place[atom] for atom in each) if i != axis else (len(before) + 1,) * bool(last)
                for i, each in enumerate(value.axes)]
        return Value(key, self.shapes[key], tuple(axes))

    def exactly(self, value: Value, order: Sequence[int] | None = None) -> Value:
        """The value with each of our axes one of theirs, in this order; by default in theirs."""
        batch = value.batch
        order = [i for i in range(value.rank) if i != batch] if order is None else order
        key = self.laid(value, [value.axes[i] for i in order])
        found = dict(zip(order, plain(self.shapes[key], range(1, len(order) + 1))))
        return Value(key, self.shapes[key], tuple((0,) if i == batch else found[i] for i in range(value.rank)))

    def view(self, value: Value, sizes: Sequence[int]) -> Value:
        """The value with axes of other lengths, as after a reshape."""
        axes = regrouped(value, sizes)
        if axes is not None:
            return Value(value.key, value.shape, axes)
        if BATCH not in sizes:
            raise Unreadable("the batch must be an axis of its own")
        at, batch = sizes.index(BATCH), value.batch
        if math.prod(sizes[:at]) != math.prod(value.sizes[:batch]) or (
                math.prod(sizes[at + 1:]) != math.prod(value.sizes[batch + 1:])):
            raise Unreadable(f"the batch must be an axis of its own, and the numbers of a sample as many, got the "
                             f"lengths {tuple('n' if n == BATCH else n for n in sizes)}")
        atoms = [(atom,) for axis in value.axes for atom in axis if atom]
        shape = tuple(n for i, n in enumerate(sizes) if i != at)
        key = self.reshaped(self.laid(value, atoms), shape)
        order = [*range(1, at + 1), 0, *range(at + 1, len(sizes))]
        return Value(key, shape, plain(shape, order))

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def scaled(self, value: Value, scale: np.ndarray, shift: np.ndarray, op: Op | None) -> Value:
        """scale x + shift along our last axis, or with one number for all.

        A BatchNorm that is not trained: what was one in the file has lost its statistics.
        """
        n = value.shape[-1]
        if not value.shape:
            raise Unreadable("a sample must have an axis", op)
        if scale.size == shift.size == 1:
            self.file.budget.spend(16 * n)
        scale, shift = (np.broadcast_to(each.reshape(-1), (n,)) for each in (scale, shift))
        key, before = value.key, self.made(value, layers.BatchNorm)
        if before and before.layer.get_config().get("epsilon") == TINY:
            key = self.source(key)
            scale, shift = scale * before.weights["gamma"], scale * before.weights["beta"] + shift
        weights = {"gamma": scale, "beta": shift, "mean": np.zeros(n, scale.dtype), "variance": np.ones(n, scale.dtype)}
        new = self.emit(op, key, layers.BatchNorm(epsilon=TINY, trainable=False), weights)
        return Value(new, self.shapes[new], value.axes)
