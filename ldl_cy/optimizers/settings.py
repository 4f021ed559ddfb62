"""Settings of optimizers: attributes that are checked whenever they are assigned, in a constructor or later."""
from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar, overload

from ldl_cy.checks import check_bool, check_choice, check_int, check_real
from ldl_cy.messages import shown

T = TypeVar("T")


class Setting(ABC, Generic[T]):
    """An argument of a constructor that the object keeps under its own name; a subclass defines ``checked``."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @abstractmethod
    def checked(self, owner: str, value: Any) -> T:
        """The value to keep; a TypeError or a ValueError, which begins with ``owner``, if it is not allowed."""

    @overload
    def __get__(self, instance: None, kind: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: object, kind: type) -> T: ...

    def __get__(self, instance: object | None, kind: type) -> Setting[T] | T:
        if instance is None:
            return self
        try:
            value: T = vars(instance)[self.name]
        except KeyError:
            raise AttributeError(f"{kind.__name__}: {self.name} has no value; the constructor must call that of its "
                                 "base class.") from None
        return value

    def __set__(self, instance: object, value: Any) -> None:
        vars(instance)[self.name] = self.checked(type(instance).__name__, value)


class Real(Setting[float]):
    """A finite real number in an interval, see ``check_real``."""

    def __init__(
        self, low: float = -math.inf, high: float = math.inf, *, low_open: bool = False, high_open: bool = False,
    ) -> None:
        self.low, self.high, self.low_open, self.high_open = low, high, low_open, high_open

    def checked(self, owner: str, value: Any) -> float:
        """As a float."""
        return check_real(
            owner, self.name, value, self.low, self.high, low_open=self.low_open, high_open=self.high_open)


class RealOrNone(Setting["float | None"]):
    """A real number in an open interval, or None."""

    def __init__(self, low: float, high: float = math.inf) -> None:
        self.low, self.high = low, high

    def checked(self, owner: str, value: Any) -> float | None:
        """As a float, or None."""
        return None if value is None else check_real(
            owner, self.name, value, self.low, self.high, low_open=True, high_open=self.high < math.inf)


class Int(Setting[int]):
    """An int >= 1."""

    def checked(self, owner: str, value: Any) -> int:
        """As an int."""
        return check_int(owner, self.name, value)


class Bool(Setting[bool]):
    """True or False."""

    def checked(self, owner: str, value: Any) -> bool:
        """As a bool."""
        return check_bool(owner, self.name, value)


class Factors(Setting["dict[str, float] | None"]):
    """Numbers >= 0 by pattern of a name, or None."""

    def checked(self, owner: str, value: Any) -> dict[str, float] | None:
        """A dict of its own, in the same order."""
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(pattern, str) for pattern in value):
            raise TypeError(f"{owner}: {self.name} must be a dict of names of parameters, which may have * and ? in "
                            f"them, to numbers >= 0, got {shown(value)}.")
        return {pattern: check_real(owner, f"{self.name}[{shown(pattern)}]", factor, 0)
                for pattern, factor in value.items()}


class Choice(Setting[str]):
    """One of a few names."""

    def __init__(self, choices: Iterable[str]) -> None:
        self.choices = tuple(choices)

    def checked(self, owner: str, value: Any) -> str:
        """Unchanged."""
        return check_choice(owner, self.name, value, self.choices)
