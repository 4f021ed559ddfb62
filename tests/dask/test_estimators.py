"""The estimators over chunks as estimators: parameters, copies, predictions, errors."""
from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from dask_data import LABELS, NUMBER, WEIGHTS, X, chunked, cluster, da, distributed, frame
from sklearn.base import clone, is_classifier, is_regressor

from ldl_cy import MLPClassifier, MLPRegressor, optimizers
from ldl_cy.dask import DaskMLPClassifier, DaskMLPRegressor, DaskRNNClassifier, __all__

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}
CHUNKS = chunked(X), chunked(LABELS)


@pytest.fixture(scope="module")
def client():
    with cluster() as client:
        yield client


@pytest.fixture(scope="module")
def fitted(client):
    return DaskMLPClassifier(**SMALL, solver="lbfgs").fit(*CHUNKS)


@pytest.mark.parametrize("name", __all__)
def test_parameters_are_the_local_ones_and_a_client(name):
    import ldl_cy
    from ldl_cy import dask

    kind, local = getattr(dask, name), getattr(ldl_cy, name.removeprefix("Dask"))
    assert kind().get_params() == {**local().get_params(), "client": None}
    assert is_classifier(kind()) == is_classifier(local()) and is_regressor(kind()) == is_regressor(local())
    assert isinstance(kind(alpha=3.0).set_params(tol=0.5), local)
    assert kind(alpha=3.0).set_params(tol=0.5).get_params() == {
        **local(alpha=3.0, tol=0.5).get_params(), "client": None}
    assert local.__name__ in kind.__doc__
    with pytest.raises(TypeError, match="argument 'beta'"):
        kind(beta=1)


