#!/usr/bin/env python
"""Depth-first row blocks against a barrier after every op: time of a training step, side by side.

    python ci/measure_plan.py [--seconds 2]

The first column is the plan as the library makes it; "per op" puts a barrier after each op, forward and
backward, with the same blocks (values and caches then hold the whole batch); "per op, long" gives each
lane one block. The variants alternate, and the median of their ratios is printed.
"""
import argparse
import statistics
import time

import numpy as np

from ldl_cy import Sequential, layers, losses, optimizers
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.train import train
from ldl_cy.threads import blas_at_one_thread

NETWORKS = {
    "MLP 20-64-64-2, 32": ((20,), 32, 2, [layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(2)]),
    "MLP 64-100-10, 200": ((64,), 200, 10, [layers.Dense(100, "relu"), layers.Dense(10)]),
    "MLP 784-512-512-10, 128": (
        (784,), 128, 10, [layers.Dense(512, "relu"), layers.Dense(512, "relu"), layers.Dense(10)]),
    "LeNet-5, 64": ((28, 28, 1), 64, 10, [
        layers.Conv2D(6, 5, padding=2, activation="tanh"), layers.AvgPool2D(2), layers.Conv2D(16, 5, activation="tanh"),
        layers.AvgPool2D(2), layers.Flatten(), layers.Dense(120, "tanh"), layers.Dense(84, "tanh"), layers.Dense(10)]),
    "CNN 32C3-64C3-P2-128-10, 64": ((28, 28, 1), 64, 10, [
        layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"), layers.MaxPool2D(2),
        layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(10)]),
    "LSTM T=100 64-128, 32": ((100, 64), 32, 10, [layers.LSTM(128), layers.Dense(10)]),
}
VARIANTS = ("blocks", "per op", "per op, long")


def runner(name, variant, threads):
    """A function that trains some steps and returns seconds a step."""
    shape, batch, classes, stack = NETWORKS[name]
    graph = Sequential(stack, random_state=0).build(shape)._graph
    model = Sequential(stack, random_state=0).build(shape)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4 * batch, graph.sizes[0])).astype("float32")
    codes = rng.integers(0, classes, 4 * batch)
    targets, kernel = losses.LogLoss().encode_targets(codes, 4 * batch, (classes,), "float32")
    plan = Plan(graph, True, batch, kernel.target_size)
    if variant != "blocks":
        rows = plan.block_rows if variant == "per op" else -(-batch // plan.lanes)
        plan = Plan(graph, True, batch, kernel.target_size, lanes=plan.lanes, block_rows=rows,
                    cuts=tuple(range(len(graph.nodes))))
    workspace = Workspace(plan, threads)
    optimizer = optimizers.SGD(1e-3)
    slots, state = np.zeros((0, graph.n_params), "float32"), np.zeros(0, "float32")

    def run(epochs, pool):
        start = time.perf_counter()
        train(workspace, model.theta, slots, state, X, targets, None, kernel,
              optimizer.rule(0, np.zeros((0, 2), np.int64)), optimizer.coefficients(0, 1), batch_size=batch,
              epochs=epochs, order=np.arange(4 * batch), reshuffle=True, seed=0, epoch=0, step=0,
              losses=np.zeros(epochs), pool=pool)
        return (time.perf_counter() - start) / (4 * epochs)

    return run, plan


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each network and number of threads")
    seconds = parser.parse_args().seconds
    print(f"{'network':<30}{'threads':>8}{'blocks x lanes':>16}{'us a step':>12}"
          + "".join(f"{v + ' / blocks':>22}" for v in VARIANTS[1:]))
    for name in NETWORKS:
        for threads in (1, 2):
            made = [runner(name, variant, threads) for variant in VARIANTS]
            with Pool(threads) as pool, blas_at_one_thread():
                once = max(1e-6, min(made[0][0](2, pool) for _ in range(2)))
                epochs = max(1, int(seconds / 30 / (4 * once)))
                times = [[run(epochs, pool) for run, _ in made] for _ in range(10)]
            plan = made[0][1]
            ratios = [statistics.median(t[i] / t[0] for t in times) for i in range(1, len(VARIANTS))]
            print(f"{name:<30}{threads:>8}{f'{plan.block_rows} x {plan.lanes}':>16}"
                  f"{1e6 * statistics.median(t[0] for t in times):>12.1f}" + "".join(f"{r:>22.2f}" for r in ratios))


if __name__ == "__main__":
    main()
