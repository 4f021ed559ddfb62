"""The fit: everything is checked first, then epochs run compiled, with Python in between where it is wanted."""
from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import losses, optimizers
from ldl_cy._engine.train import CONVERGED, NON_FINITE, train
from ldl_cy.callbacks import Callback, History, ProgressBar, check_callbacks, is_true
from ldl_cy.checks import check_bool, check_int, check_lengths, check_real, check_rows, check_weights
from ldl_cy.optimizers.full_batch import FullBatch
from ldl_cy.problem import Problem
from ldl_cy.sparse import is_sparse
from ldl_cy.threads import choose_threads, running_fit

if TYPE_CHECKING:
    from ldl_cy.models import Sequential

COEFFICIENTS = 1 << 16          # rows of coefficients made at a time
EPOCHS_A_CALL = 1 << 14


def choose_batch_size(batch_size: Any, optimizer: optimizers.Optimizer, n: int) -> int:
    """The rows of a step; see ``Sequential.fit``."""
    if isinstance(batch_size, str) and batch_size in ("auto", "full"):
        return n if batch_size == "full" or optimizer.full_batch else min(32, n)
    if isinstance(batch_size, str):
        raise ValueError(f"Sequential: batch_size must be an int >= 1, 'auto' or 'full', got {batch_size!r}.")
    size = check_int("Sequential", "batch_size", batch_size)
    if optimizer.full_batch:
        raise ValueError(f"Sequential: batch_size must be 'auto' or 'full' with {type(optimizer).__name__}, "
                         f"which takes the full batch, got {batch_size}.")
    return min(size, n)


def split_validation(
    data: tuple[Any, Any, Any, Any], validation_data: Any, share: float,
) -> tuple[tuple[Any, Any, Any, Any], tuple[Any, Any, Any, Any] | None]:
    """Both parts of (X, y, sample_weight, lengths); the second is None without validation."""
    if validation_data is not None:
        if share:
            raise ValueError("Sequential: validation_split must be 0 with validation_data, got both.")
        if not isinstance(validation_data, (tuple, list)) or not 2 <= len(validation_data) <= 4:
            raise TypeError("Sequential: validation_data must be (X, y), (X, y, sample_weight) or "
                            f"(X, y, sample_weight, lengths), got {type(validation_data).__name__}.")
        X, y, weights, lengths = (*validation_data, None, None)[:4]
        return data, (X, y, weights, lengths)
    if not share:
        return data, None
    arrays = [None if a is None else a.tocsr() if is_sparse(a) else np.asarray(a) for a in data]
    rows = np.shape(data[0])[0]
    n = rows - max(1, round(share * rows))
    if n < 1:
        raise ValueError(f"Sequential: validation_split must leave a row to train on, got {share} of {rows}.")
    first = tuple(None if a is None else a[:n] for a in arrays)
    second = tuple(None if a is None else a[n:] for a in arrays)
    return first, second                    # type: ignore[return-value]


