"""Schedules: learning rates that change during training; ``SGD(Cosine(0.1, length=1000))``.

A schedule is a pure function of a position t = 0, 1, 2, ... By step, t is the number of updates made before;
by epoch, it is the number of epochs begun before, so that all steps of an epoch have the same rate.
The model counts both from the time when its optimizer's state was new, over all fits, saving and loading: two
fits of 5 epochs have the rates of one fit of 10. ``model.reset()`` and an optimizer of another class start at 0.

``Cosine(0.1)`` has no length of its own: each fit goes through the whole schedule, from its first step to its last, and
a further fit goes through it again. Two fits of 5 epochs are two schedules then: one over both has a ``length``.
"""
from __future__ import annotations

import copy
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from ldl_cy.checks import check_choice, check_int, check_real
from ldl_cy.messages import shown

__all__ = ["Constant", "Cosine", "Exponential", "InverseScaling", "Linear", "OneCycle", "Schedule", "Step", "Warmup"]

UNITS = ("step", "epoch")


class Schedule:
    """Base class of the schedules; a subclass defines ``formula`` and stores its arguments under their names.

    Parameters
    ----------
    by : "step" or "epoch", default="step"
        What a position counts.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.
    """

    def __init__(self, *, by: str = "step") -> None:
        self.by = check_choice(type(self).__name__, "by", by, UNITS)

    def __call__(self, position: Any) -> Any:
        """The rates at positions.

        Parameters
        ----------
        position : number >= 0 or array of them

        Returns
        -------
        array of the positions' shape, or a float

        Raises
        ------
        ValueError
            A negative position; a schedule whose length only a fit gives.
        """
        if self.with_length(1) is not self:
            raise ValueError(f"{type(self).__name__}: length must be an int >= 1 outside of a fit, got None.")
        t = np.asarray(position, float)
        if not np.all(t >= 0):
            raise ValueError(f"{type(self).__name__}: position must be >= 0, got {shown(position)}.")
        # a scalar is computed as an array: NumPy's power of two scalars may round differently from its array loop
        with np.errstate(over="ignore", invalid="ignore"):      # a fit refuses rates that are not finite
            return np.asarray(self.formula(t.ravel())).reshape(t.shape)[()]

    def formula(self, t: np.ndarray) -> np.ndarray:
        """The rates at positions t, a vector of floats >= 0; each rate depends on its own t only."""
        raise TypeError(f"{type(self).__name__}: a schedule must define formula(t).")

    def with_length(self, length: int) -> Schedule:
        """The same schedule over this length if it has none of its own, else itself."""
        return self

    def in_fit(self, start: int, length: int) -> Schedule:
        """The schedule for a fit of ``length`` positions that begins at the position ``start``.

        Itself, unless its length is the fit's: then its own positions are counted from the fit's beginning.
        """
        fitted = self.with_length(length)
        return self if fitted is self else Shifted(fitted, start)

    def ended(self, position: int) -> bool:
        """Whether the plan is over at a position: a fit of as many steps, or epochs, has ended as planned.

        Estimators do not warn then that ``max_iter`` epochs were too few. Schedules without an end, such as Constant
        and Exponential, return False; one that is as long as a fit is over with the fit.

        Parameters
        ----------
        position : int >= 0
            The number of steps or epochs that were made, see ``by``.
        """
        return False

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return dict(vars(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), *self.get_config().items()))

    def _positive(self, name: str, value: Any) -> float:
        return check_real(type(self).__name__, name, value, 0, low_open=True)

    def _not_negative(self, name: str, value: Any) -> float:
        return check_real(type(self).__name__, name, value, 0)

    def _length(self, value: Any) -> int:
        return check_int(type(self).__name__, "length", value)

    def _length_or_none(self, value: Any) -> int | None:
        return None if value is None else self._length(value)


class Constant(Schedule):
    """η(t) = rate.

    Parameters
    ----------
    rate : float > 0
    by : "step" or "epoch", default="step"
    """

    def __init__(self, rate: float, *, by: str = "step") -> None:
        self.rate = self._positive("rate", rate)
        super().__init__(by=by)

    def formula(self, t: np.ndarray) -> np.ndarray:
        """rate."""
        return np.full(t.shape, self.rate)


class Step(Schedule):
    """η(t) = rate · factor^k, where k is the number of drops up to t: ⌊t/every⌋, or how many of ``every`` are <= t.

    Parameters
    ----------
    rate : float > 0
    factor : float > 0, default=0.1
    every : int >= 1 or increasing ints >= 1, default=10
        The positions between two drops, or the positions of the drops.
    by : "step" or "epoch", default="step"

    References
    ----------
    He et al., "Deep residual learning for image recognition", CVPR 2016: a tenth of the rate at two milestones.
    """

    def __init__(
        self, rate: float, factor: float = 0.1, every: int | Sequence[int] = 10, *, by: str = "step",
    ) -> None:
        self.rate = self._positive("rate", rate)
        self.factor = self._positive("factor", factor)
        self.every: int | tuple[int, ...]
        if isinstance(every, (tuple, list, np.ndarray)):
            self.every = tuple(check_int("Step", "every", milestone) for milestone in every)
            if not self.every or any(a >= b for a, b in zip(self.every, self.every[1:])):
                raise ValueError(f"Step: every must be an int >= 1 or increasing ints, got {shown(every)}.")
        else:
            self.every = check_int("Step", "every", every)
        super().__init__(by=by)

    def formula(self, t: np.ndarray) -> np.ndarray:
        """rate · factor^k."""
        if isinstance(self.every, tuple):       # milestones
            drops = np.searchsorted(self.every, t, side="right")
        else:
            drops = t // self.every
        return self.rate * self.factor ** drops.astype(float)

    def ended(self, position: int) -> bool:
        """Whether a step was made at the rate after the last of the milestones, if ``every`` are milestones."""
        return isinstance(self.every, tuple) and position > self.every[-1]


