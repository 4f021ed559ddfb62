"""The number of threads, and the limit of BLAS to one thread while the engine runs."""
from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from ldl_cy._engine.blas_threads import BlasLimit, register
from ldl_cy._engine.process import count_fits, count_forks
from ldl_cy.checks import check_int

T = TypeVar("T")
MOST_THREADS = 256              # each thread takes memory; results do not depend on the number



class ProcessLock:
    """A lock of this process; in a forked child, where the thread that held it may not exist, it is another one."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    @property
    def lock(self) -> threading.Lock:
        """For a ``with`` statement."""
        return self._locks.setdefault(count_forks(), threading.Lock())


class OwnLimits(threading.local):
    """Limits of BLAS by the calling thread, which in a forked child are the only ones."""

    count = 0


_lock = ProcessLock()
_others: list[Any] | None = None    # threadpoolctl's controllers of BLAS libraries that BlasLimit cannot limit
_limits = 0                         # calls that limit these libraries now
_own_limits = OwnLimits()
_before: list[int] = []
_LIMIT = BlasLimit()


def available_threads() -> int:
    """The number of processors that affinity, cgroup, OMP_NUM_THREADS and OPENBLAS_NUM_THREADS grant this process."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:                      # not on macOS and Windows
        count = os.cpu_count() or 1
    count = min(count, _cgroup_quota())
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            count = min(count, int(value))
    return max(1, count)


@functools.cache
def _cgroup_quota() -> int:
    """The number of processors that the control group grants (v2, then v1); a large number if there is no quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            folder = Path("/sys/fs/cgroup/cpu")
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 1 << 30
    if quota == "max" or int(quota) <= 0:
        return 1 << 30
    return max(1, math.ceil(int(quota) / int(period)))


def choose_threads(owner: str, n_threads: int | None) -> int:
    """``n_threads``, at most ``MOST_THREADS``; None is all available, or 1 while another fit runs in this process."""
    if n_threads is not None:
        return min(check_int(owner, "n_threads", n_threads), MOST_THREADS)
    return 1 if count_fits() else available_threads()


def find_blas() -> bool:
    """Find the BLAS libraries of this process, once; True if BlasLimit can limit all of them."""
    global _others
    if _others is None:
        import scipy.linalg.cython_blas  # noqa: F401  loads the library
        from threadpoolctl import ThreadpoolController

        with _lock.lock:
            if _others is None:
                _others = [c for c in ThreadpoolController().lib_controllers
                           if c.user_api == "blas" and not _register(c)]
    return not _others


def _register(controller: Any) -> bool:
    """Register an OpenBLAS library with BlasLimit if it has its own threads; False if it needs threadpoolctl."""
    if controller.internal_api != "openblas" or controller.threading_layer != "pthreads":
        return controller.internal_api == "openblas" and controller.threading_layer == "disabled"
    for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
        try:
            functions = [getattr(controller.dynlib, f"{prefix}openblas_{verb}_num_threads{suffix}")
                         for verb in ("get", "set")]
        except AttributeError:
            continue
        get, put = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in functions)
        return register(get, put)
    return False


def blas_at_one_thread() -> AbstractContextManager[Any]:
    """Context manager: limits BLAS to one thread; the first of concurrent calls sets it, the last one restores it."""
    return _LIMIT if find_blas() else limiting_others(_LIMIT)


@contextmanager
def limiting_others(inner: AbstractContextManager[T]) -> Iterator[T]:
    """Context manager: ``inner``, with the libraries limited that need threadpoolctl for it."""
    global _limits, _before
    others = _others or []
    with _lock.lock:
        if _limits == 0:
            _before = [c.num_threads for c in others]
            for c in others:
                c.set_num_threads(1)
        _limits += 1
        _own_limits.count += 1
    try:
        with inner as value:
            yield value
    finally:
        with _lock.lock:
            _limits -= 1
            _own_limits.count -= 1
            if _limits == 0:
                _restore_others()


def _restore_others() -> None:
    for c, count in zip(_others or [], _before):
        if count:
            c.set_num_threads(count)


def _after_fork() -> None:
    """In a forked child: the other threads' limits are gone."""
    global _limits
    limited, _limits = _limits, _own_limits.count
    if limited and not _limits:
        _restore_others()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
