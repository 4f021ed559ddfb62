#!/usr/bin/env python
"""Published results beside what ldl_cy finds with the same network, optimizer, batch size, epochs and split.

    python ci/measure_published.py [--data FOLDER] [--seeds SEED ...] [ROW ...]

The results are those stored in the notebooks of Géron, Hands-On Machine Learning with Scikit-Learn, Keras, and
TensorFlow, 2nd ed., 2019 (github.com/ageron/handson-ml2), each from one run of Keras:

    Fashion-MNIST    notebooks 10 and 11. Xiao, Rasul, Vollgraf, arXiv:1708.07747 (2017), the original files; the first
                     5,000 images are for validation, the other 55,000 train.
    housing          notebook 10. California housing, Pace and Barry, Statistics and Probability Letters 33 (1997), as
                     scikit-learn's fetch_california_housing has it.
    series           notebook 15. 10,000 sums of two sines and noise, made here from NumPy's seed 42, so from no file:
                     to foretell the next value after 50, the ten next ones, or after every step the ten next ones.

Fashion-MNIST and housing are read from FOLDER (ci/datasets.py says which files); their rows are left out with a message
where these are not there. What the notebooks leave to Keras is as in Keras: glorot_uniform kernels, BatchNorm with
momentum 0.99 and epsilon 1e-3, Adam with epsilon 1e-7. Weights and the order of rows cannot be Keras's: every row takes
the seed 42, as the notebooks do, or the median over --seeds.

The exit code is 1 where one is not within 0.01 of what is published, or a rule without weights, "last value", not equal
to it in all four digits: these rows check that the series are the same. To errors far below 1 a hundredth is much: the
difference in per cent stands beside. Housing's errors are one draw of many: over thirty seeds their standard deviation
is 0.01, as wide as the bound, and the published ones lie within it of the means, 0.424 and 0.411. Seconds are those of
one fit on one thread.
"""
import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from ldl_cy import Sequential, callbacks, optimizers, schedules
from ldl_cy.layers import GRU, LSTM, Activation, BatchNorm, Concatenate, Conv1D, Dense, Flatten, SimpleRNN

BOUND = 0.01
EXACT = 0.00005             # half of the last published digit


# -- data: folder -> {"train", "validation", "test": (X, y)} ------------------------------------------------------

@functools.lru_cache(maxsize=1)
def pixels(folder):
    X, y, X_test, y_test = datasets.fashion(folder)
    return {"train": (X[5000:], y[5000:]), "validation": (X[:5000], y[:5000]), "test": (X_test, y_test)}


@functools.lru_cache(maxsize=1)
def standardised_pixels(folder):
    parts = pixels(folder)
    mean, std = parts["train"][0].mean(axis=0), parts["train"][0].std(axis=0)
    return {part: ((X - mean) / std, y) for part, (X, y) in parts.items()}


def housing(folder):
    X, X_test, y, y_test = train_test_split(*datasets.california(folder), random_state=42)
    X, X_valid, y, y_valid = train_test_split(X, y, random_state=42)
    scaler = StandardScaler().fit(X)
    return {"train": (scaler.transform(X), y), "validation": (scaler.transform(X_valid), y_valid),
            "test": (scaler.transform(X_test), y_test)}


def series(n_steps, batch_size=10_000):
    """(batch_size, n_steps, 1)"""
    random = np.random.RandomState(42)
    freq1, freq2, offsets1, offsets2 = random.rand(4, batch_size, 1)
    t = np.linspace(0, 1, n_steps)
    x = 0.5 * np.sin((t - offsets1) * (freq1 * 10 + 10))
    x += 0.2 * np.sin((t - offsets2) * (freq2 * 20 + 20))
    x += 0.1 * (random.rand(batch_size, n_steps) - 0.5)
    return x[..., None].astype("float32")


def split(X, y):
    rows = {"train": slice(7000), "validation": slice(7000, 9000), "test": slice(9000, None)}
    return {part: (X[where], y[where]) for part, where in rows.items()}


def next_value(folder):
    x = series(51)
    return split(x[:, :50], x[:, 50])


def next_ten(folder):
    x = series(60)
    return split(x[:, :50], x[:, 50:, 0])


def ten_after_each(folder):
    x = series(60)
    return split(x[:, :50], np.stack([x[:, 1 + k:51 + k, 0] for k in range(10)], axis=2))


def ten_after_each_second(folder):
    """As a convolution of width 4 and stride 2 sees the series."""
    return {part: (X, y[:, 3::2]) for part, (X, y) in ten_after_each(folder).items()}


