"""Sequences of different lengths: lists of arrays, and arrays with NaN past the ends, padded for the network."""
from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

Shape = tuple[int, ...]


class Sequences:
    """Sequences padded with zeros to a common length.

    Attributes
    ----------
    values : (n, T, features) array
    lengths : (n,) int32
    row_shape : the shape of a row as it was given: (T, features), or (T * features,) of flat rows
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray, row_shape: Shape | None = None) -> None:
        self.values, self.lengths = values, lengths
        self.shape, self.dtype = values.shape, values.dtype
        self.row_shape = values.shape[1:] if row_shape is None else row_shape

    def padded(self, steps: int) -> np.ndarray:
        """The values, padded to at least ``steps`` steps; longer ones to a number of steps that few networks serve."""
        longest = self.shape[1]
        return self.extended(steps if longest <= steps else round_up(longest)).values

    def extended(self, steps: int) -> Sequences:
        """The same sequences, padded to as many steps; itself if it has as many."""
        longest = self.shape[1]
        if steps == longest:
            return self
        # of a list, the shape of a row is that of its longest sequence
        row_shape = None if self.row_shape == self.values.shape[1:] else self.row_shape
        return Sequences(np.pad(self.values, ((0, 0), (0, steps - longest), (0, 0))), self.lengths, row_shape)


def round_up(n_steps: int) -> int:
    """The next of four numbers an octave, less than n + n / 4: networks for all of them are few."""
    grain = max(1, 2 ** (n_steps.bit_length() - 1) // 4)
    return -(-n_steps // grain) * grain


def list_of_sequences(X: Any, shape: Shape | None) -> list[np.ndarray] | None:
    """The elements of a list, a tuple or an object array as arrays if all have two axes or all have one, else None.

    A list of rows with as many numbers in each is an array, not a list of sequences; but where the network reads
    single numbers, ``shape`` (steps, 1), and these are not as many as it has steps, they are sequences.
    """
    objects = isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype == object
    parts: list[np.ndarray] = []
    for x in X if objects or isinstance(X, (list, tuple)) else ():
        refuse_masked("X", x)
        try:
            parts.append(np.asarray(x))     # once: an object may answer otherwise the next time
        except ValueError:                  # nested lists of different lengths
            return None
        if parts[-1].ndim not in (1, 2) or parts[-1].ndim != parts[0].ndim:
            return None
    if parts and parts[0].ndim == 1 and not objects and len({len(x) for x in parts}) == 1:
        single = shape is not None and shape[1] == 1 and len(parts[0]) != shape[0]
        return parts if single else None
    return parts or None


def read_sequences(
    estimator: Any, parts: list[np.ndarray], dtypes: list[Any], n_features: int | None, channels_first: bool,
) -> Sequences:
    """Check arrays of numbers, which may end with NaN, and pad them; n_features=None is any number.

    The arrays have the shape (T_i, n_features), with ``channels_first`` (n_features, T_i), or (T_i,) for one feature.
    """
    name = type(estimator).__name__
    axes = "(features, steps)" if channels_first else "(steps, features)"
    parts = [x[:, None] if x.ndim == 1 else x.T if channels_first else x for x in parts]
    widths = sorted({x.shape[1] for x in parts})
    if len(widths) > 1:
        raise ValueError(f"X must be a list of arrays {axes} with as many features in each, got {widths}.")
    lengths = np.array([len(x) for x in parts], np.int32)
    if lengths.min() == 0:
        raise ValueError(f"X must be a list of sequences of at least one step, got none in number {lengths.argmin()}.")
    if n_features is not None and widths[0] != n_features:
        raise ValueError(f"X has sequences of {widths[0]} features, but {name} is expecting "
                         f"{n_features} features as input.")
    steps = check_array(np.concatenate(parts), estimator=estimator, input_name="X", order="C",
                        dtype=dtypes, ensure_all_finite="allow-nan")
    nan = has_nan(steps)
    values = np.full((len(parts), lengths.max(), widths[0]), np.nan if nan else 0, steps.dtype)
    values[np.arange(lengths.max()) < lengths[:, None]] = steps
    return end_at_nan(estimator, values, values.shape[1:]) if nan else Sequences(values, lengths)


def has_nan(X: np.ndarray) -> bool:
    """Whether there is NaN in an array of any numbers; a sum is NaN if one of them is."""
    return X.dtype.kind == "f" and bool(np.isnan(X.sum())) and bool(np.isnan(X).any())


def end_at_nan(estimator: Any, X: np.ndarray, row_shape: Shape) -> Sequences:
    """Sequences (n, T, features) with NaN in all features past their ends, and nowhere else."""
    n_steps = X.shape[1]
    absent = np.isnan(X)
    past = absent.all(axis=2)                                           # (n, T)
    lengths = np.where(past.any(axis=1), past.argmax(axis=1), n_steps)  # the first step without numbers
    past = np.arange(n_steps) >= lengths[:, None]
    if lengths.min() == 0 or (absent != past[:, :, None]).any():
        raise ValueError(f"Input X contains NaN.\n{type(estimator).__name__} reads NaN in all features of the last "
                         "steps of a sequence as its end; each must have at least one step, and NaN nowhere else.")
    return Sequences(np.where(past[:, :, None], X.dtype.type(0), X), lengths.astype(np.int32), row_shape)


def refuse_masked(name: str, array: Any) -> None:
    """Refuse masked values, which scikit-learn would read as the numbers under the mask."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(f"Input {name} contains masked values.")


def check_steps(estimator: Any, X: Any, sample_shape: Shape) -> None:
    """Refuse, in the first fit, sequences that are longer than ``input_shape`` says."""
    if isinstance(X, Sequences) and X.shape[1] > sample_shape[0]:
        raise ValueError(f"X has a sequence of {X.shape[1]} steps, but {type(estimator).__name__} was built for at "
                         f"most {sample_shape[0]}; input_shape=(time, features) may say more.")


def lengths_of(X: Any) -> np.ndarray | None:
    """The lengths of the sequences in X; None if X is an array."""
    return X.lengths if isinstance(X, Sequences) else None
