"""Input of estimators: validation of X and y, held-out rows, and the canonical form for full-batch solvers."""
from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import _check_sample_weight, check_array, check_X_y, validate_data

from ldl_cy.estimators.categorical_features import encode
from ldl_cy.estimators.ranks import check_agreed, of_ranks, split_shards
from ldl_cy.estimators.sequences import (
    Sequences,
    end_at_nan,
    has_nan,
    list_of_sequences,
    read_sequences,
    refuse_masked,
)
from ldl_cy.messages import shown
from ldl_cy.sparse import as_csr, is_sparse

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks

Shape = tuple[int, ...]
NO_Y = "no_validation"
TOO_LARGE = "contains infinity or a value too large for dtype('float64')."      # scikit-learn's words

UNKNOWN_LABELS = ("Unknown label type: unknown. Maybe you are trying to fit a classifier, which expects discrete "
                  "classes on a regression target with continuous values.")


class Rows(NamedTuple):
    """Samples in the network's input shape, or a CSR matrix; encoded targets; weights and lengths, or None."""

    X: Any
    y: np.ndarray
    weight: np.ndarray | None
    lengths: np.ndarray | None = None

    @property
    def n(self) -> int:
        return self.y.shape[0]

    def take(self, index: np.ndarray) -> Rows:
        weight, lengths = (None if part is None else part[index] for part in (self.weight, self.lengths))
        return Rows(self.X[index], self.y[index], weight, lengths)


class Accepts(NamedTuple):
    """The input that an estimator accepts.

    Attributes
    ----------
    dtypes : list, dtypes that ``check_array`` keeps; any other is converted to the first
    sparse, nd, lists : bool, whether it accepts CSR and CSC, arrays of more than two axes, sequences of several lengths
    row_shape : tuple or None, the shape of the rows on which it was fitted
    sample_shape : tuple or None, the network's input shape, if it is known
    channels_first : bool, whether samples of several axes have the channels first
    """

    dtypes: list[Any]
    sparse: bool
    nd: bool
    lists: bool
    row_shape: Shape | None
    sample_shape: Shape | None
    channels_first: bool = False


def read(
    estimator: Any, accepts: Accepts, X: Any, y: Any = NO_Y, *, reset: bool = False, y_numeric: bool = False,
    ranks: Ranks | None = None,
) -> Any:
    """X, or X and y if y is passed, validated as scikit-learn does.

    With ``reset`` the number and the names of the features are stored, otherwise compared. A model fitted on
    arrays of three or four axes also accepts rows of two axes, and vice versa: then the sizes of the samples
    are compared instead.

    Where several ranks have all rows, each checks that the numbers of its own share of X are finite: arrays of a dtype
    that is kept, memmaps among them, are not read otherwise.
    """
    try:
        # numbers too large for float32 become infinity, and are refused
        with np.errstate(over="ignore", invalid="ignore"):
            return _read(estimator, accepts, X, y, reset, y_numeric, ranks)
    except OverflowError as error:              # of ints that no float holds
        raise ValueError(f"Input {'X' if isinstance(y, str) and y == NO_Y else 'X or y'} {TOO_LARGE}") from error


