"""The fixed tree: a batch is cut into shards, whose sums are the leaves of a binary tree, added from the bottom up.

The tree depends on the number of shards alone. A rank has some neighbouring leaves and adds what are complete nodes of
the tree; the nodes of all ranks are added in the tree's order. So sums have the same bits for any number of ranks.

    leaves    0   1   2   3   4   5   6   7         3 ranks have 0 1 | 2 3 4 | 5 6 7
               \\ /     \\ /     \\ /     \\ /          and add the nodes {0 1} | {2 3} {4} | {5} {6 7}
                 \\     /         \\     /
                    \\               /
"""
from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ldl_cy._engine.tree import Node, additions, complete_nodes

__all__ = ["Node", "additions", "complete_nodes", "cut", "first_leaves", "tree_sum"]

T = TypeVar("T")


def first_leaves(shards: int, size: int) -> list[int]:
    """The first leaf of each of ``size`` ranks, and the number of leaves: rank r has those from r to r + 1."""
    return [r * shards // size for r in range(size + 1)]


def cut(n: int, shards: int) -> np.ndarray:
    """Where each of the shards of n rows begins, and n: (shards + 1,) ints. Sizes differ by at most one."""
    return np.arange(shards + 1) * n // shards


def tree_sum(parts: Sequence[T], add: Callable[[T, T], T] = operator.add) -> T:
    """The sum of a value for each leaf, in the tree's order. The parts, numbers or arrays, are not changed."""
    left = list(parts)
    while len(left) > 1:
        left = [add(left[i], left[i + 1]) if i + 1 < len(left) else left[i] for i in range(0, len(left), 2)]
    return left[0]
