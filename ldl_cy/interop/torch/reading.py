"""Modules of torch.nn as layers: what has no counterpart, and the chain of layers of a module.

A module without a counterpart is refused by its class and path before anything is built. Then the modules are read in
turn: ``Reader`` keeps the order of axes that the value has in torch, so that maps stay channels-last here, and vectors
after a Flatten keep our order. Where torch reads another axis than our layer would, a Permute is inserted before it.
"""
from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from ldl_cy import layers as L
from ldl_cy.interop.assembly import Imported
from ldl_cy.interop.layouts import Layout, channels_first, channels_last
from ldl_cy.interop.torch.kinds import kind_of
from ldl_cy.interop.torch.reader import OWN, OWNER, Reader, is_changed, leaves, named, paths_of
from ldl_cy.layers.base import Shape
from ldl_cy.messages import listed, shown


def refused(path: str, module: Any, used: set[int], count: Iterator[int]) -> Iterator[str]:
    """What has no counterpart, by path and class.

    ``used`` has the ids of modules with weights that came before, ``count`` counts all modules.
    """
    for at, each in leaves(path, module, count):
        kind, who = kind_of(each), named(at, each)
        if is_changed(each):
            yield f"{who} must have no hooks, such as those of weight_norm, and its class's forward"
            continue
        if kind is None:
            yield f"{who} has no counterpart"
            continue
        if next(each.parameters(), None) is not None:
            if id(each) in used:
                yield f"{who} must be used once, since its weights would be shared"
            used.add(id(each))
        for name, wanted in kind.required.items():
            value = getattr(each, name)
            if (set(value) != {wanted}) if isinstance(value, tuple) else (value != wanted):
                yield f"{who} must have {name} {wanted!r}, got {shown(value)}"
        for chain in paths_of(at, each, count):
            for inside, one in chain:
                yield from refused(inside, one, used, count)


def input_layout(modules: Sequence[tuple[str, Any]], shape: Shape) -> Layout:
    """That of the input: as the first module that reads axes in an order has it, or channels-first for images."""
    rank = len(shape)
    reads = _first_reads(modules, shape) or ("first" if rank == 3 else "last")
    return Layout(shape, channels_first(rank) if reads == "first" and rank > 1 else channels_last(rank))


def _first_reads(modules: Sequence[tuple[str, Any]], shape: Shape) -> str:
    for path, module in modules:
        for chain in paths_of(path, module):
            inside = _first_reads(chain, shape)
            if inside:
                return inside
        kind = kind_of(module)
        assert kind is not None
        reads = kind.reads
        if reads == "norm" and isinstance(module.normalized_shape, tuple):
            sizes = module.normalized_shape
            first = (shape[-1], *shape[:-1])[-len(sizes):] == sizes
            last = shape[-len(sizes):] == sizes
            reads = "last" if last and (not first or len(sizes) == 1) else "first" if first and not last else ""
        if type(module).__name__ == "PReLU" and module.num_parameters == 1:
            reads = ""
        if reads in ("stop", "norm"):
            return ""
        if reads:
            return reads
    return ""


def read(module: Any, shape: Shape) -> list[Imported]:
    """The layers of a module; see ``from_torch``.

    Raises
    ------
    ValueError
        Modules without a counterpart, all of them named, or one that does not fit the shape that reaches it.
    """
    without = list(refused("", module, set(), itertools.count()))
    if without:
        raise ValueError(f"{OWNER}: {listed(without, '; ')}. Other networks can be built from layers of ldl_cy, and "
                         "their weights loaded with load_torch.")
    modules = list(leaves("", module))
    if not modules:
        raise ValueError(f"{OWNER}: module must have modules, got {shown(module)}.")
    layout = input_layout(modules, shape)
    if type(module).__module__ == OWN and len(getattr(module, "order", ())) == len(shape):
        layout = Layout(shape, module.order)
    reader = Reader(layout, layout.order, kind_of)
    reader.read(modules)
    if reader.layout.places is not None:
        reader.same()
    elif not reader.layout.is_vector:
        reader.arrange(reader.natural)
    if not reader.chain:            # modules that change nothing
        reader.add(L.Activation("identity"))
    return reader.named_chain()
