"""The base class of layers. ``build`` is the only place where shapes are inferred or refused."""
from __future__ import annotations

import copy
import inspect
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from ldl_cy._engine.graph import Graph
from ldl_cy._engine.spec import Built, Parameter, Shape
from ldl_cy.checks import check_bool, check_ints
from ldl_cy.messages import shown

__all__ = ["Applied", "Built", "Layer", "Parameter", "Shape", "layer_names", "output_activations"]

Applied = dict[str, str]        # names of activations, and of the layers that apply them


class Layer:
    """Base class of all layers.

    Parameters
    ----------
    name : str, default=None
        Prefix of the layer's parameters; by default the class name and the position in the model.
    trainable : bool, default=True
        False freezes the layer's weights.

    Raises
    ------
    TypeError, ValueError
        A name that is not a word, or a ``trainable`` that is not a bool.

    Notes
    -----
    A layer object only has settings, and building does not change it: an object that is used twice
    gives two sets of weights. Arguments are stored under their own names, as in scikit-learn.
    """

    def __init__(self, *, name: str | None = None, trainable: bool = True) -> None:
        owner = type(self).__name__
        if name is not None and (not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name)):
            raise (ValueError if isinstance(name, str) else TypeError)(
                f"{owner}: name must be None or a word of letters, digits and '_', got {shown(name)}.")
        self.name = name
        self.trainable = check_bool(owner, "trainable", trainable)

    def build(self, input_shape: Shape) -> Built:
        """Infer the output shape, and name the kernel and the parameters.

        Parameters
        ----------
        input_shape : tuple of ints
            Shape of one sample, without the batch axis.

        Returns
        -------
        Built

        Raises
        ------
        ValueError
            The layer does not accept the input shape; the message names the layer.
        """
        raise TypeError(f"{type(self).__name__}: a layer must define build(input_shape).")

    def connect(self, graph: Graph, x: int, name: str) -> int:
        """Add this layer to a graph.

        Parameters
        ----------
        graph : Graph
        x : int
            The number of the input value.
        name : str
            Prefix of the names of the layer's parameters.

        Returns
        -------
        int : the number of the output value
        """
        return graph.add_layer(self, x, name)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """The activations that have just been applied to the numbers of the output.

        A layer whose output has the numbers of its input, in another shape or some of them set to 0, returns those of
        its input. Losses refuse outputs to which they would apply an activation once more.

        Parameters
        ----------
        before : dict of str to str
            The activations of the input, each with the name of its layer.
        name : str
            The name of this layer.

        Returns
        -------
        dict of str to str
        """
        activation = getattr(self, "activation", None)
        return {activation: name} if isinstance(activation, str) else {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of a sample's output.

        Parameters
        ----------
        input_shape : int or sequence of ints >= 1
            Shape of one sample, without the batch axis.

        Returns
        -------
        tuple of ints, without the batch axis

        Raises
        ------
        TypeError, ValueError
            The input shape is not one, or the layer does not accept it.
        """
        given = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
        graph = Graph("float32", check_ints(type(self).__name__, "input_shape", given, len(given)))
        return graph.shapes[self.connect(graph, 0, self.name or self.default_name())]

    def inside(self, name: str) -> list[tuple[str, Layer]]:
        """The layers inside of this one, the layer ``name``, with their names; none unless it has branches."""
        return []

    def with_inside(self, layers: Sequence[Layer], trainable: bool) -> Self:
        """A copy with other layers in the places of those of ``inside``."""
        return self._copy(trainable=trainable)

    def with_trainable(self, trainable: bool) -> Self:
        """A copy that is trainable or frozen, with all layers inside of it."""
        return self.with_inside([layer.with_trainable(trainable) for _, layer in self.inside("")], trainable)

    def _copy(self, **settings: Any) -> Self:
        """A copy with some other settings."""
        twin = copy.copy(self)
        vars(twin).update(settings)
        return twin

    @classmethod
    def default_name(cls) -> str:
        """The class name in snake case: conv2d, max_pool2d, batch_norm; ReLU counts as one word: prelu."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__.replace("ReLU", "Relu")).lower()

    @classmethod
    def _arguments(cls) -> dict[str, inspect.Parameter]:
        """The constructor's parameters, those of the class before those of its bases."""
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
        """The layer with the arguments ``config``, a result of ``get_config``."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        settings = []
        for name, p in self._arguments().items():
            value = getattr(self, name)
            if p.default is inspect.Parameter.empty:
                settings.append(repr(value))
            elif value != p.default:
                settings.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(settings)})"


def layer_names(owner: str, layers: Sequence[Layer]) -> list[str]:
    """Each layer's own name, or the one made of its class and position; a ValueError if two are equal."""
    names = [layer.name or f"{layer.default_name()}_{i}" for i, layer in enumerate(layers)]
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{owner}: names of layers must differ, got {shown(name)} twice.")
    return names


def output_activations(layers: Sequence[Layer], names: Sequence[str], before: Applied) -> Applied:
    """The activations that layers, one after the other, have just applied to their output; see the method of Layer."""
    for layer, name in zip(layers, names):
        before = layer.output_activations(before, name)
    return before
