"""Tables of columns as users have them: pandas' and polars' frames, arrays of numbers, text or objects, lists."""
from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_array

from ldl_cy.messages import shown

TEXT = "OSUT"                   # NumPy's kinds of dtypes of text and objects
DATES = "mM"                    # and of dates and durations


class Factors(NamedTuple):
    """A column of categories.

    Attributes
    ----------
    labels : list, its different values, none of them missing
        Those of a dtype that lists its categories need not occur.
    rows : (n,) ints, which of them each row has; -1 where it is missing
    """

    labels: list[Any]
    rows: np.ndarray


class Table:
    """Base class, of arrays: rows of numbers, text or objects, (n, n_columns).

    Parameters
    ----------
    X : array, or for subclasses a frame
    """

    def __init__(self, X: Any) -> None:
        self.X = X

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.X.shape
        return rows, columns

    def is_category(self, place: int) -> bool:
        """Whether the dtype of a column says that it holds categories, or it holds text."""
        values = self.X[:, place]
        return values.dtype.kind in TEXT and has_text(values)

    def dtype(self, place: int) -> np.dtype | None:
        """The dtype of a column of numbers, if NumPy has it."""
        return np.dtype(self.X.dtype)

    def numbers(self, place: int, name: str) -> np.ndarray:
        """A column as floats, (n,), with NaN where a value is missing."""
        return as_floats(self.X[:, place], name)

    def factors(self, place: int, name: str) -> Factors:
        """A column as categories."""
        return factors_of(self.X[:, place], name)


class PandasTable(Table):
    """A frame of pandas."""

    def is_category(self, place: int) -> bool:
        column = self.X.iloc[:, place]
        if column.dtype.name == "category":
            return True
        kind = getattr(column.dtype, "kind", "O")
        return kind in TEXT and has_text(column.to_numpy(object))

    def dtype(self, place: int) -> np.dtype | None:
        dtype = self.X.dtypes.iloc[place]
        return dtype if isinstance(dtype, np.dtype) else None

    def numbers(self, place: int, name: str) -> np.ndarray:
        column = self.X.iloc[:, place]
        if column.dtype.name == "category" or not isinstance(column.dtype, np.dtype):
            column = column.to_numpy(object)
            return as_floats(np.array([np.nan if is_missing(value) else value for value in column], object), name)
        return as_floats(column.to_numpy(), name)

    def factors(self, place: int, name: str) -> Factors:
        column = self.X.iloc[:, place]
        if column.dtype.name == "category":
            labels = [plain(label) for label in column.cat.categories]
            return Factors(labels, column.cat.codes.to_numpy().astype(np.intp))
        # dates as pandas' own, which are equal in any unit
        numpys = isinstance(column.dtype, np.dtype) and column.dtype.kind not in DATES
        return factors_of(column.to_numpy(None if numpys else object), name)


class PolarsTable(Table):
    """A frame of polars."""

    def _column(self, place: int) -> Any:
        return self.X.to_series(place)

    def is_category(self, place: int) -> bool:
        column = self._column(place)
        kind = type(column.dtype).__name__
        return kind in ("Categorical", "Enum", "String") or (kind == "Object" and has_text(column.to_list()))

    def dtype(self, place: int) -> np.dtype | None:
        return np.dtype(np.float32) if type(self._column(place).dtype).__name__ == "Float32" else None

    def numbers(self, place: int, name: str) -> np.ndarray:
        column = self._column(place)
        values = column.to_list() if column.null_count() else column.to_numpy()
        if isinstance(values, list):
            values = np.array([np.nan if value is None else value for value in values], object)
        return as_floats(values, name)

    def factors(self, place: int, name: str) -> Factors:
        column = self._column(place)
        found = factors_of(np.array(column.to_list(), object), name)
        if type(column.dtype).__name__ != "Enum":
            return found
        labels = column.dtype.categories.to_list()
        place_of = {label: i for i, label in enumerate(labels)}
        order = np.array([*(place_of[label] for label in found.labels), -1], np.intp)
        return Factors(labels, order[found.rows])


def open_table(estimator: Any, X: Any) -> Table:
    """X as a table, with scikit-learn's errors for what has not two axes or is sparse."""
    if hasattr(X, "iloc") and hasattr(X, "dtypes") and X.ndim == 2:
        return PandasTable(X)
    if type(X).__module__.partition(".")[0] == "polars" and hasattr(X, "to_series"):
        return PolarsTable(X)
    if isinstance(X, (list, tuple)):            # NumPy would make text of numbers that are beside text
        X = np.array(X, object)
    return Table(check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator, input_name="X"))


def plain(value: Any) -> Any:
    """Python's form of a NumPy scalar."""
    return value.item() if isinstance(value, np.generic) else value


def is_missing(value: Any) -> bool:
    """None, NaN of any kind, pandas' NA and NaT."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (
        isinstance(value, (float, np.floating, np.datetime64, np.timedelta64, Decimal)) and bool(value != value))


def has_text(values: Sequence[Any] | np.ndarray) -> bool:
    """Whether one of the values is a string."""
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return values.dtype.kind in TEXT
    return any(isinstance(value, str) for value in values)


def as_floats(values: np.ndarray, name: str) -> np.ndarray:
    """A column of numbers: float32 and float64 are kept, others become float64."""
    if values.dtype.char in "fd":
        return values
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Column {name} of X must hold numbers or be one of categorical_features, got "
                         f"{shown(first_that_is_no_number(values))}.") from error


def first_that_is_no_number(values: np.ndarray) -> Any:
    """The first value that is no number."""
    for value in values:
        try:
            float(value)
        except (TypeError, ValueError):
            return plain(value)
    return plain(values[0])


def factors_of(values: np.ndarray, name: str) -> Factors:
    """The different values of a column, in any order, and which one each row has."""
    if values.dtype.kind in "biufUS":
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
        labels, index = np.unique(values[~missing], return_inverse=True)
        places = np.full(len(values), -1, np.intp)
        places[~missing] = index.ravel()
        return Factors(labels.tolist(), places)
    seen: dict[Any, int] = {}
    try:
        index = np.fromiter((seen.setdefault(plain(value), len(seen)) for value in values), np.intp, len(values))
    except TypeError as error:
        raise TypeError(f"Categories of column {name} of X must be text or numbers, got "
                        f"{shown(first_unhashable(values))}.") from error
    kept = [label for label in seen if not is_missing(label)]
    place_of = {id(label): i for i, label in enumerate(kept)}
    order = np.array([place_of.get(id(label), -1) for label in seen], np.intp)
    return Factors(kept, order[index] if len(order) else index)


def first_unhashable(values: np.ndarray) -> Any:
    """The first value that cannot be looked up."""
    for value in values:
        try:
            hash(value)
        except TypeError:
            return value
    return None
