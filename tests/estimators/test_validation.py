"""Loss and score of validation rows: their numbers, early stopping by either, and callbacks that watch them."""
import pickle

import numpy as np
import pytest
from scipy.special import xlogy
from sklearn.base import clone, is_classifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from small_estimators import EVERY, problem, small

from ldl_cy import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetRegressor,
    RNNClassifier,
    Sequential,
    callbacks,
    interop,
    losses,
    optimizers,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TOL = {"float32": 2e-6, "float64": 1e-13}


@pytest.fixture(params=EVERY)
def name(request):
    return request.param


def rows(estimator, n=60, seed=5):
    """Validation rows of the same problem, and weights."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    number = X[:, 0] + 0.5 * X[:, 1] + 0.3 * rng.normal(size=n)
    return X, np.digitize(number, [-0.5, 0.5]) if is_classifier(estimator) else number, rng.uniform(0, 2, n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_validation_rows(name, dtype, weighted):
    estimator = small(name, max_iter=3, dtype=dtype, alpha=0.5)
    X, y = problem(estimator)
    X_val, y_val, weight = rows(estimator)
    weight = weight if weighted else None
    estimator.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert len(estimator.validation_loss_curve_) == len(estimator.validation_scores_) == 3
    if is_classifier(estimator):
        expected = log_loss(y_val, estimator.predict_proba(X_val), sample_weight=weight)
    else:
        expected = np.average(0.5 * (estimator.predict(X_val) - y_val)**2, weights=weight)
    assert estimator.validation_loss_curve_[-1] == pytest.approx(expected, rel=TOL[dtype])
    score = estimator.score(X_val, y_val, weight)
    assert estimator.validation_scores_[-1] == pytest.approx(score, rel=1e-15, abs=TOL[dtype])
    # without validation rows there is none, and they change nothing
    alone = clone(estimator).fit(X, y)
    assert alone.validation_loss_curve_ is None and alone.loss_curve_ == estimator.loss_curve_


def poisson(reg, X, y):
    mean = reg.predict(X)
    return np.mean(xlogy(y, y / mean) - y + mean)


@pytest.mark.parametrize(("make", "targets", "expected"), [
    (lambda: MLPRegressor(loss="poisson"), lambda y: np.abs(y), poisson),
    (lambda: MLPRegressor(), lambda y: np.c_[y, y**2, -y],
     lambda reg, X, y: np.mean(0.5 * (reg.predict(X) - y)**2)),
    (lambda: MLPRegressor(solver="lbfgs"), lambda y: np.c_[y, y**2],
     lambda reg, X, y: np.mean(0.5 * (reg.predict(X) - y)**2)),
    (lambda: MLPRegressor(loss="absolute_error"), lambda y: np.c_[y, -y],
     lambda reg, X, y: np.mean(np.abs(reg.predict(X) - y))),
    (lambda: NeuralNetRegressor(loss=losses.Custom(lambda p, y: (((p - y)**2).sum(1), 2 * (p - y)))), lambda y: y,
     lambda reg, X, y: np.mean((reg.predict(X) - y)**2)),
    (lambda: MLPClassifier(), lambda y: np.c_[y > 0, y > 1, y < -1].astype(int),
     lambda clf, X, y: -np.mean(np.log(np.where(y, clf.predict_proba(X), 1 - clf.predict_proba(X))).sum(1))),
    (lambda: MLPClassifier(solver="lm", hidden_layer_sizes=4), lambda y: np.digitize(y, [-0.5, 0.5]),
     lambda clf, X, y: np.mean(0.5 * (clf.decision_function(X) - (2 * np.eye(3)[y] - 1))**2)),
])
def test_other_losses(make, targets, expected):
    estimator = make().set_params(max_iter=3, random_state=0)
    X, y = problem(MLPRegressor())
    X_val, y_val, _ = rows(MLPRegressor())
    estimator.fit(X, targets(y), X_val=X_val, y_val=targets(y_val))
    assert estimator.validation_loss_curve_[-1] == pytest.approx(expected(estimator, X_val, targets(y_val)), rel=1e-12)


def test_rows_held_out_that_have_no_weight():
    reg = NeuralNetRegressor(max_iter=2, early_stopping="loss", random_state=0)
    X, y = problem(reg)
    random_state = np.random.RandomState(0)
    random_state.randint(2**31 - 1)             # the network's seed
    train, _ = train_test_split(np.arange(len(X)), test_size=0.1, random_state=random_state)
    reg.fit(X, y, np.isin(np.arange(len(X)), train))
    assert np.isnan(reg.validation_loss_curve_).all() and np.isnan(reg.validation_scores_).all()


def noisy(estimator, n=60):
    """A problem on which a network overfits."""
    X, y = problem(estimator, n)
    rng = np.random.default_rng(1)
    return X, rng.permutation(y) if is_classifier(estimator) else y + 2 * rng.normal(size=n)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_early_stopping_by_loss(name, solver, given):
    """scikit-learn's rule for the training loss, and the weights of the lowest validation loss."""
    estimator = small(name, solver=solver, early_stopping="loss", n_iter_no_change=3, tol=1e-3, max_iter=80,
                      learning_rate_init=0.02, validation_fraction=0.3)
    X, y = noisy(estimator)
    X_val, y_val, _ = rows(estimator)
    estimator.fit(X, y, **({"X_val": X_val, "y_val": y_val} if given else {}))
    curve = estimator.validation_loss_curve_
    best, count = np.inf, 0
    for epoch, loss in enumerate(curve, 1):
        count = 0 if loss <= best - 1e-3 else count + 1
        best = min(best, loss)
        assert count <= 3 or epoch == len(curve) < 80
    assert estimator.stop_reason_ == ("no_improvement" if count > 3 else "epochs" if solver == "adam" else
                                      estimator.stop_reason_)
    assert estimator.best_loss_ is None and estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert len(curve) == estimator.n_iter_ and np.argmin(curve) < len(curve) - 1
    if given:
        after = clone(estimator).set_params(warm_start=True, max_iter=1, tol=0)
        after.fit(X, y, X_val=X_val, y_val=y_val)
        expected = (log_loss(y_val, estimator.predict_proba(X_val)) if is_classifier(estimator) else
                    np.mean(0.5 * (estimator.predict(X_val) - y_val)**2))
        assert min(curve) == pytest.approx(expected, rel=1e-12)


