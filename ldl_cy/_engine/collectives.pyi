from collections.abc import Sequence
from typing import Any

import numpy as np

class Collectives:
    comm: Any
    rank: int
    size: int
    failure: tuple[int, bytes] | None
    def __init__(self, comm: Any) -> None: ...
    def agree(self, message: bytes = b"") -> bool: ...
    def concatenate(self, own: np.ndarray) -> np.ndarray | None: ...
    def total(
        self, nodes: np.ndarray, counts: Sequence[int], added: Sequence[tuple[int, int]],
    ) -> np.ndarray | None: ...
