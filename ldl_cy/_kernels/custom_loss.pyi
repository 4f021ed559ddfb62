from collections.abc import Callable
from typing import Any

from numpy import ndarray

from ldl_cy._kernels.losses import LossKernel

class CustomKernel(LossKernel):
    def __init__(
        self, fn: Callable[[ndarray, ndarray], tuple[Any, Any]], dtype: str, y_shape: tuple[int, ...],
        output_shape: tuple[int, ...], scale: float,
    ) -> None: ...
