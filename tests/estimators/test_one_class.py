"""Targets of one class, and labels that all rows have or none has, as scikit-learn treats them."""
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn import neural_network

import ldl_cy

X = np.random.default_rng(0).standard_normal((60, 3))
TARGETS = {
    "str": np.array(["a"] * 60), "int": np.full(60, 7), "bool": np.zeros(60, bool), "float": np.full(60, 2.0),
    "object": np.array(["a"] * 60, object), "column": np.ones((60, 1), int), "negative": np.full(60, -1),
    "no label": np.zeros((60, 2), int), "every label": np.ones((60, 2), int),
    "one label": np.c_[np.ones(60), X[:, 0] > 0].astype(int),
}


def answers(est):
    right = np.repeat(est.classes_[:1], len(X))
    return {
        "classes_": est.classes_, "predict": est.predict(X), "score": est.score(X, right)
        if len(est.classes_) == 1 else 0, "outputs": (est.n_outputs_, est.out_activation_, est.n_iter_),
        "proba": est.predict_proba(X).round(8), "log_proba": est.predict_log_proba(X).round(8),
        "scores": np.round(getattr(est, "validation_scores_", None) or [], 8)}


def same(ours, theirs):
    for name, value in answers(ours).items():
        assert_array_equal(value, answers(theirs)[name], err_msg=name, strict=name != "scores")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_fit(name, early_stopping):
    options = {"random_state": 0, "early_stopping": early_stopping, "max_iter": 15}
    same(*[kind(**options).fit(X, TARGETS[name]) for kind in (
        ldl_cy.MLPClassifier, neural_network.MLPClassifier)])


@pytest.mark.parametrize("name", TARGETS)
def test_partial_fit_and_warm_start(name):
    y = TARGETS[name]
    classes = [0, 1] if y.ndim == 2 and y.shape[1] == 2 else np.unique(y)
    for given in (classes, classes[::-1]):
        same(*[kind(random_state=0).partial_fit(X, y, classes=given).partial_fit(X, y) for kind in (
            ldl_cy.MLPClassifier, neural_network.MLPClassifier)])
    same(*[kind(random_state=0, warm_start=True, max_iter=1).fit(X, y) for kind in (
        ldl_cy.MLPClassifier, neural_network.MLPClassifier)])


@pytest.mark.parametrize("kind", [
    ldl_cy.MLPClassifier, ldl_cy.CNNClassifier, ldl_cy.RNNClassifier, ldl_cy.NeuralNetClassifier])
def test_every_classifier_is_right(kind):
    """From the first epoch on: there is nothing else to predict."""
    est = kind(random_state=0, early_stopping=True, max_iter=3).fit(X, TARGETS["str"])
    assert est.validation_scores_ == [1.0] * est.n_iter_ and est.score(X, TARGETS["str"]) == 1.0
    est = kind(random_state=0, max_iter=2).fit(X, TARGETS["str"], X_val=X, y_val=TARGETS["str"])
    assert est.validation_scores_ == [1.0, 1.0] and est.best_validation_score_ == 1.0
