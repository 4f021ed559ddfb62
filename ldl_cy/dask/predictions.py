"""Predictions over the chunks of dask arrays and frames, computed when they are asked for."""
from __future__ import annotations

from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np

from ldl_cy.dask.collections import along_rows, delayed_chunks, is_array, is_frame


class ByChunks:
    """A method of the local estimator that, given a dask array or frame, returns a dask array: one chunk for each.

    Of a frame the sizes of the chunks are not known. Nothing is computed but what a row of zeros gives, for the shape
    and the dtype. An estimator has the method if its local one does.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, estimator: Any, kind: type) -> Any:
        local = getattr(super(self.owner, kind if estimator is None else estimator), self.name)
        if estimator is None:
            return local

        def method(X: Any) -> Any:
            return outputs(estimator, self.name, X) if is_array(X) or is_frame(X) else local(X)

        method.__doc__ = local.__doc__
        return method


def outputs(estimator: Any, name: str, X: Any) -> Any:
    """What a method of the estimator's local one makes of the chunks of X, as a dask array."""
    X, local = along_rows(X), estimator.to_local()
    if local.n_threads is None:
        local.n_threads = 1             # of each of the tasks that a worker runs at a time
    row: Any = np.zeros((1, X.shape[1]) if is_frame(X) else (1, *X.shape[1:]), float if is_frame(X) else X.dtype)
    if is_frame(X):
        import pandas as pd

        row = pd.DataFrame(row, columns=X.columns)
    found = getattr(local, name)(row)
    empty, key = found[:0], f"ldl_cy-{name.replace('_', '-')}-{uuid4().hex}"
    model = dask.delayed(local, name=f"ldl_cy-model-{uuid4().hex}", traverse=False)
    if is_array(X):
        return X.map_blocks(
            output, model, method=name, empty=empty, name=key, dtype=found.dtype, meta=empty,
            drop_axis=list(range(1, X.ndim)), new_axis=list(range(1, found.ndim)) or None,
            chunks=(X.chunks[0], *((size,) for size in found.shape[1:])))
    parts = [dask.delayed(output)(chunk, model, method=name, empty=empty, dask_key_name=f"{key}-{i}")
             for i, chunk in enumerate(delayed_chunks(X))]
    return da.concatenate([da.from_delayed(part, (np.nan, *found.shape[1:]), meta=empty) for part in parts],
                          allow_unknown_chunksizes=True)


def output(chunk: Any, model: Any, method: str, empty: np.ndarray) -> np.ndarray:
    """What the method makes of a chunk, which may have no rows."""
    return getattr(model, method)(chunk) if chunk.shape[0] else empty
