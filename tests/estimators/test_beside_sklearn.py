"""The same seed gives scikit-learn's MLP: its initial weights, held-out rows, orders of rows, curves and scores."""
import numpy as np
import pytest
import sklearn
import sklearn.neural_network as reference
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
    make_classification,
    make_friedman1,
    make_moons,
    make_multilabel_classification,
    make_regression,
)
from sklearn.preprocessing import scale
from sklearn.utils.fixes import parse_version

import ldl_cy

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def scaled(X, y):
    return scale(X), scale(y) if np.asarray(y).dtype.kind == "f" else y


DATA = {
    "iris": load_iris(return_X_y=True),
    "wine": load_wine(return_X_y=True),
    "breast cancer": load_breast_cancer(return_X_y=True),
    "digits": load_digits(return_X_y=True),
    "moons": make_moons(150, noise=0.2, random_state=0),
    "string labels": (lambda X, y: (X, np.array(["no", "yes"])[y]))(*make_classification(120, random_state=0)),
    "labels": make_multilabel_classification(120, random_state=0),
    "diabetes": load_diabetes(return_X_y=True),
    "two outputs": make_regression(130, 8, n_targets=2, random_state=0),
    "linnerud": load_linnerud(return_X_y=True),
    "friedman": make_friedman1(150, random_state=0),
}
SETTINGS = {
    "adam": {"solver": "adam"},
    "adam, logistic": {"solver": "adam", "activation": "logistic", "hidden_layer_sizes": (20, 10)},
    "adam, tanh, one batch": {"solver": "adam", "activation": "tanh", "batch_size": 10000},
    "adam, early stopping": {"solver": "adam", "early_stopping": True, "validation_fraction": 0.3},
    "adam, in order": {"solver": "adam", "shuffle": False, "alpha": 0.1},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "sgd, classical momentum": {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 2},
    "lbfgs": {"solver": "lbfgs"},
}


@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", DATA)
def test_curve_and_score(name, setting):
    X, y = scaled(*DATA[name])
    kind = "MLPRegressor" if y.dtype.kind == "f" else "MLPClassifier"
    parameters = {"max_iter": 12, "random_state": 3, **SETTINGS[setting]}
    if setting == "adam, early stopping" and y.dtype.kind == "U" and parse_version(sklearn.__version__) < (
            parse_version("1.9")):
        pytest.skip("this scikit-learn asks strings whether they are NaN")
    theirs = getattr(reference, kind)(**parameters).fit(X, y)
    ours = getattr(ldl_cy, kind)(**parameters).fit(X, y)
    assert (ours.n_iter_, ours.t_, ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (
        theirs.n_iter_, theirs.t_, theirs.n_layers_, theirs.n_outputs_, theirs.out_activation_)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    if setting != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-11)
        assert ours.validation_scores_ == (theirs.validation_scores_ if theirs.early_stopping else None) or (
            ours.validation_scores_ == pytest.approx(theirs.validation_scores_, rel=1e-9))
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-6)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_predictions_of_given_weights(kind):
    X, y = scaled(*DATA["iris" if kind == "MLPClassifier" else "friedman"])
    theirs = getattr(reference, kind)(hidden_layer_sizes=(7, 5), max_iter=5, random_state=0).fit(X, y)
    ours = getattr(ldl_cy, kind)(hidden_layer_sizes=(7, 5), max_iter=1, random_state=1).fit(X, y)
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    for method in ("predict", "predict_proba")[:1 + (kind == "MLPClassifier")]:
        np.testing.assert_allclose(getattr(ours, method)(X), getattr(theirs, method)(X), rtol=1e-12, atol=1e-15)


def test_a_random_state_object_moves_on_as_theirs():
    X, y = scaled(*DATA["wine"])
    states = np.random.RandomState(5), np.random.RandomState(5)
    for cls, state in zip((reference.MLPClassifier, ldl_cy.MLPClassifier), states):
        cls(max_iter=3, early_stopping=True, random_state=state).fit(X, y)
    assert states[0].randint(2**31) == states[1].randint(2**31)
