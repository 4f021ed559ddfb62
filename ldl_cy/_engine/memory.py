"""The memory of a plan: which buffers hold the whole batch, and where each one begins."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGN = 16                              # numbers: 64 bytes of float32
STAGGER = 16                            # between buffers, so that equal sizes do not alias in cache


@dataclass
class Buffer:
    """A piece of workspace: ``size`` numbers a row."""

    size: int
    first: int = -1                     # actions between which it is alive
    last: int = -1
    deferred: bool = False              # read by a gradient in the last phase: whole, but made block by block
    whole: bool = False                 # lives across a barrier
    offset: int = -1                    # in the thread's arena (rows R) or in the whole-batch memory

    def touch(self, time: int) -> None:
        self.first = time if self.first < 0 else self.first
        self.last = max(self.last, time)


def keep_across_barriers(buffers: Sequence[Buffer], phases: Sequence[tuple[int, int, bool]]) -> None:
    """Mark the buffers that hold the whole batch: they live in several phases, or in one in tiles of columns.

    Parameters
    ----------
    phases : of (first action, last + 1, whether it is in tiles of columns)
    """
    phase_of = [p for p, (first, last, _) in enumerate(phases) for _ in range(first, last)]
    for buffer in buffers:
        if buffer.first >= 0 and phase_of[buffer.first] != phase_of[buffer.last]:
            buffer.whole = True
        buffer.deferred = buffer.deferred and not buffer.whole
    for first, last, columns in phases:
        if columns:                     # tiles share every buffer
            for buffer in buffers:
                if buffer.first >= 0 and buffer.first < last and buffer.last >= first:
                    buffer.whole = True


def place(buffers: Sequence[Buffer], rows: int) -> tuple[int, int]:
    """Assign each buffer an offset: in a thread's arena, for blocks of ``rows`` rows, or in the whole-batch memory.

    The arena is shared by buffers whose lifetimes do not overlap: first fit, largest first.

    Returns
    -------
    arena : numbers a thread needs
    whole : numbers a row of the whole-batch buffers
    """
    arena = whole = 0
    placed: list[tuple[int, int, Buffer]] = []
    local = [b for b in buffers if b.first >= 0 and not b.whole and b.size]
    for buffer in sorted(local, key=lambda b: -b.size):
        size = -(-buffer.size * rows // ALIGN) * ALIGN + STAGGER
        start = 0
        for low, high, other in sorted(placed, key=lambda p: p[0]):
            if other.last < buffer.first or buffer.last < other.first:
                continue
            if start + size <= low:
                break
            start = max(start, high)
        buffer.offset = start
        placed.append((start, start + size, buffer))
        arena = max(arena, start + size)
    for buffer in buffers:
        if buffer.first >= 0 and buffer.whole:
            buffer.offset = whole
            whole += buffer.size
    return arena, whole
