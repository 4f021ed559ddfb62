"""Sparse matrices whose indices are damaged: refused before SciPy's compiled code, which trusts them, can crash."""
import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from strangers import run_all

from ldl_cy import MLPClassifier, MLPRegressor, Sequential, find_learning_rate, layers

N, K = 40, 6
FAR = 2**30
VALID = "X must be a valid sparse matrix, got one where "


def matrix(kind):
    return sp.random(N, K, 0.5, format="csr", random_state=0).asformat(kind)


def set_indices(m, value):
    m.indices[-1] = value


def set_indptr(m, value):
    m.indptr[len(m.indptr) // 2] = value


def shorten(m, name):
    setattr(m, name, getattr(m, name)[:3])


def empty(m, name):
    setattr(m, name, getattr(m, name)[:0])


def wide(m, change):
    m.indices, m.indptr = m.indices.astype(np.int64), m.indptr.astype(np.int64)
    change(m)


COMPRESSED = {
    "far": lambda m: set_indices(m, FAR),
    "negative": lambda m: set_indices(m, -FAR),
    "next": lambda m: set_indices(m, m.shape[0 if m.format == "csc" else 1]),
    "wide": lambda m: wide(m, lambda m: set_indices(m, 2**40)),
    "indptr far": lambda m: set_indptr(m, FAR),
    "indptr negative": lambda m: set_indptr(m, -FAR),
    "indptr wide": lambda m: wide(m, lambda m: set_indptr(m, 2**62)),
    "indptr begins": lambda m: m.indptr.__setitem__(0, -5),
    "indptr ends": lambda m: m.indptr.__setitem__(-1, FAR),
    "indptr falls": lambda m: m.indptr.__setitem__(slice(1, -1), m.indptr[1:-1][::-1].copy()),
    "data shorter": lambda m: shorten(m, "data"),
    "indices shorter": lambda m: shorten(m, "indices"),
    "indptr shorter": lambda m: shorten(m, "indptr"),
    "no indptr": lambda m: empty(m, "indptr"),
    "floats": lambda m: setattr(m, "indices", m.indices.astype(float)),
    "list": lambda m: setattr(m, "indptr", None),
    "two axes": lambda m: setattr(m, "data", m.data[:, None]),
}
DAMAGES = {
    "csr": COMPRESSED, "csc": COMPRESSED,
    "bsr": {**{name: COMPRESSED[name] for name in ("far", "negative", "indptr far", "indptr ends", "no indptr")},
            "data shorter": lambda m: setattr(m, "data", m.data[:1]),
            "blocks": lambda m: setattr(m, "data", m.data.reshape(len(m.data), -1, 1).repeat(7, axis=2))},
    "coo": {"far": lambda m: m.col.__setitem__(0, FAR), "negative": lambda m: m.row.__setitem__(0, -FAR),
            "data shorter": lambda m: shorten(m, "data")},
    "lil": {"far": lambda m: m.rows[3].append(FAR), "longer": lambda m: m.data[3].extend([1.0] * 1000),
            "negative": lambda m: (m.rows[3].append(-FAR), m.data[3].append(1.0))},
    "dia": {"offsets": lambda m: setattr(m, "offsets", m.offsets[:1])},
}


def read_by(what, X):
    y = np.arange(N) % 2
    model = Sequential([layers.Dense(2)], random_state=0).build(K)
    fit = {"loss": "log_loss", "epochs": 1}
    if what == "fit":
        Sequential([layers.Dense(2)]).fit(X, y, **fit)
    elif what == "split":
        model.fit(X, y, validation_split=0.25, **fit)
    elif what == "validation":
        model.fit(np.ones((N, K)), y, validation_data=(X, y), **fit)
    elif what == "lbfgs":
        model.fit(X, y, optimizer="lbfgs", **fit)
    elif what == "batches":
        model.fit([(X, y)], **fit)
    elif what == "predict":
        model.predict(X)
    elif what == "evaluate":
        model.evaluate(X, y, loss="log_loss")
    elif what == "grad":
        model.loss_and_grad(X, y, loss="log_loss")
    elif what == "jacobian":
        model.jacobian(X)
    elif what == "trace":
        model.trace(X)
    elif what == "find":
        find_learning_rate(model, X, y, loss="log_loss", n_steps=30)


CALLS = ["fit", "split", "validation", "lbfgs", "batches", "predict", "evaluate", "grad", "jacobian", "trace", "find"]


def estimated_by(what, X):
    y = np.arange(N) % 2
    solver = what if what in ("lbfgs", "gd", "cg", "lm") else "adam"
    family = MLPRegressor if solver == "lm" else MLPClassifier
    estimator = family(hidden_layer_sizes=(), solver=solver, max_iter=2, early_stopping=what == "early stopping")
    if what == "partial_fit":
        estimator.partial_fit(X, y, classes=[0, 1])
    elif what == "held":
        estimator.fit(matrix("csr"), y, X_val=X, y_val=y)
    elif what in ("predict", "score", "predict_proba"):
        estimator.fit(matrix("csr"), y)
        getattr(estimator, what)(*([X, y] if what == "score" else [X]))
    elif what == "y":
        estimator.fit(np.ones((N, K)), X)
    else:
        estimator.fit(X, y)


ESTIMATED = ["adam", "lbfgs", "gd", "cg", "lm", "early stopping", "partial_fit", "held", "predict", "score",
             "predict_proba", "y"]


def damaged(kind, damage, what, estimated):
    X = matrix(kind)
    DAMAGES[kind][damage](X)
    (estimated_by if estimated else read_by)(what, X)


def every_damage(calls, estimated):
    """Every damage, each with the next call; those of CSR, which is read as it is, with all calls."""
    cases = [("csr", damage, what, estimated) for damage in ("far", "indptr far", "indptr falls", "data shorter")
             for what in calls]
    turns = itertools.cycle(calls)
    return cases + [(kind, damage, next(turns), estimated) for kind, damages in DAMAGES.items() for damage in damages]


@pytest.mark.parametrize("estimated", [False, True])
def test_damaged(estimated):
    cases = every_damage(ESTIMATED if estimated else CALLS, estimated)
    for case, ended in zip(cases, run_all(damaged, cases)):
        what = case[2]
        owner = "" if estimated else "find_learning_rate: " if what == "find" else "Sequential: "
        sentence = owner + VALID
        if what == "validation":
            sentence = sentence.replace("X", "validation_data", 1)
        elif what == "y":
            sentence = sentence.replace("X", "y", 1)
        assert ended.says("ValueError", sentence), (case, ended)


@pytest.mark.parametrize("kind", ["csr", "csc", "bsr", "coo", "lil", "dia", "dok"])
@pytest.mark.parametrize("make", ["matrix", "array"])
def test_every_format(kind, make):
    """Read as the dense rows are, and not changed, duplicates and unsorted columns too."""
    X = getattr(sp, f"{kind}_{make}")(matrix(kind))
    before = X.copy()
    model = Sequential([layers.Dense(2)], random_state=0).build(K)
    np.testing.assert_array_equal(model.predict(X), model.predict(X.toarray()))
    y = np.arange(N) % 2
    found = [MLPClassifier(3, solver=solver, max_iter=3, random_state=0, tol=0).fit(x, y).predict_proba(x)
             for x in (X, X.toarray()) for solver in ("adam", "lbfgs")]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(found[1], found[3], rtol=1e-6)
    assert (before != X).nnz == 0


def test_unsorted_and_double_entries():
    rows = sp.csr_matrix((np.array([1.0, 2, 3, 4, 5]), np.array([2, 0, 2, 1, 1]), np.array([0, 3, 5])), shape=(2, 3))
    rows.has_sorted_indices = rows.has_canonical_format = True      # as SciPy notes it, before someone changed them
    kept = rows.indices.copy()
    model = Sequential([layers.Dense(2)], random_state=0).build(3)
    np.testing.assert_array_equal(model.predict(rows), model.predict(np.array([[2.0, 0, 4], [0, 9, 0]])))
    MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", max_iter=1).fit(rows, [0, 1])
    np.testing.assert_array_equal(rows.indices, kept)
