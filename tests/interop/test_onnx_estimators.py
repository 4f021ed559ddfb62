"""Estimators as ONNX models, alone and within scikit-learn's pipelines by skl2onnx."""
import sys

import numpy as np
import onnx
import pytest
from onnx_reference import run
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from small_estimators import CLASSIFIERS, EVERY, REGRESSORS, problem, small

import ldl_cy
from ldl_cy import interop, layers

TOL = 2e-6
LATEST = onnx.defs.onnx_opset_version()
pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:Warning")


def quick(name, **parameters):
    return small(name, max_iter=3, n_iter_no_change=5, **parameters)


def agree(found, expected, X):
    """Outputs of a model of an estimator, or of a pipeline that ends with one."""
    wanted = expected.predict(X)
    if not is_classifier(expected):
        values, = found
        assert values.shape == (len(X), values.shape[1]) and values.dtype == np.float32
        np.testing.assert_allclose(values, wanted.reshape(len(X), -1), atol=TOL * max(1, np.abs(wanted).max()))
        return
    labels, p = found
    np.testing.assert_array_equal(labels, wanted)
    assert p.shape == expected.predict_proba(X).shape
    np.testing.assert_allclose(p, expected.predict_proba(X), atol=TOL)


def read_again(onx, expected, X, tol=TOL):
    """What from_onnx makes of it gives probabilities, of two classes that of the second one, or values."""
    model = interop.from_onnx(onx)
    wanted = expected.predict_proba(X) if is_classifier(expected) else expected.predict(X).reshape(len(X), -1)
    if is_classifier(expected) and model.output_shape == (1,):
        assert wanted.shape[1] == 2
        wanted = wanted[:, 1:]
    found = model.predict(X)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=tol * max(1, np.abs(wanted).max()))
    return model


def targets(name, y):
    """y in every form that the estimator takes."""
    if name in REGRESSORS:
        return {"one": y, "two": np.stack([y, -y], 1)}
    return {"codes": 3 * y - 1, "strings": np.array(["a", "bb", "ä"])[y],
            "objects": np.array(["a", "b", "c"], object)[y], "booleans": y > 0, "floats": (y > 0) * 2.0,
            "two labels": np.stack([y > 0, y > 1], 1).astype(int), "one class": np.full_like(y, 7)}


@pytest.mark.parametrize("name", EVERY)
def test_every_estimator_and_target(name):
    X, y = problem(quick(name))
    X = X.astype(np.float32)
    for kind, form in targets(name, y).items():
        est = quick(name).fit(X.astype(float), form)
        onx = interop.to_onnx(est)
        agree(run(onx, X=X), est, X)
        agree(run(onx, X=X[:1]), est, X[:1])
        names = ["label", "probabilities"] if name in CLASSIFIERS else ["variable"]
        assert [entry.name for entry in (*onx.graph.input, *onx.graph.output)] == ["X", *names], kind
        read_again(onx, est, X)
        read_again(interop.to_onnx(est, opset=LATEST), est, X)
        exact = interop.to_onnx(est, dtype="float64")
        read_again(exact, est, X.astype(float), 1e-12)
        exact = run(exact, X=X.astype(float))
        reference = est.predict_proba(X) if name in CLASSIFIERS else est.predict(X).reshape(len(X), -1)
        np.testing.assert_allclose(exact[-1], reference, atol=1e-12)


def test_rows_are_images_and_sequences():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 6, 5, 2))
    cnn = quick("CNNClassifier").fit(X, rng.integers(0, 3, 20))
    flat = X.reshape(20, 60).astype(np.float32)
    agree(run(interop.to_onnx(cnn), X=flat), cnn, flat)
    rnn = quick("RNNRegressor", cell="lstm", bidirectional=True, input_shape=(30, 2)).fit(flat, flat[:, 0])
    agree(run(interop.to_onnx(rnn), X=flat), rnn, flat)


