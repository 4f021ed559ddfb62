"""What each row should reach: (floor, stretch), times faster than a peer."""
from __future__ import annotations

from dataclasses import dataclass

BEST = "best peer"
TORCH = "torch"


@dataclass(frozen=True)
class Aim:
    floor: float
    stretch: float | None = None
    of: str = BEST                      # the peer it is relative to


# One training step in float32, beside the best of all peers, JAX among them.
TRAIN = {
    "linear": (1.2, 1.5), "mlp20": (2.1, 2.3), "mlp64": (1.7, 1.85), "mlp784": (1.08, 1.13),
    "mlp784-adam": (1.08, 1.13), "lenet": (4.6, 6), "lenet-1998": (3, 4.5), "cnn28": (3, 3.6), "vgg": (2.8, 3.3),
    "rnn-t50-16-64": (2.3, 2.4), "rnn-t100-64-128": (1.6, 1.66), "gru-t50-16-64": (2.7, 2.9),
    "gru-t100-64-128": (1.9, 2.05), "lstm-t50-16-64": (2.1, 2.3), "lstm-t100-64-128": (1.45, 1.53),
    "lstm-t100-256-256": (1.45, 1.53),
}
# The same where JAX is not among the peers that were measured.
TRAIN_WITHOUT_JAX = {
    "linear": (30, 50), "mlp20": (7, 12), "mlp64": (4, 6), "mlp784": (1.35, 1.6), "mlp784-adam": (1.5, 1.8),
    "lenet": (3, 4.5), "lenet-1998": (3, 4.5), "cnn28": (2.5, 3.2), "vgg": (2, 2.6), "rnn-t50-16-64": (5, 7),
    "rnn-t100-64-128": (3, 3.8), "gru-t50-16-64": (5.5, 7.5), "gru-t100-64-128": (3, 3.8),
    "lstm-t50-16-64": (1.4, 1.8), "lstm-t100-64-128": (1.2, 1.45), "lstm-t100-256-256": (1.25, 1.5),
}
# One training step in float32, beside torch.
TRAIN_OF_TORCH = {
    "cnn-bn": (2.6, 3.5), "resnet20": (2.6, 3.2), "mobilenet": (1.7, 2), "fcn": (2, 2.6), "inception": (3.5, 4.5),
    "tcn": (2.5, 3.2), "bilstm": (1.8, 1.9), "two-grus": (4.5, 5), "autoencoder": (1.42, 1.5),
    "tabular-bn": (2.6, 3), "tabular-ln": (1.9, 2.2), "mlp1000": (1.55, 1.7),
}
# One training step in float32, beside torch, everybody held to AVX2.
TRAIN_OF_TORCH_V3 = {
    "mlp20": (9, 12), "mlp64": (4, 5), "mlp784": (1.2, 1.3), "lenet": (3.5, 4.5), "cnn28": (2.2, 2.8),
    "vgg": (2, 2.5), "rnn-t50-16-64": (4.5, 6), "gru-t100-64-128": (2, 2.4), "lstm-t50-16-64": (1.6, 1.9),
    "lstm-t100-64-128": (1.3, 1.5), "lstm-t100-256-256": (1.25, 1.4),
}
ONE_ROW = {"mlp20": (3, 6)}
FLOAT64 = 1.3                           # of a training step
# what the geometric mean over all rows should reach
MEANS = {("train", "float64"): 4.0, ("one_row", "float32"): 2.0, ("inference", "float32"): 2.0,
         ("inference", "float64"): 2.0}
SHARE = 0.75                            # of the GEMM peak: large dense, convolution and LSTM rows
THREADS = 1.8                           # two threads against one, rows over 2 ms; below: never slower


def aim(key, part, dtype, isa, peers):
    """The aim of one measurement beside the ``peers`` that were measured; None where there is none."""
    if part == "one_row":
        return Aim(*ONE_ROW.get(key, (1.0, None))) if dtype == "float32" else None
    if part == "inference":
        return Aim(1.0)
    if isa == "v3":
        given = TRAIN_OF_TORCH_V3.get(key) if dtype == "float32" else None
        return given and Aim(*given, of=TORCH)
    if key in TRAIN_OF_TORCH:
        return Aim(*(TRAIN_OF_TORCH[key] if dtype == "float32" else (FLOAT64, None)), of=TORCH)
    if dtype != "float32":
        return Aim(FLOAT64)
    return Aim(*(TRAIN if "jax" in peers else TRAIN_WITHOUT_JAX)[key])
