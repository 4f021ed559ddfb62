from ldl_cy._engine.op import Kernel

_Pair = tuple[int, int]

def depthwise(
    dtype: str, *, image: tuple[int, int, int], kernel: _Pair, strides: _Pair, dilation: _Pair, padding: _Pair,
    output: _Pair, activation: str = "identity", use_bias: bool = True,
) -> Kernel: ...
