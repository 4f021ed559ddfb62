"""What estimators make of rows: bytes, images without their channel, and channels before time."""
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from small_estimators import small

from ldl_cy import CNNClassifier, NeuralNetClassifier, layers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
DIGITS, Y = load_digits(return_X_y=True)
BYTES = DIGITS[:150].astype(np.uint8)
Y = Y[:150]
RNG = np.random.default_rng(3)
SIGNALS = RNG.normal(size=(40, 10, 3))
SUMS = SIGNALS[:, :, 1].sum(axis=1)
STACK = [layers.Conv1D(4, 3, padding="same", activation="relu"), layers.GlobalAvgPool1D()]


def settings(name, **more):
    return {"max_iter": 3, **({"layers": STACK} if name.startswith("NeuralNet") else {}), **more}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", ["CNNClassifier", "RNNClassifier", "NeuralNetClassifier", "CNNRegressor"])
def test_bytes_are_computed_in_float32(name, solver):
    shape = (8, 8, 1) if name.startswith("CNN") else (8, 8)
    make = {"input_shape": shape, "solver": solver, "early_stopping": solver == "adam"}
    a = small(name, **settings(name, **make)).fit(BYTES, Y)
    b = small(name, **settings(name, **make)).fit(BYTES.astype(np.float32), Y)
    assert a.model_.dtype == "float32"
    np.testing.assert_array_equal(a.model_.theta, b.model_.theta)
    for est in (a, b):
        np.testing.assert_array_equal(est.predict(BYTES), est.predict(BYTES.astype(np.float32)))
    if solver == "adam":
        a.set_params(early_stopping=False).partial_fit(BYTES, Y)
        b.set_params(early_stopping=False).partial_fit(BYTES.astype(np.float32), Y)
        np.testing.assert_array_equal(a.model_.theta, b.model_.theta)


def test_bytes_in_other_dtypes():
    clf = CNNClassifier(filters=(4,), max_iter=2, input_shape=(8, 8, 1), random_state=0)
    double = clone(clf).set_params(dtype="float64").fit(BYTES, Y)
    assert double.model_.dtype == "float64"
    np.testing.assert_array_equal(double.model_.theta, clone(clf).fit(BYTES.astype(float), Y).model_.theta)
    np.testing.assert_array_equal(double.predict(BYTES), double.predict(BYTES.astype(float)))
    assert clone(clf).fit(BYTES.astype(np.int16), Y).model_.dtype == "float64"
    assert small("MLPClassifier", max_iter=2).fit(BYTES, Y).model_.dtype == "float64", "as in scikit-learn"
    features = small("NeuralNetClassifier", layers=[], max_iter=2).fit(BYTES, Y).transform(BYTES)
    assert features.dtype == "float32" and (features == BYTES).all()
    assert small("RNNRegressor", max_iter=2).fit([x[:, None] for x in BYTES[:20]], Y[:20]).model_.dtype == "float32"


def test_bytes_from_a_file_are_not_copied(tmp_path):
    on_disk = np.memmap(tmp_path / "X", np.uint8, "w+", shape=BYTES.shape)
    on_disk[:] = BYTES
    clf = small("CNNClassifier", max_iter=2, input_shape=(8, 8, 1))
    assert np.shares_memory(clf._read_fit(on_disk, Y, reset=True, classes="learn")[0], on_disk)
    np.testing.assert_array_equal(clone(clf).fit(on_disk, Y).model_.theta, clf.fit(BYTES, Y).model_.theta)


@pytest.mark.parametrize("name", ["CNNClassifier", "CNNRegressor"])
def test_images_without_their_channel(name):
    images = BYTES.reshape(-1, 8, 8)
    with pytest.warns(UserWarning, match=rf"{name} reads samples of shape \(8, 8\) as signals of 8 steps and 8 "
                                         r"channels.*input_shape=\(8, 8, 1\); input_shape=\(8, 8\)") as caught:
        clf = small(name, max_iter=2).fit(images, Y)
    assert caught[0].filename == __file__
    assert clf.model_.input_shape == (8, 8)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*signals.*", UserWarning)
        clf.predict(images)
        clf = small(name, max_iter=2, input_shape=(8, 8, 1)).fit(images, Y)
        assert clf.model_.input_shape == (8, 8, 1)
        flat = small(name, max_iter=2, input_shape=(8, 8, 1)).fit(BYTES, Y)
        np.testing.assert_array_equal(clf.predict(BYTES), flat.predict(images))
        for given, settled in ((images, {"input_shape": (8, 8)}), (images[:, :7], {}), (images[:, :, :7], {}),
                               (BYTES, {}), (images[..., None], {}), (images, {"input_format": "channels_first"})):
            small(name, max_iter=1, **settled).fit(given, Y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["CNNRegressor", "RNNRegressor", "NeuralNetRegressor"])
