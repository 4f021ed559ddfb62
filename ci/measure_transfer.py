#!/usr/bin/env python
"""Transfer: parts of trained networks on other data, beside networks from scratch, and what frozen layers cost.

    python ci/measure_transfer.py [--data FOLDER] [--seeds N] [--share SHARE] [geron] [digits] [seconds]

geron    Géron, "Hands-on machine learning", 2nd ed. 2019, ch. 11, and its notebook 11: an MLP of 300-100-50-50-50 SELU
         units is trained on eight classes of Fashion-MNIST (20 epochs of SGD 1e-3), and its hidden layers on 200 images
         of the other two, sandals and shirts: 4 epochs frozen, 16 not. Published, of one seed: test accuracy 0.9940,
         and 0.9705 from scratch.
digits   a CNN is trained on Fashion-MNIST; its layers are frozen, and a new output layer on them learns MNIST's
         digits from 10, 50 and 200 rows a class; beside it the same network fine-tuned, and from scratch.
seconds  a new output layer on the frozen CNN, with its outputs kept (cache_features), computed in each epoch, and
         with all layers passed in each step.

SHARE of the training rows of Fashion-MNIST are used, all by default. Data are read from FOLDER (ci/datasets.py says
which files); without them it is left out with a message. The exit code is 1 where the mean of the seeds is more than
0.005 below what is published.
"""
import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

import datasets
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ldl_cy import NeuralNetClassifier, Sequential, layers, optimizers, schedules

PUBLISHED = {"from scratch": 0.9705, "on A's layers": 0.9940}
ROOM = 0.005
ROWS = (10, 50, 200)            # a class


def accuracy(model, X, y):
    """Of raw outputs: one logit, or one for each class."""
    raw = model.predict(X)
    return float(np.mean((raw[:, 0] > 0 if raw.shape[1] == 1 else raw.argmax(1)) == y))


def selu(outputs):
    hidden = [layers.Dense(units, "selu") for units in (300, 100, 50, 50, 50)]
    return [*hidden, layers.Dense(outputs)]


def geron(folder, seed, share):
    """{name: test accuracy} of one seed."""
    X, y, X_test, y_test = datasets.fashion(folder)
    X, y = X[5000:], y[5000:].astype(int)               # the first are the notebook's validation rows
    pair, pair_test = np.isin(y, (5, 6)), np.isin(y_test, (5, 6))
    X_b, y_b = X[pair][:200], (y[pair][:200] == 6).astype(float)
    X_test, y_test = X_test[pair_test], y_test[pair_test] == 6
    X_a, y_a = X[~pair], y[~pair] - 2 * (y[~pair] > 6)
    n = int(share * len(X_a))
    sgd, binary = optimizers.SGD(1e-3), {"loss": "binary_log_loss", "optimizer": optimizers.SGD(1e-3)}
    model_a = Sequential(selu(8), random_state=seed)
    model_a.fit(X_a[:n], y_a[:n], loss="log_loss", optimizer=sgd, epochs=20)
    scratch = Sequential(selu(1), random_state=seed)
    scratch.fit(X_b, y_b, epochs=20, **binary)
    on_a = model_a[:-1].append(layers.Dense(1)).freeze("dense_[0-4]")
    on_a.fit(X_b, y_b, epochs=4, **binary)
    on_a.unfreeze().fit(X_b, y_b, epochs=16, **binary)
    return {"from scratch": accuracy(scratch, X_test, y_test), "on A's layers": accuracy(on_a, X_test, y_test)}


