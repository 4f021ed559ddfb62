"""What a row of the benchmark is: a network, the size of its batches, and how many flops it takes."""
from __future__ import annotations

from dataclasses import dataclass

from benchmarks import layers
from benchmarks.layers import Conv, Dense, Embedding, Recurrent

INFERENCE_ROWS = 64
LEARNING_RATE = 1e-4                    # small: nothing saturates, however long a measurement runs
EPOCHS_OF_REGRESSION = 1000


@dataclass(frozen=True)
class Row:
    """One line of the table; with the loss "squared_error" and several outputs the targets are the inputs."""

    key: str
    title: str
    shape: tuple[int, ...]
    batch: int
    network: tuple[layers.Layer, ...]
    outputs: int = 10
    loss: str = "log_loss"
    optimizer: str = "sgd"
    batches: int = 4                    # of a data set: few where a step is long
    predicts: int = INFERENCE_ROWS      # rows of a prediction that is not of one row

    def has(self, kind):
        """Whether a layer is of this class."""
        return any(isinstance(layer, kind) for layer, _, _ in layers.walk(self.network, self.shape))

    @property
    def dense(self):
        """Only dense layers with ReLU: scikit-learn can run it."""
        return all(isinstance(layer, Dense) for layer in self.network)

    @property
    def images(self):
        return self.has(Conv) and len(self.shape) == 3

    @property
    def series(self):
        """Convolutions over time."""
        return self.has(Conv) and len(self.shape) == 2

    @property
    def recurrent(self):
        return self.has(Recurrent)

    @property
    def tokens(self):
        """The number of different ids; 0 where the input is not of ids."""
        return max((layer.tokens for layer in self.network if isinstance(layer, Embedding)), default=0)


def mlp(*units, outputs):
    return (*(Dense(n, "relu") for n in units), Dense(outputs))


def rows_of(row, part):
    """Samples in one step or one predict."""
    return {"train": row.batch, "one_row": 1, "inference": row.predicts}[part]


def flops(row, part):
    """Flops of the products of one step or one predict, 2 for each multiply-add.

    A training step is forward, dW and dX of each layer. Layers that read the input itself have no dX, except for the
    products with their own state.
    """
    return 2 * rows_of(row, part) * multiply_adds(row.network, row.shape, part, first=True)[0]


def multiply_adds(network, shape, part, first):
    """(Multiply-adds of a stack, whether no layer up to its output has weights); ``first``: none before it has."""
    total = 0
    for layer in network:
        if isinstance(layer, layers.Branches):
            parts = [multiply_adds(path, shape, part, first) for path in layer.paths]
            total += sum(one for one, _ in parts)
            first = all(without for _, without in parts)
        else:
            inputs, state = layer.products(shape)
            if part == "train":
                total += inputs * (2 if first else 3) + 3 * state
            else:
                total += inputs + state
            first = first and not layer.weights(shape)
        shape = layer.after(shape)
    return total, first
