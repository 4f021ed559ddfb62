#!/usr/bin/env python
"""Series of the UCR archive: the networks of ldl_cy.networks beside their published accuracies.

    python ci/measure_ucr.py [--data FOLDER] [--seeds N] [--steps N] [--networks NAME ...] [SET ...]

    data       the official train and test rows (Dau et al., "The UCR time series archive", 2018), each series
               standardised, handed over as (n, channels, time) with input_format="channels_first"
    published  fcn and resnet_series: Ismail Fawaz et al., Data Mining and Knowledge Discovery 33 (2019), means of ten
               runs of 2000 and 1500 epochs; inception_time: the ensemble of five networks of 1500 epochs each, Ismail
               Fawaz et al., Data Mining and Knowledge Discovery 34 (2020), in aeon's run of it

Here a fit has far fewer epochs: as many as make --steps steps of 8 rows, with Adam and a learning rate that falls from
0.001 to 0 along a cosine, where the published runs halve it at plateaus and keep the weights of the best training loss.
The last weights are taken, no test row is looked at before, and nothing was tuned to a set. The accuracies are the mean
of the seeds and, in brackets, their standard deviation; "together" is the accuracy of the mean of their probabilities,
which for inception_time is what the published ensemble is, of three networks in place of five.

Sets and published numbers are read from FOLDER (ucr/SET.npz, reference/ucr_published.csv). The exit code is 1 where a
network is on average over the sets more than 0.02 below what is published.
"""
import argparse
import csv
import math
import statistics
import sys
import time
import warnings
from pathlib import Path

import datasets
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ldl_cy import NeuralNetClassifier, networks, optimizers, schedules

BOUND = 0.02
BATCH = 8
PUBLISHED = {"fcn": "fawaz_fcn", "resnet_series": "fawaz_resnet", "inception_time": "inceptiontime_acc"}


def published(folder):
    """Accuracies by set and network; the table has them in per cent with a standard deviation, or as shares."""
    with open(folder / "reference" / "ucr_published.csv", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {row["dataset"]: {
        name: float(row[column].split("(")[0]) / (100 if "(" in row[column] else 1)
        for name, column in PUBLISHED.items() if row[column]} for row in rows}


def classifier(name, n_rows, steps, seed):
    """The network with its optimizer, for a number of steps, in whole epochs."""
    in_epoch = math.ceil(n_rows / BATCH)
    epochs = math.ceil(steps / in_epoch)
    adam = optimizers.Adam(schedules.Cosine(1e-3, length=epochs * in_epoch), epsilon=1e-7)
    return NeuralNetClassifier(
        getattr(networks, name)(), solver=adam, alpha=0.0, batch_size=BATCH, max_iter=epochs, tol=0.0,
        n_iter_no_change=np.inf, input_format="channels_first", random_state=seed)


def measure(name, data, steps, seeds):
    """(epochs, accuracies of the seeds, accuracy of the mean of their probabilities, seconds of a fit)."""
    X, y, X_test, y_test = data
    accuracies, seconds, together = [], [], 0
    for seed in range(seeds):
        clf = classifier(name, len(X), steps, seed)
        start = time.perf_counter()
        clf.fit(X, y)
        seconds.append(time.perf_counter() - start)
        probabilities = clf.predict_proba(X_test)
        accuracies.append(float((clf.classes_[probabilities.argmax(axis=1)] == y_test).mean()))
        together = together + probabilities
    ensemble = float((clf.classes_[together.argmax(axis=1)] == y_test).mean())
    return clf.n_iter_, accuracies, ensemble, statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=datasets.DEFAULT)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--networks", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED), metavar="NAME")
    parser.add_argument("sets", nargs="*", help="default: all in the folder")
    chosen = parser.parse_args()
    sets = chosen.sets or sorted(path.stem for path in (chosen.data / "ucr").glob("*.npz"))
    if not sets:
        print(f"left out: {chosen.data / 'ucr'} has no sets")
        return 0
    warnings.simplefilter("ignore", ConvergenceWarning)         # the number of epochs is given
    known = published(chosen.data)
    differences = {name: [] for name in chosen.networks}
    print(f"{'set':<18}{'rows':>5}{'steps':>6}{'network':>16}{'epochs':>8}{'published':>11}{'found':>16}{'together':>10}"
          f"{'s a fit':>9}")
    for which in sets:
        data = datasets.ucr(chosen.data, which)
        for name in chosen.networks:
            epochs, accuracies, ensemble, seconds = measure(name, data, chosen.steps, chosen.seeds)
            mean, wanted = statistics.fmean(accuracies), known.get(which, {}).get(name)
            if wanted is not None:
                differences[name].append((ensemble if name == "inception_time" else mean) - wanted)
            print(f"{which:<18}{len(data[0]):>5}{data[0].shape[2]:>6}{name:>16}{epochs:>8}"
                  f"{'-' if wanted is None else format(wanted, '.4f'):>11}"
                  f"{f'{mean:.4f} ({np.std(accuracies):.4f})':>16}{ensemble:>10.4f}{seconds:>9.1f}", flush=True)
    below = False
    for name, values in differences.items():
        if values:
            mean = statistics.fmean(values)
            below |= mean < -BOUND
            kind = "together" if name == "inception_time" else "found"
            print(f"{name}: {kind} - published {mean:+.4f} on average over {len(values)} sets"
                  + ("   BELOW" if mean < -BOUND else ""))
    return int(below)


if __name__ == "__main__":
    sys.exit(main())
