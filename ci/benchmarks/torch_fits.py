"""Loops in torch that do what a fit of an estimator does: shuffled batches by indexing, Adam, cross-entropy."""
from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

RATE = 1e-3


class LastState(nn.Module):
    """A GRU's state after the last valid step of padded sequences, and a layer on it."""

    def __init__(self, channels, units, classes):
        super().__init__()
        self.cell, self.last = nn.GRU(channels, units, batch_first=True), nn.Linear(units, classes)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.last(self.cell(packed)[1][0])


def network(key, classes, channels):
    if key == "fashion-mlp":
        return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, classes))
    if key == "vowels-gru":
        return LastState(channels, 64, classes)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, classes))


def tensors(X, job):
    """What a module is called with, all rows: the samples, and the lengths of sequences."""
    if job["fit"] == "vowels-gru":
        return pad_sequence([torch.from_numpy(x) for x in X], batch_first=True), torch.tensor([len(x) for x in X])
    x = torch.from_numpy(np.ascontiguousarray(X))
    if job["fit"] == "fashion-cnn":
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format(job))
    return (x,)


def memory_format(job):
    return torch.channels_last if job["contender"].endswith("channels_last") else torch.contiguous_format


def make(job, batch, epochs):
    """Data -> a function that predicts."""
    torch.set_num_threads(job["threads"])

    def run(X, y):
        torch.manual_seed(0)
        classes, encoded = np.unique(y, return_inverse=True)
        targets, inputs = torch.from_numpy(encoded), tensors(X, job)
        model = network(job["fit"], len(classes), np.shape(X[0])[-1])
        if job["fit"] == "fashion-cnn":
            model = model.to(memory_format=memory_format(job))
        optimizer, criterion = torch.optim.Adam(model.parameters(), RATE, fused=True), nn.CrossEntropyLoss()
        for _ in range(epochs):
            for rows in torch.randperm(len(targets)).split(batch):
                optimizer.zero_grad()
                criterion(model(*(part[rows] for part in inputs)), targets[rows]).backward()
                optimizer.step()

        def predict(X):
            with torch.inference_mode():
                return classes[model.eval()(*tensors(X, job)).argmax(1).numpy()]

        return predict

    return run
