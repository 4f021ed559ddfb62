#!/usr/bin/env python
"""Scores of the estimators on real data, with the time of each fit, beside what is expected of them.

    python ci/measure_scores.py [--data FOLDER] [SYSTEM ...]

Digits, breast cancer and diabetes come with scikit-learn. The others, Fashion-MNIST, JapaneseVowels and California
housing, are read from FOLDER (ci/datasets.py says which files), and left out with a message where they are not there.

The exit code is 1 where a score is missed.
"""
import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

import datasets
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from ldl_cy import (
    CNNClassifier,
    MLPClassifier,
    MLPRegressor,
    RNNClassifier,
    optimizers,
    schedules,
)


def adam(rate, epochs, n, batch):
    """Adam whose step size ends at 0 with the last epoch."""
    return optimizers.Adam(schedules.Linear(rate, epochs * -(-n // batch)))


def fixed(epochs):
    """So many epochs, whatever the loss does."""
    return {"max_iter": epochs, "n_iter_no_change": np.inf, "tol": 0.0}


def held_out(loader):
    X, y = loader(return_X_y=True)
    return train_test_split(X, y, random_state=0, stratify=y if y.dtype.kind == "i" else None)


def standardised(X, X_test):
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(X_test)


def digits(folder, seed):
    X, X_test, y, y_test = held_out(load_digits)
    clf = CNNClassifier(input_shape=(8, 8, 1), solver=adam(2e-3, 30, len(X), 32), random_state=seed, **fixed(30))
    return clf, (X / 16).astype("float32"), y, (X_test / 16).astype("float32"), y_test


def breast_cancer(folder, seed):
    X, X_test, y, y_test = held_out(load_breast_cancer)
    X, X_test = standardised(X, X_test)
    return MLPClassifier((32,), alpha=0.01, random_state=seed, max_iter=100), X, y, X_test, y_test


def diabetes(folder, seed):
    X, X_test, y, y_test = held_out(load_diabetes)
    X, X_test = standardised(X, X_test)
    centre, scale = y.mean(), y.std()
    reg = MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", solver="lbfgs", alpha=30.0, random_state=seed)
    return reg, X, (y - centre) / scale, X_test, (y_test - centre) / scale


def fashion_mlp(folder, seed):
    X, y, X_test, y_test = datasets.fashion(folder)
    clf = MLPClassifier((256, 128, 100), solver=adam(1e-3, 10, len(X), 200), random_state=seed, **fixed(10))
    return clf, X, y, X_test, y_test


def fashion_cnn(folder, seed):
    X, y, X_test, y_test = datasets.fashion(folder)
    clf = CNNClassifier(filters=(32, 64), hidden_layer_sizes=(128,), input_shape=(28, 28, 1), batch_size=64,
                        solver=adam(2e-3, 7, len(X), 64), random_state=seed, **fixed(7))
    return clf, X, y, X_test, y_test


def japanese_vowels(folder, seed):
    X, y, X_test, y_test = datasets.japanese_vowels(folder)
    scaler = StandardScaler().fit(np.concatenate(X))
    X, X_test = ([scaler.transform(x).astype("float32") for x in part] for part in (X, X_test))
    clf = RNNClassifier(cell="gru", units=(64,), solver=optimizers.Adam(1e-2), batch_size=32, random_state=seed,
                        **fixed(30))
    return clf, X, y, X_test, y_test


def california(folder, seed):
    X, y = datasets.california(folder)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    X, X_test = (np.clip(part, -5, 5).astype("float32") for part in standardised(X, X_test))
    epochs = 60
    reg = MLPRegressor(hidden_layer_sizes=(128, 128), batch_size=64, solver=adam(2e-3, epochs, len(X), 64),
                       random_state=seed, **fixed(epochs))
    return reg, X, y, X_test, y_test


# system: what makes it, seeds, the score to reach or None, "accuracy" (at least), "R2" (at least) or "MSE" (at most)
SYSTEMS = {
    "digits, CNN": (digits, 1, None, "accuracy"),
    "breast cancer, MLP": (breast_cancer, 1, None, "accuracy"),
    "diabetes, MLP lbfgs": (diabetes, 1, None, "R2"),
    "Fashion-MNIST, MLP 256-128-100": (fashion_mlp, 1, 0.883, "accuracy"),
    "Fashion-MNIST, CNN 32C3-P2-64C3-P2-128": (fashion_cnn, 1, 0.915, "accuracy"),
    "JapaneseVowels, GRU 64": (japanese_vowels, 3, 0.965, "accuracy"),
    "California housing, MLP 128-128": (california, 1, 0.30, "MSE"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=datasets.DEFAULT)
    parser.add_argument("systems", nargs="*", help="beginnings of names; default all")
    chosen = parser.parse_args()
    status = 0
    warnings.simplefilter("ignore", ConvergenceWarning)         # so many epochs are wanted
    print(f"{'system':<42}{'score':>34}{'wanted':>10}{'s a fit':>10}")
    for name, (make, seeds, wanted, kind) in SYSTEMS.items():
        if chosen.systems and not name.lower().startswith(tuple(s.lower() for s in chosen.systems)):
            continue
        scores, seconds = [], []
        for seed in range(seeds):
            try:
                est, X, y, X_test, y_test = make(chosen.data, seed)
            except FileNotFoundError as error:
                print(f"{name:<42}left out: {error.filename} is not there")
                break
            start = time.perf_counter()
            est.fit(X, y)
            seconds.append(time.perf_counter() - start)
            scores.append(
                mean_squared_error(y_test, est.predict(X_test)) if kind == "MSE" else est.score(X_test, y_test))
        else:
            score = statistics.median(scores)
            met = wanted is None or (score <= wanted if kind == "MSE" else score >= wanted)
            status |= not met
            shown = f"{kind} {score:.4f}" + (f" (median of {seeds})" if seeds > 1 else "")
            print(f"{name:<42}{shown:>34}{wanted or '-':>10}{statistics.median(seconds):>10.1f}"
                  + ("" if met else "   MISSED"), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
