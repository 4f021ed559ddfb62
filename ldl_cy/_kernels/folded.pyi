from collections.abc import Callable

from ldl_cy._engine.op import Kernel

def with_norm(make: Callable[..., Kernel], f: int, use_bias: bool, after: Kernel) -> Kernel | None: ...
def with_activation(
    make: Callable[..., Kernel], f: int, use_bias: bool, epsilon: float, after: Kernel,
) -> Kernel | None: ...
def with_pooling(
    inner: Kernel, f: int, use_bias: bool, epsilon: float, after: Kernel, rows: int,
) -> Kernel | None: ...
