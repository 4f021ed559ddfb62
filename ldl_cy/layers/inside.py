"""Layers inside of others by name, and stacks in which some of them are frozen."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ldl_cy.layers.base import Layer
from ldl_cy.messages import listed, shown


def walk(layers: Sequence[Layer], names: Sequence[str]) -> Iterator[tuple[str, Layer]]:
    """Each layer with its name, followed by those inside of it: "add_2", "add_2.0.dense_1"."""
    for layer, name in zip(layers, names):
        yield name, layer
        inside = layer.inside(name)
        yield from walk([one for _, one in inside], [own for own, _ in inside])


def matching(owner: str, patterns: Sequence[Any], names: Sequence[str]) -> set[str]:
    """The names that one of the patterns matches, as ``fnmatch`` does; without patterns all.

    Raises
    ------
    TypeError, ValueError
        A pattern that is no str, or that matches no name.
    """
    found: set[str] = set()
    for pattern in patterns or ("*",):
        if not isinstance(pattern, str):
            raise TypeError(f"{owner}: patterns must be names of layers, which may have * and ? in them, "
                            f"got {shown(pattern)}.")
        some = [name for name in names if fnmatchcase(name, pattern)]
        if not some:
            raise ValueError(f"{owner}: patterns must match the name of a layer, got {shown(pattern)}; there are: "
                             f"{listed(names)}.")
        found.update(some)
    return found


def with_trainable(layers: Sequence[Layer], names: Sequence[str], chosen: set[str], trainable: bool) -> list[Layer]:
    """The stack in which the chosen layers, with all inside of them, are trainable or frozen.

    Other layers train as before: they remain the same objects. Those that change are copies.
    """
    return [_changed(layer, name, chosen, trainable) for layer, name in zip(layers, names)]


def _changed(layer: Layer, name: str, chosen: set[str], trainable: bool) -> Layer:
    if name in chosen:
        return layer.with_trainable(trainable)
    inside = layer.inside(name)
    if not any(own in chosen for own, _ in walk([one for _, one in inside], [own for own, _ in inside])):
        return layer
    if trainable and not layer.trainable:
        # what was frozen as a whole is frozen layer by layer, so that one of these can be trained
        layer = layer.with_inside([one.with_trainable(False) for _, one in inside], trainable=True)
        inside = layer.inside(name)
    return layer.with_inside([_changed(one, own, chosen, trainable) for own, one in inside], layer.trainable)
