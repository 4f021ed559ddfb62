"""What the files in tests/files hold: networks, data and settings, as they were written and as they must load.

``python tests/helpers/saved_files.py`` with skops installed writes them again; that is for a new format alone, since
files written by earlier versions must load as before.
"""
from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ldl_cy import (
    CNNClassifier,
    MLPClassifier,
    NeuralNetRegressor,
    RNNClassifier,
    Sequential,
    callbacks,
    layers,
    losses,
    optimizers,
    schedules,
)
from ldl_cy.callbacks import Checkpoint, ReduceOnPlateau

FOLDER = Path(__file__).parents[1] / "files"
rng = np.random.default_rng(7)
IMAGES = rng.standard_normal((40, 6, 5, 2))
SEQUENCES = rng.standard_normal((40, 6, 3))
ROWS = rng.standard_normal((40, 6))
CODES = np.arange(40) % 3
NUMBERS = np.tanh(ROWS[:, :1] * ROWS[:, 1:2])
EPOCHS = 6                      # before the checkpoint, and as many behind it

NETWORK = [
    layers.Conv2D(4, (3, 2), padding="same", activation="relu"), layers.BatchNorm(), layers.MaxPool2D(2),
    layers.Add([layers.Conv2D(4, 1), layers.LayerNorm()], []),
    layers.Flatten(), layers.Dropout(0.2), layers.Dense(3, kernel_initializer="he_normal"),
]
RECURRENT = [
    layers.Bidirectional(layers.GRU(3, return_sequences=True)), layers.LSTM(4), layers.Dense(2, "tanh", name="head"),
    layers.Dense(1),
]


def resumed() -> dict[str, Any]:
    """The arguments of the fit that the checkpoint interrupts; its rate is reduced on the way."""
    return {
        "loss": "squared_error", "optimizer": optimizers.Adam(schedules.Warmup(0.02, 4), ema=0.9), "batch_size": 16,
        "callbacks": [ReduceOnPlateau("loss", 0.5, 2, min_delta=0.5)], "alpha": 0.01, "n_threads": 1}


def model() -> Sequential:
    """Batch statistics, a branch, dropout; SGD with momentum."""
    made = Sequential(NETWORK, random_state=3)
    made.fit(IMAGES, CODES, loss="log_loss", optimizer=optimizers.SGD(0.05, 0.9), epochs=3, batch_size=8)
    return made


def estimators() -> dict[str, Any]:
    """One fitted estimator of each family, with objects among its parameters."""
    return {
        "mlp": MLPClassifier((8, 5), early_stopping=True, max_iter=6, random_state=0).fit(
            ROWS, np.array(list("abc"))[CODES]),
        "cnn": CNNClassifier((3,), hidden_layer_sizes=(4,), max_iter=3, random_state=0, warm_start=True,
                             callbacks=[callbacks.EarlyStopping("loss", 5)]).fit(IMAGES, CODES),
        "rnn": RNNClassifier("lstm", (4,), max_iter=3, random_state=0, dtype="float32").fit(SEQUENCES, CODES > 0),
        "neural_net": NeuralNetRegressor(
            [layers.Dense(6, "gelu"), layers.LayerNorm(), layers.Dropout(0.1)], max_iter=3, random_state=0,
            solver=optimizers.AdamW(0.01, ema=0.5)).fit(ROWS, NUMBERS.ravel()),
    }


def settings() -> list[Any]:
    """An object of every public class that a user may have in a pickle."""
    return [
        *RECURRENT, *NETWORK,
        layers.Conv1D(2, 3), layers.MaxPool1D(), layers.AvgPool1D(), layers.AvgPool2D(), layers.GlobalAvgPool1D(),
        layers.GlobalAvgPool2D(), layers.GlobalMaxPool1D(), layers.GlobalMaxPool2D(), layers.RNN(3),
        layers.Embedding(9, 2), layers.Concatenate([layers.Dense(2)], []), layers.Activation("mish"),
        layers.Reshape((2, 3)),
        losses.SquaredError(scale=0.5), losses.AbsoluteError(), losses.Huber(2.0), losses.Quantile(0.9),
        losses.Poisson(), losses.LogLoss(0.1), losses.BinaryLogLoss(), losses.Hinge(),
        optimizers.GD(0.1, 1e-4), optimizers.SGD(0.1, 0.5, True), optimizers.RMSprop(momentum=0.5),
        optimizers.Adagrad(), optimizers.Adadelta(), optimizers.Adam(clip_norm=2.0), optimizers.AdamW(),
        optimizers.Nadam(),
        # SciPy's ftol, which was the default when the pickle was written
        optimizers.LBFGS(memory=5, loss_tol=1e7 * np.finfo(float).eps), optimizers.ConjugateGradient(),
        optimizers.LevenbergMarquardt(bayesian=True), optimizers.GaussNewtonCG(),
        schedules.Constant(0.1), schedules.Step(0.1, 0.5, 3), schedules.Exponential(0.1, 0.9),
        schedules.InverseScaling(0.1), schedules.Linear(0.1, length=9), schedules.Cosine(0.1, 9),
        schedules.OneCycle(0.1, 9), schedules.Warmup(0.1, 3),
        callbacks.EarlyStopping("loss", 2), ReduceOnPlateau("loss"), Checkpoint("a.ldl"), callbacks.CSVLogger("a.csv"),
        callbacks.ProgressBar("words"), callbacks.TerminateOnNaN(), callbacks.History(),
    ]


def main() -> None:
    """Write every file, and what they must give."""
    import skops.io

    FOLDER.mkdir(exist_ok=True)
    expected = {"images": IMAGES, "sequences": SEQUENCES, "rows": ROWS, "numbers": NUMBERS}
    network = model()
    network.save(FOLDER / "model.ldl")
    expected["model"] = network.predict(IMAGES)
    expected["model.loss"] = network.evaluate(IMAGES, CODES, loss="log_loss")
    half = Sequential(RECURRENT, "float64", 5)
    lengths = np.arange(40) % 6 + 1
    options = resumed()
    options["callbacks"] = [*options["callbacks"], Checkpoint(FOLDER / "checkpoint.ldl", keep=1)]
    half.fit(SEQUENCES, NUMBERS, lengths=lengths, epochs=EPOCHS, **options)
    expected["checkpoint"], expected["checkpoint.lengths"] = half.predict(SEQUENCES, lengths=lengths), lengths
    whole = Sequential(RECURRENT, "float64", 5)
    whole.fit(SEQUENCES, NUMBERS, lengths=lengths, epochs=2 * EPOCHS, **resumed())
    expected["checkpoint.theta"] = whole.theta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = estimators()
    for name, estimator in fitted.items():
        X = {"cnn": IMAGES, "rnn": SEQUENCES}.get(name, ROWS)
        expected[f"estimators.{name}"] = np.asarray(
            estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X))
    with (FOLDER / "estimators.pickle").open("wb") as file:
        pickle.dump(fitted, file, protocol=4)
    with (FOLDER / "settings.pickle").open("wb") as file:
        pickle.dump(settings(), file, protocol=4)
    for name, estimator in fitted.items():
        skops.io.dump(estimator, FOLDER / f"{name}.skops")
    np.savez(FOLDER / "expected.npz", **expected)


if __name__ == "__main__":
    main()
