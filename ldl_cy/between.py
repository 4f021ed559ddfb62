"""What happens between the epochs of a fit."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldl_cy.callbacks import is_true

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy import losses
    from ldl_cy.callbacks import Callback, History
    from ldl_cy.models import Sequential


class Between:
    """Validation, history, and whoever watches."""

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

    @property
    def silent(self) -> bool:
        """Whether nobody looks before several epochs are over."""
        return not self.watchers and self.validation is None

    def epochs_end(self, first: int, losses: np.ndarray) -> bool:
        """``epoch_ends`` for epochs from number ``first`` on."""
        if self.silent:
            self.history.extend(first, losses)
            return False
        return any([self.epoch_ends(first + i, {"loss": float(loss)}) for i, loss in enumerate(losses)])
