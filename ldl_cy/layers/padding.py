"""ZeroPadding1D and ZeroPadding2D: zeros around sequences and images."""
from __future__ import annotations

from functools import partial

from ldl_cy.layers.base import Applied, Built, Layer, Shape
from ldl_cy.layers.windows import LONGEST_AXIS, Padding, check_padding, image_shape, pads


class _ZeroPadding(Layer):
    """Base class of the layers that add zeros: to ``axes`` axes."""

    axes: int

    def __init__(self, padding: Padding = 1, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.padding = check_padding(type(self).__name__, padding, self.axes, ())

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.zero_padding import zero_padding

        owner = type(self).__name__
        image = image_shape(owner, input_shape, self.axes)
        around = pads(self.padding, self.axes)
        output = tuple(n + before + after for n, (before, after) in zip(input_shape, around))
        if max(output) > LONGEST_AXIS:
            raise ValueError(f"{owner}: the output's axes must be at most {LONGEST_AXIS}, got {max(output)}.")
        shape = (*output, image[2])
        if shape == input_shape:
            return Built(shape)
        return Built(shape, partial(zero_padding, image=image, padding=((0, 0), *around)[-2:]))


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after a sequence, for each channel.

    Parameters
    ----------
    padding : int >= 0 or a pair (before, after) of them, default=1
        Steps of zeros: that many at both ends, or before the sequence and after it.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (steps, channels), output (before + steps + after, channels). Lengths of sequences have no meaning after it,
    unless nothing is added.

    Raises
    ------
    TypeError, ValueError
        A padding of the wrong type or range; in ``build`` an input of another rank.
    """

    axes = 1


class ZeroPadding2D(_ZeroPadding):
    """Zeros around an image, for each channel.

    Parameters
    ----------
    padding : int >= 0, a pair of them or of pairs, default=1
        Pixels of zeros. An int: that many on each side. A pair: above and below, and left and right.
        ((top, bottom), (left, right)): each side its own.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output (top + height + bottom, left + width + right, channels).

    Raises
    ------
    TypeError, ValueError
        A padding of the wrong type or range; in ``build`` an input of another rank.
    """

    axes = 2
