"""The binary tree in which accumulators are added: the leaves are lanes of one process, or shards of several."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Node(NamedTuple):
    """A node of the tree: ``size`` leaves, a power of two, from ``leaf``."""

    leaf: int
    size: int


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
    found: list[tuple[int, int]] = []
    left = [(node.leaf, node.size, place) for place, node in enumerate(nodes)]
    joined = True
    while joined:
        above: list[tuple[int, int, int]] = []
        joined = False
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


def tree_additions(n: int) -> list[tuple[int, int]]:
    """``additions`` of n leaves, of which the whole sum is left at 0; n that is no power of two fills a larger tree."""
    found, step = [], 1
    while step < n:
        found += [(i, i + step) for i in range(0, n - step, 2 * step)]
        step *= 2
    return found
