"""A communicator whose ranks are threads of this process, with the methods of mpi4py's that a fit calls."""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

SECONDS = 60.0                  # after which a rank that waits for others gives up


class ThreadComm:
    """One rank's view of a group of threads. A message that not all ranks send is a BrokenBarrierError."""

    def __init__(self, rank: int, size: int, shared: dict[str, Any]) -> None:
        self.rank, self.size, self.shared = rank, size, shared

    def Get_rank(self) -> int:
        return self.rank

    def Get_size(self) -> int:
        return self.size

    def _exchange(self, sent: Any, kind: str) -> list[Any]:
        """What all ranks have sent, once all have called with the same kind of message."""
        self.shared["sent"][self.rank] = kind, sent
        self.shared["barrier"].wait(SECONDS)
        kinds, found = zip(*self.shared["sent"])
        self.shared["barrier"].wait(SECONDS)
        assert set(kinds) == {kind}, f"different messages at a time: {kinds}"
        return list(found)

    def Allgather(self, own: np.ndarray, out: np.ndarray) -> None:
        parts = self._exchange(np.array(own).ravel(), "Allgather")
        assert all(part.size == parts[0].size and part.dtype == out.dtype for part in parts)
        out[...] = np.concatenate(parts).reshape(out.shape)

    def Allgatherv(self, own: np.ndarray, into: list[Any]) -> None:
        out, (counts, places) = into
        parts = self._exchange(np.array(own).ravel(), "Allgatherv")
        for part, count, place in zip(parts, counts, places):
            assert part.size == count and part.dtype == out.dtype, (part.size, count, part.dtype, out.dtype)
            out.reshape(-1)[place:place + count] = part

    def Alltoallv(self, sent: list[Any], into: list[Any]) -> None:
        array, (counts, places) = sent
        parts = [np.array(np.ravel(array)[place:place + count]) for count, place in zip(counts, places)]
        received = self._exchange(parts, "Alltoallv")
        out, (counts, places) = into
        for parts, count, place in zip(received, counts, places):
            part = parts[self.rank]
            assert part.size == count and (not count or part.dtype == out.dtype)
            out.reshape(-1)[place:place + count] = part


def run_ranks(size: int, function: Callable[[ThreadComm], Any]) -> list[Any]:
    """The results of ``function(comm)`` on each rank, or the exceptions that it has raised."""
    shared = {"barrier": threading.Barrier(size), "sent": [None] * size}
    results: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = function(ThreadComm(rank, size, shared))
        except BaseException as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def without_errors(results: list[Any]) -> list[Any]:
    """The results of ranks; what one has raised is raised."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
