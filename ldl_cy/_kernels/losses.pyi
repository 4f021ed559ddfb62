from ldl_cy._engine.loss import LossKernel

KINDS: dict[str, int]
CODED: tuple[str, ...]

def make_loss(
    name: str, dtype: str, *, steps: int, k: int, scale: float, option: float = 0.0,
) -> LossKernel: ...
