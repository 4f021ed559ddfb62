"""What is written to another library: the layers of a built network with their names, shapes and weights."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ldl_cy.layers.base import Layer, Shape, layer_names
from ldl_cy.layers.merge import Branches
from ldl_cy.network import Network


class Part(NamedTuple):
    """One layer of a built network.

    Attributes
    ----------
    layer : Layer
    name : str
        As in ``model.parameters``: "conv2d_0", within branches "add_2.0.dense_1".
    input_shape, output_shape : tuples of ints, without the batch axis
    weights : dict of arrays
        Parameters and running statistics by their own names: "kernel", "forward.kernel", "mean". Views of the model's.
    paths : tuple of tuples of Part
        The layers of each path of a branch; () for other layers.
    """

    layer: Layer
    name: str
    input_shape: Shape
    output_shape: Shape
    weights: dict[str, np.ndarray]
    paths: tuple[tuple[Part, ...], ...] = ()


def parts(network: Network) -> tuple[Part, ...]:
    """The layers of a network, in turn."""
    return _chain(network, network.layers, layer_names("Sequential", network.layers), network.input_shape)


def _chain(network: Network, layers: Sequence[Layer], names: Sequence[str], shape: Shape) -> tuple[Part, ...]:
    found = []
    for layer, name in zip(layers, names):
        output = network.graph.shapes[network.graph.outputs[name]]
        paths: tuple[tuple[Part, ...], ...] = ()
        weights = {}
        if isinstance(layer, Branches):
            paths = tuple(_chain(network, path, layer.names_in(i, name), shape) for i, path in enumerate(layer.paths))
        else:
            weights = {full[len(name) + 1:]: array for views in (network.parameters, network.state)
                       for full, array in views.items() if full.startswith(f"{name}.")}
        found.append(Part(layer, name, shape, output, weights, paths))
        shape = output
    return tuple(found)
