"""Ranks: the processes of one fit. What one of them raises is raised by all."""
from __future__ import annotations

import os
import pickle
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any, NoReturn, TypeVar

import numpy as np

from ldl_cy._engine.collectives import Collectives, Exchange, Together
from ldl_cy.checks import check_choice, check_int
from ldl_cy.distributed.shards import Node, additions, complete_nodes, cut, first_leaves
from ldl_cy.messages import shown

T = TypeVar("T")

METHODS = ("Get_rank", "Get_size", "Allgather", "Allgatherv", "Alltoallv")
MOST_SHARDS = 1 << 20


class Ranks:
    """The processes that fit together, each of which calls every method, in the same order.

    Each method waits for all ranks, and raises the error of one that has failed.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, or an object with its methods
    shards : int, a power of two, at least the number of ranks
    local : bool
        Whether each rank has rows of its own (``rows="local"``); otherwise all ranks have all rows.

    Attributes
    ----------
    rank, size : int
    is_first : bool
        Whether this is rank 0, which writes files and shows progress.
    shards : int
    first, last : int
        This rank's shards are first .. last - 1.
    local : bool
    collectives : Collectives
    """

    def __init__(self, comm: Any, shards: int, local: bool) -> None:
        self.collectives = Collectives(comm)
        self.rank, self.size = self.collectives.rank, self.collectives.size
        self.is_first, self.shards, self.local = self.rank == 0, shards, local
        edges = first_leaves(shards, self.size)
        self.first, self.last = edges[self.rank], edges[self.rank + 1]
        of_ranks = [complete_nodes(a, b) for a, b in pairwise(edges)]
        self._edges, self._counts = edges, [len(nodes) for nodes in of_ranks]
        self._added = additions([node for nodes in of_ranks for node in nodes])

    @property
    def shards_of_ranks(self) -> list[int]:
        """The number of shards of each rank."""
        return [b - a for a, b in pairwise(self._edges)]

    def exchange(self, cuts: np.ndarray, offsets: np.ndarray, weights: np.ndarray) -> Exchange:
        """The messages of training steps, of which ``RankSteps`` has the rows."""
        nodes = [node.leaf - self.first for node in complete_nodes(self.first, self.last)]
        own_added = additions([Node(leaf, 1) for leaf in range(self.first, self.last)])
        return Exchange(self.collectives, self._edges, self._counts, nodes, own_added, self._added, cuts, offsets,
                        weights)

    # -- errors ----------------------------------------------------------------------------------------

    def together(self, last: bool = True) -> AbstractContextManager[Ranks, None]:
        """An exception within the block, on any rank, is raised on all of them at its end or at their next message.

        ``last`` is False for a block within another one.
        """
        return Together(self, as_bytes, last)

    def agree(self) -> None:
        """Wait for all ranks; the error of the first that has failed, if one has."""
        if not self.collectives.agree():
            self.raise_failure(None)

    def recover(self) -> None:
        """Once all ranks have caught an error: messages are sent again."""
        self.collectives = Collectives(self.collectives.comm)

    def raise_failure(self, own: BaseException | None) -> NoReturn:
        """The error of the rank that has failed: if that is this one, ``own``, the exception itself."""
        assert self.collectives.failure is not None
        rank, message = self.collectives.failure
        if rank == self.rank and own is not None:
            raise own
        error = from_bytes(message)
        error.add_note(f"This was raised on rank {rank}.")
        raise error from own

    # -- values ----------------------------------------------------------------------------------------

    def concatenate(self, own: np.ndarray) -> np.ndarray:
        """The arrays of all ranks along the first axis, in order; dtypes and other axes must agree."""
        found: np.ndarray | None = self.collectives.concatenate(np.ascontiguousarray(own))
        if found is None:
            self.raise_failure(None)
        return found

    def all(self, value: Any) -> list[Any]:
        """A value of each rank, pickled on the way."""
        sent = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = self.concatenate(np.array([sent.size]))
        found = self.concatenate(sent)
        ends = np.cumsum(sizes)
        return [pickle.loads(found[end - size:end].tobytes()) for end, size in zip(ends, sizes)]

    def share(self, value: Any) -> Any:
        """The value of rank 0, on all ranks."""
        return self.all(value if self.is_first else None)[0]

    def any(self, value: bool) -> bool:
        """Whether it is true on a rank."""
        return bool(self.concatenate(np.array([bool(value)])).any())

    def own_nodes(self, parts: Iterable[T], add: Callable[[T, T], T]) -> list[T]:
        """The values of this rank's complete nodes, from one for each of its shards: few are held at a time."""
        found: list[tuple[Node, T]] = []
        for leaf, value in enumerate(parts, self.first):
            node = Node(leaf, 1)
            while found and found[-1][0].size == node.size and found[-1][0].leaf % (2 * node.size) == 0:
                node, value = Node(found[-1][0].leaf, 2 * node.size), add(found.pop()[1], value)
            found.append((node, value))
        return [value for _, value in found]

    def root(self, nodes: Sequence[T], add: Callable[[T, T], T]) -> T:
        """The value of all shards, from those of all ranks' complete nodes in their order."""
        values = list(nodes)
        for i, j in self._added:
            values[i] = add(values[i], values[j])
        return values[0]

    def sum(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        """The sum over all shards in the tree's order, of this rank's float64 arrays, one for each of its shards."""
        own = self.own_nodes(parts, np.add)
        found: np.ndarray | None = self.collectives.total(
            np.array([np.ravel(node) for node in own], float), self._counts, self._added)
        if found is None:
            self.raise_failure(None)
        return found.reshape(np.shape(own[0]))

    def check_same(self, owner: str, name: str, value: Any) -> None:
        """A ValueError on all ranks unless all have the same value; see ``check_settings``."""
        self.check_settings(owner, {name: value})

    def check_settings(self, owner: str, settings: Mapping[str, Any]) -> None:
        """A ValueError on all ranks that names the first setting, by name, in whose ``repr`` two ranks differ."""
        first, *others = self.all({name: described(value) for name, value in settings.items()})
        for rank, other in enumerate(others, 1):
            for name in settings:
                if other.get(name) != first.get(name):
                    raise ValueError(f"{owner}: {name} must be the same on all ranks, got {first.get(name)} on rank 0 "
                                     f"and {other.get(name)} on rank {rank}.")

    def divide_threads(self, given: int | None, n: int) -> int:
        """The number of threads of this rank, n where one is alone: n if the user has ``given`` it, else a share of n.

        Ranks share the processors of a machine if they are bound to the same ones.
        """
        bound = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        own = platform.node(), bound
        sharing = self.all(own).count(own)          # also where n is given, which may be so on some ranks only
        return n if given is not None else max(1, n // sharing)

    # -- rows ------------------------------------------------------------------------------------------

    def own_parts(self, n: int) -> list[slice]:
        """The rows of each of this rank's shards: of n rows that all ranks have, or of this rank's own n."""
        if self.local:
            edges = cut(n, self.last - self.first)
        else:
            edges = cut(n, self.shards)[self.first:self.last + 1]
        return [slice(int(a), int(b)) for a, b in pairwise(edges)]

    def count(self, n: int) -> int:
        """The rows of all ranks, where this one was given n."""
        return sum(self.all(n)) if self.local else n

    def own_rows(self, n: int) -> slice:
        """The rows of all of this rank's shards."""
        parts = self.own_parts(n)
        return slice(parts[0].start, parts[-1].stop)


def read_ranks(owner: str, comm: Any, shards: Any, rows: Any) -> Ranks | None:
    """The ranks of a fit from its arguments ``comm``, ``shards`` and ``rows``; None without a communicator.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range, or more ranks than shards.
    """
    if comm is None:
        check_layout(owner, shards, rows)
        return None
    missing = [name for name in METHODS if not callable(getattr(comm, name, None))]
    if missing:
        raise TypeError(f"{owner}: comm must be None or a communicator with mpi4py's methods, got {shown(comm)} "
                        f"without {missing[0]}.")
    try:
        local = check_layout(owner, shards, rows)
        if comm.Get_size() > shards:
            raise ValueError(f"{owner}: shards must be at least the number of ranks, {comm.Get_size()}, got {shards}.")
        return Ranks(comm, int(shards), local)
    except BaseException as error:          # the other ranks may wait already
        Collectives(comm).agree(as_bytes(error))
        raise


def check_layout(owner: str, shards: Any, rows: Any) -> bool:
    """Whether ``rows`` is "local"; an error for a bad ``shards`` or ``rows``."""
    check_int(owner, "shards", shards)
    if shards & (shards - 1) or shards > MOST_SHARDS:
        raise ValueError(f"{owner}: shards must be a power of two, at most {MOST_SHARDS}, got {shown(shards)}.")
    return check_choice(owner, "rows", rows, ("all", "local")) == "local"


def described(value: Any) -> str:
    """What two equal settings of different processes have in common: the ``repr`` without addresses."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def as_bytes(error: BaseException) -> bytes:
    """An exception for other processes; its type and message alone if it cannot be pickled."""
    try:
        message = pickle.dumps(error)
        from_bytes(message)
        return message
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def from_bytes(message: bytes) -> BaseException:
    """The exception from ``as_bytes``."""
    error: BaseException = pickle.loads(message)
    if not isinstance(error, BaseException):
        raise TypeError(f"an exception was expected, got {type(error).__name__}")
    return error
