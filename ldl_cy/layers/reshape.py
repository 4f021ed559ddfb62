"""Flatten and Reshape, which change only the shape and cost nothing, and Permute, which moves axes."""
from __future__ import annotations

import math
from functools import partial
from typing import Any

from ldl_cy._engine.graph import MOST_AXES
from ldl_cy.checks import check_int
from ldl_cy.layers.base import Applied, Built, Layer, Shape
from ldl_cy.messages import shown


class Flatten(Layer):
    """Flatten a sample to one axis, in C order.

    Parameters
    ----------
    name, trainable : see ``Layer``

    Shape
    -----
    Input any shape, output (size,).
    """

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        return Built((math.prod(input_shape),))


class Reshape(Layer):
    """Reshape a sample, in C order.

    Parameters
    ----------
    target_shape : tuple of ints >= 1, or an int
        Shape of the output without the batch axis. One entry may be -1, which is inferred from the size.
    name, trainable : see ``Layer``

    Shape
    -----
    Input any shape of the same size, output ``target_shape``.

    Raises
    ------
    TypeError, ValueError
        Entries that are not ints >= 1, more than one -1; in ``build`` an input of another size.
    """

    def __init__(self, target_shape: Any, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        entries = target_shape if isinstance(target_shape, (tuple, list)) else (target_shape,)
        if len(entries) > MOST_AXES:
            raise ValueError(f"Reshape: target_shape must have at most {MOST_AXES} entries, got {len(entries)}.")
        text = f"Reshape: target_shape must be ints >= 1, at most one of them -1, got {shown(target_shape)}."
        try:
            self.target_shape = tuple(check_int("Reshape", "target_shape", entry, -1) for entry in entries)
        except (TypeError, ValueError) as error:
            raise type(error)(text) from None
        if 0 in self.target_shape or self.target_shape.count(-1) > 1:
            raise ValueError(text)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        size = math.prod(input_shape)
        shape = self.target_shape
        if -1 in shape:
            rest = -math.prod(shape)
            shape = tuple(size // rest if entry == -1 else entry for entry in shape)
        if math.prod(shape) != size:
            raise ValueError(
                f"Reshape: target_shape must hold as many numbers as the input {tuple(input_shape)}, "
                f"got {self.target_shape}.")
        return Built(shape)


MOST_MOVED = 12                 # axes that the kernel has room for; axes that stay adjacent count as one


def merged(input_shape: Shape, axes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(sizes, order): lengths of the input's axes, and which of them is at each place of the output.

    Axes of length 1 are left out, and axes that stay adjacent become one.
    """
    groups: list[list[int]] = []        # axes that stay together, in the order of the output
    long = [axis for axis, size in enumerate(input_shape) if size > 1]
    before = dict(zip(long[1:], long))
    for axis in axes:
        if groups and axis in before and groups[-1][-1] == before[axis]:
            groups[-1].append(axis)
        elif input_shape[axis] > 1:
            groups.append([axis])
    ordered = sorted(groups)
    sizes = tuple(math.prod(input_shape[axis] for axis in group) for group in ordered)
    return sizes, tuple(ordered.index(group) for group in groups)


class Permute(Layer):
    """The axes of a sample in another order: axis i of the output is axis ``dims[i - 1]`` of the input.

    Parameters
    ----------
    dims : tuple of ints
        The input's axes in the order of the output, counted from 1 without the batch axis: (2, 1) transposes a matrix,
        (3, 1, 2) puts the channels of an image (height, width, channels) first.
    name, trainable : see ``Layer``

    Shape
    -----
    Input of as many axes as ``dims`` has entries, output the lengths of these axes in their new order. Lengths of
    sequences have no meaning after it, unless the first axis remains the first.

    Raises
    ------
    TypeError, ValueError
        Entries that are not the ints 1 .. n, each once; in ``build`` an input of another rank, or more than 12 groups
        of adjacent axes that move.
    """

    def __init__(self, dims: tuple[int, ...], *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        several = isinstance(dims, (tuple, list))
        if several and len(dims) > MOST_AXES:
            raise ValueError(f"Permute: dims must have at most {MOST_AXES} entries, got {len(dims)}.")
        text = f"Permute: dims must be a tuple of the ints 1 .. n, each once, in any order, got {shown(dims)}."
        if not several:
            raise TypeError(text)
        try:
            self.dims = tuple(check_int("Permute", "dims", axis) for axis in dims)
        except (TypeError, ValueError) as error:
            raise type(error)(text) from None
        if not dims or sorted(self.dims) != list(range(1, len(dims) + 1)):
            raise ValueError(text)

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.permute import permute

        if len(input_shape) != len(self.dims):
            raise ValueError(f"Permute: the input must have as many axes as dims {self.dims}, got {input_shape}.")
        axes = tuple(axis - 1 for axis in self.dims)
        shape = tuple(input_shape[axis] for axis in axes)
        sizes, order = merged(input_shape, axes)
        if len(sizes) > MOST_MOVED:
            raise ValueError(f"Permute: dims must move at most {MOST_MOVED} groups of the input's axes {input_shape}, "
                             f"got {self.dims}.")
        kernel = partial(permute, sizes=sizes, order=order) if len(sizes) > 1 else None
        return Built(shape, kernel, keeps_steps=axes[0] == 0)
