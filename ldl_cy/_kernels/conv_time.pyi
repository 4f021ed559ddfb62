from ldl_cy._engine.op import Kernel
from ldl_cy._kernels.time_bases import Basis

def conv_time(
    dtype: str, *, basis: Basis, steps: int, channels: int, left: int, output: int, dilation: int, filters: int,
    activation: str = "identity", use_bias: bool = True,
) -> Kernel: ...
