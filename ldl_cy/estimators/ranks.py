"""Fits over the ranks of a communicator: what must be the same on all, and what each takes from the others.

With ``rows="all"`` every rank has read all rows, so most of this is for ``rows="local"``, where the classes, counts and
validation rows, and the longest sequence, are those of all ranks together.
"""
from __future__ import annotations

import math
import zlib
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import train_test_split

from ldl_cy.distributed import Ranks, agreement, read_ranks
from ldl_cy.distributed.steps import RankSteps

if TYPE_CHECKING:
    from ldl_cy.estimators.progress import FitProgress

MAY_DIFFER = {"n_threads", "verbose", "callbacks"}      # parameters
RECORDED = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_loss_curve_", "validation_scores_",
            "best_validation_score_", "stop_reason_")   # of each fit


def fitting_together(estimator: Any, comm: Any, shards: Any, rows: Any) -> AbstractContextManager[Ranks | None]:
    """The ranks of a fit, all of which raise the error of one; None without a communicator."""
    ranks = read_ranks(type(estimator).__name__, comm, shards, rows)
    return nullcontext() if ranks is None else ranks.together()


def speaks(ranks: Ranks | None) -> bool:
    """Whether this is the process that prints and warns, of all that find the same."""
    return ranks is None or ranks.is_first


def recover(ranks: Ranks | None) -> None:
    """After an error that all ranks have caught."""
    if ranks is not None:
        ranks.recover()


def have_own_rows(ranks: Ranks | None) -> bool:
    """Whether each rank has rows of its own."""
    return ranks is not None and ranks.local


def of_ranks(ranks: Ranks | None, value: Any) -> list[Any]:
    """The value of each rank if each has rows of its own; else only this one, which all ranks have."""
    return ranks.all(value) if ranks is not None and ranks.local else [value]


# -- what must be the same -------------------------------------------------------------------------------------------

def check_agreed(estimator: Any, values: dict[str, Any], ranks: Ranks | None) -> None:
    """A ValueError on all ranks that names the first of the values, by their ``repr``, that differs between ranks."""
    if ranks is not None:
        ranks.check_settings(type(estimator).__name__, values)


def check_settings(
    estimator: Any, sample_weight: Any, validation: Any, continued: FitProgress | None, ranks: Ranks | None,
) -> None:
    """Compare the parameters, which arguments are given, and the fit that is to be continued, if one is."""
    if ranks is None:
        return
    settings = {name: value for name, value in estimator.get_params(deep=False).items() if name not in MAY_DIFFER}
    if not isinstance(estimator.random_state, (int, np.integer)):
        settings["random_state"] = None                 # that of rank 0
    given = {"sample_weight": sample_weight, "X_val": validation}
    check_agreed(estimator, {
        "the estimator": type(estimator).__name__, "rows": "local" if ranks.local else "all", "shards": ranks.shards,
        **settings, **{name: "None" if value is None else "an array" for name, value in given.items()},
        "what earlier fits have left": None if continued is None else earlier(estimator, continued)}, ranks)


def earlier(estimator: Any, progress: FitProgress) -> tuple[Any, ...]:
    """Numbers that differ if two fitted estimators would not continue in the same way, but for their random states."""
    model = estimator.model_
    split = None if progress.split is None else (checksum(progress.split[1]), *progress.split[2:])
    order = None if progress.order is None else checksum(progress.order)
    best = None if progress.best is None else [checksum(part) for part in progress.best]
    return (agreement.checksum(model.network, model.training_state), estimator.t_, order, split, best,
            progress.step_size, progress.first_step_size, progress.no_improvement_count, progress.by_loss,
            progress.best_validation_loss, estimator.best_loss_, estimator.best_validation_score_)


def check_rows(
    estimator: Any, X: Any, targets: np.ndarray | None, sample_weight: np.ndarray | None, ranks: Ranks | None,
) -> None:
    """Compare the shapes and dtypes of what was read and, where all ranks have all rows, their targets and weights.

    Without targets these are the rows.
    """
    if ranks is None:
        return
    names = getattr(estimator, "feature_names_in_", None)
    shape = getattr(X, "row_shape", X.shape[1:])        # which Sequences have
    values: dict[str, Any] = {
        "the shape of the rows of X": tuple(map(int, shape)), "the dtype of X": np.dtype(X.dtype).name,
        "n_features_in_": estimator.n_features_in_, "the names of features": None if names is None else list(names),
        "the classes": np.asarray(getattr(estimator, "classes_", [])).tolist(),
        "the shape of the rows of y": None if targets is None else targets.shape[1:]}
    if not ranks.local:
        values["the number of rows"] = X.shape[0]
        for name, array in (("y", targets), ("sample_weight", sample_weight)):
            values[f"the checksum of {name}"] = None if array is None else checksum(array)
    check_agreed(estimator, values, ranks)


