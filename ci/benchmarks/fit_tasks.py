"""The part "fit", the worker's side: one contender's fit, with the data read before the clock starts."""
from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np

TEST_ROWS = 2000
SEED = 0


def fit(job):
    """Seconds of each repetition, and the accuracy on test rows."""
    import datasets

    from benchmarks.fits import BY_KEY

    chosen = BY_KEY[job["fit"]]
    X, y, X_test, y_test = getattr(datasets, chosen.read)(Path(job["data"]))
    X, y, X_test, y_test = (part[:n] for part, n in zip(
        (X, y, X_test, y_test), (job["rows"], job["rows"], TEST_ROWS, TEST_ROWS)))
    if chosen.key == "vowels-gru":
        X, X_test = ([x.astype(np.float32) for x in part] for part in (X, X_test))
    elif chosen.key == "fashion-cnn":
        X, X_test = (part.reshape(-1, 28, 28, 1) for part in (X, X_test))
    if job["peer"] == "torch":
        from benchmarks.torch_fits import make
    else:
        make = {"ldl_cy": ours, "scikit-learn": sklearn}[job["peer"]]
    warnings.simplefilter("ignore")                     # the number of epochs is given
    make(job, chosen.batch, 1)(X, y)                    # warm-up
    times = []
    for _ in range(job["repeats"]):
        start = time.perf_counter()
        predict = make(job, chosen.batch, job["epochs"])(X, y)
        times.append(time.perf_counter() - start)
    return {"times": times, "score": float((predict(X_test) == y_test).mean()), "setting": {}}


def common(batch, epochs):
    return dict(alpha=0.0, batch_size=batch, max_iter=epochs, tol=0.0, n_iter_no_change=epochs + 1, random_state=SEED)


def ours(job, batch, epochs):
    """Data -> a function that predicts: ldl_cy's estimators."""
    from ldl_cy import CNNClassifier, MLPClassifier, RNNClassifier

    settings = dict(common(batch, epochs), n_threads=job["threads"])

    def run(X, y):
        estimator = {"fashion-mlp": lambda: MLPClassifier((256, 128), **settings),
                     "fashion-cnn": lambda: CNNClassifier((32, 64), **settings),
                     "vowels-gru": lambda: RNNClassifier(units=64, **settings)}[job["fit"]]()
        return estimator.fit(X, y).predict

    return run


def sklearn(job, batch, epochs):
    from sklearn.neural_network import MLPClassifier

    return lambda X, y: MLPClassifier((256, 128), **common(batch, epochs)).fit(X, y).predict
