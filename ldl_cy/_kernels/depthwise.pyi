from ldl_cy._engine.op import Kernel

Pair = tuple[int, int]

def depthwise(
    dtype: str, *, image: tuple[int, int, int], kernel: Pair, strides: Pair, dilation: Pair, padding: Pair,
    output: Pair, activation: str = "identity", use_bias: bool = True,
) -> Kernel: ...
