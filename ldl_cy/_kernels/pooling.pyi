from ldl_cy._engine.op import Kernel

_Pair = tuple[int, int]

MASKED: tuple[str, ...]

def is_2x2_pool(kernel: _Pair, strides: _Pair, padding: _Pair, image: tuple[int, ...], output: _Pair) -> bool: ...
def pool(
    dtype: str, *, kind: str, image: tuple[int, int, int], kernel: _Pair, strides: _Pair, padding: _Pair, output: _Pair,
    sequence: bool = False,
) -> Kernel: ...
