"""PyTorch, eager, at the best of its settings.

Batches are made, in the layout a setting names, before the clock starts, and visited in the same order each
epoch: no shuffling, gathering or copying is timed, nor is the way from and to NumPy at prediction.
"""
from __future__ import annotations

import socket

import numpy as np
import torch
from torch import nn

from benchmarks import rows as table
from benchmarks.common import input_data, training_data

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def axes(row, part):
    """Settings to choose from; the best of each is taken, from the first to the last."""
    found = []
    if row.images:
        found.append(("memory format", ("contiguous", "channels_last")))
    if row.recurrent:
        found += [("batch", ("second", "first")), ("last", ("h_n", "output"))]
    if part == "train":
        found.append(("update", ("fused", "foreach", "for-loop")))
    return found


class Last(nn.Module):
    """A recurrent layer of which the last output is kept."""

    def __init__(self, cell, batch_first, last):
        super().__init__()
        self.cell, self.time, self.last = cell, 1 if batch_first else 0, last

    def forward(self, x):
        y, state = self.cell(x)
        if self.last == "output":
            return y.select(self.time, -1)
        return (state[0] if isinstance(state, tuple) else state)[0]


def network(row, setting):
    """The row's network as an nn.Sequential."""
    made = []
    for layer, before, _ in table.layer_shapes(row):
        kind, *numbers = layer
        if kind == "dense":
            made.append(nn.Linear(before[0], numbers[0]))
        elif kind == "conv":
            made.append(nn.Conv2d(before[2], numbers[0], numbers[1], padding=numbers[2]))
        elif kind == "flatten":
            made.append(nn.Flatten())
        elif kind in CELLS:
            first = setting["batch"] == "first"
            made.append(Last(CELLS[kind](before[1], numbers[0], batch_first=first), first, setting["last"]))
        else:
            made.append({"maxpool": nn.MaxPool2d, "avgpool": nn.AvgPool2d}[kind](*numbers))
        if kind in ("dense", "conv") and numbers[-1] is not None:
            made.append(ACTIVATIONS[numbers[-1]]())
    return nn.Sequential(*made)


def place(X, row, setting):
    """Rows as a tensor in the layout of the setting."""
    if row.images:
        x = torch.from_numpy(np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
        if setting["memory format"] == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        return x
    if row.recurrent and setting["batch"] == "second":
        return torch.from_numpy(np.ascontiguousarray(X.transpose(1, 0, 2)))
    return torch.from_numpy(X)


def distributed(model, comm):
    """The model on all processes of a communicator, whose gradients are averaged; a process group is made once."""
    if not torch.distributed.is_initialized():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = comm.bcast(free.getsockname()[1])
        torch.distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=comm.Get_rank(), world_size=comm.Get_size())
    return nn.parallel.DistributedDataParallel(model)


def prepare(row, part, dtype, threads, setting, comm=None, shards=None):
    """A function that does some steps, or predicts some times; with ``comm`` of this process's part of each batch."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = network(row, setting).to(getattr(torch, dtype))
    if row.images and setting["memory format"] == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    if part != "train":
        x = place(input_data(row, part, dtype), row, setting)
        model.eval()

        def run(count):
            with torch.inference_mode():
                for _ in range(count):
                    model(x)
            return count

        return run

    X, y = training_data(row, dtype)
    rank, size = (0, 1) if comm is None else (comm.Get_rank(), comm.Get_size())
    if comm is not None:
        model = distributed(model, comm)
    batches = []
    for a in range(0, len(X), row.batch):
        own = slice(a + rank * row.batch // size, a + (rank + 1) * row.batch // size)
        targets = torch.from_numpy(y[own])
        batches.append((place(X[own], row, setting),
                        targets[:, None] if row.loss == "squared_error" else targets))
    criterion = nn.MSELoss() if row.loss == "squared_error" else nn.CrossEntropyLoss()
    how = {"fused": {"fused": True}, "foreach": {"foreach": True}, "for-loop": {"foreach": False}}
    kind = torch.optim.Adam if row.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=table.LEARNING_RATE, **how[setting["update"]])

    def run(count):
        done = 0
        while done < count:
            for x, t in batches:
                optimizer.zero_grad()
                criterion(model(x), t).backward()
                optimizer.step()
            done += len(batches)
        return done

    return run
