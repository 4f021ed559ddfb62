#!/usr/bin/env python
"""Autoencoders of 8 numbers on scikit-learn's digits, beside PCA's 8 components.

    python ci/measure_autoencoder.py [--seeds 5] [--epochs 400] [NAME ...]

Images are in [0, 1]; a third of them is held out, by another split for each seed. The errors are mean squared errors of
a pixel, as shares of PCA's on the same rows. The exit code is 1 where the dense autoencoder's error is more than 0.85
of PCA's, on the rows that it was fitted to or on those that were held out, for any seed.
"""
import argparse
import statistics
import sys
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from ldl_cy import Autoencoder, layers

SIZE, BOUND = 8, 0.85


def dense(**settings):
    """As it comes: one hidden layer of 128 on either side."""
    return Autoencoder(n_components=SIZE, **settings)


def deep(**settings):
    return Autoencoder((128, 64), SIZE, **settings)


def convolutional(**settings):
    """Pooling on the way to the code, up-sampling on the way back."""
    encoder = [layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPool2D(),
               layers.Conv2D(32, 3, padding="same", activation="relu"), layers.Flatten(), layers.Dense(SIZE)]
    decoder = [layers.Dense(4 * 4 * 16, "relu"), layers.Reshape((4, 4, 16)), layers.UpSampling2D(),
               layers.Conv2D(16, 3, padding="same", activation="relu"), layers.Conv2D(1, 3, padding="same")]
    return Autoencoder(encoder=encoder, decoder=decoder, input_shape=(8, 8, 1), batch_size=32, **settings)


def denoising(**settings):
    """Images with noise in, images without it out."""
    encoder = [layers.GaussianNoise(0.1), layers.Dense(128, "relu"), layers.Dense(SIZE)]
    return Autoencoder(encoder=encoder, **settings)


KINDS = {kind.__name__: kind for kind in (dense, deep, convolutional, denoising)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(KINDS)}; default all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=400)
    chosen = parser.parse_args()
    X = load_digits().data.astype("float32") / 16
    missed = False
    print(f"{'':<15}{'fitted rows':>15}{'held out':>15}{'worst':>9}{'seconds':>10}    error / PCA's, {SIZE} numbers")
    for name in chosen.names or KINDS:
        shares, seconds = [], []
        for seed in range(chosen.seeds):
            rows = train_test_split(X, test_size=1 / 3, random_state=seed)
            pca = PCA(SIZE).fit(rows[0])
            coder = KINDS[name](max_iter=chosen.epochs, n_iter_no_change=np.inf, random_state=seed)
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)     # all epochs are made, whatever the loss does
                coder.fit(rows[0])
            seconds.append(time.perf_counter() - start)
            errors = [np.mean(np.square(part - pca.inverse_transform(pca.transform(part)), dtype=float))
                      for part in rows]
            shares.append([-coder.score(part) / error for part, error in zip(rows, errors)])
        fitted, held = (statistics.mean(column) for column in zip(*shares))
        worst = max(map(max, shares))
        print(f"{name:<15}{fitted:>15.3f}{held:>15.3f}{worst:>9.3f}{statistics.median(seconds):>10.1f}", flush=True)
        missed = missed or (name == "dense" and worst > BOUND)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
