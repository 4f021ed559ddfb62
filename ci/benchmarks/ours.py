"""ldl_cy: Sequential's fit and predict, as a user calls them."""
from __future__ import annotations

from benchmarks import rows as table
from benchmarks.common import input_data, training_data
from ldl_cy import Sequential, layers, optimizers

CELLS = {"rnn": layers.RNN, "gru": layers.GRU, "lstm": layers.LSTM}


def axes(row, part):
    """Settings to choose from: none, the library is taken as it comes."""
    return []


def stack(row):
    """The row's network as ldl_cy's layers."""
    made = []
    for kind, *numbers in row.network:
        if kind == "dense":
            made.append(layers.Dense(*numbers))
        elif kind == "conv":
            filters, size, padding, activation = numbers
            made.append(layers.Conv2D(filters, size, padding=padding, activation=activation))
        elif kind == "flatten":
            made.append(layers.Flatten())
        elif kind in CELLS:
            made.append(CELLS[kind](*numbers))
        else:
            made.append({"maxpool": layers.MaxPool2D, "avgpool": layers.AvgPool2D}[kind](*numbers))
    return made


def optimizer(row):
    if row.optimizer == "gd":
        return optimizers.GD(table.LEARNING_RATE, tol=0)        # no early end: all epochs are run
    return {"sgd": optimizers.SGD, "adam": optimizers.Adam}[row.optimizer](table.LEARNING_RATE)


def prepare(row, part, dtype, threads, setting, comm=None, shards=8):
    """A function that does some steps, or predicts some times.

    A training run is one fit over many batches and epochs with everything it does by default: rows are drawn
    anew each epoch and gathered, weights are backed up, losses kept.
    """
    model = Sequential(stack(row), dtype=dtype, random_state=0).build(row.shape)
    if part == "train":
        X, y = training_data(row, dtype)
        rule = optimizer(row)
        least = table.EPOCHS_OF_REGRESSION if row.optimizer == "gd" else 1

        def run(count):
            epochs = max(least, -(-count // row.batches))
            if row.optimizer == "gd":               # one fit is 1,000 epochs, neither more nor less
                fits, epochs = -(-count // least), least
            else:
                fits = 1
            for _ in range(fits):
                model.fit(X, y, loss=row.loss, optimizer=rule, epochs=epochs, n_threads=threads,
                          batch_size="auto" if row.optimizer == "gd" else row.batch, comm=comm, shards=shards)
            return fits * epochs * row.batches

        return run
    X = input_data(row, part, dtype)

    def run(count):
        predict = model.predict                                 # threads: as many as the environment allows
        for _ in range(count):
            predict(X)
        return count

    return run
