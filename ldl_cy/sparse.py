"""SciPy's sparse matrices: recognised, checked, and converted to the engine's SparseRows."""
from __future__ import annotations

from typing import Any

import numpy as np

from ldl_cy._engine.sparse import SparseRows


def is_sparse(X: Any) -> bool:
    """Whether X is one of SciPy's sparse matrices or arrays; does not import scipy.sparse."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def sparse_rows(owner: str, name: str, X: Any, dtype: str) -> SparseRows:
    """X as rows whose column indices are in range; values are float32 or float64, others are converted to ``dtype``."""
    X = X.tocsr()
    try:
        X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"{owner}: {name} must be a valid sparse matrix, got one where {error}.") from error
    data = X.data if X.data.dtype.char in "fd" and X.data.dtype.isnative else X.data.astype(dtype)
    wide = np.int64 if np.int64 in (X.indices.dtype, X.indptr.dtype) else np.int32
    return SparseRows(np.ascontiguousarray(data), np.ascontiguousarray(X.indices, wide),
                      np.ascontiguousarray(X.indptr, wide), X.shape[1])
