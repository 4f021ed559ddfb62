"""The rows: dense, convolutional and recurrent networks of several sizes, then the networks of networks.py."""
from __future__ import annotations

from benchmarks.layers import Conv, Dense, Flatten, Pool, Recurrent
from benchmarks.networks import NETWORKS
from benchmarks.row import Row, mlp

PARTS_OF_ROWS = ("train", "one_row", "inference")
PARTS = (*PARTS_OF_ROWS, "ranks", "fit", "growth")
DTYPES = ("float32", "float64")


def lenet(key, title, activation, kind):
    return Row(key, title, (28, 28, 1), 64, (
        Conv(6, 5, (2, 2), activation), Pool(kind), Conv(16, 5, (0, 0), activation), Pool(kind), Flatten(),
        Dense(120, activation), Dense(84, activation), Dense(10)), batches=10)


def recurrent(cell, steps, n_in, units, batch):
    title = f"{cell.upper()} T={steps} in={n_in} h={units}, batch {batch}"
    return Row(f"{cell}-t{steps}-{n_in}-{units}", title, (steps, n_in), batch,
               (Recurrent(cell, units), Dense(10)), batches=50 if steps * units < 5000 else 4)


FIRST = (
    Row("linear", "linear regression 100x1, full batch", (1,), 100, (Dense(1),), outputs=1, loss="squared_error",
        optimizer="gd", batches=1),
    Row("mlp20", "MLP 20-64-64-2, batch 32", (20,), 32, mlp(64, 64, outputs=2), outputs=2, batches=200),
    Row("mlp64", "MLP 64-100-10, batch 200", (64,), 200, mlp(100, outputs=10), batches=50),
    Row("mlp784", "MLP 784-512-512-10, batch 128", (784,), 128, mlp(512, 512, outputs=10), batches=20),
    Row("mlp784-adam", "the same with Adam", (784,), 128, mlp(512, 512, outputs=10), optimizer="adam", batches=20),
    lenet("lenet", "LeNet-5, 28x28, batch 64", "relu", "max"),
    lenet("lenet-1998", "LeNet-5 as of 1998 (tanh, means), 28x28, batch 64", "tanh", "mean"),
    Row("cnn28", "CNN 32C3-64C3-P2-128-10, 28x28, batch 64", (28, 28, 1), 64, (
        Conv(32, 3, (0, 0), "relu"), Conv(64, 3, (0, 0), "relu"), Pool("max"), Flatten(),
        Dense(128, "relu"), Dense(10)), batches=2),
    Row("vgg", "VGG-like 64C3-64C3-P2-128C3-128C3-P2-256-10, 32x32x3, batch 32", (32, 32, 3), 32, (
        Conv(64, 3, (1, 1), "relu"), Conv(64, 3, (1, 1), "relu"), Pool("max"),
        Conv(128, 3, (1, 1), "relu"), Conv(128, 3, (1, 1), "relu"), Pool("max"), Flatten(),
        Dense(256, "relu"), Dense(10)), batches=2),
    recurrent("rnn", 50, 16, 64, 32),
    recurrent("rnn", 100, 64, 128, 32),
    recurrent("gru", 50, 16, 64, 32),
    recurrent("gru", 100, 64, 128, 32),
    recurrent("lstm", 50, 16, 64, 32),
    recurrent("lstm", 100, 64, 128, 32),
    recurrent("lstm", 100, 256, 256, 64),
)
ROWS = (*FIRST, *NETWORKS)
BY_KEY = {row.key: row for row in ROWS}
# names for several rows
SETS = {"first": FIRST, "networks": NETWORKS}


def find(names):
    """Rows by key, by the beginning of one, or by the name of a set; all without names."""
    if not names:
        return list(ROWS)
    found = []
    for name in names:
        rows = SETS.get(name) or [BY_KEY[name]] if name in BY_KEY or name in SETS else [
            row for row in ROWS if row.key.startswith(name)]
        if not rows:
            raise SystemExit(f"bench: no row {name!r}; there are {', '.join((*SETS, *BY_KEY))}.")
        found += [row for row in rows if row not in found]
    return found
