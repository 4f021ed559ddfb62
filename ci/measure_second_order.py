#!/usr/bin/env python
"""Full-batch methods of the second order beside Adam: training errors, and the seconds they take.

    python ci/measure_second_order.py [--data FOLDER]

Three tables, float64, mean squared errors of the training rows; data are standardised, inputs and target:

linear     Dense(1) on scikit-learn's diabetes: iterations until the weights are the least-squares solution to 1e-8.
data       Dense(20, tanh)-Dense(1) on diabetes and on airfoil, concrete and yacht from FOLDER (ci/datasets.py says
           which files; left out with a message where they are not there): Levenberg-Marquardt after 100 iterations
           beside Adam after 2,000 epochs of batches of 32, the better of the step sizes 1e-2 and 1e-3.
x sin 3x   200 points of [-2, 2], Dense(15, tanh)-Dense(1), ten seeds: medians of every method, and what they are
           of Levenberg-Marquardt's; Adam in batches of 32 and on all rows, the better of both step sizes.

The exit code is 1 where Levenberg-Marquardt's error on some data is not below Adam's, where Adam's median on x sin 3x
is not a hundred times its own, or where the least-squares solution takes it more than three iterations.
"""
import argparse
import sys
import time
from pathlib import Path

import datasets
import numpy as np
from sklearn.datasets import load_diabetes

from ldl_cy import Sequential, layers
from ldl_cy.optimizers import LBFGS, Adam, ConjugateGradient, GaussNewtonCG, LevenbergMarquardt

ITERATIONS, EPOCHS = 100, 2000
RATES = (1e-2, 1e-3)
SEEDS = 10
WANTED = 100                    # times Levenberg-Marquardt's median error is Adam's
EXACT, MOST = 1e-8, 3           # of the linear check


def standardised(X, y):
    X, y = X.astype(float), y.astype(float)
    return (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()


def trained(X, y, units, seed, optimizer, epochs, batch_size="auto"):
    """(mean squared error of the training rows, seconds of the fit)."""
    model = Sequential([layers.Dense(units, "tanh"), layers.Dense(1)], "float64", seed)
    start = time.perf_counter()
    model.fit(X, y, loss="squared_error", optimizer=optimizer, epochs=epochs, batch_size=batch_size)
    seconds = time.perf_counter() - start
    return model.evaluate(X, y, loss="squared_error"), seconds


def adam(X, y, units, seed, batch_size):
    """The better of the step sizes, and the seconds of that one."""
    return min(trained(X, y, units, seed, Adam(rate), EPOCHS, batch_size) for rate in RATES)


def linear():
    """Iterations to the least-squares solution; whether Levenberg-Marquardt needs no more than MOST."""
    X, y = standardised(*load_diabetes(return_X_y=True))
    A = np.c_[X, np.ones(len(X))]
    solution = np.linalg.lstsq(A, y, rcond=None)[0]
    found = {}
    for optimizer in (LevenbergMarquardt(), GaussNewtonCG(), ConjugateGradient(0), LBFGS(0, loss_tol=0)):
        errors = []
        Sequential([layers.Dense(1)], "float64", 0).fit(
            X, y, loss="squared_error", optimizer=optimizer, epochs=ITERATIONS,
            callbacks=lambda model, logs, errors=errors: errors.append(np.abs(model.theta - solution).max()))
        name = type(optimizer).__name__
        found[name] = next((i for i, error in enumerate(errors, 1) if error <= EXACT), None)
        print(f"{name:<28}{found[name] or f'{min(errors):.1e} at best':>16}")
    taken = found["LevenbergMarquardt"]
    return taken is not None and taken <= MOST


def data(folder):
    """Levenberg-Marquardt beside Adam on real data; whether it is always lower."""
    sources = {"diabetes": lambda: load_diabetes(return_X_y=True), "airfoil": lambda: datasets.airfoil(folder),
               "concrete": lambda: datasets.uci(folder, "concrete"), "yacht": lambda: datasets.uci(folder, "yacht")}
    met = True
    for name, read in sources.items():
        try:
            X, y = standardised(*read())
        except FileNotFoundError as error:
            print(f"{name:<12}left out: {error.filename} is not there")
            continue
        (ours, seconds), (theirs, longer) = (
            trained(X, y, 20, 0, LevenbergMarquardt(), ITERATIONS), adam(X, y, 20, 0, 32))
        lower = ours < theirs
        met &= lower
        print(f"{name:<12}{X.shape!s:>14}{ours:>12.3g}{seconds:>8.2f}{theirs:>12.3g}{longer:>8.2f}"
              f"{theirs / ours:>8.1f}{'' if lower else '   MISSED'}", flush=True)
    return met


def sine():
    """Medians of all methods; whether Adam's is WANTED times Levenberg-Marquardt's."""
    X = np.linspace(-2, 2, 200)[:, None]
    y = X[:, 0] * np.sin(3 * X[:, 0])
    methods = {type(o).__name__: lambda seed, o=o: trained(X, y, 15, seed, o, ITERATIONS)
               for o in (LevenbergMarquardt(), GaussNewtonCG(), ConjugateGradient(0), LBFGS(0, loss_tol=0))}
    methods |= {"Adam, batches of 32": lambda seed: adam(X, y, 15, seed, 32),
                "Adam, all rows": lambda seed: adam(X, y, 15, seed, "full")}
    medians = {}
    for name, run in methods.items():
        errors, seconds = np.array([run(seed) for seed in range(SEEDS)]).T
        medians[name] = np.median(errors)
        times = medians[name] / medians["LevenbergMarquardt"]
        missed = name.startswith("Adam") and times < WANTED
        print(f"{name:<28}{medians[name]:>12.3g}{np.median(seconds):>10.3f}{times:>12.3g}"
              f"{'   MISSED' if missed else ''}", flush=True)
    return min(error for name, error in medians.items() if name.startswith("Adam")) >= (
        WANTED * medians["LevenbergMarquardt"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=datasets.DEFAULT)
    folder = parser.parse_args().data
    print(f"{'linear':<28}{'iterations':>16}")
    met = [linear()]
    print(f"\n{'data':<12}{'X':>14}{'LM':>12}{'s':>8}{'Adam':>12}{'s':>8}{'times':>8}")
    met.append(data(folder))
    print(f"\n{'x sin 3x':<28}{'median':>12}{'s':>10}{'times':>12}")
    met.append(sine())
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
