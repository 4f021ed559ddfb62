from numpy import ndarray
from typing_extensions import disjoint_base

from ldl_cy._engine.loss import LossKernel
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.sparse import SparseRows
from ldl_cy._engine.version import VersionCounter

SHARED_FLOPS: float

@disjoint_base
class Workspace:
    share_above: float
    def __init__(self, plan: Plan, n_threads: int = 1, lanes: tuple[int, int] | None = None) -> None: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def dtype(self) -> str: ...
    @property
    def n_params(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def y_size(self) -> int: ...
    @property
    def calls_python(self) -> bool: ...
    @property
    def flops(self) -> float: ...
    def predict(
        self, X: ndarray | SparseRows, out: ndarray | None, theta: ndarray, state: ndarray, pool: Pool,
        lengths: ndarray | None = None, version: VersionCounter | None = None,
    ) -> None: ...
    def evaluate(
        self, X: ndarray | SparseRows, targets: ndarray, weights: ndarray | None, theta: ndarray, state: ndarray,
        loss: LossKernel, pool: Pool, lengths: ndarray | None = None, version: VersionCounter | None = None,
    ) -> tuple[float, float]: ...
    def gradient(
        self, X: ndarray | SparseRows, targets: ndarray, weights: ndarray | None, theta: ndarray, state: ndarray,
        loss: LossKernel, grad: ndarray | None, pool: Pool, *, training: bool = False, seed: int = 0, epoch: int = 0,
        step: int = 0, dx: ndarray | None = None, lengths: ndarray | None = None, loss_scale: float | None = None,
    ) -> float: ...
    def lane_gradients(self) -> ndarray: ...
    def kept(self, buffer: int, n: int) -> ndarray: ...
