"""MLPs: scikit-learn's curves and interface, and what goes beyond."""
import inspect

import numpy as np
import pytest
import sklearn.neural_network
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.validation import has_fit_parameter

import ldl_cy
from ldl_cy import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_IRIS = scale(X_IRIS)
X_DIABETES, Y_DIABETES = (scale(a) for a in load_diabetes(return_X_y=True))
OURS = {"dropout", "class_weight", "dtype", "n_threads"}


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_scikit_learns_signature(name):
    ours = inspect.signature({"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name]).parameters
    theirs = inspect.signature(getattr(sklearn.neural_network, name)).parameters
    shared = [p for p in ours if p not in OURS]
    # "loss" of the regressor came with a later scikit-learn than the oldest supported
    assert [p for p in shared if p in theirs] == list(theirs)
    assert all(ours[p].default == theirs[p].default and ours[p].kind == theirs[p].kind
               for p in theirs if p not in ("hidden_layer_sizes", "activation"))
    assert all(ours[p].kind is inspect.Parameter.KEYWORD_ONLY for p in OURS & set(ours))


SOLVERS = [
    {"solver": "lbfgs"}, {"solver": "adam"}, {"solver": "sgd", "learning_rate_init": 0.01},
    {"solver": "sgd", "learning_rate_init": 0.01, "nesterovs_momentum": False, "batch_size": 40},
    {"solver": "sgd", "learning_rate_init": 0.1, "learning_rate": "invscaling"},
    {"solver": "sgd", "learning_rate_init": 0.05, "learning_rate": "adaptive", "tol": 1e-2,
     "n_iter_no_change": 2},
]


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("target", ["classes", "labels", "two", "number"])
def test_scikit_learns_curve(target, solver, activation):
    """With rows in the given order a seed gives scikit-learn's weights and losses, to rounding."""
    settings = {"random_state": 3, "shuffle": False, "max_iter": 12, "alpha": 0.05, "activation": activation,
                "hidden_layer_sizes": (9, 5), **solver}
    if target == "number":
        X, y, names = X_DIABETES, Y_DIABETES, (MLPRegressor, sklearn.neural_network.MLPRegressor)
    else:
        X, names = X_IRIS, (MLPClassifier, sklearn.neural_network.MLPClassifier)
        labels = np.c_[Y_IRIS > 0, Y_IRIS > 1].astype(int)
        y = {"classes": Y_IRIS, "two": Y_IRIS > 0, "labels": labels}[target]
    ours, theirs = (estimator(**settings).fit(X, y) for estimator in names)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-7)
    if solver["solver"] != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        assert (ours.t_, ours.n_layers_, ours.n_outputs_) == (theirs.t_, theirs.n_layers_, theirs.n_outputs_)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        np.testing.assert_allclose(mine, other, atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X) if target != "number" else ours.predict(X).round(4),
                                  theirs.predict(X) if target != "number" else theirs.predict(X).round(4))


def test_several_outputs_follow_scikit_learn():
    settings = {"random_state": 0, "shuffle": False, "max_iter": 10, "alpha": 1.0, "batch_size": 442}
    y = np.column_stack([Y_DIABETES, 3 * Y_DIABETES])
    ours = MLPRegressor(**settings).fit(X_DIABETES, y)
    theirs = sklearn.neural_network.MLPRegressor(**settings).fit(X_DIABETES, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", ["classes", "two", "number"])
def test_scikit_learns_early_stopping(target, weighted):
    settings = {"random_state": 1, "shuffle": False, "early_stopping": True, "n_iter_no_change": 3,
                "validation_fraction": 0.3, "learning_rate_init": 0.02, "batch_size": 105}
    weight = {"sample_weight": 1 + np.arange(len(X_IRIS)) % 3} if weighted else {}
    kind = "MLPRegressor" if target == "number" else "MLPClassifier"
    y = {"classes": Y_IRIS, "two": Y_IRIS > 0, "number": X_IRIS[:, 0]}[target]
    if weighted and not has_fit_parameter(getattr(sklearn.neural_network, kind), "sample_weight"):
        pytest.skip("scikit-learn's perceptrons take weights from version 1.7 on")
    ours, theirs = (
        getattr(module, kind)(**settings).fit(X_IRIS, y, **weight)
        for module in (ldl_cy, sklearn.neural_network))
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-9)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_, rel=1e-9)
    for mine, other in zip(ours.coefs_, theirs.coefs_):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)


def test_weights_are_views():
    clf = MLPClassifier((4, 3), max_iter=2, random_state=0).fit(X_IRIS, Y_IRIS)
    assert [w.shape for w in clf.coefs_] == [(4, 4), (4, 3), (3, 3)]
    assert [b.shape for b in clf.intercepts_] == [(4,), (3,), (3,)]
    assert all(np.shares_memory(w, clf.model_.theta) for w in clf.coefs_ + clf.intercepts_)
    clf.coefs_ = [0 * w for w in clf.coefs_]
    clf.intercepts_ = [b * 0 + i for i, b in enumerate(clf.intercepts_)]
    np.testing.assert_allclose(clf.predict_proba(X_IRIS), 1 / 3)
    clf.coefs_[-1][:, 2] = 1.0
    assert (clf.predict(X_IRIS) == 2).all()
    with pytest.raises(ValueError, match="There are 3 layers, got arrays for 1"):
        clf.coefs_ = [np.zeros((4, 4))]
    assert not hasattr(MLPClassifier(), "coefs_")


