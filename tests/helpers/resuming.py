"""Fits that are taken up again, and what another process does of them: ``python resuming.py TASK FOLDER``."""
from __future__ import annotations

import pickle
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ldl_cy import Sequential, layers, optimizers, schedules
from ldl_cy.callbacks import Callback, Checkpoint, CSVLogger, ReduceOnPlateau
from ldl_cy.optimizers.damped import Damped

rng = np.random.default_rng(0)
ROWS = rng.standard_normal((70, 6))
STEPS = rng.standard_normal((70, 7, 6))
TARGETS = np.tanh(ROWS[:, :1] * ROWS[:, 1:2]) + 0.3 * rng.standard_normal((70, 1))


def make(kind: type[optimizers.Optimizer], rate: Any) -> optimizers.Optimizer:
    """With a learning rate where it has one."""
    return kind(rate) if issubclass(kind, optimizers.StepRule) else kind()


# all but L-BFGS, whose memory SciPy keeps to itself; functions of the learning rate
METHODS: dict[str, Any] = {
    **{name: partial(make, kind) for name, kind in optimizers.OPTIMIZERS.items() if kind is not optimizers.LBFGS},
    "momentum": lambda rate: optimizers.SGD(rate, 0.9),
    "rmsprop": lambda rate: optimizers.RMSprop(rate, momentum=0.5, centered=True),
    "adamw": lambda rate: optimizers.AdamW(rate, ema=0.9),
    "gd": lambda rate: optimizers.GD(rate, tol=0), "gd-loss": lambda rate: optimizers.GD(rate, 1e-9, "loss"),
    "line_search": lambda rate: optimizers.GD(rate, tol=0, line_search=True),
    "bayesian": lambda rate: optimizers.LevenbergMarquardt(bayesian=True),
}
RATES: dict[str, Any] = {
    "constant": 0.01, "by step": schedules.OneCycle(0.02, 40), "by epoch": schedules.Step(0.02, 0.5, 3, by="epoch"),
    "function": lambda steps: 0.02 / (1 + steps),
    "plateau": schedules.Warmup(0.01, 5),
}
DENSE = [layers.Dense(6, "tanh"), layers.Dense(1)]
DEEP = [layers.Dense(8, "relu"), layers.BatchNorm(), layers.Dropout(0.3), layers.Dense(5, "tanh"), layers.Dropout(0.2),
        layers.Dense(1)]
DATA: dict[str, dict[str, Any]] = {
    "plain": {}, "odd batches": {"batch_size": 27}, "in order": {"shuffle": False, "alpha": 0.1, "batch_size": 16},
    "weights": {"sample_weight": rng.uniform(0, 2, 70), "batch_size": 19}, "validation": {"validation_split": 0.3},
    "dropout": {"batch_size": 15}, "sequences": {"lengths": rng.integers(1, 8, 70), "batch_size": 13},
}


class Case:
    """One way to fit, by name: ``optimizer/dtype/rates/data``."""

    def __init__(self, name: str) -> None:
        self.name = name
        method, self.dtype, rates, data = name.split("/")
        self.optimizer = METHODS[method](RATES[rates])
        self.options = dict(DATA[data])
        if self.optimizer.full_batch:
            self.options.pop("batch_size", None)
        self.X = STEPS if data == "sequences" else ROWS
        self.net = {"dropout": DEEP, "sequences": [layers.GRU(4), layers.Dense(1)]}.get(data, DENSE)
        # reduces in every second epoch, so that a reduction is under way when the fit is taken up
        self.plateau = [ReduceOnPlateau("loss", 0.8, 2, min_delta=0.9)] if rates == "plateau" else []

    def model(self) -> Sequential:
        return Sequential(self.net, self.dtype, 3)

    def fit(self, model: Sequential, epochs: int, callbacks: Any = ()) -> dict[str, list[float]]:
        return model.fit(self.X, TARGETS, loss="squared_error", optimizer=self.optimizer, epochs=epochs,
                         callbacks=[*self.plateau, *callbacks], **self.options).history


def cases() -> list[str]:
    """Every optimizer in both dtypes with all data, the rates in turn, and with every kind of rates."""
    found = []
    for i, method in enumerate(METHODS):
        made = METHODS[method](0.01)
        kept = [data for data in DATA if data != "dropout" or not isinstance(made, Damped)]
        kinds = list(RATES) if made.method is None else ["constant"]
        for dtype in ("float32", "float64"):
            found += [f"{method}/{dtype}/{kinds[(i + j) % len(kinds)]}/{data}" for j, data in enumerate(kept)]
            found += [f"{method}/{dtype}/{kind}/plain" for kind in kinds]
    return sorted(set(found))


# -- a fit that is killed: a few MB, so that half of the time goes into writing -------------------------------------

EPOCHS = 30
LARGE = [layers.Dense(600, "relu"), layers.Dropout(0.3), layers.Dense(500, "tanh"), layers.Dense(1)]
NORMED = [layers.Dense(500, "relu"), layers.BatchNorm(), layers.Dense(300, "tanh"), layers.LayerNorm(), layers.Dense(1)]
SMALL = [layers.Dense(30, "tanh"), layers.Dense(1)]
MANY = rng.standard_normal((120, 64))
COSINE = schedules.Cosine(1e-3, length=2 * EPOCHS)
# Layers and optimizers of each kind of state: running statistics, one vector or several, averages, scalars.
KILLED: dict[str, tuple[list[layers.Layer], optimizers.Optimizer]] = {
    "adam": (LARGE, optimizers.Adam(COSINE)),
    "averages": (LARGE, optimizers.AdamW(COSINE, ema=0.9)),
    "momentum": (NORMED, optimizers.SGD(schedules.Step(0.01, 0.5, 4, by="epoch"), 0.9)),
    "averages of momentum": (NORMED, optimizers.RMSprop(
        schedules.OneCycle(1e-3, 4 * EPOCHS), momentum=0.5, centered=True, ema=0.8)),
    "damping": (SMALL, optimizers.LevenbergMarquardt()),
}


def train_on(kind: str, folder: Path, watchers: list[Callback]) -> Sequential:
    """From the checkpoint, or from the beginning where there is none, to the last epoch."""
    path, (net, optimizer) = folder / "model.ldl", KILLED[kind]
    model = Sequential.load(path) if path.exists() else Sequential(net, random_state=1).build(64)
    plateau = [] if optimizer.method is not None else [ReduceOnPlateau("loss", 0.8, 2, min_delta=0.1)]
    if model.epoch < EPOCHS:
        model.fit(MANY, np.sin(MANY[:, :1]), loss="squared_error", optimizer=optimizer, epochs=EPOCHS - model.epoch,
                  n_threads=1, callbacks=[*plateau, Checkpoint(path), *watchers])
    return model


def main(task: str, folder: Path) -> None:
    if task.startswith("train "):
        print("ready", flush=True)
        train_on(task.removeprefix("train "), folder, [CSVLogger(folder / "log.csv", append=True)])
    elif task == "fits":
        for path in sorted(folder.glob("*.ldl")):
            model, case = Sequential.load(path), Case(path.stem.replace("+", "/"))
            history = case.fit(model, 5)
            model.save(path)
            path.with_suffix(".pkl").write_bytes(pickle.dumps(history))
    elif task == "estimators":
        from small_estimators import problem  # and scikit-learn, which takes a second

        warnings.simplefilter("ignore")
        for path in sorted(folder.glob("*.pkl")):
            estimator = pickle.loads(path.read_bytes())
            path.write_bytes(pickle.dumps(estimator.fit(*problem(estimator))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
