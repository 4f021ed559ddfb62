from collections.abc import Callable
from typing import Any

from numpy import ndarray
from typing_extensions import disjoint_base

from ldl_cy._engine.loss import LossKernel

@disjoint_base
class CustomKernel(LossKernel):
    def __init__(
        self, fn: Callable[[ndarray, ndarray], tuple[Any, Any]], dtype: str, y_shape: tuple[int, ...],
        output_shape: tuple[int, ...], scale: float,
    ) -> None: ...
