"""The names that a reader of skops files must trust: estimators, and what their parameters and fitted models hold."""
from __future__ import annotations

from ldl_cy import callbacks, estimators, initializers, layers, losses, optimizers, schedules
from ldl_cy.estimators.categories import CategoryColumn, CategoryEncoder
from ldl_cy.estimators.closed_form import HeadSums
from ldl_cy.estimators.progress import FitProgress
from ldl_cy.linalg.ridge import Moments, Triangle
from ldl_cy.models import Sequential


def _classes() -> set[type]:
    """Classes with settings and numbers.

    Left out are the two called Custom, which call a user's functions, and the callbacks that write files, Checkpoint
    and CSVLogger: who has them in an estimator adds their names.
    """
    public = [getattr(module, name) for module in (estimators, layers, schedules) for name in module.__all__]
    public += [*optimizers.OPTIMIZERS.values(), *losses.LOSSES.values(), initializers.Constant]
    public += [callbacks.EarlyStopping, callbacks.ReduceOnPlateau, callbacks.TerminateOnNaN, callbacks.History,
               callbacks.ProgressBar]
    within = {Sequential, FitProgress, CategoryColumn, CategoryEncoder, HeadSums, Moments, Triangle}
    return {*within, *public} - {layers.Layer, layers.Custom, schedules.Schedule}


# skops knows a class by the module that defines it: moving one makes files unreadable.
SKOPS_TRUSTED: tuple[str, ...] = tuple(sorted(f"{each.__module__}.{each.__qualname__}" for each in _classes()))
