"""solver="ridge" with partial_fit: rows that are added in several calls, against one fit to all of them."""
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from small_estimators import EVERY, problem, small

from ldl_cy import MLPRegressor, RNNRegressor


def ridge(name, **parameters):
    return small(name, **{"solver": "ridge", "alpha": 0.5, **parameters})


def add(estimator, X, y, weight=None, classes=None):
    return estimator.partial_fit(X, y, weight, **({"classes": classes} if is_classifier(estimator) else {}))


def check_same(a, b, dtype="float64"):
    np.testing.assert_allclose(a.model_.theta, b.model_.theta, **(
        {"rtol": 1e-8, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}))
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_parts_are_the_whole(name, weighted, dtype):
    whole, parts, later = (ridge(name, dtype=dtype) for _ in range(3))
    X, y = problem(whole, 67)
    weight = np.random.default_rng(0).uniform(0.5, 3, 67) if weighted else None
    whole.fit(X, y, weight)
    # one row, fewer rows than features, a tail
    for rows in (slice(1), slice(1, 9), slice(9, 50), slice(50, 67)):
        add(parts, X[rows], y[rows], None if weight is None else weight[rows], [0, 1, 2])
    check_same(parts, whole, dtype)
    # after a fit, with the classes of all rows
    later.fit(X[:40], y[:40], None if weight is None else weight[:40])
    add(later, X[40:], y[40:], None if weight is None else weight[40:])
    check_same(later, whole, dtype)


def test_normal_equations_are_continued():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    y = np.c_[np.sin(X).sum(axis=1), X[:, 0] ** 2]
    options = {"hidden_layer_sizes": 10, "solver": "ridge", "alpha": 2.0, "random_state": 0}
    whole = MLPRegressor(**options).fit(X, y)
    later = MLPRegressor(**options).fit(X[:300], y[:300])
    assert type(later._progress.head_sums.sums).__name__ == "Moments"
    check_same(later.partial_fit(X[300:], y[300:]), whole)
    # another penalty is for all rows, too
    whole.set_params(alpha=0.01).fit(X, y)
    first = MLPRegressor(**options).partial_fit(X[:300], y[:300])
    check_same(first.set_params(alpha=0.01).partial_fit(X[300:], y[300:]), whole)


def test_a_pickle_and_a_file_of_it_are_continued():
    X, y = problem(ridge("MLPRegressor"))
    whole = ridge("MLPRegressor").fit(X, y)
    part = pickle.loads(pickle.dumps(ridge("MLPRegressor").partial_fit(X[:30], y[:30])))
    check_same(part.partial_fit(X[30:], y[30:]), whole)
    # of a pickle from before there were sums, the rows are unknown
    del vars(part._progress)["head_sums"]
    check_same(part.partial_fit(X, y), whole)


def test_a_fit_begins_again():
    X, y = problem(ridge("MLPRegressor"))
    for warm_start in (False, True):
        estimator = ridge("MLPRegressor", warm_start=warm_start).partial_fit(X, y + 5)
        check_same(estimator.fit(X, y), ridge("MLPRegressor").fit(X, y))


def test_other_hidden_weights_begin_again():
    X, y = problem(ridge("MLPRegressor"))
    estimator = ridge("MLPRegressor").fit(X, y + 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.set_params(solver="adam").partial_fit(X, y)
    features = estimator.transform(X)
    estimator.set_params(solver="ridge").partial_fit(X, y)
    np.testing.assert_array_equal(estimator.transform(X), features)
    assert estimator._progress.head_sums.sums.n == len(y)
    assert abs(np.mean(estimator.predict(X) - y)) < 1e-9         # residuals have no mean


def test_refused_rows_are_not_added():
    X, y = problem(ridge("MLPRegressor"))
    estimator = ridge("MLPRegressor").partial_fit(X[:30], y[:30])
    before = estimator.model_.theta.copy()
    with pytest.raises(ValueError, match="NaN"):
        estimator.partial_fit(np.full((3, 6), np.nan), y[:3])
    with pytest.raises(ValueError, match="features"):
        estimator.partial_fit(X[:, :4], y)
    with pytest.raises(ValueError, match="outputs"):
        estimator.partial_fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match=r"^partial_fit does not support alphas: leave-one-out"):
        estimator.set_params(alphas=[1.0]).partial_fit(X, y)
    np.testing.assert_array_equal(estimator.model_.theta, before)
    check_same(estimator.set_params(alphas=None).partial_fit(X[30:], y[30:]), ridge("MLPRegressor").fit(X, y))


def test_an_error_of_a_callback_adds_nothing():
    X, y = problem(ridge("MLPRegressor"))
    estimator = ridge("MLPRegressor").partial_fit(X[:30], y[:30])

    def fail(model):
        raise KeyError("stop")

    estimator.set_params(callbacks=[Beginning(fail)])
    with pytest.raises(KeyError):
        estimator.partial_fit(X[30:], y[30:])
    check_same(estimator.set_params(callbacks=None).partial_fit(X[30:], y[30:]), ridge("MLPRegressor").fit(X, y))


def Beginning(function):
    from ldl_cy.callbacks import Callback

    class Calls(Callback):
        def on_epoch_begin(self, model, epoch):
            function(model)

    return Calls()


def test_classes_of_later_calls():
    X, y = problem(ridge("MLPClassifier"))
    order = np.argsort(y, kind="stable")            # the first call sees one class
    parts, whole = ridge("MLPClassifier"), ridge("MLPClassifier").fit(X, y)
    for rows in np.array_split(order, 4):
        parts.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    check_same(parts, whole)
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))


def test_columns_of_categories():
    rng = np.random.default_rng(0)
    X = np.empty((80, 3), object)
    X[:, 0] = np.array(["a", "b", "c", "d"])[np.arange(80) % 4]
    X[:, 1:] = rng.normal(size=(80, 2))
    y = X[:, 1].astype(float) + (X[:, 0] == "b")
    options = {"categorical_features": [0], "hidden_layer_sizes": 10, "solver": "ridge", "random_state": 0}
    parts = MLPRegressor(**options).partial_fit(X[:30], y[:30]).partial_fit(X[30:], y[30:])
    check_same(parts, MLPRegressor(**options).fit(X, y))


def test_longer_sequences():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(length, 2)) for length in [3, 4] * 10 + [9, 5] * 10]
    y = np.array([x[:, 0].sum() for x in X])
    options = {"cell": "rnn", "units": 8, "solver": "ridge", "alpha": 0.1, "random_state": 0}
    parts = RNNRegressor(**options).partial_fit(X[:20], y[:20]).partial_fit(X[20:], y[20:])
    check_same(parts, RNNRegressor(**options).fit(X, y))
