"""Columns of a table that a graph takes one by one: numbers, and categories whose vectors are rows of tables."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.onnx.reading.file import Op, Unreadable
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.values import Piece, Value, plain


@dataclass(frozen=True, eq=False)
class Columns:
    """Several columns of the graph's input, or with ``table`` the rows of a table that one of them chooses."""

    places: tuple[int, ...]
    table: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Code:
    """A column of the graph's input, cast to whole numbers."""

    place: int


def column(reader: Reader, piece: Piece) -> Code:
    """An entry of the rows of the graph's input, which an Embedding alone may read."""
    value = piece.value
    if value.key != reader.start or value.axes != ((0,), (1,)) or piece.axis != 1:
        raise Unreadable("whole numbers must be a column of the input, or all of it")
    return Code(piece.index)


def columns(reader: Reader, value: Value, axis: int, index: np.ndarray) -> Columns | None:
    """Several columns of the graph's input; None for entries of anything else."""
    if value.key != reader.start or value.axes != ((0,), (1,)) or axis != 1 or index.ndim != 1 or not index.size:
        return None
    n = value.shape[0]
    if index.dtype.kind not in "iu" or not ((index >= -n) & (index < n)).all():
        return None
    return Columns(tuple(int(i) % n for i in index))


def chosen(table: np.ndarray, code: Code) -> Columns:
    """Rows of a table."""
    if table.ndim != 2 or table.dtype.kind != "f" or not table.size:
        raise Unreadable("it must take rows of a matrix")
    return Columns((code.place,), table)


def joined(reader: Reader, op: Op, parts: Sequence[Any]) -> Value:
    """The input's numbers and the vectors of its categories beside each other."""
    n = reader.shapes[reader.start][0]
    parts = [columns(reader, part, 1, np.arange(n)) if isinstance(part, Value) else part for part in parts]
    if not all(isinstance(part, Columns) for part in parts) or op.attributes.get("axis", 0) not in (1, -1):
        raise Unreadable("it must join columns of the input and rows of tables that its other columns choose")
    numbers = [place for part in parts if part.table is None for place in part.places]
    tables = [part for part in parts if part.table is not None]
    places = [part.places[0] for part in tables]
    first = [part.table is None for part in parts]
    if not places or first != sorted(first, reverse=True) or len(set(places)) < len(places) or (
            numbers != [i for i in range(n) if i not in set(places)]):
        raise Unreadable("it must join all columns of numbers in their order, then rows of tables, each column once")
    layer = layers.CategoryEmbedding(places, *zip(*(part.table.shape for part in tables)))
    weights = {f"{name}.table": part.table for name, part in zip(layer.column_names(), tables)}
    weights |= {f"{name}.counts": np.ones(len(part.table), part.table.dtype)
                for name, part in zip(layer.column_names(), tables)}
    key = reader.emit(op, reader.start, layer, weights)
    shape = reader.shapes[key]
    return Value(key, shape, plain(shape, (0, 1)))
