from collections.abc import Callable, Sequence
from typing import Any

from numpy import ndarray
from typing_extensions import disjoint_base

from ldl_cy._engine.program import Workspace
from ldl_cy._engine.version import VersionCounter

BLAS_THREADED_FLOPS: int

@disjoint_base
class Predictor:
    def __init__(
        self, workspace: Workspace, theta: ndarray, state: ndarray, version: VersionCounter,
        input_shape: tuple[int, ...], output_shape: tuple[int, ...], most_rows: int, rows_alone: int,
        checks: Sequence[Callable[[ndarray], None]] = (),
    ) -> None: ...
    @property
    def most_rows(self) -> int: ...
    @property
    def rows_alone(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def most_threads(self) -> int: ...
    @property
    def abandoned(self) -> bool: ...
    def predict(self, X: Any, n_threads: Any = None, /) -> ndarray | None: ...
    def predict_flat(self, X: Any, n_threads: Any = None, /) -> ndarray | None: ...
