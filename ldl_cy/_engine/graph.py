"""The network as a graph: numbered values in topological order, and the nodes between them.

Layers add themselves with ``Layer.connect``. Nodes are of four kinds: an op (a kernel with its
weights), and the program's own instructions ``add`` (y = a + b), ``multiply`` (y = a b, with broadcasting) and
``put`` (y[..., off:off+w] = x, the pieces of a concatenation). A change of shape makes a new value over the same
buffer and no node.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from ldl_cy._engine.axes import broadcast_shape, merged
from ldl_cy._engine.op import Kernel
from ldl_cy._engine.spec import Built, Parameter, Shape

if TYPE_CHECKING:
    import numpy as np

LINE = 16                           # numbers: 64 bytes of float32
MOST_NUMBERS = 1 << 48              # of a sample or of all weights, where C's integers have 63 bits
MOST_AXES = 31                      # of a sample: NumPy 1's arrays have 32
MOST_NODES = 100_000
MOST_LEVELS = 64                    # of branches in branches: what walks through them is recursive
LONGEST_PATH = 16                   # layers of the other path that may follow the one that adds it
LONGEST_NAME = 1100                 # of a layer, after those of the branches that it is in


class Layer(Protocol):
    """What the graph asks of a layer."""

    trainable: bool

    def build(self, input_shape: Shape, /) -> Built:
        """Shapes, kernel and parameters, or a ValueError that names the layer."""

    def connect(self, graph: Graph, x: int, name: str, /) -> int:
        """Add the layer to a graph, reading value x; returns the number of its output value."""


@dataclass
class Node:
    """One instruction: buffers x (and x2 for add and multiply) -> buffer y."""

    kind: str                       # "op", "add", "multiply", "put"
    x: int
    y: int
    x2: int = -1
    kernel: Kernel | None = None
    trainable: bool = True
    theta: int = 0                  # offsets into the flat vectors
    state: int = 0
    derived: int = 0
    y_steps: int = 0                # op, add, multiply: steps of y whose first axis is the input's time axis; 0: none
    outer: int = 0                  # put: y is (outer, y_width), x is (outer, x_width), at y_offset
    x_width: int = 0
    y_width: int = 0
    y_offset: int = 0
    axes: tuple[Shape, ...] = ()    # multiply: size, stride of x and stride of x2 along each axis of y
    n_sums: int = 0                 # multiply: numbers of the gradient of a factor that is broadcast, at most

    @property
    def flops(self) -> float:
        """Of a forward pass over one row; sums and copies are not counted."""
        if self.kernel is not None:
            return self.kernel.flops
        return float(math.prod(size for size, *_ in self.axes)) if self.axes else 0.0


@dataclass
class Entry:
    """A named array and its place in a flat vector."""

    name: str
    parameter: Parameter
    offset: int
    trainable: bool
    layer: int


def end(entries: Sequence[Entry]) -> int:
    """The length of the flat vector of these arrays."""
    return entries[-1].offset + entries[-1].parameter.size if entries else 0


def check_size(shape: Shape) -> None:
    """Refuse shapes that no array has, and sizes whose products in kernels might overflow C's integers."""
    if len(shape) > MOST_AXES:
        raise ValueError(f"Sequential: a sample must have at most {MOST_AXES} axes before and after each layer, "
                         f"got {len(shape)}.")
    if math.prod(shape) > MOST_NUMBERS:
        raise ValueError(f"Sequential: a sample must have at most 2^{MOST_NUMBERS.bit_length() - 1} numbers before and "
                         f"after each layer, got the shape {shape}.")


def check_kernel(kernel: Kernel) -> None:
    """Refuse a kernel whose memory for one row could not be counted in C's integers together with all others."""
    largest = max(kernel.cache_size, kernel.scratch_size, kernel.scratch_fixed, kernel.n_derived)
    if largest > MOST_NUMBERS:
        raise ValueError(f"{kernel.name}: the kernel must need at most 2^{MOST_NUMBERS.bit_length() - 1} numbers for a "
                         f"sample, got {largest}.")


