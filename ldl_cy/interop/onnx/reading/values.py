"""Values of a graph in the layout of our layers, without moving a number: each axis of theirs is made of axes of ours.

An image that a graph holds as (n, c, h, w) is (h, w, c) here. Its value says so: the axes of theirs are ours 0 (the
batch), 3, 1 and 2. Transposing is another order of them; Flatten joins (3, 1, 2) into one axis; of an axis of length 1
nothing is left. Layers that read one axis of theirs as channels say which, and numbers move only where ours has
another one last.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ldl_cy.interop.onnx.reading.file import Op, Unreadable
from ldl_cy.layers.base import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = (1 << 31) - 1           # the number of samples, while shapes are computed: a prime that no axis has

Axes = tuple[tuple[int, ...], ...]


class Point(NamedTuple):
    """How a value depends on another one, number by number: ``result`` where ``base`` has the numbers of PROBES."""

    base: Value
    result: np.ndarray


@dataclass(frozen=True, eq=False)
class Value:
    """What depends on the input.

    Attributes
    ----------
    key : str
        The layer that makes it; "" where there is none yet, of parts of an activation.
    shape : tuple of ints
        Of the layer's output, without the batch axis.
    axes : tuple of tuples of ints
        For each axis of theirs the axes of ours that make it, the slow ones first; 0 is the batch. Axes of ours of
        length 1 are left out.
    points : tuple of Point
        From which values it is computed number by number, the nearest first.
    op : Op or None
        The node that makes it.
    flipped : bool
        Whether the first axis of ours is a time that runs backwards.
    """

    key: str
    shape: Shape
    axes: Axes
    points: tuple[Point, ...] = ()
    op: Op | None = None
    flipped: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of their axes; that of the batch is BATCH."""
        return tuple(math.prod(self.size(atom) for atom in axis) for axis in self.axes)

    def size(self, atom: int) -> int:
        """The length of an axis of ours."""
        return self.shape[atom - 1] if atom else BATCH

    @property
    def batch(self) -> int:
        """The axis of theirs that is the batch alone."""
        for i, axis in enumerate(self.axes):
            if axis == (0,):
                return i
        raise Unreadable("the batch must be an axis of its own")

    @property
    def rank(self) -> int:
        return len(self.axes)


@dataclass(frozen=True)
class Filled:
    """An array with one number everywhere, of any size."""

    number: float


@dataclass(frozen=True, eq=False)
class Piece:
    """Entry ``index`` of a value along ``axis`` of theirs, which is left out."""

    value: Value
    axis: int
    index: int


@dataclass(frozen=True, eq=False)
class Outside:
    """Sequences with minus infinity past their ends, of which a maximum is taken."""

    value: Value


@dataclass(frozen=True, eq=False)
class Summed:
    """The sum over axes of theirs, of sequences with zeros past their ends; ``keep`` with an axis of length 1 each."""

    value: Value
    axes: tuple[int, ...]
    keep: bool


class Lengths:
    """Of sequences: an input of whole numbers, which recurrent layers may read, or a mask made of it."""


@dataclass(frozen=True)
class Nothing:
    """What no layer gives; ``op`` says where it comes from."""

    reason: str
    op: Op


def plain(shape: Shape, order: Sequence[int]) -> Axes:
    """Their axes, each one of ours: 0 is the batch; axes of length 1 are left out."""
    return tuple(() if atom and shape[atom - 1] == 1 else (atom,) for atom in order)


def axis_number(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise Unreadable(f"an axis must be one of {rank}, got {axis}")
    return axis % rank


def regrouped(value: Value, sizes: Sequence[int]) -> Axes | None:
    """The axes after a reshape that only joins and parts axes of ours; None if it cuts one."""
    atoms = [atom for axis in value.axes for atom in axis]
    found, at = [], 0
    for size in sizes:
        first, length = at, 1
        while length < size and at < len(atoms):
            length *= value.size(atoms[at])
            at += 1
        if length != size:
            return None
        found.append(tuple(atoms[first:at]))
    return tuple(found) if at == len(atoms) else None
