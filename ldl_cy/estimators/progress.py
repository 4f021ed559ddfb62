"""The state of an estimator's training that is neither in its model nor in its public attributes."""
from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ldl_cy.estimators.closed_form import HeadSums

# attributes of estimators in pickles from before FitProgress, and their names in it
OLD_ATTRIBUTES = {
    "_random_state": "random_state", "_order": "order", "_split": "split", "_step_size": "step_size",
    "_first_step_size": "first_step_size", "_no_improvement_count": "no_improvement_count", "_best": "best"}


class FitProgress:
    """The state from which a warm start and ``partial_fit`` continue.

    Attributes
    ----------
    random_state : RandomState, for initial weights, held-out rows and shuffling
    order : (n,) ints or None, the order of rows of the last epoch
    split : state of ``random_state`` when rows were held out, or None
    step_size, first_step_size : float, the current and the initial learning rate
    no_improvement_count : int, epochs since the last improvement
    best : weights and running statistics of the best epoch, or None
    best_validation_loss : float, that of the best epoch
    by_loss : bool, whether the best epoch is that of the lowest validation loss or of the highest score
    head_sums : HeadSums or None, of all rows that the output layer of solver="ridge" is fitted to
    """

    # also of objects in older pickles
    by_loss = False
    head_sums: HeadSums | None = None

    def __init__(self, random_state: np.random.RandomState) -> None:
        self.random_state = random_state
        self.order: np.ndarray | None = None
        self.split: Any = None
        self.step_size = self.first_step_size = np.nan
        self.no_improvement_count = 0
        self.best: tuple[np.ndarray, np.ndarray] | None = None
        self.best_validation_loss, self.by_loss = np.inf, False

    def split_state(self) -> np.random.RandomState:
        """Random numbers for holding out rows: the same in further fits, which must not train on these rows."""
        if self.split is None:
            self.split = self.random_state.get_state()
            return self.random_state
        again = np.random.RandomState()
        again.set_state(self.split)
        return again

    def snapshot(self) -> dict[str, Any]:
        """Everything, for ``restore``."""
        return {**vars(self), "random_state": self.random_state.get_state(legacy=False)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Return to a snapshot; the random state stays the same object, which may be the user's."""
        self.random_state.set_state(saved["random_state"])
        vars(self).update({**saved, "random_state": self.random_state})

    @classmethod
    def upgrade(cls, attributes: dict[str, Any]) -> dict[str, Any]:
        """The attributes of a pickled estimator, converted from those of older versions."""
        if "validation_scores_" in attributes and "validation_loss_curve_" not in attributes:
            attributes = {**attributes, "validation_loss_curve_": None}
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


@contextmanager
def unchanged_without_epoch(estimator: Any) -> Iterator[None]:
    """A fit that ends with an error before its first complete epoch leaves all but the parameters as it was.

    Data, parameters and losses are refused in several places, some of which need the new model; so what the fit has set
    until then is taken back here. An unfitted estimator stays unfitted, and a fitted one predicts as before.
    """
    attributes, parameters = vars(estimator), set(estimator.get_params(deep=False))
    fitted: dict[str, Any] = {
        name: copy.copy(value) if isinstance(value, list) else value
        for name, value in attributes.items() if name not in parameters}
    model, progress = fitted.get("model_"), fitted.get("_progress")
    network = None if model is None else model.network
    epoch, saved = (0, None) if model is None or progress is None else (model.epoch, progress.snapshot())
    try:
        yield
    except BaseException:
        new = attributes.get("model_")
        if new is None or new.epoch == (epoch if new is model else 0):
            for name in set(attributes) - parameters - set(fitted):
                del attributes[name]
            attributes.update(fitted)
            if model is not None and model.network is not network:      # it has grown
                model.adopt(network, model.training_state)
            if saved is not None:
                fitted["_progress"].restore(saved)
        raise


class RowShuffler:
    """Orders of rows as in scikit-learn: each epoch shuffles the order of the last one, with ``random_state``.

    ``partial_fit`` and a warm start continue from the order of the last call, so that n epochs in one call or in
    several are the same.

    Parameters
    ----------
    progress : FitProgress
    n : int
    """

    def __init__(self, progress: FitProgress, n: int) -> None:
        self.order = np.arange(n) if not is_order(progress.order, n) else np.array(progress.order)
        self.random_state = progress.random_state

    def __call__(self) -> np.ndarray:
        places = np.arange(len(self.order))
        self.random_state.shuffle(places)
        self.order = self.order[places]
        return self.order


def is_order(given: Any, n: int) -> bool:
    """Whether an array has the numbers of n rows; compiled code trusts an order, and a pickle may hold anything."""
    return (isinstance(given, np.ndarray) and given.shape == (n,) and given.dtype.kind in "iu"
            and bool((np.bincount(np.clip(given, 0, n - 1), minlength=n) == 1).all()))
