"""What a fit requires of an optimizer, whoever wrote it. All of it is checked before any work, and read only once."""
from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldl_cy._engine.rule import Rule
from ldl_cy._engine.vec import check_rule
from ldl_cy.checks import check_real
from ldl_cy.messages import shown
from ldl_cy.optimizers.base import Ended, FullBatchMethod, Optimizer
from ldl_cy.optimizers.step_rule import StepRule, check_formula

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Entry

REASONS = ("converged", "stalled", "epochs")


class Declared(NamedTuple):
    """What an optimizer says about itself.

    Attributes
    ----------
    owner : str, the name of its class
    method : FullBatchMethod, or None for a step rule
    n_vectors : int, vectors of state
    state_name : str
    log_keys : tuple of str
    state_scalars : dict of str to float
    """

    owner: str
    method: FullBatchMethod | None
    n_vectors: int
    state_name: str
    log_keys: tuple[str, ...]
    state_scalars: dict[str, float]


def read_optimizer(optimizer: Optimizer) -> Declared:
    """What an optimizer says about itself.

    Raises
    ------
    TypeError, ValueError
        It says something that it cannot mean.
    """
    owner = type(optimizer).__name__
    method = optimizer.method
    if not (isinstance(method, FullBatchMethod) or (method is None and isinstance(optimizer, StepRule))):
        raise TypeError(f"{owner}: method must be a FullBatchMethod, or None for a StepRule, got {shown(method)}.")
    if not isinstance(optimizer.full_batch, bool):
        raise TypeError(f"{owner}: full_batch must be True or False, got {shown(optimizer.full_batch)}.")
    if not callable(optimizer.check):
        raise TypeError(f"{owner}: check must be a method, got {shown(optimizer.check)}.")
    if method is not None and method.dtype not in (None, "float32", "float64"):
        raise ValueError(f"{owner}: dtype must be None, 'float32' or 'float64', got {shown(method.dtype)}.")
    name, keys = optimizer.state_name, optimizer.log_keys
    if not isinstance(name, str) or not name:
        raise TypeError(f"{owner}: state_name must be a str of one letter or more, got {shown(name)}.")
    if not isinstance(keys, tuple) or not all(isinstance(key, str) for key in keys):
        raise TypeError(f"{owner}: log_keys must be a tuple of str, got {shown(keys)}.")
    if {"loss", "val_loss"} & set(keys):
        raise ValueError(f"{owner}: log_keys must be other names than 'loss' and 'val_loss', got {shown(keys)}.")
    return Declared(owner, method, read_n_vectors(owner, optimizer), name, keys, read_scalars(owner, optimizer))


def read_n_vectors(owner: str, optimizer: Optimizer) -> int:
    """The number of vectors of state, with that of an average."""
    counts = optimizer.slot_counts
    if not isinstance(counts, tuple) or not counts or not all(is_count(count) for count in counts):
        raise TypeError(f"{owner}: slot_counts must be a tuple of ints >= 0, got {shown(counts)}.")
    n_slots = optimizer.n_slots
    if not is_count(n_slots) or n_slots not in counts:
        raise (ValueError if is_count(n_slots) else TypeError)(
            f"{owner}: n_slots must be one of slot_counts={counts}, got {shown(n_slots)}.")
    expected = n_slots + (isinstance(optimizer, StepRule) and optimizer.ema is not None)
    n_vectors = optimizer.n_vectors
    if not is_count(n_vectors) or n_vectors != expected:
        raise ValueError(f"{owner}: n_vectors must be n_slots, and one more with ema, {expected}, "
                         f"got {shown(n_vectors)}.")
    return expected


def read_scalars(owner: str, optimizer: Optimizer) -> dict[str, float]:
    """The names of the numbers of state, and their smallest values."""
    scalars = optimizer.state_scalars
    if not isinstance(scalars, Mapping) or not all(
            isinstance(key, str) and is_number(least) for key, least in scalars.items()):
        raise TypeError(f"{owner}: state_scalars must map names to smallest values, got {shown(scalars)}.")
    return dict(scalars)


def read_rule(optimizer: StepRule, declared: Declared, alpha: float, ranges: np.ndarray, n_params: int) -> Rule:
    """A step rule's settings of the compiled update, which fit its formula and the memory that the update reads."""
    owner, rule = declared.owner, optimizer.rule(alpha, ranges)
    if not isinstance(rule, Rule):
        raise TypeError(f"{owner}: rule must return a Rule, got {shown(rule)}.")
    if not is_count(rule.rule_id):
        raise TypeError(f"{owner}: rule_id must be the place of a kernel in vec.RULES, got {shown(rule.rule_id)}.")
    for name in ("alpha", "clip_norm", "tol"):
        check_real(owner, f"rule's {name}", getattr(rule, name), 0)
    for name in ("by_loss", "averages"):
        if not isinstance(getattr(rule, name), bool):
            raise TypeError(f"{owner}: rule's {name} must be True or False, got {shown(getattr(rule, name))}.")
    if rule.averages != (optimizer.ema is not None):
        raise ValueError(f"{owner}: rule's averages must be {not rule.averages} with ema={optimizer.ema!r}, "
                         f"got {rule.averages}.")
    if rule.ranges is not ranges:
        check_ranges(owner, rule.ranges, n_params)
    # one row for any rate: what it reads, and how many columns there are
    check_rule(owner, rule.rule_id, declared.n_vectors - rule.averages,
               check_formula(owner, optimizer.formula(np.ones(1), 0), 1))
    return rule


