"""Columns of categories: their forms, codes and vectors; unknown, unseen and missing ones."""
import copy
import pickle
from decimal import Decimal

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.linear_model import RidgeClassifier
from tables import CATEGORIES, CITIES, FORMS, JOBS, NAMES, columns, form, target

from ldl_cy import MLPClassifier, MLPRegressor, NeuralNetClassifier, NeuralNetRegressor, layers
from ldl_cy.callbacks import Callback
from ldl_cy.estimators.tables import open_table
from ldl_cy.models import Sequential

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TABLE = columns()
Y = target(TABLE)
OBJECTS = form("objects", TABLE)
KINDS = (MLPClassifier, MLPRegressor, NeuralNetClassifier, NeuralNetRegressor)


def small(kind=MLPClassifier, **settings):
    hidden = {"hidden_layer_sizes": (8,)} if "MLP" in kind.__name__ else {"layers": [layers.Dense(8, "tanh")]}
    return kind(**{"categorical_features": "from_dtype", "random_state": 0, "max_iter": 4, **hidden, **settings})


def by_hand(model, X, tables):
    """Hidden units before their activation, from the categories' vectors beside the numbers; the last layer's W, b."""
    x = np.array([[float(row[1]), float(row[3]), *tables[0][row[0]], *tables[1][row[2]]] for row in X])
    W, b = ([values for name, values in model.parameters.items() if name.endswith(kind)]
            for kind in (".kernel", ".bias"))
    hidden = x @ W[0] + b[0]
    return hidden, W[1], b[1]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_bits(name):
    """A model that was fitted on one form predicts on all of them."""
    X = form(name, TABLE)
    clf = small().fit(X, Y)
    expected = small().fit(OBJECTS, Y)
    np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(OBJECTS))
    assert [column.labels for column in clf.category_encoder_.columns] == [CITIES, (*JOBS, None)]
    assert clf.n_features_in_ == 4
    if hasattr(clf, "feature_names_in_"):
        assert clf.feature_names_in_.tolist() == NAMES
        for other in FORMS[2:]:
            np.testing.assert_array_equal(clf.predict_proba(form(other, TABLE)), clf.predict_proba(X))


@pytest.mark.parametrize("given", [
    "from_dtype", [0, 2], (2, 0, 2), np.array([True, False, True, False]), [True, False, True, False],
    ["city", "job"], np.array(["job", "city"], object)], ids=str)
def test_how_they_are_named(given):
    X = form("pandas objects", TABLE)
    clf = small(categorical_features=given).fit(X, Y)
    assert [column.place for column in clf.category_encoder_.columns] == CATEGORIES
    np.testing.assert_array_equal(clf.predict_proba(X), small().fit(X, Y).predict_proba(X))


def codes(est, X):
    return est.category_encoder_.encode(open_table(est, X), unseen=False)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_by_hand(kind):
    est = small(kind).fit(OBJECTS, Y)
    tables = [est.embedding_of(place) for place in CATEGORIES]
    hidden, W, b = by_hand(est.model_, OBJECTS, tables)
    hidden = np.tanh(hidden) if "NeuralNet" in kind.__name__ else np.maximum(hidden, 0)
    np.testing.assert_allclose(est.model_.predict(codes(est, OBJECTS)),
                               hidden @ W + b, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(est.transform(OBJECTS), hidden, rtol=1e-11, atol=1e-12)


def test_vectors_have_the_lengths_and_names_that_are_promised():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.permutation(np.arange(300) % k) for k in (1, 2, 3, 60, 120)])
    reg = small(MLPRegressor, categorical_features=range(5)).fit(X, X[:, 1])
    assert [reg.embedding_of(i)[0].size for i in range(5)] == [1, 1, 2, 30, 50]
    assert reg.coefs_[0].shape == (84, 8) and len(reg.coefs_) == len(reg.intercepts_) == 2
    assert list(reg.model_.parameters)[:2] == ["category_embedding_0.x0.table", "category_embedding_0.x1.table"]
    assert list(reg.embedding_of("x2")) == [0, 1, 2]
    reg.embedding_of("x2")[0][:] = 99           # a copy
    assert not (reg.embedding_of("x2")[0] == 99).any()
    for column in ("x5", 5, "city", None):
        with pytest.raises(ValueError, match="column must be one of the columns of categories 'x0', 'x1'"):
            reg.embedding_of(column)
    with pytest.raises(ValueError, match="fitted without columns of categories: categorical_features=None"):
        small(MLPRegressor, categorical_features=None).fit(X, X[:, 1]).embedding_of("x1")


