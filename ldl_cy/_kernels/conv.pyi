from ldl_cy._engine.op import Kernel

Pair = tuple[int, int]

SMALL_PRODUCT: int
BLOCK: int
FEW: int

def panel_size(k: int, n: int, most: int) -> int: ...
def conv(
    dtype: str, *, image: tuple[int, int, int], kernel: Pair, strides: Pair, dilation: Pair, padding: Pair,
    output: Pair, filters: int, groups: int = 1, activation: str = "identity", use_bias: bool = True,
) -> Kernel: ...
