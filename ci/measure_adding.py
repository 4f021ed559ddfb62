#!/usr/bin/env python
"""The adding problem at T = 100: two of a hundred numbers are marked, the target is their sum.

    python ci/measure_adding.py

Fresh batches of 64, Adam 1e-2, clip_norm 1. The bound, a mean squared error below 0.01 on a fresh batch of 1,000, is
to be met within 600 steps by a GRU and within 1,500 by an LSTM (guessing the mean gives 0.167). The exit code is 1
where it is not. Source of the problem: Hochreiter and Schmidhuber, Neural Computation 9 (1997).
"""
import sys
import time

import numpy as np

from ldl_cy import Sequential, layers, optimizers

STEPS = 100
BOUND = 0.01


def batch(rng, n):
    X = np.zeros((n, STEPS, 2), "float32")
    X[:, :, 0] = rng.uniform(0, 1, (n, STEPS))
    rows = np.arange(n)
    first = rng.integers(0, STEPS // 2, n)
    second = rng.integers(STEPS // 2, STEPS, n)
    X[rows, first, 1] = X[rows, second, 1] = 1
    return X, (X[rows, first, 0] + X[rows, second, 0])[:, None]


def steps_needed(layer, limit, seed):
    """(steps to the bound or None, last error, seconds)."""
    rng = np.random.default_rng(seed)
    model = Sequential([layer, layers.Dense(1)], random_state=seed)
    optimizer = optimizers.Adam(1e-2, clip_norm=1.0)
    test_X, test_y = batch(np.random.default_rng(1000 + seed), 1000)
    start = time.perf_counter()
    error = np.inf
    for step in range(1, limit + 1):
        model.fit(*batch(rng, 64), loss="squared_error", optimizer=optimizer, batch_size="full", epochs=1)
        if step % 10 == 0:
            error = model.evaluate(test_X, test_y, loss="squared_error")
            if error < BOUND:
                return step, error, time.perf_counter() - start
    return None, error, time.perf_counter() - start


def main():
    missed = 0
    for name, layer, limit in (("GRU", layers.GRU(64), 600), ("LSTM", layers.LSTM(64), 1500)):
        for seed in range(3):
            steps, error, seconds = steps_needed(layer, limit, seed)
            missed += steps is None
            found = f"in {steps} steps" if steps else f"not in {limit} steps"
            print(f"{name:<5} seed {seed}: error {error:.4f} {found}, {seconds:.1f} s", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
