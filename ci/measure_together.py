#!/usr/bin/env python
"""Trainings that run at the same time on two cores: in two Python threads, and in two workers of joblib.

    python ci/measure_together.py [--scale 1]

Each line is the time of two fits together by the time of one of them alone on one thread: 1.00 where they leave
each other alone and there is a core for each. "two threads each" asks more of two cores than they have.
The weights are compared to the bit with those of the fit alone.
"""
import argparse
import statistics
import threading
import time

import numpy as np
from joblib import Parallel, delayed

from ldl_cy import Sequential, layers

# shape, classes, batch, epochs of four steps in a fit, layers
NETWORKS = {
    "MLP 20-64-64-2, batch 32": ((20,), 2, 32, 10000, lambda: [
        layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(2)]),
    "MLP 784-512-512-10, batch 128": ((784,), 10, 128, 40, lambda: [
        layers.Dense(512, "relu"), layers.Dense(512, "relu"), layers.Dense(10)]),
    "CNN 16C3-32C3-P2-10, batch 64": ((28, 28, 1), 10, 64, 40, lambda: [
        layers.Conv2D(16, 3, activation="relu"), layers.Conv2D(32, 3, activation="relu"), layers.MaxPool2D(2),
        layers.Flatten(), layers.Dense(10)]),
    "LSTM T=50 16-64, batch 32": ((50, 16), 10, 32, 100, lambda: [layers.LSTM(64), layers.Dense(10)]),
}


def fit(name, n_threads, scale=1.0):
    """(seconds of the fit, bytes of its weights)"""
    shape, classes, batch, epochs, stack = NETWORKS[name]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4 * batch, *shape)).astype("float32")
    y = rng.integers(0, classes, 4 * batch)
    model = Sequential(stack(), random_state=0)
    model.fit(X, y, loss="log_loss", batch_size=batch, n_threads=n_threads)
    start = time.perf_counter()
    model.fit(X, y, loss="log_loss", batch_size=batch, epochs=max(1, int(scale * epochs)), n_threads=n_threads)
    return time.perf_counter() - start, model.theta.tobytes()


def in_threads(name, n_threads, scale):
    found = [None, None]

    def work(i):
        found[i] = fit(name, n_threads, scale)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


def in_processes(name, n_threads, scale):
    return Parallel(n_jobs=2)(delayed(fit)(name, n_threads, scale) for _ in range(2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the length of a fit, default 1: half a second")
    parser.add_argument("--turns", type=int, default=5)
    chosen = parser.parse_args()
    ways = {"Python threads": (in_threads, 1), "two threads each": (in_threads, 2),
            "joblib, n_threads=1": (in_processes, 1), "joblib, default": (in_processes, None)}
    print(f"{'':<32}{'alone':>10}" + "".join(f"{way:>22}" for way in ways))
    for name in NETWORKS:
        in_processes(name, 1, 0.01)                     # start the workers
        alone, ratios, same = [], {way: [] for way in ways}, True
        for _ in range(chosen.turns):
            once, weights = fit(name, 1, chosen.scale)
            alone.append(once)
            for way, (together, n_threads) in ways.items():
                found = together(name, n_threads, chosen.scale)
                ratios[way].append(max(t for t, _ in found) / once)
                same &= all(w == weights for _, w in found)
        print(f"{name:<32}{statistics.median(alone):>8.2f} s"
              + "".join(f"{statistics.median(r):>22.2f}" for r in ratios.values())
              + ("" if same else "   WEIGHTS DIFFER"), flush=True)


if __name__ == "__main__":
    main()
