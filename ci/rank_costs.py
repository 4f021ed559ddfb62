"""A model of the time of a step on many machines: computed from what one machine takes, not measured on them.

Each of m machines computes the gradient of its part of the batch, then sends a piece of it to each of the others
(reduce-scatter), updates one piece of the weights, and sends that to the others (allgather):

    t(m) = c(b/m) + 2 (m - 1) (a + s / (m w)) + k l a,       l = ceil(log2 m)

c: measured seconds of a step of one process with one thread on b/m rows, of b in a batch, the update of all weights
included; s: bytes of the weights; w, a: bandwidth and latency of a message; k: small collectives of a step, one by
which the ranks agree and two for each BatchNorm layer. Nothing overlaps, machines do not wait for each other, and the
links of different machines do not share a bottleneck.
"""
import numpy as np
from benchmarks import common, tables

from ldl_cy import Sequential, layers

MACHINES = (1, 2, 4, 8, 16, 32, 64)
# bytes and seconds: what Ethernet with TCP, a fast Ethernet, and InfiniBand or RoCE are known to reach
NETWORKS = {"1 Gbit/s, 50 µs": (0.117e9, 50e-6), "10 Gbit/s, 20 µs": (1.17e9, 20e-6),
            "100 Gbit/s, 3 µs": (11.7e9, 3e-6)}


def convolutional():
    return [
        layers.Conv2D(32, 3), layers.BatchNorm(), layers.Activation("relu"), layers.Conv2D(64, 3, activation="relu"),
        layers.BatchNorm(), layers.MaxPool2D(2), layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(10)]


# layers, shape of a row, rows of a batch over all machines, collectives beside the gradient's
CASES = {
    "MLP 784-512-512-10, batch 1024": (
        lambda: [layers.Dense(512, "relu"), layers.Dense(512, "relu"), layers.Dense(10)], (784,), 1024, 1),
    "CNN 32C3-64C3-P2-128-10 with BatchNorm, 28x28, batch 256": (convolutional, (28, 28, 1), 256, 5),
    "LSTM T=100 in=64 h=128, batch 256": (lambda: [layers.LSTM(128), layers.Dense(10)], (100, 64), 256, 1),
    "MLP 64-100-10, a full batch of 131,072": (
        lambda: [layers.Dense(100, "relu"), layers.Dense(10)], (64,), 131072, 1),
}


def seconds_of_step(model, shape, rows, seconds):
    """Of one thread; the fit has at least two steps, since one of a single batch is no training loop."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2 * rows, *shape)).astype("float32"), rng.integers(0, 10, 2 * rows)

    def run(count):
        epochs = -(-count // 2)
        model.fit(X, y, loss="log_loss", optimizer="adam", batch_size=rows, epochs=epochs, n_threads=1)
        return 2 * epochs

    return min(common.measure(run, seconds, 3))


def exchange(machines, size, bandwidth, latency, collectives):
    """Seconds of the messages of a step; see the top."""
    if machines == 1:
        return 0.0
    rounds = (machines - 1).bit_length()
    return 2 * (machines - 1) * (latency + size / (machines * bandwidth)) + collectives * rounds * latency


def text(seconds):
    """The tables, as one text."""
    lines = [__doc__.strip(), ""]
    for name, (stack, shape, batch, collectives) in CASES.items():
        model = Sequential(stack(), random_state=0).build(shape)
        size, cells, first = model.theta.nbytes, [], 0.0
        for machines in MACHINES:
            compute = seconds_of_step(model, shape, batch // machines, seconds)
            first = first or compute
            steps = [compute + exchange(machines, size, *link, collectives) for link in NETWORKS.values()]
            cells.append([str(machines), str(batch // machines), tables.duration(compute),
                          *(f"{tables.duration(step)} ({first / step:.1f})" for step in steps)])
        lines += [f"COMPUTED, not measured: {name}, {size / 1e6:.2f} MB of weights",
                  "a step, and how many times faster than on one machine",
                  *tables.plain(["machines", "rows each", "c, measured", *NETWORKS], cells), ""]
    return "\n".join(lines)
