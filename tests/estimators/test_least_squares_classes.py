"""Classifiers fitted by squared errors: codes -1 and 1, decision values, and no probabilities."""
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_estimators import CLASSIFIERS, small

from ldl_cy import MLPClassifier, MLPRegressor, NeuralNetClassifier, interop, losses, optimizers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALLER = {"MLP": {"hidden_layer_sizes": 4}, "CNN": {"filters": 2, "hidden_layer_sizes": 4},
           "RNN": {"units": 3}, "NeuralNet": {}}


def least_squares(name, **parameters):
    """A network of few weights, fitted by Levenberg and Marquardt's method."""
    sizes = {} if name.startswith("NeuralNet") else {"activation": "tanh"}
    sizes |= SMALLER[name.removesuffix("Classifier")]
    return small(name, **{"solver": "lm", "max_iter": 15, "alpha": 0.01, **sizes, **parameters})


def classes(k, n=90):
    """Rows and labels of k classes, which are words."""
    X = np.random.default_rng(0).normal(size=(n, 6))
    number = X[:, 0] + 0.5 * X[:, 1]
    return X, np.array(["d", "a", "c", "b"])[np.digitize(number, np.quantile(number, np.arange(1, k) / k))]


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classes(name, k):
    clf, (X, y) = least_squares(name), classes(k)
    clf.fit(X, y)
    values = clf.decision_function(X)
    assert clf.out_activation_ == "identity" and values.shape == ((len(X),) if k == 2 else (len(X), k))
    chosen = (values > 0).astype(int) if k == 2 else values.argmax(axis=1)
    np.testing.assert_array_equal(clf.predict(X), np.unique(y)[chosen])
    assert clf.score(X, y) == accuracy_score(y, clf.predict(X)) > 0.7
    raw = clf.model_.predict(X.reshape(len(X), *clf.model_.input_shape))
    np.testing.assert_array_equal(values, raw.ravel() if k == 2 else raw)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_bits_as_a_regressor_of_the_codes(k, dtype, weighted):
    X, y = classes(k)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X)) if weighted else None
    settings = {"solver": "lm", "hidden_layer_sizes": 5, "activation": "tanh", "max_iter": 12, "alpha": 0.1,
                "random_state": 0, "dtype": dtype}
    codes = LabelBinarizer(neg_label=-1).fit_transform(y)
    clf = MLPClassifier(**settings).fit(X, y, weight)
    reg = MLPRegressor(**settings).fit(X, codes.ravel() if k == 2 else codes, weight)
    np.testing.assert_array_equal(clf.model_.theta, reg.model_.theta)
    np.testing.assert_array_equal(clf.decision_function(X), reg.predict(X))
    assert clf.loss_curve_ == reg.loss_curve_ and clf.decision_function(X).dtype == dtype


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 3.0, "d": 0.5}])
def test_without_hidden_layers_it_is_ridge_regression(k, class_weight):
    """½ Σ w r² / Σw + ½ alpha ‖W‖² / Σw: Ridge's objective with the same alpha."""
    X, y = classes(k)
    ridge = RidgeClassifier(alpha=3.0, class_weight=class_weight).fit(X, y)
    clf = MLPClassifier((), solver="lm", alpha=3.0, tol=1e-10, max_iter=200, class_weight=class_weight,
                        random_state=0).fit(X, y)
    np.testing.assert_allclose(clf.decision_function(X), ridge.decision_function(X), atol=1e-7)
    np.testing.assert_array_equal(clf.predict(X), ridge.predict(X))


def test_several_labels():
    X, y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
    X = (X - X.mean()) / X.std()
    ridge = RidgeClassifier(alpha=2.0).fit(X, y)
    clf = MLPClassifier((), solver="lm", alpha=2.0, tol=1e-10, random_state=0).fit(X, y)
    np.testing.assert_allclose(clf.decision_function(X), ridge.decision_function(X), atol=1e-7)
    np.testing.assert_array_equal(clf.predict(X), ridge.predict(X))
    assert clf.multilabel_ and clf.score(X, y) == ridge.score(X, y)
    assert not MLPClassifier(solver="lm", max_iter=2).fit(X, y[:, 0]).multilabel_


@pytest.mark.parametrize("solver", ["lm", optimizers.LevenbergMarquardt(bayesian=True)], ids=repr)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_methods_that_there_are(name, solver):
    clf = least_squares(name, solver=solver, max_iter=3)
    X, y = classes(3)
    for _ in range(2):                  # before and after the fit
        assert hasattr(clf, "decision_function")
        for method in ("predict_proba", "predict_log_proba"):
            with pytest.raises(AttributeError, match=f"'{name}' has no attribute '{method}'"):
                getattr(clf, method)
        clf.fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.decision_function(X), clf.decision_function(X))
    with pytest.raises(NotFittedError):
        clone(clf).decision_function(X)
    # what is fitted counts, not the solver of the next fit
    clf.set_params(solver="adam")
    assert hasattr(clf, "decision_function") and not hasattr(clf, "predict_proba")
    clf.fit(X, y)
    assert not hasattr(clf, "decision_function") and hasattr(clf, "predict_proba")


