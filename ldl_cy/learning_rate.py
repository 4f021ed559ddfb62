"""The learning-rate range test."""
from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy import optimizers
from ldl_cy._engine.rng import PERMUTATION, Stream
from ldl_cy.checks import check_int, check_real, check_rows
from ldl_cy.data import bind_data, read_arrays
from ldl_cy.models import Sequential
from ldl_cy.schedules import Exponential

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ldl_cy.losses import Loss

OWNER = "find_learning_rate"
BETA = 0.9              # of the exponential average
SPAN = 10               # steps: losses in an average, and the distance over which its slope is measured
RISE = 3.0              # the test ends when the average exceeds its smallest value by RISE times that value


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """Losses of batches at increasing learning rates, as returned by ``find_learning_rate``.

    Attributes
    ----------
    rates : (n,) array, the learning rate of each step
    losses : (n,) array, the loss of each step's batch, before the update
    smoothed : (n,) array, the exponential moving average of the losses, with bias correction
    suggestion : float or None
        The rate, before the minimum, at which the smoothed loss falls most steeply over the logarithm of the rate;
        None if it never falls, for example because the lowest rate is too high.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls most steeply, or None."""
        # averages of fewer than SPAN losses, and differences over fewer steps, show the noise of single batches
        falling = self.smoothed[SPAN:int(np.argmin(self.smoothed)) + 1]
        slopes = falling[SPAN:] - falling[:-SPAN]           # the logarithms of the rates are evenly spaced
        if not np.any(slopes < 0):
            return None
        return float(self.rates[SPAN + int(np.argmin(slopes)) + SPAN // 2])

    def __repr__(self) -> str:
        found = "None" if self.suggestion is None else f"{self.suggestion:.3g}"
        return (f"<RangeTest of {len(self.rates)} steps, rates {self.rates[0]:.3g} .. {self.rates[-1]:.3g}, "
                f"suggestion={found}>")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot the losses over the rate, on a logarithmic axis, with the suggestion marked.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        from ldl_cy.plotting import _new_axes

        ax = _new_axes("RangeTest") if ax is None else ax
        ax.plot(self.rates, self.losses, color="C0", alpha=0.3, label="loss of the batch")
        ax.plot(self.rates, self.smoothed, color="C0", label="smoothed")
        if self.suggestion is not None:
            ax.axvline(self.suggestion, color="C1", linestyle="--", label=f"suggestion {self.suggestion:.3g}")
        # the axis ignores the exploding losses of the last batches
        low, high = self.losses.min(), self.smoothed.max()
        margin = 0.05 * (high - low) or 1.0
        ax.set(xscale="log", xlabel="Learning rate", ylabel="Loss", ylim=(low - margin, high + margin))
        ax.legend()
        return ax


def find_learning_rate(
    model: Sequential, X: Any, y: Any, *, loss: str | Loss, optimizer: str | optimizers.Optimizer = "sgd",
    lowest: float = 1e-6, highest: float = 10.0, n_steps: int = 100, batch_size: int = 32,
    sample_weight: Any = None, lengths: Any = None, n_threads: int | None = None,
) -> RangeTest:
    """Train a copy of a model at increasing learning rates and record the loss: the learning-rate range test.

    The rate of step t is lowest · (highest/lowest)^(t/(n_steps − 1)). The test ends early if the smoothed loss
    exceeds four times its smallest value or a loss becomes non-finite. Rows are shuffled by the model's own seed: the
    same model and data give the same result.

    Parameters
    ----------
    model : Sequential
        Is not changed; the copy starts from its weights with a new optimizer state.
    X : array of shape (n, *input_shape)
    y : targets, see the loss
    loss : str or Loss
    optimizer : str or Optimizer, default="sgd"
        Its learning_rate is replaced; full-batch optimizers are refused.
    lowest, highest : float > 0, default=1e-6, 10.0
        The rates of the first and the last step.
    n_steps : int >= 30, default=100
    batch_size : int >= 1, default=32
    sample_weight : (n,) numbers >= 0, default=None
        Rows of weight 0 are left out.
    lengths : (n,) ints in 1 .. time, default=None
        See ``Sequential.fit``.
    n_threads : int >= 1, default=None

    Returns
    -------
    RangeTest
        With ``suggestion`` and ``plot()``.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any computation.
    FloatingPointError
        The loss of the first step is not finite.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import Sequential, find_learning_rate, layers, optimizers
    >>> X = np.random.default_rng(0).standard_normal((500, 4))
    >>> model = Sequential([layers.Dense(16, "tanh"), layers.Dense(1)], random_state=0)
    >>> found = find_learning_rate(model, X, X[:, :1] * X[:, 1:2], loss="squared_error")
    >>> history = model.fit(X, X[:, :1] * X[:, 1:2], loss="squared_error", optimizer=optimizers.SGD(found.suggestion))
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"{OWNER}: model must be a Sequential, got {type(model).__name__}.")
    optimizer = copy.copy(optimizers.get(optimizer))
    if optimizer.full_batch or not isinstance(optimizer, optimizers.StepRule):
        raise ValueError(f"{OWNER}: optimizer must take batches, got {type(optimizer).__name__}, which takes the full "
                         "batch.")
    lowest = check_real(OWNER, "lowest", lowest, 0, low_open=True)
    highest = check_real(OWNER, "highest", highest, lowest, low_open=True)
    check_real(OWNER, "highest / lowest", highest / lowest, 1, low_open=True)
    n_steps = check_int(OWNER, "n_steps", n_steps, 3 * SPAN)
    batch_size = check_int(OWNER, "batch_size", batch_size)
    data = read_arrays(OWNER, (X, y, sample_weight, lengths))
    check_rows(OWNER, "X", data[0], model.input_shape, model.dtype)
    trial = copy.deepcopy(model).build(data[0].shape[1:])
    # all rows are checked before the first step
    checked, _ = bind_data(trial.network, *data[:2], loss, *data[2:], n_threads)
    # moments of an earlier fit belong to another rate
    trial.training_state.begin_optimizer("", np.zeros((0, trial.n_parameters), trial.dtype))
    optimizer.learning_rate = schedule = Exponential(lowest, highest / lowest, every=n_steps - 1)
    kept = np.arange(checked.n) if checked.weights is None else np.flatnonzero(checked.weights)

    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    for t, rows in zip(range(n_steps), batches(kept, batch_size, trial.random_state, trial.epoch)):
        batch = [None if a is None else a[rows] for a in data]
        try:
            history = trial.fit(batch[0], batch[1], loss=loss, optimizer=optimizer, batch_size="full", epochs=1,
                                sample_weight=batch[2], lengths=batch[3], n_threads=n_threads)
        except FloatingPointError:
            break
        losses += history.history["loss"]
        average = BETA * average + (1 - BETA) * losses[-1]
        smoothed.append(average / (1 - BETA ** (t + 1)))
        smallest = min(smoothed)
        if t >= SPAN and smoothed[-1] > smallest + RISE * abs(smallest):
            break
    if not losses:
        raise FloatingPointError(f"{OWNER}: the loss must be finite at the lowest rate, {lowest:g}.")
    return RangeTest(schedule(np.arange(len(losses))), np.array(losses), np.array(smoothed))


def batches(rows: np.ndarray, size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The rows of each step, in the order of a fit, without the smaller last batch of an epoch."""
    while True:
        order = rows[Stream(seed, PERMUTATION, epoch).permutation(len(rows))]
        for start in range(0, max(1, len(order) - size + 1), size):
            yield order[start:start + size]
        epoch += 1
