"""Weights of classes as weights of samples: the argument ``class_weight`` of ``Sequential.fit``."""
from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.checks import check_real, check_values
from ldl_cy.losses import LOSSES
from ldl_cy.messages import shown

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.distributed.ranks import Ranks
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network

OWNER = "Sequential"
BALANCED = "balanced"


def check_class_weight(class_weight: Any, loss: Loss, counted: bool) -> None:
    """Refuse what is no class_weight, and a loss without classes.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
    loss : Loss
    counted : bool
        Whether all targets are there to be counted, as "balanced" needs.
    """
    if class_weight is None:
        return
    if not isinstance(class_weight, Mapping) and not (isinstance(class_weight, str) and class_weight == BALANCED):
        raise (ValueError if isinstance(class_weight, str) else TypeError)(
            f"{OWNER}: class_weight must be a dict of weights by class, 'balanced' or None, got {shown(class_weight)}.")
    if isinstance(class_weight, str) and not counted:
        raise ValueError(f"{OWNER}: class_weight must be a dict with an iterable of batches, whose classes are not "
                         "counted before, got 'balanced'.")
    if not loss.has_classes:
        *others, last = (name for name, kind in LOSSES.items() if kind.has_classes)
        raise ValueError(f"{OWNER}: class_weight must be None with a loss other than {', '.join(others)} and {last}, "
                         f"got {shown(class_weight)} with {loss.name}.")


def weighted(
    data: Data, y: Any, class_weight: Any, loss: Loss, network: Network, *, some: bool = True,
    ranks: Ranks | None = None,
) -> Data:
    """The data with the weight of each sample multiplied by that of its class.

    Parameters
    ----------
    data : Data
    y : the targets, which were checked when ``data`` was made
    class_weight : dict, "balanced" or None, from ``check_class_weight``
    loss : Loss
    network : Network
    some : bool, default=True
        Whether a sample must have a weight > 0.
    ranks : Ranks, default=None
        Those of whose rows ``data`` are a part: "balanced" counts the classes of all.

    Raises
    ------
    ValueError, TypeError
        Targets without one class for a sample, classes that do not exist, weights that are negative or all zero.
    """
    if class_weight is None:
        return data
    places, codes = loss.classes(np.asarray(y), network.output_shape)
    counts = np.bincount(codes, minlength=max(places.values()) + 1)
    if isinstance(class_weight, str):
        if ranks is not None and ranks.local:
            counts = ranks.concatenate(counts[None]).sum(axis=0)
        # n / (classes that occur x rows of the class), as scikit-learn's compute_class_weight
        of_class = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1.0))
    else:
        of_class = by_label(class_weight, places)
    weights = of_class[codes] if data.weights is None else of_class[codes] * data.weights
    check_values(OWNER, "class_weight, with sample_weight,", weights, data.targets.dtype.name)
    weights = weights.astype(data.targets.dtype)
    if some and not weights.any():
        raise ValueError(f"{OWNER}: class_weight must leave a row with a weight > 0, got {shown(class_weight)}.")
    return data._replace(weights=weights)


def by_label(class_weight: Mapping[Any, Any], places: Mapping[Any, int]) -> np.ndarray:
    """The weight of each class; 1 where none is given."""
    found = np.ones(max(places.values()) + 1)
    for label, weight in class_weight.items():
        if not isinstance(label, numbers.Real) or isinstance(label, bool) or label not in places:
            raise ValueError(f"{OWNER}: the keys of class_weight must be classes, {min(places)} .. {max(places)}, "
                             f"got {shown(label)}.")
        found[places[label]] = check_real(OWNER, f"class_weight[{shown(label)}]", weight, 0)
    return found
