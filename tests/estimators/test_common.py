"""What holds for every estimator."""
import inspect
import pickle
import re
import warnings

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import EVERY, problem, small

import ldl_cy
from ldl_cy import optimizers
from ldl_cy.layers.activation import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=EVERY)
def name(request):
    return request.param


def fitted(name, **parameters):
    estimator = small(name, **parameters)
    X, y = problem(estimator)
    return estimator.fit(X, y), X, y


def test_attributes(name):
    estimator, X, y = fitted(name, max_iter=3)
    assert estimator.n_features_in_ == 6
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 3
    assert estimator.loss_ == estimator.loss_curve_[-1] >= estimator.best_loss_ == min(estimator.loss_curve_)
    assert estimator.t_ == 3 * len(X)
    assert estimator.validation_scores_ is None and estimator.best_validation_score_ is None
    assert estimator.n_outputs_ == (3 if is_classifier(estimator) else 1)
    assert estimator.out_activation_ == ("softmax" if is_classifier(estimator) else "identity")
    assert estimator.n_layers_ >= 3 - name.startswith("RNN")
    assert type(estimator.model_).__name__ == "Sequential"
    assert estimator.predict(X).shape == y.shape


def test_learns_in_a_pipeline(name):
    estimator = small(name, max_iter=100)
    X, y = problem(estimator, 200)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(100 * X, y)
    assert pipeline.score(100 * X, y) > 0.85


def test_model_selection(name):
    estimator = small(name, max_iter=30)
    X, y = problem(estimator, 90)
    assert np.isfinite(cross_val_score(estimator, X, y, cv=2)).all()
    search = GridSearchCV(estimator, {"alpha": [1e-4, 1e-2]}, cv=2).fit(X, y)
    assert search.best_params_["alpha"] in (1e-4, 1e-2)
    assert search.score(X, y) > 0.4


def test_random_state(name):
    first, X, _ = fitted(name, max_iter=3)
    np.testing.assert_array_equal(first.model_.theta, fitted(name, max_iter=3)[0].model_.theta)
    assert (first.model_.theta != fitted(name, max_iter=3, random_state=1)[0].model_.theta).any()
    given = np.random.RandomState(0)
    second = fitted(name, max_iter=3, random_state=given)[0]
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


def test_pickle_and_clone(name):
    estimator, X, y = fitted(name, max_iter=3)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    np.testing.assert_array_equal(
        again.partial_fit(X, y).model_.theta, estimator.partial_fit(X, y).model_.theta)
    fresh = clone(estimator)
    assert fresh.get_params() == estimator.get_params() and not hasattr(fresh, "model_")
    with pytest.raises(NotFittedError):
        fresh.predict(X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(name, dtype):
    estimator = small(name, max_iter=2)
    X, y = problem(estimator)
    assert estimator.fit(X.astype(dtype), y).model_.dtype == dtype
    assert estimator.fit(np.round(X).astype(int), y).model_.dtype == "float64"
    estimator.set_params(dtype=dtype).fit(X.astype("float32" if dtype == "float64" else "float64"), y)
    assert estimator.model_.dtype == dtype
    if is_classifier(estimator):
        proba, eps = estimator.predict_proba(100 * X), np.finfo(dtype).eps
        assert proba.dtype == dtype and proba.min() >= eps and proba.max() <= 1 - eps


def test_data_frames(name):
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    estimator = small(name, max_iter=2)
    X, y = problem(estimator)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(6)])
    estimator.fit(frame, pd.Series(y))
    assert list(estimator.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(estimator.predict(frame), clone(estimator).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="The feature names should match"):
        estimator.predict(frame.rename(columns={"x0": "other"}))


@pytest.mark.parametrize("parameter, value, message", [
    ("alpha", -1, "The 'alpha' parameter of {name} must be a float in the range"),
    ("solver", "magic", "The 'solver' parameter of {name} must be"),
    ("batch_size", 0, "The 'batch_size' parameter of {name} must be a str among"),
    ("dtype", "int8", "The 'dtype' parameter of {name} must be"),
    ("n_threads", 0, "The 'n_threads' parameter of {name} must be"),
])
def test_parameters_are_checked(name, parameter, value, message):
    estimator = small(name, **{parameter: value})
    with pytest.raises(ValueError, match=message.format(name=name)):
        estimator.fit(*problem(estimator))


def test_data_is_checked(name):
    estimator = small(name, max_iter=2)
    X, y = problem(estimator)
    for bad in (np.nan, np.inf):
        spoiled = X.copy()
        spoiled[3, 2] = bad
        with pytest.raises(ValueError, match="Input X contains"):
            estimator.fit(spoiled, y)
    with pytest.raises(ValueError, match="Found input variables with inconsistent numbers of samples"):
        estimator.fit(X, y[1:])
    estimator.fit(X, y)
    with pytest.raises(ValueError, match=r"X has 5 features, but .* is expecting 6 features as input"):
        estimator.predict(X[:, 1:])
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        estimator.fit(X, y, sample_weight=-np.ones(len(X)))


def test_threads_change_nothing(name):
    one = fitted(name, max_iter=2, n_threads=1)[0]
    np.testing.assert_array_equal(one.model_.theta, fitted(name, max_iter=2, n_threads=2)[0].model_.theta)


def test_says_when_it_did_not_converge(name):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        fitted(name, max_iter=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted(name, max_iter=50, tol=100.0, n_iter_no_change=2)[0].n_iter_ == 4


@pytest.mark.parametrize("name", EVERY)
def test_docstrings_are_whole_and_name_what_the_tables_have(name):
    """Every parameter begins a line of its own, every solver and activation is named."""
    kind = getattr(ldl_cy, name)
    text = kind.__doc__
    assert "%(" not in text
    for parameter in inspect.signature(kind).parameters:
        assert re.search(rf"^({parameter}|.*, {parameter})(, .*)? : ", text, re.M), parameter
    for solver in optimizers.OPTIMIZERS:
        assert f"'{solver}'" in text, solver
    if not name.startswith("NeuralNet"):
        for activation in set(ACTIVATIONS) - {"softmax"}:
            assert f"'{activation}'" in text, activation