def convolutions():
    return [layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPool2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"), layers.MaxPool2D(), layers.Flatten()]


def trained_on_fashion(folder, seed, share):
    """The CNN, and its test accuracy."""
    X, y, X_test, y_test = datasets.fashion(folder)
    n, epochs = int(share * len(X)), 4
    model = Sequential([*convolutions(), layers.Dense(128, "relu"), layers.Dense(10)], random_state=seed)
    rate = schedules.Linear(1e-3, epochs * -(-n // 64))
    model.fit(X[:n].reshape(-1, 28, 28, 1), y[:n], loss="log_loss", optimizer=optimizers.Adam(rate), epochs=epochs,
              batch_size=64)
    return model, accuracy(model, X_test.reshape(-1, 28, 28, 1), y_test)


def some_of_each(y, count, seed):
    """Rows of ``count`` samples of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(y == k))[:count] for k in range(10)])


def digits(folder, seed, share):
    """{(rows a class, name): test accuracy} of one seed."""
    X, y, X_test, y_test = datasets.mnist(folder)
    model, scored = trained_on_fashion(folder, seed, share)
    print(f"    seed {seed}: the CNN has {scored:.4f} on Fashion-MNIST", flush=True)
    found = {}
    for count in ROWS:
        chosen = some_of_each(y, count, seed)
        settings = {"input_shape": (28, 28, 1), "max_iter": 60, "n_iter_no_change": np.inf, "tol": 0.0,
                    "random_state": seed}
        heads = {
            "frozen convolutions": (model[:5].freeze(), 1e-3), "frozen hidden layers": (model[:-1].freeze(), 3e-3),
            "fine-tuned": (model[:-1], 1e-3), "from scratch": (list(model[:-1]), 1e-3)}
        for name, (trunk, rate) in heads.items():
            clf = NeuralNetClassifier(trunk, learning_rate_init=rate, **settings).fit(X[chosen], y[chosen])
            found[count, name] = float(clf.score(X_test, y_test))
    return found


def seconds(folder, seed, share):
    """{name: seconds} of ten epochs of a new output layer on 5,000 digits."""
    X, y, _, _ = datasets.mnist(folder)
    X, y = X[:5000].reshape(-1, 28, 28, 1), y[:5000]
    trunk, _ = trained_on_fashion(folder, seed, min(share, 0.05))
    options = {"loss": "log_loss", "optimizer": optimizers.Adam(), "epochs": 10}
    batches = [(X[i:i + 50], y[i:i + 50]) for i in range(0, 5000, 50)]
    kinds = {"outputs kept": (X, y, {"cache_features": True, "batch_size": 50}),
             "computed in each epoch": (X, y, {"cache_features": False, "batch_size": 50}),
             "all layers in each step": (batches, None, {})}
    found = {}
    for name, (rows, targets, given) in kinds.items():
        model = trunk[:-1].freeze().append(layers.Dense(10))
        start = time.perf_counter()
        model.fit(rows, targets, **options, **given)
        found[name] = time.perf_counter() - start
    return found


def over_seeds(system, args, seeds):
    """{key: values of the seeds}"""
    found = [system(args.data, seed, args.share) for seed in range(seeds)]
    return {key: [one[key] for one in found] for key in found[0]}


def measure(args):
    """Print the systems; whether a published accuracy is missed."""
    missed = False
    if "geron" in args.systems:
        print(f"Géron's transfer, test accuracy, mean of {args.seeds} seeds (smallest to largest), published")
        for name, values in over_seeds(geron, args, args.seeds).items():
            mean = statistics.mean(values)
            missed |= mean < PUBLISHED[name] - ROOM
            print(f"    {name:24} {mean:.4f} ({min(values):.4f} to {max(values):.4f})   {PUBLISHED[name]:.4f}")
    if "digits" in args.systems:
        seeds = min(args.seeds, 3)
        print(f"A CNN of Fashion-MNIST on MNIST, test accuracy, mean of {seeds} seeds, by rows a class")
        found = over_seeds(digits, args, seeds)
        print(f"    {'':24}" + "".join(f"{count:>9}" for count in ROWS))
        for name in dict.fromkeys(name for _, name in found):
            print(f"    {name:24}" + "".join(f"{statistics.mean(found[count, name]):9.4f}" for count in ROWS))
    if "seconds" in args.systems:
        print("Ten epochs of a new output layer on 5,000 digits, seconds")
        for name, taken in seconds(args.data, 0, args.share).items():
            print(f"    {name:24} {taken:8.2f}")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=["geron", "digits", "seconds"], metavar="SYSTEM")
    parser.add_argument("--data", type=Path, default=datasets.DEFAULT)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    try:
        return int(measure(args))
    except FileNotFoundError as error:
        print(f"left out: {error.filename} is not there")
        return 0


if __name__ == "__main__":
    sys.exit(main())
