"""The rows of the benchmark as data: networks, sizes, what each should reach, and how many flops it takes.

A network is a tuple of plain descriptions that every contender translates for itself:

    ("dense", units, activation)   ("conv", filters, size, padding, activation)   ("maxpool", 2)
    ("avgpool", 2)   ("flatten",)   ("rnn", units)   ("gru", units)   ("lstm", units): the last output only

Shapes are those of ldl_cy: images (height, width, channels), sequences (time, features).
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field

PARTS = ("train", "one_row", "inference", "ranks")
DTYPES = ("float32", "float64")
INFERENCE_ROWS = 64
LEARNING_RATE = 1e-4                    # small: nothing saturates, however long a measurement runs
EPOCHS_OF_REGRESSION = 1000
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``aims`` holds (floor, stretch) of the training step in float32: times faster than the best peer.
    """

    key: str
    title: str
    shape: tuple[int, ...]
    batch: int
    network: tuple[tuple, ...]
    aims: tuple[float, float]
    outputs: int = 10
    loss: str = "log_loss"
    optimizer: str = "sgd"
    batches: int = 4                    # of a data set: few where a step is long
    one_row: tuple[float, float] | None = None
    families: frozenset[str] = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "families", frozenset(layer[0] for layer in self.network))

    @property
    def dense(self):
        """Only dense layers: scikit-learn can run it."""
        return self.families == {"dense"}

    @property
    def images(self):
        return "conv" in self.families

    @property
    def recurrent(self):
        return bool(self.families & set(GATES))

    def aim(self, part, dtype):
        """(floor, stretch) of one measurement; None where there is none."""
        if part == "one_row":
            return self.one_row if dtype == "float32" else None
        if part == "inference":
            return (1.0, None)
        return self.aims if dtype == "float32" else (1.3, None)


# what the geometric mean over all rows should reach
MEAN_AIMS = {("train", "float64"): 4.0, ("inference", "float32"): 2.0, ("inference", "float64"): 2.0}
SHARE_AIM = 0.75                        # of the GEMM peak: large dense, convolution and LSTM rows
THREADS_AIM = 1.8                       # two threads against one, rows over 2 ms; below: never slower


def mlp(*units, outputs):
    return (*(("dense", n, "relu") for n in units), ("dense", outputs, None))


def lenet(key, title, activation, pool):
    return Row(key, title, (28, 28, 1), 64, (
        ("conv", 6, 5, 2, activation), (pool, 2), ("conv", 16, 5, 0, activation), (pool, 2), ("flatten",),
        ("dense", 120, activation), ("dense", 84, activation), ("dense", 10, None)), (3, 4.5), batches=10)


def recurrent(cell, steps, n_in, units, batch, floor, stretch):
    title = f"{cell.upper()} T={steps} in={n_in} h={units}, batch {batch}"
    return Row(f"{cell}-t{steps}-{n_in}-{units}", title, (steps, n_in), batch,
               ((cell, units), ("dense", 10, None)), (floor, stretch),
               batches=50 if steps * units < 5000 else 4)


