"""Forward actions that do not depend on one another: branches, which threads can run at the same time.

    x --> [a0 a1] --.                a0 a1 | b0 | c0 c1      three branches in the line of actions
     \\--> [b0]    ---> d
      \\-> [c0 c1] -'

The branches of a fork are consecutive in the line. Each reads only values that were computed before the fork or by the
branch itself, so that they can run at the same time, provided that their buffers share no memory.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_FORK = 64                       # actions; the limit makes the search linear in the length of the line


@dataclass
class Fork:
    """Consecutive branches: the positions in the line where they begin, and where the last one ends."""

    edges: tuple[int, ...]
    flops: float                        # per row, of all branches but the longest: the most that threads can save


def find_forks(
    reads: Sequence[Sequence[int]], writes: Sequence[int], flops: Sequence[float], least_flops: float,
) -> list[Fork]:
    """Find the forks of a line of forward actions that can save at least ``least_flops``.

    Parameters
    ----------
    reads : sequence of sequences of int
        The buffers that each action reads.
    writes : sequence of int
        The buffer that each action writes.
    flops : sequence of float
        The flops of each action, per row.
    least_flops : float
        Per row; see ``Fork.flops``.

    Returns
    -------
    list of Fork, in the order of the line; none overlap
    """
    readers = Counter(v for values in reads for v in set(values))
    forks: list[Fork] = []
    start = 0
    while start < len(reads):
        fork = None
        # a fork can only begin at a value that several actions read
        if any(readers[v] > 1 for v in reads[start]):
            fork = fork_at(start, reads, writes, flops)
        if fork is not None and fork.flops >= least_flops:
            forks.append(fork)
            start = fork.edges[-1]
        else:
            start += 1
    return forks


def fork_at(
    start: int, reads: Sequence[Sequence[int]], writes: Sequence[int], flops: Sequence[float],
) -> Fork | None:
    """The longest fork whose first branch begins at ``start``."""
    edges: list[int] = []
    sums: list[float] = []
    branch_of: dict[int, int] = {}      # buffer -> the branch that writes it
    end = start
    while end < min(len(reads), start + LONGEST_FORK):
        needed = {branch_of[v] for v in reads[end] if v in branch_of}
        own = len(edges) - 1 if needed else len(edges)
        # the action reads what another branch writes, or both write parts of one value
        if needed - {own} or branch_of.setdefault(writes[end], own) != own:
            break
        if own == len(edges):
            edges.append(end)
            sums.append(0.0)
        sums[own] += flops[end]
        end += 1
    return Fork((*edges, end), sum(sums) - max(sums)) if len(edges) > 1 else None
