"""Odd data and parameters in all eight estimators: a result or a sentence, and a refused fit changes nothing."""
import fractions
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from strangers import LIMITS_MEMORY, run_all

import ldl_cy
from ldl_cy import layers, losses

N = 24
RNG = np.random.default_rng(0)
ROWS = {"flat": RNG.standard_normal((N, 6)), "deep": RNG.standard_normal((N, 6, 2))}
Y = np.arange(N) % 2
FAMILIES = {
    "MLP": ("flat", {"hidden_layer_sizes": (3,)}), "CNN": ("deep", {"filters": 2, "hidden_layer_sizes": ()}),
    "RNN": ("deep", {"units": 2}), "NeuralNet": ("flat", {"layers": [layers.Dense(3)]})}
KINDS = [family + kind for family in FAMILIES for kind in ("Classifier", "Regressor")]
MOST_BYTES = 3 << 30            # of address space: what is refused must not depend on the machine's memory
NUMPYS_WORDS = ("'<' not supported", "unhashable", "index out of range", "no attribute", "int too large", "recursion",
                "did not contain a loop", "out of range", "list index")


class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")


class Shifting:
    """An array that is another one each time it is asked for."""

    asked = 0
    dtype = np.dtype(float)

    @property
    def shape(self):
        self.asked += 1
        return (N, 6 + self.asked % 2)

    ndim = 2

    def __len__(self):
        self.asked += 1
        return N + self.asked % 3

    def __array__(self, dtype=None, copy=None):
        return np.ones((N + self.asked % 3, 6 + self.asked % 2), dtype or float)


def made(kind, **settings):
    family = kind.removesuffix("Classifier").removesuffix("Regressor")
    return getattr(ldl_cy, kind)(**{"max_iter": 2, "random_state": 0, **FAMILIES[family][1], **settings})


def rows_of(kind):
    return ROWS[FAMILIES[kind.removesuffix("Classifier").removesuffix("Regressor")][0]]


def with_arrays(matrix, **arrays):
    for name, value in arrays.items():
        setattr(matrix, name, value)
    return matrix


def objects(*values):
    array = np.empty(N, object)
    array[:] = [values[i % len(values)] for i in range(N)]
    return array


def within_itself():
    found = []
    found.append(found)
    return found