def check_built(owner: str, built: Built, before: Shape) -> None:
    """Refuse what a layer's ``build`` must not return for an input of this shape: compiled code trusts it."""
    if not isinstance(built, Built):
        raise TypeError(f"{owner}: build must return a Built, got {built!r}.")
    shapes = {"output_shape": built.output_shape, **{p.name: p.shape for p in (*built.parameters, *built.state)}}
    for name, shape in shapes.items():
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 1 for n in shape):
            raise ValueError(f"{owner}: {name} must be a tuple of ints >= 1, got {shape!r}.")
    if built.kernel is None and math.prod(built.output_shape) != math.prod(before):
        raise ValueError(f"{owner}: output_shape must hold the numbers of the input {before} where there is no kernel, "
                         f"got {built.output_shape}.")


def check_sizes(owner: str, kernel: Kernel, built: Built, before: Shape, dtype: str) -> None:
    """Refuse a kernel that would read or write other numbers than those that ``build`` has named."""
    if not isinstance(kernel, Kernel) or kernel.dtype != dtype:
        raise TypeError(f"{owner}: the kernel must be one of {dtype}, got {kernel!r}.")
    for what, given, needed in (
            ("input", math.prod(before), kernel.x_size), ("output_shape", math.prod(built.output_shape), kernel.y_size),
            ("parameters", sum(p.size for p in built.parameters), kernel.n_params),
            ("state", sum(p.size for p in built.state), kernel.n_state)):
        if given != needed:
            raise ValueError(f"{owner}: {what} must hold the {needed} numbers of the kernel {kernel.name}, "
                             f"got {given}.")


