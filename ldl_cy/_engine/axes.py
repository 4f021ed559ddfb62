"""Arrays that are read together, some of them with length 1 along axes of the others: NumPy's broadcasting."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldl_cy._engine.spec import Shape


def broadcast_shape(shapes: Sequence[Shape]) -> Shape | None:
    """The shape of arrays of one rank after broadcasting; None where they do not fit."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    sizes = [set(axis) - {1} for axis in zip(*shapes)]
    return None if any(len(axis) > 1 for axis in sizes) else tuple(axis.pop() if axis else 1 for axis in sizes)


def merged(shape: Shape, others: Sequence[Shape]) -> tuple[Shape, tuple[Shape, ...]]:
    """The axes of ``shape`` in as few as possible, and the strides of contiguous arrays along them.

    Axes of length 1 are left out, and neighbours along which each array is broadcast, or is not, become one axis.

    Parameters
    ----------
    shape : tuple of ints
    others : sequence of tuples of ints
        The arrays' shapes, each with the lengths of ``shape`` or 1.

    Returns
    -------
    sizes : tuple of ints, at least one; their product is that of ``shape``
    strides : for each array a tuple of ints
        Numbers from one place to the next along each axis, 0 where the array is broadcast.
    """
    axes: list[tuple[int, tuple[bool, ...]]] = []
    for size, *lengths in zip(shape, *others):
        own = tuple(length == size for length in lengths)
        if axes and size > 1 and axes[-1][1] == own:
            axes[-1] = (axes[-1][0] * size, own)
        elif size > 1:
            axes.append((size, own))
    if not axes:
        return (1,), ((1,),) * len(others)
    strides = []
    for i in range(len(others)):
        stride, along = 1, []
        for size, own in reversed(axes):
            along.append(stride if own[i] else 0)
            stride *= size if own[i] else 1
        strides.append(tuple(reversed(along)))
    return tuple(size for size, _ in axes), tuple(strides)
