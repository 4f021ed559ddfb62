"""The fit: everything is checked first, then epochs run compiled, with Python in between where it is wanted."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import losses, optimizers
from ldl_cy._engine.train import CONVERGED
from ldl_cy.batches import Batches, run_batches
from ldl_cy.between import Between
from ldl_cy.callbacks import Callback, History, ProgressBar, check_callbacks, is_true
from ldl_cy.checks import check_bool, check_int, check_real
from ldl_cy.optimizers.full_batch import FullBatch
from ldl_cy.problem import Problem
from ldl_cy.samples import Samples, check_samples, choose_batch_size, split_validation
from ldl_cy.threads import choose_threads, running_fit
from ldl_cy.updates import Updates

if TYPE_CHECKING:
    from ldl_cy.models import Sequential

OWNER = "Sequential"
COEFFICIENTS = 1 << 16          # rows of coefficients made at a time
EPOCHS_A_CALL = 1 << 14


def fit(
    model: Sequential, X: Any, y: Any, *, loss: Any, optimizer: Any, batch_size: Any, epochs: int, alpha: float,
    shuffle: bool, sample_weight: Any, lengths: Any, validation_data: Any, validation_split: float, callbacks: Any,
    n_threads: int | None, verbose: int, orders: Callable[[], np.ndarray] | None = None,
) -> History:
    """See ``Sequential.fit``, whose lock is held.

    ``orders`` gives the order of rows (n,) of each epoch in place of the model's own random numbers.
    """
    loss = losses.get(loss)
    optimizer = optimizers.get(optimizer)
    epochs = check_int(OWNER, "epochs", epochs)
    alpha = check_real(OWNER, "alpha", alpha, 0)
    shuffle = check_bool(OWNER, "shuffle", shuffle)
    share = check_real(OWNER, "validation_split", validation_split, 0, 1, high_open=True)
    watchers: list[Callback] = check_callbacks(callbacks)
    if verbose:
        watchers.append(ProgressBar())
    known = ["loss", *optimizer.records]
    if validation_data is not None or share:
        known.append("val_loss")
    for watcher in watchers:
        watcher.check(optimizer, known)
    threads = choose_threads(OWNER, n_threads)
    batches: Batches | None = None
    if y is None:
        extra = {"batch_size": batch_size != "auto", "sample_weight": sample_weight is not None,
                 "lengths": lengths is not None, "validation_split": share > 0}
        batches = Batches(X, epochs, optimizer, [name for name, is_given in extra.items() if is_given])
        X, y, sample_weight, lengths = batches.first
    given, validation = split_validation((X, y, sample_weight, lengths), validation_data, share)
    # a model that is not built yet is built last: until then nothing may change
    graph, samples = check_samples(
        model, model._graph, "X", *given, loss, optimizer.dtype or model.dtype)
    size = choose_batch_size(batch_size, optimizer, samples.n)
    model._check_last_layer(loss)
    optimizer.check(graph, loss)
    if validation is not None:
        check_samples(model, graph, "validation_data", *validation, loss, model.dtype)
    if samples.kernel.python:
        threads = 1
    model.build(graph.input_shape)
    between = Between(model, History(), watchers, validation, loss, threads)
    ranges = np.array([(e.offset, e.offset + e.parameter.size) for e in graph.parameters
                       if e.parameter.decays and e.trainable], np.int64).reshape(-1, 2)
    with ExitStack() as stack:
        stack.enter_context(running_fit())
        for watcher in watchers:
            watcher.on_fit_begin(model, epochs)
            stack.callback(watcher.on_fit_end, model)
        if model._optimizer_name != optimizer.state_name or len(model._slots) != optimizer.n_vectors:
            model._forget_optimizer(optimizer.state_name, optimizer.n_vectors)
        try:
            if isinstance(optimizer, FullBatch) and not optimizer.compiled:
                descend(model, optimizer, samples, loss, alpha, ranges, threads, epochs, between)
            else:
                updates = Updates(model, optimizer, alpha, ranges)
                if batches is None:
                    run_epochs(updates, samples, size, shuffle and size < samples.n, orders, threads, epochs, between)
                else:
                    run_batches(updates, batches, loss, threads, epochs, between)
        except FloatingPointError as error:
            if not any([is_true(watcher.on_non_finite(model, error)) for watcher in watchers]):
                raise
            between.history.ended("non-finite", str(error))
    return between.history


def run_epochs(
    updates: Updates, samples: Samples, size: int, shuffle: bool, orders: Callable[[], np.ndarray] | None, threads: int,
    epochs: int, between: Between,
) -> None:
    """Compiled epochs, several in one call or, where somebody watches, one at a time."""
    model = updates.model
    order = np.arange(samples.n) if shuffle or orders is not None else None
    at_once = max(1, min(EPOCHS_A_CALL, COEFFICIENTS // -(-samples.n // size)))
    if not between.silent or orders is not None:
        at_once = 1
    left = epochs
    with model._workspace(size, threads, training=True, loss_size=samples.kernel.target_size) as ws, \
            model._pool(ws, size) as pool:
        while left:
            before = model.epoch
            between.epoch_begins(before + 1)
            if orders is not None and order is not None:
                order[:] = orders()
            with updates.steps_weights():
                found, reason, largest = updates.run(
                    ws, pool, samples, size, min(left, at_once), order, shuffle and orders is None)
            updates.count(len(found))
            updates.check_finite(reason)
            left -= len(found)
            if between.epochs_end(before + 1, found):
                return
            if reason == CONVERGED:
                between.history.ended("converged", updates.why_converged(largest))
                return


def descend(
    model: Sequential, optimizer: FullBatch, samples: Samples, loss: losses.Loss, alpha: float, ranges: np.ndarray,
    threads: int, epochs: int, between: Between,
) -> None:
    """A fit by a method that is not compiled: each iteration is an epoch."""
    def after(values: dict[str, float]) -> bool:
        model.epoch += 1
        model.step += 1
        model._optimizer_steps += 1
        model._optimizer_epochs += 1
        ends = between.epoch_ends(model.epoch, values)
        if not ends and model.epoch < last:
            between.epoch_begins(model.epoch + 1)
        return ends

    last = model.epoch + epochs
    with Problem(model, optimizer.dtype or model.dtype, samples, loss, alpha, ranges, threads) as problem:
        between.epoch_begins(model.epoch + 1)
        ended = optimizer.minimize(problem, model.theta, model._slots, model._memory, epochs, after)
    if ended is not None:
        between.history.ended(*ended)