def fit(
    model: Sequential, X: Any, y: Any, *, loss: Any, optimizer: Any, batch_size: Any, epochs: int, alpha: float,
    shuffle: bool, sample_weight: Any, lengths: Any, validation_data: Any, validation_split: float, callbacks: Any,
    n_threads: int | None, verbose: int, orders: Callable[[], np.ndarray] | None = None,
) -> History:
    """See ``Sequential.fit``, whose lock is held.

    ``orders`` gives the order of rows (n,) of each epoch in place of the model's own random numbers.
    """
    owner = "Sequential"
    loss = losses.get(loss)
    optimizer = optimizers.get(optimizer)
    epochs = check_int(owner, "epochs", epochs)
    alpha = check_real(owner, "alpha", alpha, 0)
    shuffle = check_bool(owner, "shuffle", shuffle)
    share = check_real(owner, "validation_split", validation_split, 0, 1, high_open=True)
    watchers: list[Callback] = check_callbacks(callbacks)
    if verbose:
        watchers.append(ProgressBar())
    known = ["loss", *optimizer.records]
    if validation_data is not None or share:
        known.append("val_loss")
    for watcher in watchers:
        watcher.check(optimizer, known)
    threads = choose_threads(owner, n_threads)
    (X, y, sample_weight, lengths), validation = split_validation(
        (X, y, sample_weight, lengths), validation_data, share)
    rows = check_rows(owner, "X", X, model.input_shape, model.dtype)
    n = len(rows)
    size = choose_batch_size(batch_size, optimizer, n)
    dtype = optimizer.dtype or model.dtype
    weights = check_weights(owner, sample_weight, n, dtype)
    shape = model.input_shape or np.shape(X)[1:]
    # a model that is not built yet is built last: until then nothing may change
    graph = model._graph or model._make_graph(tuple(shape))
    for layer in graph.input_checks:
        layer.check_input(rows)
    model._check_last_layer(loss)
    optimizer.check(graph, loss)
    targets, kernel = loss.bind(y, n, graph.shapes[-1], dtype)
    fault = model._length_fault(graph, kernel)
    ends = check_lengths(owner, lengths, n, graph.steps[0], fault)
    if validation is not None:
        checked = check_rows(owner, "validation_data", validation[0], tuple(shape), model.dtype)
        for layer in graph.input_checks:
            layer.check_input(checked)
        loss.bind(validation[1], len(checked), graph.shapes[-1], model.dtype)
        check_weights(owner, validation[2], len(checked), model.dtype)
        check_lengths(owner, validation[3], len(checked), graph.steps[0], fault)
    if kernel.python:
        threads = 1
    model.build(shape)
    history = History()
    between = Between(model, history, watchers, validation, loss, threads)
    ranges = np.array([(e.offset, e.offset + e.parameter.size) for e in graph.parameters
                       if e.parameter.decays and e.trainable], np.int64).reshape(-1, 2)
    with ExitStack() as stack:
        stack.enter_context(running_fit())
        if optimizer.compiled:
            ws = stack.enter_context(
                model._workspace(size, threads, training=True, loss_size=kernel.target_size))
            pool = stack.enter_context(model._pool(ws, size))
            runner = Runner(model, ws, pool, rows, targets, weights, ends, kernel, optimizer, alpha, ranges, size,
                            shuffle and size < n, orders)
        else:
            problem = stack.enter_context(Problem(
                model, dtype, rows, targets, weights, ends, loss, kernel, alpha, ranges, threads))
        for watcher in watchers:
            watcher.on_fit_begin(model, epochs)
            stack.callback(watcher.on_fit_end, model)
        if model._optimizer_name != optimizer.state_name or len(model._slots) != optimizer.n_vectors:
            model._forget_optimizer(optimizer.state_name, optimizer.n_vectors)
        try:
            if optimizer.compiled:
                runner.run(epochs, between)
            elif isinstance(optimizer, FullBatch):
                descend(model, optimizer, problem, epochs, between)
        except FloatingPointError as error:
            if not any([is_true(watcher.on_non_finite(model, error)) for watcher in watchers]):
                raise
            history.ended("non-finite", str(error))
    return history


class Between:
    """What happens between epochs: validation, history, and whoever watches."""

    def __init__(
        self, model: Sequential, history: History, watchers: list[Callback], validation: tuple[Any, ...] | None,
        loss: losses.Loss, n_threads: int,
    ) -> None:
        self.model, self.history, self.watchers = model, history, watchers
        self.validation, self.loss, self.n_threads = validation, loss, n_threads

    def epoch_begins(self, epoch: int) -> None:
        """Before each epoch where somebody watches."""
        for watcher in self.watchers:
            watcher.on_epoch_begin(self.model, epoch)

    def epoch_ends(self, epoch: int, values: dict[str, float]) -> bool:
        """Record an epoch; whether somebody wants the fit to end."""
        model, logs = self.model, dict(values)
        if self.validation is not None:
            X, y, weight, lengths = self.validation
            logs["val_loss"] = model.evaluate(
                X, y, loss=self.loss, sample_weight=weight, lengths=lengths, n_threads=self.n_threads)
        self.history.on_epoch_end(model, epoch, logs)
        stops = [is_true(watcher.on_epoch_end(model, epoch, logs)) for watcher in self.watchers]
        if any(stops):
            self.history.ended("callback", "a callback ended the fit")
        return any(stops)


