"""Modules of torch as plain data, and the Writer that collects them with the layout of their output."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ldl_cy.interop.layouts import Layout, channels_first, channels_last
from ldl_cy.interop.parts import Part
from ldl_cy.interop.torch.weights import Conversion
from ldl_cy.layers.activation import check_activation
from ldl_cy.layers.base import Layer

OWNER = "to_torch"
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}), "relu": ("ReLU", {}), "relu6": ("ReLU6", {}), "leaky_relu": ("LeakyReLU", {}),
    "elu": ("ELU", {}), "selu": ("SELU", {}), "gelu": ("GELU", {}), "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}), "softplus": ("Softplus", {}), "tanh": ("Tanh", {}), "logistic": ("Sigmoid", {}),
    "softmax": ("Softmax", {}), "mish": ("Mish", {}), "hard_sigmoid": ("Hardsigmoid", {}),
    "hard_silu": ("Hardswish", {}),
}


class Step(NamedTuple):
    """A module.

    Attributes
    ----------
    name : str
        That of the child of its nn.Sequential.
    kind : str
        A class of torch.nn or, if it is none, of ``modules``.
    settings : dict
        Its arguments.
    arrays : dict of arrays
        Its entries in the state dict, without the module's name.
    part : Part or None
        The layer whose weights these are.
    to_ours : function of the arrays that returns the layer's weights, or None
    paths : tuple of tuples of Step
        Of a branch.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]
    part: Part | None = None
    to_ours: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    paths: tuple[tuple[Step, ...], ...] = ()


def with_names(steps: Sequence[Step], prefix: str = "") -> list[tuple[str, Step]]:
    """All steps, those of branches in place of these, with their full names in the state dict."""
    found = []
    for step in steps:
        name = prefix + step.name
        if step.paths:
            for i, path in enumerate(step.paths):
                found += with_names(path, f"{name}.{i}.")
        else:
            found.append((name, step))
    return found


def own_name(part: Part) -> str:
    """A layer's name within its chain."""
    return part.name.rpartition(".")[2]


class Writer:
    """Writes one chain of layers.

    Parameters
    ----------
    layout : Layout of the chain's input
    names : names of the chain's layers, which others do not get
    writers : mapping of classes of layers to functions of a Writer and a Part

    Attributes
    ----------
    layout : Layout of the output so far
    steps : list of Step
    """

    def __init__(self, layout: Layout, names: Sequence[str], writers: Writers) -> None:
        self.layout, self.writers = layout, writers
        self.steps: list[Step] = []
        self._taken = set(names)

    def write(self, parts: Sequence[Part]) -> tuple[Step, ...]:
        """The steps of these layers; a vector at the end has our order."""
        for part in parts:
            self.writers[type(part.layer)](self, part)
        return tuple(self.steps)

    def add(
        self, part: Part, kind: str, conversion: Conversion | None = None, suffix: str = "", **settings: Any,
    ) -> None:
        """A module; those beside a layer's own have a suffix to its name."""
        name = own_name(part)
        if suffix:
            name += suffix
            while name in self._taken:
                name += "_"
            self._taken.add(name)
        if conversion is None:
            self.steps.append(Step(name, kind, settings, {}))
        else:
            arrays = {key: np.array(value, order="C") for key, value in conversion.to_theirs(part.weights).items()}
            self.steps.append(Step(name, kind, settings, arrays, part, conversion.to_ours))

    def arrange(self, part: Part, order: tuple[int, ...], suffix: str = "_layout") -> None:
        """Bring the axes there into this order, or a vector's numbers into ours."""
        if self.layout.places is not None:
            self.add(part, "Reorder", suffix=suffix, places=tuple(map(int, self.layout.places)))
            self.layout = Layout.last(self.layout.shape)
        elif self.layout.order != order:
            axes = self.layout.reordered(order)
            self.add(part, "MoveAxes", suffix=suffix, axes=axes)
            self.layout = Layout(self.layout.shape, order)

    def first(self, part: Part) -> None:
        """Channels-first, as convolutions read maps."""
        if not self.layout.is_vector:
            self.arrange(part, channels_first(self.layout.rank))

    def last(self, part: Part) -> None:
        """Our order of axes."""
        if not self.layout.is_vector:
            self.arrange(part, channels_last(self.layout.rank))

    def becomes(self, part: Part) -> None:
        """Take over the layer's output shape; the order of axes stays."""
        self.layout = self.layout._replace(shape=part.output_shape)

    def activate(self, part: Part, suffix: str = "_activation") -> None:
        """The layer's activation."""
        name = check_activation(OWNER, part.layer.activation)       # type: ignore[attr-defined]
        if name == "identity" and suffix:
            return
        kind, settings = ACTIVATIONS[name]
        settings = dict(settings)
        if name == "leaky_relu":
            settings["negative_slope"] = getattr(part.layer, "negative_slope", 0.01)
        if name == "softmax":
            settings["dim"] = 1 + self.layout.order.index(self.layout.rank - 1) if self.layout.rank else 1
        self.add(part, kind, suffix=suffix, **settings)


Writers = Mapping[type[Layer], Callable[[Writer, Part], None]]
