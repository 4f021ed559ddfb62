"""Optimizers: settings only; their state lives in the model.

An optimizer turns into one row of coefficients for each step. The compiled rule applies the row to the
flat vector; it knows no schedule and no bias correction.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ldl_cy._engine.rule import Rule
from ldl_cy.checks import check_real
from ldl_cy.schedules import Schedule

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss

__all__ = ["AVERAGED", "Optimizer", "Rule"]

AVERAGED = "+ema"               # ends the names of states whose last vector is an average


class Optimizer:
    """Base of the optimizers.

    Parameters
    ----------
    learning_rate : float > 0, Schedule or function of the step
        See ``ldl_cy.schedules``. A function receives an array of step numbers (from 0) and returns the rates.
    clip_norm : float > 0, default=None
        The gradient is scaled down to this Euclidean norm where it is longer (Pascanu et al., ICML 2013).
    weight_decay : float >= 0, default=0.0
        Decoupled decay of parameters of two or more axes (Loshchilov and Hutter, ICLR 2019).
    ema : float in (0, 1), default=None
        Average the weights: after each step t = 0, 1, ... a ← d a + (1 − d) θ with d = min(ema, t/(t+1)), at first the
        mean of all, then a moving one (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992). Between epochs and after
        the fit the model's weights are the average; the next epoch goes on from the steps' own. Weights that were
        changed meanwhile begin a new average. BatchNorm's running statistics stay those of the steps' own weights.
    """

    number = 0                  # of the compiled rule, its place in vec.RULES: sgd
    n_slots = 0                 # vectors of state
    slot_counts: tuple[int, ...] = ()   # all that n_slots can be, where it depends on the settings
    # names of the numbers it keeps between fits, and the least of each
    state_scalars: ClassVar[Mapping[str, float]] = {}
    full_batch = False
    ema: float | None = None
    compiled = True             # steps run compiled; else ``minimize`` leads them (see full_batch)
    dtype: str | None = None    # what a method that is not compiled computes in; None is the model's dtype
    constant = True             # the formula's numbers do not depend on the step
    tol = 0.0
    records: tuple[str, ...] = ()   # names of what ``History`` has besides the losses

    def __init__(
        self, learning_rate: float | Callable[[np.ndarray], np.ndarray], *, clip_norm: float | None = None,
        weight_decay: float = 0.0, ema: float | None = None,
    ) -> None:
        owner = type(self).__name__
        if not callable(learning_rate):
            try:
                learning_rate = check_real(owner, "learning_rate", learning_rate, 0, low_open=True)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{owner}: learning_rate must be a float > 0, a schedule or a function of the step, "
                                  f"got {learning_rate!r}.") from None
        self.learning_rate = learning_rate
        if clip_norm is not None:
            clip_norm = check_real(owner, "clip_norm", clip_norm, 0, low_open=True)
        self.clip_norm = clip_norm
        self.weight_decay = check_real(owner, "weight_decay", weight_decay, 0)
        if ema is not None:
            ema = check_real(owner, "ema", ema, 0, 1, low_open=True, high_open=True)
        self.ema = ema

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse, before any work, networks and losses that the method is not made for."""

    def rates(self, first: int, count: int, epoch: int = 0, steps_per_epoch: int = 1) -> np.ndarray:
        """Learning rates of steps first .. first + count - 1.

        Parameters
        ----------
        first, count : int
            The first step, counted from 0, and how many.
        epoch : int, default=0
            The epochs made before the first step, which begins one.
        steps_per_epoch : int, default=1
        """
        if not callable(self.learning_rate):
            return np.full(count, self.learning_rate)
        positions = np.arange(first, first + count)
        if isinstance(self.learning_rate, Schedule) and self.learning_rate.by == "epoch":
            positions = epoch + np.arange(count) // steps_per_epoch
        rates = np.asarray(self.learning_rate(positions), float)
        if rates.shape != (count,) or not np.all(np.isfinite(rates)) or np.any(rates < 0):
            raise ValueError(f"{type(self).__name__}: learning_rate must return {count} finite numbers >= 0, "
                             f"got {rates!r}.")
        return rates

    def coefficients(
        self, first: int, count: int, epoch: int = 0, steps_per_epoch: int = 1, factor: float = 1.0,
    ) -> np.ndarray:
        """(count, 2 + m), for each step: what weight_decay takes off, the share of θ in its average, the rule's row.

        Arguments as in ``rates``; the rates are multiplied by ``factor``. One row alone where all steps have the same.
        """
        same = self.constant and not callable(self.learning_rate) and self.ema is None
        rates = factor * self.rates(first, 1 if same else count, epoch, steps_per_epoch)
        shares = np.zeros(len(rates))
        if self.ema is not None:
            shares = np.maximum(1 - self.ema, 1 / np.arange(first + 1, first + len(rates) + 1))
        return np.column_stack([self.weight_decay * rates, shares, self.formula(rates, first)])

    def formula(self, rates: np.ndarray, first: int) -> np.ndarray:
        """(count, m): the numbers of the compiled rule for steps first, first + 1, ... with these rates."""
        raise TypeError(f"{type(self).__name__}: an optimizer must define formula(rates, first).")

    @property
    def method(self) -> Any:
        return None if self.compiled else self

    @property
    def log_keys(self) -> tuple[str, ...]:
        return self.records

    @property
    def n_vectors(self) -> int:
        """Vectors of state: the rule's, and the average or, between epochs, the steps' own weights as the last."""
        return self.n_slots + (self.ema is not None)

    @property
    def state_name(self) -> str:
        """What kind of state it keeps: as many vectors may be moments, or one fewer and an average."""
        return type(self).__name__ + AVERAGED * (self.ema is not None)

    def rule(self, alpha: float, ranges: np.ndarray) -> Rule:
        """The constants of the compiled update."""
        return Rule(self.number, alpha, self.clip_norm or 0.0, self.tol, False, self.ema is not None, ranges)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return dict(vars(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"
