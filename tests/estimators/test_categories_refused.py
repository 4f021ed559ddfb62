"""What columns of categories must not be, in scikit-learn's sentences where it has one."""
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from tables import columns, form, target

from ldl_cy import MLPClassifier, MLPRegressor, NeuralNetClassifier, NeuralNetRegressor, interop, layers
from ldl_cy.models import Sequential

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TABLE = columns()
Y = target(TABLE)
OBJECTS = form("objects", TABLE)
FEW = {"random_state": 0, "max_iter": 2}


@parametrize_with_checks([
    kind(categorical_features="from_dtype", learning_rate_init=0.01, max_iter=40, random_state=0)
    for kind in (MLPClassifier, MLPRegressor, NeuralNetClassifier, NeuralNetRegressor)])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("given, names, error, message", [
    ([0.5], False, ValueError, "categorical_features must be an array-like of bool, int or str, got: float64."),
    ([[0, 2]], False, ValueError, "categorical_features must be an array-like of bool, int or str, got: int64."),
    ([0, "a"], False, ValueError, "categorical_features should be passed as an array of integers or as a boolean"),
    ([4], False, ValueError, "categorical_features set as integer indices must be in [0, n_features - 1]"),
    ([-1], False, ValueError, "categorical_features set as integer indices must be in [0, n_features - 1]"),
    ([True, False], False, ValueError, "categorical_features set as a boolean mask must have shape (n_features,), got"),
    (["city"], False, ValueError, "categorical_features should be passed as an array of integers or as a boolean"),
    (["town"], True, ValueError, "categorical_features has a item value 'town' which is not a valid feature name of"),
    ("city", True, ValueError, "The 'categorical_features' parameter of MLPClassifier must be"),
    (3, False, ValueError, "The 'categorical_features' parameter of MLPClassifier must be"),
    ([1], False, ValueError, "Column 'x0' of X must hold numbers or be one of categorical_features, got 'Oslo'"),
    (["age"], True, ValueError, "Column 'city' of X must hold numbers or be one of categorical_features, got 'Oslo'"),
])
def test_bad_settings(given, names, error, message):
    X = form("pandas objects", {**TABLE, "city": ["Oslo", *TABLE["city"][1:]]}) if names else np.where(
        (np.arange(4) == 0) & (np.arange(200) == 0)[:, None], "Oslo", OBJECTS)
    clf = MLPClassifier(categorical_features=given, **FEW)
    with pytest.raises(error) as raised:
        clf.fit(X, Y)
    assert message in str(raised.value)
    assert not hasattr(clf, "n_features_in_") and not hasattr(clf, "category_encoder_")


def test_other_columns_than_in_fit():
    X = form("pandas categories", TABLE)
    clf = MLPClassifier(categorical_features="from_dtype", **FEW).fit(X, Y)
    for other in (X[["age", "city", "job", "income"]], X.drop(columns="job"), X.rename(columns={"job": "work"})):
        with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
            clf.predict(other)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clf.predict(OBJECTS)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4 features as input"):
        MLPClassifier(categorical_features=[0, 2], **FEW).fit(OBJECTS, Y).predict(OBJECTS[:, :3])


def test_numbers_for_text():
    clf = MLPClassifier(categorical_features=[0, 2], **FEW).fit(OBJECTS, Y)
    X = OBJECTS.copy()
    X[:, 2] = 3
    with pytest.raises(ValueError, match="Column 'x2' of X had text as categories in fit, got numbers"):
        clf.predict(X)
    clf.fit(X, Y)
    with pytest.raises(ValueError, match="Column 'x2' of X had numbers as categories in fit, got text"):
        clf.predict(OBJECTS)
    X[:, 2] = None
    assert clf.predict(X).shape == (200,)


def test_values_that_are_no_categories():
    X = OBJECTS.copy()
    X[7, 0] = ["Paris"]
    with pytest.raises(TypeError, match=r"Categories of column 'x0' of X must be text or numbers, got \['Paris'\]."):
        MLPClassifier(categorical_features=[0, 2], **FEW).fit(X, Y)
    X[7, 0], X[8, 0] = 1j, 2j
    with pytest.raises(TypeError, match="Categories of column 'x0' of X must be text or numbers"):
        MLPClassifier(categorical_features=[0, 2], **FEW).fit(X, Y)


def test_one_column_of_a_frame():
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    with pytest.raises(ValueError, match=r"Expected (2D array|a 2-dimensional container)"):
        MLPClassifier(categorical_features=[0], **FEW).fit(pd.Series(np.zeros(20)), np.arange(20) % 2)


@pytest.mark.parametrize("X, error, message", [
    (csr_matrix(np.eye(20)), TypeError, "Sparse data was passed"),
    (np.zeros((20, 2, 2)), ValueError, "Found array with dim 3"),
    (np.zeros(20), ValueError, "Expected 2D array, got 1D array instead"),
    (np.zeros((0, 3)), ValueError, "Found array with 0 sample"),
    (np.zeros((20, 0)), ValueError, "Found array with 0 feature"),
    (np.ma.masked_equal(np.zeros((20, 2)), 0), ValueError, "masked"),
    ([], ValueError, "Expected 2D array"),
])
@pytest.mark.parametrize("kind", [MLPRegressor, NeuralNetRegressor])
def test_other_input(kind, X, error, message):
    with pytest.raises(error, match=message):
        kind(categorical_features=[0], **FEW).fit(X, np.zeros(20))


def test_sparse_rows_have_no_categories_by_dtype():
    X = csr_matrix(np.random.default_rng(0).integers(0, 2, (200, 4)).astype(float))
    clf = MLPClassifier(categorical_features="from_dtype", **FEW).fit(X, Y)
    assert not hasattr(clf, "category_encoder_") and get_tags(clf).input_tags.sparse
    assert not get_tags(MLPClassifier(categorical_features=[0])).input_tags.sparse


def test_of_neural_nets():
    clf = NeuralNetClassifier(categorical_features=[0, 2], input_shape=(2, 2), **FEW)
    with pytest.raises(ValueError, match=r"input_shape must be None with categorical_features, got \(2, 2\)."):
        clf.fit(OBJECTS, Y)
    trunk = Sequential([layers.Dense(2)]).build(4)
    with pytest.raises(ValueError, match="layers must be None or a list of layers with categorical_features"):
        clf.set_params(input_shape=None, layers=trunk).fit(OBJECTS, Y)


def test_interop():
    clf = MLPClassifier(categorical_features=[0, 2], **FEW).fit(OBJECTS, Y)
    with pytest.raises(ValueError, match="to_sklearn: mlp must have no categorical_features"):
        interop.to_sklearn(clf)
    pytest.importorskip("onnx", reason="the extra 'test' brings onnx, which writes the graph")
    with pytest.raises(ValueError, match="to_onnx: estimators with categorical_features have no counterpart in ONNX"):
        interop.to_onnx(clf)
    assert interop.to_onnx(clf.model_).graph.node
