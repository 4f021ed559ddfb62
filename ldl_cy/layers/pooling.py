"""Pooling: the maximum or the mean of windows, or over all steps or pixels, for each channel."""
from __future__ import annotations

import math
from functools import partial
from typing import Any

from ldl_cy.layers.base import Built, Layer, Shape
from ldl_cy.layers.windows import (
    Padding,
    check_padding,
    check_sizes,
    image_shape,
    keeps_steps,
    lay_windows,
    pads,
    pair,
)

MOST_CELLS = 2**31 - 1              # of a maximum's window: its kernel keeps the cell of each as an int32


def check_cells(owner: str, kind: str, window: tuple[int, int]) -> None:
    """Refuse windows of more cells than a maximum's kernel can tell apart."""
    if kind == "max" and math.prod(window) > MOST_CELLS:
        raise ValueError(f"{owner}: a window must have at most {MOST_CELLS} cells, got {window}.")


class _Pool(Layer):
    """Base class of pooling layers: a window has ``axes`` axes, and ``kind`` is "max" or "mean"."""

    axes: int
    kind: str

    def __init__(
        self, pool_size: Any = 2, strides: Any = None, padding: Padding = "valid", *, name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        owner = type(self).__name__
        self.pool_size = check_sizes(owner, "pool_size", pool_size, self.axes)
        self.strides = None if strides is None else check_sizes(owner, "strides", strides, self.axes)
        self.padding = check_padding(owner, padding, self.axes)
        if isinstance(self.padding, str):
            return
        sizes = pair(self.pool_size, self.axes)[-self.axes:]
        if any(max(around) >= size for size, around in zip(sizes, pads(self.padding, self.axes))):
            # otherwise a window could cover nothing but padding
            raise ValueError(
                f"{owner}: padding must be less than pool_size {self.pool_size}, got {self.padding}.")

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.pooling import pool

        owner = type(self).__name__
        image = image_shape(owner, input_shape, self.axes)
        strides = self.pool_size if self.strides is None else self.strides
        windows = lay_windows(
            owner, "pool_size", image, self.axes, self.pool_size, strides, 1, self.padding)
        check_cells(owner, self.kind, windows["kernel"])
        kernel = partial(pool, **windows, kind=self.kind, sequence=self.axes == 1)
        return Built((*windows["output"][2 - self.axes:], image[2]), kernel,
                     keeps_steps=keeps_steps(windows, self.axes))


class _GlobalPool(Layer):
    """Base class of global pooling layers: one window over all steps or pixels."""

    axes: int
    kind: str

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.pooling import pool

        owner = type(self).__name__
        image = image_shape(owner, input_shape, self.axes)
        size: Any = image[1] if self.axes == 1 else image[:2]
        windows = lay_windows(owner, "the window", image, self.axes, size, 1, 1, "valid")
        check_cells(owner, self.kind, windows["kernel"])
        return Built((image[2],), partial(pool, **windows, kind=self.kind, sequence=self.axes == 1))


class MaxPool1D(_Pool):
    """Maximum over each window of a sequence, for each channel.

    Parameters
    ----------
    pool_size : int >= 1, default=2
        Steps that a window covers.
    strides : int >= 1, default=None
        Steps from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"}, int >= 0 or a pair (before, after), default="valid"
        Steps of -inf around the sequence. "valid": none. "same": as many as give ceil(n / strides) output steps
        for n steps, with the odd one at the end. An int, less than ``pool_size``: that many at both ends. A pair of
        them: that many before the sequence and after it.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (steps, channels), output (steps_out, channels).

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input of another rank or too small.

    Notes
    -----
    If several maxima are equal, the first one gets the gradient. A NaN in a window is its maximum.

    References
    ----------
    Ranzato, Huang, Boureau, LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007.
    """

    axes, kind = 1, "max"


class MaxPool2D(_Pool):
    """Maximum over each window of an image, for each channel.

    Parameters
    ----------
    pool_size : int >= 1 or a pair (height, width), default=2
        Pixels that a window covers.
    strides : int >= 1 or a pair (height, width), default=None
        Pixels from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"}, int >= 0, a pair of them or of pairs, default="valid"
        Pixels of -inf around the image. "valid": none. "same": as many as give ceil(n / strides) output pixels
        for n pixels, with the odd one at the end. An int, less than ``pool_size``: that many on both sides of each
        axis. A pair: the same along the height and the width. ((top, bottom), (left, right)): each side its own.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output (height_out, width_out, channels).

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input of another rank or too small.

    Notes
    -----
    If several maxima are equal, the first one gets the gradient. A NaN in a window is its maximum.

    References
    ----------
    Ranzato, Huang, Boureau, LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007.
    """

    axes, kind = 2, "max"


class AvgPool1D(_Pool):
    """Mean over each window of a sequence, for each channel.

    Parameters
    ----------
    pool_size : int >= 1, default=2
        Steps that a window covers.
    strides : int >= 1, default=None
        Steps from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"}, int >= 0 or a pair (before, after), default="valid"
        Steps around the sequence that are left out of the mean. "valid": none. "same": as many as give
        ceil(n / strides) output steps for n steps, with the odd one at the end. An int, less than ``pool_size``:
        that many at both ends. A pair of them: that many before the sequence and after it.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (steps, channels), output (steps_out, channels).

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input of another rank or too small.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998).
    """

    axes, kind = 1, "mean"


class AvgPool2D(_Pool):
    """Mean over each window of an image, for each channel.

    Parameters
    ----------
    pool_size : int >= 1 or a pair (height, width), default=2
        Pixels that a window covers.
    strides : int >= 1 or a pair (height, width), default=None
        Pixels from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"}, int >= 0, a pair of them or of pairs, default="valid"
        Pixels around the image that are left out of the mean. "valid": none. "same": as many as give
        ceil(n / strides) output pixels for n pixels, with the odd one at the end. An int, less than
        ``pool_size``: that many on both sides of each axis. A pair: the same along the height and the width.
        ((top, bottom), (left, right)): each side its own.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output (height_out, width_out, channels).

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input of another rank or too small.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998).
    """

    axes, kind = 2, "mean"


class GlobalMaxPool1D(_GlobalPool):
    """Maximum over the steps of a sequence, for each channel.

    Parameters
    ----------
    name, trainable : see ``Layer``

    Shape
    -----
    Input (steps, channels), output (channels,).

    Raises
    ------
    ValueError
        In ``build``: an input of another rank.

    References
    ----------
    Ranzato, Huang, Boureau, LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007.
    """

    axes, kind = 1, "max"


class GlobalMaxPool2D(_GlobalPool):
    """Maximum over the pixels of an image, for each channel.

    Parameters
    ----------
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output (channels,).

    Raises
    ------
    ValueError
        In ``build``: an input of another rank.

    References
    ----------
    Ranzato, Huang, Boureau, LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007.
    """

    axes, kind = 2, "max"


class GlobalAvgPool1D(_GlobalPool):
    """Mean over the steps of a sequence, for each channel.

    Parameters
    ----------
    name, trainable : see ``Layer``

    Shape
    -----
    Input (steps, channels), output (channels,).

    Raises
    ------
    ValueError
        In ``build``: an input of another rank.

    References
    ----------
    Lin, Chen, Yan, "Network in network", ICLR 2014.
    """

    axes, kind = 1, "mean"


class GlobalAvgPool2D(_GlobalPool):
    """Mean over the pixels of an image, for each channel.

    Parameters
    ----------
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output (channels,).

    Raises
    ------
    ValueError
        In ``build``: an input of another rank.

    References
    ----------
    Lin, Chen, Yan, "Network in network", ICLR 2014.
    """

    axes, kind = 2, "mean"
