"""The training of an estimator's model: what is recorded of an epoch, and when it is the last one."""
from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.optimize import _check_optimize_result

from ldl_cy.callbacks import Callback
from ldl_cy.estimators.data import Rows
from ldl_cy.estimators.observers import Observers
from ldl_cy.estimators.solvers import check_loss, make_optimizer
from ldl_cy.models import Sequential
from ldl_cy.threads import choose_threads
from ldl_cy.training import fit

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed.")
SMALLEST_LEARNING_RATE = 1e-6       # "adaptive" stops below it, as scikit-learn does


class Watch(Callback):
    """What is remembered between epochs: curves, the best so far, and how long nothing improved.

    The estimator's public attributes hold the curves; this adds the rules.
    """

    def __init__(self, estimator: Any, rows: Rows, validation: Rows | None, observers: Observers) -> None:
        self.estimator = estimator
        self.observers = observers
        self.prints = estimator.verbose and estimator._prints
        self.rows = rows
        self.validation = validation
        # asked before the fit begins, which would count as another
        self.n_threads = choose_threads(type(estimator).__name__, estimator.n_threads)
        # early_stopping may have changed since the last fit
        if not estimator.early_stopping:
            estimator._best = None
            estimator.best_loss_ = np.inf if estimator.best_loss_ is None else estimator.best_loss_
        elif estimator._best is None:
            estimator.best_loss_, estimator.best_validation_score_ = None, -np.inf
            estimator._best = snapshot(estimator.model_)

    @staticmethod
    def start(estimator: Any) -> None:
        """The attributes of a first fit."""
        estimator.n_iter_ = 0
        estimator.t_ = 0
        estimator.loss_curve_ = []
        estimator.best_loss_ = None
        estimator.validation_scores_ = None
        estimator.best_validation_score_ = None
        estimator._no_improvement_count = 0
        estimator._best = None

    def epoch_ends(self, loss: float, squares: float) -> None:
        """Record an epoch and count it as an improvement or not; ``squares`` see ``shown_loss``."""
        est = self.estimator
        est.n_iter_ += 1
        est.loss_ = loss = shown_loss(est, loss, squares, self.rows)
        est.loss_curve_.append(loss)
        if self.prints:
            print(f"Iteration {est.n_iter_}, loss = {loss:.8f}")
        if self.validation is not None:
            self.score(self.validation)
        if est.early_stopping:
            return
        improved = loss <= est.best_loss_ - est.tol
        est._no_improvement_count = 0 if improved else est._no_improvement_count + 1
        est.best_loss_ = min(est.best_loss_, loss)

    def score(self, held: Rows) -> None:
        """Score the validation rows; with early stopping this decides what is best."""
        est = self.estimator
        score = est._score_encoded(held, self.n_threads)
        if est.validation_scores_ is None:
            est.validation_scores_ = []
        if est.best_validation_score_ is None:
            est.best_validation_score_ = -np.inf
        est.validation_scores_.append(score)
        if self.prints:
            print(f"Validation score: {score:f}")
        if est.early_stopping:
            worse = score < est.best_validation_score_ + est.tol
            est._no_improvement_count = est._no_improvement_count + 1 if worse else 0
        if score > est.best_validation_score_:
            est.best_validation_score_ = score
            if est.early_stopping:
                est._best = snapshot(est.model_)

    def stops(self) -> bool:
        """Whether training ends here; "adaptive" first makes the steps smaller."""
        est = self.estimator
        if est._no_improvement_count <= est.n_iter_no_change:
            return False
        what = "Validation score" if est.early_stopping else "Training loss"
        text = (f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} consecutive "
                "epochs.")
        if est.solver == "sgd" and est.learning_rate == "adaptive":
            if est._step_size > SMALLEST_LEARNING_RATE:
                est._step_size /= 5.0
                est._no_improvement_count = 0
                if self.prints:
                    print(f"{text} Setting learning rate to {est._step_size:f}")
                return False
            text += " Learning rate too small."
        if self.prints:
            print(f"{text} Stopping.")
        return True

    def observed(self) -> bool:
        """Show the epoch to the observers; whether one of them ends the fit."""
        logs = {"loss": self.estimator.loss_}
        if self.validation is not None:
            logs["val_score"] = float(self.estimator.validation_scores_[-1])
        return self.observers.epoch_ends(logs)


