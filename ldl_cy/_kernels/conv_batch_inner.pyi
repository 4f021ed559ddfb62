from typing import Any

from ldl_cy._engine.op import Kernel

_Pair = tuple[int, int]

FEW_ROWS: int
GROUP: int
GROUP_GAIN: float
MANY_CHANNELS: int
FEW_FILTERS: int
FEW_REGISTERS: tuple[str, ...]
FEWER_FILTERS: int
LARGE_TILE: int

def few_rows(dtype: str, filters: int) -> int: ...
def conv_batch_inner(
    dtype: str, *, image: tuple[int, int, int], kernel: _Pair, strides: _Pair, dilation: _Pair, padding: _Pair,
    output: _Pair, filters: int, activation: str = "identity", use_bias: bool = True, pooling: Kernel | None = None,
    few: int | None = None,
) -> Kernel: ...
def choose_conv(dtype: str, **settings: Any) -> Kernel: ...
def with_pooling(settings: dict[str, Any], dtype: str, after: Kernel, rows: int) -> Kernel | None: ...
