"""Rows as dask collections, and a cluster in this process, for tests of ldl_cy.dask."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

REASON = "the extra 'test' brings dask and distributed, which have the chunks and the workers"
da = pytest.importorskip("dask.array", reason=REASON)
distributed = pytest.importorskip("distributed", reason=REASON)

N = 300
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6))
NUMBER = X[:, 0] + 0.5 * X[:, 1]
LABELS = np.array(["low", "middle", "high"])[np.digitize(NUMBER, [-0.5, 0.5])]
WEIGHTS = RNG.uniform(0.5, 2, N)
ROWS = 70           # of a chunk: five of them, the last one smaller


def chunked(array: np.ndarray, rows: int = ROWS) -> Any:
    """A dask array of chunks of rows."""
    return da.from_array(array, chunks=(rows, *array.shape[1:]))


@contextmanager
def cluster(n_workers: int = 2, *, threads: int = 1, processes: bool = False) -> Iterator[Any]:
    """A client of new workers."""
    with distributed.LocalCluster(n_workers=n_workers, threads_per_worker=threads, processes=processes,
                                  dashboard_address=":0") as local, distributed.Client(local) as client:
        yield client


def frame(**columns: np.ndarray) -> Any:
    """A dask dataframe in four parts."""
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, whose frames are the parts")
    dd = pytest.importorskip("dask.dataframe", reason="the extra 'test' brings dask[dataframe], which has the frames",
                             exc_type=ImportError)
    return dd.from_pandas(pd.DataFrame(columns), npartitions=4, sort=False)
