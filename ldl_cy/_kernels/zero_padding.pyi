from ldl_cy._engine.op import Kernel

def zero_padding(
    dtype: str, *, image: tuple[int, int, int], padding: tuple[tuple[int, int], ...],
) -> Kernel: ...