ROWS = (
    Row("linear", "linear regression 100x1, full batch", (1,), 100, (("dense", 1, None),), (30, 50),
        outputs=1, loss="squared_error", optimizer="gd", batches=1),
    Row("mlp20", "MLP 20-64-64-2, batch 32", (20,), 32, mlp(64, 64, outputs=2), (7, 12), outputs=2,
        batches=200, one_row=(3, 6)),
    Row("mlp64", "MLP 64-100-10, batch 200", (64,), 200, mlp(100, outputs=10), (4, 6), batches=50),
    Row("mlp784", "MLP 784-512-512-10, batch 128", (784,), 128, mlp(512, 512, outputs=10), (1.35, 1.6),
        batches=20),
    Row("mlp784-adam", "the same with Adam", (784,), 128, mlp(512, 512, outputs=10), (1.5, 1.8),
        optimizer="adam", batches=20),
    lenet("lenet", "LeNet-5, 28x28, batch 64", "relu", "maxpool"),
    lenet("lenet-1998", "LeNet-5 as of 1998 (tanh, means), 28x28, batch 64", "tanh", "avgpool"),
    Row("cnn28", "CNN 32C3-64C3-P2-128-10, 28x28, batch 64", (28, 28, 1), 64, (
        ("conv", 32, 3, 0, "relu"), ("conv", 64, 3, 0, "relu"), ("maxpool", 2), ("flatten",),
        ("dense", 128, "relu"), ("dense", 10, None)), (2.5, 3.2), batches=2),
    Row("vgg", "VGG-like 64C3-64C3-P2-128C3-128C3-P2-256-10, 32x32x3, batch 32", (32, 32, 3), 32, (
        ("conv", 64, 3, 1, "relu"), ("conv", 64, 3, 1, "relu"), ("maxpool", 2),
        ("conv", 128, 3, 1, "relu"), ("conv", 128, 3, 1, "relu"), ("maxpool", 2), ("flatten",),
        ("dense", 256, "relu"), ("dense", 10, None)), (2, 2.6), batches=2),
    recurrent("rnn", 50, 16, 64, 32, 5, 7),
    recurrent("rnn", 100, 64, 128, 32, 3, 3.8),
    recurrent("gru", 50, 16, 64, 32, 5.5, 7.5),
    recurrent("gru", 100, 64, 128, 32, 3, 3.8),
    recurrent("lstm", 50, 16, 64, 32, 1.4, 1.8),
    recurrent("lstm", 100, 64, 128, 32, 1.2, 1.45),
    recurrent("lstm", 100, 256, 256, 64, 1.25, 1.5),
)
BY_KEY = {row.key: row for row in ROWS}


def find(names):
    """Rows by key, or by the beginning of one; all without names."""
    if not names:
        return list(ROWS)
    found = []
    for name in names:
        rows = [BY_KEY[name]] if name in BY_KEY else [row for row in ROWS if row.key.startswith(name)]
        if not rows:
            raise SystemExit(f"bench: no row {name!r}; there are {', '.join(BY_KEY)}.")
        found += [row for row in rows if row not in found]
    return found


def layer_shapes(row):
    """(layer, its input's shape, its output's shape) from the first to the last."""
    shape, found = row.shape, []
    for layer in row.network:
        kind, before = layer[0], shape
        if kind == "dense" or kind in GATES:
            shape = (layer[1],)
        elif kind == "conv":
            grow = 2 * layer[3] - layer[2] + 1
            shape = (shape[0] + grow, shape[1] + grow, layer[1])
        elif kind == "flatten":
            shape = (math.prod(shape),)
        else:
            shape = (shape[0] // layer[1], shape[1] // layer[1], shape[2])
        found.append((layer, before, shape))
    return found


def multiply_adds(layer, before, after):
    """Products of a layer's forward pass over one sample: (those with the input, those with the state)."""
    kind = layer[0]
    if kind == "dense":
        return before[0] * after[0], 0
    if kind == "conv":
        return math.prod(after) * layer[2] ** 2 * before[2], 0
    if kind in GATES:
        steps, n_in = before
        return steps * GATES[kind] * n_in * layer[1], steps * GATES[kind] * layer[1] ** 2
    return 0, 0


def flops(row, part):
    """Flops of the products of one step or one predict, 2 for each multiply-add.

    A training step is forward, dW and dX of each layer; the first layer has no dX, except for the products
    with its own state.
    """
    total, first = 0, True
    for layer, before, after in layer_shapes(row):
        inputs, state = multiply_adds(layer, before, after)
        if part == "train":
            total += inputs * (2 if first else 3) + 3 * state
        else:
            total += inputs + state
        first = first and not inputs
    return 2 * total * rows_of(row, part)


def rows_of(row, part):
    """Samples in one step or one predict."""
    return {"train": row.batch, "one_row": 1, "inference": INFERENCE_ROWS}[part]
