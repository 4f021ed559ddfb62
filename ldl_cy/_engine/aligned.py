"""Arrays that begin on a cache line: what a Workspace's memory is made of."""
from __future__ import annotations

import numpy as np

MOST_BYTES = 1 << 47                    # that a process can address


def lines(size: int) -> int:
    """``size`` rounded up to whole cache lines, and one line more."""
    return -(-size // 16) * 16 + 16


def aligned(size: int, dtype: str) -> np.ndarray:
    """An array of zeros that begins on a cache line."""
    n_bytes = size * np.dtype(dtype).itemsize
    if n_bytes > MOST_BYTES:
        raise no_memory(n_bytes)
    try:
        raw = np.zeros(n_bytes + 64, np.uint8)
    except MemoryError:
        raise no_memory(n_bytes) from None
    start = -raw.ctypes.data % 64
    return raw[start:start + n_bytes].view(dtype)


def no_memory(n_bytes: int) -> MemoryError:
    """The error of a workspace that is too large."""
    size = f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"
    return MemoryError(f"Sequential: a workspace of {size} does not fit into memory; summary() shows how much a sample "
                       "takes.")