def test_score_and_loss_stop_differently():
    found = {}
    for watched in (True, "loss"):
        clf = small("MLPClassifier", early_stopping=watched, n_iter_no_change=4, max_iter=200, tol=1e-4)
        X, y = problem(clf, 100)
        clf.fit(X, y)
        found[watched] = clf
    assert found[True].n_iter_ != found["loss"].n_iter_
    both = min(clf.n_iter_ for clf in found.values())
    assert found[True].validation_loss_curve_[:both] == found["loss"].validation_loss_curve_[:both]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lm"])
def test_two_fits_are_one(solver, tmp_path):
    settings = {"hidden_layer_sizes": 6, "activation": "tanh", "solver": solver, "early_stopping": "loss", "tol": 0,
                "n_iter_no_change": 50, "random_state": 0, "learning_rate_init": 0.01}
    X, y = noisy(MLPRegressor())
    whole = MLPRegressor(**settings, max_iter=10).fit(X, y)
    parts = MLPRegressor(**settings, max_iter=5, warm_start=True).fit(X, y)
    last = parts.model_.theta.copy()
    best = parts._progress.best_validation_loss
    parts = pickle.loads(pickle.dumps(parts)).fit(X, y)
    # each fit ends with its best weights: the second one begins from them, with the best loss of the first
    assert parts._progress.best_validation_loss <= best == min(parts.validation_loss_curve_[:5])
    assert parts.validation_loss_curve_[:5] == whole.validation_loss_curve_[:5]
    assert len(last) == len(parts.model_.theta)


def test_another_criterion_begins_with_the_weights_of_now():
    X, y = noisy(MLPClassifier())
    clf = MLPClassifier(8, early_stopping=True, warm_start=True, max_iter=6, random_state=0).fit(X, y)
    scores = list(clf.validation_scores_)
    clf.set_params(early_stopping="loss").fit(X, y)
    second = clf.validation_loss_curve_[6:]
    assert clf.validation_scores_[:6] == scores and len(second) == clf.n_iter_
    held = clf._progress
    assert held.by_loss and held.best_validation_loss == min(second)
    clf.set_params(early_stopping=True).fit(X, y)
    assert not held.by_loss and clf.best_validation_score_ == max(clf.validation_scores_[6 + len(second):])
    clf.set_params(early_stopping=False).fit(X, y)
    assert held.best is None and clf.best_loss_ is not None