LABELS = {
    "None first": lambda: objects(None, "a"), "None later": lambda: objects("a", None),
    "None and ints": lambda: objects(1, None), "a list with None": lambda: ["a", None] * 12,
    "mixed": lambda: objects("a", 1), "dicts": lambda: objects({}, {}), "only None": lambda: [None] * N,
    "structured": lambda: np.zeros(N, "f8, f8"), "one field": lambda: np.zeros(N, [("a", int)]),
    "void": lambda: np.zeros(N, "V8"), "NaN": lambda: np.where(Y, np.nan, 1), "words": lambda: ["a", "b"] * 12,
    "NaN among objects": lambda: objects(np.nan, 1), "NaN among words": lambda: objects("a", np.nan),
    "nested": lambda: [[[1]]] * N, "ragged": lambda: [[0, 1], [1]] * 12, "arrays": lambda: objects(np.ones(2),
    np.ones(3)),
    "a generator": lambda: (i % 2 for i in range(N)), "a set": lambda: set(range(N)),
    "a dict": lambda: dict.fromkeys(range(N)),
    "empty": lambda: [], "within itself": within_itself, "bytes": lambda: b"ab" * 12, "complex": lambda: Y + 1j,
    "huge ints": lambda: [10**400, 1] * 12, "fractions": lambda: [fractions.Fraction(1, 2)] * N,
    "no axis": lambda: np.array(1),
    "two columns": lambda: np.c_[Y, 1 - Y], "sparse": lambda: sp.csr_matrix(np.c_[Y, 1 - Y]),
    "columns out of range": lambda: with_arrays(sp.csr_matrix(np.c_[Y, 1 - Y]), indices=np.full(N, 10**6, np.int32)),
    "short indptr": lambda: with_arrays(sp.csr_matrix(np.c_[Y, 1 - Y]), indptr=np.zeros(3, np.int32)),
    "masked": lambda: np.ma.masked_array(Y, Y > 0), "NA": lambda: pd.Series([pd.NA, 1] * 12, dtype="Int64"),
    "dates": lambda: np.zeros(N, "M8[D]"), "too few": lambda: Y[:5],
}
SAMPLES = {
    "1-D": lambda: [np.zeros(3)] * N, "ragged": lambda: [[1.0], [1.0, 2.0]] * 12, "[]": lambda: [],
    "None": lambda: None,
    "[[]]": lambda: [[]], "empty": lambda: [[]] * N, "only None": lambda: [None] * N,
    "None in it": lambda: [[[None]]] * N,
    "no steps": lambda: [np.zeros((0, 2))] * N, "no features": lambda: [np.zeros((2, 0))] * N,
    "mixed": lambda: [np.zeros((2, 2)), np.zeros(2)] * 12, "with None": lambda: [np.zeros((2, 2)), None] * 12,
    "widths": lambda: [np.zeros((2, 2)), np.zeros((2, 3))] * 12, "words": lambda: [[["a", "b"]]] * N,
    "complex": lambda: [np.zeros((2, 2), complex)] * N, "structured": lambda: [np.zeros((2, 2), "f8, f8")] * N,
    "sparse": lambda: sp.csr_matrix(ROWS["flat"]), "sparse sequences": lambda: [sp.csr_matrix(np.eye(2))] * N,
    "masked sequences": lambda: [np.ma.masked_array(np.zeros((2, 2)), True)] * N,
    "frames": lambda: [pd.DataFrame(np.eye(2))] * N,
    "huge ints": lambda: [[[10**400, 1]]] * N, "infinite": lambda: [np.full((2, 2), np.inf)] * N,
    "a generator": lambda: (row for row in ROWS["flat"]), "a set": lambda: {1, 2}, "a dict": lambda: {0: 1},
    "a word": lambda: "abc",
    "within itself": within_itself, "no repr": lambda: [NoRepr()] * N, "six axes": lambda: np.zeros((N, 1, 1, 1, 1,
    1)),
    "void": lambda: np.zeros((N, 6), "V4"), "shifting": Shifting,
    "columns out of range": lambda: with_arrays(sp.csr_matrix(ROWS["flat"]), indices=np.full(N * 6, 10**6, np.int32)),
}
WEIGHTS = {
    "huge ints": lambda: [10**400] * N, "None": lambda: [None] * N, "objects": lambda: objects(1, None),
    "structured": lambda: np.ones(N, "f8, f8"), "complex": lambda: np.ones(N) * 1j, "two axes": lambda: np.ones((N,
    2)),
    "a set": lambda: {1}, "a dict": lambda: {0: 1.0}, "masked": lambda: np.ma.masked_array(np.ones(N), Y > 0),
    "negative": lambda: -np.ones(N), "NaN": lambda: np.full(N, np.nan), "dates": lambda: np.zeros(N, "M8[s]"),
}


def state(est):
    """All that a refused fit must leave as it was."""
    skipped = set(est.get_params(deep=False)) | {"_progress", "model_", "_label_binarizer"}
    found = {name: repr(value) for name, value in vars(est).items() if name not in skipped}
    if hasattr(est, "model_"):
        found["model"] = id(est.model_), est.model_.theta.tobytes(), est.model_.epoch
        found["random"] = repr(est._progress.random_state.get_state()[1:3])
        found["proba"] = est.predict(rows_of(type(est).__name__)).tobytes()
    return found


def odd_data(table, kind, name, method):
    warnings.simplefilter("ignore")
    est, X, odd = made(kind), rows_of(kind), globals()[table][name]()
    if method in ("predict", "score", "partial_fit", "warm"):
        est.fit(X, Y)
    if method == "warm":
        est.set_params(warm_start=True)
    X, y, w = (odd if table == part else given for part, given in (("SAMPLES", X), ("LABELS", Y), ("WEIGHTS", None)))
    before = state(est)
    try:
        if method == "predict":
            est.predict(X)
        elif method == "score":
            est.score(X, y, w)
        elif method == "classes":
            est.partial_fit(X, Y, classes=odd)
        elif method == "first partial_fit" and "Classifier" in kind:
            est.partial_fit(X, y, w, classes=[0, 1])
        elif "partial_fit" in method:
            est.partial_fit(X, y, w)
        elif method == "validation":
            est.fit(rows_of(kind), Y, X_val=X, y_val=y, sample_weight_val=w)
        else:
            est.fit(X, y, w)
    except Exception:
        assert state(est) == before
        raise