def test_the_client_is_kept_but_not_pickled(client):
    model = DaskMLPClassifier(**SMALL, client=client).fit(*CHUNKS)
    assert model.client_ is client and DaskMLPClassifier().client_ is distributed.default_client()
    copied = clone(model)
    assert copied.client is client and copied.get_params() == model.get_params()
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.client is None and model.client is client
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_to_local_is_the_plain_estimator_with_numbers_of_its_own(fitted):
    local = fitted.to_local()
    assert type(local) is MLPClassifier and local.get_params() == MLPClassifier(**SMALL, solver="lbfgs").get_params()
    np.testing.assert_array_equal(local.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(local.coefs_[0], fitted.coefs_[0])
    local.coefs_[0][...] = 0
    assert fitted.coefs_[0].any()
    assert type(DaskMLPRegressor().to_local()) is MLPRegressor


@pytest.mark.parametrize("name", ["predict", "predict_proba", "predict_log_proba", "transform"])
def test_predictions_are_dask_arrays(fitted, monkeypatch, name):
    local = getattr(fitted.to_local(), name)(X)
    with monkeypatch.context() as patch:
        patch.setattr(fitted, "client", object(), raising=False)            # nothing is computed
        lazy = getattr(fitted, name)(da.from_array(X, chunks=(70, 4)))
    assert isinstance(lazy, da.Array) and lazy.dtype == local.dtype and lazy.shape == local.shape
    assert lazy.chunks[0] == (70, 70, 70, 70, 20) and type(lazy._meta) is np.ndarray
    np.testing.assert_array_equal(lazy.compute(), local)
    assert isinstance(getattr(fitted, name)(X), np.ndarray)
    later = getattr(fitted, name)(chunked(X)[chunked(X)[:, 0] > 0])
    np.testing.assert_array_equal(later.compute(), getattr(fitted.to_local(), name)(X[X[:, 0] > 0]))


def test_methods_are_those_of_the_local_estimator(client, fitted):
    assert not hasattr(fitted, "decision_function") and not hasattr(DaskMLPRegressor(), "predict_proba")
    assert not hasattr(fitted, "partial_fit")
    codes = DaskMLPClassifier(**SMALL, solver="ridge").fit(*CHUNKS)
    assert not hasattr(codes, "predict_proba")
    np.testing.assert_array_equal(codes.decision_function(CHUNKS[0]).compute(), codes.decision_function(X))


def test_scores(client, fitted):
    assert fitted.score(*CHUNKS, chunked(WEIGHTS)) == pytest.approx(fitted.to_local().score(X, LABELS, WEIGHTS))
    assert fitted.score(X, LABELS) == fitted.score(*CHUNKS)
    numbers = DaskMLPRegressor(**SMALL).fit(CHUNKS[0], chunked(NUMBER))
    assert numbers.score(CHUNKS[0], chunked(NUMBER)) == pytest.approx(numbers.to_local().score(X, NUMBER))


def test_frames(client):
    table = frame(**{f"f{i}": column for i, column in enumerate(X.T)}, y=LABELS, weight=WEIGHTS)
    features, local = table[[f"f{i}" for i in range(6)]], table.compute()
    model = DaskMLPClassifier(**SMALL, solver="lbfgs").fit(features, table.y, table.weight)
    plain = MLPClassifier(**SMALL, solver="lbfgs").fit(features.compute(), local.y, local.weight)
    assert list(model.feature_names_in_) == list(plain.feature_names_in_)
    np.testing.assert_allclose(model.model_.theta, plain.model_.theta, 1e-9, 1e-9)
    predicted = model.predict(features)
    assert isinstance(predicted, da.Array)
    np.testing.assert_array_equal(predicted.compute(), plain.predict(features.compute()))
    assert model.predict_proba(features).compute().shape == (len(X), 3)
    assert model.score(features, table.y) == pytest.approx(plain.score(features.compute(), local.y))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(features.rename(columns={"f0": "other"}))


def test_callbacks_and_lines_are_the_clients(client, capsys):
    seen = []
    DaskMLPClassifier(**SMALL, verbose=True, callbacks=lambda model, logs: seen.append(logs["loss"])).fit(*CHUNKS)
    assert len(seen) == 5
    assert capsys.readouterr().out.splitlines() == [
        f"Iteration {i}, loss = {loss:.8f}" for i, loss in enumerate(seen, 1)]
    stopped = DaskMLPClassifier(**SMALL, callbacks=lambda model, logs: model.epoch == 2).fit(*CHUNKS)
    assert stopped.n_iter_ == 2 and stopped.stop_reason_ == "callback"


def broken(number):
    rows = X.copy()
    rows[200, 3] = number
    return chunked(rows)


@pytest.mark.parametrize(("fit", "error", "message"), [
    (lambda model: model.fit(X, LABELS), TypeError, "X must be a dask array or dataframe, got ndarray"),
    (lambda model: model.fit(CHUNKS[0], LABELS), TypeError, "y must be a dask array or dataframe, got ndarray"),
    (lambda model: model.fit(broken(np.nan), CHUNKS[1]), ValueError, "Input X contains NaN"),
    (lambda model: model.fit(broken(np.inf), CHUNKS[1]), ValueError, "Input X contains infinity"),
    (lambda model: model.fit(CHUNKS[0], chunked(LABELS[:200])), ValueError, r"inconsistent .*: \[300, 200\]"),
    (lambda model: model.fit(CHUNKS[0], chunked(NUMBER)), ValueError, "Unknown label type: continuous"),
    (lambda model: model.fit(chunked(NUMBER), CHUNKS[1]), ValueError, "Expected 2D array, got 1D array"),
    (lambda model: model.fit(*CHUNKS, chunked(-WEIGHTS)), ValueError, "Negative values"),
    (lambda model: model.fit(*CHUNKS, chunked(0 * WEIGHTS)), ValueError, "at least one non-zero number"),
    (lambda model: model.fit(CHUNKS[0][:0], CHUNKS[1][:0]), ValueError, r"Found array with 0 sample\(s\)"),
    (lambda model: model.fit(CHUNKS[0][CHUNKS[0][:, 0] > 0], chunked(LABELS, 100)), ValueError,
     "y must have as many chunks as X, 5"),
    (lambda model: model.fit(CHUNKS[0][CHUNKS[0][:, 0] > 0], CHUNKS[1]), ValueError, "inconsistent numbers of samples"),
    (lambda model: model.set_params(early_stopping=True).fit(*CHUNKS), ValueError, "early_stopping must be False"),
    (lambda model: model.set_params(categorical_features=[0]).fit(*CHUNKS), ValueError, "categorical_features must be"),
    (lambda model: model.set_params(solver="gd").fit(*CHUNKS), ValueError, "solver must search"),
    (lambda model: model.set_params(client=3).fit(*CHUNKS), ValueError, "The 'client' parameter"),
    (lambda model: model.set_params(solver=optimizers.SGD(1e200)).fit(*CHUNKS), ValueError, "non-finite"),
    (lambda model: model.set_params(callbacks=lambda model, logs: 1 / 0).fit(*CHUNKS), ZeroDivisionError, "by zero")])
def test_refused(client, fit, error, message):
    with pytest.raises(error, match=message):
        fit(DaskMLPClassifier(**SMALL))


def test_an_error_leaves_a_fitted_estimator_as_it_was(client):
    model = DaskMLPClassifier(**SMALL).fit(*CHUNKS)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(broken(np.nan), CHUNKS[1])
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert not client.list_datasets()


def test_rows_of_another_shape_are_refused_at_once(fitted):
    with pytest.raises(ValueError, match="X has 4 features, but MLPClassifier is expecting 6"):
        fitted.predict(CHUNKS[0][:, :4])
    with pytest.raises(ValueError, match="reads sequences"):
        DaskRNNClassifier().fit(da.zeros((60, 2, 3, 4)), chunked(LABELS[:60]))


def test_without_dask_the_package_says_what_to_install():
    code = ("import sys; sys.modules['distributed'] = None\ntry:\n    import ldl_cy.dask\n"
            "except ImportError as error:\n    print(error)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == ('ldl_cy.dask: needs the package distributed, which is not installed: pip install '
                           '"ldl_cy[dask]".')
