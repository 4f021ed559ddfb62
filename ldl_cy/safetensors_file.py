"""The safetensors format, read in NumPy alone.

A file has 8 bytes with the length of its header, little-endian; the header, JSON of names with the dtype, shape and
place of each array; and then the numbers. The header is compared with the file's length before any number is read, so
that a file costs no more memory than it is long, whatever sizes it claims.

https://github.com/safetensors/safetensors#format
"""
from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np

from ldl_cy.archive import LARGEST_JSON, readable
from ldl_cy.layers.base import Shape
from ldl_cy.messages import cut, shown

KIND = "safetensors file"                               # in errors
METADATA = "__metadata__"
DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}     # that are read


class Entry(NamedTuple):
    """An array that could be loaded.

    Attributes
    ----------
    shape : tuple of ints
    dtype : str
    read : function that returns the array
    """

    shape: Shape
    dtype: str
    read: Callable[[], Any]


def read_metadata(owner: str, source: Any, file: IO[bytes]) -> dict[str, Any]:
    """The metadata of a safetensors file, {} if it has none; the file is left at its beginning.

    Parameters and errors are those of ``read_entries``.
    """
    with readable(owner, source, KIND):
        begin = file.tell()
        header, _ = _read_header(file)
        file.seek(begin)
    found = header.get(METADATA)
    return found if isinstance(found, dict) else {}


def read_entries(owner: str, source: Any, file: IO[bytes]) -> dict[str, Entry]:
    """The arrays of a safetensors file, which are read when their entries are.

    Parameters
    ----------
    owner : str
        The function that reads, for errors.
    source : path or file object, for errors
    file : binary file that can seek, at its beginning

    Raises
    ------
    ValueError
        It is not one: the header is no JSON, has a name twice, or describes arrays that are not exactly what follows.
    """
    with readable(owner, source, KIND):
        header, size = _read_header(file)
        begin = file.tell()
        header.pop(METADATA, None)
        places = {name: _place(name, described) for name, described in header.items()}
        at = 0
        for name, (first, last) in sorted(((name, place[:2]) for name, place in places.items()),
                                          key=lambda each: each[1]):
            if first != at:
                raise ValueError(f"{cut(name)} must begin where the last array ends, at {at}, got {first}")
            at = last
        if at != size:
            raise ValueError(f"its arrays must have {size} bytes, got {at}")

    def read(first: int, last: int, dtype: str, shape: Shape) -> np.ndarray:
        with readable(owner, source, KIND):
            file.seek(begin + first)
            array = np.frombuffer(_read(file, last - first), DTYPES[dtype]).reshape(shape)
        return array

    return {name: Entry(shape, dtype, partial(read, first, last, dtype, shape))
            for name, (first, last, dtype, shape) in places.items()}


def _read_header(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """(the header, number of bytes behind it); the file is left at its end."""
    begin = file.tell()
    size = file.seek(0, os.SEEK_END) - begin
    file.seek(begin)
    length = int.from_bytes(_read(file, 8), "little")
    if length > min(size - 8, LARGEST_JSON):
        raise ValueError(f"its header must have at most {min(size - 8, LARGEST_JSON)} bytes, got {length}")
    header = json.loads(_read(file, length).decode("utf-8"), object_pairs_hook=_once)
    if not isinstance(header, dict):
        raise ValueError(f"its header must have names, got {shown(header)}")
    return header, size - 8 - length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("each name must be there once")
    return found


def _place(name: str, described: Any) -> tuple[int, int, str, Shape]:
    """(first byte, byte after the last, dtype, shape) of an array from its description."""
    if not isinstance(described, dict) or described.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{cut(name)} must have dtype, shape and data_offsets, got {shown(described)}")
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if not isinstance(dtype, str) or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{cut(name)} must have a dtype, a shape and two offsets, got {shown(described)}")
    first, last = offsets
    if last < first:
        raise ValueError(f"{cut(name)} must end after its beginning, got {shown(offsets)}")
    if dtype in DTYPES and math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize != last - first:
        raise ValueError(f"{cut(name)} must have as many bytes as its shape {shown(shape)} of {dtype}, "
                         f"got {shown(last - first)}")
    return first, last, dtype, tuple(shape)


def _are_counts(values: Any) -> bool:
    """Whether this is a list of at most 64 ints, as many as NumPy's arrays have axes, in [0, 2^63)."""
    return isinstance(values, list) and len(values) <= 64 and all(
        type(value) is int and 0 <= value < 1 << 63 for value in values)


def _read(file: IO[bytes], count: int) -> bytes:
    """This many bytes; a ValueError if the file ends before."""
    parts, left = [], count
    while left:
        part = file.read(left)
        if not part:
            raise ValueError("it ends too early")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
