"""Optimizers: step rules, which apply a formula after each batch, and full-batch methods."""
from __future__ import annotations

from typing import Any

from ldl_cy.messages import shown
from ldl_cy.optimizers.adam import Adam, AdamW, Nadam
from ldl_cy.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from ldl_cy.optimizers.base import Optimizer, Rule
from ldl_cy.optimizers.conjugate_gradient import ConjugateGradient
from ldl_cy.optimizers.full_batch import Ended, FullBatchMethod, IterativeMethod
from ldl_cy.optimizers.gauss_newton import GaussNewtonCG
from ldl_cy.optimizers.gd import GD
from ldl_cy.optimizers.lbfgs import LBFGS
from ldl_cy.optimizers.levenberg_marquardt import LevenbergMarquardt
from ldl_cy.optimizers.lion import Lion
from ldl_cy.optimizers.sgd import SGD
from ldl_cy.optimizers.step_rule import StepRule

__all__ = [
    "GD", "LBFGS", "OPTIMIZERS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "ConjugateGradient", "Ended",
    "FullBatchMethod", "GaussNewtonCG", "IterativeMethod", "LevenbergMarquardt", "Lion", "Nadam", "Optimizer",
    "RMSprop", "Rule", "StepRule", "get"]

# The table of optimizers: names for ``get``, choices of the estimators' ``solver``, checks of files, and tests use it.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "gd": GD, "sgd": SGD, "adam": Adam, "adamw": AdamW, "nadam": Nadam, "rmsprop": RMSprop, "adagrad": Adagrad,
    "adadelta": Adadelta, "lion": Lion, "lbfgs": LBFGS, "cg": ConjugateGradient, "lm": LevenbergMarquardt,
    "gauss_newton_cg": GaussNewtonCG}


def get(optimizer: Any) -> Optimizer:
    """The optimizer of a name, with its defaults, or the object itself; anything else is a TypeError or ValueError."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        return OPTIMIZERS[optimizer]()
    raise (ValueError if isinstance(optimizer, str) else TypeError)(
        f"Sequential: optimizer must be one of {', '.join(OPTIMIZERS)} or an Optimizer, got {shown(optimizer)}.")
