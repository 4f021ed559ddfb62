"""ldl_cy: Sequential's fit and predict, as a user calls them."""
from __future__ import annotations

import numpy as np

import benchmarks.layers as described
from benchmarks import row as rows
from benchmarks.common import input_data, training_data
from benchmarks.weights import draw
from ldl_cy import Sequential, layers, optimizers

CELLS = {"rnn": layers.RNN, "gru": layers.GRU, "lstm": layers.LSTM}


def stack(network, shape):
    """A network as ldl_cy's layers."""
    made = []
    for layer in network:
        made += translate(layer, len(shape) == 3, shape)
        shape = layer.after(shape)
    return made


def translate(layer, images, shape):
    """One description as a list of layers."""
    match layer:
        case described.Dense(units, activation):
            return [layers.Dense(units, activation)]
        case described.Conv(filters, size, (before, after)):
            kind = layers.Conv2D if images else layers.Conv1D
            return [kind(filters, size, layer.stride, before if before == after else (before, after), layer.dilation,
                         layer.groups, layer.activation, use_bias=layer.bias)]
        case described.BatchNorm(epsilon):
            return [layers.BatchNorm(epsilon=epsilon)]
        case described.LayerNorm(epsilon):
            return [layers.LayerNorm(epsilon)]
        case described.Activation(name):
            return [layers.Activation(name)]
        case described.Pool(kind, size, stride, padding):
            names = {"max": ("MaxPool1D", "MaxPool2D"), "mean": ("AvgPool1D", "AvgPool2D")}
            return [getattr(layers, names[kind][images])(size, stride, padding)]
        case described.GlobalMean():
            return [layers.GlobalAvgPool2D() if images else layers.GlobalAvgPool1D()]
        case described.Flatten():
            return [layers.Flatten()]
        case described.Embedding(tokens, width):
            return [layers.Embedding(tokens, width)]
        case described.Recurrent(cell, units, sequences, both):
            one = CELLS[cell](units, return_sequences=sequences)
            return [layers.Bidirectional(one) if both else one]
        case described.Widen(channels):
            # every second pixel; zeros can be added to rows, which the channels are for a moment
            return [layers.AvgPool2D(1, 2), layers.Permute((3, 1, 2)),
                    layers.ZeroPadding2D(((channels, channels), (0, 0))), layers.Permute((2, 3, 1))]
        case described.Add(paths=paths):
            return [layers.Add(*(stack(path, shape) for path in paths))]
        case described.Concatenate(paths=paths):
            return [layers.Concatenate(*(stack(path, shape) for path in paths))]
    raise TypeError(f"no layer for {layer!r}")


def build(row, dtype):
    """The row's model with the weights that all contenders have."""
    model = Sequential(stack(row.network, row.shape), dtype=dtype, random_state=0).build(row.shape)
    given = [array for one in draw(row, dtype) for array in one.values()]
    # as after a fit: no view of the weights was handed out, through which they could change between predictions
    model.theta = np.concatenate([array.ravel() for array in given])
    return model


def optimizer(row):
    if row.optimizer == "gd":
        return optimizers.GD(rows.LEARNING_RATE, tol=0)         # no early end: all epochs are run
    return {"sgd": optimizers.SGD, "adam": optimizers.Adam}[row.optimizer](rows.LEARNING_RATE)


def prepare(row, part, dtype, threads, setting, comm=None, shards=8):
    """A function that does some steps, or predicts some times.

    A training run is one fit over many batches and epochs with everything it does by default: rows are shuffled
    in each epoch and gathered, weights are backed up, losses kept.
    """
    model = build(row, dtype)
    if part == "train":
        X, y = training_data(row, dtype)
        if row.tokens:
            X = X.astype(dtype)                     # ids are numbers of the model's dtype
        rule = optimizer(row)
        least = rows.EPOCHS_OF_REGRESSION if row.optimizer == "gd" else 1

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
    X = input_data(row, part, dtype).astype(dtype, copy=False)

    def run(count):
        predict = model.predict                                 # threads: as many as the environment allows
        for _ in range(count):
            predict(X)
        return count

    return run


def outputs(row, dtype, setting):
    """The network's outputs for the rows of a prediction, (n, outputs)."""
    return build(row, dtype).predict(input_data(row, "inference", dtype).astype(dtype, copy=False))
