"""The fixed tree: a batch is cut into shards, whose sums are the leaves of a binary tree, added from the bottom up.

The tree depends on the number of shards alone. A rank has some neighbouring leaves and adds what are complete nodes of
the tree; the nodes of all ranks are added in the tree's order. So sums have the same bits for any number of ranks.

    leaves    0   1   2   3   4   5   6   7         3 ranks have 0 1 | 2 3 4 | 5 6 7
               \\ /     \\ /     \\ /     \\ /          and add the nodes {0 1} | {2 3} {4} | {5} {6 7}
                 \\     /         \\     /
                    \\               /
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")


class Node(NamedTuple):
    """A node of the tree: ``count`` leaves, a power of two, from ``leaf``."""

    leaf: int
    count: int


def first_leaves(shards: int, size: int) -> list[int]:
    """The first leaf of each of ``size`` ranks, and the number of leaves: rank r has those from r to r + 1."""
    return [r * shards // size for r in range(size + 1)]


def cut(n: int, shards: int) -> np.ndarray:
    """Where each of the shards of n rows begins, and n: (shards + 1,) ints. Sizes differ by at most one."""
    return np.arange(shards + 1) * n // shards


def complete_nodes(first: int, last: int) -> list[Node]:
    """The largest complete nodes of leaves first .. last - 1, in their order."""
    nodes = []
    while first < last:
        # the largest power of two that divides first and fits
        count = first & -first or 1 << (last - 1).bit_length()
        while first + count > last:
            count //= 2
        nodes.append(Node(first, count))
        first += count
    return nodes


def additions(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """The order of the sums: pairs (i, j) for ``node i += node j``, until no two neighbours have the same parent.

    A sum stays at the place of its first node. All leaves of a tree leave the whole sum at 0.
    """
    found, left = [], [(node.leaf, node.count, place) for place, node in enumerate(nodes)]
    joined = True
    while joined:
        joined, above = False, []
        for leaf, count, place in left:
            below = above[-1] if above else None
            if below is not None and below[1] == count and below[0] % (2 * count) == 0 and below[0] + count == leaf:
                found.append((below[2], place))
                above[-1] = (below[0], 2 * count, below[2])
                joined = True
            else:
                above.append((leaf, count, place))
        left = above
    return found


def tree_sum(parts: Sequence[T]) -> T:
    """The sum of a value for each leaf, in the tree's order. The parts, numbers or arrays, are not changed."""
    left = list(parts)
    while len(left) > 1:
        left = [left[i] + left[i + 1] if i + 1 < len(left) else left[i]         # type: ignore[operator]
                for i in range(0, len(left), 2)]
    return left[0]
