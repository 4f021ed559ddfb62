"""What each process of ci/measure_ranks.py does: ``mpiexec -n SIZE python rank_tasks.py TASK ARGUMENTS``.

Rank 0 prints a line of JSON, its last: a list of what the ranks have found.
"""
import json
import os
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np

from ldl_cy import Sequential, layers
from ldl_cy.callbacks import Checkpoint

N, EPOCHS = 1000, 4
SEEDS = np.random.default_rng(0)
ROWS, IMAGES, SERIES = (SEEDS.standard_normal((N, *shape)).astype("float32") for shape in ((64,), (16, 16, 1), (20, 8)))
CLASSES, LENGTHS = SEEDS.integers(0, 10, N), SEEDS.integers(1, 21, N)
TARGETS = np.sin(ROWS[:, :1]) + 0.1 * ROWS[:, 1:2]


def cnn():
    return [
        layers.Conv2D(8, 3), layers.BatchNorm(), layers.Activation("relu"), layers.MaxPool2D(2), layers.Dropout(0.25),
        layers.Conv2D(16, 3, activation="relu"), layers.BatchNorm(), layers.Flatten(), layers.Dense(10)]


# layers, rows, targets, further arguments of fit
NETWORKS = {
    "MLP": (lambda: [layers.Dense(100, "relu"), layers.Dense(10)], ROWS, CLASSES,
            {"loss": "log_loss", "optimizer": "adam", "batch_size": 128}),
    "CNN": (cnn, IMAGES, CLASSES, {"loss": "log_loss", "optimizer": "adam", "batch_size": 100}),
    "LSTM": (lambda: [layers.LSTM(24), layers.Dense(10)], SERIES, CLASSES,
             {"loss": "log_loss", "optimizer": "rmsprop", "batch_size": 64, "lengths": LENGTHS}),
    "L-BFGS": (lambda: [layers.Dense(30, "tanh"), layers.Dense(10)], ROWS, CLASSES,
               {"loss": "log_loss", "optimizer": "lbfgs", "alpha": 1e-3, "epochs": 10}),
    "LM": (lambda: [layers.Dense(6, "tanh"), layers.Dense(1)], ROWS, TARGETS,
           {"loss": "squared_error", "optimizer": "lm"}),
}


def crc(model):
    return zlib.crc32(model.network.statistics.data, zlib.crc32(model.theta.data))


def bits(comm, threads):
    """{network: [checksum for each number of threads]}"""
    found = {}
    for name, (stack, X, y, options) in NETWORKS.items():
        found[name] = []
        for n_threads in threads:
            model = Sequential(stack(), random_state=0)
            model.fit(X, y, **{"epochs": EPOCHS, **options}, comm=comm, n_threads=n_threads)
            found[name].append(crc(model))
    return found


def train(comm, path, epochs):
    """The CNN from its checkpoint, or the beginning, to the last of its epochs; each rank leaves its process id."""
    path = Path(path)
    (path.parent / f"{comm.Get_rank()}.pid").write_text(str(os.getpid()))
    model = Sequential.load(path) if path.exists() else Sequential(cnn(), random_state=0)
    first, options = model.epoch, NETWORKS["CNN"][3]
    if first < epochs:
        model.fit(IMAGES, CLASSES, **options, epochs=epochs - first, comm=comm, n_threads=1,
                  callbacks=[Checkpoint(path)])
    return {"crc": crc(model), "first": first, "last": model.epoch}


def read_status():
    """{name: bytes} of /proc/self/status: RssAnon, RssFile, VmHWM."""
    with open("/proc/self/status", encoding="ascii") as file:
        lines = [line.split() for line in file if line.endswith("kB\n")]
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines}


def memory(comm, path, rows, features, batch):
    """Bytes before and during an epoch over a file of rows, of which no rank has a copy."""
    X = np.memmap(path, np.float32, "r", shape=(rows, features))
    y = np.arange(rows) % 10
    model = Sequential([layers.Dense(32, "relu"), layers.Dense(10)], random_state=0).build(features)
    before, most, done = read_status(), {}, threading.Event()

    def watch():
        while not done.wait(0.02):
            for name, value in read_status().items():
                most[name] = max(value, most.get(name, 0))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        model.fit(X, y, loss="log_loss", batch_size=batch, epochs=1, comm=comm, n_threads=1)
    finally:
        done.set()
        watcher.join()
    return {"before": before["RssAnon"], "anonymous": most["RssAnon"], "file": most["RssFile"],
            "total": read_status()["VmHWM"], "seconds": time.perf_counter() - start, "crc": crc(model)}


TASKS = {task.__name__: task for task in (bits, train, memory)}


def main(task, given):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    found = comm.gather(TASKS[task](comm, **given))
    if comm.Get_rank() == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
