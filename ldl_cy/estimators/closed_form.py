"""solver="ridge": the output layer in closed form, on hidden layers that stay as they are."""
from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ldl_cy.inference import outputs
from ldl_cy.linalg.ridge import Block, Moments, Solution, Triangle
from ldl_cy.linalg.ridge_fit import RankRows, RidgeRows, RowBlocks, fit_rows
from ldl_cy.messages import shown
from ldl_cy.optimizers import FullBatchMethod
from ldl_cy.optimizers.base import Ended
from ldl_cy.threads import blas_at_one_thread

if TYPE_CHECKING:
    from ldl_cy._engine.graph import Graph
    from ldl_cy.data import Data
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network
    from ldl_cy.optimizers.objective import Objective

FEWEST_ROWS = 1024              # of a block, but for the last one
MOST_NUMBERS = 1 << 25          # of a block with more rows than FEWEST_ROWS
KEPT_BYTES = 1 << 28            # of what the output layer reads that a process computes once for all passes


class HeadSums:
    """The sums over the rows of all fits since the last new one, to which ``partial_fit`` adds.

    Attributes
    ----------
    sums : Moments or Triangle
    features : int, a checksum of the hidden layers' weights, which the sums depend on
    """

    def __init__(self, sums: Moments | Triangle, features: int) -> None:
        self.sums, self.features = sums, features

    def triangle(self, features: int, m: int, k: int) -> Triangle:
        """What further rows are added to: an empty one if these sums are of other features or targets."""
        if (self.features, self.sums.m, self.sums.k) != (features, m, k):
            return Triangle(m, k)
        return self.sums.triangle() if isinstance(self.sums, Moments) else self.sums


class RidgeHead(FullBatchMethod):
    """The weights of the last layer that minimise Σ sᵢ ‖yᵢ − hᵢ w − b‖² + α ‖w‖², for what the layer reads, h.

    One iteration, after which the fit has converged.

    Parameters
    ----------
    alphas : list of floats >= 0
    left_out : bool
        Whether to choose among ``alphas`` by leave-one-out errors, instead of taking the only one.
    earlier : HeadSums or None
        Sums to which the rows are added; None begins new ones, as a fit does.
    incremental : bool
        Whether rows will be added: then there is no second pass over them, and so no normal equations.

    Attributes
    ----------
    found : HeadSums, after the fit
    alpha : float, the one that was taken
    score : float or None, minus the mean squared leave-one-out error
    read : function of the numbers that the output layer reads and returns for a row
        Where the rows come from, if they are not the objective's: returns ``RidgeRows``.
    """

    read: Callable[[int, int], RidgeRows] | None = None
    dtype: ClassVar[str | None] = None          # the network computes in its own; sums are float64
    reads_blocks: ClassVar[bool] = True

    def __init__(
        self, alphas: list[float], *, left_out: bool, earlier: HeadSums | None = None, incremental: bool = False,
    ) -> None:
        super().__init__(0.0)
        self.alphas, self.left_out, self.earlier, self.incremental = alphas, left_out, earlier, incremental
        self.found: HeadSums | None = None
        self.alpha: float = alphas[0]
        self.score: float | None = None

    def check(self, graph: Graph, loss: Loss) -> None:
        """Refuse an output layer that is frozen."""
        if not all(entry.trainable for entry in graph.parameters[-2:]):
            raise ValueError("solver='ridge' computes the weights of the output layer, which must be trainable, got a "
                             "frozen one.")

    def minimize(
        self, objective: Objective, theta: np.ndarray, slots: np.ndarray, scalars: dict[str, float], epochs: int,
        callback: Callable[[dict[str, float]], bool],
    ) -> Ended | None:
        """See ``FullBatchMethod``."""
        network = objective.network
        hidden = len(network.layers) - 1
        trunk, head = network.split(hidden) if hidden else (None, network)
        features = 0 if trunk is None else zlib.crc32(trunk.vectors[0].data)
        # whatever overflows ends as weights that are not finite, which the fit refuses
        with blas_at_one_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found, solution = self._solve(objective, trunk, math.prod(head.input_shape), head.n_outputs, features)
            # the layer's weights are w (m, k), then b (k,)
            theta[theta.size - head.n_params:] = np.concatenate([solution.coef.ravel(), solution.intercept])
        self.found = HeadSums(found, features)
        # half of the minimised sum, as a mean over rows: the loss of the other solvers
        squares = solution.squares + self.alpha * float(np.vdot(solution.coef, solution.coef))
        if callback({"loss": 0.5 * squares / found.total}):
            return None
        return Ended("converged", "the output layer is the solution of a ridge regression")

    def _solve(
        self, objective: Objective, trunk: Network | None, m: int, k: int, features: int,
    ) -> tuple[Moments | Triangle, Solution]:
        if self.read is not None:
            sums, solution, self.alpha, self.score = fit_rows(self.read(m, k), self.alphas, left_out=self.left_out)
            return sums, solution
        keeps = trunk is not None and objective.data.n * m * trunk.vectors[0].itemsize <= KEPT_BYTES
        parts = [read_rows(part, trunk, m, k, objective.n_threads, keeps=keeps) for part in objective.data_parts]
        if not self.incremental:
            rows: RidgeRows = parts[0] if objective.ranks is None else RankRows(parts, objective.ranks)
            sums, solution, self.alpha, self.score = fit_rows(rows, self.alphas, left_out=self.left_out)
            return sums, solution
        triangle = parts[0].triangle(None if self.earlier is None else self.earlier.triangle(features, m, k))
        triangle.check_finite()
        return triangle, triangle.solve(self.alpha)


