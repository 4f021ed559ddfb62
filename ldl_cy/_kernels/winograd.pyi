from typing import Any

from ldl_cy._engine.op import Kernel

_Pair = tuple[int, int]

LEAST_BLOCK_BYTES: int
MOST_BLOCK_BYTES: int
LEAST_TILES: int

def tile_size(oh: int, ow: int) -> int: ...
def saving(oh: int, ow: int) -> float: ...
def block_size(c: int, f: int, places: int, itemsize: int, tiles: int) -> int: ...
def winograd(
    dtype: str, *, image: tuple[int, int, int], padding: _Pair, output: _Pair, filters: int,
    activation: str = "identity", use_bias: bool = True, pool: bool = False,
) -> Kernel: ...
def with_pooling(dtype: str, settings: dict[str, Any], after: Kernel, rows: int) -> Kernel | None: ...
