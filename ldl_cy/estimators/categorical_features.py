"""What estimators do with columns of categories: read them, count them, show their vectors."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from ldl_cy.estimators.categories import CategoryEncoder
from ldl_cy.estimators.ranks import check_agreed, of_ranks
from ldl_cy.estimators.tables import open_table
from ldl_cy.sparse import is_sparse

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks
    from ldl_cy.models import Sequential


class CategoricalFeatures:
    """Base class of estimators that take columns of categories: ``categorical_features``."""

    categorical_features: Any
    model_: Sequential
    category_encoder_: CategoryEncoder

    def embedding_of(self, column: str | int) -> dict[Any, np.ndarray]:
        """The vectors of a column's categories.

        Parameters
        ----------
        column : str or int
            The name of a feature, "x3" for place 3 of X without names, or its place.

        Returns
        -------
        vectors : dict of ndarrays of shape (n_numbers,)
            A copy of each vector by its category, in sorted order; that of missing values is at None, if rows of the
            first fit had any. ``pandas.DataFrame(vectors).T`` is a table of them.

        Raises
        ------
        ValueError
            It is no column of categories.
        """
        check_is_fitted(self)
        encoder = encoder_of(self)
        if encoder is None:
            raise ValueError(f"This {type(self).__name__} has been fitted without columns of categories: "
                             f"categorical_features={self.categorical_features!r}.")
        return encoder.table_of(self.model_.network, column)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()       # type: ignore[misc]
        if not (self.categorical_features is None or isinstance(self.categorical_features, str)):
            tags.input_tags.sparse = False
        return tags


def encoder_of(estimator: Any) -> CategoryEncoder | None:
    """The encoder of a fitted estimator that has columns of categories."""
    found: CategoryEncoder | None = vars(estimator).get("category_encoder_")
    return found


def encode(
    estimator: Any, X: Any, *, reset: bool, training: bool, ranks: Ranks | None = None,
) -> np.ndarray | None:
    """X as numbers and codes, with the names and the number of features compared; None without such columns.

    With ``reset`` both, and the categories of all ranks' rows, are learned. In ``training`` categories are met that no
    row had before.
    """
    if reset:
        vars(estimator).pop("category_encoder_", None)
        given = getattr(estimator, "categorical_features", None)
        if given is None:
            return None
        table = None
        if not (isinstance(given, str) and is_sparse(X)):       # whose dtype is of numbers
            table = open_table(estimator, X)
            validate_data(estimator, X, reset=True, skip_check_array=True)
            learned = CategoryEncoder.fit(table, given, getattr(estimator, "feature_names_in_", None))
        columns = () if table is None else learned.columns
        check_agreed(estimator, {"columns of categories": [column.name for column in columns]}, ranks)
        if table is None or not columns:
            return None
        learned = learned.joined(of_ranks(ranks, [column.labels for column in columns]))
        estimator.category_encoder_ = learned
        return learned.encode(table, unseen=True)
    encoder = encoder_of(estimator)
    if encoder is None:
        return None
    validate_data(estimator, X, reset=False, skip_check_array=True)
    return encoder.encode(open_table(estimator, X), unseen=training)


def leave_out_weightless(estimator: Any, X: Any, weight: np.ndarray | None, ranks: Ranks | None) -> Any:
    """The rows X of a first fit, once the weights are known; categories of weightless rows alone are left out."""
    encoder = encoder_of(estimator)
    if encoder is None or weight is None or all(of_ranks(ranks, weight.all())):
        return X
    estimator.category_encoder_, X = encoder.without_weightless(X, weight, ranks)
    return X


@contextmanager
def counting(estimator: Any, rows: Any, held: Any, *, add: bool, ranks: Ranks | None) -> Iterator[Any]:
    """Count the categories of training rows, in the encoder and the network; gives the held-out rows as seen by it.

    Both are ``Rows``, the held-out ones may be None. A fit that ends with an error before its first epoch leaves the
    network's counts as they were.
    """
    encoder = encoder_of(estimator)
    if encoder is None:
        yield held
        return
    seen = encoder.counted(rows.X, rows.weight, ranks, add=add)
    estimator.category_encoder_ = seen
    model = estimator.model_
    network = model.network
    counts = list(network.views[1].values())[:len(encoder.columns)]
    before, epoch = [values.copy() for values in counts], model.epoch
    with network.version:
        for values, column in zip(counts, seen.columns):
            values[...] = column.counts
    try:
        yield held if held is None else held._replace(X=seen.hide_unseen(held.X))
    except BaseException:
        if model.epoch == epoch:
            with network.version:
                for values, old in zip(counts, before):
                    values[...] = old
        raise
