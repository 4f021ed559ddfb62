from typing import Any

from ldl_cy._engine.op import Kernel

def layer_norm(
    dtype: str, *, vectors: int, k: int, epsilon: float, n_steps: int = 0, activation: str = "identity",
    slope: float = 1.0,
) -> Kernel: ...
def with_activation(dtype: str, settings: dict[str, Any], after: Kernel, rows: int) -> Kernel | None: ...
