"""SciPy's sparse matrices: recognised, and checked before SciPy's compiled code reads them, which trusts indices."""
from __future__ import annotations

import copy
from typing import Any

import numpy as np

# the arrays of each format that hold indices
INDEX_ARRAYS = {"csr": ("indptr", "indices"), "csc": ("indptr", "indices"), "bsr": ("indptr", "indices"),
                "coo": ("row", "col"), "dia": ("offsets",)}


def is_sparse(X: Any) -> bool:
    """Whether X is one of SciPy's sparse matrices or arrays; does not import scipy.sparse."""
    # asked of the class: a damaged matrix cannot say its nnz
    return hasattr(type(X), "tocsr") and hasattr(type(X), "nnz")


def as_csr(what: str, X: Any) -> Any:
    """A valid CSR matrix of two axes with the values of X, of the same kind as X.

    Values and columns of a CSR matrix are shared, not copied. ``indptr`` is always a copy: whoever writes to X later
    cannot lead its readers outside of the arrays, as long as they clamp the columns or do not use them as indices.

    Parameters
    ----------
    what : str
        What X is called in error messages.
    X : SciPy sparse matrix or array with two axes

    Raises
    ------
    ValueError
        X is damaged: SciPy would read or write out of bounds.
    """
    fault = ""
    try:
        X = copy.copy(X)
        if X.format == "lil":
            fault = fault_of_lists(X)
        elif X.format in INDEX_ARRAYS:
            for name in INDEX_ARRAYS[X.format]:
                array = np.asarray(getattr(X, name))
                setattr(X, name, array[:] if (X.format, name) == ("csr", "indices") else array.copy())
            fault = fault_of(X)
        if not fault and X.format != "csr":
            X = X.tocsr()
            fault = fault_of(X)
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault:
        raise ValueError(f"{what} must be a valid sparse matrix, got one where {fault}.")
    return X


def fault_of(X: Any) -> str:
    """What is wrong with the indices of a matrix, "" if nothing is."""
    data = X.data = np.asarray(X.data)[:]
    if X.format == "dia":
        return "" if data.ndim == 2 and X.offsets.shape == data.shape[:1] else "data and offsets do not fit each other"
    if data.ndim != (3 if X.format == "bsr" else 1):
        return f"data has the shape {data.shape}"
    if X.format == "coo":
        if not len(X.row) == len(X.col) == len(data):
            return f"there are {len(X.row)} rows, {len(X.col)} columns and {len(data)} values"
        return range_fault("row", X.row, X.shape[0]) or range_fault("column", X.col, X.shape[1])
    rows, columns = X.shape if X.format != "csc" else X.shape[::-1]
    if X.format == "bsr":
        if 0 in data.shape[1:] or rows % data.shape[1] or columns % data.shape[2]:
            return f"blocks of {data.shape[1:]} do not fit the shape {X.shape}"
        rows, columns = rows // data.shape[1], columns // data.shape[2]
    indptr, indices = X.indptr, X.indices
    if indptr.dtype.kind not in "iu" or indptr.shape != (rows + 1,):
        return f"indptr must be {rows + 1} ints, got {indptr.dtype} of shape {indptr.shape}"
    if indptr[0] != 0 or np.any(indptr[1:] < indptr[:-1]):
        return "indptr must begin with 0 and never fall"
    if indices.ndim != 1 or indptr[-1] > min(len(indices), len(data)):
        return f"indptr must end with at most {min(len(indices), len(data))} entries, got {indptr[-1]}"
    return range_fault("index", indices[:indptr[-1]], columns)


def range_fault(name: str, indices: np.ndarray, size: int) -> str:
    """What is wrong with indices that must be ints in 0 .. size - 1."""
    if indices.dtype.kind not in "iu":
        return f"each {name} must be an int, got dtype {indices.dtype}"
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        return f"each {name} must be in 0 .. {size - 1}, got {indices.min()} .. {indices.max()}"
    return ""


def fault_of_lists(X: Any) -> str:
    """The same for a matrix of lists."""
    if not X.rows.shape == X.data.shape == X.shape[:1]:
        return "there must be a list for each row"
    X.rows, X.data = (np.frompyfunc(list, 1, 1)(a) for a in (X.rows, X.data))
    if any(len(a) != len(b) for a, b in zip(X.rows, X.data)):
        return "a row has not as many columns as values"
    return range_fault("column", np.array([j for row in X.rows for j in row], int), X.shape[1])
