"""A graph with one input and one output as a chain of layers, in which branches are layers that have paths.

Where paths meet in a node, the value at which they separate is the node's immediate dominator: the last value that is
on every path from the input to it. In an acyclic graph this is the lowest common ancestor of the node's inputs in the
tree of dominators, which is built in topological order.

Cooper, Harvey, Kennedy, "A simple, fast dominance algorithm", Rice University TR-06-33870 (2001).
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from ldl_cy._engine.graph import MOST_LEVELS, MOST_NODES
from ldl_cy.interop.assembly import Imported, branch
from ldl_cy.layers.merge import Branches
from ldl_cy.messages import shown


class Node(NamedTuple):
    """What computes a value of the graph.

    Attributes
    ----------
    inputs : tuple of str
        The values that it reads: one for a layer, two or more for a branch.
    made : Imported or a class of branches
        A layer with its weights, or Add, Concatenate, Multiply.
    source : str
        What it is called where it comes from, for errors.
    name : str or None
        The name of a branch; None is the default.
    """

    inputs: tuple[str, ...]
    made: Imported | type[Branches]
    source: str
    name: str | None = None


class Computed(Protocol):
    """What the order of values depends on."""

    @property
    def inputs(self) -> Sequence[str]: ...

    @property
    def source(self) -> str: ...


def as_chain(owner: str, nodes: Mapping[str, Node], start: str, end: str) -> list[Imported]:
    """The layers from the value ``start`` to the value ``end``.

    Parameters
    ----------
    owner : str
        The function that reads, for errors.
    nodes : mapping of values to the nodes that compute them
        Nodes that do not lead to ``end`` are left out.
    start, end : str

    Raises
    ------
    ValueError
        A layer with weights would be in several paths, values that do not depend on ``start``, a cycle.
    """
    above = dominators(owner, nodes, start, end)
    used: Counter[str] = Counter()
    count = 0

    def chain(first: str, value: str, levels: int) -> list[Imported]:
        nonlocal count
        if levels > MOST_LEVELS:
            raise ValueError(f"{owner}: branches must be nested at most {MOST_LEVELS} deep.")
        found = []
        while value != first:
            node = nodes[value]
            used[value] += 1
            count += 1
            weights = isinstance(node.made, Imported) and node.made.weights
            if (used[value] > 1 and weights) or count > MOST_NODES:
                raise ValueError(f"{owner}: {node.source} must be in one path of a branch, got several; layers whose "
                                 "weights are shared, and paths that cross, have no counterpart.")
            if isinstance(node.made, Imported):
                found.append(node.made)
                value, = node.inputs
            else:
                common = above[value]
                paths = [chain(common, each, levels + 1) for each in node.inputs]
                found.append(branch(node.made, paths, node.source, node.name))
                value = common
        return found[::-1]

    return chain(start, end, 0)


def ordered(owner: str, nodes: Mapping[str, Computed], start: str, end: str) -> list[str]:
    """The values that lead to ``end``, each after those that it is computed from; ``start`` is not among them."""
    order: list[str] = []
    state: dict[str, bool] = {start: True}          # whether all that a value needs is in order
    stack = [end]
    while stack:
        value = stack[-1]
        if state.get(value):
            stack.pop()
            continue
        if value not in nodes:
            raise ValueError(f"{owner}: all values must be computed from the input {shown(start)}, got {shown(value)}.")
        waiting = [each for each in nodes[value].inputs if not state.get(each)]
        if not waiting:
            state[value] = True
            order.append(stack.pop())
        elif value in state:
            raise ValueError(f"{owner}: a graph must have no cycles, got one at {nodes[value].source}.")
        else:
            state[value] = False
            stack += waiting
    return order


def dominators(owner: str, nodes: Mapping[str, Node], start: str, end: str) -> dict[str, str]:
    """For each value that leads to ``end``, the last value that is on every path from ``start`` to it."""
    above, depth = {start: start}, {start: 0}
    for value in ordered(owner, nodes, start, end):
        common = nodes[value].inputs[0]
        for other in nodes[value].inputs[1:]:
            while common != other:
                if depth[common] < depth[other]:
                    common, other = other, common
                common = above[common]
        above[value], depth[value] = common, depth[common] + 1
    return above