def test_channels_before_time(name, dtype):
    """The same fit as with the channels last, for arrays and flat rows, and predictions of either."""
    last = SIGNALS.astype(dtype)
    first = np.ascontiguousarray(last.transpose(0, 2, 1))
    reference = small(name, **settings(name)).fit(last, SUMS)
    reg = small(name, **settings(name, input_format="channels_first")).fit(first, SUMS)
    assert reg.n_features_in_ == 3 and reg.model_.input_shape == (10, 3) == reference.model_.input_shape
    np.testing.assert_array_equal(reg.model_.theta, reference.model_.theta)
    flat = small(name, **settings(name, input_format="channels_first", input_shape=(10, 3)))
    flat.fit(first.reshape(40, 30), SUMS)
    assert flat.n_features_in_ == 30
    np.testing.assert_array_equal(flat.model_.theta, reference.model_.theta)
    for est in (reg, flat):
        for rows in (first, first.reshape(40, 30), first[:1]):
            np.testing.assert_allclose(est.predict(rows), reference.predict(last)[:len(rows)], rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match=r"X has samples of shape \(10, 3\), but .* is expecting \(3, 10\)"):
            est.predict(last)
    np.testing.assert_array_equal(reg.partial_fit(first, SUMS).model_.theta,
                                  reference.partial_fit(last, SUMS).model_.theta)


@pytest.mark.parametrize("name", ["CNNRegressor", "RNNRegressor", "NeuralNetRegressor"])
def test_one_channel(name):
    rows = SIGNALS[:, :, 0]
    reference = small(name, **settings(name)).fit(rows[:, :, None], SUMS)
    for given in (rows, rows[:, None, :]):
        reg = small(name, **settings(name, input_format="channels_first")).fit(given, SUMS)
        assert reg.model_.input_shape == (10, 1)
        np.testing.assert_array_equal(reg.predict(given), reference.predict(rows[:, :, None]))
        np.testing.assert_array_equal(reg.predict(rows), reg.predict(rows[:, None, :]))


def test_images_with_channels_first():
    last = RNG.normal(size=(30, 6, 5, 2))
    first = np.moveaxis(last, -1, 1)
    y = last.mean(axis=(1, 2, 3))
    a = small("CNNRegressor", max_iter=2).fit(last, y)
    b = small("CNNRegressor", max_iter=2, input_format="channels_first").fit(first, y)
    np.testing.assert_array_equal(a.model_.theta, b.model_.theta)
    np.testing.assert_array_equal(a.predict(last), b.predict(first))
    assert b.n_features_in_ == 2 and b.model_.input_shape == (6, 5, 2)


def test_lists_and_ends_with_channels_first():
    lengths = np.r_[RNG.integers(1, 8, 19), 8]
    last = [RNG.normal(size=(n, 3)) for n in lengths]
    y = np.array([x.sum() for x in last])
    reference = small("RNNRegressor", max_iter=3).fit(last, y)
    padded = np.full((20, 3, 8), np.nan)
    for row, x in zip(padded, last):
        row[:, :len(x)] = x.T
    for given in ([x.T for x in last], padded):
        reg = small("RNNRegressor", max_iter=3, input_format="channels_first").fit(given, y)
        assert reg.n_features_in_ == 3
        np.testing.assert_array_equal(reg.model_.theta, reference.model_.theta)
        for rows in ([x.T for x in last], padded, np.pad(padded, ((0, 0), (0, 0), (0, 4)), constant_values=np.nan)):
            np.testing.assert_allclose(reg.predict(rows), reference.predict(last), rtol=1e-12)
    longer = RNG.normal(size=(4, 3, 15))
    reg.partial_fit(longer, np.zeros(4))
    reference.partial_fit(longer.transpose(0, 2, 1), np.zeros(4))
    np.testing.assert_array_equal(reg.model_.theta, reference.model_.theta)
    with pytest.raises(ValueError, match=r"arrays \(features, steps\) with as many features in each"):
        reg.fit(last, y)


def test_scikit_learns_tools():
    first = np.ascontiguousarray(SIGNALS.transpose(0, 2, 1))
    net = small("NeuralNetClassifier", layers=STACK, max_iter=2)
    search = GridSearchCV(net.set_params(input_format="channels_first"), {"alpha": [0.0, 1.0]}, cv=2)
    assert search.fit(first, SUMS > 0).predict(first).shape == (40,)
    assert clone(net).input_format == "channels_first"
    pipe = make_pipeline(FunctionTransformer(lambda X: 2 * X), net).fit(first, SUMS > 0)
    assert pipe.predict_proba(first).shape == (40, 2)
    with pytest.raises(ValueError, match="The 'input_format' parameter of NeuralNetClassifier must be a str among"):
        NeuralNetClassifier(input_format="first").fit(first, SUMS > 0)


def test_onnx_reads_rows_in_the_same_order():
    pytest.importorskip("onnx", reason="the extra 'test' brings onnx, which writes and runs the graphs")
    from onnx_reference import run

    from ldl_cy.interop import to_onnx
    first = np.ascontiguousarray(SIGNALS.transpose(0, 2, 1)).astype(np.float32)
    for name in ("CNNRegressor", "RNNRegressor"):
        reg = small(name, max_iter=3, input_format="channels_first").fit(first, SUMS)
        (y,) = run(to_onnx(reg), X=first.reshape(40, 30))
        np.testing.assert_allclose(y.ravel(), reg.predict(first), rtol=1e-4, atol=1e-5)
