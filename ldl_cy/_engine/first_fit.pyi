from collections.abc import Sequence

from numpy import ndarray

def first_fit(sizes: Sequence[int], begins: Sequence[int], ends: Sequence[int]) -> ndarray: ...
