"""Columns of categories within scikit-learn's tools: searches, pipelines, column transformers, files of skops."""
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import CITIES, columns, form, target

import ldl_cy
from ldl_cy import MLPClassifier, NeuralNetClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
TABLE = columns(300)
Y = target(TABLE)
X = form("pandas categories", TABLE)
SETTINGS = {"random_state": 0, "max_iter": 40, "learning_rate_init": 0.02}


def test_a_search_over_what_are_categories():
    grid = GridSearchCV(MLPClassifier(**SETTINGS), {"categorical_features": ["from_dtype", ["city", "job"]],
                                                    "hidden_layer_sizes": [(50,)]}, cv=2, n_jobs=2).fit(X, Y)
    assert grid.best_score_ > 0.85
    assert np.unique(grid.cv_results_["mean_test_score"]).size == 1
    assert clone(grid.best_estimator_).categorical_features == grid.best_params_["categorical_features"]
    assert list(grid.best_estimator_.embedding_of("city")) == list(CITIES)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_pipelines(output):
    if output == "polars":
        pytest.importorskip("polars", reason="the extra 'test' brings polars, which makes the frames")
    scaled = make_column_transformer(
        (StandardScaler(), ["age", "income"]), remainder="passthrough", verbose_feature_names_out=False)
    net = NeuralNetClassifier(categorical_features=["city", "job"], **SETTINGS)
    table = X if output == "pandas" else form("polars categories", TABLE)
    pipe = make_pipeline(scaled, net).set_output(transform=output)
    assert pipe.fit(table, Y).score(table, Y) > 0.9
    assert [column.name for column in pipe[-1].category_encoder_.columns] == ["city", "job"]
    features = pipe.transform(table)
    assert type(features).__module__.startswith(output) and next(iter(features.columns)) == "neuralnetclassifier0"
    assert features.shape == (300, 100)


def test_other_tools():
    clf = MLPClassifier(categorical_features="from_dtype", **SETTINGS)
    assert cross_val_score(clf, X, Y, cv=2).mean() > 0.8
    assert CalibratedClassifierCV(clf, cv=2).fit(X, Y).score(X, Y) > 0.85
    importance = permutation_importance(clf.fit(X, Y), X, Y, n_repeats=2, random_state=0).importances_mean
    assert importance[[0, 2]].min() > importance[3] + 0.1
    means = [Y[X["city"] == city].mean() for city in CITIES]        # all that can be known of one column
    reg = ldl_cy.MLPRegressor(categorical_features=[0], solver="lbfgs", alpha=0.0, random_state=0).fit(X[["city"]], Y)
    np.testing.assert_allclose([reg.predict(X[["city"]][X["city"] == city])[0] for city in CITIES], means, atol=1e-3)


def test_files_of_skops():
    io = pytest.importorskip("skops.io", reason="the extra 'test' brings skops, which writes and reads the file")
    clf = MLPClassifier(categorical_features="from_dtype", **SETTINGS).fit(X, Y)
    data = io.dumps(clf)
    assert set(io.get_untrusted_types(data=data)) <= set(ldl_cy.SKOPS_TRUSTED)
    again = io.loads(data, trusted=list(ldl_cy.SKOPS_TRUSTED))
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert list(again.embedding_of("job")) == list(clf.embedding_of("job"))