def test_odd_data():
    methods = ["fit", "warm", "partial_fit", "score", "validation"]
    cases = [(table, kind, name, method) for kind in KINDS for table, names in (
        ("LABELS", LABELS), ("SAMPLES", SAMPLES), ("WEIGHTS", WEIGHTS)) for name in names
        for method in methods + ["predict"] * (table == "SAMPLES") + ["classes", "first partial_fit"] * (
            table == "LABELS" and "Classifier" in kind)
        # labels and weights take the same path in all families, samples in classifiers and regressors
        if kind.startswith("MLP") or (table == "SAMPLES" and "Classifier" in kind and (
            kind.startswith("RNN") or method in ("fit", "predict")))]
    for case, ended in zip(cases, run_all(odd_data, cases)):
        assert ended.error in ("", "ValueError", "TypeError", "InvalidParameterError"), (case, ended)
        assert not any(words in ended.text for words in NUMPYS_WORDS), (case, ended)


def multilabel_score(indices):
    damaged = with_arrays(sp.csr_matrix(np.c_[Y, 1 - Y]), indices=np.full(N, indices, np.int32))
    est = made("MLPClassifier").fit(ROWS["flat"], np.c_[Y, 1 - Y])
    return est.score(ROWS["flat"], damaged)


def test_a_damaged_matrix_of_labels_is_refused_in_score():
    for ended in run_all(multilabel_score, [(10**6,), (2**31 - 1,), (-1,)]):
        assert ended.says("ValueError", "y must be a valid sparse matrix, got one where each index"), ended


HUGE = 10**12
PARAMETERS = {
    "MLP": {"hidden_layer_sizes": [
        (HUGE,), HUGE, (10**400,), (10**5000,), (2**31,), (10**5, 10**5), range(1, 10**9),
        np.broadcast_to(3, (HUGE,)), ("a",), (None,), (np.nan,), (np.inf,), [[1]], (1, -10**5000)],
        "max_iter": [10**400, 2**63], "max_fun": [10**400, 2**63], "batch_size": [10**400, 2**63],
        "n_threads": [10**400, 2**63, 10**9, True], "tol": [10**400, 1e308], "alpha": [10**5000, 1e308],
        "learning_rate_init": [10**400, 1e308], "power_t": [10**400, 1e308], "n_iter_no_change": [10**400, np.inf],
        "verbose": [10**400], "random_state": [10**400], "callbacks": [[NoRepr()], within_itself(), ["a" * 10**7]],
        "class_weight": [
            [1], {0: 10**400, 1: 1}, {0: "a", 1: 1}, {0: NoRepr(), 1: 1}, {0: None, 1: 1}, [within_itself()]],
        "activation": [["relu"] * 10**6, [NoRepr()]], "dropout": [1 - 1e-17, np.nextafter(1, 0)]},
    "CNN": {"filters": [10**9, HUGE, 10**5000, (10**9, 10**9), np.broadcast_to(3, (HUGE,))],
            "kernel_size": [10**9, HUGE, 10**5000, 2**31, [10**6], np.broadcast_to(3, (HUGE,))],
            "pool_size": [10**9, 10**5000, np.broadcast_to(3, (HUGE,))],
            "input_shape": [(10**9, 10**9), (10**9, 10**9, 1), (10**5000, 1), (1,) * 10**6, range(1, 10**9),
                            np.broadcast_to(3, (HUGE,)), (np.inf, 1), (np.nan, 1), (2**62, 4), "ab"]},
    "RNN": {"units": [10**9, HUGE, 10**5000, (10**9, 10**9), np.broadcast_to(3, (HUGE,))],
            "input_shape": [(10**9, 10**9), (10**9, 2), (10**5000, 2), (2**31, 2)], "hidden_layer_sizes": [(HUGE,)]},
    "NeuralNet": {"layers": [[layers.Dense(HUGE)], [layers.Dense(2**31)], [NoRepr()], [layers.Dense(10**5)] * 2,
                             within_itself(), [layers.Embedding(HUGE, HUGE)]],
                  "input_shape": [(10**9, 10**9), (10**5000,)], "loss": [NoRepr()]},
}


