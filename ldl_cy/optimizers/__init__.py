"""Optimizers by name; see ``base`` for what one is."""
from __future__ import annotations

from typing import Any

from ldl_cy.optimizers.adam import Adam, AdamW, Nadam
from ldl_cy.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from ldl_cy.optimizers.base import Optimizer, Rule
from ldl_cy.optimizers.momentum import GD, SGD

__all__ = [
    "GD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop", "Rule", "get"]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "gd": GD, "sgd": SGD, "adam": Adam, "adamw": AdamW, "nadam": Nadam, "rmsprop": RMSprop, "adagrad": Adagrad,
    "adadelta": Adadelta}


def get(optimizer: Any) -> Optimizer:
    """The optimizer behind a name, or the object itself."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        return OPTIMIZERS[optimizer]()          # type: ignore[call-arg]
    raise (ValueError if isinstance(optimizer, str) else TypeError)(
        f"optimizer must be one of {', '.join(OPTIMIZERS)} or an Optimizer, got {optimizer!r}.")
