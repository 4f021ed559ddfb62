"""The fit of an estimator's model: epochs until nothing improves, and scikit-learn's warnings about how it ended."""
from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.optimize import _check_optimize_result

from ldl_cy.callbacks import CallbackList, History
from ldl_cy.estimators.closed_form import RidgeHead, forget_choice, record
from ldl_cy.estimators.data import Rows
from ldl_cy.estimators.monitor import TrainingMonitor
from ldl_cy.estimators.progress import RowShuffler
from ldl_cy.estimators.ranks import have_own_rows, recover, speaks
from ldl_cy.models import Sequential
from ldl_cy.optimizers import Optimizer
from ldl_cy.schedules import Schedule
from ldl_cy.state import TrainingState
from ldl_cy.training import Fit

if TYPE_CHECKING:
    from ldl_cy.distributed import Ranks

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed.")


def train(
    estimator: Any, rows: Rows, optimizer: Optimizer, loss: Any, batch_size: int | str,
    monitor: TrainingMonitor, callbacks: CallbackList, *, incremental: bool, ranks: Ranks | None,
    kind: Callable[..., Fit],
) -> None:
    """Fit ``estimator.model_``: for one epoch (incremental), or until nothing improves, at most max_iter epochs.

    ``kind`` makes the fit, from ``Fit``'s arguments. The caller has the model for itself: see ``Exclusive``.
    """
    est, model, progress = estimator, estimator.model_, monitor.progress
    callbacks.model = model
    callbacks.prepend(monitor)
    shuffle = bool(est.shuffle) and batch_size != "full"
    # rows of a rank's own are shuffled by the fit, shard by shard
    shuffler = RowShuffler(progress, rows.n) if shuffle and not have_own_rows(ranks) else None
    progress.order = None
    est.n_iter_ = 0
    head = optimizer if isinstance(optimizer, RidgeHead) else None
    if head is not None:
        progress.no_improvement_count = 0       # each fit is a whole one
    forget_choice(est)
    if ranks is not None:
        ranks.agree()
    try:
        with nullcontext() if ranks is None else ranks.together(last=False):
            history = fit(est, model, rows, optimizer, loss, batch_size, callbacks, shuffler, shuffle,
                          1 if incremental or head is not None else None, ranks, kind)
        if head is not None:
            record(est, head)
            progress.head_sums = head.found
        if (incremental or est.warm_start) and shuffler is not None:
            progress.order = shuffler.order
        est.stop_reason_ = "no_improvement" if monitor.stopped else history.stop_reason
        report_end(est, monitor, history, optimizer, incremental, ranks)
    except KeyboardInterrupt:
        recover(ranks)
        est.stop_reason_ = "interrupted"
        if speaks(ranks):
            warnings.warn("Training interrupted by user.", stacklevel=7)
    except FloatingPointError as error:     # the model holds the weights of the last finite epoch
        recover(ranks)
        est.stop_reason_ = "non_finite"
        if not est.early_stopping:
            raise ValueError(NON_FINITE) from error
        if speaks(ranks):
            warnings.warn(f"{error} The best weights so far are kept.", ConvergenceWarning, stacklevel=7)
    except Exception:                       # of a callback, a layer or a loss
        est.stop_reason_ = "error"
        raise


def fit(
    estimator: Any, model: Sequential, rows: Rows, optimizer: Optimizer, loss: Any, batch_size: int | str,
    callbacks: CallbackList, shuffler: RowShuffler | None, shuffle: bool, epochs: int | None, ranks: Ranks | None,
    kind: Callable[..., Fit],
) -> History:
    """Fit the model, with scikit-learn's orders of rows or, without them, its own; ``epochs=None`` is ``max_iter``."""
    est = estimator
    epochs = min(int(est.max_iter), sys.maxsize) if epochs is None else epochs
    kind(
        model.network, model.training_state, None, rows.X, rows.y, loss=loss, optimizer=optimizer,
        batch_size=batch_size, epochs=epochs, alpha=est.alpha, shuffle=shuffle and shuffler is None,
        sample_weight=rows.weight, lengths=rows.lengths, callbacks=callbacks, n_threads=est.n_threads,
        order_rows=shuffler, cache_features=getattr(est, "cache_features", "auto"), ranks=ranks).run()
    return callbacks.history


def report_end(
    estimator: Any, monitor: TrainingMonitor, history: History, optimizer: Optimizer, incremental: bool,
    ranks: Ranks | None,
) -> None:
    """Warn, as scikit-learn does, if the fit did not converge."""
    est = estimator
    if history.result is not None:          # SciPy's result; this function warns as scikit-learn does
        est.loss_ = monitor.reported_loss(history.result.fun, monitor.squares)
        est.n_iter_ = (_check_optimize_result("lbfgs", history.result, est.max_iter) if speaks(ranks)
                       else min(history.result.nit, est.max_iter))
        return
    if not speaks(ranks) or incremental or history.stop_reason in ("converged", "callback", "non_finite"):
        return
    if ended_as_planned(optimizer, est.model_.training_state):
        return
    kind = "Stochastic Optimizer" if optimizer.method is None else type(optimizer).__name__
    warnings.warn(
        f"{kind}: Maximum iterations ({est.max_iter}) reached and the optimization hasn't converged yet."
        if history.stop_reason == "epochs" else f"{kind}: {history.message}.", ConvergenceWarning, stacklevel=8)


def ended_as_planned(optimizer: Optimizer, state: TrainingState) -> bool:
    """Whether the learning rate follows a schedule that is over: then all epochs were what the user had planned."""
    rate = getattr(optimizer, "learning_rate", None)
    if not isinstance(rate, Schedule):
        return False
    # counted as the schedule counts: over all fits since the optimizer's state was new
    return rate.ended(state.optimizer.epochs if rate.by == "epoch" else state.optimizer.steps)
