"""Weights of samples from ``class_weight``, whose classes are counted on several ranks or in several chunks."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from ldl_cy.sparse import is_sparse

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks

Counts = Mapping[Any, int]


def class_weights(given: Any, y: Any, ranks: Ranks | None) -> np.ndarray:
    """scikit-learn's ``compute_sample_weight`` for the labels of rows (n,) or (n, n_labels), counted on all ranks."""
    if ranks is None or not ranks.local:
        return compute_sample_weight(given, y)
    y = y.toarray() if is_sparse(y) else y
    counts = total_counts(ranks.all(label_counts(y)))
    labels = [list(column) for column in counts]
    most = max(map(len, labels))
    # refuses what does not fit the labels of all, of which these rows may lack some
    compute_sample_weight(given, np.stack([np.resize(own, most) for own in labels], axis=1))
    return compute_sample_weight(weights_of_classes(given, counts), y)


def label_counts(y: np.ndarray) -> list[Counts]:
    """The number of rows of each label, for each column of y."""
    columns = y.reshape(len(y), -1).T
    return [dict(zip(*np.unique(column, return_counts=True))) for column in columns]


def total_counts(parts: Sequence[Sequence[Counts]]) -> list[Counter[Any]]:
    """The sums of several parts' ``label_counts``."""
    return [sum(map(Counter, column), Counter()) for column in zip(*parts)]


def weights_of_classes(given: Any, counts: Sequence[Counts]) -> Any:
    """``class_weight`` with a weight for every class, of which some rows may lack some and cannot count the others.

    Parameters
    ----------
    given : dict, "balanced" or a list of them, for each column of y
    counts : list of dict, the rows of each label, for each column of y

    Returns
    -------
    dict, or list of them
        "balanced" weighs by n / (classes x rows of the class), as scikit-learn's ``compute_class_weight``.
    """
    found = [{label: sum(column.values()) / (len(column) * count) if isinstance(weights, str)
              else weights.get(label, 1) for label, count in column.items()}
             for weights, column in zip(given if isinstance(given, list) else [given] * len(counts), counts)]
    return found[0] if len(found) == 1 else found
