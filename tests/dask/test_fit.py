"""Fits over chunks: the local estimator's, up to the order of sums, with the same bits for any number of workers."""
from __future__ import annotations

import zlib

import numpy as np
import pytest
from dask_data import LABELS, NUMBER, RNG, ROWS, WEIGHTS, X, chunked, cluster, da
from scipy.sparse import csr_matrix
from sklearn.base import is_classifier

import ldl_cy
from ldl_cy import Sequential, layers, optimizers, schedules
from ldl_cy import dask as over_chunks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0}
FULL_BATCH = {
    "lbfgs": "lbfgs", "cg": "cg", "lm": "lm", "ridge": "ridge", "gd": optimizers.GD(0.1, line_search=True),
    "gauss_newton_cg": optimizers.GaussNewtonCG(max_products=3)}
IMAGES = RNG.normal(size=(90, 8, 8, 1))
SEQUENCES = RNG.normal(size=(90, 7, 2))
ENDING = SEQUENCES.copy()
ENDING[40:50, 4:] = np.nan


@pytest.fixture(scope="module")
def client():
    with cluster() as client:
        yield client


def pair(name, **parameters):
    """The estimator over chunks, and the local one."""
    return getattr(over_chunks, f"Dask{name}")(**parameters), getattr(ldl_cy, name)(**parameters)


def theta_of(estimator):
    return estimator.model_.theta


def check_like_local(dask_estimator, local, rtol=1e-6):
    """The weights and what was recorded, up to rounding."""
    np.testing.assert_allclose(theta_of(dask_estimator), theta_of(local), rtol, rtol)
    np.testing.assert_allclose(dask_estimator.loss_curve_, local.loss_curve_, rtol)
    assert dask_estimator.n_iter_ == local.n_iter_ and dask_estimator.t_ == local.t_
    assert dask_estimator.stop_reason_ == local.stop_reason_
    assert vars(local).keys() == vars(dask_estimator).keys() - {"client"}


def test_any_number_of_workers_gives_the_same_bits():
    solvers = {**FULL_BATCH, "adam": "adam", "sgd": "sgd"}
    found = {name: set() for name in solvers}
    for n_workers in (1, 2, 3):
        with cluster(n_workers, threads=2):
            for name, solver in solvers.items():
                model = over_chunks.DaskMLPClassifier(**{**SMALL, "max_iter": 3}, solver=solver)
                model.fit(chunked(X), chunked(LABELS))
                found[name].add((zlib.crc32(theta_of(model)), tuple(model.loss_curve_)))
    assert {name: len(bits) for name, bits in found.items()} == dict.fromkeys(solvers, 1)


@pytest.mark.parametrize("solver", FULL_BATCH)
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_full_batch_methods(client, name, solver):
    ours, local = pair(name, **SMALL, solver=FULL_BATCH[solver])
    y = LABELS if is_classifier(local) else np.stack([NUMBER, X[:, 2] ** 2], axis=1)
    check_like_local(ours.fit(chunked(X), chunked(y), chunked(WEIGHTS)), local.fit(X, y, WEIGHTS))


@pytest.mark.parametrize("parameters", [
    {}, {"dropout": 0.3}, {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1},
    {"solver": optimizers.SGD(schedules.Cosine(0.1), momentum=0.9, ema=0.9)}, {"alpha": 0.1, "dtype": "float32"}])
def test_steps_in_order_are_the_local_ones(client, parameters):
    ours, local = pair("MLPClassifier", **SMALL, **parameters, shuffle=False, batch_size=20)
    ours.fit(chunked(X, 100), chunked(LABELS, 100), chunked(WEIGHTS, 100))
    local.fit(X, LABELS, WEIGHTS)
    np.testing.assert_array_equal(theta_of(ours), theta_of(local))
    check_like_local(ours, local)


def test_rows_are_shuffled_within_chunks(client):
    """Batches that are chunks: another order of their rows changes no sum but by rounding."""
    kept, shuffled = (over_chunks.DaskMLPRegressor(**SMALL, shuffle=shuffle, batch_size=ROWS)
                      .fit(chunked(X), chunked(NUMBER)) for shuffle in (False, True))
    np.testing.assert_allclose(theta_of(shuffled), theta_of(kept), 1e-9, 1e-12)
    smaller = over_chunks.DaskMLPRegressor(**SMALL, batch_size=10).fit(chunked(X), chunked(NUMBER))
    assert smaller.model_.step == 6 * 30 and smaller.t_ == 6 * len(X)
    assert np.abs(theta_of(smaller) - theta_of(over_chunks.DaskMLPRegressor(
        **SMALL, batch_size=10, shuffle=False).fit(chunked(X), chunked(NUMBER)))).max() > 1e-4


@pytest.mark.parametrize(("name", "rows", "parameters"), [
    ("CNNClassifier", IMAGES, {"filters": 4}), ("CNNRegressor", IMAGES, {"filters": 4, "solver": "lbfgs"}),
    ("CNNClassifier", IMAGES.reshape(90, 64), {"filters": 4, "input_shape": (8, 8, 1), "solver": "lbfgs"}),
    ("CNNClassifier", IMAGES, {"filters": 4, "batch_norm": True}), ("RNNClassifier", SEQUENCES, {"units": 4}),
    ("RNNRegressor", ENDING, {"units": 4, "solver": "lbfgs"}), ("RNNRegressor", ENDING, {"units": 4}),
    ("NeuralNetRegressor", SEQUENCES, {"layers": [layers.Flatten(), layers.Dense(4, "tanh")]}),
    ("NeuralNetClassifier", IMAGES, {"layers": [layers.Conv2D(2, 3), layers.Flatten()], "solver": "lbfgs"})])
