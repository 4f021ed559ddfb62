"""Layouts: how the axes and numbers of a value are ordered in a library whose images are channels-first.

A value there has our axes in another order, and a vector that was flattened there has our numbers in another order.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ldl_cy.layers.base import Shape


def channels_first(rank: int) -> tuple[int, ...]:
    """The order of axes in which the last one comes first."""
    return (rank - 1, *range(rank - 1))


def channels_last(rank: int) -> tuple[int, ...]:
    """Our own order."""
    return tuple(range(rank))


class Layout(NamedTuple):
    """A value here and there, without the batch axis.

    Attributes
    ----------
    shape : tuple of ints, here
    order : tuple of ints
        The axis k there is our axis ``order[k]``.
    places : (n,) ints or None
        Of a vector, the place there of each of our numbers: ours[j] = theirs[places[j]]. None: the same order.
    origin : Layout or None
        Of such a vector, the layout before it was flattened.
    """

    shape: Shape
    order: tuple[int, ...]
    places: np.ndarray | None = None
    origin: Layout | None = None

    @classmethod
    def last(cls, shape: Shape) -> Layout:
        """The same axes and numbers on both sides."""
        return cls(tuple(shape), channels_last(len(shape)))

    @classmethod
    def of(cls, theirs: Shape, order: tuple[int, ...]) -> Layout:
        """The layout of a value with this shape there, whose axes are ours in this order."""
        shape = [0] * len(theirs)
        for size, axis in zip(theirs, order):
            shape[axis] = size
        return cls(tuple(shape), order)

    @property
    def theirs(self) -> Shape:
        """The shape there."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_vector(self) -> bool:
        return len(self.shape) == 1

    def numbering(self) -> np.ndarray:
        """(size,) ints, the place there of each of our numbers in C order."""
        if self.places is not None:
            return self.places
        theirs = np.arange(math.prod(self.shape)).reshape(self.theirs)
        return theirs.transpose(np.argsort(self.order)).ravel()

    def flattened(self) -> Layout:
        """The layout after both sides have flattened the value in C order."""
        places = self.numbering()
        shape = (len(places),)
        if np.array_equal(places, np.arange(len(places))):
            return Layout.last(shape)
        return Layout(shape, (0,), places, self if self.origin is None else self.origin)

    def reordered(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """The axes, counted from 0, for which theirs.transpose(axes) has this order."""
        return tuple(self.order.index(axis) for axis in order)

    def same_numbers(self, other: Layout) -> bool:
        """Whether a reshape there is a reshape here."""
        return np.array_equal(self.numbering(), other.numbering())


def spread(values: np.ndarray, places: np.ndarray | None, axis: int = 0) -> np.ndarray:
    """Numbers in our order along an axis, in theirs."""
    if places is None:
        return values
    return np.take(values, np.argsort(places), axis)


def gather(values: np.ndarray, places: np.ndarray | None, axis: int = 0) -> np.ndarray:
    """Numbers in their order along an axis, in ours."""
    return values if places is None else np.take(values, places, axis)
