"""What travels between processes, what happens if one dies, and searches by joblib's backend."""
from __future__ import annotations

import os
import signal
import threading
import time

import joblib
import numpy as np
import pytest
from dask_data import LABELS, ROWS, X, chunked, cluster
from sklearn.model_selection import GridSearchCV

from ldl_cy import CNNClassifier, RNNClassifier
from ldl_cy.dask import DaskMLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
MANY = np.tile(X, (20, 5))              # chunks of 140 kB for weights of 2 kB
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 6, "random_state": 0}


@pytest.fixture(scope="module")
def client():
    with cluster(processes=True) as client:
        yield client


def fit(solver, **parameters):
    model = DaskMLPClassifier(**{**SMALL, **parameters}, solver=solver)
    return model.fit(chunked(MANY, 20 * ROWS), chunked(np.tile(LABELS, 20), 20 * ROWS))


def test_chunks_stay_on_their_workers(client):
    def sent(dask_worker):
        """What a worker has sent to others and to clients: (keys, bytes)."""
        return [(tuple(map(str, log["keys"])), log["total"]) for log in dask_worker.transfer_outgoing_log]

    fit("lbfgs")
    found = [entry for entries in client.run(sent).values() for entry in entries]
    assert any("value-and-grad" in key for keys, _ in found for key in keys)
    assert not any("-read-" in key for keys, _ in found for key in keys)
    # nor are the rows of which they were made sent to the client, but only to where they are read
    assert all(total < 20 * ROWS * MANY.itemsize * MANY.shape[1] for keys, total in found
               if any("ldl_cy" in key for key in keys))


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_worker_that_dies(client, solver):
    def kill(model, logs):
        if model.epoch == 2:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    undisturbed, killed = fit(solver), fit(solver, callbacks=kill)
    np.testing.assert_array_equal(killed.model_.theta, undisturbed.model_.theta)
    assert killed.n_iter_ == 6
    client.wait_for_workers(2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_an_interrupt_ends_the_fit_with_a_usable_model(client, solver):
    timers = []

    def interrupt(model, logs):
        # while the next epoch runs; Python drops an interrupt that arrives in a __del__, and then there is another one
        if not (timers and timers[-1].is_alive()):
            timers.append(threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)))
            timers[-1].start()

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = fit(solver, callbacks=interrupt, max_iter=10000, max_fun=10**6, tol=0, n_iter_no_change=np.inf)
    assert model.stop_reason_ == "interrupted" and np.isfinite(model.predict_proba(MANY[:9])).all()
    assert not client.list_datasets()
    # workers end a cancelled task by themselves, some time after the client has left: only a task that stays is a fault
    deadline = time.monotonic() + 20
    while any(client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(client.processing().values())


@pytest.mark.parametrize("estimator", [
    CNNClassifier(filters=4, input_shape=(6, 1), max_iter=3, random_state=0),
    RNNClassifier(units=4, max_iter=3, random_state=0)], ids=lambda estimator: type(estimator).__name__)
def test_a_search_by_joblibs_backend(client, estimator):
    scores = []
    for backend in ("threading", "dask"):
        with joblib.parallel_config(backend):
            search = GridSearchCV(estimator, {"learning_rate_init": [0.001, 0.1]}, cv=2).fit(X, LABELS)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)
    assert search.best_estimator_.predict(X).shape == (len(X),)
