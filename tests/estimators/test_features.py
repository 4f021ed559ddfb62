"""Estimators as transformers: what the output layer reads."""
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import EVERY, problem, small

import ldl_cy
from ldl_cy import CNNRegressor, MLPClassifier, MLPRegressor, NeuralNetClassifier, RNNClassifier, layers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=EVERY)
def name(request):
    return request.param


def fitted(name, n=60, **parameters):
    estimator = small(name, max_iter=3, **parameters)
    X, y = problem(estimator, n)
    return estimator.fit(X, y), X, y


def output_layer(model):
    """(kernel, bias) of the last layer."""
    return list(model.parameters.values())[-2:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_the_output_layer_reads_the_features(name, dtype, n):
    estimator, X, _ = fitted(name, dtype=dtype)
    kernel, bias = output_layer(estimator.model_)
    features = estimator.transform(X[:n])
    assert features.shape == (n, len(kernel)) and features.dtype == dtype
    raw = estimator.model_.predict(X[:n].reshape(n, *estimator.model_.input_shape))
    np.testing.assert_allclose(features @ kernel + bias, raw, rtol=0, atol={"float32": 2e-6, "float64": 1e-14}[dtype])
    traced = estimator.model_.trace(X[:n].astype(dtype).reshape(n, *estimator.model_.input_shape))
    np.testing.assert_allclose(features, list(traced.values())[-2].reshape(n, -1), rtol=0,
                               atol={"float32": 1e-6, "float64": 1e-14}[dtype])


def test_fit_transform_and_threads(name):
    estimator, X, y = fitted(name)
    features = estimator.transform(X)
    np.testing.assert_array_equal(clone(estimator).fit_transform(X, y), features)
    np.testing.assert_array_equal(clone(estimator).set_params(n_threads=1).fit(X, y).transform(X), features)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.transform(X), features)
    # of the weights of now: also after further training
    estimator.partial_fit(X, y)
    assert (estimator.transform(X) != features).any()


def test_names(name):
    estimator, X, _ = fitted(name)
    names = estimator.get_feature_names_out()
    assert list(names) == [f"{name.lower()}{i}" for i in range(estimator.transform(X).shape[1])]
    for method in ("transform", "get_feature_names_out"):
        with pytest.raises(NotFittedError):
            getattr(clone(estimator), method)(*[X][:method == "transform"])


def test_the_class_is_a_transformer(name):
    order = getattr(ldl_cy, name).__mro__
    assert order.index(TransformerMixin) < order.index(BaseEstimator)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames(name, package):
    pytest.importorskip(package, reason=f"the extra 'test' brings {package}, whose frames are the output")
    estimator, X, y = fitted(name)
    plain = estimator.transform(X)
    frame = estimator.set_output(transform=package).transform(X)
    assert type(frame).__module__.startswith(package) and list(frame.columns) == list(estimator.get_feature_names_out())
    np.testing.assert_array_equal(frame.to_numpy(), plain)
    assert isinstance(estimator.predict(X), np.ndarray)


def test_frames_in_and_out_keep_the_index():
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    X, y = problem(MLPClassifier())
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(len(X)) + 100)
    clf = MLPClassifier(3, max_iter=2, random_state=0).set_output(transform="pandas")
    out = clf.fit_transform(frame, y)
    assert list(out.index) == list(frame.index) and list(out.columns) == [f"mlpclassifier{i}" for i in range(3)]
    with pytest.raises(ValueError, match="The feature names should match"):
        clf.transform(frame.rename(columns={"a": "z"}))


def test_a_step_of_a_pipeline(name):
    estimator = small(name, max_iter=30)
    X, y = problem(estimator, 200)
    last = LogisticRegression() if is_classifier(estimator) else Ridge()
    pipeline = make_pipeline(StandardScaler(), estimator, last).fit(X, y)
    assert pipeline.score(X, y) > 0.8
    alone = clone(estimator).fit(StandardScaler().fit_transform(X), y)
    assert len(pipeline[:-1].get_feature_names_out()) == alone.transform(X).shape[1] == pipeline[-1].n_features_in_
    np.testing.assert_array_equal(pipeline[:-1].transform(X), alone.transform(StandardScaler().fit_transform(X)))


