"""StepRule, the base class of optimizers that apply a formula after each batch, and their learning rates.

A step rule computes one row of coefficients for each step, including bias corrections and schedules. A compiled kernel
(``_engine/vec/rules.inc``) applies the row to the flat vectors; it knows neither steps nor schedules.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from ldl_cy._engine.vec import RULES
from ldl_cy.checks import as_numbers, check_real
from ldl_cy.messages import listed, shown
from ldl_cy.optimizers.base import Optimizer, Rule
from ldl_cy.optimizers.settings import Factors, Real, RealOrNone, Setting
from ldl_cy.schedules import Schedule

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.full_batch import FullBatchMethod

LearningRate: TypeAlias = float | Callable[[np.ndarray], np.ndarray]
RateFactors: TypeAlias = Mapping[str, float] | None

AVERAGED = "+ema"               # suffix of the names of states whose last vector is an average


def table(*columns: Any) -> np.ndarray:
    """Rows of coefficients, (count, m); a column is an array of count numbers, or one number for all rows."""
    rows = np.empty((max(map(np.size, columns)), len(columns)))
    for j, column in enumerate(columns):
        rows[:, j] = column
    return rows


def check_formula(owner: str, given: Any, count: int) -> np.ndarray:
    """What ``formula`` has returned for ``count`` steps, as float64; a TypeError or ValueError if it is not a table."""
    rows = as_numbers(owner, "the result of formula", given).astype(float)
    if rows.ndim != 2 or len(rows) != count:
        raise ValueError(f"{owner}: the result of formula must have the shape ({count}, m), got {rows.shape}.")
    if np.isnan(rows).any():
        raise ValueError(f"{owner}: the result of formula must be numbers, got NaN in {shown(rows)}.")
    return rows


class Rate(Setting[LearningRate]):
    """A learning rate: a number > 0, a schedule or a function of the step."""

    def checked(self, owner: str, value: Any) -> LearningRate:
        """A number as a float."""
        if callable(value):
            return value
        try:
            return check_real(owner, self.name, value, 0, low_open=True)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{owner}: {self.name} must be a float > 0, a schedule or a function of the step, "
                              f"got {shown(value)}.") from None


class StepRule(Optimizer):
    """Base class of step rules; a subclass defines ``rule_id`` and ``formula``.

    Parameters
    ----------
    learning_rate : float > 0, Schedule or function of the step
        See ``ldl_cy.schedules``. A function takes an array of step numbers (from 0) and returns the rates.
    clip_norm : float > 0, default=None
        A gradient with a larger Euclidean norm is scaled down to this norm [1]_.
    weight_decay : float >= 0, default=0.0
        Decoupled weight decay [2]_ of parameters with ``decays``: kernels and tables, not biases and the parameters of
        normalization.
    ema : float in (0, 1), default=None
        Average the weights [3]_: after each step t = 0, 1, ... ::

            d = min(ema, t/(t+1))
            a ← d a + (1 − d) θ

        which is first the mean of all weights, then a moving average. Between epochs and after the fit the model's
        weights are the average; the next epoch continues from the steps' own weights. If theta is changed in between,
        a new average begins. BatchNorm's running statistics are those of the steps' own weights.

    rate_factors : dict of str to float >= 0, default=None
        Factors of the learning rate, and so of weight_decay, by name of a parameter as in ``model.parameters``. Names
        may contain ``*`` and ``?`` (fnmatch): ``{"conv2d_*": 0.1, "*.bias": 2}``. If several match, the last one
        applies. A fit refuses a name that matches no parameter. With 0 the weights keep their value, but their
        gradients are computed: see ``Sequential.freeze``.

    Attributes
    ----------
    rule_id : int
        The kernel: its index in ``ldl_cy._engine.vec.RULES``.
    depends_on_step : bool, default=True
        Whether coefficients differ between steps of the same learning rate; if not, one row serves all steps.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range.

    References
    ----------
    .. [1] Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    .. [2] Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    .. [3] Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30,
       1992.
    """

    rule_id: ClassVar[int]
    learning_rate = Rate()
    clip_norm, weight_decay, ema, rate_factors = RealOrNone(0), Real(0), RealOrNone(0, 1), Factors()

    def __init__(
        self, learning_rate: LearningRate, *, clip_norm: float | None = None, weight_decay: float = 0.0,
        ema: float | None = None, rate_factors: RateFactors = None,
    ) -> None:
        owner = type(self).__name__
        rule_id = getattr(self, "rule_id", None)
        if rule_id not in range(len(RULES)):
            raise TypeError(f"{owner}: rule_id must be the place of a kernel in vec.RULES, got {shown(rule_id)}.")
        self.learning_rate = learning_rate
        self.clip_norm, self.weight_decay, self.ema = clip_norm, weight_decay, ema
        self.rate_factors = rate_factors

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            vars(self)[name] = value
            if name == "ema":               # older pickles have no factors; the order is the constructor's
                vars(self)["rate_factors"] = None

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """The kernel's coefficients of steps first, first + 1, ...

        Parameters
        ----------
        rates : (count,) floats, the learning rate of each step
        first : int
            The number of the first step, from 0.

        Returns
        -------
        (count, m) array
        """
        raise TypeError(f"{type(self).__name__}: an optimizer must define formula(rates, first).")

    @property
    def depends_on_step(self) -> bool:
        """Whether rows of the formula differ between steps of the same learning rate."""
        return True

    @property
    def method(self) -> FullBatchMethod | None:
        """None: compiled steps by the rule."""
        return None

    @property
    def n_vectors(self) -> int:
        """The rule's vectors and, with ``ema``, one for the average or, between epochs, the steps' own weights."""
        return self.n_slots + (self.ema is not None)

    @property
    def state_name(self) -> str:
        """The class's name, with a suffix for ``ema``, since the number of vectors alone could be ambiguous."""
        return type(self).__name__ + AVERAGED * (self.ema is not None)

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse names in ``rate_factors`` that match no parameter of the network."""
        names = [entry.name for entry in graph.parameters]
        for pattern in self.rate_factors or ():
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(f"{type(self).__name__}: rate_factors must match names of parameters, got "
                                 f"{shown(pattern)}; there are: {listed(names)}.")

    def in_fit(self, made: tuple[int, int], planned: tuple[int | None, int]) -> StepRule:
        """The optimizer for one fit, whose length a schedule may take.

        Parameters
        ----------
        made : pair of ints
            Steps and epochs since the optimizer's state was new.
        planned : pair of ints
            Steps and epochs of the fit; None for steps that are not known before.

        Returns
        -------
        StepRule : itself, or a copy if its schedule has no length of its own
        """
        rate = self.learning_rate
        if not isinstance(rate, Schedule) or rate.with_length(1) is rate:
            return self
        unit = 1 if rate.by == "epoch" else 0
        start, length = made[unit], planned[unit]
        if length is None:
            raise ValueError(f"{type(rate).__name__}: length must be given, or by='epoch', for an iterable of batches "
                             "without len(), got None.")
        fitted = copy.copy(self)
        fitted.learning_rate = rate.in_fit(start, length)
        return fitted

    def factors(self, names: Sequence[str]) -> list[float]:
        """The factor of the rate of each parameter: that of the last name in ``rate_factors`` that matches, or 1."""
        given = list((self.rate_factors or {}).items())
        return [next((factor for pattern, factor in reversed(given) if fnmatchcase(name, pattern)), 1.0)
                for name in names]

    def rates(self, first: int, count: int, epoch: int = 0, steps_per_epoch: int = 1) -> np.ndarray:
        """Learning rates of steps first .. first + count - 1.

        Parameters
        ----------
        first, count : int
            The number of the first step, from 0, and the number of steps.
        epoch : int, default=0
            Epochs before the first step, with which an epoch begins.
        steps_per_epoch : int, default=1

        Returns
        -------
        (count,) array

        Raises
        ------
        ValueError
            A schedule or function that does not return ``count`` finite numbers >= 0.
        """
        if not callable(self.learning_rate):
            return np.full(count, self.learning_rate)
        positions = np.arange(first, first + count)
        if isinstance(self.learning_rate, Schedule) and self.learning_rate.by == "epoch":
            positions = epoch + np.arange(count) // steps_per_epoch
        rates = as_numbers(type(self).__name__, "the result of learning_rate", self.learning_rate(positions))
        rates = rates.astype(float)
        if rates.shape != (count,) or not np.all(np.isfinite(rates)) or np.any(rates < 0):
            raise ValueError(f"{type(self).__name__}: learning_rate must return {count} finite numbers >= 0, "
                             f"got {shown(rates)}.")
        return rates

    def coefficients(
        self, first: int, count: int, epoch: int = 0, steps_per_epoch: int = 1, factor: float = 1.0,
    ) -> np.ndarray:
        """Coefficients of each step, (count, 2 + m): weight decay, the weight of θ in its average, the formula's row.

        Arguments as in ``rates``; the rates are multiplied by ``factor``. A single row if it is the same for all steps.
        """
        same = not (callable(self.learning_rate) or self.depends_on_step or self.ema is not None)
        rates = factor * self.rates(first, 1 if same else count, epoch, steps_per_epoch)
        rows = check_formula(type(self).__name__, self.formula(rates, first), len(rates))
        found = np.zeros((len(rates), 2 + rows.shape[1]))
        found[:, 0], found[:, 2:] = self.weight_decay * rates, rows
        if self.ema is not None:
            found[:, 1] = np.maximum(1 - self.ema, 1 / np.arange(first + 1, first + len(rates) + 1))
        return found

    def rule(self, alpha: float, ranges: np.ndarray) -> Rule:
        """The settings of the compiled update that do not change from step to step.

        Parameters
        ----------
        alpha : float
            L2 penalty: adds alpha/2 Σ θ² / Σ w to the loss.
        ranges : (m, 2) ints
            The ranges of theta on which alpha and weight_decay act.

        Returns
        -------
        Rule
        """
        return Rule(self.rule_id, alpha, self.clip_norm or 0.0, 0.0, False, self.ema is not None, ranges)
