"""Fits that fail on one rank: each is to end on all ranks with that rank's error, and the models are to be whole."""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from rank_fits import CLASSES, ROWS, TARGETS, WEIGHTS, checksums

from ldl_cy import Sequential, layers, losses, optimizers
from ldl_cy.callbacks import Callback, Checkpoint

EPOCHS = 6
KILLED_EPOCHS = 8
BAD = 1                         # the rank that fails
# of signals to fits by a step rule and by a full-batch method: seconds from the end of an epoch
SIGNALS = {"step rule": (0.0, 0.003, 0.05), "full batch": (0.003, 0.02)}


class Unusual(Exception):
    """It cannot be pickled."""

    def __init__(self, text: str, lock: Any) -> None:
        super().__init__(text, lock)

    def __str__(self) -> str:
        return str(self.args[0])


Options = Callable[[int, Sequential], Mapping[str, Any]]


class Fault(NamedTuple):
    """A fit that fails.

    Attributes
    ----------
    error : str, the class of the error on all ranks
    text : str, how its message begins
    epoch : int, the last complete one, which the models have
    options : function of (rank, model) -> the arguments of ``fit`` that differ from ``usual``
    layers : function of a rank, or None for those of ``usual``, whose fit is then made to its end
    """

    error: str
    text: str
    epoch: int
    options: Options
    layers: Callable[[int], list[layers.Layer]] | None = None


def stack(units: int = 8) -> list[layers.Layer]:
    return [layers.Dense(units, "tanh"), layers.BatchNorm(), layers.Dense(3)]


def usual() -> dict[str, Any]:
    return {"X": ROWS, "y": CLASSES, "loss": "log_loss", "optimizer": "adam", "batch_size": 20, "epochs": EPOCHS,
            "n_threads": 1}


def only(rank: int, value: Any, other: Any = None) -> Any:
    return value if rank == BAD else other


def damaged(array: np.ndarray, value: float, row: int = 110) -> np.ndarray:
    """With another number in a row: of two and of three ranks, rank 1 checks row 110, and rank 0 row 13."""
    changed = array.astype(float)
    changed[row] = value
    return changed


def raises(error: BaseException, at: int) -> Callable[[Sequential, dict[str, float]], None]:
    """A callback that raises after an epoch."""
    def callback(model: Sequential, logs: dict[str, float]) -> None:
        if model.epoch == at:
            raise error
    return callback


def nothing(model: Sequential, logs: dict[str, float]) -> None:
    pass


def moves(model: Sequential, logs: dict[str, float]) -> None:
    """A callback that changes the weights."""
    model.theta[0] += 1


class At(Callback):
    """A callback that calls a function of the model at one of its events."""

    def __init__(self, event: str, function: Callable[[Sequential], None]) -> None:
        setattr(self, event, lambda model, *_: function(model))


def move(model: Sequential) -> None:
    model.theta[0] += 1


def end_iteration(model: Sequential) -> None:
    raise StopIteration("in a callback")


def stops(model: Sequential, logs: dict[str, float]) -> bool:
    """A callback that ends the fit after the second epoch."""
    return model.epoch == 2


