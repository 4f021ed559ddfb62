from ldl_cy._engine.op import Kernel

def layer_norm_axes(
    dtype: str, *, sizes: tuple[int, ...], groups: tuple[int, ...], params: tuple[int, ...], epsilon: float,
    n_steps: int = 0,
) -> Kernel: ...
