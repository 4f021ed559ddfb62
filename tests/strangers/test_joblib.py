"""joblib's workers: processes and threads, rows in read-only memory maps, processors that are shared, and kills."""
import functools
import os
import signal
import tempfile
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.ensemble import BaggingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from small_estimators import CLASSIFIERS, REGRESSORS, problem, small
from strangers import run_all

from ldl_cy import MLPClassifier, MLPRegressor, threads

# the default takes all kinds, each of the others half of them
NAMES = {"multiprocessing": CLASSIFIERS[1::2] + REGRESSORS[::2], "threading": CLASSIFIERS[::2] + REGRESSORS[1::2],
         "loky": CLASSIFIERS + REGRESSORS}


def mapped(folder, **arrays):
    """The arrays in files that are mapped for reading; workers open the files again."""
    for name, array in arrays.items():
        np.save(Path(folder, f"{name}.npy"), array)
    return [np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in arrays]


def workers(backend, n_jobs):
    """Processes get each array as a memory map, however small it is."""
    return joblib.parallel_config(backend, n_jobs=n_jobs, **({} if backend == "threading" else {"max_nbytes": 1}))


def compared(backend, estimator, folder):
    """Scores and predictions: of two workers, and of none."""
    rows, targets = problem(estimator, 30)
    X, y, weights = mapped(folder, X=rows, y=targets, weights=np.linspace(0.5, 2, 30))
    options = {"sample_weight": weights}
    found = []
    for n_jobs in (1, 2):
        with workers(backend, n_jobs):
            search = GridSearchCV(estimator, {"alpha": [0.0, 0.1]}, cv=2).fit(X, y, **options)
            predicted = cross_val_predict(estimator, X, y, cv=2, params=options)
        found.append([search.cv_results_["mean_test_score"], search.predict(X), predicted])
    assert all(np.array_equal(a, b) for a, b in zip(*found))


# -- ensembles, workers of workers, and kills -------------------------------------------------------------------------


def ensembles(folder):
    """Meta-estimators with two workers and with none."""
    rng = np.random.default_rng(0)
    X, y = mapped(folder, X=rng.standard_normal((40, 5)), y=rng.integers(0, 2, 40))
    options = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
    classifier = MLPClassifier(**options).fit(X, y)
    found = []
    for n_jobs in (1, 2):
        with workers("loky", n_jobs):
            bagged = BaggingClassifier(MLPClassifier(**options), n_estimators=3, random_state=0, n_jobs=n_jobs)
            several = MultiOutputRegressor(MLPRegressor(**options), n_jobs=n_jobs).fit(X, X[:, :2])
            importance = permutation_importance(classifier, X, y, n_repeats=2, n_jobs=n_jobs, random_state=0)
            found.append([bagged.fit(X, y).predict_proba(X), several.predict(X), importance.importances])
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def fitted(i):
    estimator = small("MLPClassifier", max_iter=2)
    X, y = problem(estimator)
    return estimator.fit(X, y).predict_proba(X)


def outer(i):
    return threads.available_threads(), joblib.Parallel(2)(joblib.delayed(fitted)(j) for j in range(2))


def nested(folder):
    """Workers of workers: the processors are shared among those of the outer level, and the bits are the same."""
    with workers("loky", 2):            # those that are there: with other settings new ones would begin
        found = joblib.Parallel()(joblib.delayed(outer)(i) for i in range(2))
    expected = fitted(0)
    assert all(np.array_equal(proba, expected) for _, several in found for proba in several)
    assert all(given <= max(1, threads.available_threads() // 2) for given, _ in found)


def killed(folder):
    """A signal ends a worker within its fit: the error is joblib's, estimators work on, and so do new workers."""
    estimator = MLPClassifier((4,), max_iter=3, random_state=0)
    rows, targets = problem(estimator, 30)
    X, y = mapped(folder, X=rows, y=targets)
    predicted = estimator.fit(X, y).predict_proba(X)
    expected = cross_val_score(estimator, X, y, cv=2)
    with workers("loky", 2):
        with pytest.raises(TerminatedWorkerError):
            cross_val_score(MLPClassifier((4,), callbacks=[functools.partial(end_worker, os.getpid())]), X, y, cv=2)
        assert np.array_equal(estimator.predict_proba(X), predicted)
        assert np.array_equal(estimator.fit(X, y).predict_proba(X), predicted)
        assert np.array_equal(cross_val_score(estimator, X, y, cv=2), expected)


def end_worker(parent, model, logs):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def in_workers(kind, name):
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        if kind in NAMES:
            compared(kind, small(name, max_iter=2), folder)
        else:
            {"ensembles": ensembles, "nested": nested, "killed": killed}[name](folder)


def test_workers():
    """In one process, since it and each of its workers take a second or two to begin."""
    cases = [[backend, name] for backend, names in NAMES.items() for name in names]
    cases += [["together", name] for name in ("ensembles", "nested", "killed")]
    for case, ended in zip(cases, run_all(in_workers, cases)):
        assert ended.error == "", (case, ended)