@pytest.mark.parametrize("watcher", [
    lambda: callbacks.EarlyStopping(patience=2, restore_best_weights=True),
    lambda: callbacks.ReduceOnPlateau(patience=1)])
def test_callbacks_know_the_validation_loss(name, watcher):
    estimator = small(name, max_iter=8, callbacks=[watcher()])
    X, y = noisy(estimator)
    with pytest.raises(ValueError, match="monitor must be one of 'loss', got 'val_loss'; it needs validation data"):
        clone(estimator).fit(X, y)
    estimator.fit(X, y, X_val=X[:20], y_val=y[:20])
    assert len(estimator.validation_loss_curve_) == estimator.n_iter_
    clone(estimator).set_params(early_stopping=True).fit(X, y)


def test_sequences_of_different_lengths():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(t, 2)) for t in rng.integers(2, 7, 40)]
    y = np.array([x[0, 0] > 0 for x in X])
    longer = [rng.normal(size=(t, 2)) for t in rng.integers(7, 12, 10)]
    clf = RNNClassifier(units=4, max_iter=2, random_state=0).fit(X, y, X_val=longer, y_val=y[:10])
    assert clf.validation_loss_curve_[-1] == pytest.approx(log_loss(y[:10], clf.predict_proba(longer)), rel=1e-12)


def test_the_score_is_printed_or_the_loss(capsys):
    X, y = problem(MLPClassifier())
    clf = MLPClassifier(max_iter=2, verbose=True, early_stopping="loss", random_state=0).fit(X, y)
    assert f"Validation loss: {clf.validation_loss_curve_[0]:.8f}" in capsys.readouterr().out
    MLPClassifier(max_iter=300, tol=1.0, n_iter_no_change=2, verbose=True, early_stopping="loss",
                  random_state=0).fit(X, y)
    assert "Validation loss did not improve more than tol=1.000000 for 2 consecutive epochs. Stopping." in \
        capsys.readouterr().out


def test_early_stopping_is_checked(name):
    estimator = small(name, early_stopping="score")
    with pytest.raises(ValueError, match=f"The 'early_stopping' parameter of {name} must be"):
        estimator.fit(*problem(estimator))


@pytest.mark.parametrize("early_stopping", [True, "loss"])
def test_the_last_checkpoint_has_the_best_weights(name, early_stopping, tmp_path):
    estimator = small(name, early_stopping=early_stopping, max_iter=12, validation_fraction=0.3,
                      callbacks=[callbacks.Checkpoint(tmp_path / "m", every=5)])
    X, y = noisy(estimator)
    estimator.fit(X, y)
    saved = Sequential.load(tmp_path / "m")
    np.testing.assert_array_equal(saved.theta, estimator.model_.theta)
    assert saved.epoch == estimator.n_iter_


def test_from_scikit_learn_and_back():
    X, y = problem(MLPClassifier(), 100)
    clf = MLPClassifier(5, early_stopping="loss", max_iter=3, random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match="scikit-learn lacks early_stopping='loss'"):
        theirs = interop.to_sklearn(clf)
    assert theirs.early_stopping is True
    ours = interop.from_sklearn(theirs).set_params(warm_start=True).fit(X, y)
    # of the epochs there the losses are not known
    assert len(ours.validation_loss_curve_) == len(ours.validation_scores_) > 3
    assert np.isnan(ours.validation_loss_curve_[:3]).all() and np.isfinite(ours.validation_loss_curve_[3:]).all()


def test_older_pickles():
    X, y = problem(MLPClassifier(), 100)
    clf = MLPClassifier(5, early_stopping=True, max_iter=3, warm_start=True, random_state=0).fit(X, y)
    state = clf.__getstate__()
    del state["validation_loss_curve_"]
    for added in ("by_loss", "best_validation_loss"):
        del vars(state["_progress"])[added]
    old = MLPClassifier.__new__(MLPClassifier)
    old.__setstate__(state)
    assert old.validation_loss_curve_ is None
    old.fit(X, y).set_params(early_stopping="loss", solver=optimizers.Adam()).fit(X, y)
    assert np.isnan(old.validation_loss_curve_[:3]).all() and len(old.validation_loss_curve_) == 9
