#!/usr/bin/env python
"""One training step of MLP 20-64-64-2, batch 32, float32, one thread: ldl_cy beside scikit-learn.

    python ci/measure_step.py

Each library runs in a process of its own, in turns; the median of each and the median of the ratios are printed.
"""
import os
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np

BATCHES, EPOCHS, TURNS = 200, 5, 5


def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((32 * BATCHES, 20)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def ours(X, y):
    """A fit of some epochs by ldl_cy."""
    from ldl_cy import Sequential, layers, optimizers

    model = Sequential([layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(2)], random_state=0)
    return lambda: model.fit(X, y, loss="log_loss", optimizer=optimizers.SGD(0.01), epochs=EPOCHS, n_threads=1)


def theirs(X, y):
    """The same by scikit-learn."""
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((64, 64), solver="sgd", momentum=0, learning_rate_init=0.01, batch_size=32,
                          max_iter=EPOCHS, n_iter_no_change=EPOCHS + 1, random_state=0)
    return lambda: model.fit(X, y)


def measure(which):
    """Seconds a step, the best of three fits after one to warm up."""
    fit = {"ldl_cy": ours, "scikit-learn": theirs}[which](*data())
    fit()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        fit()
        times.append(time.perf_counter() - start)
    return min(times) / (BATCHES * EPOCHS)


def main():
    if len(sys.argv) == 2:
        warnings.simplefilter("ignore")
        print(measure(sys.argv[1]))
        return
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    found = {"ldl_cy": [], "scikit-learn": []}
    for _ in range(TURNS):
        for name, times in found.items():
            out = subprocess.run([sys.executable, __file__, name], env=environment, check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
            times.append(float(out))
    for name, times in found.items():
        print(f"{name:<14}{1e6 * statistics.median(times):8.1f} us a step")
    ratios = [b / a for a, b in zip(found["ldl_cy"], found["scikit-learn"])]
    print(f"scikit-learn / ldl_cy: {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