def test_assigned_weights_are_taken_as_a_whole_or_not_at_all():
    clf = MLPClassifier((4, 4), max_iter=2, random_state=0).fit(X_IRIS, Y_IRIS)
    before, (a, b, c) = clf.predict_proba(X_IRIS), [2 * w for w in clf.coefs_]
    for error, message, given in (
            (ValueError, r"MLPClassifier: coefs_\[2\] must have the shape \(4, 3\), got \(2, 3\)", [a, b, c[:2]]),
            (ValueError, r"MLPClassifier: coefs_\[1\] must have the shape \(4, 4\), got \(\)", [a, 3.0, c]),
            (TypeError, r"MLPClassifier: coefs_\[2\] must be an array of numbers", [a, b, "c"]),
            (TypeError, "MLPClassifier: coefs_ must be a list of arrays, got 3", 3)):
        with pytest.raises(error, match=message):
            clf.coefs_ = given
        np.testing.assert_array_equal(clf.predict_proba(X_IRIS), before)
    first, second, last = (w.copy() for w in clf.coefs_)
    clf.coefs_ = [clf.coefs_[1], clf.coefs_[0], clf.coefs_[2]]          # views of what is written
    for own, expected in zip(clf.coefs_, (second, first, last)):
        np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_input(make):
    X = np.where(X_DIABETES > 0.5, X_DIABETES, 0)
    settings = {"max_iter": 3, "random_state": 0}
    dense = MLPRegressor(**settings).fit(X, Y_DIABETES)
    reg = MLPRegressor(**settings).fit(make(X), Y_DIABETES)
    np.testing.assert_array_equal(reg.predict(make(X)), dense.predict(X))


def test_an_activation_for_each_layer():
    clf = MLPClassifier((5, 4), ["tanh", "gelu"], max_iter=2).fit(X_IRIS, Y_IRIS)
    assert [layer.activation for layer in clf.model_.layers] == ["tanh", "gelu", None]
    with pytest.raises(ValueError, match="one for each of 1 hidden layers"):
        MLPClassifier((5,), ["tanh", "gelu"]).fit(X_IRIS, Y_IRIS)


def test_dropout():
    reg = MLPRegressor(hidden_layer_sizes=(32, 32), dropout=0.2, random_state=0, max_iter=20)
    reg.fit(X_DIABETES, Y_DIABETES)
    kinds = [type(layer).__name__ for layer in reg.model_.layers]
    assert kinds == ["Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert len(reg.coefs_) == 3 and reg.n_layers_ == 4
    np.testing.assert_array_equal(reg.predict(X_DIABETES), reg.predict(X_DIABETES))


def test_poisson():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 2))
    y = rng.poisson(np.exp(1 + X[:, 0]))
    reg = MLPRegressor("poisson", solver="lbfgs", alpha=1.0, random_state=0)
    reg.fit(X, y)
    assert reg.out_activation_ == "exp" and (reg.predict(X) > 0).all()
    np.testing.assert_allclose(np.log(reg.predict(X)), 1 + X[:, 0], atol=0.4)


@pytest.mark.skipif("loss" not in inspect.signature(sklearn.neural_network.MLPRegressor).parameters,
                    reason="this scikit-learn's MLPRegressor knows no loss")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_poisson_follows_scikit_learn(solver, n_outputs):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 3))
    y = rng.poisson(np.exp(1 + X[:, :n_outputs]))
    y = y.ravel() if n_outputs == 1 else y
    settings = {"loss": "poisson", "solver": solver, "alpha": 0.1, "shuffle": False, "max_iter": 12, "random_state": 0}
    ours = MLPRegressor(**settings).fit(X, y)
    theirs = sklearn.neural_network.MLPRegressor(**settings).fit(X, y)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-7)
    if solver != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5)


def test_bad_sizes():
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0, got"):
        MLPClassifier((5, 0)).fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match="Found array with dim 3"):
        MLPClassifier().fit(X_IRIS.reshape(150, 2, 2), Y_IRIS)


def test_digits():
    X, y = load_digits(return_X_y=True)
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    scaler = StandardScaler().fit(train)
    clf = MLPClassifier(random_state=0, max_iter=50).fit(scaler.transform(train), y_train)
    assert clf.score(scaler.transform(test), y_test) > 0.96


def test_diabetes():
    train, test, y_train, y_test = train_test_split(X_DIABETES, Y_DIABETES, random_state=0)
    settings = {"hidden_layer_sizes": (20,), "activation": "tanh", "solver": "lbfgs", "alpha": 20.0}
    reg = MLPRegressor(random_state=0, **settings).fit(train, y_train)
    assert reg.score(test, y_test) > 0.3
