"""Stepper: runs the engine's compiled loop with an optimizer's rule and a training state."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from ldl_cy._engine.train import NON_FINITE, SwappedAverage, train
from ldl_cy.optimizers.contract import read_coefficients, read_rule, read_updated
from ldl_cy.training.whole import check_arrays, non_finite

if TYPE_CHECKING:
    from ldl_cy._engine.collectives import Exchange
    from ldl_cy._engine.pool import Pool
    from ldl_cy._engine.program import Workspace
    from ldl_cy.data import Data
    from ldl_cy.network import Network
    from ldl_cy.optimizers import StepRule
    from ldl_cy.optimizers.contract import Declared
    from ldl_cy.state import TrainingState


class Stepper:
    """Runs the steps of a network by an optimizer's rule.

    Parameters
    ----------
    network : Network
    state : TrainingState
        Counts the steps, and stores the optimizer's vectors.
    optimizer : StepRule
    declared : Declared
    alpha : float >= 0, the L2 penalty
    part : Network, default=None
        The rest of the network after its first layers, see ``Network.split``: the steps are its own, on data that have
        passed the others. None is the whole network.

    Raises
    ------
    TypeError, ValueError
        The rule does not fit its kernel or the network.
    """

    def __init__(
        self, network: Network, state: TrainingState, optimizer: StepRule, declared: Declared, alpha: float,
        part: Network | None = None,
    ) -> None:
        self.network, self.state, self.optimizer, self.declared = network, state, optimizer, declared
        self.part = network if part is None else part
        self.rule = read_rule(optimizer, declared, alpha, self.part.decayed, self.part.n_params)
        # names of the whole network: a pattern may be that of frozen weights alone
        updated, self.factors = read_updated(optimizer, declared, network.graph.parameters)
        self._first = network.n_params - self.part.n_params     # of the part's weights, before which all are frozen
        self.updated = updated - [[self._first, self._first, 0]]

    def run(
        self, ws: Workspace, pool: Pool, data: Data, batch_size: int, epochs: int, order: np.ndarray | None = None,
        reshuffle: bool = False, partial: bool = False, carried: np.ndarray | None = None,
        exchange: Exchange | None = None,
    ) -> tuple[np.ndarray, int, float]:
        """Run epochs over the data, and count them and their steps in the training state.

        Parameters
        ----------
        ws, pool : Workspace and Pool for ``batch_size`` rows
        data : Data
        batch_size, epochs : int
        order : (n,) ints, default=None
            The order of rows, permuted in place with ``reshuffle``; None is the order of the data.
        reshuffle : bool, default=False
        partial : bool, default=False
            Whether the data are part of an epoch, which the caller counts.
        carried : (2,) array, default=None
            With ``partial``: the sums of losses and of weights in the epoch's earlier parts, to which those of these
            data are added. The loss that is returned is then that of all parts so far.
        exchange : Exchange, default=None
            The messages of one epoch over several ranks; ``order`` then has this one's rows, step by step.

        Returns
        -------
        losses : (completed epochs,) array
            Fewer than ``epochs`` also after an epoch with a batch without weight: the next call takes the rest.
        reason : int
            Why the loop ended, a constant of ``_engine.train``.
        largest : float
            The largest absolute entry of the last gradient.
        """
        part, state, slots = self.part, self.state, self.state.optimizer
        check_arrays(self.network, self.state, self.declared.n_vectors)
        steps = -(-data.n // batch_size) if exchange is None else exchange.n_steps
        losses = np.zeros(epochs)
        coefficients = read_coefficients(
            self.optimizer, self.declared, self.rule, first=slots.steps, count=epochs * steps, epoch=slots.epochs,
            steps_per_epoch=steps, factors=[state.rate_factor * factor for factor in self.factors])
        vectors = slots.slots[:, self._first:]
        theta, statistics = part.vectors
        with part.version:
            done, reason, largest, error = train(
                ws, theta, vectors, statistics, data.rows, data.targets, data.weights, data.loss_op, self.rule,
                coefficients, batch_size=batch_size, epochs=epochs, order=order, reshuffle=reshuffle, seed=part.seed,
                epoch=state.epoch, step=state.step, losses=losses, pool=pool, lengths=data.lengths,
                before=slots.scalars.get("loss", np.nan), counts=state, partial=partial, updated=self.updated,
                carried=carried, exchange=exchange)
        if error is not None:
            raise error
        return losses[:done], reason, largest

    def check_finite(self, reason: int) -> None:
        """Raise a FloatingPointError if a step had a non-finite loss or weight."""
        if reason == NON_FINITE:
            raise non_finite(self.state, advice=" A smaller learning_rate or clip_norm may help.")

    def why_converged(self, largest: float) -> str:
        """The criterion that was met, as a sentence."""
        if self.rule.by_loss:
            return f"the loss changed by at most tol={self.rule.tol:g} of itself"
        return f"the largest entry of the gradient, {largest:.3g}, is at most tol={self.rule.tol:g}"

    def swap_averaged_weights(self) -> AbstractContextManager[None]:
        """With averaged weights: theta holds the steps' own weights inside the context, and their average outside."""
        if not self.rule.averages:
            return nullcontext()
        check_arrays(self.network, self.state, self.declared.n_vectors)
        return SwappedAverage(self.network.vectors[0], self.network.version, self.state.optimizer)