def read_updated(
    optimizer: StepRule, declared: Declared, parameters: Sequence[Entry],
) -> tuple[np.ndarray, list[float]]:
    """The ranges of theta that steps change, (m, 3): low, high, and the place in a list of factors of the rate.

    Returns
    -------
    updated : (m, 3) int64, ascending
    factors : list of float, all different
    """
    given = optimizer.factors([entry.name for entry in parameters])
    if len(given) != len(parameters) or not all(is_number(factor) and 0 <= factor < np.inf for factor in given):
        raise ValueError(f"{declared.owner}: factors must return {len(parameters)} finite numbers >= 0, "
                         f"got {shown(given)}.")
    factors = list(dict.fromkeys(map(float, given))) or [1.0]
    updated: list[list[int]] = []
    for entry, factor in zip(parameters, given):
        if not entry.trainable or not entry.parameter.size:
            continue
        low, place = entry.offset, factors.index(float(factor))
        if updated and updated[-1][1:] == [low, place]:
            updated[-1][1] += entry.parameter.size
        else:
            updated.append([low, low + entry.parameter.size, place])
    return np.array(updated, np.int64).reshape(-1, 3), factors


def check_ranges(owner: str, ranges: Any, n_params: int) -> None:
    """Refuse ranges of theta that a rule of its own choice acts on, unless they are pairs of ints within theta."""
    given = np.asarray(ranges)
    if given.dtype.kind not in "iu" or given.ndim != 2 or given.shape[1] != 2 or (given.size and not (
            given.min() >= 0 and np.all(given[:, 0] <= given[:, 1]) and given.max() <= n_params)):
        raise ValueError(f"{owner}: rule's ranges must be an (m, 2) array of ints within 0 .. {n_params}, "
                         f"got {shown(ranges)}.")


def read_coefficients(
    optimizer: StepRule, declared: Declared, rule: Rule, *, first: int, count: int, epoch: int, steps_per_epoch: int,
    factors: Sequence[float],
) -> np.ndarray:
    """The coefficients of ``count`` steps, see ``StepRule.coefficients``, for each factor of the rate, as the compiled
    loop reads them.
    """
    sets = [_read_set(optimizer, declared, rule, first, count, epoch, steps_per_epoch, factor) for factor in factors]
    return np.ascontiguousarray(sets[0])[None] if len(sets) == 1 else np.stack(np.broadcast_arrays(*sets))


def _read_set(
    optimizer: StepRule, declared: Declared, rule: Rule, first: int, count: int, epoch: int, steps_per_epoch: int,
    factor: float,
) -> np.ndarray:
    owner = declared.owner
    given = optimizer.coefficients(first, count, epoch, steps_per_epoch, factor)
    if not isinstance(given, np.ndarray) or given.dtype != float or given.ndim != 2 or len(given) not in (1, count):
        raise ValueError(f"{owner}: coefficients must return one row of floats or {count}, got {shown(given)}.")
    if given.shape[1] < 2 or (given[:, 1].any() and not rule.averages):
        raise ValueError(f"{owner}: coefficients must begin with a weight decay and a share of the average, which is 0 "
                         f"without ema, got {shown(given[0])}.")
    check_rule(owner, rule.rule_id, declared.n_vectors - rule.averages, given[:, 2:])
    return given


def read_values(declared: Declared, values: Any) -> dict[str, float]:
    """The values of a method's iteration: its loss and what ``log_keys`` names."""
    names = ("loss", *declared.log_keys)
    if not isinstance(values, dict) or set(values) != set(names) or not all(map(is_number, values.values())):
        raise ValueError(f"{declared.owner}: the values of an iteration must be a dict of the numbers "
                         f"{', '.join(names)}, got {shown(values)}.")
    return {name: float(values[name]) for name in names}


def check_scalars(declared: Declared, scalars: dict[str, Any]) -> None:
    """Refuse numbers of state that a method has not declared, or that are smaller than it has declared."""
    for key, value in scalars.items():
        least = declared.state_scalars.get(key)
        if least is None or not is_number(value) or not value >= least:
            raise ValueError(f"{declared.owner}: its scalars must be numbers under the names in state_scalars, and no "
                             f"smaller than these allow, got {shown(key)}: {shown(value)}.")


def read_ended(declared: Declared, ended: Any, complete: bool) -> Ended | None:
    """What ``minimize`` has returned, after all iterations or a request to stop (``complete``), or before."""
    if ended is None and complete:
        return None
    if not isinstance(ended, Ended) or ended.reason not in REASONS or not isinstance(ended.message, str):
        raise TypeError(f"{declared.owner}: minimize must return None after all its iterations, or else an Ended with "
                        f"the reason 'converged' or 'stalled' and a message, got {shown(ended)}.")
    return ended


def is_count(value: Any) -> bool:
    """Whether a value is an int >= 0."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 0


def is_number(value: Any) -> bool:
    """Whether a value is a real number, which may be infinite or NaN."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
