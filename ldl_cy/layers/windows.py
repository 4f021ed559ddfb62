"""Windows of convolution and pooling: checks of their arguments, and their positions along the axes."""
from __future__ import annotations

from typing import Any

from ldl_cy.checks import check_int, check_ints
from ldl_cy.layers.base import Shape
from ldl_cy.messages import shown

Padding = str | int | tuple[int, ...] | tuple[tuple[int, int], ...]
LONGEST_AXIS = 2**31 - 1            # so that C's integers hold every place in a window
AXES = {1: "(time, features)", 2: "(height, width, channels)"}


def check_sizes(owner: str, name: str, value: Any, axes: int) -> Any:
    """An int >= 1, with two axes also a pair; returned unchanged, but lists as tuples."""
    if axes == 1:
        return check_int(owner, name, value)
    sizes = check_ints(owner, name, value, axes)
    return sizes if isinstance(value, (tuple, list)) else sizes[0]


def check_padding(owner: str, padding: Any, axes: int, names: tuple[str, ...] = ("valid", "same")) -> Any:
    """A name, an int >= 0 or a pair of them, with two axes also a pair of pairs; lists are returned as tuples.

    With one axis a pair is (before, after). With two a pair has the same number on both sides of each axis, and a pair
    of pairs is ((top, bottom), (left, right)).
    """
    known = "".join(f"{name!r}, " for name in names)
    forms = ("an int >= 0 or a pair (before, after) of them" if axes == 1
             else "an int >= 0, a pair of them or ((top, bottom), (left, right))")
    text = f"{owner}: padding must be {known}{forms}, got {shown(padding)}."
    if isinstance(padding, str):
        if padding not in names:
            raise ValueError(text)
        return padding
    several = isinstance(padding, (tuple, list))
    try:
        if axes == 2 and several and len(padding) == 2 and all(isinstance(one, (tuple, list)) for one in padding):
            return tuple(check_ints(owner, "padding", one, 2, 0) for one in padding)
        sizes = check_ints(owner, "padding", padding, 2, 0)
    except (TypeError, ValueError) as error:
        raise type(error)(text) from None
    return sizes if several else sizes[0]


def pads(padding: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """(before, after) of each axis, of a padding in numbers."""
    given = (padding,) if axes == 1 else padding if isinstance(padding, tuple) else (padding, padding)
    return tuple(one if isinstance(one, tuple) else (one, one) for one in given)


def pair(value: Any, axes: int) -> tuple[int, int]:
    """(along the height, along the width); with one axis, that of the width of an image of height 1."""
    if axes == 1:
        return 1, value
    return value if isinstance(value, tuple) else (value, value)


def image_shape(owner: str, input_shape: Shape, axes: int) -> tuple[int, int, int]:
    """(h, w, c) of an input; a sequence is an image of height 1."""
    if len(input_shape) != axes + 1:
        raise ValueError(f"{owner}: the input must have the shape {AXES[axes]}, got {tuple(input_shape)}.")
    return (1, *input_shape) if axes == 1 else tuple(input_shape)  # type: ignore[return-value]


def place(n: int, size: int, stride: int, dilation: int, padding: Any) -> tuple[int, int, int]:
    """(padding before the axis, length of the padded axis, number of windows) for an axis of length n."""
    reach = (size - 1) * dilation + 1
    if padding == "same":
        # ceil(n / stride) windows; the odd cell of padding is at the end
        total = max((-(-n // stride) - 1) * stride + reach - n, 0)
        before = total // 2
    elif padding == "causal":
        # a window covers its own cell and those before it
        total = before = reach - 1
    elif padding == "valid":
        before = total = 0
    else:
        before, total = padding[0], sum(padding)
    return before, n + total, (n + total - reach) // stride + 1


def keeps_steps(windows: dict[str, Any], axes: int) -> bool | None:
    """``Built.keeps_steps`` of windows: with strides along the first axis, outputs are not those of the steps."""
    first = 2 - axes
    return False if windows["strides"][first] > 1 and windows["image"][first] > 1 else None


def lay_windows(
    owner: str, name: str, image: tuple[int, int, int], axes: int, size: Any, strides: Any, dilation: Any,
    padding: Any,
) -> dict[str, Any]:
    """The geometry of windows on an image, as kernels take it; a ValueError if no window fits."""
    kernel, steps, dilations = pair(size, axes), pair(strides, axes), pair(dilation, axes)
    around = (padding,) * axes if isinstance(padding, str) else pads(padding, axes)
    around = ("valid", *around)[-2:]
    before, padded, output = zip(*map(place, image[:2], kernel, steps, dilations, around))
    largest = max(*kernel, *steps, *dilations, *padded)
    if largest > LONGEST_AXIS:
        raise ValueError(f"{owner}: {name}, strides, dilations and the padded input's axes must be at most "
                         f"{LONGEST_AXIS}, got {largest}.")
    if min(output) < 1:
        reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations))
        window, dilated, into = (t if axes == 2 else t[1] for t in (kernel, reach, padded))
        raise ValueError(
            f"{owner}: {name} {window}{'' if reach == kernel else f' (dilated {dilated})'} does not fit into "
            f"the padded input {into}.")
    return {"image": image, "kernel": kernel, "strides": steps, "padding": before, "output": output}
