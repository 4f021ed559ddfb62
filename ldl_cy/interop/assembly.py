"""A ``Sequential`` from layers and weights that were read from another library."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ldl_cy._engine.version import VersionCounter
from ldl_cy.checks import as_numbers, check_values
from ldl_cy.layers.base import Layer, Shape, layer_names
from ldl_cy.layers.merge import Branches
from ldl_cy.models import Sequential
from ldl_cy.network import Network, Views, check_input_shape, make_graph


class Imported(NamedTuple):
    """A layer that was read.

    Attributes
    ----------
    layer : Layer
    weights : mapping of names to arrays
        Every parameter and running statistic of the layer by its own name: "kernel", "forward.kernel", "mean".
    source : str
        What it is called where it comes from, for errors: "layer 'conv2d_3'".
    """

    layer: Layer
    weights: Mapping[str, np.ndarray]
    source: str


def branch(kind: type[Branches], paths: Sequence[Sequence[Imported]], source: str, name: str | None = None) -> Imported:
    """Add, Concatenate or Multiply over paths of layers that were read."""
    layer = kind(*([each.layer for each in path] for path in paths), name=name)
    weights = {}
    for i, path in enumerate(paths):
        for own, each in zip(layer_names(kind.__name__, layer.paths[i]), path):
            weights.update({f"{i}.{own}.{key}": value for key, value in each.weights.items()})
    return Imported(layer, weights, source)


def as_name(name: str) -> str | None:
    """A layer's name in another library, if it is an identifier; otherwise None, for the default name."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else None


def assemble(owner: str, chain: Sequence[Imported], input_shape: Shape, dtype: str = "float32") -> Sequential:
    """The model of these layers with their weights; no initial weights are drawn.

    Parameters
    ----------
    owner : str
        The function that reads, for errors.
    chain : sequence of Imported
    input_shape : tuple of ints, without the batch axis
    dtype : str

    Raises
    ------
    ValueError
        A layer does not fit the shape that reaches it; weights that are missing, too many, of another shape, or not
        finite in ``dtype``.
    """
    model = Sequential([each.layer for each in chain], dtype=dtype)
    graph = make_graph(model.layers, check_input_shape(input_shape), dtype)
    given = {f"{name}.{key}": (value, each.source) for name, each in zip(layer_names(owner, model.layers), chain)
             for key, value in each.weights.items()}
    wanted = {entry.name: entry.parameter.shape for entry in (*graph.parameters, *graph.state)}
    values = {}
    for name, shape in wanted.items():
        if name not in given:
            raise ValueError(f"{owner}: the weights must have {name}, which is missing.")
        value, source = given.pop(name)
        values[name] = as_numbers(owner, f"{name} of {source}", value)
        if values[name].shape != shape:
            raise ValueError(f"{owner}: {name} of {source} must have the shape {shape}, got {values[name].shape}.")
        check_values(owner, f"{name} of {source}", values[name], dtype)
    if given:
        name, (_, source) = next(iter(given.items()))
        raise ValueError(f"{owner}: {source} must have the weights of its layer only, got {name}.")
    theta, statistics = np.empty(graph.n_params, dtype), np.empty(graph.n_state, dtype)
    for views in (Views("parameter", theta, graph.parameters), Views("running statistic", statistics, graph.state)):
        for name, view in views.items():
            view[...] = values[name]
    model.adopt(Network(model.layers, graph, theta, statistics, model.random_state, VersionCounter()))
    return model
