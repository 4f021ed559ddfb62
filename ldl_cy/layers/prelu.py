"""PReLU, a rectifier whose slope below zero is learned."""
from __future__ import annotations

from functools import partial
from typing import Any

from ldl_cy._engine.axes import merged
from ldl_cy.checks import check_int
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.base import Built, Layer, Parameter, Shape
from ldl_cy.messages import shown

MOST_AXES = 16                  # that the kernel has room for, neighbours of one kind counted as one


def check_axes(shared_axes: Any) -> tuple[int, ...] | None:
    """None, or axes counted from 1 as a tuple; one axis may be an int."""
    if shared_axes is None:
        return None
    several = isinstance(shared_axes, (tuple, list))
    given = tuple(shared_axes) if several else (shared_axes,)
    try:
        axes = tuple(check_int("PReLU", "shared_axes", axis) for axis in given)
        if len(set(axes)) < len(axes):
            raise ValueError
    except (TypeError, ValueError) as error:
        raise type(error)("PReLU: shared_axes must be None, an int >= 1 or a tuple of different ones, "
                          f"got {shown(shared_axes)}.") from None
    return axes


class PReLU(Layer):
    """A rectifier whose slope below zero is learned: y = max(0, x) + alpha min(0, x).

    Parameters
    ----------
    shared_axes : int >= 1 or tuple of them, default=None
        Axes along which numbers share a slope, counted from 1 without the batch axis: (1, 2) gives an image
        (height, width, channels) one slope for each channel, 1 a sequence (time, channels) likewise. By default
        each number of a sample has a slope of its own.
    alpha_initializer : str or initializer, default="zeros"
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, any shape.

    Attributes
    ----------
    alpha : as the input, with length 1 along shared axes
        The slopes; ``alpha`` of ``fit`` and weight_decay do not act on them.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input without one of the shared axes.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", ICCV 2015; there slopes begin at 0.25, here at 0, as in Keras.
    """

    def __init__(
        self, shared_axes: int | tuple[int, ...] | None = None, alpha_initializer: Any = "zeros", *,
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.shared_axes = check_axes(shared_axes)
        self.alpha_initializer = alpha_initializer
        get_initializer("PReLU", "alpha_initializer", alpha_initializer)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.prelu import prelu

        shared = self.shared_axes or ()
        if any(axis > len(input_shape) for axis in shared):
            raise ValueError(f"PReLU: shared_axes must be axes 1 .. {len(input_shape)} of the input {input_shape}, "
                             f"got {shared}.")
        slopes = tuple(1 if axis in shared else size for axis, size in enumerate(input_shape, 1))
        sizes, (strides,) = merged(tuple(input_shape), [slopes])
        if len(sizes) > MOST_AXES:
            raise ValueError(f"PReLU: shared_axes must change between shared and not at most {MOST_AXES - 1} times "
                             f"along the input {input_shape}, got {shared}.")
        # a slope of the activation is no weight of a sum: it does not decay
        alpha = Parameter("alpha", slopes, self.alpha_initializer, decays=False)
        return Built(tuple(input_shape), partial(prelu, sizes=sizes, strides=strides), (alpha,))
