"""A CNN and an RNN, and the others, inside scikit-learn's meta-estimators and tools."""
import pickle

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_predict, learning_curve
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import CLASSIFIERS, EVERY, REGRESSORS, problem, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def quick(name, **parameters):
    return small(name, **{"max_iter": 8, **parameters})


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("step", [StandardScaler(), PCA(5)], ids=["scaled", "PCA"])
def test_pipeline_in_searches(name, step):
    pipe = make_pipeline(clone(step), quick(name))
    X, y = problem(pipe[-1], 90)
    prefix = name.lower()
    grid = GridSearchCV(pipe, {f"{prefix}__alpha": [1e-4, 1.0]}, cv=2, n_jobs=2).fit(X, y)
    alone = GridSearchCV(pipe, {f"{prefix}__alpha": [1e-4, 1.0]}, cv=2).fit(X, y)
    np.testing.assert_array_equal(grid.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    draw = RandomizedSearchCV(pipe, {f"{prefix}__learning_rate_init": [1e-3, 1e-2, 1e-1]}, n_iter=2, cv=2,
                              random_state=0).fit(X, y)
    assert draw.best_estimator_.predict(X).shape == y.shape


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_in_ensembles(name):
    clf = quick(name)
    X, y = problem(clf, 90)
    for ensemble in (
        CalibratedClassifierCV(clf, cv=2), CalibratedClassifierCV(clf, method="isotonic", cv=2),
        StackingClassifier([("net", clf), ("linear", LogisticRegression())], cv=2),
        VotingClassifier([("net", clf), ("linear", LogisticRegression())], voting="soft"),
        BaggingClassifier(clf, n_estimators=2, random_state=0),
        BaggingClassifier(clf, n_estimators=2, max_features=0.7, random_state=0),
    ):
        fitted = clone(ensemble).fit(X, y)
        proba = fitted.predict_proba(X)
        assert proba.shape == (90, 3) and np.allclose(proba.sum(axis=1), 1) and fitted.score(X, y) > 1 / 3


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_in_ensembles(name):
    reg = quick(name)
    X, y = problem(reg, 90)
    for ensemble in (
        TransformedTargetRegressor(reg, transformer=StandardScaler()),
        StackingRegressor([("net", reg), ("linear", Ridge())], cv=2),
        VotingRegressor([("net", reg), ("linear", Ridge())]), BaggingRegressor(reg, n_estimators=2, random_state=0),
    ):
        assert clone(ensemble).fit(X, y).predict(X).shape == (90,)
    assert MultiOutputRegressor(reg).fit(X, np.c_[y, -y]).predict(X).shape == (90, 2)


@pytest.mark.parametrize("name", EVERY)
def test_tools(name):
    est = quick(name)
    X, y = problem(est, 90)
    assert cross_val_predict(est, X, y, cv=2).shape == y.shape
    assert learning_curve(est, X, y, cv=2, train_sizes=[0.5, 1.0])[1].shape == (2, 2)
    est.fit(X, y)
    importances = permutation_importance(est, X, y, n_repeats=2, random_state=0).importances_mean
    assert importances.shape == (6,)
    again = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(again.predict(X), est.predict(X))
    assert not hasattr(clone(est), "model_")
    pickle.loads(pickle.dumps(quick(name))).fit(X, y)


@pytest.mark.parametrize("name", EVERY)
def test_read_only_memmaps_of_joblib(name):
    def fit_and_predict(est, X, y):         # in here: a worker cannot import this file
        assert not X.flags.writeable        # joblib hands over a memmap
        return est.fit(X, y).predict(X)

    est = quick(name, max_iter=2)
    X, y = problem(est, 90)
    found = joblib.Parallel(n_jobs=2, max_nbytes=100)(
        joblib.delayed(fit_and_predict)(clone(est), X, y) for _ in range(2))
    for predicted in found:
        np.testing.assert_array_equal(predicted, clone(est).fit(X, y).predict(X))


def test_workers_share_the_processors():
    def threads_of_a_fit(est, X, y):        # in a worker: what a fit there would take by itself
        from ldl_cy.threads import choose_threads

        est.fit(X, y)
        return choose_threads("test", None), joblib.cpu_count()

    est = quick("MLPClassifier", max_iter=2)
    X, y = problem(est, 90)
    found = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(threads_of_a_fit)(clone(est), X, y) for _ in range(2))
    for threads, processors in found:
        assert threads <= max(1, processors // 2)


@pytest.mark.parametrize("name", EVERY)
def test_validation_data_through_a_pipeline(name):
    est = quick(name)
    X, y = problem(est, 90)
    X = 100 * X + 3
    with sklearn.config_context(enable_metadata_routing=True):
        est.set_fit_request(X_val=True, y_val=True, sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, est, transform_input=["X_val"])
        pipe.fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:], sample_weight=np.ones(60))
    score = pipe[-1].validation_scores_
    assert len(score) == pipe[-1].n_iter_
    assert score[-1] == pytest.approx(pipe.score(X[60:], y[60:]))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_data_frames(name, frames):
    module = pytest.importorskip(frames, reason=f"the extra 'test' brings {frames}, which makes the frame")
    est = quick(name)
    X, y = problem(est)
    if is_classifier(est):
        y = np.array(["low", "middle", "high"])[y]
    frame = module.DataFrame({f"x{i}": X[:, i] for i in range(6)})
    if not hasattr(StandardScaler().fit(frame), "feature_names_in_"):
        pytest.skip(f"this scikit-learn reads no names from frames of {frames} {module.__version__}")
    est.fit(frame, module.Series(y))
    np.testing.assert_array_equal(est.feature_names_in_, [f"x{i}" for i in range(6)])
    np.testing.assert_array_equal(est.predict(frame), clone(est).fit(X, y).predict(X))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        est.predict(X)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        est.predict(frame[[f"x{i}" for i in range(5, -1, -1)]])
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict(module.DataFrame({f"z{i}": X[:, i] for i in range(6)}))


@pytest.mark.parametrize("name", EVERY)
def test_html(name):
    html = quick(name, alpha=0.123)._repr_html_()
    assert name in html and "0.123" in html


@pytest.mark.parametrize("name", EVERY)
def test_weights_that_are_all_zero(name):
    est = quick(name)
    X, y = problem(est)
    with pytest.raises(ValueError, match=r"[Ss]ample.?weight"):
        est.fit(X, y, sample_weight=np.zeros(len(X)))
