"""Add, Multiply and Concatenate: several paths from one input to one output."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from ldl_cy._engine.axes import broadcast_shape
from ldl_cy._engine.graph import MOST_LEVELS
from ldl_cy.layers.base import Applied, Layer, Shape, layer_names, output_activations
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph


class Branches(Layer):
    """Base class of Add, Multiply and Concatenate; ``levels`` counts the branches in each other, itself included."""

    levels = 1

    def __init__(self, *paths: Any, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        owner = type(self).__name__
        kept = []
        for path in paths:
            layers = [path] if isinstance(path, Layer) else path
            if not isinstance(layers, (list, tuple)) or not all(isinstance(layer, Layer) for layer in layers):
                raise TypeError(f"{owner}: each path must be a list of layers, got {shown(path)}.")
            layer_names(owner, layers)
            kept.append(list(layers))
        if len(kept) < 2:
            raise ValueError(f"{owner}: there must be at least two paths, got {len(kept)}.")
        self.paths = tuple(kept)
        inside = [layer.levels for path in kept for layer in path if isinstance(layer, Branches)]
        if max(inside, default=0) >= MOST_LEVELS:
            raise ValueError(f"{owner}: branches must be nested at most {MOST_LEVELS} deep.")
        self.levels = 1 + max(inside, default=0)

    def join(self, graph: Graph, values: list[int]) -> int:
        """The merged value of the paths' outputs; a ValueError if their shapes do not fit."""
        raise TypeError(f"{type(self).__name__}: a branch must define join(graph, values).")

    def connect(self, graph: Graph, x: int, name: str) -> int:
        with graph.within(self):
            values = [graph.connect(path, self.names_in(i, name), x, f"the input of {name!r}")
                      for i, path in enumerate(self.paths)]
        graph.outputs[name] = y = self.join(graph, values)
        return y

    def names_in(self, i: int, name: str) -> list[str]:
        """The names of the layers in path i, of the layer ``name``."""
        return [f"{name}.{i}.{own}" for own in layer_names(type(self).__name__, self.paths[i])]

    def inside(self, name: str) -> list[tuple[str, Layer]]:
        """The layers of all paths, one path after the other."""
        return [pair for i, path in enumerate(self.paths) for pair in zip(self.names_in(i, name), path)]

    def with_inside(self, layers: Sequence[Layer], trainable: bool) -> Self:
        """A copy with other layers in its paths, each of which is as long as before."""
        rest = iter(layers)
        return self._copy(paths=tuple([next(rest) for _ in path] for path in self.paths), trainable=trainable)

    def refuse(self, required: str, shapes: list[Shape]) -> ValueError:
        """The error for paths whose shapes do not fit; it names each shape once."""
        got = " and ".join(map(str, dict.fromkeys(shapes)))
        return ValueError(f"{type(self).__name__}: the paths must give {required}, got {got}.")

    def get_config(self) -> dict[str, Any]:
        return {"paths": self.paths, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        rest = dict(config)
        return cls(*rest.pop("paths"), **rest)

    def __repr__(self) -> str:
        owner, _, rest = super().__repr__().partition("(")
        shown = ", ".join(map(repr, self.paths))
        return f"{owner}({shown}{', ' if rest != ')' else ''}{rest}"


class Add(Branches):
    """The sum of several paths; with an empty path, a residual block.

    Parameters
    ----------
    *paths : lists of layers, at least two
        The input of each path is the layer's input. ``[]`` is the identity; a layer is the same as a list of one layer.
    name : see ``Layer``
    trainable : bool, default=True
        False freezes the weights of all paths.

    Shape
    -----
    Input as the paths require; all paths must have the same output shape, which is the layer's.

    Attributes
    ----------
    Those of the paths, after the number of the path and the layer's name or position in it: ``0.dense_1.kernel``.

    Raises
    ------
    TypeError, ValueError
        A path that is not a list of layers, fewer than two paths, two layers of one name in a path, branches
        in each other more than 64 deep; when the model is built, paths with different output shapes.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> block = layers.Add([layers.Dense(8, "relu"), layers.Dense(4)], [])
    >>> Sequential([block, layers.Activation("relu")]).build(4).output_shape
    (4,)
    """

    def join(self, graph: Graph, values: list[int]) -> int:
        shapes = [graph.shapes[v] for v in values]
        if len(set(shapes)) > 1:
            raise self.refuse("one shape", shapes)
        y = values[0]
        for v in values[1:]:
            y = graph.add(y, v)
        return y


class Multiply(Branches):
    """The elementwise product of several paths: gates, squeeze-and-excitation.

    Parameters
    ----------
    *paths : lists of layers, at least two
        The input of each path is the layer's input. ``[]`` is the identity; a layer is the same as a list of one layer.
    name : see ``Layer``
    trainable : bool, default=True
        False freezes the weights of all paths.

    Shape
    -----
    Input as the paths require; their output shapes must have the same number of axes, and along each axis equal lengths
    or 1. Axes of length 1 are broadcast as in NumPy: (height, width, channels) and (1, 1, channels) give
    (height, width, channels).

    Attributes
    ----------
    Those of the paths, after the number of the path and the layer's name or position in it: ``1.dense_2.kernel``.

    Raises
    ------
    TypeError, ValueError
        A path that is not a list of layers, fewer than two paths, two layers of one name in a path, branches
        in each other more than 64 deep; when the model is built, paths whose output shapes do not fit.

    References
    ----------
    Hu, Shen, Sun, "Squeeze-and-excitation networks", CVPR 2018.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> squeeze = [layers.GlobalAvgPool2D(), layers.Reshape((1, 1, 16))]
    >>> excite = [layers.Dense(4, "relu"), layers.Dense(16, "hard_sigmoid")]
    >>> Sequential([layers.Multiply([], [*squeeze, *excite])]).build((8, 8, 16)).output_shape
    (8, 8, 16)
    """

    def join(self, graph: Graph, values: list[int]) -> int:
        shapes = [graph.shapes[v] for v in values]
        if broadcast_shape(shapes) is None:
            raise self.refuse("shapes of one rank, whose axes are equal or 1", shapes)
        y = values[0]
        for v in values[1:]:
            y = graph.multiply(y, v)
        return y


class Concatenate(Branches):
    """The outputs of several paths, concatenated along the last axis; an inception block.

    Parameters
    ----------
    *paths : lists of layers, at least two
        The input of each path is the layer's input. ``[]`` is the identity; a layer is the same as a list of one layer.
    name : see ``Layer``
    trainable : bool, default=True
        False freezes the weights of all paths.

    Shape
    -----
    Input as the paths require; the output shapes (…, c_i) of the paths may differ in the last axis only, and
    the layer's is (…, Σ c_i).

    Attributes
    ----------
    Those of the paths, after the number of the path and the layer's name or position in it: ``0.conv2d_1.kernel``.

    Raises
    ------
    TypeError, ValueError
        A path that is not a list of layers, fewer than two paths, two layers of one name in a path, branches
        in each other more than 64 deep; when the model is built, paths whose output shapes differ before the last axis.

    References
    ----------
    Szegedy et al., "Going deeper with convolutions", CVPR 2015.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> block = layers.Concatenate(layers.Conv2D(4, 1), layers.Conv2D(4, 3, padding="same"), [])
    >>> Sequential([block]).build((8, 8, 3)).output_shape
    (8, 8, 11)
    """

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of all paths."""
        found: Applied = {}
        for i, path in enumerate(self.paths):
            found = {**output_activations(path, self.names_in(i, name), before), **found}
        return found

    def join(self, graph: Graph, values: list[int]) -> int:
        shapes = [graph.shapes[v] for v in values]
        if not all(shapes):
            raise self.refuse("shapes with a last axis", shapes)
        if len({shape[:-1] for shape in shapes}) > 1:
            raise self.refuse("one shape but for the last axis", shapes)
        return graph.concatenate(values)