class Exponential(Schedule):
    """η(t) = rate · factor^(t/every).

    Parameters
    ----------
    rate : float > 0
    factor : float > 0
        The rate is multiplied by it over ``every`` positions; above 1 the rate grows.
    every : int >= 1, default=1
    by : "step" or "epoch", default="step"

    References
    ----------
    Senior et al., "An empirical study of learning rates in deep neural networks for speech recognition",
    ICASSP 2013.
    """

    def __init__(self, rate: float, factor: float, every: int = 1, *, by: str = "step") -> None:
        self.rate = self._positive("rate", rate)
        self.factor = self._positive("factor", factor)
        self.every = check_int("Exponential", "every", every)
        super().__init__(by=by)

    def formula(self, t: np.ndarray) -> np.ndarray:
        """rate · factor^(t/every)."""
        return self.rate * self.factor ** (t / self.every)


class InverseScaling(Schedule):
    """η(t) = rate / (1 + scale · t)^power.

    Stochastic approximation converges for 1/2 < power <= 1, where the sum of the rates diverges and the sum of
    their squares does not. Power 1 is Keras's InverseTimeDecay.

    Parameters
    ----------
    rate : float > 0
    power : float > 0, default=0.5
    scale : float > 0, default=1.0
    by : "step" or "epoch", default="step"

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22, 1951.
    """

    def __init__(self, rate: float, power: float = 0.5, scale: float = 1.0, *, by: str = "step") -> None:
        self.rate = self._positive("rate", rate)
        self.power = self._positive("power", power)
        self.scale = self._positive("scale", scale)
        super().__init__(by=by)

    def formula(self, t: np.ndarray) -> np.ndarray:
        """rate · (1 + scale · t)^−power."""
        return self.rate * (1 + self.scale * t) ** -self.power


class Shifted(Schedule):
    """η(t) = s(t − start): a schedule s whose positions are counted from a fit's beginning."""

    def __init__(self, schedule: Schedule, start: int) -> None:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"Shifted: schedule must be a Schedule, got {shown(schedule)}.")
        self.schedule, self.start = schedule, check_int("Shifted", "start", start, 0)
        super().__init__(by=schedule.by)

    def formula(self, t: np.ndarray) -> np.ndarray:
        """s(t − start)."""
        return self.schedule.formula(np.maximum(t - self.start, 0))


class Sized(Schedule):
    """Base class of schedules with a length, after which the rate is constant; None is the length of a fit."""

    length: int | None = None

    def with_length(self, length: int) -> Schedule:
        """See ``Schedule``."""
        if self.length is not None:
            return self
        sized = copy.copy(self)
        sized.length = length
        return sized

    def over(self) -> int:
        """The length, where it is known."""
        if self.length is None:
            raise ValueError(f"{type(self).__name__}: length must be an int >= 1 outside of a fit, got None.")
        return self.length

    def ended(self, position: int) -> bool:
        """Whether the length is over."""
        return self.length is None or position >= self.length


class Decay(Sized):
    """Base class of schedules from one rate to another over a length, after which the rate is constant."""

    def __init__(self, rate: float, length: int | None = None, final: float = 0.0, *, by: str = "step") -> None:
        self.rate = self._positive("rate", rate)
        self.length = self._length_or_none(length)
        self.final = self._not_negative("final", final)
        super().__init__(by=by)


class Linear(Decay):
    """η(t) = rate + (final − rate) · min(t/length, 1): linear, then constant.

    Parameters
    ----------
    rate : float > 0
    length : int >= 1, default=None
        The position where ``final`` is reached; at the last of ``length`` steps, t = length − 1, it is not yet. None is
        the length of each fit: all its steps, or epochs.
    final : float >= 0, default=0.0
    by : "step" or "epoch", default="step"

    References
    ----------
    Devlin et al., "BERT: pre-training of deep bidirectional transformers", NAACL 2019.
    """

    def formula(self, t: np.ndarray) -> np.ndarray:
        """A line to ``final``."""
        return line(self.rate, self.final, np.minimum(t / self.over(), 1))


