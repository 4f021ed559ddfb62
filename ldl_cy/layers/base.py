"""What every layer is: a description with ``build``, the only place where shapes are inferred or refused."""
from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, Self

from ldl_cy._engine.graph import Graph
from ldl_cy._engine.spec import Built, Parameter, Shape
from ldl_cy.checks import check_bool, check_ints

__all__ = ["Built", "Layer", "Parameter", "Shape", "layer_names"]


class Layer:
    """Base of all layers.

    Parameters
    ----------
    name : str, default=None
        Names the layer's parameters; by default the class name and the place in the model.
    trainable : bool, default=True
        False keeps the layer's weights as they are.

    Notes
    -----
    A layer object is settings only and is never changed by building: the same object used twice
    makes two sets of weights. Arguments are kept under their own names, as scikit-learn does.
    """

    def __init__(self, *, name: str | None = None, trainable: bool = True) -> None:
        owner = type(self).__name__
        if name is not None and (not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name)):
            raise (ValueError if isinstance(name, str) else TypeError)(
                f"{owner}: name must be None or a word of letters, digits and '_', got {name!r}.")
        self.name = name
        self.trainable = check_bool(owner, "trainable", trainable)

    def build(self, input_shape: Shape) -> Built:
        """Infer the output shape, or refuse the input shape with a ValueError that names the layer."""
        raise TypeError(f"{type(self).__name__}: a layer must define build(input_shape).")

    def connect(self, graph: Graph, x: int, name: str) -> int:
        """Add this layer to a graph, reading value x; the number of its output value comes back."""
        return graph.add_layer(self, x, name)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of a sample's output, or a ValueError where the input shape does not fit."""
        given = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
        graph = Graph("float32", check_ints(type(self).__name__, "input_shape", given, len(given)))
        return graph.shapes[self.connect(graph, 0, self.name or self.default_name())]

    @classmethod
    def default_name(cls) -> str:
        """The class name in lower snake case: conv2d, max_pool2d, batch_norm; ReLU is one word: prelu."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__.replace("ReLU", "Relu")).lower()

    @classmethod
    def _arguments(cls) -> dict[str, inspect.Parameter]:
        """The constructor's arguments, the class's own before those of its bases."""
        found: dict[str, inspect.Parameter] = {}
        for c in cls.__mro__:
            if "__init__" in vars(c) and c is not object:
                for name, p in inspect.signature(vars(c)["__init__"]).parameters.items():
                    if name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                        found.setdefault(name, p)
        return found

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in self._arguments()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The layer whose ``get_config`` this is."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        shown = []
        for name, p in self._arguments().items():
            value = getattr(self, name)
            if p.default is inspect.Parameter.empty:
                shown.append(repr(value))
            elif value != p.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def layer_names(owner: str, layers: Sequence[Layer]) -> list[str]:
    """Each layer's own name, or its class's and its place; no two may be the same."""
    names = [layer.name or f"{layer.default_name()}_{i}" for i, layer in enumerate(layers)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{owner}: names of layers must differ, got {name!r} twice.")
    return names
