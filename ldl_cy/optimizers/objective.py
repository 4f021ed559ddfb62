"""Objective: the function that a full-batch method minimises, and its derivatives, over checked data.

Its variables θ are the trainable weights: all of the network's, or those of some ranges, the others being constants.
"""
from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np

from ldl_cy.optimizers.ranges import Ranges
from ldl_cy.optimizers.row_sums import unpack
from ldl_cy.optimizers.totals import OwnRows, Totals
from ldl_cy.workspaces import Borrower

if TYPE_CHECKING:
    from ldl_cy.data import Data
    from ldl_cy.distributed import Ranks
    from ldl_cy.losses import Loss
    from ldl_cy.network import Network


class Objective(Borrower):
    """f(θ) = Σ wᵢ lᵢ(θ) / Σ wᵢ + α/2 Σ θ² / Σ wᵢ of the trainable weights θ, without dropout, with running statistics.

    Used in a ``with`` statement, which borrows a workspace and threads. In a fit with a communicator the sums are over
    the rows of all ranks, all of which make the same calls; ``outputs``, ``jvp`` and ``loss_curvature`` return the
    rows of this rank, and ``vjp`` takes them.

    Parameters
    ----------
    network : Network
        Computes in its own dtype; arguments and results of the methods are float64.
    data : Data, with targets in the network's dtype
        With ranks what this rank was given: all rows, or its own.
    loss : Loss
    alpha : float >= 0
        L2 penalty on the ranges ``network.decayed``.
    n_threads : int
    ranks : Ranks, default=None
        The processes of the fit.
    totals : Totals, default=None
        Where the sums come from instead, if not from ``data``.

    Attributes
    ----------
    n_params : int, the number of trainable weights
    decay : (n_params,) float64, the penalty's part of the Hessian's diagonal; a method may change it
    total_weight : float, Σ wᵢ
    n_outputs : int
    ranks : Ranks or None
    """

    def __init__(
        self, network: Network, data: Data, loss: Loss, alpha: float, n_threads: int, ranks: Ranks | None = None,
        totals: Totals | None = None,
    ) -> None:
        self.network, self.data, self.loss, self.n_threads, self.ranks = network, data, loss, n_threads, ranks
        self._own = OwnRows(network, data, loss, n_threads, ranks)
        self._totals: Totals = self._own if totals is None else totals
        self.n_outputs, self.total_weight = network.n_outputs, float(self._totals.total("weight")[0])
        self._totals.total_weight = self.total_weight
        self.ranges = Ranges(network.trainable_ranges)
        self.n_params = self.ranges.size
        decay = np.zeros(network.n_params)
        for low, high in network.decayed:
            decay[low:high] = alpha / self.total_weight
        self.decay = self.ranges.part(decay).copy()

    @property
    def data_parts(self) -> list[Data]:
        """The rows of this process in the parts that are added up: one, or one for each of its shards."""
        return [part.data for part in self._own.parts]

    def borrow(self) -> Generator[None, None, None]:
        """What the sums need."""
        with self._totals:
            yield

    def follow(self, network: Network) -> None:
        """Take over the numbers of the network that is trained, or of its last layers, if this is a copy of it."""
        own = self.network
        if own.dtype != network.dtype:
            with own.version:
                for vector, values in zip(own.vectors, network.vectors):
                    vector[:] = values[values.size - vector.size:]

    def penalty(self, theta: np.ndarray) -> float:
        """α/2 Σ θ² / Σ w"""
        return 0.5 * float((self.decay * theta) @ theta)

    def value(self, theta: np.ndarray) -> float:
        """f(θ), by a forward pass over all rows."""
        return float(self._totals.total("value", theta)[0]) + self.penalty(theta)

    def value_and_grad(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """f(θ) and its gradient, (n_params,)."""
        found = self._totals.total("value_and_grad", theta)
        return float(found[0]) + self.penalty(theta), found[1:] + self.decay * theta

    def gauss_newton(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient Jᵀ C r, (n_params,), and the lower triangle of the Gauss-Newton matrix Jᵀ C J of Σ c r²/2.

        r are the residuals, C is the diagonal matrix of the c; the penalty is not included.
        """
        return unpack(self._totals.total("gauss_newton", theta), theta.size)

    def curvature_product(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Jᵀ B J v, (n_params,), with B of ``loss_curvature``; the penalty is not included.

        Several products at one θ compute the outputs there once.
        """
        return self._totals.total("curvature_product", theta, v)

    def outputs(self, theta: np.ndarray) -> np.ndarray:
        """The network's raw outputs, (n, n_outputs)."""
        return self._own.joined("outputs", theta)

    def jvp(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """J v, (n, n_outputs), by a central difference: its error is of the order of eps^(2/3), eps the network's."""
        return self._own.joined("jvp", theta, v)

    def vjp(self, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Jᵀ u for u (n, n_outputs), by a backward pass."""
        return self._own.total("vjp", theta, cut=[u])

    def loss_curvature(self, raw: np.ndarray, v: np.ndarray) -> np.ndarray:
        """B v, (n, n_outputs), for raw outputs and v of this shape.

        B is block diagonal: the second derivatives of each row's loss with respect to its outputs.
        """
        return self._own.joined("loss_curvature", cut=[raw, v])
