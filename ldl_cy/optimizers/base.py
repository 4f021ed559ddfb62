"""What every optimizer has: settings, and a description of the state that a model keeps for it.

There are two kinds. A step rule (``step_rule``) is a formula that a compiled kernel applies after each batch. A method
is a loop in Python that minimises the loss of all rows as a function of the weights, one iteration an epoch.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ldl_cy._engine.rule import Rule
from ldl_cy.checks import check_real

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.objective import Objective

__all__ = ["Ended", "FullBatchMethod", "Optimizer", "Rule"]


class Optimizer:
    """Base of step rules and methods: settings only, the state is the model's.

    Attributes
    ----------
    full_batch : bool
        Whether every step sees all rows.
    slot_counts : tuple of ints
        All values that ``n_slots`` can have; the first is its value unless a class defines it.
    state_scalars : mapping of names to floats
        The numbers it keeps from one fit to the next, and the smallest value that each can have.
    """

    full_batch: ClassVar[bool] = False
    slot_counts: ClassVar[tuple[int, ...]] = (0,)
    state_scalars: ClassVar[Mapping[str, float]] = {}

    @property
    def method(self) -> FullBatchMethod | None:
        """The method that leads the iterations; None where a step rule is applied to batches."""
        raise TypeError(f"{type(self).__name__}: an optimizer must be a StepRule or a FullBatchMethod.")

    @property
    def n_slots(self) -> int:
        """Vectors of state, each as long as theta, that the formula or the method needs."""
        return self.slot_counts[0]

    @property
    def n_vectors(self) -> int:
        """Vectors of state in all."""
        return self.n_slots

    @property
    def state_name(self) -> str:
        """What kind of state it is; a model forgets the state of another name."""
        return type(self).__name__

    @property
    def log_keys(self) -> tuple[str, ...]:
        """Names of what ``History`` records besides the losses."""
        return ()

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse, before any work, networks and losses that the optimizer is not made for."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return dict(vars(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


class Ended(NamedTuple):
    """Why a method ended by itself."""

    reason: str                     # "converged" or "stalled"
    message: str
    result: Any = None              # what another library's method says of itself


class FullBatchMethod(Optimizer):
    """Base of the methods; one of your own defines ``minimize``, or ``iterate`` where it is an ``IterativeMethod``.

    A method sees the network as at prediction, without dropout and with BatchNorm's running statistics, which it
    leaves as they are: a function of the weights alone.

    Parameters
    ----------
    tol : float >= 0
        The largest entry of the gradient at which the fit has converged.

    Attributes
    ----------
    dtype : str or None
        What the network is computed in; None is the model's own. Vectors of weights are float64 in either case.
    """

    full_batch = True
    dtype: ClassVar[str | None] = "float64"

    def __init__(self, tol: float) -> None:
        self.tol = check_real(type(self).__name__, "tol", tol, 0)

    @property
    def method(self) -> FullBatchMethod:
        """Itself."""
        return self

    def minimize(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float], epochs: int,
        callback: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """Improve ``theta`` in place by at most ``epochs`` iterations.

        What an iteration needs of the ones before is kept in ``slots`` and ``scalars``, so that a new call continues
        where the last one ended.

        Parameters
        ----------
        objective : Objective
        theta : (n_params,) floats of the model's dtype
        slots : (n_slots, n_params) floats of the same, zeros at first
        scalars : dict
            Numbers under the names in ``state_scalars``, empty at first.
        epochs : int >= 1
        callback : function
            Is called with the values of each iteration and returns True to end.

        Returns
        -------
        Ended, or None where the method did not end by itself
        """
        raise TypeError(f"{type(self).__name__}: a method must define minimize(objective, theta, slots, scalars, "
                        "epochs, callback).")
