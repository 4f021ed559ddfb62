"""The memory that this process may still take."""
from __future__ import annotations

import os
from pathlib import Path

WHERE_UNKNOWN = 1 << 31         # bytes, on systems that do not say
# files of a control group, version 2 and version 1: the most it grants, what is taken, its statistics; and the name in
# these of the bytes of cached files, which it would give up first
CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def available_bytes() -> int:
    """The smallest of what the system has available and what the control group still grants.

    Where the system does not tell what is available, half of its memory; where it tells nothing, 2 GiB.
    """
    return min([_of_system(), *_of_cgroups()])


def _of_system() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, OSError, ValueError):       # not on Windows
            return WHERE_UNKNOWN


def _of_cgroups(folder: Path = Path("/sys/fs/cgroup")) -> list[int]:
    found = []
    for most, taken, statistics, given_up in CGROUPS:
        try:
            lines = (folder / statistics).read_text().splitlines()
            files = next((int(line.split()[1]) for line in lines if line.startswith(f"{given_up} ")), 0)
            used = int((folder / taken).read_text()) - files
            found.append(max(0, int((folder / most).read_text()) - used))
        except (OSError, ValueError):                       # no such group, or "max"
            continue
    return found
