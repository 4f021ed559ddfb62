"""Sequences of single numbers in several lengths, and arrays in which NaN says where sequences end."""
import numpy as np
import pytest
from small_estimators import small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(2)
LENGTHS = np.r_[RNG.integers(1, 9, 29), 9]
SINGLE = [RNG.normal(size=n) for n in LENGTHS]
PAIRS = [RNG.normal(size=(n, 2)) for n in LENGTHS]
Z = np.array([x.sum() for x in SINGLE])
NAMES = ["RNNClassifier", "RNNRegressor"]


def target(name):
    return Z > 0 if name == "RNNClassifier" else Z


def padded(parts, steps, value=np.nan):
    out = np.full((len(parts), steps, *parts[0].shape[1:]), value)
    for row, x in zip(out, parts):
        row[:len(x)] = x
    return out


def as_objects(parts):
    out = np.empty(len(parts), object)
    out[:] = parts
    return out


@pytest.mark.parametrize("name", NAMES)
def test_single_numbers(name):
    columns = [x[:, None] for x in SINGLE]
    reference = small(name, max_iter=4).fit(columns, target(name))
    for data in (SINGLE, tuple(SINGLE), [x.tolist() for x in SINGLE], as_objects(SINGLE)):
        est = small(name, max_iter=4).fit(data, target(name))
        np.testing.assert_array_equal(est.model_.theta, reference.model_.theta)
        np.testing.assert_array_equal(est.predict(data), reference.predict(columns))
        assert est.n_features_in_ == 9 and est.model_.input_shape == (9, 1)


def test_equal_lengths_are_rows_where_they_fit():
    rows = RNG.normal(size=(10, 6))
    y = rows.sum(axis=1)
    listed = [*rows]
    a = small("RNNRegressor", max_iter=3).fit(listed, y)
    b = small("RNNRegressor", max_iter=3).fit(rows, y)
    np.testing.assert_array_equal(a.model_.theta, b.model_.theta)
    pairs = small("RNNRegressor", max_iter=3, input_shape=(3, 2)).fit(listed, y)
    np.testing.assert_array_equal(pairs.predict(listed), pairs.predict(rows.reshape(10, 3, 2)))
    # as many in each, but not as many as in the fit
    for steps in (4, 8):
        other = [RNG.normal(size=steps) for _ in range(3)]
        np.testing.assert_allclose(a.predict(other), a.predict([x[:, None] for x in other]), rtol=1e-12)
        with pytest.raises(ValueError, match=f"X has {steps} features, but RNNRegressor is"):
            pairs.predict(other)
    with pytest.raises(ValueError, match="X has 5 features, but RNNRegressor is expecting 6 features"):
        a.predict(rows[:, 1:])
    short = small("RNNRegressor", max_iter=3, input_shape=(20, 1)).fit(listed, y)
    assert short.model_.input_shape == (20, 1)
    np.testing.assert_allclose(short.predict(rows[:2].tolist()), short.predict([x[:, None] for x in rows[:2]]))
    objects = small("RNNRegressor", max_iter=3).fit(as_objects(listed), y)
    np.testing.assert_allclose(objects.model_.theta, b.model_.theta, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", NAMES)
def test_nan_is_an_end(name, solver, dtype):
    y = target(name)
    for parts in (SINGLE, PAIRS):
        parts = [x.astype(dtype) for x in parts]
        listed = small(name, solver=solver, max_iter=4).fit(parts, y)
        X = padded(parts, 9).astype(dtype)
        kept = X.copy()
        est = small(name, solver=solver, max_iter=4).fit(X, y)
        np.testing.assert_array_equal(est.model_.theta, listed.model_.theta)
        np.testing.assert_array_equal(X, kept)
        for data in (parts, X, padded(parts, 12).astype(dtype) if X.ndim == 3 else X, list(X), X[:20].tolist()):
            np.testing.assert_allclose(est.predict(data), listed.predict(parts)[:len(data)], rtol=1e-5)
        assert est.n_features_in_ == 9 and est.model_.dtype == dtype
        # what is padded with more NaN at the first fit is a larger network of the same weights
        longer = small(name, solver=solver, max_iter=4).fit(padded(parts, 12).astype(dtype), y)
        assert longer.model_.input_shape[0] == 12
        np.testing.assert_allclose(longer.predict(parts), listed.predict(parts), rtol=1e-4, atol=1e-4)


def test_flat_rows_and_frames():
    pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    flat = padded(PAIRS, 9).reshape(30, 18)
    whole = small("RNNRegressor", max_iter=3).fit(padded(PAIRS, 9), Z)
    reg = small("RNNRegressor", max_iter=3, input_shape=(9, 2)).fit(flat, Z)
    np.testing.assert_array_equal(reg.model_.theta, whole.model_.theta)
    np.testing.assert_array_equal(reg.predict(padded(PAIRS, 9)), whole.predict(flat))
    assert reg.n_features_in_ == 18
    frame = pd.DataFrame(padded(SINGLE, 9), columns=list("abcdefghi"))
    reg = small("RNNRegressor", max_iter=3).fit(frame, Z)
    np.testing.assert_array_equal(reg.model_.theta, small("RNNRegressor", max_iter=3).fit(SINGLE, Z).model_.theta)
    assert list(reg.feature_names_in_) == list("abcdefghi")
    with pytest.raises(ValueError, match="feature names"):
        reg.predict(frame[list("ihgfedcba")])
    # a fit on whole rows predicts for those that end before
    reg = small("RNNRegressor", max_iter=3).fit(RNG.normal(size=(30, 9)), Z)
    np.testing.assert_allclose(reg.predict(padded(SINGLE, 9)), reg.predict(SINGLE), rtol=1e-12)


def hole(rows, place):
    rows = padded(rows, 9)
    rows[place] = np.nan
    return rows


@pytest.mark.parametrize("X", [
    hole(SINGLE, (29, 3)), hole(SINGLE, (29, 0)), hole(SINGLE, 5), hole(PAIRS, (29, 8, 0)), hole(PAIRS, (29, 2)),
    hole(PAIRS, 0), np.full((30, 2, 2, 2), np.nan)])
def test_nan_elsewhere_is_refused(X):
    reg = small("RNNRegressor", max_iter=2)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        reg.fit(X, Z)
    assert not hasattr(reg, "model_")
    reg.fit(padded(SINGLE if X.ndim == 2 else PAIRS, 9), Z)
    if X.ndim < 4:
        with pytest.raises(ValueError, match="Input X contains NaN"):
            reg.predict(X)
        with pytest.raises(ValueError, match="Input X contains infinity"):
            reg.predict(np.where(np.isnan(X), np.inf, X))


@pytest.mark.parametrize("name", ["MLPRegressor", "CNNRegressor", "NeuralNetRegressor"])
def test_other_networks_refuse_it(name):
    with pytest.raises(ValueError, match="Input X contains NaN"):
        small(name).fit(padded(SINGLE, 9), Z)
