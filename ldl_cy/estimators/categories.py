"""The categories of columns: learned from a table, and turned into the codes that a network reads."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from ldl_cy.estimators.tables import Factors, Table
from ldl_cy.layers import CategoryEmbedding, Layer
from ldl_cy.messages import shown
from ldl_cy.network import Network

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks


class CategoryColumn(NamedTuple):
    """A column of categories, as the training rows have it.

    Attributes
    ----------
    place : int, which column of X it is
    name : str, of the feature, "x3" of one without a name
    labels : tuple, the categories in the order of their codes: sorted, and None last where values were missing
    counts : (n_labels,) floats, the weights of the rows that had each one, summed over all rows of training
    """

    place: int
    name: str
    labels: tuple[Any, ...]
    counts: np.ndarray

    def codes(self, factors: Factors, unseen: bool) -> np.ndarray:
        """(n,) the places of a column's values in ``labels``, and their number for values that are not there.

        Without ``unseen`` this is also the code of a category that no row of training had.
        """
        unknown = len(self.labels)
        place_of = {label: i for i, label in enumerate(self.labels) if unseen or self.counts[i] > 0}
        table = np.array([place_of.get(label, unknown) for label in (*factors.labels, None)], np.intp)
        return table[factors.rows]             # -1, which is missing, takes the last one

    def check_kind(self, factors: Factors) -> None:
        """Refuse numbers for text and the reverse, which would all be unknown."""
        given, own = ({isinstance(label, str) for label in labels if label is not None}
                      for labels in (factors.labels, self.labels))
        if len(given) == len(own) == 1 and given != own:
            kinds = ("text", "numbers") if own == {True} else ("numbers", "text")
            raise ValueError(f"Column {shown(self.name)} of X had {kinds[0]} as categories in fit, got {kinds[1]}.")


class CategoryEncoder:
    """The columns of categories of an estimator. It does not change; what learns returns another one.

    Parameters
    ----------
    names : tuple of str, of all columns of X
    columns : tuple of CategoryColumn

    Attributes
    ----------
    names, columns : the same
    """

    def __init__(self, names: tuple[str, ...], columns: tuple[CategoryColumn, ...]) -> None:
        self.names, self.columns = names, columns

    @classmethod
    def fit(cls, table: Table, given: Any, names: np.ndarray | None) -> Self:
        """Learn the categories of a table.

        Parameters
        ----------
        table : Table
        given : the estimator's parameter ``categorical_features``
        names : array of str or None, the names of the features

        Raises
        ------
        ValueError, TypeError
            ``given`` is nothing that scikit-learn takes, or names columns that are not there; categories that are no
            text or numbers.
        """
        n_features = table.shape[1]
        places = places_of(table, given, names)
        own = [f"x{i}" for i in range(n_features)]
        if names is not None and len({*names, ""}) == n_features + 1:       # different ones, none of them empty
            own = list(map(str, names))
        columns = []
        for place in places:
            factors = table.factors(place, shown(own[place]))
            labels: list[Any] = in_order(factors.labels, own[place])
            if (factors.rows < 0).any():
                labels.append(None)
            if not labels:
                raise ValueError(f"Column {shown(own[place])} of X has no categories.")
            columns.append(CategoryColumn(place, own[place], tuple(labels), np.zeros(len(labels))))
        return cls(tuple(own), tuple(columns))

    def joined(self, labels: Sequence[Sequence[tuple[Any, ...]]]) -> CategoryEncoder:
        """The encoder with the categories of several tables: ``labels`` of each column, for each table."""
        if len(labels) == 1:
            return self
        columns = []
        for column, given in zip(self.columns, zip(*labels)):
            found = dict.fromkeys(label for one in given for label in one)
            missing = [None] if None in found else []
            known = [label for label in found if label is not None]
            merged = (*in_order(known, column.name), *missing)
            columns.append(column._replace(labels=merged, counts=np.zeros(len(merged))))
        return CategoryEncoder(self.names, tuple(columns))

    def encode(self, table: Table, *, unseen: bool) -> np.ndarray:
        """The rows as numbers (n, n_features), float32 if all numbers are, with codes in the columns of categories."""
        places = {column.place for column in self.columns}
        numbers = [place for place in range(len(self.names)) if place not in places]
        dtypes = {table.dtype(place) for place in numbers}
        X = np.empty(table.shape, np.float32 if dtypes == {np.dtype(np.float32)} else np.float64)
        for place in numbers:
            X[:, place] = table.numbers(place, shown(self.names[place]))
        for column in self.columns:
            factors = table.factors(column.place, shown(column.name))
            column.check_kind(factors)
            X[:, column.place] = column.codes(factors, unseen)
        return X

    def counted(
        self, X: np.ndarray, weight: np.ndarray | None, ranks: Ranks | None, *, add: bool,
    ) -> CategoryEncoder:
        """The encoder that has seen the rows X (n, n_features) with these weights, and those of other ranks.

        With ``add`` their counts are added to the old ones; else those of a category that is not among them stay.
        """
        columns = []
        for column in self.columns:
            new = counts_of(X[:, column.place], len(column.labels), weight, ranks)
            counts = column.counts + new if add else np.where(new > 0, new, column.counts)
            columns.append(column._replace(counts=counts))
        return CategoryEncoder(self.names, tuple(columns))

    def without_weightless(
        self, X: np.ndarray, weight: np.ndarray, ranks: Ranks | None,
    ) -> tuple[CategoryEncoder, np.ndarray]:
        """Leave out the categories that only rows of weight 0 have: such rows change nothing, also not codes."""
        X, columns = X.copy(), []
        for column in self.columns:
            k, codes = len(column.labels), X[:, column.place]
            kept = (counts_of(codes, k, None, ranks) == 0) | (counts_of(codes, k, weight, ranks) > 0)
            new = np.append(np.cumsum(kept) - 1, kept.sum())
            new[:-1][~kept] = kept.sum()
            X[:, column.place] = new[codes.astype(np.intp)]
            labels = tuple(label for label, keep in zip(column.labels, kept) if keep)
            columns.append(column._replace(labels=labels, counts=column.counts[kept]))
        return CategoryEncoder(self.names, tuple(columns)), X

    def hide_unseen(self, X: np.ndarray) -> np.ndarray:
        """The rows with categories that no row of training had as unknown ones."""
        X = X.copy()
        for column in self.columns:
            k = len(column.labels)
            new = np.append(np.where(column.counts > 0, np.arange(k), k), k)
            X[:, column.place] = new[X[:, column.place].astype(np.intp)]
        return X

    def layer(self, *, fixed: bool) -> Layer:
        """The layer that reads the encoded rows; vectors that stay as they are drawn are large beside other numbers.

        Those are a projection of one-hot columns on orthonormal ones.
        """
        return CategoryEmbedding(
            [column.place for column in self.columns], [len(column.labels) for column in self.columns],
            names=[column.name for column in self.columns],
            embeddings_initializer="orthogonal" if fixed else "uniform")

    def table_of(self, network: Network, column: Any) -> dict[Any, np.ndarray]:
        """The vectors of a column's categories, by category, of a network that begins with ``layer()``.

        Parameters
        ----------
        network : Network
        column : str or int, the name of a feature or its place

        Raises
        ------
        ValueError
            It is no column of categories.
        """
        for i, own in enumerate(self.columns):
            if column == own.name or (not isinstance(column, str) and column == own.place):
                table = list(network.views[0].values())[i]
                return {label: vector.copy() for label, vector in zip(own.labels, table)}
        known = ", ".join(repr(own.name) for own in self.columns)
        raise ValueError(f"column must be one of the columns of categories {known}, got {shown(column)}.")


def counts_of(codes: np.ndarray, k: int, weight: np.ndarray | None, ranks: Ranks | None) -> np.ndarray:
    """(k,) the summed weights of the rows with each of k codes, of all ranks."""
    places = codes.astype(np.intp)

    def count(part: slice) -> np.ndarray:
        return np.bincount(places[part], None if weight is None else weight[part], k + 1)[:k].astype(float)

    if ranks is None or not ranks.local:
        return count(slice(None))
    return ranks.sum([count(part) for part in ranks.own_parts(len(places))])


def in_order(labels: list[Any], name: str) -> list[Any]:
    """Sorted: numbers, then text, then others by the name of their class."""
    def key(label: Any) -> tuple[int, str, Any]:
        if isinstance(label, (bool, int, float)):
            return 0, "", label
        return (1, "", label) if isinstance(label, str) else (2, type(label).__name__, label)

    try:
        return sorted(labels, key=key)
    except TypeError as error:
        raise TypeError(f"Categories of column {shown(name)} of X must be text or numbers, got "
                        f"{shown(labels[0])}.") from error


def places_of(table: Table, given: Any, names: np.ndarray | None) -> list[int]:
    """The columns that ``categorical_features`` means, with scikit-learn's errors."""
    n = table.shape[1]
    if isinstance(given, str):          # "from_dtype"
        return [place for place in range(n) if table.is_category(place)]
    wanted = np.asarray(given)
    if wanted.size == 0:
        return []
    if wanted.ndim != 1 or wanted.dtype.kind not in "biuUO" or (
            wanted.dtype.kind == "O" and not all(isinstance(name, str) for name in wanted)):
        raise ValueError("categorical_features must be an array-like of bool, int or str, got: "
                         f"{wanted.dtype.name}.")
    if wanted.dtype.kind in "UO":
        if names is None:
            raise ValueError("categorical_features should be passed as an array of integers or as a boolean mask when "
                             "the model is fitted on data without feature names.")
        place_of = {str(name): i for i, name in enumerate(names)}
        for name in wanted:
            if name not in place_of:
                raise ValueError(f"categorical_features has a item value '{name}' which is not a valid feature name "
                                 f"of the training data. Observed feature names: {list(place_of)}")
        return sorted({place_of[name] for name in wanted})
    if wanted.dtype.kind == "b":
        if wanted.shape != (n,):
            raise ValueError(f"categorical_features set as a boolean mask must have shape (n_features,), got: "
                             f"{wanted.shape}")
        return np.flatnonzero(wanted).tolist()
    if wanted.min() < 0 or wanted.max() >= n:
        raise ValueError("categorical_features set as integer indices must be in [0, n_features - 1]")
    return sorted(set(wanted.tolist()))
