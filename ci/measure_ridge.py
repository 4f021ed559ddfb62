#!/usr/bin/env python
"""solver="ridge": random features beside scikit-learn on the same features, and echo-state networks beside a GRU.

    python ci/measure_ridge.py [--data FOLDER] [--seeds N] [--share SHARE] [features] [series]

features    networks whose output layer is computed in closed form, with `alpha` chosen by leave-one-out errors, beside
            RidgeClassifierCV on the outputs of their hidden layers: test rows that both predict alike, the chosen
            alphas, test accuracy, seconds of the fit, and of transform with scikit-learn's fit. Digits come with
            scikit-learn; Fashion-MNIST is read from FOLDER.
series      forecasts of the next value from the last ones, trained on the first 80 % of a series: root mean squared
            error over the last 20 %, in units of the series, and seconds; the last value as forecast, a linear model of
            the last values, an echo-state network (leak and alpha chosen by leave-one-out errors), and a trained GRU.
            Inputs and target are differences to the last value, so that trends do not matter.

SHARE of the training rows of Fashion-MNIST and of the epochs of the GRU are used, all by default. Means over seeds. The
exit code is 1 where predictions or alphas differ.
"""
import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

import datasets
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import train_test_split

from ldl_cy import CNNClassifier, MLPClassifier, MLPRegressor, RNNRegressor

ALPHAS = np.logspace(-4, 4, 9)
LEAKS = (1.0, 0.5, 0.2)
STEPS = {"airline passengers": 24, "CO2": 104, "sunspots": 48}      # of a window


def seconds_of(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def digits(folder, share):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0, stratify=y)
    return X, y, X_test, y_test


def fashion(folder, share):
    X, y, X_test, y_test = datasets.fashion(folder)
    n = int(share * len(X))
    return X[:n], y[:n], X_test, y_test


# name: (data, the network without its seed)
SYSTEMS = {
    "digits, MLP 500": (digits, lambda **o: MLPClassifier((500,), **o)),
    "digits, CNN": (digits, lambda **o: CNNClassifier((32,), hidden_layer_sizes=(500,), input_shape=(8, 8, 1), **o)),
    "Fashion-MNIST, MLP 1000": (fashion, lambda **o: MLPClassifier((1000,), **o)),
}


def features(folder, seeds, share):
    """Print the table; whether all predictions and alphas are equal."""
    print("| network | equal predictions | alpha | scikit-learn's | accuracy | scikit-learn's | seconds | "
          "scikit-learn's |\n|---|---|---|---|---|---|---|---|")
    equal = True
    for name, (read, network) in SYSTEMS.items():
        try:
            X, y, X_test, y_test = read(folder, share)
        except FileNotFoundError as error:
            print(f"| {name} | left out: {error.filename} is not there |")
            continue
        rows = []
        for seed in range(seeds):
            ours, seconds = seconds_of(lambda: network(solver="ridge", alphas=ALPHAS, random_state=seed).fit(X, y))  # noqa: B023
            theirs, seconds_theirs = seconds_of(
                lambda: RidgeClassifierCV(ALPHAS).fit(ours.transform(X).astype(float), y))      # noqa: B023
            guess, guess_theirs = ours.predict(X_test), theirs.predict(ours.transform(X_test).astype(float))
            rows.append((np.mean(guess == guess_theirs), ours.alpha_, theirs.alpha_, np.mean(guess == y_test),
                         np.mean(guess_theirs == y_test), seconds, seconds_theirs))
            equal &= rows[-1][0] == 1 and ours.alpha_ == theirs.alpha_
        same, alpha, alpha_theirs, *others = (statistics.mean(column) for column in zip(*rows))
        print(f"| {name} | {same:.4%} | {alpha:g} | {alpha_theirs:g} | {others[0]:.4f} | {others[1]:.4f} | "
              f"{others[2]:.2f} | {others[3]:.2f} |", flush=True)
    return equal


def windows(values, steps):
    """(X, y, last values): windows of the series and the value after each, less the last value of the window."""
    X = np.lib.stride_tricks.sliding_window_view(values, steps)[:-1]
    last = X[:, -1]
    return X - last[:, None], values[steps:] - last, last


def echo(X, y, seed):
    """The echo-state network with the leak of the best leave-one-out errors."""
    found = [RNNRegressor("rnn", 300, spectral_radius=0.95, leak=leak, solver="ridge", alphas=np.logspace(-6, 3, 10),
                          random_state=seed).fit(X, y) for leak in LEAKS]
    return max(found, key=lambda estimator: estimator.best_score_)


def series(folder, seeds, share):
    """Print the table."""
    models = {
        "linear": lambda X, y, seed: MLPRegressor(hidden_layer_sizes=(), solver="ridge", alphas=ALPHAS).fit(X, y),
        "echo-state network, 300": echo,
        "GRU 64, Adam, early stopping": lambda X, y, seed: RNNRegressor(
            "gru", 64, learning_rate_init=0.003, early_stopping=True, n_iter_no_change=20,
            max_iter=max(1, int(200 * share)), random_state=seed).fit(X, y)}
    print("| series | rows | forecast | error | seconds |\n|---|---|---|---|---|")
    for name, read in datasets.SERIES.items():
        try:
            values = read(folder)
        except FileNotFoundError as error:
            print(f"| {name} | left out: {error.filename} is not there |")
            continue
        X, y, _ = windows(values, STEPS[name])
        n = int(0.8 * len(values)) - STEPS[name]
        scale = y[:n].std()
        print(f"| {name} | {n} | the last value | {np.sqrt(np.mean(y[n:] ** 2)):.3f} | |")
        for model, make in models.items():
            errors, times = [], []
            for seed in range(seeds):
                fitted, seconds = seconds_of(lambda: make(X[:n] / scale, y[:n] / scale, seed))  # noqa: B023
                errors.append(np.sqrt(np.mean((scale * fitted.predict(X[n:] / scale) - y[n:]) ** 2)))
                times.append(seconds)
            print(f"| {name} | {n} | {model} | {np.mean(errors):.3f} | {np.mean(times):.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=datasets.DEFAULT)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("parts", nargs="*", help="features, series; both by default")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    equal, parts = True, options.parts or ["features", "series"]
    if "features" in parts:
        equal = features(options.data, options.seeds, options.share)
    if "series" in parts:
        series(options.data, options.seeds, options.share)
    if not equal:
        sys.exit("predictions or alphas differ from scikit-learn's")


if __name__ == "__main__":
    main()