def squares(end: Callable[[], None] | None, model: Sequential, at: int) -> losses.Custom:
    """Half the squared error, in Python, which calls ``end`` at the fifth block of rows of the epoch after ``at``."""
    calls = 0

    def fn(y_pred: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += model.epoch == at
        if calls == 5 and end is not None:
            end()
        return 0.5 * ((y_pred - y)**2).sum(1), y_pred - y

    return losses.Custom(fn)


def fail() -> None:
    raise ZeroDivisionError("in a loss")


def fit_with_python(
    comm: Any, end: Callable[[], None] | None, at: int, model: Sequential | None = None, **options: Any,
) -> Sequential:
    """A model after a fit with a loss in Python that calls ``end`` in the middle of the epoch after ``at``."""
    if model is None:
        model = Sequential(stack(), random_state=1)
    model.fit(ROWS, np.repeat(TARGETS, 3, 1), loss=squares(end, model, at), batch_size=20,
              epochs=KILLED_EPOCHS - model.epoch, comm=comm, **options)
    return model


def other(key: str, value: Any, text: str = "Sequential: ") -> Fault:
    """An argument that is another one on one rank."""
    return Fault("ValueError", text, 0, lambda rank, model: only(rank, {key: value}, {}))


SAME = "Sequential: {} must be the same on all ranks"
FAULTS: dict[str, Fault] = {
    "NaN in X": Fault("ValueError", "Sequential: X", 0, lambda rank, model: {
        "X": only(rank, damaged(ROWS, np.nan), ROWS)}),
    # in order, row 13 is in the second half of the first batch, and in its second third
    "NaN in a row that another rank checks": Fault(
        "FloatingPointError", "Sequential: the loss or", 0, lambda rank, model: {
            "X": only(rank, damaged(ROWS, np.nan, 13), ROWS), "shuffle": False}),
    "NaN in y": Fault("ValueError", "squared_error: y must be finite", 0, lambda rank, model: {
        "y": only(rank, damaged(TARGETS, np.nan), TARGETS), "loss": "squared_error"},
        lambda rank: [layers.Dense(4, "tanh"), layers.Dense(1)]),
    "a class too many": Fault("ValueError", "log_loss: y must hold class codes", 0, lambda rank, model: {
        "y": only(rank, CLASSES + 1, CLASSES)}),
    "a wrong argument": Fault("ValueError", "Sequential: batch_size must be", 0, lambda rank, model: {
        "batch_size": only(rank, 0, 20)}),
    "a wrong argument of the ranks": Fault("ValueError", "Sequential: rows must be", 0, lambda rank, model: {
        "rows": only(rank, "mine", "all")}),
    "a file that is no checkpoint": Fault("ValueError", "Checkpoint: path must be", 0, lambda rank, model: {
        "callbacks": [Checkpoint(__file__)] if rank == 0 else []}),
    "NaN in own rows": Fault("ValueError", "Sequential: X", 0, lambda rank, model: {
        "X": only(rank, damaged(ROWS, np.inf), ROWS), "rows": "local"}),
    "no own rows": Fault("ValueError", "Sequential: X must have", 0, lambda rank, model: {
        "X": only(rank, ROWS[:0], ROWS), "y": only(rank, CLASSES[:0], CLASSES), "rows": "local"}),
    "own rows of another shape": Fault("ValueError", "Sequential: X must have", 0, lambda rank, model: {
        "X": only(rank, ROWS[:, :5], ROWS), "rows": "local"}),
    "fewer rows": Fault("ValueError", "Sequential: ", 0, lambda rank, model: {
        "X": only(rank, ROWS[:100], ROWS), "y": only(rank, CLASSES[:100], CLASSES)}),
    "other layers": Fault("ValueError", "Sequential: ", 0, lambda rank, model: {},
                          lambda rank: stack(only(rank, 9, 8))),
    "a callback": Fault("KeyError", "'a name'", 2, lambda rank, model: {
        "callbacks": [only(rank, raises(KeyError("a name"), 2), nothing)]}),
    "a callback that no other rank has": Fault("ZeroDivisionError", "here", 3, lambda rank, model: {
        "callbacks": only(rank, [raises(ZeroDivisionError("here"), 3)], [])}),
    "an error that cannot be sent": Fault("RuntimeError", "Unusual: with a lock", 1, lambda rank, model: {
        "callbacks": only(rank, [raises(Unusual("with a lock", threading.Lock()), 1)], [])}),
    "Ctrl-C between epochs": Fault("KeyboardInterrupt", "", 2, lambda rank, model: {
        "callbacks": only(rank, [raises(KeyboardInterrupt(), 2)], [])}),
    "the end of a process": Fault("SystemExit", "4", 2, lambda rank, model: {
        "callbacks": only(rank, [raises(SystemExit(4), 2)], [])}),
    "a rate that is too large": Fault("FloatingPointError", "Sequential: the loss or", 0, lambda rank, model: {
        "optimizer": optimizers.SGD(1e300)}),
    "weights of one rank": Fault("RuntimeError", "Sequential: callbacks must leave the same", 0, lambda rank, model: {
        "callbacks": only(rank, [moves], [nothing])}),
    **{f"weights of one rank, {event}": Fault(
        "RuntimeError", "Sequential: callbacks must leave the same weights", 0, lambda rank, model, event=event: {
            "callbacks": only(rank, [At(event, move)], [])}) for event in ("on_epoch_begin", "on_fit_end")},
    "a callback that refuses the fit": Fault("StopIteration", "in a callback", 0, lambda rank, model: {
        "callbacks": only(rank, [At("on_fit_begin", end_iteration)], [])}),
    "a callback at the end": Fault("StopIteration", "in a callback", EPOCHS, lambda rank, model: {
        "callbacks": only(rank, [At("on_fit_end", end_iteration)], [])}),
    "a stop": Fault("", "", 2, lambda rank, model: {"callbacks": only(rank, [stops], [])}),
    **{f"another {key}": other(key, value, SAME.format(key)) for key, value in {
        "batch_size": 10, "epochs": 5, "alpha": 0.5, "shuffle": False, "loss": "hinge",
        "optimizer": optimizers.Adam(0.1), "shards": 16, "rows": "local"}.items()},
    "weights of classes on one rank": other("class_weight", "balanced"),
    "another kind of optimizer": other("optimizer", "sgd"),
    "other weights of rows": other("sample_weight", WEIGHTS),
    "a batch without weight on one rank": Fault("ValueError", SAME.format("the checksum of sample_weight"), 0, (
        lambda rank, model: {"sample_weight": only(rank, WEIGHTS, WEIGHTS + 1), "shuffle": False, "batch_size": 16})),
    "other targets": Fault("ValueError", SAME.format("the checksum of y"), 0, lambda rank, model: {
        "y": only(rank, CLASSES[::-1], CLASSES)}),
    "other validation data": Fault("ValueError", SAME.format("the number of rows of the validation data"), 0, (
        lambda rank, model: {"validation_data": (ROWS[:9 + rank], CLASSES[:9 + rank])})),
    "validation rows on one rank": other("validation_split", 0.2),
    "validation data on one rank": other("validation_data", (ROWS[:9], CLASSES[:9])),
}


def faults(comm: Any, files: Any) -> None:
    """Each fault: its error, the model after it, and after a fit to the last epoch on all ranks."""
    rank = comm.Get_rank()
    files.add("epochs", at_epochs(comm))
    for name, fault in FAULTS.items():
        model = Sequential(stack() if fault.layers is None else fault.layers(rank), random_state=1).build(6)
        answer = attempt(model, {**usual(), **fault.options(rank, model)}, comm)
        if fault.layers is None and model.epoch < EPOCHS:
            model.fit(**{**usual(), "epochs": EPOCHS - model.epoch}, comm=comm)
            answer["continued"] = checksums(model)
        files.add(name, answer)
    files.add("a loss in Python", in_python(comm))
    for kind, delays in SIGNALS.items():
        for delay in delays:
            files.add(f"{kind} {delay}", interrupted(comm, kind, delay))


def at_epochs(comm: Any) -> list[dict[str, Any]]:
    """The checksums after each epoch, from none on, of a fit without a fault."""
    model = Sequential(stack(), random_state=1).build(6)
    found = [checksums(model)]
    model.fit(**usual(), comm=comm, callbacks=[lambda model, logs: found.append(checksums(model))])
    return found


def in_python(comm: Any) -> dict[str, Any]:
    """A loss that raises in the middle of an epoch, and a fit that it lets pass."""
    model, whole = (Sequential(stack(), random_state=1).build(6) for _ in range(2))
    options = {**usual(), "y": np.repeat(TARGETS, 3, 1)}
    answer = attempt(model, {**options, "loss": squares(only(comm.Get_rank(), fail), model, 3)}, comm)
    model.fit(**{**options, "loss": squares(None, model, 3), "epochs": EPOCHS - model.epoch}, comm=comm)
    whole.fit(**{**options, "loss": squares(None, whole, 3)}, comm=comm)
    return {**answer, "continued": checksums(model), "undisturbed": checksums(whole)}


def attempt(model: Sequential, options: dict[str, Any], comm: Any) -> dict[str, Any]:
    """What a fit raises, and the model after it."""
    answer: dict[str, Any] = {"error": "", "text": "", "notes": []}
    try:
        model.fit(**options, comm=comm)
    except BaseException as error:
        answer = {"error": type(error).__name__, "text": str(error), "notes": getattr(error, "__notes__", [])}
    answer["after"] = checksums(model)
    return answer


def interrupted(comm: Any, kind: str, delay: float) -> dict[str, Any]:
    """A long fit that gets SIGINT on one rank, beside one of as many epochs that gets none."""
    options = {**usual(), "validation_split": 0.2}
    made = stack(32)
    if kind == "full batch":
        options.update(
            y=TARGETS, loss="squared_error", optimizer=optimizers.LevenbergMarquardt(tol=0), batch_size="full")
        made = [layers.Dense(8, "tanh"), layers.Dense(1)]
    model, again = (Sequential(made, random_state=1).build(6) for _ in range(2))
    timer: list[threading.Timer] = []

    def start(model: Sequential, logs: dict[str, float]) -> None:
        if not timer and model.epoch >= 2:
            timer.append(threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)))
            timer[0].start()

    answer = attempt(model, {**options, "epochs": 100_000, "callbacks": [only(comm.Get_rank(), start, nothing)]}, comm)
    again.fit(**{**options, "epochs": max(1, model.epoch)}, comm=comm)
    return {**answer, "undisturbed": checksums(again)}
