"""How many threads work, and BLAS held at one thread while they do."""
from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ldl_cy.checks import check_int

_lock = threading.Lock()
_fits = 0                       # fits running in this process
_holds = 0                      # calls that hold BLAS at one thread
_controllers: list[Any] | None = None
_before: list[int] = []


def available_threads() -> int:
    """Processors this process may use: affinity, the cgroup's quota, OMP_NUM_THREADS, OPENBLAS_NUM_THREADS."""
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
    """Processors that the control group grants (v2, then v1); a large number without one."""
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
    """The number asked for; None is all that are available, or 1 while another fit runs in this process."""
    if n_threads is not None:
        return check_int(owner, "n_threads", n_threads)
    return 1 if _fits else available_threads()


@contextmanager
def running_fit() -> Iterator[None]:
    """Counts the fits of this process: a second one takes one thread by default."""
    global _fits
    with _lock:
        _fits += 1
    try:
        yield
    finally:
        with _lock:
            _fits -= 1


def _blas() -> list[Any]:
    """Handles of the BLAS libraries in this process, found once."""
    global _controllers
    if _controllers is None:
        import scipy.linalg.cython_blas  # noqa: F401  loads the library
        from threadpoolctl import ThreadpoolController

        _controllers = [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]
    return _controllers


@contextmanager
def blas_at_one_thread() -> Iterator[None]:
    """Hold BLAS at one thread. The first of several calls at a time sets it, the last one restores it."""
    global _holds, _before
    with _lock:
        if _holds == 0:
            _before = [c.num_threads for c in _blas()]
            for c in _blas():
                c.set_num_threads(1)
        _holds += 1
    try:
        yield
    finally:
        with _lock:
            _holds -= 1
            if _holds == 0:
                for c, count in zip(_blas(), _before):
                    if count:
                        c.set_num_threads(count)
