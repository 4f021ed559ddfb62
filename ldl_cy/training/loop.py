"""The loop over epochs. All checks come first; then steps are compiled, with Python between epochs if needed."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import losses, optimizers
from ldl_cy._engine.process import RunningFit
from ldl_cy._engine.rng import PERMUTATION, Stream
from ldl_cy._engine.train import CONVERGED, DONE
from ldl_cy.checks import check_bool, check_int, check_real, read_rows
from ldl_cy.class_weights import check_class_weight, weighted
from ldl_cy.data import Arrays, Data, check_last_layer, split_validation, validate_data
from ldl_cy.distributed.agreement import agree_on_epoch
from ldl_cy.distributed.steps import RankSteps
from ldl_cy.inference import evaluate
from ldl_cy.messages import shown
from ldl_cy.optimizers.contract import read_optimizer
from ldl_cy.optimizers.objective import Objective
from ldl_cy.optimizers.step_rule import StepRule
from ldl_cy.state import TrainingState
from ldl_cy.threads import choose_threads
from ldl_cy.training.batches import Batches, run_batches
from ldl_cy.training.full_batch import run_full_batch
from ldl_cy.training.ranked import check_ranked, run_ranked
from ldl_cy.training.steps import Stepper
from ldl_cy.training.trunk import Trunk, count_frozen
from ldl_cy.training.trunk_outputs import Features, are_kept, run_in_chunks

if TYPE_CHECKING:
    from ldl_cy.distributed.ranks import Ranks
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
    ranks : Ranks, default=None
        Those that fit together. The caller raises errors on all of them: see ``Ranks.together``.
    X, y and the others : see ``Sequential.fit``

    Attributes
    ----------
    network : Network
    state : TrainingState
    data : Data, with an iterable of batches that of the first batch
    trunk : Trunk or None, the frozen layers at the beginning
    features : Features of the data in the trunk, or None
    steps : RankSteps with ranks, else None

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
        cache_features: Any = "auto", class_weight: Any = None, ranks: Ranks | None = None,
    ) -> None:
        self.callbacks, self.order_rows, self.ranks = callbacks, order_rows, ranks
        self.loss = losses.get(loss)
        self.optimizer = optimizers.get(optimizer)
        self.declared = read_optimizer(self.optimizer)
        self.epochs = check_int(OWNER, "epochs", epochs)
        self.alpha = check_real(OWNER, "alpha", alpha, 0)
        self.shuffle = check_bool(OWNER, "shuffle", shuffle)
        cache_features = check_cache(cache_features)
        check_class_weight(class_weight, self.loss, y is not None)
        self.class_weight = class_weight
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
        given, validation = split_validation(
            given, validation_data, share, ranks.own_parts if ranks is not None and ranks.local else None)
        if network is None:
            assert build is not None
            # the caller stores the new network only after all checks, so that an error changes nothing
            rows = read_rows(OWNER, "X", given[0])
            given, network = (rows, *given[1:]), build(tuple(rows.shape[1:]))
            state = TrainingState(network.n_params, network.dtype)
        self.network, self.state = network, state
        method = self.declared.method
        self.dtype = (method and method.dtype) or network.dtype
        own = None if ranks is None or ranks.local else ranks.own_rows
        some = self.batches is None and (ranks is None or not ranks.local)
        self.data = validate_data(
            network, "X", *given, self.loss, self.dtype, weightless=not some, own=own)
        self.data = weighted(self.data, given[1], class_weight, self.loss, network, some=some, ranks=ranks)
        n = self.data.n if ranks is None else ranks.count(self.data.n)
        self.batch_size = choose_batch_size(batch_size, self.optimizer, n)
        check_last_layer(network, self.loss)
        self.optimizer.check(network.graph, self.loss)
        if self.data.loss_op.python:
            self.n_threads = 1
        held_out = None
        if validation is not None:
            # checked once for all epochs
            held_out = validate_data(network, "validation_data", *validation, self.loss, network.dtype, own=own)
        self.steps: RankSteps | None = None
        if ranks is not None:
            check_ranked(
                ranks, network, state, self.data,
                {"loss": self.loss, "optimizer": self.optimizer, "batch_size": self.batch_size, "epochs": self.epochs,
                 "alpha": self.alpha, "shuffle": self.shuffle, "class_weight": class_weight,
                 "whether there are validation data": validates}, held_out, cache_features, self.batches is not None)
            self.steps = RankSteps(ranks, self.data.n, self.batch_size)
            self.n_threads = ranks.divide_threads(n_threads, self.n_threads)
        self._find_trunk(held_out, cache_features)
        if isinstance(self.optimizer, StepRule) and method is None:
            self.optimizer = self._with_schedule(self.optimizer)
            self.stepper = Stepper(
                network, state, self.optimizer, self.declared, self.alpha,
                None if self.trunk is None else self.trunk.trained)
        if held_out is not None:
            callbacks.prepend(self._add_validation_loss)

    def _with_schedule(self, optimizer: StepRule) -> StepRule:
        """The optimizer, whose schedule runs over this fit if it has no length of its own."""
        kept = self.state.optimizer
        made = (kept.steps, kept.epochs) if self._continues() else (0, 0)
        if self.steps is not None:
            steps: int | None = self.steps.n_steps
        else:
            steps = -(-self.data.n // self.batch_size) if self.batches is None else self.batches.count
        return optimizer.in_fit(made, (None if steps is None else steps * self.epochs, self.epochs))

    def _find_trunk(self, held_out: Data | None, cache_features: bool | str) -> None:
        """The frozen layers through which rows pass only once, or once in each epoch; see ``Sequential.fit``."""
        self.trunk: Trunk | None = None
        self.features: Features | None = None
        self.held_out: Data | Features | None = held_out
        method = self.declared.method
        by_itself = self.batches is not None or self.ranks is not None or (method is not None and method.reads_blocks)
        count = 0 if by_itself else count_frozen(self.network)
        if count:
            self.trunk = trunk = Trunk(self.network, count, self.dtype, self.n_threads)
            kept = are_kept(trunk, self.data.n + (0 if held_out is None else held_out.n), cache_features)
            self.features = Features(trunk, self.data, kept or self.declared.method is not None)
            if held_out is not None:
                own = self.dtype == self.network.dtype
                self.held_out = Features(
                    trunk if own else Trunk(self.network, count, self.network.dtype, self.n_threads), held_out, kept)

    def _add_validation_loss(self, model: Any, logs: dict[str, float]) -> None:
        """Add "val_loss" to the values of an epoch; the first callback of the fit."""
        data = self.held_out
        assert data is not None
        logs["val_loss"] = data.evaluate(self.n_threads) if isinstance(data, Features) else evaluate(
            self.network, data, self.n_threads, self.ranks)

    def run(self) -> None:
        """Run the epochs; the history of the callback list records them."""
        with RunningFit(), ExitStack() as stack:
            before = self.state.optimizer
            try:
                self._begin_optimizer()
                stack.enter_context(self.callbacks.fitting(self.epochs))
                self.callbacks.load_states()
                if self.ranks is not None:
                    self.ranks.agree()
            except BaseException:
                self.state.optimizer = before           # a callback has refused the fit
                raise
            try:
                self._run_epochs()
            except FloatingPointError as error:
                if not self.callbacks.non_finite(error):
                    raise
        if self.ranks is not None:              # callbacks may have restored weights at the end
            agree_on_epoch(self.ranks, self.network, self.state)

    def _begin_optimizer(self) -> None:
        """Continue from the state of the last fit if its optimizer was of the same kind, else start a new one."""
        name, n_vectors = self.declared.state_name, self.declared.n_vectors
        if not self._continues():
            self.state.begin_optimizer(name, np.zeros((n_vectors, self.network.n_params), self.network.dtype))

    def _continues(self) -> bool:
        """Whether the state of the last fit's optimizer is one of this fit's."""
        kept = self.state.optimizer
        return kept.name == self.declared.state_name and len(kept.slots) == self.declared.n_vectors

    def _run_epochs(self) -> None:
        network, method = self.network, self.declared.method
        if method is not None:
            data, read, refresh = self.data, network.astype(self.dtype), None
            if self.trunk is not None and self.features is not None:
                data, read, refresh = self.features.all(), self.trunk.rest, self.features.all
            objective = Objective(read, data, self.loss, self.alpha, self.n_threads, self.ranks)
            run_full_batch(
                method, self.declared, objective, network, self.state, self.epochs, self.callbacks, refresh)
        elif self.steps is not None:
            shuffle = self.shuffle and self.batch_size < self.steps.total
            run_ranked(self.stepper, self.steps, self.data, self.epochs, shuffle, self.callbacks, self.order_rows,
                       self.n_threads)
        elif self.batches is None:
            self._run_compiled(self.stepper)
        else:
            run_batches(self.stepper, self.batches, self.loss, self.n_threads, self.epochs, self.callbacks,
                        self.class_weight)

    def _run_compiled(self, stepper: Stepper) -> None:
        """Run compiled epochs: several in one call, or one at a time if there are callbacks or orders of rows."""
        network, state, features, size, n = stepper.part, self.state, self.features, self.batch_size, self.data.n
        callbacks, order_rows = self.callbacks, self.order_rows
        shuffle = order_rows is None and self.shuffle and size < n
        order = np.arange(n) if shuffle or order_rows is not None else None
        # a rule that may converge needs its epochs whole
        chunks = features is not None and not features.kept and not (
            stepper.rule.tol or features.rows_of_chunk(size) >= n)
        at_once = 1
        if not callbacks and order_rows is None and (features is None or features.kept):
            at_once = max(1, min(EPOCHS_A_CALL, MOST_COEFFICIENTS // -(-n // size)))
        left = self.epochs
        with network.workspace(size, self.n_threads, training=True, loss_size=self.data.loss_op.target_size) as ws, \
                network.pool(ws, size) as pool:
            while left:
                first = state.epoch + 1
                callbacks.epoch_begins(first)
                if order_rows is not None and order is not None:
                    order[:] = order_rows()
                if chunks and features is not None:
                    if shuffle and order is not None:
                        order[:] = Stream(network.seed, PERMUTATION, state.epoch).permutation(n)
                    losses = run_in_chunks(
                        stepper, ws, pool, features, np.arange(n) if order is None else order, size)
                    reason, largest = DONE, 0.0
                else:
                    data = self.data if features is None else features.all()
                    with stepper.swap_averaged_weights():
                        losses, reason, largest = stepper.run(
                            ws, pool, data, size, min(left, at_once), order, shuffle)
                    stepper.check_finite(reason)
                left -= len(losses)
                if callbacks.epochs_end(first, losses):
                    return
                if reason == CONVERGED:
                    callbacks.history.ended("converged", stepper.why_converged(largest))
                    return


def check_cache(cache_features: Any) -> bool | str:
    """The argument of ``Sequential.fit``."""
    if isinstance(cache_features, str) and cache_features == "auto":
        return cache_features
    try:
        return check_bool(OWNER, "cache_features", cache_features)
    except TypeError:
        raise (ValueError if isinstance(cache_features, str) else TypeError)(
            f"Sequential: cache_features must be 'auto', True or False, got {shown(cache_features)}.") from None


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