def _read(
    estimator: Any, accepts: Accepts, X: Any, y: Any, reset: bool, y_numeric: bool, ranks: Ranks | None,
) -> Any:
    shared = ranks is not None and not ranks.local
    options: dict[str, Any] = {
        "accept_sparse": "csr" if accepts.sparse else False,
        "dtype": accepts.dtypes, "order": "C", "allow_nd": accepts.nd,
        "ensure_all_finite": False if shared else "allow-nan" if accepts.lists else True}
    with_y = not (isinstance(y, str) and y == NO_Y)
    refuse_masked("X", X)
    encoded = encode(estimator, X, reset=reset, training=with_y, ranks=ranks)
    if encoded is not None:
        options["ensure_all_finite"] = True
        if not with_y:
            return check_array(encoded, estimator=estimator, input_name="X", **options)
        return check_X_y(encoded, read_targets("y", y, y_numeric), estimator=estimator, multi_output=True,
                         y_numeric=y_numeric, **options)
    # SciPy trusts the indices of a matrix, and scikit-learn leaves the checks to SciPy
    if accepts.sparse and is_sparse(X) and X.ndim == 2:
        X = as_csr("X", X)
    if with_y:
        y = read_targets("y", y, y_numeric)
    parts = list_of_sequences(X, accepts.sample_shape) if accepts.lists else None
    if accepts.lists:
        check_agreed(estimator, {"the kind of X": "an array" if parts is None else "a list of sequences"}, ranks)
    if parts is not None:
        n_features = None if accepts.sample_shape is None else accepts.sample_shape[1]
        sequences = read_sequences(estimator, parts, accepts.dtypes, n_features, accepts.channels_first)
        sequences = sequences.extended(max(of_ranks(ranks, sequences.shape[1])))
        if reset:
            estimator.n_features_in_ = sequences.shape[2 if accepts.channels_first else 1]
            vars(estimator).pop("feature_names_in_", None)
        if with_y:
            y = check_X_y(np.zeros((len(parts), 1)), y, multi_output=True, y_numeric=y_numeric, estimator=estimator)[1]
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
    if ranks is not None and not ranks.local:
        assert_all_finite(X[ranks.own_rows(X.shape[0])], allow_nan=accepts.lists, input_name="X",
                          estimator_name=type(estimator).__name__)
    if accepts.lists:
        X = read_ends(estimator, accepts, X, reset, ranks)
    if several_axes and accepts.sample_shape is not None and not isinstance(X, Sequences):
        check_row_shape(estimator, X.shape[1:], given_shape(accepts.sample_shape, accepts.channels_first))
    return (X, y) if with_y else X


