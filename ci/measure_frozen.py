#!/usr/bin/env python
"""What frozen layers cost: time of a training step, float32, with all layers trainable and with a frozen trunk.

    python ci/measure_frozen.py [--batches 20] [--turns 5] [--threads 1]

"all" trains every layer, "frozen" the last one alone, "middle" all but the first half of the trunk, each on the user's
batches, which pass all layers in every step. A frozen step is a forward pass and the step of the last layer: "forward"
is a prediction for a batch, "last" a step of the last layer on the trunk's outputs. Below the last trainable layer no
gradient, no dx and no update is computed, and nothing is kept for a backward pass; a prediction can still be faster,
where it folds BatchNorm into the weights before it. "cached" is "frozen" on arrays, where the trunk's outputs are
computed once for the fit, whose single epoch that is here.

Times are in µs a step, the least of some turns, which alternate; the last column is "frozen" divided by "all".
"""
import argparse
import time

import numpy as np

from ldl_cy import Sequential, layers, optimizers

NETWORKS = {
    "MLP 784-512-512-10, 128": ((784,), 128, [layers.Dense(512, "relu"), layers.Dense(512, "relu")]),
    "MLP 64-100-100-10, 32": ((64,), 32, [layers.Dense(100, "relu"), layers.Dense(100, "relu")]),
    "CNN 32C3-64C3-P2-128-10, 64": ((28, 28, 1), 64, [
        layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"), layers.MaxPool2D(2),
        layers.Flatten(), layers.Dense(128, "relu")]),
    "CNN of three blocks with BatchNorm, 64": ((16, 16, 16), 64, [
        layer for filters in (16, 32, 32) for layer in (
            layers.Conv2D(filters, 3, padding="same"), layers.BatchNorm(), layers.Activation("relu"),
            layers.MaxPool2D(2))] + [layers.Flatten()]),
    "GRU T=50 32-64, 32": ((50, 32), 32, [layers.GRU(64)]),
}


def made(shape, stack, frozen):
    model = Sequential([*stack, layers.Dense(10)], random_state=0).build(shape)
    names = [*model.trace(np.zeros((1, *shape), "float32"))]
    return model.freeze(*names[:frozen]) if frozen else model


def runners(shape, batch, stack, n_batches, threads):
    """By column, a function that makes ``n_batches`` steps or predictions."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((batch * n_batches, *shape)).astype("float32")
    y = rng.integers(0, 10, len(X))
    parts = [slice(i, i + batch) for i in range(0, len(X), batch)]
    options = {"loss": "log_loss", "optimizer": optimizers.Adam(1e-4), "epochs": 1, "n_threads": threads}
    found = {}
    models = {"all": made(shape, stack, 0), "middle": made(shape, stack, len(stack) // 2),
              "frozen": made(shape, stack, len(stack))}
    features = models["frozen"][:-1].predict(X)
    head = models["frozen"][-1:]
    for name, model, rows in (*((name, model, X) for name, model in models.items()), ("last", head, features)):
        batches = [(rows[part], y[part]) for part in parts]
        found[name] = lambda model=model, batches=batches: model.fit(batches, **options)
    found["forward"] = lambda: [models["all"].predict(X[part], n_threads=threads) for part in parts]
    found["cached"] = lambda: models["frozen"].fit(X, y, batch_size=batch, **options)
    return found


def measured(found, n_batches, turns):
    """Seconds a step by column, the least of the turns."""
    least = dict.fromkeys(found, float("inf"))
    for turn in range(turns + 1):               # the first one warms up
        for name, run in found.items():
            start = time.perf_counter()
            run()
            if turn:
                least[name] = min(least[name], (time.perf_counter() - start) / n_batches)
    return least


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    columns = ("forward", "last", "all", "middle", "frozen", "cached")
    print(f"{'network, batch':<40}", *(f"{name:>9}" for name in (*columns, "frozen/all")))
    for name, (shape, batch, stack) in NETWORKS.items():
        least = measured(runners(shape, batch, stack, given.batches, given.threads), given.batches, given.turns)
        print(f"{name:<40}", *(f"{1e6 * least[column]:9,.0f}" for column in columns),
              f"{least['frozen'] / least['all']:9.2f}", flush=True)


if __name__ == "__main__":
    main()
