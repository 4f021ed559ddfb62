"""Keras' configs of Sequential and functional models as graphs; models within a model become part of its graph.

A config names the layers in the order in which their weights are stored, each with its calls: "inbound_nodes", whose
tensors say of which layer and of which of its calls they are the output.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from ldl_cy.interop.assembly import Imported
from ldl_cy.interop.chains import Node, as_chain, ordered
from ldl_cy.interop.keras.layers import BRANCHES, HAVE_WEIGHTS, LAYERS, WEIGHTS_IN, affine, gelu, several
from ldl_cy.interop.keras.settings import Make, Names, Settings, is_kerases
from ldl_cy.layers.base import Shape
from ldl_cy.layers.merge import Branches
from ldl_cy.messages import listed, shown

OWNER = "from_keras"
MOST_LEVELS = 64                # of models within models
MODELS = ("Sequential", "Functional", "Model")
START = "input"
NO_PARTS = ("",)

# operators on a tensor and a number: the (scale, offset) that they are
AFFINE: dict[str, Callable[[float], tuple[float, float]]] = {
    "Add": lambda c: (1.0, c), "Subtract": lambda c: (1.0, -c), "Multiply": lambda c: (c, 0.0),
    "Divide": lambda c: (1 / c, 0.0), "TrueDivide": lambda c: (1 / c, 0.0)}
NOT_SYMMETRIC = ("Subtract", "Divide", "TrueDivide")


class Stored(Protocol):
    """Where weights are: of a model, or of a layer; a model may have ``most`` numbers, those that it leaves out too."""

    @property
    def most(self) -> float: ...

    def child(self, key: str, name: Any) -> Stored:
        """Those of a layer of a model; ``key`` is what a file calls it, ``name`` is its own."""

    def read(self, source: str, parts: Sequence[str], shapes: Sequence[Shape]) -> list[np.ndarray]:
        """The weights of a layer, which must have these shapes; each of its parts has as many of them."""


class Call(NamedTuple):
    """One call of a layer: the value that it computes, those that it reads, and a number beside them."""

    value: str
    inputs: list[str]
    number: float | None = None


class Step(NamedTuple):
    """What computes a value, before shapes are known: a layer, or the class of a branch."""

    inputs: Sequence[str]
    source: str
    make: Make | type[Branches]
    stored: Stored | None = None
    parts: Sequence[str] = NO_PARTS
    name: str | None = None
    axis: Any = -1


def snake_case(name: str) -> str:
    """The name of a class in files, as Keras makes it: PReLU is p_re_lu, Conv2D conv2d."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def read_graph(entry: Any, stored: Stored, input_shape: Shape | None) -> tuple[list[Imported], Shape, str]:
    """The layers of a model, its input shape and its dtype.

    Parameters
    ----------
    entry : what JSON holds
    stored : Stored
    input_shape : tuple of ints or None
        For a model that leaves some sizes open.

    Raises
    ------
    ValueError
        All that has no counterpart, by name; weights that are missing or of another shape.
    """
    graph = _Graph()
    end = graph.model(entry, stored, START, 0)
    if graph.faults:
        raise ValueError(listed(graph.faults, "; "))
    shape = fixed_shape(graph.shape, input_shape)
    nodes, last = graph.built(end, shape)
    count = sum(array.size for node in nodes.values() if isinstance(node.made, Imported)
                for array in node.made.weights.values())
    if count > stored.most:
        raise ValueError(f"the layers must have at most {stored.most} weights for a file of this size, got {count}")
    return as_chain(OWNER, nodes, START, last), shape, max(graph.dtypes, default="float32")


def fixed_shape(known: Any, given: Shape | None) -> Shape:
    """The shape of a sample, from [batch, ...] with None for sizes that are open, and the one that is asked for."""
    if not isinstance(known, list) or not all(size is None or (type(size) is int and size > 0) for size in known[1:]):
        raise ValueError(f"the model must have the shape of its input, got {shown(known)}; Keras knows it once a model "
                         "has been called")
    shape = tuple(known[1:])
    if given is None:
        if None in shape:
            raise ValueError(f"input_shape must be given for a model that leaves sizes open, {shape}, got None")
        return shape
    if len(given) != len(shape) or any(size not in (None, new) for size, new in zip(shape, given)):
        raise ValueError(f"input_shape must fit the model's {shape}, got {given}")
    return given