def read_ends(
    estimator: Any, accepts: Accepts, X: np.ndarray, reset: bool, ranks: Ranks | None,
) -> np.ndarray | Sequences:
    """Sequences, where rows of any rank end with NaN, or have another number of steps than the fitted network; else X.
    """
    first, known, row_shape = accepts.channels_first, accepts.sample_shape, X.shape[1:]
    own = network_shape(row_shape, first)
    nan = has_nan(X) if ranks is None else ranks.any(has_nan(X[ranks.own_rows(len(X))]))
    # an array of sequences says how many steps they have; flat rows as long as in the first fit have as many as then
    if (not reset and known is not None and len(own) == 1
            and math.prod(known) != own[0] == math.prod(accepts.row_shape or ())):
        own = (own[0] // known[1], known[1])
    other = not reset and known is not None and len(own) == 2 and own[1] == known[1] and own[0] != known[0]
    if not (nan or any(of_ranks(ranks, other))):
        return X
    if len(own) > 2:
        raise ValueError("Input X contains NaN.")
    if known is not None and not other:
        check_row_shape(estimator, row_shape, given_shape(known, first))
    shape = known if known is not None and not other else own if len(own) == 2 else (*own, 1)
    samples = network_order(X, shape, first)
    ended = end_at_nan(estimator, samples, row_shape) if nan else Sequences(
        samples, np.full(len(X), shape[0], np.int32), row_shape)
    return ended.extended(max(of_ranks(ranks, shape[0])))


def read_targets(name: str, y: Any, numeric: bool) -> Any:
    """y, or what else holds labels, without what scikit-learn does not refuse in a sentence or passes to SciPy."""
    refuse_masked(name, y)
    if is_sparse(y):
        if numeric:
            raise TypeError("Sparse data was passed for y, but dense data is required. Use '.toarray()' to convert to "
                            "a dense numpy array.")
        return as_csr(name, y) if y.ndim == 2 else y
    try:
        array = np.asarray(y) if isinstance(y, (list, tuple)) else y
    except (OverflowError, ValueError):         # nested lists of different lengths
        return y
    if isinstance(array, np.ndarray) and array.dtype.kind == "V":
        raise TypeError(f"{name} must be an array of {'numbers' if numeric else 'labels'}, got the dtype "
                        f"{array.dtype}.")
    if isinstance(array, np.ndarray) and array.dtype == object and not numeric:
        # objects have no order, and scikit-learn refuses them where it does not compare them first
        others = [label for label in array.flat if not isinstance(label, str)]
        if any(isinstance(label, float) and math.isnan(label) for label in others):
            raise ValueError("Input contains NaN")
        if others:
            raise ValueError(UNKNOWN_LABELS)
    return y


def read_weights(X: Any, sample_weight: Any) -> np.ndarray | None:
    """(n,) weights >= 0, or None."""
    if sample_weight is None:
        return None
    refuse_masked("sample_weight", sample_weight)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            finite = np.isfinite(weights.sum(dtype=float))
    except OverflowError as error:              # of ints that no float holds
        raise ValueError(f"Input sample_weight {TOO_LARGE}") from error
    if not finite:
        raise ValueError(f"Input sample_weight {'contains NaN.' if np.isnan(weights).any() else TOO_LARGE}")
    return weights


def count_axes(X: Any) -> int:
    """The number of axes of an array, a data frame, a sparse matrix, or nested lists."""
    return len(X.shape) if hasattr(X, "shape") else np.asarray(X).ndim


def network_shape(row_shape: Shape, channels_first: bool) -> Shape:
    """The shape in which the network reads rows: channels last. Flat rows are left alone."""
    return (*row_shape[1:], row_shape[0]) if channels_first and len(row_shape) > 1 else row_shape


def given_shape(sample_shape: Shape, channels_first: bool) -> Shape:
    """The shape in which the user's rows have the samples of a network."""
    return (sample_shape[-1], *sample_shape[:-1]) if channels_first else sample_shape


def network_order(X: np.ndarray, sample_shape: Shape, channels_first: bool) -> np.ndarray:
    """Rows, flat or not, as samples (n, *sample_shape): a view."""
    given = X.reshape(len(X), *given_shape(sample_shape, channels_first))
    return np.moveaxis(given, 1, -1) if channels_first else given


def check_row_shape(estimator: Any, row_shape: Shape, expected: Shape) -> None:
    """Refuse rows that are neither flat with the expected length nor of the expected shape, but for one channel."""
    name = type(estimator).__name__
    if len(row_shape) > 1 and expected not in (row_shape, (*row_shape, 1), (1, *row_shape)):
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
        sizes = list(itertools.islice(given, max(n_axes) + 1))      # no more: some sequences never end
        shape = tuple(int(size) for size in sizes)
        whole = all(a == b and a >= 1 for a, b in zip(shape, sizes))
    except (OverflowError, TypeError, ValueError):
        shape, whole = (), False
    if not whole or len(shape) not in n_axes:
        counts = " or ".join(map(str, n_axes))
        raise ValueError(f"input_shape must be None or {counts} ints >= 1, got {shown(given)}.")
    return shape


def hold_out(
    rows: Rows, score_weight: np.ndarray | None, fraction: float, random_state: Any, stratify: np.ndarray | None,
    ranks: Ranks | None,
) -> tuple[Rows, Rows]:
    """Training rows and validation rows; the latter have the weights ``score_weight``, for scores."""
    if ranks is not None and ranks.local:
        train, held = split_shards(rows.n, fraction, random_state, stratify, ranks)
    else:
        train, held = train_test_split(
            np.arange(rows.n), test_size=fraction, random_state=random_state, stratify=stratify)
    if sum(of_ranks(ranks, len(held))) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return rows.take(train), rows._replace(weight=score_weight).take(held)


def canonical(rows: Rows) -> Rows:
    """The canonical form of the data, which depends neither on the order of rows nor on how repeats are expressed.

    Rows of weight 0 are dropped, equal rows are merged and their weights added, and the result is sorted by
    content. Full-batch solvers use it, so that equivalent data give the same sums to the last bit.
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
    """(n,) byte strings that are equal if and only if the rows of X, y and lengths are."""
    n = len(X)
    parts = [part.reshape(n, -1) for part in (X, y, lengths) if part is not None]
    # class codes, lengths and bytes are exact in float32
    dtype = np.float32 if X.dtype == np.uint8 else X.dtype
    table = np.concatenate(parts, axis=1, dtype=dtype, casting="unsafe")
    table += 0.0                    # -0.0 becomes 0.0, since bytes are compared
    return table.view(np.dtype((np.void, table.itemsize * table.shape[1]))).ravel()


def contents_of_sparse(X: Any, y: np.ndarray) -> np.ndarray:
    """The same for a CSR matrix X: columns and values of the entries of each row."""
    X = X.copy()
    X.has_canonical_format = X.has_sorted_indices = False       # what SciPy noted may have been true before
    X.sum_duplicates()
    X.eliminate_zeros()
    y = y.reshape(len(y), -1) + 0.0
    keys = np.empty(len(y), object)
    for i, (a, b) in enumerate(zip(X.indptr[:-1], X.indptr[1:])):
        keys[i] = X.indices[a:b].tobytes() + X.data[a:b].tobytes() + y[i].tobytes()
    return keys
