"""Sequences of several lengths: lists of (T_i, features) arrays, padded for the network and read to their ends."""
from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array


class Sequences:
    """Sequences padded with zeros behind their ends.

    Attributes
    ----------
    values : (n, T, features) array
    lengths : (n,) int32, where each ends
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray) -> None:
        self.values, self.lengths = values, lengths
        self.shape, self.dtype = values.shape, values.dtype

    def padded(self, steps: int) -> np.ndarray:
        """The values with room for more steps."""
        more = steps - self.shape[1]
        return self.values if more <= 0 else np.pad(self.values, ((0, 0), (0, more), (0, 0)))


def is_list_of_sequences(X: Any) -> bool:
    """Whether X is a list, a tuple or an array of objects, each with two axes."""
    if isinstance(X, np.ndarray):
        listed = X.ndim == 1 and X.dtype == object
    else:
        listed = isinstance(X, (list, tuple))
    if not listed or not len(X):
        return False
    try:
        return all(np.ndim(x) == 2 for x in X)
    except ValueError:              # nested lists of several lengths
        return False


def read_sequences(estimator: Any, X: Any, dtypes: list[Any], n_features: int | None) -> Sequences:
    """A list of (T_i, n_features) arrays of finite numbers in one of the dtypes; None: any number of features."""
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
    """A fit takes sequences of as many steps as the network was built for; predictions take any number."""
    if isinstance(X, Sequences) and X.shape[1] > sample_shape[0]:
        raise ValueError(f"X has a sequence of {X.shape[1]} steps, but {type(estimator).__name__} was built for at "
                         f"most {sample_shape[0]}; input_shape=(time, features) may say more.")


def lengths_of(X: Any) -> np.ndarray | None:
    """Where the rows of X end, where they differ."""
    return X.lengths if isinstance(X, Sequences) else None
