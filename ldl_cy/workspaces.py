"""Memory and threads of a call: a cache of workspaces, and the pool that runs the tasks."""
from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import SHARED_FLOPS, Workspace
from ldl_cy.threads import ProcessLock, find_blas, limiting_others

MOST_KINDS = 8                      # kinds of workspaces that a network keeps
PREDICT_ROWS = 1024                 # of a plan for inference, whose buffers may hold the whole batch
FEW_ROWS = (1, 32)                  # memory is planned for 1 row, for up to 32, or for any number
CALLING_THREAD = Pool(1)

Self = TypeVar("Self", bound="Borrower")


class WorkspaceCache:
    """Workspaces by the key for which they were planned. A workspace serves one call at a time and is reused."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._free: dict[Hashable, list[Workspace]] = {}

    def __len__(self) -> int:
        """The number of kinds in the cache."""
        return len(self._free)

    def borrow(self, key: Hashable, make: Callable[[], Workspace]) -> BorrowedWorkspace:
        """A free workspace of this kind, or a new one from ``make``, for a ``with`` statement."""
        with self._lock.lock:
            free = self._free.setdefault(key, [])
            workspace = free.pop() if free else None
        return BorrowedWorkspace(make() if workspace is None else workspace, self, free)

    def give_back(self, workspace: Workspace, free: list[Workspace]) -> None:
        """Return a workspace to the free ones of its kind; beyond ``MOST_KINDS`` the oldest kinds are dropped."""
        with self._lock.lock:
            free.append(workspace)
            while len(self._free) > MOST_KINDS:
                self._free.pop(next(iter(self._free)))


class BorrowedWorkspace:
    """``with cache.borrow(...) as workspace:`` returns it to the cache at the end."""

    def __init__(self, workspace: Workspace, cache: WorkspaceCache, free: list[Workspace]) -> None:
        self.workspace, self.cache, self.free = workspace, cache, free

    def __enter__(self) -> Workspace:
        return self.workspace

    def __exit__(self, *exc: object) -> None:
        self.cache.give_back(self.workspace, self.free)


class Borrower:
    """Base class of objects used in a ``with`` statement, during which ``borrow``, a generator, is at its ``yield``."""

    def __enter__(self: Self) -> Self:
        self._borrowing = self.borrow()
        try:
            next(self._borrowing)
        except BaseException:       # a signal's handler may raise after all was borrowed
            self._borrowing.close()
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        self._borrowing.close()

    def borrow(self) -> Generator[None, None, None]:
        """Borrow, yield once, and return."""
        yield


def memory_rows(n: int) -> int | None:
    """The rows for which an inference call of n rows has memory: a few sizes, so that workspaces are used again.

    None is for any number; blocks of rows, and so the results, are the same for all sizes.
    """
    fewest, few = FEW_ROWS
    return fewest if n <= fewest else few if n <= few else None


def choose_pool(workspace: Workspace | None, n: int) -> AbstractContextManager[Pool]:
    """The pool for n rows: worker threads, or the calling thread if there is too little work to be shared, or none."""
    pool = CALLING_THREAD
    if workspace is not None and workspace.flops * n >= SHARED_FLOPS and not workspace.calls_python \
            and workspace.plan.shares(n):
        pool = Pool(workspace.n_threads)
    return pool if find_blas() else limiting_others(pool)
