"""Lists of sequences of several lengths, read to their ends."""
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_predict
from small_estimators import small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(2, 12, 80)
X = [RNG.normal(size=(n, 3)) for n in LENGTHS]
Y = np.array([x[-1, 0] > 0 for x in X]).astype(int)
Z = np.array([x[:, 1].sum() for x in X])
NAMES = ["RNNClassifier", "RNNRegressor"]


def target(name):
    return Y if name == "RNNClassifier" else Z


def padded(sequences, steps, value=0.0):
    out = np.full((len(sequences), steps, 3), value)
    for row, x in zip(out, sequences):
        row[:len(x)] = x
    return out


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", NAMES)
def test_each_is_read_to_its_end(name, solver):
    y = target(name)
    est = small(name, solver=solver, max_iter=5, bidirectional=True).fit(X, y)
    model = est.model_
    assert model.input_shape == (LENGTHS.max(), 3) and est.n_features_in_ == LENGTHS.max()
    raw = model.predict(padded(X, LENGTHS.max(), 9.0), lengths=LENGTHS)
    alone = np.concatenate([est._raw([x]) for x in X])
    np.testing.assert_allclose(est._raw(X), raw, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(alone, raw, rtol=1e-9, atol=1e-12)


def test_learns_what_is_at_the_ends():
    clf = small("RNNClassifier", max_iter=200).fit(X, Y)
    assert clf.score(X, Y) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_equal_lengths_are_an_array(name):
    same = [x[:2] for x in X]
    a, b = (small(name, max_iter=4).fit(data, target(name)) for data in (same, np.array(same)))
    np.testing.assert_allclose(a.model_.theta, b.model_.theta, rtol=1e-12, atol=1e-14)
    # a model fitted on one form predicts on the others
    for data in (same, np.array(same), np.array(same).reshape(len(same), -1), tuple(same)):
        np.testing.assert_allclose(a.predict(data), b.predict(data), rtol=1e-9)
    objects = np.empty(len(X), object)
    objects[:] = X
    np.testing.assert_array_equal(b.predict(objects), b.predict(X))


def test_longer_sequences_than_in_the_fit():
    est = small("RNNRegressor", max_iter=4).fit(X, Z)
    long = [RNG.normal(size=(30, 3)), RNG.normal(size=(4, 3))]
    together, alone = est.predict(long), np.concatenate([est.predict([x]) for x in long])
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert est.predict([np.r_[x, np.zeros((9, 3))] for x in long]).shape == (2,)
    with pytest.raises(ValueError, match="X has a sequence of 11 steps, but RNNRegressor was built for at most 10"):
        small("RNNRegressor", input_shape=(10, 3)).fit(X, Z)


def test_held_out_and_given_validation_rows():
    est = small("RNNClassifier", max_iter=6, early_stopping=True, validation_fraction=0.2).fit(X, Y)
    assert len(est.validation_scores_) == 6
    long = [RNG.normal(size=(20, 3)) for _ in range(10)]
    est = small("RNNClassifier", max_iter=3).fit(X, Y, X_val=long, y_val=np.arange(10) % 2)
    assert est.validation_scores_[-1] == est.score(long, np.arange(10) % 2)


@pytest.mark.parametrize("name", NAMES)
def test_repeats_are_weights(name):
    weight = RNG.integers(0, 3, len(X))
    order = RNG.permutation(np.repeat(np.arange(len(X)), weight))
    y = target(name)
    a = small(name, solver="lbfgs", max_iter=8).fit(X, y, sample_weight=weight)
    b = small(name, solver="lbfgs", max_iter=8, input_shape=(LENGTHS.max(), 3)).fit([X[i] for i in order], y[order])
    np.testing.assert_array_equal(a.model_.theta, b.model_.theta)


def test_scikit_learns_tools():
    search = GridSearchCV(small("RNNClassifier", max_iter=3), {"units": [4, 8]}, cv=2).fit(X, Y)
    assert search.predict(X).shape == Y.shape
    assert cross_val_predict(small("RNNRegressor", max_iter=3), X, Z, cv=2).shape == Z.shape


@pytest.mark.parametrize(("data", "message"), [
    ([np.zeros((3, 2)), np.zeros((3, 4))], r"with as many features in each, got \[2, 4\]"),
    ([np.zeros((3, 3)), np.zeros((0, 3))], "sequences of at least one step, got none in number 1"),
    ([np.zeros((3, 3)), np.full((2, 3), np.nan)], "Input X contains NaN"),
    ([np.zeros((3, 3))], "inconsistent numbers of samples"),
    ([[[1.0, 2.0], [3.0]], [[4.0, 5.0]]], "inhomogeneous shape"),         # steps of unequal features
])
def test_bad_sequences(data, message):
    with pytest.raises(ValueError, match=message):
        small("RNNRegressor").fit(data, [1.0, 2.0])


def test_other_features_than_in_the_fit():
    est = small("RNNRegressor", max_iter=2).fit(X, Z)
    with pytest.raises(ValueError, match="X has sequences of 2 features, but RNNRegressor is expecting 3 features"):
        est.predict([np.zeros((4, 2)), np.zeros((5, 2))])
