"""UpSampling1D and UpSampling2D: each step or pixel several times, as decoders need it. Copies, and no kernel."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ldl_cy.layers.base import Applied, Layer, Shape
from ldl_cy.layers.windows import check_sizes, image_shape, pair
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph

MOST_COPIES = 256               # along an axis: each is an instruction of the program


def repeated(graph: Graph, x: int, shape: Shape, times: int) -> int:
    """The numbers of value x, seen in this shape, with the last axis ``times`` times."""
    seen = graph.new_value(shape, graph.buffers[x], graph.steps[x])
    return seen if times == 1 else graph.concatenate([seen] * times)


class _UpSampling(Layer):
    """Base class of the layers that repeat along ``axes`` axes."""

    axes: int

    def __init__(self, size: int | tuple[int, int] = 2, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        owner = type(self).__name__
        self.size = check_sizes(owner, "size", size, self.axes)
        if max(pair(self.size, self.axes)) > MOST_COPIES:
            raise ValueError(f"{owner}: size must be at most {MOST_COPIES}, got {shown(size)}.")

    def output_activations(self, before: Applied, name: str) -> Applied:
        """Those of the input."""
        return before

    def connect(self, graph: Graph, x: int, name: str) -> int:
        owner, before = type(self).__name__, graph.shapes[x]
        h, w, c = image_shape(owner, before, self.axes)
        down, right = pair(self.size, self.axes)
        # (h, w, c) -> (h, w, right c), which are the numbers of (h, right w, c); then the same with rows of them
        wide = repeated(graph, x, before, right)
        tall = repeated(graph, wide, (h, w * right * c), down) if down > 1 else wide
        shape = (h * down, w * right, c)[-1 - self.axes:]
        y = graph.new_value(shape, graph.buffers[tall], graph.steps_after(x, shape, None, owner))
        graph.outputs[name] = y
        return y


class UpSampling1D(_UpSampling):
    """Each step of a sequence several times in a row, y[i] = x[i // size].

    Parameters
    ----------
    size : int from 1 to 256, default=2
        How many times.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (steps, channels), output (size · steps, channels). Lengths of sequences have no meaning after it, unless size
    is 1.

    Raises
    ------
    TypeError, ValueError
        A size of the wrong type or range; when the model is built, an input of another rank.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> Sequential([layers.UpSampling1D(3), layers.Conv1D(4, 3, padding="same")]).build((5, 2)).output_shape
    (15, 4)
    """

    axes = 1


class UpSampling2D(_UpSampling):
    """Each pixel of an image several times, y[i, j] = x[i // height, j // width]: the nearest one, without smoothing.

    Parameters
    ----------
    size : int from 1 to 256 or a pair (height, width) of them, default=2
        How many times along both axes, or along each.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (height, width, channels), output (size · height, size · width, channels).

    Raises
    ------
    TypeError, ValueError
        A size of the wrong type or range; when the model is built, an input of another rank.

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> decoder = [layers.Dense(49, "relu"), layers.Reshape((7, 7, 1)), layers.UpSampling2D(),
    ...            layers.Conv2D(8, 3, padding="same", activation="relu"), layers.UpSampling2D(),
    ...            layers.Conv2D(1, 3, padding="same")]
    >>> Sequential(decoder).build(16).output_shape
    (28, 28, 1)
    """

    axes = 2
