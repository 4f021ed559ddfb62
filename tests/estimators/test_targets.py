"""Classes, labels, several outputs, and the weights of classes."""
import numpy as np
import pytest
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss
from small_estimators import CLASSIFIERS, REGRESSORS, problem, small

from ldl_cy import MLPClassifier, MLPRegressor, NeuralNetRegressor, layers, losses

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X_IRIS, Y_IRIS = load_iris(return_X_y=True)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_string_labels(name):
    clf = small(name, max_iter=3)
    X, y = problem(clf)
    plain = small(name, max_iter=3).fit(X, y)
    words = np.array(["low", "mid", "top"])
    clf.fit(X, words[y])
    assert list(clf.classes_) == ["low", "mid", "top"]
    np.testing.assert_array_equal(clf.predict(X), words[plain.predict(X)])
    np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_two_classes(name):
    clf = small(name, max_iter=60)
    X, y = problem(clf, 200)
    clf.fit(X, np.where(y > 1, "yes", "no"))
    assert clf.n_outputs_ == 1 and clf.out_activation_ == "logistic"
    proba = clf.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(clf.classes_[proba.argmax(axis=1)], clf.predict(X))
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(proba))
    assert clf.score(X, np.where(y > 1, "yes", "no")) > 0.9


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_several_labels(name):
    X, y = make_multilabel_classification(200, 10, n_classes=3, random_state=0)
    clf = small(name, max_iter=80).fit((X - X.mean()) / X.std(), y)
    X = (X - X.mean()) / X.std()
    assert clf.n_outputs_ == 3 and clf.out_activation_ == "logistic"
    assert clf.predict_proba(X).shape == (200, 3)
    assert set(np.unique(clf.predict(X))) <= {0, 1}
    assert (clf.predict(X) == y).mean() > 0.8


@pytest.mark.parametrize("name", REGRESSORS)
def test_several_outputs(name):
    reg = small(name, max_iter=200)
    X, y = problem(reg, 200)
    targets = np.column_stack([y, -2 * y, X[:, 3]])
    assert reg.fit(X, targets).predict(X).shape == (200, 3)
    assert reg.score(X, targets) > 0.85
    assert reg.n_outputs_ == 3


def test_reported_losses():
    """Cross-entropies are summed over outputs, squared errors halved and averaged; the penalty is added."""
    def penalty(est):
        return 0.5 * est.alpha * sum(np.sum(w**2) for w in est.coefs_) / len(X_IRIS)

    settings = {"solver": "lbfgs", "max_iter": 30, "alpha": 0.1, "random_state": 0}
    clf = MLPClassifier(**settings).fit(X_IRIS, Y_IRIS)
    assert clf.loss_ == pytest.approx(log_loss(Y_IRIS, clf.predict_proba(X_IRIS)) + penalty(clf), rel=1e-9)
    labels = np.column_stack([Y_IRIS > 0, Y_IRIS > 1]).astype(int)
    clf.fit(X_IRIS, labels)
    proba = clf.predict_proba(X_IRIS)
    summed = -np.log(np.where(labels == 1, proba, 1 - proba)).sum(axis=1).mean()
    assert clf.loss_ == pytest.approx(summed + penalty(clf), rel=1e-9)
    reg = MLPRegressor(**settings).fit(X_IRIS, X_IRIS[:, :3])
    halved = 0.5 * np.mean((X_IRIS[:, :3] - reg.predict(X_IRIS))**2)
    assert reg.loss_ == pytest.approx(halved + penalty(reg), rel=1e-9)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile"])
def test_regression_losses_by_name(loss):
    """Named losses are summed over outputs and reported as a mean; NeuralNetRegressor takes objects too."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2))
    y = np.column_stack([X[:, 0], X[:, 1] - X[:, 0]])
    settings = {"alpha": 0.0, "max_iter": 60, "learning_rate_init": 0.01, "random_state": 0}
    reg = MLPRegressor(loss, (30,), **settings).fit(X, y)
    assert reg.out_activation_ == "identity" and reg.score(X, y) > 0.9
    by_object = NeuralNetRegressor([layers.Dense(30, "relu")], losses.get(loss), **settings).fit(X, y)
    assert by_object.score(X, y) > 0.9
    one = MLPRegressor(loss, (30,), solver="lbfgs", alpha=0.0, max_iter=3, random_state=0).fit(X, y)
    assert one.loss_ == pytest.approx(one.model_.evaluate(X, y, loss=loss), rel=1e-9)


def test_class_weight():
    times = np.array([1, 2, 5])
    repeated = np.repeat(np.arange(150), times[Y_IRIS])
    settings = {"solver": "lbfgs", "max_iter": 20, "random_state": 0}
    rows = MLPClassifier(**settings).fit(X_IRIS[repeated], Y_IRIS[repeated])
    weights = MLPClassifier(class_weight={0: 1, 1: 2, 2: 5}, **settings).fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(weights.model_.theta, rows.model_.theta)
    twice = MLPClassifier(class_weight={0: 1, 1: 1, 2: 5}, **settings)
    twice.fit(X_IRIS, Y_IRIS, sample_weight=np.where(Y_IRIS == 1, 2, 1))
    np.testing.assert_array_equal(twice.model_.theta, rows.model_.theta)


def test_balanced_finds_the_rare_class():
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 20 == 0).astype(int)
    X = rng.normal(size=(400, 2)) + 1.2 * y[:, None]
    settings = {"hidden_layer_sizes": (), "solver": "lbfgs", "random_state": 0}
    plain, balanced = MLPClassifier(**settings), MLPClassifier(class_weight="balanced", **settings)
    found = [clf.fit(X, y).predict(X)[y == 1].mean() for clf in (plain, balanced)]
    assert found[1] > found[0] + 0.3


def test_no_hidden_layer_is_linear_regression():
    X, y = X_IRIS[:, :3], X_IRIS[:, 3]
    reg = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0, tol=1e-9, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(reg.predict(X), LinearRegression().fit(X, y).predict(X), atol=1e-3)


def test_what_targets_are_refused():
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        MLPClassifier().fit(X_IRIS, X_IRIS[:, 0])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        MLPRegressor().fit(X_IRIS, np.full(150, np.nan))
    clf = MLPClassifier(warm_start=True, max_iter=1).fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        clf.fit(X_IRIS[:100], Y_IRIS[:100])
