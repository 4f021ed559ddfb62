"""The chunks of a fit, as the client has them: their sizes and classes, and the tasks that it has made of them."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

import dask
import numpy as np
from distributed import CancelledError, wait
from distributed.comm import CommClosedError

from ldl_cy.dask.chunk import Chunk, Epoch, Seen, look
from ldl_cy.dask.collections import delayed_chunks, read_collections

PATIENCE = 2        # seconds, after which workers are counted
FAN_IN = 8          # sums that one task adds: a power of two, so that they are those of complete nodes of the tree
ATTEMPTS = 3        # at what needs values that were lost with the worker that had them
T = TypeVar("T")


class Chunks:
    """The rows of a fit, on the workers. Chunks without rows are left out.

    Parameters
    ----------
    client : distributed.Client
    owner : str
        For errors.
    X, y, sample_weight : dask arrays or frames; the weights may be None
    labels : bool
        Whether y has classes or labels.

    Attributes
    ----------
    client : distributed.Client
    n : int, rows
    sizes : list of int, rows of each chunk
    weight : float, the sum of the weights; NaN until the chunks are read
    counts : list of Counter, the rows of each label, for each column of y
    """

    def __init__(self, client: Any, owner: str, X: Any, y: Any, sample_weight: Any, labels: bool) -> None:
        self.client, self.weight, self._workers = client, np.nan, dict[str, list[int]]()
        kept = client.persist(read_collections(owner, X, y, sample_weight))
        given = [client.compute(delayed_chunks(collection)) for collection in kept]
        seen: list[Seen] = self.gather(self._tasks("look", look, given[0], given[1], labels=labels))
        full = [i for i, chunk in enumerate(seen) if chunk.n]
        if not full:
            raise ValueError(f"Found array with 0 sample(s) (shape={(0, *X.shape[1:])}) while a minimum of 1 is "
                             f"required by {owner}.")
        self._given = [[futures[i] for i in full] for futures in given]
        self._chunks: list[Any] = []
        self._first, self.sizes = seen[full[0]], [seen[i].n for i in full]
        self.n = sum(self.sizes)
        columns = zip(*(seen[i].counts for i in full))
        self.counts: list[Counter[Any]] = [sum(map(Counter, column), Counter()) for column in columns]

    def stand_in(self) -> tuple[Any, np.ndarray]:
        """A row of X, repeated, and as y all classes or values of labels; without such the first row's y.

        The classes and the network follow from them.
        """
        X, y = self._first.X, self._first.y
        if self.counts:
            labels = [sorted(column) for column in self.counts]
            n = max(map(len, labels))
            columns = [np.array((own * n)[:n], y.dtype if y.dtype == object else None) for own in labels]
            y, places = columns[0] if y.ndim == 1 else np.stack(columns, axis=1), np.zeros(n, np.intp)
            X = X.iloc[places] if hasattr(X, "iloc") else X[places]
        return X, y

    def read(self, method: Callable[..., Chunk], estimator: Any) -> None:
        """Make of each chunk what ``method`` of the estimator makes of its X, y and weights, where they are."""
        # by a task, which is repeated if the worker dies that has what was made of it
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            reader = self.client.submit(as_given, estimator, key=f"ldl_cy-estimator-{uuid4().hex}")
        X, y, *weight = self._given
        self._chunks = self._tasks("read", method, [reader] * len(X), X, y, *weight)
        wait(self._chunks)
        self.locate()
        self.weight = sum(insist(lambda: self.gather(self.map("weigh", Chunk.weight)), self.locate))
        self._given = []
        if not self.weight > 0:
            raise ValueError("Sample weights must contain at least one non-zero number.")

    def locate(self) -> None:
        """Find out on which worker each chunk is, and stays: there its tasks run."""
        found, self._workers = self.client.who_has(self._chunks), {}
        for place, chunk in enumerate(self._chunks):
            self._workers.setdefault(min(found[chunk.key], default=""), []).append(place)

    def _tasks(self, name: str, function: Callable[..., Any], /, *arguments: Sequence[Any], **shared: Any) -> list[Any]:
        token = uuid4().hex
        return self.client.map(function, *arguments, **shared, key=[
            f"ldl_cy-{name}-{token}-{i}" for i in range(len(arguments[0]))])

    def map(self, name: str, function: Callable[..., Any], /, **shared: Any) -> list[Any]:
        """Futures of what a function makes of each chunk, by tasks of this name in the dashboard."""
        found: dict[int, Any] = {}
        for worker, places in self._workers.items():
            tasks = self._tasks(name, function, [self._chunks[i] for i in places], workers=[worker] if worker else None,
                                **shared)
            found.update(zip(places, tasks))
        return [found[i] for i in range(len(found))]

    def gather(self, futures: list[Any]) -> list[Any]:
        """Small results of tasks; a CancelledError if they cannot run, since the worker of a chunk is gone."""
        done = False
        while not done:
            try:
                done = bool(wait(futures, timeout=PATIENCE))
            except TimeoutError:
                if not {*self._workers} <= {"", *self.client.nthreads()}:
                    raise CancelledError("a worker is gone") from None
        return self.client.gather(futures)

    def add(self, parts: list[Any], add: Callable[[list[Any]], Any]) -> Any:
        """The sum of the results of tasks."""
        while len(parts) > 1:
            parts = self._tasks("add", add, [parts[i:i + FAN_IN] for i in range(0, len(parts), FAN_IN)])
        return self.gather(parts)[0]

    def send(self, value: Any) -> Any:
        """A future of a value, which each worker that needs it gets once."""
        key = f"ldl_cy-sent-{uuid4().hex}"
        return self.client.scatter({key: value})[key]

    @contextmanager
    def published(self) -> Iterator[str]:
        """The name under which workers find the chunks. After an interrupt those that read them are stopped."""
        name = f"ldl_cy-{uuid4().hex}"
        try:
            self.client.publish_dataset(self._chunks, name=name)
            yield name
        except KeyboardInterrupt:
            self.client.unpublish_dataset(name)         # first: a worker that only begins finds none
            self.client.cancel(self._chunks, force=True)
            raise
        finally:
            self.client.unpublish_dataset(name)

    def epoch(self, epoch: Epoch, name: str, workers: list[str]) -> tuple[float, Any, dict[str, Any], str]:
        """Run an epoch on one worker, if possible one of those named, over the chunks of a published name."""
        return self.client.submit(
            Epoch.run, self.send(epoch), name, key=f"ldl_cy-epoch-{epoch.problem.token}", workers=workers or None,
            allow_other_workers=bool(workers)).result()


def as_given(value: Any) -> Any:
    """The value."""
    return value


def insist(attempt: Callable[[], T], forget: Callable[[], None]) -> T:
    """What ``attempt`` returns; if a value that the client had sent is lost, it is called again, after ``forget``."""
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt()
        except (CancelledError, CommClosedError):
            forget()
    return attempt()