@pytest.mark.parametrize("kind", [MLPClassifier, NeuralNetClassifier])
def test_unknown_and_missing_categories(kind):
    clf = small(kind, max_iter=30).fit(OBJECTS, Y)
    X = OBJECTS[:3].copy()
    X[:, 0], X[:, 2] = ["Lima", "Rome", None], ["cook", None, "judge"]
    city, job = clf.embedding_of(0), clf.embedding_of(2)
    means = [sum(TABLE[name].count(label) * vector for label, vector in vectors.items()) / 200
             for name, vectors in (("city", city), ("job", job))]
    tables = [{**city, "Lima": means[0], None: means[0]}, {**job, "judge": means[1]}]      # cities never miss
    hidden, W, b = by_hand(clf.model_, X, tables)
    hidden = np.tanh(hidden) if kind is NeuralNetClassifier else np.maximum(hidden, 0)
    np.testing.assert_allclose(clf.predict_proba(X)[:, 1], 1 / (1 + np.exp(-(hidden @ W + b).ravel())), rtol=1e-11)


@pytest.mark.parametrize(
    "missing", [None, np.nan, float("nan"), Decimal("nan")], ids=["None", "NaN", "another NaN", "a decimal NaN"])
def test_missing_values_of_any_kind(missing):
    X = OBJECTS.copy()
    X[::9, 2] = missing
    assert small().fit(X, Y).category_encoder_.columns[1].labels == (*JOBS, None)
    np.testing.assert_array_equal(small().fit(X, Y).predict_proba(X), small().fit(OBJECTS, Y).predict_proba(OBJECTS))


def test_pandas_missing_values():
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    X = form("pandas objects", TABLE)
    expected = small().fit(X, Y).predict_proba(X)
    X.loc[::9, "job"] = pd.NA
    np.testing.assert_array_equal(small().fit(X, Y).predict_proba(X), expected)
    X = X.astype({"age": "Float64"})
    np.testing.assert_array_equal(small().fit(X, Y).predict_proba(X), expected)
    X.loc[3, "age"] = pd.NA
    with pytest.raises(ValueError, match="Input X contains NaN"):
        small().fit(X, Y)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "float64", "bool", "U3", "object"])
def test_arrays_of_one_dtype(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (60, 3)).astype(dtype)
    y = rng.integers(0, 2, 60) if dtype != "bool" else X[:, 0].astype(int)
    clf = small(categorical_features=[0, 1, 2]).fit(X, y)
    assert [len(column.labels) for column in clf.category_encoder_.columns] == [2, 2, 2]
    np.testing.assert_array_equal(clf.predict(X[::-1]), clf.predict(X)[::-1])


def test_dtypes_of_the_network():
    X = np.random.default_rng(0).integers(0, 5, (60, 3)).astype(np.float32)
    assert small(categorical_features=[1]).fit(X, X[:, 0] > 2).model_.dtype == "float32"
    assert small(categorical_features=[1], dtype="float32").fit(X.astype(float), X[:, 0] > 2).model_.dtype == "float32"
    assert small(categorical_features=[1], dtype="float64").fit(X, X[:, 0] > 2).model_.dtype == "float64"
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    frame = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(X[:, 1].astype(int).astype(str))})
    clf = small().fit(frame, X[:, 0] > 2)
    assert clf.model_.dtype == "float32" and clf.transform(frame).dtype == np.float32
    pl = pytest.importorskip("polars", reason="the extra 'test' brings polars, which makes the frames")
    again = pl.DataFrame({"a": X[:, 0], "b": X[:, 1].astype(int).astype(str).tolist()})
    np.testing.assert_array_equal(small().fit(again, X[:, 0] > 2).predict_proba(again), clf.predict_proba(frame))


