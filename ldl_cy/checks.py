"""Argument checks in one error style: who, what is required, what came.

``Conv2D: kernel_size must be an int >= 1 or a pair of them, got 0.``
"""
from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

BLAS_INT_MAX = 2**31 - 1


def _is_int(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_int(owner: str, name: str, value: Any, minimum: int = 1) -> int:
    """An int >= minimum (NumPy's ints too, bools not)."""
    if not _is_int(value):
        raise TypeError(f"{owner}: {name} must be an int >= {minimum}, got {value!r}.")
    if value < minimum:
        raise ValueError(f"{owner}: {name} must be an int >= {minimum}, got {value!r}.")
    return int(value)


def check_ints(owner: str, name: str, value: Any, count: int, minimum: int = 1) -> tuple[int, ...]:
    """An int >= minimum or ``count`` of them; always a tuple of ``count`` comes back."""
    several = {1: "a 1-tuple of one", 2: "a pair of them"}.get(count, f"{count} of them")
    text = f"{owner}: {name} must be an int >= {minimum} or {several}, got {value!r}."
    given = (value,) * count if _is_int(value) else value
    if not isinstance(given, (tuple, list)) or not all(_is_int(v) for v in given):
        raise TypeError(text)
    if len(given) != count or any(v < minimum for v in given):
        raise ValueError(text)
    return tuple(int(v) for v in given)


def check_real(
    owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf,
    *, low_open: bool = False, high_open: bool = False,
) -> float:
    """A finite real number in an interval whose ends are closed unless said otherwise."""
    left = "" if low == -math.inf else f" {'>' if low_open else '>='} {low:g}"
    right = "" if high == math.inf else f" {'<' if high_open else '<='} {high:g}"
    text = f"{owner}: {name} must be a number{left}{' and' if left and right else ''}{right}, got {value!r}."
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(text)
    number = float(value)
    inside = (number > low if low_open else number >= low) and (
        number < high if high_open else number <= high)
    if not math.isfinite(number) or not inside:
        raise ValueError(text)
    return number


def check_bool(owner: str, name: str, value: Any) -> bool:
    """True or False (NumPy's too)."""
    if type(value).__name__ not in {"bool", "bool_"}:
        raise TypeError(f"{owner}: {name} must be True or False, got {value!r}.")
    return bool(value)


def check_choice(owner: str, name: str, value: Any, choices: Iterable[str]) -> str:
    """One of a few names."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"{owner}: {name} must be one of {', '.join(map(repr, known))}, got {value!r}.")
    return value


def check_blas_size(owner: str, name: str, value: int) -> int:
    """A size that BLAS's 32-bit int can hold."""
    if value > BLAS_INT_MAX:
        raise ValueError(f"{owner}: {name} must be at most {BLAS_INT_MAX} (BLAS's int), got {value}.")
    return value


def check_input_rank(owner: str, input_shape: tuple[int, ...], rank: int, axes: str) -> None:
    """The rank of a layer's input; ``axes`` names the axes, e.g. '(height, width, channels)'."""
    if len(input_shape) != rank:
        raise ValueError(f"{owner}: the input must have the shape {axes}, got {input_shape}.")