def test_sequences_of_several_lengths():
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((n, 3)) for n in (5, 2, 7, 1, 7)]
    clf = quick("RNNClassifier", input_shape=(7, 3)).fit(X, ["a", "b", "a", "b", "c"])
    padded = np.full((5, 7, 3), 9, np.float32)
    for row, x in zip(padded, X):
        row[:len(x)] = x
    onx = interop.to_onnx(clf, lengths=True)
    lengths = np.array([len(x) for x in X])
    agree(run(onx, X=padded.reshape(5, 21), lengths=lengths), clf, X)
    with pytest.raises(ValueError, match="Sequential: lengths need sequences"):
        interop.from_onnx(onx).predict(padded.reshape(5, 21), lengths=lengths)


def test_probabilities_are_clipped_as_those_of_the_estimator():
    X = np.linspace(-1, 1, 40, dtype=np.float32)[:, None] * 1e4
    clf = quick("MLPClassifier").fit(X, X.ravel() > 0)
    _, p = run(interop.to_onnx(clf), X=X)
    np.testing.assert_array_equal(p.min(0), clf.predict_proba(X).min(0))
    assert p.min() > 0


def test_poisson_regression_has_a_logarithmic_link():
    X, y = problem(quick("MLPRegressor"))
    reg = quick("MLPRegressor", loss="poisson").fit(X, np.exp(y))
    X = X.astype(np.float32)
    onx = interop.to_onnx(reg)
    agree(run(onx, X=X), reg, X)
    np.testing.assert_allclose(np.exp(interop.from_onnx(onx).predict(X)[:, 0]), reg.predict(X), rtol=1e-5)


def test_refused():
    with pytest.raises(NotFittedError):
        interop.to_onnx(ldl_cy.MLPClassifier())
    X, y = problem(quick("MLPClassifier"))
    clf = quick("MLPClassifier").fit(X, y)
    clf.classes_ = np.array(["2001-01-01", "2002-01-01", "2003-01-01"], "datetime64[D]")
    with pytest.raises(ValueError, match="to_onnx: classes must be strings or whole numbers of 64 bits, got"):
        interop.to_onnx(clf)
    with pytest.raises(TypeError, match="to_onnx: obj must be a Sequential or an estimator of ldl_cy, got"):
        interop.to_onnx(LogisticRegression())
    custom = layers.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), lambda shape: shape)
    net = quick("NeuralNetClassifier", layers=[layers.Dense(3), custom]).fit(X, y)
    with pytest.raises(ValueError, match="got Custom 'custom_1'"):
        interop.to_onnx(net)
    with pytest.raises(ValueError, match="to_onnx: lengths need sequences"):
        interop.to_onnx(quick("MLPClassifier").fit(X, y), lengths=True)


# -- pipelines ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def skl2onnx():
    package = pytest.importorskip("skl2onnx", reason="the extra 'test' brings skl2onnx, which converts the pipelines")
    interop.register_skl2onnx()
    interop.register_skl2onnx()             # once more is harmless
    return package


@pytest.mark.parametrize("name", EVERY)
def test_every_pipeline(name, skl2onnx):
    X, y = problem(quick(name))
    X32 = X.astype(np.float32)
    for form in targets(name, y).values():
        pipe = make_pipeline(StandardScaler(), quick(name)).fit(X, form)
        onx = skl2onnx.to_onnx(pipe, X32[:1], options={"zipmap": False} if name in CLASSIFIERS else None)
        agree(run(onx, X=X32), pipe, X32)
        read_again(onx, pipe, X32)
        if name in CLASSIFIERS and np.ndim(form) == 1:
            read_again(skl2onnx.to_onnx(pipe, X32[:1]), pipe, X32)         # a dict of probabilities for each row


def test_outputs_of_other_exporters_are_refused():
    X, y = problem(quick("MLPClassifier"))
    onx = interop.to_onnx(quick("MLPClassifier").fit(X, y))
    assert interop.from_onnx(onx).layers[-1].activation == "softmax"
    onx.producer_name = "another"
    with pytest.raises(ValueError, match=r"from_onnx: the graph must have one output, got \['label', 'prob"):
        interop.from_onnx(onx)