def test_every_family(client, name, rows, parameters):
    ours, local = pair(name, **parameters, max_iter=3, random_state=0, shuffle=False, batch_size=10)
    y = np.nan_to_num(rows.reshape(90, -1)).sum(axis=1)
    y = (y > 0).astype(np.int8) if is_classifier(local) else y
    columns = (30, *(-(-size // 2) for size in rows.shape[1:]))       # chunks of columns are joined
    ours.fit(da.from_array(rows, chunks=columns), chunked(y, 45))
    check_like_local(ours, local.fit(rows, y), 1e-5)
    if is_classifier(local):
        np.testing.assert_array_equal(ours.classes_, local.classes_)
        assert ours.classes_.dtype == local.classes_.dtype
    np.testing.assert_allclose(ours.predict(chunked(rows)), local.predict(rows), 1e-5)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_model_with_frozen_layers(client, solver):
    model = Sequential([layers.Dense(5, "relu", trainable=False), layers.Dense(4, "tanh")], random_state=0).build(6)
    ours, local = pair("NeuralNetRegressor", layers=model, solver=solver, max_iter=5, random_state=0, shuffle=False,
                       batch_size=20)
    check_like_local(ours.fit(chunked(X, 100), chunked(NUMBER, 100)), local.fit(X, NUMBER))


def test_ridge_chooses_alpha(client):
    ours, local = pair("MLPRegressor", **SMALL, solver="ridge", alphas=[0.01, 1.0, 100.0])
    check_like_local(ours.fit(chunked(X), chunked(NUMBER)), local.fit(X, NUMBER))
    assert ours.alpha_ == local.alpha_
    assert ours.best_score_ == pytest.approx(local.best_score_)
    # fewer rows than twice the features: by QR decompositions
    ours, local = pair("MLPRegressor", **{**SMALL, "hidden_layer_sizes": (200,)}, solver="ridge", alpha=0.1)
    check_like_local(ours.fit(chunked(X), chunked(NUMBER)), local.fit(X, NUMBER))


@pytest.mark.parametrize("class_weight", ["balanced", {"low": 3.0}])
def test_weights_of_classes_that_a_chunk_lacks(client, class_weight):
    order = np.argsort(LABELS)
    ours, local = pair("MLPClassifier", **SMALL, solver="lbfgs", class_weight=class_weight)
    ours.fit(chunked(X[order]), chunked(LABELS[order]))
    check_like_local(ours, local.fit(X[order], LABELS[order]))


@pytest.mark.parametrize("class_weight", [None, "balanced", [{1: 2.0}] * 3])
def test_several_labels(client, class_weight):
    y = (X[:, :3] > 0).astype(int)
    ours, local = pair("MLPClassifier", **SMALL, solver="lbfgs", class_weight=class_weight)
    check_like_local(ours.fit(chunked(X), da.from_array(y, chunks=(100, 2))), local.fit(X, y))
    np.testing.assert_array_equal(ours.predict(chunked(X)), local.predict(X))


def test_a_warm_start_continues(client):
    ours, local = pair("MLPClassifier", **SMALL, warm_start=True, shuffle=False, batch_size=20)
    for _ in range(2):
        ours.fit(chunked(X, 100), chunked(LABELS, 100))
        local.fit(X, LABELS)
    np.testing.assert_array_equal(theta_of(ours), theta_of(local))
    assert len(ours.loss_curve_) == 12


def test_chunks_of_unknown_sizes_some_without_rows(client):
    known = np.arange(len(X)) // ROWS != 2
    keep = chunked(known)
    ours, local = pair("MLPClassifier", **SMALL, solver="lbfgs")
    ours.fit(chunked(X)[keep], chunked(LABELS)[keep], chunked(WEIGHTS)[keep])
    check_like_local(ours, local.fit(X[known], LABELS[known], WEIGHTS[known]))
    assert ours.predict(chunked(X)[keep]).compute().shape == ours.transform(chunked(X)[keep]).compute().shape[:1]
    assert ours.predict(chunked(X)[keep]).compute().shape == (known.sum(),)


def test_a_chunk_without_weight(client):
    weights = np.where(np.arange(len(X)) < ROWS, 0.0, WEIGHTS)
    for solver in ("lbfgs", "ridge"):
        ours, local = pair("MLPClassifier", **SMALL, solver=solver)
        check_like_local(ours.fit(chunked(X), chunked(LABELS), chunked(weights)), local.fit(X, LABELS, weights))
    ours = over_chunks.DaskMLPClassifier(**SMALL).fit(chunked(X), chunked(LABELS), chunked(weights))
    assert ours.model_.step == 6 * 4


@pytest.mark.parametrize("solver", ["lbfgs", "ridge", "adam"])
def test_chunks_of_sparse_rows(client, solver):
    rows = np.where(np.abs(X) > 1, X, 0.0)
    sparse = chunked(rows, 100).map_blocks(csr_matrix)
    ours, local = pair("MLPClassifier", **SMALL, solver=solver, shuffle=False, batch_size=20)
    check_like_local(ours.fit(sparse, chunked(LABELS, 100)), local.fit(rows, LABELS))
    np.testing.assert_array_equal(ours.predict(sparse).compute(), local.predict(rows))
