"""How far the fits of an estimator have come, besides what its model and its public attributes know."""
from __future__ import annotations

from typing import Any

import numpy as np

# the attributes of an estimator that were pickled before they had a place of their own, and their names here
OLD_ATTRIBUTES = {
    "_random_state": "random_state", "_order": "order", "_split": "split", "_step_size": "step_size",
    "_first_step_size": "first_step_size", "_no_improvement_count": "no_improvement_count", "_best": "best"}


class FitProgress:
    """What a warm start and ``partial_fit`` continue from.

    Attributes
    ----------
    random_state : RandomState, for initial weights, rows held out and orders of rows
    order : (n,) ints or None, the last epoch's order of rows
    split : state of ``random_state`` when rows were held out, or None
    step_size, first_step_size : float, the learning rate now and at the first step
    no_improvement_count : int, epochs since the last improvement
    best : weights and running statistics of the best epoch, or None
    """

    def __init__(self, random_state: np.random.RandomState) -> None:
        self.random_state = random_state
        self.order: np.ndarray | None = None
        self.split: Any = None
        self.step_size = self.first_step_size = np.nan
        self.no_improvement_count = 0
        self.best: tuple[np.ndarray, np.ndarray] | None = None

    def split_state(self) -> np.random.RandomState:
        """Random numbers for what is held out: the same in a further fit, which must not train on those rows."""
        if self.split is None:
            self.split = self.random_state.get_state()
            return self.random_state
        again = np.random.RandomState()
        again.set_state(self.split)
        return again

    @classmethod
    def upgrade(cls, attributes: dict[str, Any]) -> dict[str, Any]:
        """Attributes of a pickled estimator as they are now."""
        if "_random_state" not in attributes or "_progress" in attributes:
            return attributes
        progress = cls(attributes["_random_state"])
        for old, name in OLD_ATTRIBUTES.items():
            setattr(progress, name, attributes.get(old, getattr(progress, name)))
        best: Any = progress.best
        if best is not None and isinstance(best[1], dict):
            # running statistics by name, in the order of their vector
            theta, by_name = best
            parts = [np.ravel(value) for value in by_name.values()]
            progress.best = theta, np.concatenate([*parts, np.zeros(0, theta.dtype)])
        return {**{name: value for name, value in attributes.items() if name not in OLD_ATTRIBUTES},
                "_progress": progress}


class RowShuffler:
    """scikit-learn's orders of rows: each epoch shuffles the order of the one before, with its random numbers.

    ``partial_fit`` and a warm start continue from the order in which the last call ended, so that n epochs are the same
    in one call or in several.

    Parameters
    ----------
    progress : FitProgress
    n : int
    """

    def __init__(self, progress: FitProgress, n: int) -> None:
        before = progress.order
        self.order = np.arange(n) if before is None or len(before) != n else before
        self.random_state = progress.random_state

    def __call__(self) -> np.ndarray:
        places = np.arange(len(self.order))
        self.random_state.shuffle(places)
        self.order = self.order[places]
        return self.order
