from ldl_cy._engine.op import Kernel
from ldl_cy.layers.custom import Custom

_Shape = tuple[int, ...]

def custom(
    dtype: str, *, layer: Custom, input_shape: _Shape, output_shape: _Shape, parameters: tuple[tuple[str, _Shape], ...],
) -> Kernel: ...
