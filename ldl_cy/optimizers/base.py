"""The base classes of optimizers: settings, and a description of the state that a model stores for them.

There are two kinds. A step rule (``step_rule``) is a formula that a compiled kernel applies after each batch. A method
is a loop in Python that minimises the loss of all rows as a function of the weights, with one iteration per epoch.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ldl_cy._engine.rule import Rule
from ldl_cy.optimizers.settings import Real

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.objective import Objective

__all__ = ["Ended", "FullBatchMethod", "Optimizer", "Rule"]


class Optimizer:
    """Base class of step rules and methods: settings only, since the model has the state.

    Attributes
    ----------
    full_batch : bool
        Whether every step uses all rows.
    slot_counts : tuple of ints
        All possible values of ``n_slots``; the first is its value unless a class overrides ``n_slots``.
    state_scalars : mapping of names to floats
        The numbers that are kept from one fit to the next, with the smallest possible value of each.
    """

    full_batch: ClassVar[bool] = False
    slot_counts: ClassVar[tuple[int, ...]] = (0,)
    state_scalars: ClassVar[Mapping[str, float]] = {}

    @property
    def method(self) -> FullBatchMethod | None:
        """The method that makes the iterations; None if compiled steps apply a rule."""
        raise TypeError(f"{type(self).__name__}: an optimizer must be a StepRule or a FullBatchMethod.")

    @property
    def n_slots(self) -> int:
        """The number of state vectors, each as long as theta, of the formula or the method."""
        return self.slot_counts[0]

    @property
    def n_vectors(self) -> int:
        """The number of state vectors in total."""
        return self.n_slots

    @property
    def state_name(self) -> str:
        """The kind of its state; a model starts a new state if the stored one has another name."""
        return type(self).__name__

    @property
    def log_keys(self) -> tuple[str, ...]:
        """Names of the values that ``History`` records besides the losses."""
        return ()

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse networks and losses that the optimizer cannot handle, with a ValueError, before any computation."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return dict(vars(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


class Ended(NamedTuple):
    """Why a method ended before the last iteration."""

    reason: str                     # "converged" if its criterion was met, "stalled" if it cannot continue
    message: str
    result: Any = None              # the result object of another library's method


class FullBatchMethod(Optimizer):
    """Base class of methods; a subclass defines ``minimize``, or ``iterate`` if it is an ``IterativeMethod``.

    A method uses the network as in inference, without dropout and with BatchNorm's running statistics, which it does
    not change: the loss is a function of the weights alone. Frozen weights are constants, of which it sees nothing.

    Parameters
    ----------
    tol : float >= 0
        The fit has converged if no entry of the gradient is larger.

    Attributes
    ----------
    dtype : str or None
        The dtype in which the network computes; None is the model's own. Vectors of weights are float64 in either case.
    reads_blocks : bool
        Whether it reads the data itself, some rows at a time. Then the objective is that of the whole network, although
        frozen layers begin it: what they make of all rows may not fit into memory.
    """

    full_batch = True
    reads_blocks: ClassVar[bool] = False
    dtype: ClassVar[str | None] = "float64"
    tol = Real(0)

    def __init__(self, tol: float) -> None:
        self.tol = tol

    @property
    def method(self) -> FullBatchMethod:
        """Itself."""
        return self

    def minimize(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float], epochs: int,
        callback: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """Update ``theta`` in place by at most ``epochs`` iterations.

        State that the next iteration needs is stored in ``slots`` and ``scalars``, so that a further call continues
        where the last one ended.

        Parameters
        ----------
        objective : Objective
        theta : (n_params,) array in the model's dtype, the trainable weights
        slots : (n_slots, n_params) array in the same dtype, initially zeros
        scalars : dict
            Numbers under the names in ``state_scalars``, initially empty.
        epochs : int >= 1
        callback : function
            Called with the values of each iteration; returning True ends the fit.

        Returns
        -------
        Ended, or None after the last iteration or a request of the callback
        """
        raise TypeError(f"{type(self).__name__}: a method must define minimize(objective, theta, slots, scalars, "
                        "epochs, callback).")
