from ldl_cy._engine.op import Kernel

TILE_BYTES: int
TILE_COLUMNS: int
TILE_ROWS: int

def dense(
    dtype: str, *, steps: int, n_in: int, n_out: int, activation: str = "identity", use_bias: bool = True,
) -> Kernel: ...