def test_unions_columns_and_searches():
    X, y = problem(MLPClassifier(), 90)
    first, second = (MLPClassifier(k, max_iter=3, random_state=0) for k in (4, 5))
    union = FeatureUnion([("four", first), ("five", second)]).fit(X, y)
    np.testing.assert_array_equal(union.transform(X), np.hstack([clone(first).fit(X, y).transform(X),
                                                                 clone(second).fit(X, y).transform(X)]))
    assert list(union.get_feature_names_out())[3:5] == ["four__mlpclassifier3", "five__mlpclassifier0"]
    columns = ColumnTransformer([("net", first, [0, 1]), ("rest", "passthrough", [4])]).fit(X, y)
    assert columns.transform(X).shape == (90, 5)
    np.testing.assert_array_equal(columns.transform(X)[:, :4], clone(first).fit(X[:, :2], y).transform(X[:, :2]))
    search = GridSearchCV(make_pipeline(first, LogisticRegression()), {"mlpclassifier__hidden_layer_sizes": [3, 6]},
                          cv=2, n_jobs=2).fit(X, y)
    assert search.best_estimator_[:-1].transform(X).shape[1] in (3, 6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_without_hidden_layers_the_features_are_x(kind, dtype):
    X, y = problem(kind())
    estimator = kind(hidden_layer_sizes=(), max_iter=2, dtype=dtype).fit(X, y)
    np.testing.assert_array_equal(estimator.transform(X), X.astype(dtype))
    assert len(estimator.get_feature_names_out()) == 6
    rows = estimator.transform(sparse.csr_matrix(X))
    assert sparse.issparse(rows) and rows.dtype == dtype
    np.testing.assert_array_equal(rows.toarray(), X.astype(dtype))
    stack = NeuralNetClassifier([], input_shape=(2, 3), max_iter=2).fit(X, problem(NeuralNetClassifier())[1])
    np.testing.assert_array_equal(stack.transform(X.reshape(-1, 2, 3)), X)      # flattened


def test_sparse_rows():
    X, y = problem(MLPClassifier())
    X[np.abs(X) < 0.7] = 0
    clf = MLPClassifier(5, max_iter=3, random_state=0).fit(X, y)
    for rows in (sparse.csr_matrix(X), sparse.csc_array(X)):
        np.testing.assert_allclose(clf.transform(rows), clf.transform(X), atol=1e-15)


def test_images_and_stacks_of_several_axes():
    X, y = np.random.default_rng(0).normal(size=(9, 6, 5, 2)), np.arange(9.0)
    reg = CNNRegressor(filters=3, hidden_layer_sizes=(), max_iter=2, random_state=0).fit(X, y)
    assert reg.transform(X).shape == (9, 3 * 2 * 3) == (9, len(output_layer(reg.model_)[0]))
    np.testing.assert_array_equal(reg.transform(X), reg.transform(X.reshape(9, -1)))
    deep = NeuralNetClassifier([layers.Conv2D(3, 2), layers.BatchNorm(), layers.Dropout(0.5)], max_iter=2,
                               random_state=0).fit(X, y.astype(int) % 3)
    features = deep.transform(X)
    assert features.shape == (9, 5 * 4 * 3)
    np.testing.assert_array_equal(features, deep.transform(X))          # no dropout
    kernel, bias = output_layer(deep.model_)
    np.testing.assert_allclose(features @ kernel + bias, deep.model_.predict(X), atol=1e-13)


def test_sequences_of_different_lengths():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(t, 2)) for t in rng.integers(2, 7, 20)]
    y = np.array([x[0, 0] > 0 for x in X])
    clf = RNNClassifier(units=4, max_iter=2, random_state=0).fit(X, y)
    features = clf.transform(X)
    kernel, bias = output_layer(clf.model_)
    np.testing.assert_allclose(1 / (1 + np.exp(-(features @ kernel + bias).ravel())), clf.predict_proba(X)[:, 1])
    for x, row in zip(X, features):             # each stops at its own end
        np.testing.assert_allclose(clf.transform([x])[0], row, atol=1e-14)
    longer = [*X, rng.normal(size=(11, 2))]
    np.testing.assert_allclose(clf.transform(longer)[:20], features, atol=1e-14)


def test_input_is_checked(name):
    estimator, X, y = fitted(name)
    with pytest.raises(ValueError, match=r"X has 5 features, but .* is expecting 6 features as input"):
        estimator.transform(X[:, 1:])
    with pytest.raises(ValueError, match="contains NaN"):
        estimator.transform(np.where(X > 2, np.nan, X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.transform(X)
