from typing import Any

from ldl_cy._engine.op import Kernel

BOUNDS: dict[str, tuple[float, float]]

def batch_norm(
    dtype: str, *, n_steps: int, inner: int, k: int, momentum: float, epsilon: float, activation: str = "identity",
    slope: float = 1.0, image: tuple[int, int] | None = None, adds: bool = False,
) -> Kernel: ...
def with_next(
    dtype: str, settings: dict[str, Any], activation: str, slope: float, adds: bool, after: Kernel, rows: int,
) -> Kernel | None: ...
