"""What workers do with the chunks of a fit: look at one, read it, prepare it for sums, train on one after another."""
from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from dask.sizeof import sizeof
from distributed import get_worker, worker_client
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets

from ldl_cy._engine.rng import PERMUTATION, Stream
from ldl_cy.data import Data, validate_data
from ldl_cy.estimators.data import Rows, read_targets
from ldl_cy.optimizers.contract import read_optimizer
from ldl_cy.training.steps import Stepper

if TYPE_CHECKING:
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network
    from ldl_cy.optimizers import StepRule
    from ldl_cy.state import TrainingState

T = TypeVar("T")


class Seen(NamedTuple):
    """What the client learns of a chunk before there is a network.

    Attributes
    ----------
    n : int, rows
    X, y : the first row, as it was given, or None without rows
    counts : list of dict, the rows of each label, for each column of y; empty unless they are classes
    """

    n: int
    X: Any
    y: Any
    counts: list[dict[Any, int]]


def look(X: Any, y: Any, labels: bool) -> Seen:
    """See ``Seen``. ``labels``: y has classes, or several labels for each row."""
    check_consistent_length(X, y)
    n, counts = X.shape[0], []
    if n == 0:
        return Seen(0, None, None, [])
    y = read_targets("y", y, not labels)
    if labels:
        check_classification_targets(y)
        columns = np.asarray(y).reshape(n, -1).T
        counts = [dict(zip(*np.unique(column, return_counts=True))) for column in columns]
    first = X.iloc[:1] if hasattr(X, "iloc") else X[:1]
    return Seen(n, first, np.asarray(y)[:1], counts)


class Problem(NamedTuple):
    """What is minimised, but for the rows.

    Attributes
    ----------
    token : str, its name
    network : Network
    loss : Loss
    dtype : str, of targets and weights
    n_threads : int, for each chunk; 0 for as many as a worker has
    n : int, rows of all chunks
    total_weight : float, the sum of their weights
    """

    token: str
    network: Network
    loss: Loss
    dtype: str
    n_threads: int
    n: int
    total_weight: float

    def data(self, rows: Rows) -> Data:
        """A chunk's rows, checked, with targets in ``dtype``; they may all have the weight 0."""
        return validate_data(
            self.network, "X", rows.X, rows.y, rows.weight, rows.lengths, self.loss, self.dtype, weightless=True)


class Chunk:
    """Some rows of a fit, and what was prepared of them. Elsewhere, as after a move, it is prepared again.

    Attributes
    ----------
    rows : Rows
    lock : Lock
        What was prepared serves one call at a time.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows, self.lock = rows, Lock()
        self._prepared: tuple[str, Any] = "", None

    def __reduce__(self) -> tuple[Any, ...]:
        return Chunk, (self.rows,)

    def __sizeof__(self) -> int:
        """By which the scheduler decides where to compute, and a worker what it keeps."""
        return sum(map(sizeof, self.rows))

    def weight(self) -> float:
        """The sum of the weights of the rows."""
        weight = self.rows.weight
        return float(self.rows.n if weight is None else weight.sum(dtype=float))

    def prepared(self, problem: Problem, make: Callable[[Problem, Data], T]) -> T:
        """What ``make`` makes of the rows, once for a problem. The caller has the lock."""
        if self._prepared[0] != problem.token:
            self._prepared = problem.token, make(problem, problem.data(self.rows))
        return self._prepared[1]


class Epoch(NamedTuple):
    """An epoch of a step rule over all chunks, in order, each of which has batches of its own.

    Attributes
    ----------
    problem : Problem
    state : TrainingState
    optimizer : StepRule
    alpha : float
    batch_size : int
    shuffle : bool, whether to shuffle the rows of each chunk
    """

    problem: Problem
    state: TrainingState
    optimizer: StepRule
    alpha: float
    batch_size: int
    shuffle: bool

    def run(self, name: str) -> tuple[float, Any, dict[str, Any], str]:
        """The mean loss, the new weights and statistics, the new state, and the address of this worker.

        The chunks are a published dataset of this name.
        """
        network, state, carried, worker = self.problem.network, self.state, np.zeros(2), get_worker()
        stepper = Stepper(network, state, self.optimizer, read_optimizer(self.optimizer), self.alpha)
        with worker_client() as client, stepper.swap_averaged_weights():
            for place, future in enumerate(client.get_dataset(name)):
                data = self.problem.data(client.gather(future).rows)
                if data.total_weight:       # without, it is no step
                    self._train(stepper, data, place, carried, self.problem.n_threads or worker.state.nthreads)
        state.count(epochs=1)
        return carried[0] / carried[1], network.snapshot(), state.snapshot(), worker.address

    def _train(self, stepper: Stepper, data: Data, place: int, carried: np.ndarray, n_threads: int) -> None:
        """The steps of one chunk, which is the ``place``-th."""
        network, size = stepper.network, min(self.batch_size, data.n)
        order = None
        if self.shuffle:
            order = Stream(network.seed, PERMUTATION, stepper.state.epoch, place).permutation(data.n)
        with network.workspace(size, n_threads, training=True,
                               loss_size=data.loss_op.target_size) as workspace, \
                network.pool(workspace, size) as pool:
            _, reason, _ = stepper.run(workspace, pool, data, size, 1, order, partial=True, carried=carried)
        stepper.check_finite(reason)
