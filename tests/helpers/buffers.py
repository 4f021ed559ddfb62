"""Arrays in the middle of longer ones, whose other numbers must stay."""
from __future__ import annotations

from typing import Any

import numpy as np

MARK = 12345                    # of the numbers around an array; float32 holds it


class Guarded:
    """Makes guarded arrays of one dtype; ``check`` is for all that were made.

    >>> guarded = Guarded("float32")
    >>> y = guarded.empty(3, 4)
    >>> guarded.check()
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.wholes: list[tuple[str, np.ndarray, np.ndarray]] = []

    def __call__(self, values: Any, before: int = 5, name: str = "") -> np.ndarray:
        """A contiguous array with these values, ``before`` numbers in front of it: with 5 it is not aligned."""
        values = np.asarray(values, dtype=self.dtype)
        whole = np.full(before + values.size + 40, MARK, dtype=self.dtype)
        inside = np.zeros(whole.size, bool)
        inside[before:before + values.size] = True
        return self._placed(name, whole, inside, whole[before:before + values.size].reshape(values.shape), values)

    def rows(self, values: Any, gap: int = 0, name: str = "") -> np.ndarray:
        """A matrix with ``gap`` numbers between its rows."""
        values = np.asarray(values, dtype=self.dtype)
        n, k = values.shape
        whole, inside = np.full((n + 2, k + gap), MARK, dtype=self.dtype), np.zeros((n + 2, k + gap), bool)
        inside[1:n + 1, :k] = True
        return self._placed(name, whole, inside, whole[1:n + 1, :k], values)

    def _placed(self, name: str, whole: np.ndarray, inside: np.ndarray, inner: np.ndarray,
                values: np.ndarray) -> np.ndarray:
        inner[...] = values
        self.wholes.append((name, whole, ~inside))
        return inner

    def empty(self, *shape: int) -> np.ndarray:
        """NaN, where a result is to be written."""
        return self(np.full(shape, np.nan))

    def check(self) -> None:
        """Nothing was written outside of an array."""
        for name, whole, outside in self.wholes:
            assert (whole[outside] == MARK).all(), f"{name or 'an array'} was left"
