"""SparseRows: rows of a CSR matrix for the engine, which converts one block of rows at a time to dense."""
from __future__ import annotations

from typing import Any

import numpy as np


class SparseRows:
    """Rows of a CSR matrix, which can be sliced without a copy.

    Parameters
    ----------
    data : (nnz,) float32 or float64 values; duplicate entries are added
    indices : (nnz,) int32 or int64 columns; one that is out of range when it is read is skipped
    indptr : (n + 1,) int64; row i has the entries indptr[i] .. indptr[i + 1] - 1. It must be
        an array of its own, since compiled code does not check it again
    width : int
        Number of columns.
    """

    def __init__(self, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, width: int) -> None:
        self.data, self.indices, self.indptr = data, indices, indptr
        self.shape = len(indptr) - 1, width
        self.dtype = data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> SparseRows:
        start, stop, _ = rows.indices(len(self))
        return SparseRows(self.data, self.indices, self.indptr[start:max(start, stop) + 1], self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        dense = np.zeros(self.shape, self.dtype if dtype is None else dtype)
        entries = slice(self.indptr[0], self.indptr[-1])
        places = np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices[entries]
        np.add.at(dense, places, self.data[entries])
        return dense