# -- rows ---------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Row:
    data: Callable[[Path], dict[str, tuple[np.ndarray, np.ndarray]]]
    model: Any                                      # layers, or a rule X -> output without weights
    optimizer: Any
    epochs: int
    published: dict[str, float]                     # part of the data: accuracy or mean squared error
    batch_size: int = 32
    watchers: tuple[Any, ...] = ()                  # callbacks; those that watch "val_loss" see the validation rows


def one_cycle(step, steps=25 * 430, top=0.05):
    """Up to ``top`` and down again along lines, and in the last tenth down to almost nothing."""
    half = (steps - (steps // 10 + 1)) // 2
    return np.interp(step, [0, half, 2 * half, steps], [top / 10, top, top / 10, top / 10_000])


def mlp(activation=None, initializer="glorot_uniform"):
    return [Dense(300, activation, kernel_initializer=initializer),
            Dense(100, activation, kernel_initializer=initializer), Dense(10)]


def leaky_mlp():
    first, second, last = mlp(initializer="he_normal")
    return [first, Activation("leaky_relu", 0.3), second, Activation("leaky_relu", 0.3), last]


def states(cell):
    """A recurrent layer of 20 that gives its state after each step."""
    return cell(20, return_sequences=True)


def norm():
    return BatchNorm(momentum=0.99, epsilon=1e-3)


def adam(rate=1e-3):
    return optimizers.Adam(rate, epsilon=1e-7)


SGD = optimizers.SGD
WAVENET = [Conv1D(20, 2, padding="causal", dilation_rate=rate, activation="relu") for rate in (1, 2, 4, 8) * 2]
ROWS = {
    "series, next: last value": Row(next_value, lambda X: X[:, -1], None, 0, {"validation": 0.0202}),
    "series, next: linear": Row(next_value, [Flatten(), Dense(1)], adam(), 20, {"validation": 0.0042}),
    "series, next: RNN 1": Row(next_value, [SimpleRNN(1)], adam(5e-3), 20, {"validation": 0.0109}),
    "series, next: RNN 20-20-1": Row(
        next_value, [states(SimpleRNN), states(SimpleRNN), SimpleRNN(1)], adam(), 20, {"validation": 0.0029}),
    "series, next: RNN 20-20, Dense 1": Row(
        next_value, [states(SimpleRNN), SimpleRNN(20), Dense(1)], adam(), 20, {"validation": 0.0026}),
    "series, ten: last value": Row(next_ten, lambda X: X[:, -1].repeat(10, axis=1), None, 0, {"validation": 0.2570}),
    "series, ten: linear": Row(next_ten, [Flatten(), Dense(10)], adam(), 20, {"validation": 0.0187}),
    "series, ten: RNN 20-20, Dense 10": Row(
        next_ten, [states(SimpleRNN), SimpleRNN(20), Dense(10)], adam(), 20, {"validation": 0.0085}),
    "series, each: RNN 20-20": Row(
        ten_after_each, [states(SimpleRNN), states(SimpleRNN), Dense(10)], adam(1e-2), 20, {"validation": 0.0096}),
    "series, each: RNN 20-20, BatchNorm": Row(
        ten_after_each, [states(SimpleRNN), norm(), states(SimpleRNN), norm(), Dense(10)], adam(), 20,
        {"validation": 0.0164}),
    "series, each: LSTM 20-20": Row(
        ten_after_each, [states(LSTM), states(LSTM), Dense(10)], adam(), 20, {"validation": 0.0086}),
    "series, each: GRU 20-20": Row(
        ten_after_each, [states(GRU), states(GRU), Dense(10)], adam(), 20, {"validation": 0.0103}),
    "series, each: Conv1D, GRU 20-20": Row(
        ten_after_each_second, [Conv1D(20, 4, strides=2), states(GRU), states(GRU), Dense(10)], adam(), 20,
        {"validation": 0.0080}),
    "series, each: WaveNet": Row(ten_after_each, [*WAVENET, Conv1D(10, 1)], adam(), 20, {"validation": 0.0072}),
    "housing: MLP 30": Row(housing, [Dense(30, "relu"), Dense(1)], SGD(1e-3), 20, {"test": 0.4212}),
    "housing: wide and deep 30-30": Row(
        housing, [Concatenate([], [Dense(30, "relu"), Dense(30, "relu")]), Dense(1)], SGD(1e-3), 20, {"test": 0.4032}),
    "Fashion-MNIST: ReLU": Row(pixels, mlp("relu"), SGD(0.01), 30, {"validation": 0.8920, "test": 0.8837}),
    "Fashion-MNIST: leaky ReLU": Row(pixels, leaky_mlp(), SGD(1e-3), 10, {"validation": 0.8396}),
    "Fashion-MNIST: BatchNorm after ReLU": Row(
        pixels, [norm(), Dense(300, "relu"), norm(), Dense(100, "relu"), norm(), Dense(10)], SGD(1e-3), 10,
        {"validation": 0.8750}),
    "Fashion-MNIST: BatchNorm before ReLU": Row(
        pixels, [norm(), Dense(300, use_bias=False), norm(), Activation("relu"), Dense(100, use_bias=False), norm(),
                 Activation("relu"), Dense(10)], SGD(1e-3), 10, {"validation": 0.8660}),
    "Fashion-MNIST: SELU, power schedule": Row(
        standardised_pixels, mlp("selu", "lecun_normal"), SGD(schedules.InverseScaling(0.01, power=1, scale=1e-4)), 25,
        {"validation": 0.8924}),
    "Fashion-MNIST: SELU, Nadam, exponential schedule": Row(
        standardised_pixels, mlp("selu", "lecun_normal"),
        optimizers.Nadam(schedules.Exponential(0.01, 0.1, every=20, by="epoch"), epsilon=1e-7), 25,
        {"validation": 0.8928}),
    "Fashion-MNIST: SELU, momentum, plateaus": Row(
        standardised_pixels, mlp("selu", "lecun_normal"), SGD(0.02, 0.9), 25, {"validation": 0.8936},
        watchers=(callbacks.ReduceOnPlateau(factor=0.5, patience=5),)),
    "Fashion-MNIST: SELU, one cycle": Row(
        standardised_pixels, mlp("selu", "lecun_normal"), SGD(one_cycle), 25, {"validation": 0.8934}, 128),
}


def measure(row, parts, seed):
    """(seconds of the fit, [value for each published one])."""
    X, y = parts["train"]
    classes = y.dtype.kind == "u"
    predict, seconds = row.model, 0.0
    if row.epochs:
        start = time.perf_counter()
        model = Sequential(row.model, random_state=seed)
        model.fit(X, y, loss="log_loss" if classes else "squared_error", optimizer=row.optimizer, epochs=row.epochs,
                  batch_size=row.batch_size, n_threads=1, callbacks=row.watchers,
                  validation_data=parts["validation"] if row.watchers else None)
        seconds = time.perf_counter() - start
        predict = model.predict
    values = []
    for part in row.published:
        X, y = parts[part]
        output = predict(X)
        if classes:
            values.append(float((output.argmax(axis=1) == y).mean()))
        else:                                       # where there is an output after each step, of the last one
            output, y = (a[:, -1] if a.ndim == 3 else a.reshape(len(a), -1) for a in (output, y))
            values.append(float(np.square(output - y, dtype=float).mean()))
    return seconds, values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=datasets.DEFAULT)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="more than one: the median")
    parser.add_argument("rows", nargs="*", help="beginnings of names; default all")
    chosen = parser.parse_args()
    wanted = tuple(beginning.lower() for beginning in chosen.rows or [""])
    rows = {name: row for name, row in ROWS.items() if name.lower().startswith(wanted)}
    if not rows:
        parser.error(f"no row begins with {' or '.join(chosen.rows)}; there are: {'; '.join(ROWS)}")
    status = 0
    print(f"{'row':<50}{'metric':<22}{'published':>10}{'found':>10}{'difference':>19}{'s a fit':>9}  within")
    for name, row in rows.items():
        try:
            parts = row.data(chosen.data)
        except FileNotFoundError as error:
            print(f"{name:<50}left out: {error.filename} is not there")
            continue
        seconds, values = zip(*(measure(row, parts, seed) for seed in chosen.seeds))
        kind = "accuracy" if parts["train"][1].dtype.kind == "u" else "MSE"
        for (part, published), found in zip(row.published.items(), map(statistics.median, zip(*values))):
            difference = found - published
            met = abs(difference) <= (BOUND if row.epochs else EXACT)
            status |= not met
            print(f"{name:<50}{part + ' ' + kind:<22}{published:>10.4f}{found:>10.4f}"
                  f"{difference:>+10.4f} {difference / published:>+7.1%}{statistics.median(seconds):>9.1f}"
                  f"  {'yes' if met else 'NO'}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
