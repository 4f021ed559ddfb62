from ldl_cy._engine.op import Kernel
from ldl_cy.layers.custom import Custom

Shape = tuple[int, ...]

def custom(
    dtype: str, *, layer: Custom, input_shape: Shape, output_shape: Shape, parameters: tuple[tuple[str, Shape], ...],
) -> Kernel: ...
