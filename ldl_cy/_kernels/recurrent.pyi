from ldl_cy._engine.op import Kernel

def recurrent(
    dtype: str, *, cell: str, n_steps: int, n_in: int, units: int, activation: str = "tanh", leak: float = 1.0,
    return_sequences: bool = False, go_backwards: bool = False, use_bias: bool = True,
) -> Kernel: ...