class _Graph:
    """The steps of a model and all its faults, and what is known of its input."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.faults: list[str] = []
        self.dtypes: set[str] = set()
        self.names = Names()
        self.shape: Any = None

    def add(self, value: str, step: Step) -> None:
        if value in self.steps:
            raise ValueError(f"names of layers must differ, got {step.source} twice")
        self.steps[value] = step

    # -- models ----------------------------------------------------------------------------------------------------

    def model(self, entry: Any, stored: Stored, start: str, level: int) -> str:
        """Add the steps of a model; returns its output's value."""
        own = Settings(entry, self.names, None)
        entries = own.config.get("layers")
        if own.class_name not in MODELS or not isinstance(entries, list) or not is_kerases(entry):
            raise ValueError(f"the model must be Sequential or Functional, got {own.source}")
        if level > MOST_LEVELS:
            raise ValueError(f"models must be nested at most {MOST_LEVELS} deep")
        add = self.sequential if own.class_name == "Sequential" else self.functional
        return add(entry, entries, stored, start, level)

    def sequential(self, entry: dict[str, Any], entries: list[Any], stored: Stored, start: str, level: int) -> str:
        value, counts = start, Counter[str]()
        if level == 0:
            build = entry.get("build_config")
            self.shape = entry["config"].get("build_input_shape") or (
                build.get("input_shape") if isinstance(build, dict) else None)
        for i, each in enumerate(entries):
            own = Settings(each, self.names, None)
            if own.class_name == "InputLayer":
                self.input_layer(own, level)
                continue
            call = Call(f"{start}>{i}", [value])
            self.layer(each, own, stored.child(unique(counts, own), own.config.get("name")), [call], level)
            value = call.value
        return value

    def functional(self, entry: dict[str, Any], entries: list[Any], stored: Stored, start: str, level: int) -> str:
        first, last = (one_tensor(entry["config"].get(key), key) for key in ("input_layers", "output_layers"))
        counts, prefix = Counter[str](), f"{start}>"
        for each in entries:
            own = Settings(each, self.names, None)
            name = own.config.get("name")
            if own.class_name == "InputLayer":
                if (name, 0) == first:
                    self.input_layer(own, level)
                    self.add(f"{prefix}{name}/0", Step([start], own.source, several(s=own)))
                else:
                    self.faults.append(f"the model must have one input, got {own.source} too")
                continue
            nodes = each.get("inbound_nodes")
            if not isinstance(nodes, list) or not nodes:
                raise ValueError(f"{own.source} must have its calls in inbound_nodes, got {shown(nodes)}")
            calls = [read_call(own, node, prefix, f"{prefix}{name}/{i}") for i, node in enumerate(nodes)]
            self.layer(each, own, stored if is_operator(each) else stored.child(unique(counts, own), name), calls,
                       level)
        return f"{prefix}{last[0]}/{last[1]}"

    def input_layer(self, own: Settings, level: int) -> None:
        if level == 0:
            self.shape = own.config.get("batch_shape")
        for key in ("sparse", "ragged"):
            if own.config.get(key):
                self.faults.append(f"{own.source} must have {key} False, got {shown(own.config[key])}")

    # -- layers ----------------------------------------------------------------------------------------------------

    def layer(self, entry: dict[str, Any], own: Settings, stored: Stored, calls: list[Call], level: int) -> None:
        """Add the steps of a layer or of a model within the model; what has no counterpart is a fault."""
        weights = own.class_name in HAVE_WEIGHTS or own.class_name in MODELS
        if is_operator(entry):
            known = own.class_name in AFFINE or own.class_name == "Gelu"
        else:
            known = is_kerases(entry) and any(own.class_name in table for table in (LAYERS, BRANCHES, MODELS))
        if not known:
            self.faults.append(f"{own.source} has no counterpart")
            return
        if weights and len(calls) > 1:
            self.faults.append(f"{own.source} must be called once, got {len(calls)} calls; layers whose weights are "
                               "shared have no counterpart")
            return
        if own.class_name in MODELS and not is_operator(entry):
            if len(calls[0].inputs) != 1:
                self.faults.append(f"{own.source} must have one input, got {len(calls[0].inputs)}")
                return
            end = self.model(entry, stored, calls[0].inputs[0] + f">{own.config.get('name')}", level + 1)
            self.add(calls[0].value, Step([end], own.source, several(s=own)))
            self.add(f"{calls[0].inputs[0]}>{own.config.get('name')}",
                     Step(calls[0].inputs, own.source, several(s=own)))
            return
        for call in calls:
            try:
                self.add(call.value, self.step(entry, stored, call))
            except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
                text = str(error).rstrip(".")
                self.faults.append(text if text.startswith(own.source) else f"{own.source}: {text}")

    def step(self, entry: dict[str, Any], stored: Stored, call: Call) -> Step:
        """The step of one call of a layer."""
        given = entry["config"].get("name")
        if not isinstance(given, str):
            raise ValueError(f"a layer must have a name, got {shown(given)}")
        own = Settings(entry, self.names, self.names.take(given))
        self.dtypes.add(own.dtype())
        if own.class_name in BRANCHES and call.number is None:
            if len(call.inputs) < 2:
                raise ValueError(f"{own.source} must have at least two inputs, got {len(call.inputs)}")
            axis = own.get("axis", -1)
            own.close()
            return Step(call.inputs, own.source, BRANCHES[own.class_name], name=own.name, axis=axis)
        if len(call.inputs) != 1:
            raise ValueError(f"{own.source} must have one input, got {len(call.inputs)}")
        if not is_operator(entry):
            make = LAYERS[own.class_name](own)
        elif own.class_name == "Gelu":
            make = gelu(own)
        elif call.number is None:
            raise ValueError(f"{own.source} must have a number beside its input, got none")
        else:
            make = affine(own, *AFFINE[own.class_name](call.number))
        own.close()
        return Step(call.inputs, own.source, make, stored, WEIGHTS_IN.get(own.class_name, NO_PARTS))

    # -- with shapes -----------------------------------------------------------------------------------------------

    def built(self, end: str, shape: Shape) -> tuple[dict[str, Node], str]:
        """The nodes with layers and weights, and the value of the output."""
        shapes, nodes, same = {START: shape}, {}, {START: START}
        for value in ordered(OWNER, self.steps, START, end):
            step = self.steps[value]
            inputs = tuple(same[each] for each in step.inputs)
            if isinstance(step.make, type):
                shapes[value] = joined(step, [shapes[each] for each in inputs])
                nodes[value] = Node(inputs, step.make, step.source, step.name)
                same[value] = value
                continue
            now, = inputs
            try:
                for i, each in enumerate(step.make(shapes[now], partial(self._read, step))):
                    nodes[f"{value}#{i}"] = Node((now,), each, step.source)
                    shapes[f"{value}#{i}"] = each.layer.compute_output_shape(shapes[now])
                    now = f"{value}#{i}"
            except (TypeError, ValueError) as error:
                text = str(error).rstrip(".")
                raise ValueError(text if text.startswith(step.source) else f"{step.source}: {text}") from error
            same[value] = now
        return nodes, same[end]

    def _read(self, step: Step, shapes: Sequence[Shape]) -> list[np.ndarray]:
        assert step.stored is not None
        return step.stored.read(step.source, step.parts, shapes)


