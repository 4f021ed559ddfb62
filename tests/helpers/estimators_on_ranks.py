"""Fits of estimators on ranks that are threads of this process, and rows for them."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from thread_comm import run_ranks, without_errors

from ldl_cy.distributed.shards import first_leaves

RNG = np.random.default_rng(0)
N = 96                              # rows in 8 shards of 12
X = RNG.normal(size=(N, 6))
NUMBERS = X[:, 0] + 0.5 * X[:, 1]
Y = np.array(["high", "low", "middle"])[np.digitize(NUMBERS, [-0.5, 0.5])]
WEIGHTS = RNG.uniform(0.5, 2, N)
CITIES = np.array(["Berne", "Oslo", "Rome", "Turku", None], object)[RNG.integers(0, 5, N)]
TABLE = np.column_stack([X[:, :2].astype(object), CITIES])
STEPS = RNG.integers(2, 8, N)
SEQUENCES = [RNG.normal(size=(steps, 2)) for steps in STEPS]
SUMS = np.array([x.sum() for x in SEQUENCES])
ENDED = np.full((N, 8, 2), np.nan)              # the same sequences, with NaN past their ends
for row, sequence in zip(ENDED, SEQUENCES):
    row[:len(sequence)] = sequence
SIZES = (1, 2, 3)
SMALL: dict[str, Any] = {"max_iter": 4, "batch_size": 40, "random_state": 0, "learning_rate_init": 0.01}


def part(given: Any, size: int, rank: int) -> Any:
    """A rank's own rows: those of its shards."""
    edges = [leaf * N // 8 for leaf in first_leaves(8, size)]
    return given[edges[rank]:edges[rank + 1]]


def fit_on(size: int, estimator: Any, *data: Any, rows: str = "all", **arguments: Any) -> list[Any]:
    """Clones of an estimator, or those of a function of the rank, fitted on ranks; or the exceptions that are raised.

    With rows="local" ranks get their parts of the data and of the arguments.
    """
    def fit(comm: Any) -> Any:
        rank = comm.Get_rank()
        own = estimator(rank) if callable(estimator) else clone(estimator)
        given, others = list(data), arguments
        if rows == "local":
            given = [part(array, size, rank) for array in data]
            others = {name: part(array, size, rank) for name, array in arguments.items()}
        return own.fit(*given, comm=comm, rows=rows, **others)

    return run_ranks(size, fit)


def fitted(size: int, estimator: Any, *data: Any, **arguments: Any) -> list[Any]:
    """``fit_on``, without an exception."""
    return without_errors(fit_on(size, estimator, *data, **arguments))


def fit_each(
    make: Callable[[], Any], *data: tuple[Any, ...], rows: str = "all", **arguments: list[Any],
) -> list[Any]:
    """What ranks raise that are given different data and arguments; all must be left unfitted."""
    made = [make() for _ in data]

    def fit(comm: Any) -> Any:
        own = {name: values[comm.rank] for name, values in arguments.items()}
        return made[comm.rank].fit(*data[comm.rank], comm=comm, rows=rows, **own)

    results = run_ranks(len(data), fit)
    assert all(isinstance(error, BaseException) for error in results)
    assert not any(hasattr(one, "model_") or hasattr(one, "n_features_in_") for one in made)
    return results


def check_equal(first: Any, other: Any) -> None:
    """The same weights, curves and state of training."""
    np.testing.assert_array_equal(first.model_.theta, other.model_.theta)
    np.testing.assert_array_equal(first.model_.network.statistics, other.model_.network.statistics)
    for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_", "n_iter_", "t_", "stop_reason_",
                 "loss_", "best_loss_", "best_validation_score_", "n_features_in_", "n_outputs_"):
        np.testing.assert_equal(getattr(first, name), getattr(other, name), name)
    if is_classifier(first):
        np.testing.assert_array_equal(first.classes_, other.classes_)
