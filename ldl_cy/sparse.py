"""Sparse rows: what the engine reads of a CSR matrix. A block of rows becomes dense when it is gathered, X never."""
from __future__ import annotations

from typing import Any

import numpy as np


def is_sparse(X: Any) -> bool:
    """Whether X is one of SciPy's sparse matrices or arrays; scipy.sparse is not imported for it."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


class SparseRows:
    """Rows of a CSR matrix, as many as ``indptr`` delimits, that can be sliced without a copy.

    Parameters
    ----------
    data : (nnz,) float32 or float64 values; entries at one place are added
    indices : (nnz,) int32 or int64 columns
    indptr : (n + 1,) of the same type; row i has the entries indptr[i] .. indptr[i + 1] - 1
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


def sparse_rows(owner: str, name: str, X: Any, dtype: str) -> SparseRows:
    """X as rows whose places are known to be in range; values are float32 or float64, or become ``dtype``."""
    X = X.tocsr()
    try:
        X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"{owner}: {name} must be a valid sparse matrix, got one where {error}.") from error
    data = X.data if X.data.dtype.char in "fd" and X.data.dtype.isnative else X.data.astype(dtype)
    wide = np.int64 if np.int64 in (X.indices.dtype, X.indptr.dtype) else np.int32
    return SparseRows(np.ascontiguousarray(data), np.ascontiguousarray(X.indices, wide),
                      np.ascontiguousarray(X.indptr, wide), X.shape[1])
