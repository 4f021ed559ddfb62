"""CategoryEmbedding, a table for each column of categories, beside columns of numbers."""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ldl_cy.checks import check_blas_size, check_input_rank, check_int, without_repeats
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.base import Built, Layer, Parameter, Shape
from ldl_cy.messages import shown

OWNER = "CategoryEmbedding"
MOST_COLUMNS = 100_000
LONGEST_VECTOR = 50                     # of those whose length is not given
CHECKED_AT_A_TIME = 1 << 20             # numbers: a memmap is not loaded as a whole


def default_output_dim(input_dim: int) -> int:
    """Length of the vectors for a number of categories: min(50, (input_dim + 1) // 2)."""
    return min(LONGEST_VECTOR, (input_dim + 1) // 2)


def mean_row(table: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The vector of a category that is not known, (output_dim,): the mean of the rows weighted by counts (input_dim,).

    Without a count it is 0.
    """
    total = counts.sum(dtype=float)
    mean: np.ndarray = (counts / (total or 1.0)) @ table.astype(float)
    return mean.astype(table.dtype)


class CategoryEmbedding(Layer):
    """Look up a vector for each category of a table's row, beside its numbers: y = [x_numeric, table_1[x_1], ...].

    The columns at ``places`` hold category codes 0 .. input_dim - 1, as numbers of the model's dtype, each column its
    own table; all other columns are numbers, which come first in the output, in their order. A code of input_dim is
    a category that is not known: its vector is the mean of the table, weighted by ``counts``.

    Parameters
    ----------
    places : sequence of different ints >= 0
        The columns of categories.
    input_dims : sequence of ints >= 1
        The number of categories of each; in float32 less than 2^24.
    output_dims : sequence of ints >= 1, default=None
        Length of the vectors of each; None is min(50, (input_dim + 1) // 2).
    names : sequence of different str, default=None
        Names of the columns, which the parameters have; None is "x0" for column 0.
    embeddings_initializer : str or initializer, default="uniform"
    name, trainable : see ``Layer``

    Shape
    -----
    Input (n_columns,); output (n_columns - len(places) + sum(output_dims),).

    Attributes
    ----------
    NAME.table : (input_dim, output_dim), for each column
    NAME.counts : (input_dim,), state: how often each category occurs, 1 at first; training does not change it

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range, or of another length than ``places``; in ``build`` an input without one
        of the columns; in a first layer also codes that are not whole numbers 0 .. input_dim.

    References
    ----------
    Guo, Berkhahn, "Entity embeddings of categorical variables", arXiv:1604.06737 (2016).

    Examples
    --------
    >>> from ldl_cy import Sequential, layers
    >>> model = Sequential([layers.CategoryEmbedding([1], [3], names=["city"])], random_state=0).build(2)
    >>> list(model.parameters), model.output_shape
    (['category_embedding_0.city.table'], (3,))
    """

    def __init__(
        self, places: Sequence[int], input_dims: Sequence[int], output_dims: Sequence[int] | None = None, *,
        names: Sequence[str] | None = None, embeddings_initializer: Any = "uniform", name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.places = several("places", places, "ints >= 0", 0)
        self.input_dims = several("input_dims", input_dims, "ints >= 1", 1)
        self.output_dims = None if output_dims is None else several("output_dims", output_dims, "ints >= 1", 1)
        self.names = None if names is None else several("names", names, "str", None)
        for what in ("places", "names"):
            given = getattr(self, what)
            if given is not None and len(set(given)) < len(given):
                raise ValueError(f"{OWNER}: {what} must be different ones, got {shown(given)}.")
        for what in ("input_dims", "output_dims", "names"):
            given = getattr(self, what)
            if given is not None and len(given) != len(self.places):
                raise ValueError(f"{OWNER}: {what} must be as many as places, {len(self.places)}, got {len(given)}.")
        self.embeddings_initializer = embeddings_initializer
        get_initializer(OWNER, "embeddings_initializer", embeddings_initializer)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.embedding import category_embedding

        check_input_rank(OWNER, input_shape, 1, "(n_columns,)")
        n_in = input_shape[0]
        if max(self.places) >= n_in:
            raise ValueError(f"{OWNER}: places must be less than the number of columns, {n_in}, got "
                             f"{max(self.places)}.")
        sizes = self.output_dims or tuple(map(default_output_dim, self.input_dims))
        for n_ids, k in zip(self.input_dims, sizes):
            check_blas_size(OWNER, "input_dims", n_ids)
            check_blas_size(OWNER, "output_dims", k)
        names = self.column_names()
        kernel = partial(category_embedding, n_in=n_in, places=self.places, n_ids=self.input_dims, k=sizes)
        tables = tuple(Parameter(f"{name}.table", (n_ids, k), self.embeddings_initializer, decays=True)
                       for name, n_ids, k in zip(names, self.input_dims, sizes))
        counts = tuple(Parameter(f"{name}.counts", (n_ids,), "ones") for name, n_ids in zip(names, self.input_dims))
        return Built((n_in - len(self.places) + sum(sizes),), kernel, tables, counts, check_input=self.check_input)

    def column_names(self) -> tuple[str, ...]:
        """The names of the columns of categories, in the order of ``places``."""
        return self.names or tuple(f"x{place}" for place in self.places)

    def check_input(self, X: np.ndarray) -> None:
        """Refuse rows whose columns of categories have anything but codes."""
        if isinstance(X, np.ndarray):
            X = without_repeats(X)
        places = [place for place in self.places if place < X.shape[1]]
        most = np.array([n_ids for place, n_ids in zip(self.places, self.input_dims) if place < X.shape[1]])
        rows = max(1, CHECKED_AT_A_TIME // X.shape[1])
        for start in range(0, len(X), rows):
            part = np.asarray(X[start:start + rows])[:, places]
            good = (part >= 0) & (part <= most) & (part == np.floor(part))
            if not good.all():
                row, column = np.argwhere(~good)[0]
                bad = float(part[row, column])
                raise ValueError(f"{OWNER}: codes in column {places[column]} must be whole numbers 0 .. "
                                 f"{most[column]}, got {int(bad) if bad.is_integer() else bad}.")


def several(what: str, value: Any, kind: str, least: int | None) -> tuple[Any, ...]:
    """One or more ints, or strings where ``least`` is None, as a tuple."""
    given = value
    if not isinstance(given, (str, bytes)) and hasattr(given, "__iter__"):
        given = tuple(itertools.islice(given, MOST_COLUMNS + 1))        # no more: some sequences never end
    if not isinstance(given, tuple):
        raise TypeError(f"{OWNER}: {what} must be a sequence of {kind}, got {shown(value)}.")
    if not 1 <= len(given) <= MOST_COLUMNS:
        raise ValueError(f"{OWNER}: {what} must be 1 to {MOST_COLUMNS} {kind}, got "
                         f"{'more' if given else 'none'}.")
    if least is not None:
        return tuple(check_int(OWNER, what, each, least) for each in given)
    for each in given:
        if not isinstance(each, str) or not each:
            raise (ValueError if isinstance(each, str) else TypeError)(
                f"{OWNER}: {what} must be a sequence of {kind} with a letter or more, got {shown(each)}.")
    return tuple(map(str, given))
