"""Sequences of different lengths: lists of (T_i, features) arrays, padded for the network."""
from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array


class Sequences:
    """Sequences padded with zeros to a common length.

    Attributes
    ----------
    values : (n, T, features) array
    lengths : (n,) int32
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray) -> None:
        self.values, self.lengths = values, lengths
        self.shape, self.dtype = values.shape, values.dtype

    def padded(self, steps: int) -> np.ndarray:
        """The values, padded to at least ``steps`` steps."""
        more = steps - self.shape[1]
        return self.values if more <= 0 else np.pad(self.values, ((0, 0), (0, more), (0, 0)))


def list_of_sequences(X: Any) -> list[np.ndarray] | None:
    """The elements of a list, a tuple or an object array as arrays if all of them have two axes, otherwise None."""
    if isinstance(X, np.ndarray):
        listed = X.ndim == 1 and X.dtype == object
    else:
        listed = isinstance(X, (list, tuple))
    parts: list[np.ndarray] = []
    for x in X if listed else ():
        refuse_masked("X", x)
        try:
            parts.append(np.asarray(x))     # once: an object may answer otherwise the next time
        except ValueError:                  # nested lists of different lengths
            return None
        if parts[-1].ndim != 2:
            return None
    return parts or None


def read_sequences(estimator: Any, parts: list[np.ndarray], dtypes: list[Any], n_features: int | None) -> Sequences:
    """Check (T_i, n_features) arrays of finite numbers and pad them; n_features=None is any number."""
    name = type(estimator).__name__
    widths = sorted({x.shape[1] for x in parts})
    if len(widths) > 1:
        raise ValueError(f"X must be a list of arrays (steps, features) with as many features in each, got {widths}.")
    lengths = np.array([len(x) for x in parts], np.int32)
    if lengths.min() == 0:
        raise ValueError(f"X must be a list of sequences of at least one step, got none in number {lengths.argmin()}.")
    if n_features is not None and widths[0] != n_features:
        raise ValueError(f"X has sequences of {widths[0]} features, but {name} is expecting "
                         f"{n_features} features as input.")
    steps = check_array(np.concatenate(parts), estimator=estimator, input_name="X", order="C",
                        dtype=dtypes)
    values = np.zeros((len(parts), lengths.max(), widths[0]), steps.dtype)
    values[np.arange(lengths.max()) < lengths[:, None]] = steps
    return Sequences(values, lengths)


def refuse_masked(name: str, array: Any) -> None:
    """Refuse masked values, which scikit-learn would read as the numbers under the mask."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(f"Input {name} contains masked values.")


def check_steps(estimator: Any, X: Any, sample_shape: tuple[int, ...]) -> None:
    """Refuse, in a fit, sequences that are longer than the network was built for; predictions take any length."""
    if isinstance(X, Sequences) and X.shape[1] > sample_shape[0]:
        raise ValueError(f"X has a sequence of {X.shape[1]} steps, but {type(estimator).__name__} was built for at "
                         f"most {sample_shape[0]}; input_shape=(time, features) may say more.")


def lengths_of(X: Any) -> np.ndarray | None:
    """The lengths of the sequences in X; None if X is an array."""
    return X.lengths if isinstance(X, Sequences) else None
