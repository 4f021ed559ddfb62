"""Small fits on several ranks, by name, and what is compared of them."""
from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ldl_cy import Sequential, layers, optimizers, schedules
from ldl_cy.callbacks import EarlyStopping, History, ReduceOnPlateau

N = 208                         # divisible by 8 and 16: with rows="local" equal parts are whole shards
rng = np.random.default_rng(0)
ROWS = rng.standard_normal((N, 6))
IMAGES = rng.standard_normal((N, 8, 8, 2))
STEPS = rng.standard_normal((N, 7, 5))
TARGETS = np.tanh(ROWS[:, :1] * ROWS[:, 1:2]) + 0.3 * rng.standard_normal((N, 1))
CLASSES = (ROWS[:, 0] + 0.5 * ROWS[:, 1] > 0).astype(int) + (ROWS[:, 2] > 0.8)
LENGTHS = rng.integers(1, 8, N)
WEIGHTS = rng.uniform(0, 2, N)
WEIGHTS[32:64] = 0              # a whole batch where rows are in order
FEW = sp.csr_array(np.where(np.abs(ROWS) < 0.8, 0, ROWS))


def dense() -> list[layers.Layer]:
    return [layers.Dense(12, "tanh"), layers.Dense(3)]


def one_output() -> list[layers.Layer]:
    return [layers.Dense(8, "tanh"), layers.Dense(1)]


def convolutional() -> list[layers.Layer]:
    return [layers.RandomFlip(), layers.RandomTranslation(0.2, 0.2), layers.Conv2D(6, 3), layers.BatchNorm(),
            layers.Activation("relu"), layers.MaxPool2D(2), layers.Dropout(0.3), layers.Conv2D(4, 2, activation="relu"),
            layers.BatchNorm(), layers.Flatten(), layers.GaussianNoise(0.1), layers.Dense(3)]


def recurrent() -> list[layers.Layer]:
    return [layers.LSTM(6, return_sequences=True), layers.Dropout(0.2), layers.GRU(5), layers.Dense(1)]


def normed() -> list[layers.Layer]:
    return [layers.Dense(9, "relu"), layers.BatchNorm(), layers.LayerNorm(), layers.Dense(1)]


class Case(NamedTuple):
    """A fit.

    Attributes
    ----------
    layers : function without arguments
    X, y : arrays of N rows
    options : function without arguments, those of ``Sequential.fit`` that are not of rows
    rows : dict of the arguments that have a value for each row
    epochs : int
    """

    layers: Callable[[], list[layers.Layer]]
    X: Any
    y: np.ndarray
    options: Callable[[], dict[str, Any]]
    rows: Mapping[str, np.ndarray] = MappingProxyType({})
    epochs: int = 3


CASES = {
    "mlp": Case(dense, ROWS, CLASSES, lambda: dict(loss="log_loss", optimizer="adam", batch_size=32)),
    "cnn": Case(convolutional, IMAGES, CLASSES, lambda: dict(loss="log_loss", optimizer="adam", batch_size=25)),
    "lstm": Case(recurrent, STEPS, TARGETS, lambda: dict(
        loss="squared_error", optimizer=optimizers.RMSprop(0.005, momentum=0.5), batch_size=32), {"lengths": LENGTHS}),
    "sgd": Case(dense, ROWS, CLASSES, lambda: dict(
        loss="log_loss", batch_size=20, validation_split=0.2, optimizer=optimizers.SGD(
            schedules.OneCycle(0.2, 30), 0.9, clip_norm=0.4, weight_decay=0.01, ema=0.8))),
    "callbacks": Case(one_output, ROWS, TARGETS, lambda: dict(
        loss="squared_error", optimizer=optimizers.Adam(0.03), batch_size=16, validation_split=0.25, callbacks=[
            ReduceOnPlateau("val_loss", 0.5, 1), EarlyStopping("val_loss", 3, restore_best_weights=True)]), epochs=40),
    "sparse": Case(dense, FEW, CLASSES, lambda: dict(loss="log_loss", optimizer="adam", batch_size=32)),
    "penalty": Case(dense, ROWS, CLASSES, lambda: dict(
        loss="log_loss", optimizer=optimizers.Nadam(schedules.Cosine(0.01)), batch_size=32, alpha=0.5)),
    "weights": Case(dense, ROWS, CLASSES, lambda: dict(
        loss="log_loss", optimizer=optimizers.SGD(0.1, 0.9), batch_size=32, shuffle=False, class_weight="balanced"),
        {"sample_weight": WEIGHTS}),
    "full batch": Case(one_output, ROWS, TARGETS, lambda: dict(
        loss="huber", optimizer=optimizers.GD(0.1, tol=0), validation_split=0.2)),
    "normed": Case(normed, ROWS, TARGETS, lambda: dict(loss="absolute_error", optimizer="lion", batch_size=10),
                   {"sample_weight": WEIGHTS}),
    "lbfgs": Case(dense, ROWS, CLASSES, lambda: dict(loss="log_loss", optimizer="lbfgs", alpha=0.1), epochs=6),
    "lm": Case(one_output, ROWS, TARGETS, lambda: dict(loss="squared_error", optimizer="lm"), epochs=4),
    # two epochs: its inner iterations amplify rounding
    "gauss_newton_cg": Case(dense, ROWS, CLASSES, lambda: dict(
        loss="log_loss", optimizer="gauss_newton_cg", validation_split=0.2), {"sample_weight": WEIGHTS}, epochs=2),
    "cg": Case(one_output, ROWS, TARGETS, lambda: dict(loss="squared_error", optimizer="cg"), epochs=5),
}


def crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def checksums(model: Sequential) -> dict[str, Any]:
    """Of the weights, the running statistics and the optimizer's vectors, and what is counted."""
    state = model.training_state
    return {"theta": crc(model.theta), "statistics": crc(model.network.statistics), "slots": crc(state.optimizer.slots),
            "epoch": model.epoch, "step": model.step}


def arguments(name: str, rows: slice = slice(None)) -> dict[str, Any]:
    """The arguments of ``Sequential.fit``, with these of the rows."""
    case = CASES[name]
    return {"X": case.X[rows], "y": case.y[rows], "epochs": case.epochs, **case.options(),
            **{key: values[rows] for key, values in case.rows.items()}}


def fitted(
    name: str, comm: Any = None, *, dtype: str = "float32", of: slice = slice(None), **options: Any,
) -> tuple[Sequential, History]:
    """The model after a fit on rows ``of``; options are further arguments of ``Sequential.fit``."""
    model = Sequential(CASES[name].layers(), dtype, random_state=3)
    return model, model.fit(**{**arguments(name, of), **options, "comm": comm})


def found(name: str, comm: Any, **options: Any) -> dict[str, Any]:
    """What is compared of a fit, for JSON, which keeps the bits of a float."""
    model, history = fitted(name, comm, **options)
    return {**checksums(model), "history": history.history, "reason": history.stop_reason}


def own(comm: Any, counts: Sequence[int]) -> slice:
    """This rank's rows of all where each rank has as many as ``counts`` says."""
    first = sum(counts[:comm.Get_rank()])
    return slice(first, first + counts[comm.Get_rank()])
