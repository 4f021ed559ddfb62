#!/usr/bin/env python
"""Columns of categories on the adult set, as vectors, as one-hot columns, and in gradient-boosted trees.

    python ci/measure_adult.py [--data FOLDER] [--seeds 5] [--rows N]

32,561 people to train on and 16,281 to test on, 6 numbers and 8 categories (2 to 41 of them, some missing), of whom a
quarter earns more than 50,000 $. Both networks have hidden layers of 64 and 32 units and are trained alike: dropout .2,
numbers standardised (capital gain and loss as log(1 + x)), early stopping by the loss of a tenth of the rows. Trees are
scikit-learn's HistGradientBoostingClassifier with its default settings and early stopping. Printed for each: accuracy
and log loss on the test set, mean and standard deviation over seeds, and the seconds of a fit and of the predictions.
Without the data, which are read from FOLDER (ci/datasets.py says which files), it is left out with a message.
"""
import argparse
import time
import warnings
from pathlib import Path

import datasets
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ldl_cy import MLPClassifier

SETTINGS = {"hidden_layer_sizes": (64, 32), "dropout": 0.2, "batch_size": 256, "max_iter": 100,
            "early_stopping": "loss", "n_iter_no_change": 10, "dtype": "float32"}


def preprocessing(X, categories):
    """Numbers standardised, the two of capital after log(1 + x); categories by ``categories``."""
    capital = [name for name in X.columns if name.startswith("capital")]
    numbers = [name for name in X.select_dtypes("number") if name not in capital]
    rest = [name for name in X.columns if name not in (*capital, *numbers)]
    log = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    return make_column_transformer(
        (StandardScaler(), numbers), (make_pipeline(log, StandardScaler()), capital), (categories, rest),
        verbose_feature_names_out=False, sparse_threshold=0)


def candidates(X, seed):
    """Names and estimators."""
    vectors = preprocessing(X, "passthrough").set_output(transform="pandas")
    one_hot = preprocessing(X, OneHotEncoder(handle_unknown="ignore"))
    return {
        "MLP, vectors of categories": make_pipeline(
            vectors, MLPClassifier(categorical_features="from_dtype", random_state=seed, **SETTINGS)),
        "MLP, one-hot columns": make_pipeline(one_hot, MLPClassifier(random_state=seed, **SETTINGS)),
        "HistGradientBoosting": HistGradientBoostingClassifier(
            categorical_features="from_dtype", early_stopping=True, random_state=seed),
    }


def measure(estimator, X, y, X_test, y_test):
    """(accuracy, log loss, seconds of the fit, seconds of the predictions)."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, y)
    fitted = time.perf_counter()
    proba = estimator.predict_proba(X_test)
    end = time.perf_counter()
    return accuracy_score(y_test, proba.argmax(axis=1)), log_loss(y_test, proba), fitted - start, end - fitted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=datasets.DEFAULT, help="the folder of ci/datasets.py")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=None, help="train on the first N rows alone")
    options = parser.parse_args()
    try:
        X, y, X_test, y_test = datasets.adult(options.data)
    except FileNotFoundError as error:
        print(f"left out: {error.filename} is not there")
        return
    X, y = X[:options.rows], y[:options.rows]
    print(f"{len(X)} rows to train on, {len(X_test)} to test on, {options.seeds} seeds\n")
    print("| | accuracy | log loss | fit, s | predictions, s |\n|---|---|---|---|---|")
    for name in candidates(X, 0):
        found = np.array([measure(candidates(X, seed)[name], X, y, X_test, y_test) for seed in range(options.seeds)])
        (accuracy, loss, fit, predict), spread = found.mean(axis=0), found.std(axis=0)
        print(f"| {name} | {accuracy:.4f} ± {spread[0]:.4f} | {loss:.4f} ± {spread[1]:.4f} | {fit:.1f} | "
              f"{predict:.2f} |", flush=True)


if __name__ == "__main__":
    main()
