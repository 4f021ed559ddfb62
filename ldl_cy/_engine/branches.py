"""Which forward actions of a line do not wait for one another: branches, which threads may share.

    x --> [a0 a1] --.                a0 a1 | b0 | c0 c1      three branches in the line of actions
     \\--> [b0]    ---> d
      \\-> [c0 c1] -'

The branches of one fork are neighbours in the line. What a branch reads was made before the fork or by itself, and what
it makes is read by no other branch. So they may run at the same time, if no two of their buffers share memory.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_FORK = 64                       # actions: so that the search takes time in proportion to the line's length


@dataclass
class Fork:
    """Neighbouring branches: the places in the line where they begin, and where the last one ends."""

    edges: tuple[int, ...]
    flops: float                        # of all branches but the longest, over one row: what threads may save


def find_forks(
    reads: Sequence[Sequence[int]], writes: Sequence[int], flops: Sequence[float], least_flops: float,
) -> list[Fork]:
    """The forks of a line of forward actions, one after the other, that save so many flops of a row or more.

    Parameters
    ----------
    reads, writes : buffers that each action reads, and the one that it writes
    flops : of each action, over one row
    """
    readers = Counter(v for values in reads for v in set(values))
    forks: list[Fork] = []
    start = 0
    while start < len(reads):
        fork = None
        # a branch begins where several read the same value
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
    branch_of: dict[int, int] = {}      # buffer -> the branch that makes it
    end = start
    while end < min(len(reads), start + LONGEST_FORK):
        needed = {branch_of[v] for v in reads[end] if v in branch_of}
        own = len(edges) - 1 if needed else len(edges)
        # it reads what another branch makes, or both write a part of one value
        if needed - {own} or branch_of.setdefault(writes[end], own) != own:
            break
        if own == len(edges):
            edges.append(end)
            sums.append(0.0)
        sums[own] += flops[end]
        end += 1
    return Fork((*edges, end), sum(sums) - max(sums)) if len(edges) > 1 else None
