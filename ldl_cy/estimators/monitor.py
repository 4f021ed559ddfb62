"""TrainingMonitor, the callback that records an estimator's curves and decides when a fit ends."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ldl_cy.callbacks import Callback
from ldl_cy.estimators.progress import FitProgress
from ldl_cy.estimators.solvers import is_closed_form
from ldl_cy.models import Sequential
from ldl_cy.network import Network

SMALLEST_LEARNING_RATE = 1e-6       # "adaptive" stops below it, as scikit-learn does


class TrainingMonitor(Callback):
    """Records loss and score, and stops when they no longer improve, by scikit-learn's rules.

    The curves are stored in the estimator's public attributes. It is the first callback of a fit: the others see the
    loss that it reports, "val_loss" and "val_score". With early stopping it restores the best weights at the end,
    before a ``Checkpoint`` writes its last file.

    Parameters
    ----------
    estimator : BaseNetwork
    progress : FitProgress
    n : int
        Rows of an epoch.
    total_weight : float
        The sum of their weights.
    n_batches : int
        Batches per epoch.
    compiled : bool
        Whether the fit takes compiled steps, whose losses are those before each update. A full-batch method reports
        the loss after each iteration, which is an epoch, and decides by itself when it has converged.
    averaged_outputs : int
        See ``reported_loss``.
    validate : function, or None without validation
        Returns loss and score of the validation rows with the current weights.
    prints : bool
        Whether to print a line for each epoch.

    Attributes
    ----------
    stopped : bool
        Whether it has ended the fit, since nothing improves.
    """

    def __init__(
        self, estimator: Any, progress: FitProgress, n: int, total_weight: float, *, n_batches: int, compiled: bool,
        averaged_outputs: int, validate: Callable[[], tuple[float, float]] | None, prints: bool,
    ) -> None:
        self.estimator, self.progress = estimator, progress
        self.n, self.total_weight = n, total_weight
        self.n_batches, self.compiled, self.averaged_outputs = n_batches, compiled, averaged_outputs
        self.validate, self.prints = validate, prints
        self.stopped = False
        network = estimator.model_.network
        self.squares = sum_of_squares(network)
        # early_stopping may have changed since the last fit
        self.by_loss = estimator.early_stopping == "loss"
        if not estimator.early_stopping:
            progress.best = None
            estimator.best_loss_ = np.inf if estimator.best_loss_ is None else estimator.best_loss_
        elif progress.best is None or progress.by_loss != self.by_loss:
            estimator.best_loss_, estimator.best_validation_score_ = None, -np.inf
            progress.best, progress.by_loss, progress.best_validation_loss = network.snapshot(), self.by_loss, np.inf

    @staticmethod
    def start(estimator: Any) -> None:
        """Set the attributes of an estimator before its first fit."""
        estimator.n_iter_ = 0
        estimator.t_ = 0
        estimator.loss_curve_ = []
        estimator.loss_ = np.nan        # until an epoch is complete
        estimator.best_loss_ = None
        estimator.validation_loss_curve_ = None
        estimator.validation_scores_ = None
        estimator.best_validation_score_ = None

    def on_epoch_end(self, model: Sequential, epoch: int, logs: dict[str, float]) -> bool:
        """Record the epoch, choose the next learning rate, and stop if nothing improves."""
        est, network = self.estimator, model.network
        before, self.squares = self.squares, sum_of_squares(network)
        if self.compiled:
            # the mean of Σθ² at the beginning of the epoch's batches, assuming that it changed linearly
            change = (self.squares - before) * (self.n_batches - 1) / (2 * self.n_batches)
            est.t_ += self.n
            self._record_loss(logs["loss"], (before + change) * self.n_batches)
        else:
            self._record_loss(logs["loss"], self.squares)
        logs["loss"] = est.loss_
        if self.validate is not None:
            logs["val_loss"], logs["val_score"] = self._record_validation(network, *self.validate())
        if est.solver == "sgd" and est.learning_rate == "invscaling":
            with np.errstate(over="ignore"):        # a power that no float holds gives the rate 0
                self.progress.step_size = float(est.learning_rate_init / np.float64(est.t_ + 1) ** float(est.power_t))
        return (self.compiled or est.early_stopping) and self._stops()

    def reported_loss(self, loss: float, squares: float) -> float:
        """The reported loss, computed from the minimised loss and Σθ².

        They differ for squared errors of several outputs: scikit-learn minimises their sum and reports their mean
        over outputs. So the data term is divided by the number of outputs, the penalty is not.
        """
        k = self.averaged_outputs
        penalty = 0.5 * self.estimator.alpha * squares / self.total_weight
        return float(loss) if k == 1 else (loss - penalty) / k + penalty

    def _record_loss(self, loss: float, squares: float) -> None:
        """Record the loss of an epoch and, without early stopping, whether it is an improvement."""
        est, progress = self.estimator, self.progress
        est.n_iter_ += 1
        est.loss_ = loss = self.reported_loss(loss, squares)
        est.loss_curve_.append(loss)
        if self.prints:
            print(f"Iteration {est.n_iter_}, loss = {loss:.8f}")
        if est.early_stopping:
            return
        improved = loss <= est.best_loss_ - est.tol
        progress.no_improvement_count = 0 if improved else progress.no_improvement_count + 1
        est.best_loss_ = min(est.best_loss_, loss)

    def _record_validation(self, network: Network, loss: float, score: float) -> tuple[float, float]:
        """Record loss and score of the validation rows, one of which with early stopping decides about improvement."""
        est, progress = self.estimator, self.progress
        if est.validation_scores_ is None:
            est.validation_scores_ = []
        if est.validation_loss_curve_ is None:      # scikit-learn and older versions have recorded the scores alone
            est.validation_loss_curve_ = [np.nan] * len(est.validation_scores_)
        if est.best_validation_score_ is None:
            est.best_validation_score_ = -np.inf
        est.validation_loss_curve_.append(loss)
        est.validation_scores_.append(score)
        if self.prints:
            print(f"Validation loss: {loss:.8f}" if self.by_loss else f"Validation score: {score:f}")
        if self.by_loss:
            best, improved = loss < progress.best_validation_loss, loss <= progress.best_validation_loss - est.tol
        else:
            best, improved = score > est.best_validation_score_, not score < est.best_validation_score_ + est.tol
        if est.early_stopping:
            progress.no_improvement_count = 0 if improved else progress.no_improvement_count + 1
            if best:
                progress.best = network.snapshot()
                progress.best_validation_loss = loss
        if score > est.best_validation_score_:
            est.best_validation_score_ = score
        return loss, score

    def on_fit_end(self, model: Sequential) -> None:
        """With early stopping restore the best weights."""
        watches = self.estimator.early_stopping and not is_closed_form(self.estimator.solver)
        if watches and self.progress.best is not None:
            model.network.restore(self.progress.best)

    def _stops(self) -> bool:
        """Whether training ends; with "adaptive" the learning rate is reduced first."""
        est, progress = self.estimator, self.progress
        if progress.no_improvement_count <= est.n_iter_no_change:
            return False
        what = "Training loss" if not est.early_stopping else f"Validation {'loss' if self.by_loss else 'score'}"
        text = (f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} consecutive "
                "epochs.")
        if est.solver == "sgd" and est.learning_rate == "adaptive":
            if progress.step_size > SMALLEST_LEARNING_RATE:
                progress.step_size /= 5.0
                progress.no_improvement_count = 0
                if self.prints:
                    print(f"{text} Setting learning rate to {progress.step_size:f}")
                return False
            text += " Learning rate too small."
        if self.prints:
            advice = "" if est.tol > 0 else " n_iter_no_change=np.inf trains for max_iter epochs."
            print(f"{text} Stopping.{advice}")
        self.stopped = True
        return True


def sum_of_squares(network: Network) -> float:
    """Σθ² over the weights that alpha acts on."""
    theta = network.vectors[0]
    return sum(float(np.vdot(theta[a:b], theta[a:b])) for a, b in network.decayed)
