"""Reading X and y, and the rows of a fit: what happens to arrays before a network sees them."""
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight, check_array, check_X_y, validate_data

from ldl_cy.estimators.sequences import is_list_of_sequences, read_sequences
from ldl_cy.sparse import is_sparse

Shape = tuple[int, ...]
NO_Y = "no_validation"


class Rows(NamedTuple):
    """Samples in the shape the network reads, or in a CSR matrix, encoded targets, and weights or None."""

    X: Any
    y: np.ndarray
    weight: np.ndarray | None
    lengths: np.ndarray | None = None       # where sequences end

    @property
    def n(self) -> int:
        return self.y.shape[0]

    def take(self, index: np.ndarray) -> Rows:
        weight, lengths = (None if part is None else part[index] for part in (self.weight, self.lengths))
        return Rows(self.X[index], self.y[index], weight, lengths)


class Accepts(NamedTuple):
    """What an estimator reads.

    Attributes
    ----------
    dtypes : list, which ``check_array`` leaves as they are; anything else becomes the first
    sparse, nd, lists : bool, whether it reads CSR and CSC, arrays of more than two axes, lists of sequences
    row_shape : tuple or None, the shape of the rows that it was fitted on
    sample_shape : tuple or None, the shape in which the network reads them
    """

    dtypes: list[Any]
    sparse: bool
    nd: bool
    lists: bool
    row_shape: Shape | None
    sample_shape: Shape | None


@np.errstate(over="ignore", invalid="ignore")         # numbers too large for float32 are refused as what they become
def read(
    estimator: Any, accepts: Accepts, X: Any, y: Any = NO_Y, *, reset: bool = False, y_numeric: bool = False,
) -> Any:
    """X, or X and y where a y is given, validated as scikit-learn does.

    With ``reset`` the number and the names of the features are learned, otherwise compared. A model
    fitted on arrays of three or four axes also reads rows of two axes, and the other way round: then
    the sizes of the samples are compared instead.
    """
    options: dict[str, Any] = {
        "accept_sparse": ["csr", "csc"] if accepts.sparse else False,
        "dtype": accepts.dtypes, "order": "C", "allow_nd": accepts.nd}
    with_y = not (isinstance(y, str) and y == NO_Y)
    if accepts.lists and is_list_of_sequences(X):
        n_features = None if reset or accepts.sample_shape is None else accepts.sample_shape[1]
        sequences = read_sequences(estimator, X, accepts.dtypes, n_features)
        if reset:
            estimator.n_features_in_ = sequences.shape[1]
            vars(estimator).pop("feature_names_in_", None)
        if with_y:
            y = check_X_y(np.zeros((len(X), 1)), y, multi_output=True, y_numeric=y_numeric, estimator=estimator)[1]
        return (sequences, y) if with_y else sequences
    if with_y:
        options.update(multi_output=True, y_numeric=y_numeric)
    fitted_on = accepts.row_shape or ()
    several_axes = not reset and accepts.nd and (count_axes(X) > 2 or len(fitted_on) > 1)
    if not several_axes:
        result = validate_data(estimator, X, y, reset=reset, **options)
    elif with_y:
        result = check_X_y(X, y, estimator=estimator, **options)
    else:
        result = check_array(X, estimator=estimator, input_name="X", **options)
    X, y = result if with_y else (result, None)
    if several_axes and accepts.sample_shape is not None:
        check_row_shape(estimator, X.shape[1:], accepts.sample_shape)
    if is_sparse(X):
        X = X.tocsr()
    return (X, y) if with_y else X


@np.errstate(over="ignore", invalid="ignore")
def read_weights(X: Any, sample_weight: Any) -> np.ndarray | None:
    """(n,) weights >= 0, or None."""
    return None if sample_weight is None else _check_sample_weight(sample_weight, X, ensure_non_negative=True)


def count_axes(X: Any) -> int:
    """Axes of an array, a data frame, a sparse matrix, or nested lists."""
    return len(X.shape) if hasattr(X, "shape") else np.asarray(X).ndim


def check_row_shape(estimator: Any, row_shape: Shape, expected: Shape) -> None:
    """Rows are flat and of the right length, or have the very shape the network reads."""
    name = type(estimator).__name__
    if len(row_shape) > 1 and row_shape != expected:
        raise ValueError(f"X has samples of shape {row_shape}, but {name} is expecting {expected} as input.")
    if math.prod(row_shape) != math.prod(expected):
        raise ValueError(
            f"X has {math.prod(row_shape)} features, but {name} is expecting samples of shape {expected}, "
            f"{math.prod(expected)} numbers each.")


def check_input_shape(estimator: Any, n_axes: tuple[int, ...]) -> Shape | None:
    """The ``input_shape`` parameter as a tuple of ints."""
    given = estimator.input_shape
    if given is None:
        return None
    try:
        shape = tuple(int(size) for size in given)
        whole = all(a == b and a >= 1 for a, b in zip(shape, given))
    except (TypeError, ValueError):
        shape, whole = (), False
    if not whole or len(shape) not in n_axes:
        counts = " or ".join(map(str, n_axes))
        raise ValueError(f"input_shape must be None or {counts} ints >= 1, got {given!r}.")
    return shape


def hold_out(
    rows: Rows, score_weight: np.ndarray | None, fraction: float, random_state: Any, stratify: np.ndarray | None,
) -> tuple[Rows, Rows]:
    """Training rows and validation rows; the latter carry the weights that scores are taken with."""
    train, held = train_test_split(
        np.arange(rows.n), test_size=fraction, random_state=random_state, stratify=stratify)
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return rows.take(train), rows._replace(weight=score_weight).take(held)


def canonical(rows: Rows) -> Rows:
    """The same data whatever the order of the rows and whether a repeat is a row or a weight.

    Rows without weight are dropped, equal rows become one with their weights added, and the rest is
    ordered by content. Full-batch solvers work on these, so that two ways of writing down the same
    data give the same sums to the last bit.
    """
    X, y, weight, lengths = rows
    kept = np.arange(rows.n) if weight is None else np.flatnonzero(weight)
    weight = np.ones(len(kept)) if weight is None else weight[kept]
    if len(kept) < rows.n:
        X, y, lengths = X[kept], y[kept], None if lengths is None else lengths[kept]
    content = contents_of_sparse(X, y) if is_sparse(X) else contents(X, y, lengths)
    _, first, inverse = np.unique(content, return_index=True, return_inverse=True)
    merged = np.bincount(inverse.ravel(), weights=weight)
    return Rows(X[first], y[first], merged, None if lengths is None else lengths[first])


def contents(X: np.ndarray, y: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """(n,) bytes that are equal where rows of X and y are."""
    n = len(X)
    parts = [part.reshape(n, -1) for part in (X, y, lengths) if part is not None]
    # class codes and lengths are exact in float32 too
    table = np.concatenate(parts, axis=1, dtype=X.dtype, casting="unsafe")
    table += 0.0                    # -0.0 becomes 0.0, as bytes are compared
    return table.view(np.dtype((np.void, table.itemsize * table.shape[1]))).ravel()


def contents_of_sparse(X: Any, y: np.ndarray) -> np.ndarray:
    """The same for CSR X: the columns and values of each row's entries."""
    X = X.copy()
    X.sum_duplicates()
    X.eliminate_zeros()
    y = y.reshape(len(y), -1) + 0.0
    keys = np.empty(len(y), object)
    for i, (a, b) in enumerate(zip(X.indptr[:-1], X.indptr[1:])):
        keys[i] = X.indices[a:b].tobytes() + X.data[a:b].tobytes() + y[i].tobytes()
    return keys
