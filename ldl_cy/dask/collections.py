"""Dask arrays and frames as chunks of rows, those of y and of weights beside those of X."""
from __future__ import annotations

import math
from typing import Any

import dask
import dask.array as da

INCONSISTENT = "Found input variables with inconsistent numbers of samples: "       # scikit-learn's sentence


def is_array(given: Any) -> bool:
    """Whether it is a dask array."""
    return isinstance(given, da.Array)


def is_frame(given: Any) -> bool:
    """Whether it is a dask dataframe or series; dask.dataframe, which needs pyarrow, is not imported for that."""
    return dask.is_dask_collection(given) and all(hasattr(given, name) for name in ("map_partitions", "to_delayed",
                                                                                    "divisions"))


def rows_in_chunks(given: Any) -> tuple[float, ...]:
    """The number of rows of each chunk, NaN where it is not known, as in a frame."""
    return given.chunks[0] if is_array(given) else (math.nan,) * given.npartitions


def along_rows(given: Any) -> Any:
    """An array whose chunks have whole rows; a frame, whose chunks always have."""
    if is_array(given) and any(count > 1 for count in given.numblocks[1:]):
        return given.rechunk(dict.fromkeys(range(1, given.ndim), -1))
    return given


def read_collections(owner: str, X: Any, y: Any, sample_weight: Any) -> list[Any]:
    """X, y and, unless it is None, sample_weight, with as many chunks each.

    Raises
    ------
    TypeError
        Not all of them are dask arrays or frames.
    ValueError
        They have different numbers of rows or, where sizes of chunks are not known, of chunks.
    """
    named = {"X": X, "y": y, **({} if sample_weight is None else {"sample_weight": sample_weight})}
    for name, given in named.items():
        if not (is_frame(given) or (is_array(given) and given.ndim)):
            raise TypeError(f"{owner}: {name} must be a dask array or dataframe, got {type(given).__name__}; "
                            f"{owner.removeprefix('Dask')} fits others.")
    sizes, found = rows_in_chunks(X), []
    for name, given in named.items():
        own = rows_in_chunks(given)
        if not any(map(math.isnan, (*sizes, *own))):
            if sum(own) != sum(sizes):
                raise ValueError(f"{INCONSISTENT}{[int(sum(sizes)), int(sum(own))]}")
            given = given if own == sizes else given.rechunk({0: sizes})
        elif len(own) != len(sizes):
            raise ValueError(f"{owner}: {name} must have as many chunks as X, {len(sizes)}, since their sizes are not "
                             f"known, got {len(own)}; compute_chunk_sizes() of an array makes them known.")
        found.append(along_rows(given))
    return found


def delayed_chunks(given: Any) -> list[Any]:
    """What gives each chunk of rows."""
    chunks = given.to_delayed()
    return list(chunks.ravel()) if is_array(given) else list(chunks)