class Cosine(Decay):
    """η(t) = final + (rate − final) · (1 + cos(π min(t/length, 1))) / 2: half a cosine, then constant.

    Parameters
    ----------
    rate : float > 0
    length : int >= 1, default=None
        The position where ``final`` is reached. None is the length of each fit: all its steps, or epochs.
    final : float >= 0, default=0.0
    by : "step" or "epoch", default="step"

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5.
    """

    def formula(self, t: np.ndarray) -> np.ndarray:
        """Half a cosine to ``final``."""
        return half_cosine(self.rate, self.final, np.minimum(t / self.over(), 1))


class OneCycle(Sized):
    """Up from ``start`` to ``highest`` over the first ``peak_at`` of the length, then down to ``final``.

    Up, η = start + (highest − start) · s(t / (peak_at · length)); down, η = highest + (final − highest) ·
    s((t − peak_at · length) / ((1 − peak_at) · length)), where s(u) is u or (1 − cos(πu))/2. This is PyTorch's
    OneCycleLR with two phases and total_steps = length + 1.

    Parameters
    ----------
    highest : float > 0
    length : int >= 1, default=None
        The position where ``final`` is reached; after it the rate is constant. None is the length of each fit: all its
        steps, or epochs.
    start : float >= 0, default=highest/25
    final : float >= 0, default=highest/1e4
    peak_at : float in (0, 1), default=0.3
    phases : "cosine" or "linear", default="cosine"
    by : "step" or "epoch", default="step"

    References
    ----------
    Smith, "A disciplined approach to neural network hyper-parameters: part 1", arXiv:1803.09820, 2018.
    """

    def __init__(
        self, highest: float, length: int | None = None, start: float | None = None, final: float | None = None,
        peak_at: float = 0.3, phases: str = "cosine", *, by: str = "step",
    ) -> None:
        self.highest = self._positive("highest", highest)
        self.length = self._length_or_none(length)
        self.start = self._not_negative("start", self.highest / 25 if start is None else start)
        self.final = self._not_negative("final", self.highest / 1e4 if final is None else final)
        self.peak_at = check_real("OneCycle", "peak_at", peak_at, 0, 1, low_open=True, high_open=True)
        self.phases = check_choice("OneCycle", "phases", phases, SHAPES)
        super().__init__(by=by)

    def formula(self, t: np.ndarray) -> np.ndarray:
        """Up, then down."""
        shape, length = SHAPES[self.phases], self.over()
        peak = self.peak_at * length
        up = shape(self.start, self.highest, np.minimum(t / peak, 1))
        down = shape(self.highest, self.final, np.clip((t - peak) / (length - peak), 0, 1))
        return np.where(t < peak, up, down)


class Warmup(Schedule):
    """η(t) = s(0) · (t + 1)/(length + 1) for t < length, then s(t − length): a linear warm-up, then s.

    Parameters
    ----------
    schedule : Schedule or float > 0
        s; a float is a constant rate.
    length : int >= 1
        Positions before s begins. If s has the length of a fit, it has what is left of it after the warm-up.
    by : "step" or "epoch", default=None
        None is the schedule's own, and "step" for a float; with a schedule no other value is allowed.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677, 2017, section 2.2.
    """

    def __init__(self, schedule: Schedule | float, length: int, *, by: str | None = None) -> None:
        if isinstance(schedule, Schedule):
            if by is not None and check_choice("Warmup", "by", by, UNITS) != schedule.by:
                raise ValueError(f"Warmup: by must be {schedule.by!r} as its schedule's, got {shown(by)}.")
            by = schedule.by
        elif isinstance(schedule, numbers.Real):
            schedule, by = self._positive("schedule", schedule), "step" if by is None else by
        else:
            raise TypeError(f"Warmup: schedule must be a Schedule or a number > 0, got {shown(schedule)}.")
        self.schedule = schedule
        self.length = self._length(length)
        super().__init__(by=by)

    def formula(self, t: np.ndarray) -> np.ndarray:
        """Up a line, then the schedule."""
        after = np.maximum(t - self.length, 0)
        rates = self.schedule.formula(after) if isinstance(self.schedule, Schedule) else self.schedule
        # during the warm-up the schedule is evaluated at 0
        return rates * np.minimum((t + 1) / (self.length + 1), 1)

    def with_length(self, length: int) -> Schedule:
        """See ``Schedule``; of the schedule after the warm-up."""
        inner = self.schedule
        after = inner.with_length(max(1, length - self.length)) if isinstance(inner, Schedule) else inner
        if after is inner:
            return self
        sized = copy.copy(self)
        sized.schedule = after
        return sized

    def ended(self, position: int) -> bool:
        """Whether the schedule after the warm-up is over."""
        return isinstance(self.schedule, Schedule) and self.schedule.ended(max(0, position - self.length))


def line(a: float, b: float, u: np.ndarray) -> np.ndarray:
    """From a at u = 0 to b at u = 1, exact at both ends."""
    return a * (1 - u) + b * u


def half_cosine(a: float, b: float, u: np.ndarray) -> np.ndarray:
    """From a at u = 0 to b at u = 1 along half a cosine, exact at both ends."""
    return line(a, b, (1 - np.cos(np.pi * u)) / 2)


SHAPES = {"cosine": half_cosine, "linear": line}