def test_options(skl2onnx):
    X, y = problem(quick("CNNClassifier"))
    X32, y = X.astype(np.float32), np.array(["low", "mid", "up"])[y]
    pipe = make_pipeline(StandardScaler(), quick("CNNClassifier")).fit(X, y)
    onx = skl2onnx.to_onnx(pipe, X32[:1])         # the evaluator has no ZipMap; ONNX Runtime runs it in tests/oracle
    zipmap, = (node for node in onx.graph.node if node.op_type == "ZipMap")
    assert list(zipmap.attribute[0].strings) == [b"low", b"mid", b"up"]
    _, *columns = run(skl2onnx.to_onnx(pipe, X32[:1], options={"zipmap": "columns"}), X=X32)
    np.testing.assert_allclose(np.stack(columns, 1), pipe.predict_proba(X32), atol=TOL)
    options = {id(pipe): {"zipmap": False, "output_class_labels": True}}
    classes = run(skl2onnx.to_onnx(pipe, X32[:1], options=options), X=X32)[2]
    assert list(classes) == ["low", "mid", "up"]
    clf = quick("MLPClassifier").fit(X, y)
    codes, _ = run(skl2onnx.to_onnx(clf, X32[:1], options={"zipmap": False, "nocl": True}), X=X32)
    np.testing.assert_array_equal(clf.classes_[codes], clf.predict(X32))


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_other_types_of_x(dtype, skl2onnx):
    """The network computes in float32; probabilities of float64 rows are float64."""
    X, y = problem(quick("MLPClassifier"))
    X = (5 * X).astype(dtype)
    clf = quick("MLPClassifier").fit(X, y)
    labels, p = run(skl2onnx.to_onnx(clf, X[:1], options={"zipmap": False}), X=X)
    assert p.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_array_equal(labels, clf.predict(X))
    np.testing.assert_allclose(p, clf.predict_proba(X), atol=TOL)


def test_columns_searches_and_ensembles(skl2onnx):
    X, y = problem(quick("MLPClassifier"))
    X32 = X.astype(np.float32)
    columns = ColumnTransformer([("a", StandardScaler(), [0, 2]), ("b", MinMaxScaler(), [1, 3, 4, 5])])
    pipe = make_pipeline(columns, quick("MLPRegressor")).fit(X, X[:, 0])
    agree(run(skl2onnx.to_onnx(pipe, X32[:1]), X=X32), pipe, X32)
    search = GridSearchCV(quick("CNNClassifier"), {"alpha": [1e-4, 1e-2]}, cv=2).fit(X, y)
    for each in (search, search.best_estimator_):
        agree(run(skl2onnx.to_onnx(each, X32[:1], options={"zipmap": False}), X=X32), each, X32)
    members = [("net", quick("NeuralNetClassifier")), ("linear", LogisticRegression())]
    voting = VotingClassifier(members, voting="soft", flatten_transform=False).fit(X, y)
    agree(run(skl2onnx.to_onnx(voting, X32[:1], options={"zipmap": False}), X=X32), voting, X32)


def test_pipelines_that_are_refused(skl2onnx):
    X, y = problem(quick("MLPClassifier"))
    X32 = X.astype(np.float32)
    clf = quick("MLPClassifier").fit(X, y)
    with pytest.raises(ValueError, match=r"register_skl2onnx: target_opset must be at least 18 for MLP.*, got 17"):
        skl2onnx.to_onnx(clf, X32[:1], target_opset=17)
    with pytest.raises(NotFittedError):
        skl2onnx.to_onnx(ldl_cy.MLPRegressor(), X32[:1])


def test_without_skl2onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r'register_skl2onnx: needs the package skl2onnx, .*"ldl_cy\[onnx\]"'):
        interop.register_skl2onnx()
