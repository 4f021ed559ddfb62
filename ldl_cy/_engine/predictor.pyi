from typing import Any

from numpy import ndarray
from typing_extensions import disjoint_base

from ldl_cy._engine.program import Workspace

BLAS_THREADED_FLOPS: int

@disjoint_base
class Predictor:
    def __init__(
        self, workspace: Workspace, theta: ndarray, state: ndarray, input_shape: tuple[int, ...],
        output_shape: tuple[int, ...], most_rows: int,
    ) -> None: ...
    @property
    def most_rows(self) -> int: ...
    @property
    def abandoned(self) -> bool: ...
    def predict(self, X: Any, /) -> ndarray | None: ...
    def predict_flat(self, X: Any, /) -> ndarray | None: ...
