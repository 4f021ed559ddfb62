"""PyTorch, eager, at the best of its settings.

Batches are made, in the layout a setting names, before the clock starts, and visited in the same order each
epoch: no shuffling, gathering or copying is timed, nor is the way from and to NumPy at prediction.
"""
from __future__ import annotations

import socket

import numpy as np
import torch
from torch import nn

from benchmarks.common import input_data, training_data
from benchmarks.row import LEARNING_RATE
from benchmarks.torch_layers import network


def place(X, row, setting):
    """Rows as a tensor in the layout of the setting."""
    if row.images:
        x = torch.from_numpy(np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
        if setting["memory format"] == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        return x
    if row.series:
        return torch.from_numpy(np.ascontiguousarray(X.transpose(0, 2, 1)))
    if row.recurrent and setting["batch"] == "second":
        return torch.from_numpy(np.ascontiguousarray(np.swapaxes(X, 0, 1)))
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


def build(row, dtype, setting):
    """The row's network in the memory format of the setting."""
    model = network(row, dtype, setting)
    if row.images and setting["memory format"] == "channels_last":
        return model.to(memory_format=torch.channels_last)
    return model


def outputs(row, dtype, setting):
    """The network's outputs for the rows of a prediction, (n, outputs)."""
    with torch.inference_mode():
        return build(row, dtype, setting).eval()(place(input_data(row, "inference", dtype), row, setting)).numpy()


def prepare(row, part, dtype, threads, setting, comm=None, shards=None):
    """A function that does some steps, or predicts some times; with ``comm`` of this process's part of each batch."""
    torch.set_num_threads(threads)
    model = build(row, dtype, setting)
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
        batches.append((place(X[own], row, setting), targets[:, None] if row.outputs == 1 else targets))
    criterion = nn.MSELoss() if row.loss == "squared_error" else nn.CrossEntropyLoss()
    how = {"fused": {"fused": True}, "foreach": {"foreach": True}, "for-loop": {"foreach": False}}
    kind = torch.optim.Adam if row.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=LEARNING_RATE, **how[setting["update"]])

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