def checksum(array: np.ndarray) -> int:
    """A number that differs for arrays of different numbers."""
    return zlib.crc32(np.ascontiguousarray(array).data)


# -- what is taken from others ---------------------------------------------------------------------------------------

def shared(random_state: np.random.RandomState, ranks: Ranks | None) -> np.random.RandomState:
    """The random state of rank 0: the object itself there, a copy on other ranks."""
    if ranks is None:
        return random_state
    copied: np.random.RandomState = ranks.share(random_state)
    return random_state if ranks.is_first else copied


def share_progress(progress: FitProgress, ranks: Ranks | None) -> None:
    """Before a fit that continues another one: the random state of rank 0, which may be the user's."""
    progress.random_state = shared(progress.random_state, ranks)


def take_end_of_first(estimator: Any, progress: FitProgress, ranks: Ranks | None) -> None:
    """After a fit what rank 0 has at its end, if another rank has something else.

    An interrupt may come to one rank before the last epoch is recorded there, and to another one after that.
    """
    if ranks is None:
        return
    ends = {name: getattr(estimator, name) for name in RECORDED}
    if len(set(ranks.all(repr((earlier(estimator, progress), ends))))) == 1:
        return
    model = estimator.model_
    model.adopt(*agreement.take_first(ranks, model.network, model.training_state))
    ends, state = ranks.share((ends, vars(progress)))
    for name, value in ends.items():
        setattr(estimator, name, value)
    vars(progress).update({**state, "random_state": progress.random_state})


def all_labels(estimator: Any, labels: np.ndarray, several: bool, ranks: Ranks | None) -> np.ndarray:
    """The labels of all ranks, sorted, from those that this one's rows have; of ``several`` for a row their numbers."""
    if not have_own_rows(ranks):
        return labels
    kind = labels.dtype.kind
    check_agreed(estimator, {
        "the kind of y": "several labels for each row" if several else "dates" if kind in "mM" else
        "text" if kind in "OSUT" else "numbers",
        "the number of labels": len(labels) if several else None}, ranks)
    return labels if several else np.unique(np.concatenate(of_ranks(ranks, labels)))


def total_weight(weight: np.ndarray | None, n: int, ranks: Ranks | None) -> float:
    """The sum of the weights of the rows of all ranks, of which this one was given n; or their number."""
    if weight is None:
        return float(n if ranks is None else ranks.count(n))
    if ranks is None or not ranks.local:
        return float(weight.sum())
    return float(ranks.sum([weight[part].sum(dtype=float) for part in ranks.own_parts(n)]))


def count_batches(n: int, size: int, ranks: Ranks | None) -> int:
    """Batches of an epoch over the rows of all ranks, of which this one was given n."""
    return -(-n // size) if ranks is None else RankSteps(ranks, n, size).n_steps


def split_shards(
    n: int, fraction: float, random_state: np.random.RandomState, stratify: np.ndarray | None, ranks: Ranks,
) -> tuple[np.ndarray, np.ndarray]:
    """Which of this rank's own n rows are for training, and which are held out: the same share of each shard.

    A shard is stratified if each of its classes can be on both sides.
    """
    # shards of equal sizes stay equal, and so the same ones for any number of ranks
    seeds = random_state.randint(2**31 - 1, size=ranks.shards)[ranks.first:ranks.last]
    train, held_out = [], []
    for seed, part in zip(seeds, ranks.own_parts(n)):
        index = np.arange(part.start, part.stop)
        if len(index) < 2:
            sides = [index, index[:0]]
        else:
            strata = None if stratify is None else stratify[part].ravel()
            sides = train_test_split(
                index, test_size=fraction, random_state=int(seed),
                stratify=strata if can_be_stratified(strata, math.ceil(fraction * len(index))) else None)
        train.append(sides[0])
        held_out.append(sides[1])
    return np.concatenate(train), np.concatenate(held_out)


def can_be_stratified(strata: np.ndarray | None, held: int) -> bool:
    """Whether each class has two rows, and both sides have a row for each class."""
    if strata is None:
        return False
    counts = np.unique(strata, return_counts=True)[1]
    return counts.min() > 1 and len(counts) <= min(held, len(strata) - held)