def snapshot(model: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A copy of a model's weights and running statistics."""
    return model.theta.copy(), {name: value.copy() for name, value in model.state.items()}


def restore(model: Any, saved: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    model.theta[:] = saved[0]
    for name, value in saved[1].items():
        model.state[name][...] = value


def train(
    estimator: Any, rows: Rows, validation: Rows | None, observers: Observers, *, incremental: bool,
) -> None:
    """Fit ``estimator.model_``: one epoch (incremental), or epochs until nothing improves or max_iter."""
    try:
        train_epochs(estimator, rows, validation, observers, incremental=incremental)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=4)
    except FloatingPointError as error:     # the model holds the weights of the last finite epoch
        if not estimator.early_stopping:
            raise ValueError(NON_FINITE) from error
        warnings.warn(f"{error} The best weights so far are kept.", ConvergenceWarning, stacklevel=4)
    if estimator.early_stopping:
        restore(estimator.model_, estimator._best)


class Epochs(Watch):
    """What happens after every epoch of ``Sequential.fit``.

    Parameters
    ----------
    estimator, rows, validation, observers : see ``Watch``
    n_batches : int, of an epoch
    compiled : bool
        Steps that are compiled record the loss of before each; the other methods, each iteration of which is an
        epoch, that of after it, and they know themselves when they have converged.
    """

    def __init__(
        self, estimator: Any, rows: Rows, validation: Rows | None, observers: Observers, n_batches: int, compiled: bool,
    ) -> None:
        super().__init__(estimator, rows, validation, observers)
        self.n_batches, self.compiled = n_batches, compiled
        self.squares = sum_of_squares(estimator.model_)
        self.stopped = False

    def on_fit_begin(self, model: Sequential, epochs: int) -> None:
        """Before the first epoch."""
        self.observers.begin(epochs)

    def on_fit_end(self, model: Sequential) -> None:
        """Also when an exception ended the fit."""
        self.observers.end()

    def on_epoch_begin(self, model: Sequential, epoch: int) -> None:
        """Before each epoch."""
        self.observers.epoch_begins(epoch)

    def on_non_finite(self, model: Sequential, error: FloatingPointError) -> bool:
        """Whether an observer ends the fit in place of the error."""
        self.stopped = self.observers.non_finite(error)
        return self.stopped

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool:
        """Record the epoch, choose the next step size, and stop where nothing improves."""
        est = self.estimator
        before, self.squares = self.squares, sum_of_squares(model)
        if self.compiled:
            # what the squares were on average when the epoch's batches began, if they changed evenly
            change = (self.squares - before) * (self.n_batches - 1) / (2 * self.n_batches)
            est.t_ += self.rows.n
            self.epoch_ends(logs["loss"], (before + change) * self.n_batches)
        else:
            self.epoch_ends(logs["loss"], self.squares)
        if est.solver == "sgd" and est.learning_rate == "invscaling":
            est._step_size = est.learning_rate_init / (est.t_ + 1) ** est.power_t
        ends = (self.compiled or est.early_stopping) and self.stops()
        self.stopped = self.observed() or ends
        return self.stopped


class Orders:
    """scikit-learn's orders of rows: each epoch shuffles that of the one before, with its random numbers.

    ``partial_fit`` and a warm start go on where the last call ended, so that n epochs are the same in one call or in
    several.
    """

    def __init__(self, estimator: Any, n: int) -> None:
        before = estimator._order
        self.order = np.arange(n) if before is None or len(before) != n else before
        self.random_state = estimator._random_state

    def __call__(self) -> np.ndarray:
        places = np.arange(len(self.order))
        self.random_state.shuffle(places)
        self.order = self.order[places]
        return self.order


def train_epochs(
    estimator: Any, rows: Rows, validation: Rows | None, observers: Observers, *, incremental: bool,
) -> None:
    """One fit of the model, watched."""
    est, n = estimator, rows.n
    if est.t_ == 0 or est._first_step_size != est.learning_rate_init:
        est._step_size = est._first_step_size = est.learning_rate_init
    size, loss, optimizer = est._batch_size(n), est._make_loss(), make_optimizer(est)
    check_loss(est, loss)
    watch = Epochs(est, rows, validation, observers, 1 if size == "full" else -(-n // size), optimizer.compiled)
    orders = Orders(est, n) if est.shuffle and size != "full" else None
    est._order = None
    est.n_iter_ = 0
    with est.model_._fitting():
        history = fit(
            est.model_, rows.X, rows.y, loss=loss, optimizer=optimizer, batch_size=size,
            epochs=1 if incremental else est.max_iter, alpha=est.alpha, shuffle=False, sample_weight=rows.weight,
            lengths=rows.lengths, validation_data=None, validation_split=0.0, callbacks=[watch],
            n_threads=est.n_threads, verbose=0, orders=orders)
    if (incremental or est.warm_start) and orders is not None:
        est._order = orders.order
    if history.result is not None:          # SciPy's; warns as scikit-learn does
        est.loss_ = shown_loss(est, history.result.fun, sum_of_squares(est.model_), rows)
        est.n_iter_ = _check_optimize_result("lbfgs", history.result, est.max_iter)
    elif not (watch.stopped or incremental or history.stop_reason == "converged"):
        kind = "Stochastic Optimizer" if optimizer.compiled else type(optimizer).__name__
        warnings.warn(
            f"{kind}: Maximum iterations ({est.max_iter}) reached and the optimization hasn't converged yet."
            if history.stop_reason == "epochs" else f"{kind}: {history.message}.", ConvergenceWarning, stacklevel=5)


def penalised(model: Sequential) -> list[slice]:
    """The pieces of theta that alpha acts on: parameters of two or more axes that are not frozen."""
    return [slice(e.offset, e.offset + e.parameter.size) for e in model._built().parameters
            if e.parameter.decays and e.trainable]


def sum_of_squares(model: Sequential) -> float:
    """Σθ² over what alpha acts on."""
    return sum(float(np.vdot(model.theta[part], model.theta[part])) for part in penalised(model))


def total_weight(rows: Rows) -> float:
    return float(rows.n) if rows.weight is None else float(rows.weight.sum())


def shown_loss(estimator: Any, loss: float, squares: float, rows: Rows) -> float:
    """The loss that is reported, from the loss that is minimised.

    They differ for the squared errors of several outputs: scikit-learn minimises their sum and reports
    their mean over outputs. So the data's part is divided by the number of outputs, the penalty is not.
    """
    k = estimator._averaged_outputs()
    penalty = 0.5 * estimator.alpha * squares / total_weight(rows)
    return float(loss) if k == 1 else (loss - penalty) / k + penalty
