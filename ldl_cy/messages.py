"""How a value appears in an error message, whatever it is: its repr, cut to a line or two."""
from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

LONGEST = 200               # characters of one object's repr, or of a string
MOST_ITEMS = 20             # of a list, a dict, an array


class _Short(reprlib.Repr):
    """The first items of containers, for objects their repr or, if that raises, the name of their class."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = self.maxarray = MOST_ITEMS
        self.maxstring = self.maxother = self.maxlong = LONGEST

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:          # Python writes no ints of thousands of digits
            return f"an int of {x.bit_length()} bits"

    def repr_ndarray(self, x: np.ndarray, level: int) -> str:
        if x.size > MOST_ITEMS:
            return f"an array of shape {x.shape} and dtype {str(x.dtype)[:LONGEST]}"
        return self.repr_instance(x, level)

    def repr_instance(self, x: Any, level: int) -> str:
        try:
            text = repr(x)
        except Exception:
            return f"<{type(x).__name__}>"
        return cut(text)


_SHORT = _Short()


def cut(text: str) -> str:
    """A string for an error message, without quotation marks and at most LONGEST characters of it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """The first MOST_ITEMS of several strings, and how many more there are."""
    more = len(items) - MOST_ITEMS
    return separator.join(items[:MOST_ITEMS]) + (f" and {more} more" if more > 0 else "")


def shown(value: Any) -> str:
    """The value for an error message: at most a few hundred characters, also if its ``__repr__`` raises."""
    try:
        text = _SHORT.repr(value)
    except Exception:           # of a container whose methods raise
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 4 * LONGEST else f"{text[:4 * LONGEST]}..."