@dataclass
class Graph:
    """A network being built for one dtype and one input shape.

    Values and buffers are counted from 0, the input. ``buffers[v]`` is the buffer of value v,
    ``sizes[b]`` how many numbers a row of buffer b has, ``steps[v]`` the length of value v's first axis as long
    as that is still the time axis of the input (lengths of sequences apply to it), else 0.
    """

    dtype: str
    input_shape: Shape
    shapes: list[Shape] = field(default_factory=list)
    buffers: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    length_fault: str = ""                                      # why sequences of several lengths are refused
    nodes: list[Node] = field(default_factory=list)
    parameters: list[Entry] = field(default_factory=list)
    state: list[Entry] = field(default_factory=list)
    outputs: dict[str, int] = field(default_factory=dict)      # layer name -> value
    flops: float = 0.0                                          # of a forward pass over one row
    input_checks: list[Callable[[np.ndarray], None]] = field(default_factory=list)  # of the input's values
    n_derived: int = 0                                          # of all nodes
    n_layers: int = 0
    levels: int = 0                                             # of the branch in which layers are added
    frozen: bool = False                                        # inside a branch that is not trainable
    refused: bool = False                                       # an error already names the layer it is from

    def __post_init__(self) -> None:
        shape = tuple(self.input_shape)
        self.new_value(shape, steps=shape[0] if len(shape) >= 2 else 0)

    def follow(self, first: Graph) -> None:
        """Continue a graph whose output is the input of this one: its steps, and the count of its layers."""
        self.steps[0], self.length_fault, self.n_layers = first.steps[-1], first.length_fault, first.n_layers

    @property
    def n_params(self) -> int:
        return end(self.parameters)

    @property
    def n_state(self) -> int:
        return end(self.state)

    def new_value(self, shape: Shape, buffer: int | None = None, steps: int = 0) -> int:
        """A value of a shape, over a new buffer or an existing one."""
        check_size(shape)
        self._check_count(len(self.shapes))
        if buffer is None:
            buffer = len(self.sizes)
            self.sizes.append(math.prod(shape))
        self.shapes.append(shape)
        self.buffers.append(buffer)
        self.steps.append(steps)
        return len(self.shapes) - 1

    @staticmethod
    def _check_count(count: int) -> None:
        if count > MOST_NODES:
            raise ValueError(f"Sequential: layers must be at most {MOST_NODES}, with those in branches and the paths.")

    def connect(self, layers: Sequence[Layer], names: Sequence[str], x: int, before: str) -> int:
        """Add layers in turn, the first on value x, which ``before`` names; an error says at which layer."""
        for layer, name in zip(layers, names):
            try:
                if len(name) > LONGEST_NAME:
                    raise ValueError(f"Sequential: names of layers must have at most {LONGEST_NAME} characters, with "
                                     f"those of the branches that they are in, got {len(name)}.")
                y = layer.connect(self, x, name)
                if not isinstance(y, int) or not 0 <= y < len(self.shapes):
                    raise ValueError(f"{type(layer).__name__}: connect must return the number of a value, got {y!r}.")
                x = y
            except ValueError as error:
                if self.refused:                # inside a branch: the error names the innermost layer
                    raise
                self.refused = True
                raise ValueError(f"{error} (layer {name[:LONGEST_NAME]!r} after {before} of shape {self.shapes[x]})"
                                 ) from None
            before = repr(name)
        return x

    @contextmanager
    def within(self, branch: Layer) -> Iterator[None]:
        """Layers added within belong to a branch, and are frozen with it."""
        if self.levels == MOST_LEVELS:
            raise ValueError(f"{type(branch).__name__}: branches must be nested at most {MOST_LEVELS} deep.")
        outside = self.frozen
        self.frozen, self.levels = outside or not branch.trainable, self.levels + 1
        yield
        self.frozen, self.levels = outside, self.levels - 1

    def add_layer(self, layer: Layer, x: int, name: str) -> int:
        """Build a layer on value x; returns the value of its output."""
        owner, before = type(layer).__name__, self.shapes[x]
        built = layer.build(before)
        check_built(owner, built, before)
        check_size(built.output_shape)
        if built.check_input is not None:
            if self.buffers[x] != 0:
                raise ValueError(f"{owner}: must read the model's input, which is checked, "
                                 "got another layer's output.")
            self.input_checks.append(built.check_input)
        trainable = layer.trainable and not self.frozen
        self.n_layers += 1
        if built.kernel is None:
            other = built.keeps_steps is None and built.output_shape != before
            y = self.new_value(built.output_shape, self.buffers[x],
                               0 if other else self.steps_after(x, built.output_shape, built.keeps_steps, owner))
        else:
            try:
                kernel = built.kernel(self.dtype)
            except OverflowError:
                raise ValueError(f"{owner}: sizes must fit into C's integers of 63 bits, got the input {before}."
                                 ) from None
            check_sizes(owner, kernel, built, before, self.dtype)
            y = self.add_kernel(kernel, x, built.output_shape, trainable,
                                self.place(self.parameters, built.parameters, name, trainable),
                                self.place(self.state, built.state, name, trainable), built.keeps_steps)
        self.outputs[name] = y
        return y

    def place(self, entries: list[Entry], parameters: tuple[Parameter, ...], name: str, trainable: bool) -> int:
        """Append parameters to a flat vector; returns the offset of the first."""
        start = offset = end(entries)
        for parameter in parameters:
            if len(parameter.shape) > MOST_AXES:
                raise ValueError(f"Sequential: weights must have at most {MOST_AXES} axes, got "
                                 f"{len(parameter.shape)} of {name}.{parameter.name}.")
            entries.append(Entry(f"{name}.{parameter.name}", parameter, offset, trainable, self.n_layers - 1))
            offset += parameter.size
        if offset > MOST_NUMBERS:
            raise ValueError(f"Sequential: a network must have at most 2^{MOST_NUMBERS.bit_length() - 1} weights, "
                             f"got {offset}.")
        return start

    def steps_after(self, x: int, shape: Shape, keeps: bool | None, by: str) -> int:
        """Steps of a value of this shape made from value x; 0 where it has others, and lengths are then refused."""
        steps = self.steps[x]
        if not steps or len(shape) < 2:
            return 0
        if shape[0] != steps:
            fault = f"{by} changes the number of steps from {steps} to {shape[0]}"
        elif keeps is False:
            fault = f"the first axis of what {by} returns is not that of the steps"
        else:
            return steps
        self.length_fault = self.length_fault or f"{fault}, and lengths have no meaning after it"
        return 0

    def add_kernel(
        self, kernel: Kernel, x: int, shape: Shape, trainable: bool = True, theta: int = 0, state: int = 0,
        keeps_steps: bool | None = None,
    ) -> int:
        """An op reading value x."""
        check_kernel(kernel)
        steps = self.steps_after(x, shape, keeps_steps, kernel.name)
        if (kernel.uses_lengths and kernel.n_state == 0 and self.steps[0] and not self.steps[x]
                and len(self.shapes[x]) >= 2):
            # it would take the lengths for those of another axis, and read past the end of a shorter one, as BatchNorm
            # does not
            self.length_fault = self.length_fault or (
                f"{kernel.name} reads an axis of {self.shapes[x][0]} that is no longer that of the steps")
        y = self.new_value(tuple(shape), steps=steps)
        self.nodes.append(Node("op", self.buffers[x], self.buffers[y], kernel=kernel, theta=theta,
                               state=state, derived=self.n_derived, y_steps=steps,
                               trainable=trainable and kernel.n_params > 0))
        if not trainable and kernel.n_state:
            kernel.freeze()                     # a frozen BatchNorm keeps its running statistics too
        kernel.name_layer(max(0, self.n_layers - 1))
        self.n_derived += kernel.n_derived
        self.flops += kernel.flops
        return y

    def add(self, a: int, b: int) -> int:
        """y = a + b, two values of one shape."""
        y = self.new_value(self.shapes[a], steps=self.steps[a] if self.steps[a] == self.steps[b] else 0)
        self.nodes.append(Node("add", self.buffers[a], self.buffers[y], x2=self.buffers[b], y_steps=self.steps[y],
                               trainable=False))
        return y

    def multiply(self, a: int, b: int) -> int:
        """y = a b, two values whose shapes are one after broadcasting."""
        shapes, steps = (self.shapes[a], self.shapes[b]), (self.steps[a], self.steps[b])
        shape = broadcast_shape(shapes)
        assert shape is not None
        # a factor of length 1 along the time axis is the same at all steps
        kept = {n for n, own in zip(steps, shapes) if own and own[0] > 1} or {max(steps)}
        y = self.new_value(shape, steps=kept.pop() if len(kept) == 1 else 0)
        if max(steps) > self.steps[y] and shape[0] != max(steps) and not self.length_fault:
            self.length_fault = (f"multiply changes the number of steps from {max(steps)} to {shape[0]}, and lengths "
                                 "have no meaning after it")
        sizes, strides = merged(shape, shapes)
        node = Node("multiply", self.buffers[a], self.buffers[y], x2=self.buffers[b], y_steps=self.steps[y],
                    axes=tuple(zip(sizes, *strides)), trainable=False,
                    n_sums=max(n for n in (0, math.prod(shapes[0]), math.prod(shapes[1])) if n < math.prod(shape)))
        self.nodes.append(node)
        self.flops += node.flops
        return y

    def concatenate(self, values: list[int]) -> int:
        """Join values along the last axis."""
        *front, _ = self.shapes[values[0]]
        widths = [self.shapes[v][-1] for v in values]
        steps = {self.steps[v] for v in values}
        y = self.new_value((*front, sum(widths)), steps=steps.pop() if len(steps) == 1 else 0)
        self._check_count(len(self.nodes) + len(values))
        offset, total = 0, sum(widths)
        for v, width in zip(values, widths):
            self.nodes.append(Node("put", self.buffers[v], self.buffers[y], outer=math.prod(front), x_width=width,
                                   y_width=total, y_offset=offset, trainable=False))
            offset += width
        return y

    def needs_gradient(self) -> list[bool]:
        """For each buffer: is a trainable weight at or below it?"""
        needs = [False] * len(self.sizes)
        for node in self.nodes:
            below = needs[node.x] or (node.x2 >= 0 and needs[node.x2])
            needs[node.y] = needs[node.y] or below or node.trainable
        return needs

    def fused_nodes(self, rows: int, keep: Sequence[int] = (), training: bool = True) -> list[Node]:
        """The nodes for calls of at most ``rows`` rows, with two ops fused into one if the first kernel can.

        The buffer between them is then never written: not where it is to be kept, is the output, or has
        another reader. Of sequences of several lengths either op keeps the steps, and the zeros past the ends are made
        once, after both, or the second one ends them, and lengths have no meaning. Without training
        BatchNorm is folded into the weights in front of it: see ``folded``.
        """
        readers, kept = Counter(v for node in self.nodes for v in (node.x, node.x2)), set(keep)
        nodes: list[Node] = []
        for node in self.nodes:
            if training and node.kind == "add" and self._fuse_add(nodes, node, readers, kept):
                continue
            before = nodes[-1] if nodes else None
            if (before is not None and before.kernel is not None and node.kernel is not None and before.y == node.x
                    and readers[node.x] == 1 and node.x not in kept):
                both = None if training else self.folded(before, node)
                if (both is None and node.y_steps in (0, before.y_steps)
                        and node.kernel.n_params == node.kernel.n_state == node.kernel.n_derived == 0):
                    kernel = before.kernel.fuse(node.kernel, rows)
                    both = None if kernel is None else replace(
                        before, y=node.y, y_steps=node.y_steps, kernel=kernel)
                if both is not None:
                    nodes[-1] = both
                    continue
            nodes.append(node)
        # a fused kernel may derive more or fewer numbers; each node's begin on a cache line
        places = accumulate((-(-node.kernel.n_derived // LINE) * LINE if node.kernel else 0 for node in nodes),
                            initial=0)
        return [replace(node, derived=place) for node, place in zip(nodes, places)]

    def _fuse_add(self, nodes: list[Node], add: Node, readers: Counter[int], kept: set[int]) -> bool:
        """Let the kernel that computes one summand add the other one; whether there is such a kernel.

        It is the last of ``nodes``, or only layers of the other path follow it. If the sum is not a sequence, the other
        summand has numbers past the rows' lengths, where this kernel would write zeros.
        """
        for i in range(len(nodes) - 1, max(-1, len(nodes) - 1 - LONGEST_PATH), -1):
            node = nodes[i]
            if node.kernel is None or node.y not in (add.x, add.x2) or readers[node.y] > 1 or node.y in kept:
                continue
            kernel = node.kernel.fuse_add()
            if kernel is not None and (add.y_steps or not self._ends_steps(kernel)):
                del nodes[i]
                nodes.append(replace(node, x2=add.x2 if node.y == add.x else add.x, y=add.y, y_steps=add.y_steps,
                                     kernel=kernel))
                return True
        return False

    def _ends_steps(self, norm: Kernel) -> bool:
        """Whether lengths may be given, so that BatchNorm's kernel writes zeros past them."""
        return bool(self.steps[0] and not self.length_fault and norm.uses_lengths and norm.config["n_steps"] > 1)

    def folded(self, before: Node, node: Node) -> Node | None:
        """The second op's weights and state in the first one's weights, or None; for inference.

        Nothing folded looks across steps, so zeros past the ends of sequences are only needed after both.
        """
        assert before.kernel is not None and node.kernel is not None
        if before.y_steps != node.y_steps:
            return None
        # prepare and what is kept of theta see one range
        if node.kernel.n_params and node.theta != before.theta + before.kernel.n_params:
            return None
        kernel = before.kernel.fold(node.kernel)
        if kernel is None:
            return None
        if not node.y_steps and self._ends_steps(node.kernel):
            # BatchNorm would take lengths for those of another axis
            return None
        return replace(before, y=node.y, kernel=kernel, state=node.state if node.kernel.n_state else before.state)