def unique(counts: Counter[str], own: Settings) -> str:
    """The name of a layer's weights in a file: its class, from the second one on with a number."""
    name = snake_case(own.class_name)
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}_{counts[name] - 1}"


def is_operator(entry: dict[str, Any]) -> bool:
    """Whether it is a function of keras.ops, which has no weights and is not counted among the layers."""
    return str(entry.get("module")).startswith(("keras.src.ops", "keras.ops"))


def one_tensor(value: Any, key: str) -> tuple[Any, Any]:
    """(layer, call) of the one input or output of a model."""
    if isinstance(value, list) and len(value) == 1:
        value, = value
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[0], str) or value[2] != 0:
        raise ValueError(f"{key} must be one tensor, got {shown(value)}")
    return value[0], value[1]


def read_call(own: Settings, node: Any, prefix: str, value: str) -> Call:
    """A call of a layer; arguments beside its inputs must be None or False."""
    if not isinstance(node, dict) or not isinstance(node.get("args"), list) or not isinstance(node.get("kwargs"), dict):
        raise ValueError(f"{own.source} must be called with tensors as Keras 3 writes them, got {shown(node)}")
    for key, given in node["kwargs"].items():
        if given is not None and given is not False:
            raise ValueError(f"{own.source} must be called without {key[:100]}, got {shown(given)}")
    args = node["args"]
    if len(args) == 1 and isinstance(args[0], list):
        args = args[0]
    numbers = [each for each in args if type(each) in (int, float)]
    inputs = []
    for each in args:
        config = each.get("config") if isinstance(each, dict) and each.get("class_name") == "__keras_tensor__" else None
        history = config.get("keras_history") if isinstance(config, dict) else None
        if isinstance(history, list) and len(history) == 3 and history[2] == 0:
            inputs.append(f"{prefix}{history[0]}/{history[1]}")
        elif type(each) not in (int, float) or len(args) != 2 or (each is args[0] and own.class_name in NOT_SYMMETRIC):
            raise ValueError(f"{own.source} must be called with outputs of layers, got {shown(each)}")
    return Call(value, inputs, float(numbers[0]) if numbers else None)


def joined(step: Step, shapes: list[Shape]) -> Shape:
    """The shape of a branch's output."""
    found = " and ".join(map(str, dict.fromkeys(shapes)))
    if step.make is BRANCHES["Concatenate"]:
        if step.axis not in (-1, len(shapes[0])) or not all(shapes):
            raise ValueError(f"{step.source} must have axis -1, the last, got {shown(step.axis)} for {found}")
        if len({shape[:-1] for shape in shapes}) > 1:
            raise ValueError(f"{step.source} must have inputs of one shape but for the last axis, got {found}")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))
    if step.make is BRANCHES["Add"]:
        if len(set(shapes)) > 1:
            raise ValueError(f"{step.source} must have inputs of one shape, got {found}")
        return shapes[0]
    if len({len(shape) for shape in shapes}) > 1 or any(len({*sizes, 1}) > 2 for sizes in zip(*shapes)):
        raise ValueError(f"{step.source} must have inputs whose axes are equal or 1, got {found}")
    return tuple(map(max, zip(*shapes)))
