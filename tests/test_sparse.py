"""Sparse X: the same bits as the same rows, dense, whatever its layout, and never dense as a whole."""
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_classification

from ldl_cy import MLPClassifier, MLPRegressor, Sequential, layers
from ldl_cy._engine.sparse import SparseRows

FORMATS = [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array]
X, Y = make_classification(90, 12, n_informative=6, random_state=0)
X[np.abs(X) < 1] = 0


def wide(matrix):
    """The same with 64-bit indices."""
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", ["float32", "float64"])
@pytest.mark.parametrize("make", [*FORMATS, lambda x: wide(sp.csr_array(x)), lambda x: wide(sp.csc_matrix(x))])
def test_a_model_of_sparse_rows(make, values, dtype):
    dense = X.astype(values)
    sparse = make(dense)
    models = [Sequential([layers.Dense(9, "relu"), layers.Dense(2)], dtype=dtype, random_state=0) for _ in range(2)]
    for model, data in zip(models, (dense, sparse)):
        model.fit(data, Y, loss="log_loss", optimizer="adam", epochs=3, batch_size=7, validation_split=0.2)
    a, b = models
    np.testing.assert_array_equal(a.theta, b.theta)
    np.testing.assert_array_equal(a.predict(dense), b.predict(sparse))
    np.testing.assert_array_equal(a.predict(dense, batch_size=11), b.predict(sparse, batch_size=11))
    assert a.evaluate(dense, Y, loss="log_loss") == b.evaluate(sparse, Y, loss="log_loss")
    for left, right in zip(a.loss_and_grad(dense, Y, loss="log_loss"), b.loss_and_grad(sparse, Y, loss="log_loss")):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(a.trace(dense)["dense_0"], b.trace(sparse)["dense_0"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [8, 600])             # the second in tiles of columns over all rows
def test_entries_at_one_place_are_added(units, dtype):
    twice = sp.csr_array((np.r_[1.0, 2, 3, 4], np.r_[0, 0, 2, 1], np.r_[0, 3, 3, 4]), shape=(3, 500))
    model = Sequential([layers.Dense(units), layers.Dense(1)], dtype, 0).build(500)
    dense = np.zeros((3, 500))
    dense[0, 0], dense[0, 2], dense[2, 1] = 3, 3, 4
    np.testing.assert_array_equal(model.predict(twice), model.predict(dense))
    options = {"loss": "squared_error"}
    np.testing.assert_array_equal(model.loss_and_grad(twice, np.ones((3, 1)), **options)[1],
                                  model.loss_and_grad(dense, np.ones((3, 1)), **options)[1])


def test_rows_are_views():
    matrix = sp.csr_array(X)
    rows = SparseRows(matrix.data, matrix.indices, matrix.indptr, X.shape[1])
    part = rows[5:20]
    assert len(part) == 15 and part.data is rows.data and np.shares_memory(part.indptr, rows.indptr)
    np.testing.assert_array_equal(np.asarray(part), X[5:20])
    assert len(rows[50:10]) == 0


def bad(change):
    matrix = sp.csr_matrix(np.eye(4))
    change(matrix)
    return matrix


@pytest.mark.parametrize(("data", "message"), [
    (bad(lambda m: m.indices.__setitem__(0, 99)), "X must be a valid sparse matrix"),
    (bad(lambda m: m.indices.__setitem__(0, -1)), "X must be a valid sparse matrix"),
    (bad(lambda m: m.indptr.__setitem__(1, 3)), "X must be a valid sparse matrix"),
    (bad(lambda m: m.data.__setitem__(0, np.nan)), "X must be finite, got NaN"),
    (sp.csr_matrix(np.eye(5)), r"X must have the shape \(n, 4\), got \(5, 5\)"),
    (sp.csr_matrix((0, 4)), "X must have at least one row"),
    (sp.csr_matrix(np.eye(4, dtype=complex)), "Sequential: X must be a matrix of numbers, got dtype complex128."),
])
def test_bad_input(data, message):
    model = Sequential([layers.Dense(3)], random_state=0).build(4)
    before = model.theta.copy()
    for call in (model.predict, lambda x: model.fit(x, np.zeros((x.shape[0], 3)), loss="squared_error")):
        with pytest.raises((TypeError, ValueError), match=message):
            call(data)
    np.testing.assert_array_equal(model.theta, before)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "gd", "lbfgs"])
@pytest.mark.parametrize("make", [*FORMATS, lambda x: wide(sp.csr_array(x))])
def test_estimators(make, solver, early_stopping):
    settings = {"solver": solver, "max_iter": 6, "early_stopping": early_stopping, "random_state": 0}
    dense, sparse = MLPClassifier(**settings).fit(X, Y), MLPClassifier(**settings).fit(make(X), Y)
    # full-batch solvers order the rows of either form by their content, and sums are then added otherwise
    tolerance = 0 if solver in ("adam", "sgd") else 1e-9
    np.testing.assert_allclose(sparse.model_.theta, dense.model_.theta, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(sparse.predict_proba(make(X)), sparse.predict_proba(X))
    assert sparse.score(make(X), Y) == sparse.score(X, Y)


@pytest.mark.parametrize("solver", ["lbfgs", "gd"])
def test_repeats_are_weights_in_sparse_rows_too(solver):
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, len(X))
    order = rng.permutation(weight.sum())
    repeated = sp.csr_matrix(np.repeat(X, weight, axis=0)[order])
    y = np.repeat(X[:, 0], weight)[order]
    settings = {"solver": solver, "max_iter": 20, "random_state": 0}
    a = MLPRegressor(**settings).fit(sp.csr_matrix(X), X[:, 0], sample_weight=weight)
    b = MLPRegressor(**settings).fit(repeated, y)
    np.testing.assert_array_equal(a.model_.theta, b.model_.theta)


def test_the_whole_is_never_dense():
    n, width = 1000, 100_000                            # 800 MB of numbers
    matrix = sp.random(n, width, density=1e-5, format="csr", random_state=0)
    target = np.asarray(matrix.sum(axis=1)).ravel()
    reg = MLPRegressor(hidden_layer_sizes=(2,), max_iter=1, batch_size=20, random_state=0)
    tracemalloc.start()
    with pytest.warns(UserWarning, match="Maximum iterations"):
        reg.fit(matrix, target)
    assert reg.predict(matrix).shape == (n,)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6
