from ldl_cy._engine.op import Kernel

Pair = tuple[int, int]

def halves(kernel: Pair, strides: Pair, padding: Pair, image: tuple[int, int, int], output: Pair) -> bool: ...
def pool(
    dtype: str, *, kind: str, image: tuple[int, int, int], kernel: Pair, strides: Pair, padding: Pair, output: Pair,
    sequence: bool = False,
) -> Kernel: ...