def peak_memory():
    """The most bytes that this process had in memory; getrusage gives those of the parent where that had more."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("/proc/self/status has no VmHWM")


def odd_parameter(kind, family, name, i):
    import resource  # Windows has none

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    warnings.simplefilter("ignore")
    value = PARAMETERS[family][name][i]
    given = {"max_iter": {"tol": 1e9, "n_iter_no_change": 1}, "max_fun": {"solver": "lbfgs"},
             "power_t": {"solver": "sgd", "learning_rate": "invscaling"}}.get(name, {})
    est = made(kind, **{**given, name: value})
    try:
        est.fit(rows_of(kind), Y)
    finally:
        assert peak_memory() < 1 << 30


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address space can be limited on Linux only")
@pytest.mark.skipif(not LIMITS_MEMORY, reason="the address sanitizer reserves more address space than the limit")
def test_odd_parameters():
    """Refused at once, without memory for what they ask for, or accepted where they mean "as many as there are"."""
    cases = [
        (family + kind, family, name, i) for family, table in PARAMETERS.items() for name, values in table.items()
        for i in range(len(values)) for kind in ("Classifier", "Regressor")
        if not (name == "class_weight" and kind == "Regressor")]
    errors = "", "ValueError", "TypeError", "InvalidParameterError", "MemoryError", "RuntimeError"
    for case, ended in zip(cases, run_all(odd_parameter, cases, seconds=60)):
        assert ended.error in errors, (case, ended)
        # scikit-learn writes a parameter as it is
        written = ended.error == "InvalidParameterError" or ended.text == "no repr"
        assert written or len(ended.text) < 2000, (case, ended)
        assert not any(words in ended.text for words in NUMPYS_WORDS[:6]), (case, ended)
        assert not ended.error or ended.text, (case, ended)


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("settings, y", [
    ({"solver": "lm", "loss": "absolute_error"}, Y), ({"loss": "poisson"}, -Y),
    ({"layers": [layers.Dense(3, "softmax")]}, None),
    ({"input_shape": (7,)}, Y), ({"layers": [layers.LSTM(2)]}, Y), ({"loss": losses.LogLoss()}, Y * 7)])
def test_a_refused_fit_leaves_a_regressor_as_it_was(settings, y, fitted):
    est = made("NeuralNetRegressor", early_stopping=True, validation_fraction=0.3)
    if fitted:
        est.fit(ROWS["flat"], Y)
    before = state(est)
    est.set_params(**settings)
    with pytest.raises((TypeError, ValueError)):
        est.fit(ROWS["flat"], np.where(Y, np.nan, 1) if y is None else y)
    assert state(est) == before and hasattr(est, "n_features_in_") == fitted


def test_a_refused_partial_fit_forgets_the_classes():
    est = made("MLPClassifier")
    with pytest.raises(ValueError, match="`y` has classes not in"):
        est.partial_fit(ROWS["flat"], Y + 5, classes=[0, 1])
    assert not hasattr(est, "classes_")
    est.partial_fit(ROWS["flat"], Y + 5, classes=[5, 6])
    assert est.classes_.tolist() == [5, 6]


def test_an_error_after_an_epoch_keeps_what_was_learnt():
    def stop(model, logs):
        if model.epoch == 2:
            raise KeyError("enough")

    est = made("MLPRegressor", callbacks=[stop], max_iter=5)
    with pytest.raises(KeyError, match="enough"):
        est.fit(ROWS["flat"], Y)
    assert est.model_.epoch == est.n_iter_ == len(est.loss_curve_) == 2