def test_nan_is_a_category_of_numbers():
    X = np.random.default_rng(0).integers(0, 3, (60, 2)).astype(float)
    X[::5, 0] = np.nan
    clf = small(categorical_features=[0]).fit(X, X[:, 1])
    assert list(clf.embedding_of(0)) == [0, 1, 2, None]
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        clf.predict(X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_the_network_could_read_are_encoded(kind, dtype):
    """Categories 0, 10 and 20 have the codes 0, 1 and 2, also where one row is predicted at a time."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=60), 10 * rng.integers(0, 3, 60)]).astype(dtype)
    est = small(kind, categorical_features=[1]).fit(X, X[:, 0] > 0)
    np.testing.assert_array_equal(est.category_encoder_.columns[0].labels, [0, 10, 20])
    x = np.column_stack([X[:, 0], X[:, 1] // 10]).astype(dtype)
    raw = est.model_.predict(x).ravel()
    if is_classifier(est):
        np.testing.assert_allclose(est.predict_proba(X)[:, 1], 1 / (1 + np.exp(-raw)), rtol=1e-5)
    else:
        np.testing.assert_allclose(est.predict(X), raw, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([est.predict(row[None])[0] for row in X], est.predict(X), rtol=1e-5, atol=1e-6)


def test_categories_that_no_row_has_are_unknown_until_one_has():
    """Those that a dtype lists have vectors, which partial_fit can learn later."""
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    X = form("pandas objects", TABLE).astype({"city": pd.CategoricalDtype(["Rome", "Lima", "Paris", "Oslo"])})
    lima, strange = X.iloc[:5].copy(), form("pandas objects", TABLE).iloc[:5].copy()
    lima["city"], strange["city"] = pd.Categorical(["Lima"] * 5, X["city"].cat.categories), "Mars"
    clf = small(solver="sgd", alpha=0.0, momentum=0.0).partial_fit(X, Y, classes=[0, 1])
    assert list(clf.embedding_of("city")) == ["Lima", "Oslo", "Paris", "Rome"]
    np.testing.assert_array_equal(clf.predict_proba(lima), clf.predict_proba(strange))
    before = clf.embedding_of("city")
    clf.partial_fit(lima, Y[:5])
    after = clf.embedding_of("city")
    assert (after["Lima"] != before["Lima"]).any()
    np.testing.assert_array_equal(after["Oslo"], before["Oslo"])
    assert (clf.predict_proba(lima) != clf.predict_proba(strange)).any()
    np.testing.assert_array_equal(clf.model_.state["category_embedding_0.city.counts"],
                                  [5, *(TABLE["city"].count(city) for city in CITIES)])


def test_partial_fit_with_unknown_categories():
    """They train the mean, hence all vectors, by their share."""
    clf = small(solver="sgd", alpha=0.0, momentum=0.0).partial_fit(OBJECTS, Y, classes=[0, 1])
    before, encoder = clf.embedding_of(0), clf.category_encoder_
    X = OBJECTS[:30].copy()
    X[:, 0] = "Lima"
    clf.partial_fit(X, Y[:30])
    steps = [(clf.embedding_of(0)[city] - before[city]) / TABLE["city"].count(city) for city in CITIES]
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-9)
    np.testing.assert_allclose(steps[0], steps[2], rtol=1e-9)
    assert (steps[0] != 0).all()
    assert clf.category_encoder_.columns[0].labels == CITIES
    np.testing.assert_array_equal(clf.category_encoder_.columns[0].counts, encoder.columns[0].counts)
    assert clf.category_encoder_.columns[1].counts.sum() == 230


@pytest.mark.parametrize("kind", [MLPClassifier, NeuralNetClassifier])
@pytest.mark.parametrize("solver", ["adam", "cg"])
def test_two_fits_are_one(kind, solver, tmp_path):
    whole = small(kind, solver=solver, max_iter=6, tol=0).fit(OBJECTS, Y)
    parts = small(kind, solver=solver, max_iter=3, tol=0, warm_start=True).fit(OBJECTS, Y)
    parts = pickle.loads(pickle.dumps(copy.deepcopy(parts)))
    parts.fit(form("lists", TABLE), Y)
    np.testing.assert_array_equal(parts.model_.theta, whole.model_.theta)
    X = OBJECTS.copy()
    X[::3, 0] = "Lima"
    np.testing.assert_array_equal(parts.predict_proba(X), whole.predict_proba(X))
    whole.model_.save(tmp_path / "model.ldl")
    x = codes(whole, X)
    np.testing.assert_array_equal(Sequential.load(tmp_path / "model.ldl").predict(x), whole.model_.predict(x))


@pytest.mark.parametrize("solver", ["lbfgs", "cg"])
def test_full_batch_solvers_see_the_same_data_in_any_order(solver):
    rng = np.random.default_rng(1)
    settings = {"solver": solver, "max_iter": 15}
    whole = small(**settings).fit(OBJECTS, Y)
    order = rng.permutation(200)
    np.testing.assert_array_equal(small(**settings).fit(OBJECTS[order], Y[order]).model_.theta, whole.model_.theta)
    # as weights, with rows of no weight that alone have a category
    twice = np.concatenate([np.arange(200), np.arange(0, 200, 3)])
    X = np.concatenate([OBJECTS, OBJECTS[:4]])
    X[200:, 0], X[200:, 1] = ["Aden", "Lima", "Zagreb", "Aden"], 7.0
    weight = np.concatenate([1.0 + (np.arange(200) % 3 == 0), np.zeros(4)])
    repeated = small(**settings).fit(OBJECTS[twice], Y[twice])
    weighted = small(**settings).fit(X, np.concatenate([Y, Y[:4]]), sample_weight=weight)
    np.testing.assert_array_equal(weighted.model_.theta, repeated.model_.theta)
    assert list(weighted.embedding_of(0)) == list(CITIES)
    unknown = OBJECTS.copy()
    unknown[:, 0] = "Aden"
    np.testing.assert_array_equal(weighted.predict_proba(unknown), repeated.predict_proba(unknown))


def test_validation_rows_may_have_other_categories():
    X_val = OBJECTS[:40].copy()
    X_val[::2, 0], X_val[::3, 2] = "Lima", "judge"
    clf = small(early_stopping=True, max_iter=8).fit(OBJECTS, Y, X_val=X_val, y_val=Y[:40])
    assert clf.validation_scores_[-1] <= clf.best_validation_score_ == clf.score(X_val, Y[:40])
    X = OBJECTS.copy()
    X[5, 0] = "Lima"                    # of a row that may be held out
    held = small(early_stopping=True, max_iter=8, validation_fraction=0.4).fit(X, Y)
    lima = held.category_encoder_.columns[0].counts[0]
    assert held.category_encoder_.columns[0].labels == ("Lima", *CITIES) and lima in (0, 1)
    assert sum(held.category_encoder_.columns[0].counts) == 120


def test_same_bits_for_any_number_of_threads():
    one, two = (small(n_threads=n, max_iter=10).fit(OBJECTS, Y) for n in (1, 2))
    np.testing.assert_array_equal(one.model_.theta, two.model_.theta)


def test_a_fit_that_fails_changes_nothing():
    clf = small(solver="sgd").partial_fit(OBJECTS, Y, classes=[0, 1])
    theta, counts, encoder = clf.model_.theta.copy(), clf.model_.network.statistics.copy(), clf.category_encoder_
    clf.set_params(batch_size=10, callbacks=[Refuses()])
    with pytest.raises(ZeroDivisionError):
        clf.partial_fit(OBJECTS, Y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        clf.set_params(callbacks=None).fit(np.where(np.arange(4) == 1, np.nan, OBJECTS), Y)
    np.testing.assert_array_equal(clf.model_.network.statistics, counts)
    np.testing.assert_array_equal(clf.model_.theta, theta)
    assert clf.category_encoder_ is encoder and clf.t_ == 200
    clf.partial_fit(OBJECTS, Y)
    assert clf.model_.network.statistics.sum() == 2 * counts.sum()


class Refuses(Callback):
    """Ends a fit with an error before its first step."""

    def on_fit_begin(self, *_):
        raise ZeroDivisionError


def test_another_fit_forgets_the_categories():
    clf = small().fit(OBJECTS, Y)
    numbers = OBJECTS[:, [1, 3]].astype(float)
    clf.set_params(categorical_features=None).fit(numbers, Y)
    assert not hasattr(clf, "category_encoder_")
    assert clf.predict_proba(numbers).shape == (200, 2)
    # without any there is nothing to encode
    assert not hasattr(small().fit(numbers, Y), "category_encoder_")
    assert not hasattr(small(categorical_features=[]).fit(numbers, Y), "category_encoder_")
    np.testing.assert_array_equal(small().fit(numbers, Y).model_.theta,
                                  small(categorical_features=None).fit(numbers, Y).model_.theta)


@pytest.mark.parametrize("kind", [MLPClassifier, NeuralNetClassifier])
def test_a_closed_form_on_vectors_as_they_were_drawn(kind):
    """A projection of one-hot columns on orthonormal ones; the same in one fit and in parts."""
    clf = small(kind, solver="ridge", alpha=0.3).fit(OBJECTS, Y)
    for place in CATEGORIES:
        table = np.array(list(clf.embedding_of(place).values()))
        np.testing.assert_allclose(table.T @ table, np.eye(table.shape[1]), atol=1e-12)
    features = clf.transform(OBJECTS)
    ridge = RidgeClassifier(alpha=0.3).fit(features, Y)
    np.testing.assert_allclose(clf.decision_function(OBJECTS), ridge.decision_function(features), rtol=1e-9, atol=1e-10)
    parts = small(kind, solver="ridge", alpha=0.3).partial_fit(OBJECTS[:120], Y[:120], classes=[0, 1])
    parts.partial_fit(OBJECTS[120:], Y[120:])
    np.testing.assert_allclose(parts.decision_function(OBJECTS), clf.decision_function(OBJECTS), rtol=1e-8, atol=1e-9)
    assert parts.category_encoder_.columns[0].counts.sum() == 200


@pytest.mark.parametrize("solver", ["lm", "gauss_newton_cg", "gd", "adamw", "rmsprop"])
def test_every_kind_of_solver(solver):
    clf = small(solver=solver, max_iter=30, learning_rate_init=0.02).fit(OBJECTS, Y)
    start = small(solver=solver, max_iter=1, learning_rate_init=1e-12).fit(OBJECTS, Y)
    assert clf.loss_ < start.loss_
    assert any((a != b).any() for a, b in zip(clf.embedding_of(0).values(), start.embedding_of(0).values()))
