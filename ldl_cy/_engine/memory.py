"""The memory of a plan: which buffers hold the whole batch, and where each one begins."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ldl_cy._engine.first_fit import first_fit

ALIGN = 16                              # numbers: 64 bytes of float32
STAGGER = 16                            # between buffers, so that equal sizes do not alias in cache
MOST_NUMBERS = 1 << 60                  # of all buffers: C counts them, and their bytes, in 63 bits


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


def check_numbers(count: int) -> None:
    """A MemoryError for more numbers than C can count."""
    if count > MOST_NUMBERS:
        raise MemoryError(f"Sequential: a workspace must have at most {MOST_NUMBERS} numbers, got {count}.")


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
    # tiles share every buffer; columns[t] of the first t actions are in tiles
    columns = [0, *accumulate(tiled for first, last, tiled in phases for _ in range(first, last))]
    for buffer in buffers:
        if buffer.first >= 0 and columns[buffer.last + 1] > columns[buffer.first]:
            buffer.whole = True


def place(buffers: Sequence[Buffer], rows: int) -> tuple[int, int]:
    """Assign each buffer an offset: in a thread's arena, for blocks of ``rows`` rows, or in the whole-batch memory.

    The arena is shared by buffers whose lifetimes do not overlap: first fit, largest first.

    Returns
    -------
    arena : numbers a thread needs
    whole : numbers a row of the whole-batch buffers
    """
    whole = 0
    local = sorted((b for b in buffers if b.first >= 0 and not b.whole and b.size), key=lambda b: -b.size)
    sizes = [-(-b.size * rows // ALIGN) * ALIGN + STAGGER for b in local]
    check_numbers(sum(sizes))
    for buffer, offset in zip(local, first_fit(sizes, [b.first for b in local], [b.last for b in local]).tolist()):
        buffer.offset = offset
    arena = max((b.offset + size for b, size in zip(local, sizes)), default=0)
    for buffer in buffers:
        if buffer.first >= 0 and buffer.whole:
            buffer.offset = whole
            whole += buffer.size
    return arena, whole
