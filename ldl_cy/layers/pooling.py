"""Pooling: the maximum or the mean of windows, or of everything, channel by channel."""
from __future__ import annotations

from functools import partial
from typing import Any

from ldl_cy.layers.base import Built, Layer, Shape
from ldl_cy.layers.windows import Padding, check_padding, check_sizes, image_shape, lay_windows, pair


class _Pool(Layer):
    """What the poolings share: ``axes`` of a window, and the ``kind`` of its kernel."""

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
        if not isinstance(self.padding, str):
            # a window must not lie in the padding alone
            if any(p >= k for p, k in zip(pair(self.padding, self.axes), pair(self.pool_size, self.axes))):
                raise ValueError(
                    f"{owner}: padding must be less than pool_size {self.pool_size}, got {self.padding}.")

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.pooling import pool

        owner = type(self).__name__
        image = image_shape(owner, input_shape, self.axes)
        strides = self.pool_size if self.strides is None else self.strides
        windows = lay_windows(
            owner, "pool_size", image, self.axes, self.pool_size, strides, 1, self.padding)
        kernel = partial(pool, **windows, kind=self.kind, sequence=self.axes == 1)
        return Built((*windows["output"][2 - self.axes:], image[2]), kernel)


class _GlobalPool(Layer):
    """One window over everything."""

    axes: int
    kind: str

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.pooling import pool

        owner = type(self).__name__
        image = image_shape(owner, input_shape, self.axes)
        size: Any = image[1] if self.axes == 1 else image[:2]
        windows = lay_windows(owner, "the window", image, self.axes, size, 1, 1, "valid")
        return Built((image[2],), partial(pool, **windows, kind=self.kind, sequence=self.axes == 1))


class MaxPool1D(_Pool):
    """Maximum of each window of sequences, channel by channel.

    Parameters
    ----------
    pool_size : int >= 1, default=2
        Steps that a window covers.
    strides : int >= 1, default=None
        Steps from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"} or int >= 0, default="valid"
        Steps around the sequence, which are -inf: none; so many that the output has
        ceil(n / strides) of n steps, the odd one at the end; or that many at both ends, fewer than
        ``pool_size``.
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
    Of several equal maxima the first takes the gradient. A NaN in a window is its maximum.

    References
    ----------
    Ranzato, Huang, Boureau, LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007.
    """

    axes, kind = 1, "max"


class MaxPool2D(_Pool):
    """Maximum of each window of images, channel by channel.

    Parameters
    ----------
    pool_size : int >= 1 or a pair (height, width), default=2
        Pixels that a window covers.
    strides : int >= 1 or a pair (height, width), default=None
        Pixels from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"}, int >= 0 or a pair of them, default="valid"
        Pixels around the image, which are -inf: none; so many that the output has
        ceil(n / strides) of n pixels, the odd one at the end; or that many at both ends, fewer than
        ``pool_size``.
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
    Of several equal maxima the first takes the gradient. A NaN in a window is its maximum.

    References
    ----------
    Ranzato, Huang, Boureau, LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007.
    """

    axes, kind = 2, "max"


class AvgPool1D(_Pool):
    """Mean of each window of sequences, channel by channel.

    Parameters
    ----------
    pool_size : int >= 1, default=2
        Steps that a window covers.
    strides : int >= 1, default=None
        Steps from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"} or int >= 0, default="valid"
        Steps around the sequence, left out of the mean: none; so many that the output has
        ceil(n / strides) of n steps, the odd one at the end; or that many at both ends, fewer than
        ``pool_size``.
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
    """Mean of each window of images, channel by channel.

    Parameters
    ----------
    pool_size : int >= 1 or a pair (height, width), default=2
        Pixels that a window covers.
    strides : int >= 1 or a pair (height, width), default=None
        Pixels from one window to the next; None is ``pool_size``.
    padding : {"valid", "same"}, int >= 0 or a pair of them, default="valid"
        Pixels around the image, left out of the mean: none; so many that the output has
        ceil(n / strides) of n pixels, the odd one at the end; or that many at both ends, fewer than
        ``pool_size``.
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
    """Maximum over the steps of a sequence, channel by channel.

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
    """Maximum over the pixels of an image, channel by channel.

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
    """Mean over the steps of a sequence, channel by channel.

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
    """Mean over the pixels of an image, channel by channel.

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
