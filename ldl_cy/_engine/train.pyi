from typing import Any, final

from numpy import ndarray

from ldl_cy._engine.collectives import Exchange
from ldl_cy._engine.loss import LossKernel
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.rule import Rule
from ldl_cy._engine.sparse import SparseRows
from ldl_cy._engine.version import VersionCounter

DONE: int
CONVERGED: int
NON_FINITE: int
STOPPED: int

def train(
    ws: Workspace, theta: ndarray, slots: ndarray, state: ndarray, X: ndarray | SparseRows, targets: ndarray,
    weights: ndarray | None, loss: LossKernel, rule: Rule, coef: ndarray, *, batch_size: int, epochs: int,
    order: ndarray | None, reshuffle: bool, seed: int, epoch: int, step: int, losses: ndarray, pool: Pool,
    lengths: ndarray | None = None, before: float = ..., counts: Any = None, partial: bool = False,
    updated: ndarray | None = None, carried: ndarray | None = None,
    exchange: Exchange | None = None,
) -> tuple[int, int, float, BaseException | None]: ...

@final
class SwappedAverage:
    def __init__(self, theta: ndarray, version: VersionCounter, optimizer: Any) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> None: ...
