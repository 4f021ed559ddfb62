"""Losses and their gradients against NumPy and central differences."""
import numpy as np
import pytest
import vec_kernels as vec
from buffers import Guarded
from gradients import check_gradient
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from vectors import same_bits


def reference_loss(name, y, t, w, smoothing):
    """The loss in float64 and its gradient, both weighted."""
    k = y.shape[1]
    if name == "squared_error":
        rows, grad = ((y - t) ** 2).sum(axis=1), 2 * (y - t)
    elif name == "binary_log_loss":
        rows, grad = (np.logaddexp(0, y) - t * y).sum(axis=1), special.expit(y) - t
    else:
        if name == "log_loss_codes":
            t = np.eye(k)[t.astype(int)]
        q = (1 - smoothing) * t + smoothing / k
        rows = -(q * special.log_softmax(y, axis=1)).sum(axis=1)
        grad = special.softmax(y, axis=1) * q.sum(axis=1, keepdims=True) - q
    return (w * rows).sum(), w[:, None] * grad


@pytest.mark.parametrize("name", vec.LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss(name, smoothing, dtype, rng):
    tolerance = 3e-6 if dtype is np.float32 else 1e-14
    for rows, k in [(0, 3), (1, 1), (5, 1), (37, 1), (150, 1), (1, 10), (16, 10), (33, 10), (20, 2),
                    (7, 12), (7, 13), (7, 24), (3, 25), (4, 47), (2, 300)]:
        guarded = Guarded(dtype)
        y = guarded(rng.normal(0, 3, (rows, k)))
        t = {"squared_error": rng.normal(size=(rows, k)),
             "binary_log_loss": rng.integers(2, size=(rows, k)),
             "log_loss_codes": rng.integers(k, size=rows),
             "log_loss_probs": rng.dirichlet(np.ones(k), rows).reshape(rows, k)}[name]
        t, w = guarded(t), guarded(rng.uniform(0, 2, rows))
        for weights in (None, w):
            ones = np.ones(rows) if weights is None else w.astype(np.float64)
            value, grad = reference_loss(
                name, y.astype(np.float64), t.astype(np.float64), ones, smoothing)
            dy = guarded.empty(rows, k)
            got = vec.loss(name, y, t, weights, 0.5, smoothing, dy)
            assert_allclose(got, value, rtol=tolerance, atol=tolerance)
            assert_allclose(dy, 0.5 * grad, rtol=10 * tolerance, atol=tolerance)
            assert vec.loss(name, y, t, weights, 0.5, smoothing) == got
            in_place = guarded(y)
            assert vec.loss(name, in_place, t, weights, 0.5, smoothing, in_place) == got
            assert same_bits(in_place, dy)
        guarded.check()


@pytest.mark.parametrize("name", vec.LOSSES)
def test_gradient_of_loss(name, rng):
    rows, k = 3, 4
    y = rng.normal(0, 2, (rows, k))
    t = rng.uniform(size=(rows, k))
    if name == "log_loss_codes":
        t = rng.integers(k, size=rows).astype(float)
    w, dy = rng.uniform(1, 2, rows), np.empty((rows, k))
    vec.loss(name, y, t, w, 1.5, 0.1, dy)
    # f is a sum over rows, far larger than the derivative by one number: what is left is its rounding, eps |f| / h
    check_gradient(lambda y: 1.5 * vec.loss(name, y, t, w, smoothing=0.1), y, dy, 5e-10)


def test_log_loss_of_masked_and_sure_classes(dtype):
    for k in (4, 30):
        y = np.zeros((3, k), dtype)
        y[0, 2] = -np.inf
        y[1, 0] = 1e4
        codes = np.array([0, 0, 1], dtype)
        dy = np.empty_like(y)
        value = vec.loss("log_loss_codes", y, codes, dy=dy)
        assert_allclose(value, np.log(k - 1) + np.log(k), rtol=1e-6)
        assert np.isfinite(dy).all()
        assert_array_equal(dy[1], 0)
        onehot = np.eye(k, dtype=dtype)[codes.astype(int)]
        assert_allclose(vec.loss("log_loss_probs", y, onehot, dy=dy), value, rtol=1e-6)
        assert np.isfinite(dy).all()


def test_binary_log_loss_of_large_outputs(dtype):
    y, t = np.array([[1e4], [1e4], [-1e4], [-1e4]], dtype), np.array([[1], [0], [1], [0]], dtype)
    dy = np.empty_like(y)
    assert vec.loss("binary_log_loss", y, t, dy=dy) == 2e4
    assert_array_equal(dy, np.array([[0], [1], [-1], [0]], dtype))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30, -1, -0.5, 2**40])
def test_codes_that_are_none_are_clamped(bad, dtype, rng):
    """The caller's array may change after it was checked: nothing outside of the outputs is read or written."""
    for rows, k in [(5, 2), (16, 10), (33, 10), (7, 24), (3, 25), (2, 300)]:
        guarded = Guarded(dtype)
        y = guarded(rng.normal(0, 3, (rows, k)))
        codes = rng.integers(k, size=rows).astype(dtype)
        codes[::2] = bad
        clamped = np.clip(np.nan_to_num(codes, nan=0.0), 0, k - 1).astype(int).astype(dtype)
        dy, expected = guarded.empty(rows, k), guarded.empty(rows, k)
        got = vec.loss("log_loss_codes", y, guarded(codes), None, 0.5, 0.1, dy)
        assert got == vec.loss("log_loss_codes", y, guarded(clamped), None, 0.5, 0.1, expected)
        assert same_bits(dy, expected)
        guarded.check()