def descend(
    model: Sequential, optimizer: FullBatch, problem: Problem, epochs: int, between: Between,
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
    between.epoch_begins(model.epoch + 1)
    ended = optimizer.minimize(problem, model.theta, model._slots, model._memory, epochs, after)
    if ended is not None:
        between.history.ended(*ended)


class Runner:
    """A fit whose steps are compiled: runs epochs in one call or, where somebody watches, one at a time."""

    def __init__(
        self, model: Sequential, ws: Any, pool: Any, rows: np.ndarray, targets: np.ndarray,
        weights: np.ndarray | None, lengths: np.ndarray | None, kernel: Any, optimizer: optimizers.Optimizer,
        alpha: float, ranges: np.ndarray, size: int, shuffle: bool, orders: Callable[[], np.ndarray] | None,
    ) -> None:
        self.model, self.ws, self.pool, self.kernel = model, ws, pool, kernel
        self.rows, self.targets, self.weights, self.lengths = rows, targets, weights, lengths
        self.optimizer, self.alpha, self.ranges, self.size, self.shuffle = optimizer, alpha, ranges, size, shuffle
        self.orders = orders
        self.order = np.arange(len(rows)) if shuffle or orders is not None else None

    def call(self, epochs: int) -> tuple[np.ndarray, int]:
        """Run epochs compiled: (losses of those done, why it ended)."""
        model, optimizer = self.model, self.optimizer
        steps = -(-len(self.rows) // self.size)
        found = np.zeros(epochs)
        rule = optimizer.rule(self.alpha, self.ranges)
        # a schedule of the user's may raise: before anything changes
        coefficients = optimizer.coefficients(model._optimizer_steps, epochs * steps, model._optimizer_epochs, steps,
                                              model._memory.get("rate_factor", 1.0))
        if self.orders is not None and self.order is not None:
            self.order[:] = self.orders()
        self.to_steps_weights()
        done, taken, reason, largest, error = train(
            self.ws, model.theta, model._slots, model._state, self.rows, self.targets, self.weights,
            self.kernel, rule, coefficients,
            batch_size=self.size, epochs=epochs, order=self.order, reshuffle=self.shuffle and self.orders is None,
            seed=model.random_state, epoch=model.epoch, step=model.step, losses=found, pool=self.pool,
            lengths=self.lengths, before=model._memory.get("loss", np.nan))
        if reason == NON_FINITE:            # the epoch that failed was taken back
            taken = done * steps
        model.epoch += done
        model.step += taken
        model._optimizer_steps += taken
        model._optimizer_epochs += done
        self.to_average()
        if error is not None:
            raise error
        if reason == NON_FINITE:
            raise FloatingPointError(
                f"Sequential: the loss or a weight became non-finite in epoch {model.epoch + 1}; the weights are "
                f"those of epoch {model.epoch}. A smaller learning_rate or clip_norm may help.")
        if rule.by_loss:
            model._memory["loss"] = float(found[done - 1])
            self.why = f"the loss changed by at most tol={rule.tol:g} of itself"
        else:
            self.why = f"the largest entry of the gradient, {largest:.3g}, is at most tol={rule.tol:g}"
        return found[:done], reason

    def to_average(self) -> None:
        """Between epochs θ is the average of the steps' weights, which take its place among the slots."""
        model = self.model
        if self.optimizer.ema is not None and model._optimizer_steps:
            model.theta[:], model._slots[-1] = model._slots[-1].copy(), model.theta.copy()
            model._memory["averaged"] = float(zlib.crc32(model.theta.data))

    def to_steps_weights(self) -> None:
        """Steps go on from their own weights, unless θ was changed since: then both begin from what it is now."""
        model = self.model
        if self.optimizer.ema is None:
            return
        if model._memory.pop("averaged", None) != zlib.crc32(model.theta.data):
            model._slots[-1] = model.theta
        else:
            model.theta[:], model._slots[-1] = model._slots[-1].copy(), model.theta.copy()

    def run(self, epochs: int, between: Between) -> None:
        """All epochs, unless something ends the fit before."""
        model = self.model
        steps = -(-len(self.rows) // self.size)
        at_once = max(1, min(EPOCHS_A_CALL, COEFFICIENTS // steps))
        if between.watchers or between.validation is not None or self.orders is not None:
            at_once = 1
        left = epochs
        while left:
            before = model.epoch
            between.epoch_begins(before + 1)
            found, reason = self.call(min(left, at_once))
            left -= len(found)
            stops = [between.epoch_ends(before + i, {"loss": float(value)}) for i, value in enumerate(found, 1)]
            if any(stops):
                return
            if reason == CONVERGED:
                between.history.ended("converged", self.why)
                return
