"""Ranges: the trainable numbers of vectors as long as all weights."""
from __future__ import annotations

import numpy as np


class Ranges:
    """The trainable ranges of vectors as long as all weights.

    Parameters
    ----------
    ranges : (m, 2) ints, ascending

    Attributes
    ----------
    size : int, of what they hold
    views : bool, whether a part is a view: there is one range or none
    """

    def __init__(self, ranges: np.ndarray) -> None:
        self._slices = [slice(int(low), int(high)) for low, high in ranges] or [slice(0, 0)]
        self.size, self.views = sum(s.stop - s.start for s in self._slices), len(self._slices) == 1

    def part(self, vectors: np.ndarray) -> np.ndarray:
        """The numbers in the ranges, along the last axis."""
        parts = [vectors[..., s] for s in self._slices]
        return parts[0] if self.views else np.concatenate(parts, axis=-1)

    def write(self, vectors: np.ndarray, part: np.ndarray) -> None:
        """Set the numbers in the ranges, along the last axis."""
        start = 0
        for s in self._slices:
            stop = start + s.stop - s.start
            vectors[..., s] = part[..., start:stop]
            start = stop