def test_warm_starts_change_between_the_kinds():
    X, y = classes(3)
    clf = MLPClassifier(5, activation="tanh", max_iter=20, random_state=0, warm_start=True).fit(X, y)
    before = clf.model_.theta.copy()
    clf.set_params(solver="lm", alpha=0.1).fit(X, y)
    assert clf.out_activation_ == "identity" and clf.score(X, y) > 0.9 and (clf.model_.theta != before).any()
    clf.set_params(solver="lbfgs").fit(X, y)
    assert clf.out_activation_ == "softmax"
    np.testing.assert_array_equal(np.unique(y)[clf.predict_proba(X).argmax(axis=1)], clf.predict(X))
    # a refused fit leaves the kind as well
    with pytest.raises(ValueError, match="Negative values"):
        clf.set_params(solver="lm").fit(X, y, -np.ones(len(X)))
    assert clf.out_activation_ == "softmax" and hasattr(clf, "predict_proba")


@pytest.mark.parametrize("name", ["NeuralNetClassifier", "CNNClassifier"])
@pytest.mark.parametrize("k", [2, 3])
def test_early_stopping_and_validation_rows(name, k):
    X, y = classes(k, 200)
    clf = least_squares(name, early_stopping=True, max_iter=6).fit(X, y)
    assert len(clf.validation_scores_) == clf.n_iter_
    random_state = np.random.RandomState(0)
    random_state.randint(2**31 - 1)             # the network's seed
    # stratified by class, as with other solvers
    held = train_test_split(np.arange(200), test_size=0.1, random_state=random_state, stratify=y)[1]
    assert clf.best_validation_score_ == max(clf.validation_scores_) == clf.score(X[held], y[held])
    X_val, y_val = classes(k, 50)
    clf = least_squares(name, max_iter=3).fit(X, y, X_val=X_val, y_val=y_val)
    assert clf.validation_scores_[-1] == clf.score(X_val, y_val)


def test_one_class():
    X = np.random.default_rng(0).normal(size=(20, 3))
    clf = MLPClassifier(3, solver="lm", max_iter=5, random_state=0).fit(X, ["only"] * 20)
    assert set(clf.predict(X)) == {"only"} and clf.score(X, ["only"] * 20) == 1
    assert (clf.decision_function(X) < 0).all()         # the code of the first class is -1


def test_scores_by_decision_values():
    X, y = classes(2)
    assert (cross_val_score(least_squares("MLPClassifier"), X, y, scoring="roc_auc", cv=3) > 0.9).all()


def test_losses_of_probabilities_are_refused():
    X, y = classes(3)
    with pytest.raises(ValueError, match="loss must be 'auto' with solver='lm', which fits classes by squared errors"):
        NeuralNetClassifier(loss=losses.LogLoss(), solver="lm").fit(X, y)


@pytest.mark.parametrize("k", [1, 2, 3, "labels"])
def test_to_onnx(k):
    pytest.importorskip("onnx", reason="the extra 'test' brings onnx, which writes and runs the graph")
    from onnx_reference import run

    X, y = classes(3) if k in (1, "labels") else classes(k)
    if k == 1:
        y = np.full(len(X), "only")
    elif k == "labels":
        y = np.column_stack([y == "a", y == "c", X[:, 2] > 0]).astype(int)
    clf = MLPClassifier(4, solver="lm", activation="tanh", max_iter=5, random_state=0).fit(X.astype("float32"), y)
    proto = interop.to_onnx(clf)
    assert [output.name for output in proto.graph.output] == ["label", "scores"]
    label, scores = run(proto, X=X.astype("float32"))
    np.testing.assert_array_equal(label, clf.predict(X.astype("float32")))
    np.testing.assert_allclose(scores.reshape(clf.decision_function(X).shape), clf.decision_function(X), atol=1e-5)


def test_to_sklearn_is_refused():
    X, y = classes(3)
    with pytest.raises(ValueError, match="mlp must have predict_proba"):
        interop.to_sklearn(MLPClassifier(3, solver="lm", max_iter=2).fit(X, y))


@parametrize_with_checks([MLPClassifier(3, solver="lm", activation="tanh", max_iter=30, alpha=0.1)])
def test_check_estimator(estimator, check):
    check(estimator)
