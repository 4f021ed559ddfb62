"""Argument checks. All errors have the form "owner: name must be what is required, got the value":

``Conv2D: kernel_size must be an int >= 1 or a pair of them, got 0.``
"""
from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ldl_cy._engine.finite import all_finite
from ldl_cy._engine.sparse import SparseRows
from ldl_cy.messages import shown
from ldl_cy.sparse import as_csr, is_sparse

BLAS_INT_MAX = 2**31 - 1
MOST_BITS = 128


def _is_int(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_int(owner: str, name: str, value: Any, minimum: int = 1) -> int:
    """An int >= minimum; NumPy's ints are accepted, bools are not."""
    if not _is_int(value):
        raise TypeError(f"{owner}: {name} must be an int >= {minimum}, got {shown(value)}.")
    if value < minimum:
        raise ValueError(f"{owner}: {name} must be an int >= {minimum}, got {shown(value)}.")
    return check_bits(owner, name, int(value))


def check_bits(owner: str, name: str, value: int) -> int:
    """An int that can be multiplied with others and written: the largest seeds of NumPy have as many bits."""
    if value.bit_length() > MOST_BITS:
        raise ValueError(f"{owner}: {name} must be an int < 2^{MOST_BITS}, got {shown(value)}.")
    return value


def check_ints(owner: str, name: str, value: Any, count: int, minimum: int = 1) -> tuple[int, ...]:
    """An int >= minimum or ``count`` of them, as a tuple of ``count`` ints."""
    several = {1: "a 1-tuple of one", 2: "a pair of them"}.get(count, f"{count} of them")
    given = (value,) * count if _is_int(value) else value
    ints = isinstance(given, (tuple, list)) and all(_is_int(v) for v in given)
    if not ints or len(given) != count or any(v < minimum for v in given):
        raise (ValueError if ints else TypeError)(
            f"{owner}: {name} must be an int >= {minimum} or {several}, got {shown(value)}.")
    return tuple(check_bits(owner, name, int(v)) for v in given)


def check_axes(owner: str, name: str, value: Any) -> int | tuple[int, ...]:
    """An axis other than 0, which is the batch, or different ones as a tuple."""
    several = isinstance(value, (tuple, list))
    given = tuple(value) if several else (value,)
    ints = all(_is_int(axis) for axis in given)
    if not ints or not given or 0 in given or len(set(given)) < len(given):
        raise (ValueError if ints else TypeError)(
            f"{owner}: {name} must be an int other than 0, the batch, or a tuple of different ones, "
            f"got {shown(value)}.")
    axes = tuple(check_bits(owner, name, int(axis)) for axis in given)
    return axes if several else axes[0]


def check_real(
    owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf,
    *, low_open: bool = False, high_open: bool = False,
) -> float:
    """A finite real number in an interval, which is closed unless ``low_open`` or ``high_open``."""
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        number = float(value) if is_real else math.nan
    except OverflowError:           # an int that no float holds
        number = math.inf
    if math.isfinite(number) and (number > low if low_open else number >= low) and (
            number < high if high_open else number <= high):
        return number
    left = "" if low == -math.inf else f" {'>' if low_open else '>='} {low:g}"
    right = "" if high == math.inf else f" {'<' if high_open else '<='} {high:g}"
    raise (ValueError if is_real else TypeError)(
        f"{owner}: {name} must be a number{left}{' and' if left and right else ''}{right}, got {shown(value)}.")


def check_bool(owner: str, name: str, value: Any) -> bool:
    """True or False, also NumPy's."""
    if type(value).__name__ not in {"bool", "bool_"}:
        raise TypeError(f"{owner}: {name} must be True or False, got {shown(value)}.")
    return bool(value)


def check_choice(owner: str, name: str, value: Any, choices: Iterable[str]) -> str:
    """One of a few names; a plain str also for one of NumPy's, which kernels do not take."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"{owner}: {name} must be one of {', '.join(map(repr, known))}, got {shown(value)}.")
    return known[known.index(value)]


def check_blas_size(owner: str, name: str, value: int) -> int:
    """A size that fits into BLAS's 32-bit int."""
    if value > BLAS_INT_MAX:
        raise ValueError(f"{owner}: {name} must be at most {BLAS_INT_MAX} (BLAS's int), got {value}.")
    return value


def check_input_rank(owner: str, input_shape: tuple[int, ...], rank: int, axes: str) -> None:
    """Refuse an input shape of another rank; ``axes`` names the axes, e.g. '(height, width, channels)'."""
    if len(input_shape) != rank:
        raise ValueError(f"{owner}: the input must have the shape {axes}, got {input_shape}.")


def as_numbers(owner: str, name: str, value: Any) -> np.ndarray:
    """An array of real numbers, none of them masked."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{owner}: {name} must have no masked values, got {np.ma.getmaskarray(value).sum()} of "
                         "them.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{owner}: {name} must be an array of numbers, got nested sequences of several "
                         "lengths.") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: {name} must be an array of numbers, got dtype {array.dtype}.")
    return array


def as_result(owner: str, what: str, value: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """What a user's function returned, or a user assigns, as real numbers of this shape; overflow makes infinity."""
    array = as_numbers(owner, what, value)
    if array.shape != shape:
        raise ValueError(f"{owner}: {what} must have the shape {shape}, got {array.shape}.")
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def in_dtype(owner: str, name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """Finite numbers as a C-contiguous, aligned array in ``dtype``; an overflow is refused."""
    with np.errstate(over="ignore"):
        new = np.require(array, dtype, ["C", "A"])
    if array.dtype.kind == "f" and array.itemsize > new.itemsize and not all_finite(new):
        raise ValueError(f"{owner}: {name} must fit into {dtype}, got {np.abs(array).max()!s}.")
    return new


def without_repeats(array: np.ndarray) -> np.ndarray:
    """The same numbers, those of axes of stride 0 only once, which may be repeated 10^12 times."""
    return array[tuple(slice(None, 1 if step == 0 else None) for step in array.strides)]


def check_finite(owner: str, name: str, array: np.ndarray) -> None:
    """Refuse NaN and infinity."""
    if array.dtype.kind != "f" or not array.size or all_finite(array):
        return
    # not finite, or a layout that all_finite does not take
    array = without_repeats(array)
    # a finite sum proves that all numbers are finite, without a second array; an overflowing one proves nothing
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    rows = max(1, (1 << 20) // max(1, array[0].size))
    for start in range(0, len(array), rows):
        part = array[start:start + rows]
        if not np.isfinite(part).all():
            bad = "NaN" if np.isnan(part).any() else "infinity"
            raise ValueError(f"{owner}: {name} must be finite, got {bad}.")


def check_values(owner: str, name: str, X: np.ndarray, dtype: str) -> None:
    """Refuse numbers that are not finite, or will not be once converted to ``dtype``."""
    check_finite(owner, name, X)
    if X.dtype.char == "d" and dtype == "float32" and not all_finite(X, True):
        largest = np.abs(without_repeats(X)).max(initial=0)
        if largest > np.finfo(dtype).max:
            raise ValueError(f"{owner}: {name} must fit into float32, got {largest:g}.")


def read_rows(owner: str, name: str, X: Any, shape: tuple[int, ...] | None = None) -> Any:
    """X as an array (n, *shape) of numbers with n >= 1, or unchanged if it is sparse; values are not checked."""
    sparse = is_sparse(X)
    if not sparse:
        X = as_numbers(owner, name, X)
    elif X.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: {name} must be a matrix of numbers, got dtype {X.dtype}.")
    if X.ndim < 1 or (sparse and X.ndim != 2) or (shape is not None and X.shape[1:] != tuple(shape)):
        axes = shape if shape is not None else ("n_in",) if sparse else ("...",)
        wanted = str(("n", *axes)).replace("'", "")
        raise ValueError(f"{owner}: {name} must have the shape {wanted}, got {X.shape}.")
    if X.shape[0] == 0:
        raise ValueError(f"{owner}: {name} must have at least one row, got the shape {X.shape}.")
    if 0 in X.shape:
        raise ValueError(f"{owner}: {name} must have numbers in its rows, got the shape {X.shape}.")
    return X


def check_rows(
    owner: str, name: str, X: Any, shape: tuple[int, ...] | None, dtype: str,
    own: Callable[[int], slice] | None = None,
) -> Any:
    """An array (n, *shape) of finite numbers as (n, size); float32, float64 and uint8 are kept, others are converted.

    Arrays, memmaps included, are not copied as long as each row is contiguous. Sparse X becomes ``SparseRows``. Only
    the rows ``own(n)`` are read if ``own`` is given and nothing is converted.
    """
    X = read_rows(owner, name, X, shape)
    if is_sparse(X):
        return sparse_rows(owner, name, X, dtype)
    if X.dtype.char not in "fdB":
        check_finite(owner, name, X)
        X = in_dtype(owner, name, X, dtype)
    elif not (X.dtype.isnative and X.flags.aligned):
        X = X.astype(X.dtype.char)
    check_values(owner, name, X if own is None else X[own(len(X))], dtype)
    flat = X.reshape(len(X), -1)
    if flat.shape[1] > 1 and flat.strides[1] != flat.itemsize:
        flat = np.ascontiguousarray(flat)
    return flat


def zero_tails(X: Any, lengths: Any) -> Any:
    """X with zeros past the ends of its sequences, if it is not finite there; X itself otherwise.

    So it is also where X or the lengths are not what they must be, which other checks find.
    """
    try:
        array, ends = np.asarray(X), np.asarray(lengths)
    except ValueError:                  # nested lists of different lengths
        return X
    if (isinstance(X, np.ma.MaskedArray) or array.dtype.kind != "f" or array.ndim < 2
            or ends.shape != array.shape[:1] or ends.dtype.kind not in "iu"):
        return X
    past = np.arange(array.shape[1]) >= ends[:, None]           # (n, T)
    if np.isfinite(array[past]).all():
        return X
    return np.where(past.reshape(*past.shape, *[1] * (array.ndim - 2)), array.dtype.type(0), array)


def sparse_rows(owner: str, name: str, X: Any, dtype: str) -> SparseRows:
    """A sparse matrix as rows of finite numbers; float32 and float64 are kept, others are converted to ``dtype``."""
    X = as_csr(f"{owner}: {name}", X)
    entries = int(X.indptr[-1])
    data, indices = X.data[:entries], X.indices[:entries]
    check_finite(owner, name, data)
    data = in_dtype(owner, name, data, data.dtype.char if data.dtype.char in "fd" else dtype)
    check_values(owner, name, data, dtype)
    return SparseRows(data, np.ascontiguousarray(indices, np.int32 if indices.dtype == np.int32 else np.int64),
                      X.indptr.astype(np.int64), X.shape[1])


def check_weights(
    owner: str, sample_weight: Any, n: int, dtype: str, weightless: bool = False,
) -> np.ndarray | None:
    """(n,) finite numbers >= 0, or None; every sum of them is 0 or has an inverse that is a normal number.

    They may all be zero with ``weightless``.
    """
    if sample_weight is None:
        return None
    w = as_numbers(owner, "sample_weight", sample_weight)
    if w.shape != (n,):
        raise ValueError(f"{owner}: sample_weight must have the shape {(n,)}, got {w.shape}.")
    check_finite(owner, "sample_weight", w)
    distinct = without_repeats(w)
    if distinct.min() < 0:
        raise ValueError(f"{owner}: sample_weight must be >= 0, got {distinct.min()}.")
    if distinct.max() == 0:
        if weightless:
            return np.zeros(n, dtype)
        raise ValueError(f"{owner}: sample_weight must not be zero for every row.")
    kept = in_dtype(owner, "sample_weight", w, dtype)
    tiny = float(np.finfo(dtype).tiny)
    if kept.min() < tiny:
        kept = np.where(kept < tiny, kept.dtype.type(0), kept)      # subnormal numbers have lost digits
    if not tiny <= kept.max() <= 1 / (tiny * n):
        raise ValueError(f"{owner}: sample_weight must be in {dtype} at most {1 / (tiny * n):.2g} and somewhere at "
                         f"least {tiny:.2g}, got {w.max()} as the largest.")
    return kept[:]              # whoever owns the array can change its shape


def check_lengths(owner: str, lengths: Any, n: int, n_steps: int, fault: str) -> np.ndarray | None:
    """(n,) ints from 1 to n_steps as int32, or None. ``fault`` says why a network takes no lengths, "" if it does."""
    if lengths is None:
        return None
    given = as_numbers(owner, "lengths", lengths)
    given = given.copy()        # compiled code trusts them, and the caller's own may change
    if given.dtype.kind not in "iu":
        raise TypeError(f"{owner}: lengths must be an array of ints, got dtype {given.dtype}.")
    if given.shape != (n,):
        raise ValueError(f"{owner}: lengths must have the shape {(n,)}, got {given.shape}.")
    if not n_steps:
        raise ValueError(f"{owner}: lengths need sequences (time, ...), got samples of one axis.")
    if fault:
        raise ValueError(f"{owner}: lengths do not fit this network: {fault}.")
    if given.min() < 1 or given.max() > n_steps:
        raise ValueError(f"{owner}: lengths must be in 1 .. {n_steps}, got {given.min()} .. {given.max()}.")
    return given.astype(np.int32)
