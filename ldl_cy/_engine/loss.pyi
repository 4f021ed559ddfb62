from typing import Any

from numpy import ndarray
from typing_extensions import disjoint_base

@disjoint_base
class LossKernel:
    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def python(self) -> bool: ...
    @property
    def target_size(self) -> int: ...
    def __call__(
        self, y: Any, t: Any, w: Any = None, scale: float = 1.0, *, gradient: str = "new",
    ) -> tuple[float, ndarray | None]: ...
