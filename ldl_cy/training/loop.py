"""The loop over epochs. All checks come first; then steps are compiled, with Python between epochs if needed."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import losses, optimizers
from ldl_cy._engine.process import RunningFit
from ldl_cy._engine.train import CONVERGED
from ldl_cy.checks import check_bool, check_int, check_real, read_rows
from ldl_cy.data import Arrays, check_last_layer, split_validation, validate_data
from ldl_cy.inference import evaluate
from ldl_cy.messages import shown
from ldl_cy.optimizers.contract import read_optimizer
from ldl_cy.optimizers.objective import Objective
from ldl_cy.optimizers.step_rule import StepRule
from ldl_cy.state import TrainingState
from ldl_cy.threads import choose_threads
from ldl_cy.training.batches import Batches, run_batches
from ldl_cy.training.full_batch import run_full_batch
from ldl_cy.training.steps import Stepper

if TYPE_CHECKING:
    from ldl_cy.network import Network
    from ldl_cy.training.dispatcher import CallbackDispatcher

OWNER = "Sequential"
MOST_COEFFICIENTS = 1 << 16     # rows of an optimizer's coefficients that are computed at a time
EPOCHS_A_CALL = 1 << 14         # epochs in one compiled call

Shape = tuple[int, ...]


class Fit:
    """One fit: the constructor checks all arguments and data, ``run`` trains.

    Parameters
    ----------
    network : Network or None
        None: ``build`` makes it for the shape of X, and the fit begins with a state of its own.
    state : TrainingState
        The network and the state are used by this fit only: see ``Exclusive``.
    build : function of a shape, or None with a network
    callbacks : CallbackDispatcher
    order_rows : function without arguments, default=None
        Returns the order of rows, (n,) ints, of each epoch; None shuffles by the network's own random numbers.
    X, y and the others : see ``Sequential.fit``

    Attributes
    ----------
    network : Network
    state : TrainingState
    data : Data, with an iterable of batches that of the first batch

    Raises
    ------
    ValueError, TypeError
        Bad input. Nothing has been changed.
    """

    def __init__(
        self, network: Network | None, state: TrainingState, build: Callable[[Shape], Network] | None, X: Any,
        y: Any, *, loss: Any, optimizer: Any, batch_size: Any, epochs: Any, alpha: Any, shuffle: Any,
        sample_weight: Any = None, lengths: Any = None, validation_data: Any = None, validation_split: Any = 0.0,
        callbacks: CallbackDispatcher, n_threads: Any = None, order_rows: Callable[[], np.ndarray] | None = None,
    ) -> None:
        self.callbacks, self.order_rows = callbacks, order_rows
        self.loss = losses.get(loss)
        self.optimizer = optimizers.get(optimizer)
        self.declared = read_optimizer(self.optimizer)
        self.epochs = check_int(OWNER, "epochs", epochs)
        self.alpha = check_real(OWNER, "alpha", alpha, 0)
        self.shuffle = check_bool(OWNER, "shuffle", shuffle)
        share = check_real(OWNER, "validation_split", validation_split, 0, 1, high_open=True)
        validates = validation_data is not None or share > 0
        callbacks.check(self.optimizer, ["loss", *self.declared.log_keys, *(["val_loss"] if validates else [])])
        self.n_threads = choose_threads(OWNER, n_threads)
        given: Arrays = (X, y, sample_weight, lengths)
        self.batches: Batches | None = None
        if y is None:
            unused = {"batch_size": batch_size != "auto", "sample_weight": sample_weight is not None,
                      "lengths": lengths is not None, "validation_split": share > 0}
            self.batches = Batches(X, self.epochs, self.optimizer, [name for name, used in unused.items() if used])
            given = self.batches.first
        given, validation = split_validation(given, validation_data, share)
        if network is None:
            assert build is not None
            # the caller stores the new network only after all checks, so that an error changes nothing
            rows = read_rows(OWNER, "X", given[0])
            given, network = (rows, *given[1:]), build(tuple(rows.shape[1:]))
            state = TrainingState(network.n_params, network.dtype)
        self.network, self.state = network, state
        method = self.declared.method
        self.dtype = (method and method.dtype) or network.dtype
        self.data = validate_data(
            network, "X", *given, self.loss, self.dtype, weightless=self.batches is not None)
        self.batch_size = choose_batch_size(batch_size, self.optimizer, self.data.n)
        check_last_layer(network, self.loss)
        self.optimizer.check(network.graph, self.loss)
        if isinstance(self.optimizer, StepRule) and method is None:
            self.stepper = Stepper(network, state, self.optimizer, self.declared, self.alpha)
        if self.data.loss_op.python:
            self.n_threads = 1
        if validation is not None:
            # checked once for all epochs
            self._held_out = validate_data(network, "validation_data", *validation, self.loss, network.dtype)
            callbacks.prepend(self._add_validation_loss)

    def _add_validation_loss(self, model: Any, logs: dict[str, float]) -> None:
        """Add "val_loss" to the values of an epoch; the first callback of the fit."""
        logs["val_loss"] = evaluate(self.network, self._held_out, self.n_threads)

    def run(self) -> None:
        """Run the epochs; the history of the callback list records them."""
        with RunningFit(), ExitStack() as stack:
            before = self.state.optimizer
            try:
                self._begin_optimizer()
                stack.enter_context(self.callbacks.fitting(self.epochs))
                self.callbacks.load_states()
            except BaseException:
                self.state.optimizer = before           # a callback has refused the fit
                raise
            try:
                self._run_epochs()
            except FloatingPointError as error:
                if not self.callbacks.non_finite(error):
                    raise

    def _begin_optimizer(self) -> None:
        """Continue from the state of the last fit if its optimizer was of the same kind, else start a new one."""
        name, n_vectors, kept = self.declared.state_name, self.declared.n_vectors, self.state.optimizer
        if kept.name != name or len(kept.slots) != n_vectors:
            self.state.begin_optimizer(name, np.zeros((n_vectors, self.network.n_params), self.network.dtype))

    def _run_epochs(self) -> None:
        network, method = self.network, self.declared.method
        if method is not None:
            objective = Objective(network.astype(self.dtype), self.data, self.loss, self.alpha, self.n_threads)
            run_full_batch(method, self.declared, objective, network, self.state, self.epochs, self.callbacks)
        elif self.batches is None:
            self._run_compiled(self.stepper)
        else:
            run_batches(self.stepper, self.batches, self.loss, self.n_threads, self.epochs, self.callbacks)

    def _run_compiled(self, stepper: Stepper) -> None:
        """Run compiled epochs: several in one call, or one at a time if there are callbacks or orders of rows."""
        network, state, data, size = self.network, self.state, self.data, self.batch_size
        callbacks, order_rows = self.callbacks, self.order_rows
        shuffle = order_rows is None and self.shuffle and size < data.n
        order = np.arange(data.n) if shuffle or order_rows is not None else None
        at_once = 1
        if not callbacks and order_rows is None:
            at_once = max(1, min(EPOCHS_A_CALL, MOST_COEFFICIENTS // -(-data.n // size)))
        left = self.epochs
        with network.workspace(size, self.n_threads, training=True, loss_size=data.loss_op.target_size) as ws, \
                network.pool(ws, size) as pool:
            while left:
                first = state.epoch + 1
                callbacks.epoch_begins(first)
                if order_rows is not None and order is not None:
                    order[:] = order_rows()
                with stepper.swap_averaged_weights():
                    losses, reason, largest = stepper.run(ws, pool, data, size, min(left, at_once), order, shuffle)
                stepper.check_finite(reason)
                left -= len(losses)
                if callbacks.epochs_end(first, losses):
                    return
                if reason == CONVERGED:
                    callbacks.history.ended("converged", stepper.why_converged(largest))
                    return


def choose_batch_size(batch_size: Any, optimizer: optimizers.Optimizer, n: int) -> int:
    """The number of rows of a step; see ``Sequential.fit``."""
    if isinstance(batch_size, str) and batch_size in ("auto", "full"):
        return n if batch_size == "full" or optimizer.full_batch else min(32, n)
    if isinstance(batch_size, str):
        raise ValueError(f"Sequential: batch_size must be an int >= 1, 'auto' or 'full', got {shown(batch_size)}.")
    size = check_int(OWNER, "batch_size", batch_size)
    if optimizer.full_batch:
        raise ValueError(f"Sequential: batch_size must be 'auto' or 'full' with {type(optimizer).__name__}, "
                         f"which takes the full batch, got {batch_size}.")
    return min(size, n)