def read_rows(data: Data, trunk: Network | None, m: int, k: int, n_threads: int, *, keeps: bool) -> RowBlocks:
    """What the output layer reads of some rows.

    Parameters
    ----------
    data : Data
    trunk : Network or None, the hidden layers
    m, k : int, the numbers that the output layer reads and returns for a row
    n_threads : int
    keeps : bool
        Whether the trunk's outputs are kept for a second pass.
    """
    p = 1 + m + k
    size = max(FEWEST_ROWS, min(4 * p, MOST_NUMBERS // p))
    kept: dict[int, np.ndarray] = {}

    def blocks() -> Iterator[Block]:
        for start in range(0, data.n, size):
            part = data.part(start, size)
            h = kept.get(start)
            if h is None:
                h = np.asarray(part.rows if trunk is None else outputs(
                    trunk, part.rows, part.lengths, n_threads)).reshape(part.n, m)
                if not np.isfinite(h).all():
                    raise FloatingPointError("an output of the hidden layers is not finite")
                if keeps:
                    kept[start] = h
            yield h, part.targets, part.weights

    return RowBlocks(blocks, data.n, m, k)


def make_head(estimator: Any, *, incremental: bool, earlier: HeadSums | None) -> RidgeHead:
    """The method of a fit of an estimator with solver="ridge", or of a ``partial_fit`` after others of these sums.

    Raises
    ------
    ValueError
        ``alphas`` are not positive numbers, or given to ``partial_fit``.
    """
    alphas = estimator.alphas
    if alphas is not None:
        if incremental:
            raise ValueError("partial_fit does not support alphas: leave-one-out errors need all rows at once. Set "
                             "alpha instead.")
        alphas = read_alphas(alphas)
    return RidgeHead(
        [float(estimator.alpha)] if alphas is None else alphas, left_out=alphas is not None,
        earlier=earlier if incremental else None, incremental=incremental)


def read_alphas(given: Any) -> list[float]:
    """The ``alphas`` parameter as floats."""
    try:
        values = np.asarray(given, float)
    except (OverflowError, TypeError, ValueError):
        values = np.zeros(1)
    if values.ndim > 1 or values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"alphas must be None or finite numbers > 0, got {shown(given)}.")
    return [float(value) for value in np.ravel(values)]


def forget_choice(estimator: Any) -> None:
    """Drop what an earlier fit with solver="ridge" has recorded, but for its sums."""
    for name in ("alpha_", "best_score_"):
        vars(estimator).pop(name, None)


def record(estimator: Any, head: RidgeHead) -> None:
    """Store what a fit has found: ``alpha_``, and with ``alphas`` also ``best_score_``."""
    estimator.alpha_ = head.alpha
    if head.score is not None:
        estimator.best_score_ = head.score
