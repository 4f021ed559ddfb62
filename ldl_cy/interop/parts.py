"""The layers of a built network with their names, shapes and weights, as writers for other libraries need them."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        Parameters and running statistics by their own names: "kernel", "forward.kernel", "mean". Views of the model's,
        which writers only read: whoever gets numbers of an exported model gets copies.
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
    """The layers of a network, in order; names and weights as in ``model.parameters`` and ``model.state``."""
    names = layer_names("Sequential", network.layers)
    own: dict[str, dict[str, np.ndarray]] = {name: {} for name in _leaves(network.layers, names)}
    for views in network.views:
        for full, array in views.items():
            name, _, key = full.rpartition(".")
            while name not in own:              # "bidirectional_0.forward.kernel"
                name, _, before = name.rpartition(".")
                key = f"{before}.{key}"
            own[name][key] = array
    return _chain(network, own, network.layers, names, network.input_shape)


def _leaves(layers: Sequence[Layer], names: Sequence[str]) -> Iterator[str]:
    """The names of all layers that are no branches."""
    for layer, name in zip(layers, names):
        if not isinstance(layer, Branches):
            yield name
        else:
            for i, path in enumerate(layer.paths):
                yield from _leaves(path, layer.names_in(i, name))


def _chain(
    network: Network, own: dict[str, dict[str, np.ndarray]], layers: Sequence[Layer], names: Sequence[str],
    shape: Shape,
) -> tuple[Part, ...]:
    found = []
    for layer, name in zip(layers, names):
        output = network.graph.shapes[network.graph.outputs[name]]
        paths: tuple[tuple[Part, ...], ...] = ()
        if isinstance(layer, Branches):
            paths = tuple(
                _chain(network, own, path, layer.names_in(i, name), shape) for i, path in enumerate(layer.paths))
        found.append(Part(layer, name, shape, output, own.get(name, {}), paths))
        shape = output
    return tuple(found)
