"""What every optimizer has: settings, and a description of the state that a model keeps for it.

There are two kinds. A step rule (``step_rule``) is a formula that a compiled kernel applies after each batch. A
method (``full_batch``) is a loop in Python over the loss of all rows as a function of the weights.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ldl_cy._engine.rule import Rule

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.losses import Loss
    from ldl_cy.optimizers.full_batch import FullBatchMethod

__all__ = ["Optimizer", "Rule"]


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
