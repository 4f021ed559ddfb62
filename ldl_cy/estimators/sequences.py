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


def is_list_of_sequences(X: Any) -> bool:
    """Whether X is a list, a tuple or an object array of elements with two axes."""
    if isinstance(X, np.ndarray):
        listed = X.ndim == 1 and X.dtype == object
    else:
        listed = isinstance(X, (list, tuple))
    if not listed or not len(X):
        return False
    try:
        return all(np.ndim(x) == 2 for x in X)
    except ValueError:              # nested lists of different lengths
        return False


def read_sequences(estimator: Any, X: Any, dtypes: list[Any], n_features: int | None) -> Sequences:
    """Check a list of (T_i, n_features) arrays of finite numbers and pad it; n_features=None is any number."""
    name = type(estimator).__name__
    parts = [np.asarray(x) for x in X]
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


def check_steps(estimator: Any, X: Any, sample_shape: tuple[int, ...]) -> None:
    """Refuse, in a fit, sequences that are longer than the network was built for; predictions take any length."""
    if isinstance(X, Sequences) and X.shape[1] > sample_shape[0]:
        raise ValueError(f"X has a sequence of {X.shape[1]} steps, but {type(estimator).__name__} was built for at "
                         f"most {sample_shape[0]}; input_shape=(time, features) may say more.")


def lengths_of(X: Any) -> np.ndarray | None:
    """The lengths of the sequences in X; None if X is an array."""
    return X.lengths if isinstance(X, Sequences) else None
