"""A small table of numbers and categories, in the forms in which users have one."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

NAMES = ["city", "age", "job", "income"]
CITIES, JOBS = ("Oslo", "Paris", "Rome"), ("cook", "pilot")
CATEGORIES = [0, 2]
FORMS = ("objects", "lists", "pandas objects", "pandas strings", "pandas categories", "polars strings", "polars enums",
         "polars categories")


def columns(n: int = 200, seed: int = 0, missing: bool = True) -> dict[str, list[Any]]:
    """The columns as lists; the job of every ninth row is missing."""
    rng = np.random.default_rng(seed)
    found = {"city": rng.choice(CITIES, n).tolist(), "age": rng.normal(size=n).tolist(),
             "job": rng.choice(JOBS, n).tolist(), "income": rng.normal(size=n).tolist()}
    if missing:
        found["job"][::9] = [None] * len(found["job"][::9])
    return found


def target(table: dict[str, list[Any]]) -> np.ndarray:
    """A class that depends on both categories and a number."""
    city, job, age = (np.array(table[name], object) for name in ("city", "job", "age"))
    return ((city == "Paris") ^ (job == "cook") | (age.astype(float) > 1.2)).astype(int)


def form(name: str, table: dict[str, list[Any]]) -> Any:
    """The table as one of FORMS."""
    kind, _, dtype = name.partition(" ")
    if kind in ("objects", "lists"):
        rows = [list(row) for row in zip(*table.values())]
        return np.array(rows, object) if kind == "objects" else rows
    reason = f"the extra 'test' brings {kind}, which makes the frames"
    if kind == "pandas":
        pd = pytest.importorskip("pandas", reason=reason)
        frame = pd.DataFrame({name: pd.Series(values, dtype=object if name in ("city", "job") else float)
                              for name, values in table.items()})
        as_dtype = {"strings": "string", "categories": "category", "objects": object}[dtype]
        return frame.astype({"city": as_dtype, "job": as_dtype})
    pl = pytest.importorskip("polars", reason=reason)
    dtypes = {"strings": (pl.String, pl.String), "enums": (pl.Enum(CITIES[::-1]), pl.Enum(JOBS)),
              "categories": (pl.Categorical, pl.Categorical)}[dtype]
    return pl.DataFrame(table).with_columns(
        pl.col("city").cast(dtypes[0]), pl.col("job").cast(dtypes[1]))
