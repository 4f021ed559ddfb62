"""Transposes, sums, dropout, update rules, denormals, the choice of an instruction set."""
import numpy as np
import pytest
import vec_kernels as vec
from buffers import Guarded
from numpy.testing import assert_allclose, assert_array_equal
from vectors import SIZES, same_bits

from ldl_cy import Sequential, layers


def test_transpose(dtype, rng):
    for rows, cols in [(0, 3), (3, 0), (1, 1), (1, 20), (20, 1), (2, 2), (3, 5), (4, 4), (5, 7),
                       (8, 8), (9, 8), (10, 16), (16, 10), (17, 23), (64, 64), (100, 37)]:
        for extra in (0, 3):
            guarded = Guarded(dtype)
            a = guarded.rows(rng.normal(size=(rows, cols)), extra)
            b = guarded.rows(np.full((cols, rows), np.nan), extra)
            vec.transpose_(a, b)
            assert_array_equal(b, a.T)
            guarded.check()


def test_fill_rows(dtype, rng):
    for rows, k in [(0, 3), (3, 0), (1, 1), (7, 1), (5, 3), (300, 10), (9, 64), (2, 5000)]:
        for extra in (0, 2):
            guarded = Guarded(dtype)
            y = guarded.rows(np.full((rows, k), np.nan), extra)
            b = rng.normal(size=k).astype(dtype)
            vec.fill_rows_(y, b)
            assert_array_equal(y, np.broadcast_to(b, (rows, k)))
            vec.fill_rows_(y)
            assert (y == 0).all()
            guarded.check()


def test_column_sums(dtype, rng):
    for rows in (0, 1, 3, 4, 31, 32, 33, 100):
        for k in (1, 2, 3, 10, 16, 17, 64, 100):
            guarded = Guarded(dtype)
            x, total = rng.normal(size=(rows, k)), rng.normal(size=k)
            y = guarded(total)
            vec.add_column_sums_(guarded(x), y)
            tolerance = 1e-5 if dtype is np.float32 else 1e-13
            assert_allclose(y, total + x.sum(axis=0), rtol=tolerance, atol=tolerance)
            guarded.check()


def test_add_scale_norms(dtype, rng):
    for n in SIZES:
        guarded = Guarded(dtype)
        x, y = guarded(rng.normal(size=n)), guarded(rng.normal(size=n))
        want = x + y
        vec.add_(x, y)
        assert_array_equal(y, want)
        want = y + dtype(0.3) * x
        vec.add_(x, y, 0.3)
        # with fma the product is not rounded
        assert_allclose(y, want, rtol=0, atol=2 * np.finfo(dtype).eps)
        want = y * dtype(0.7)
        vec.scale_(y, 0.7)
        assert_array_equal(y, want)
        assert_allclose(vec.sum_of_squares(x), (x.astype(np.float64) ** 2).sum(), rtol=1e-14)
        assert vec.largest(x) == (np.abs(x).max() if n else 0)
        guarded.check()
        if n:
            for i in {0, n // 2, n - 1}:
                bad = x.copy()
                bad[i] = np.nan
                assert vec.largest(bad) == np.inf
                bad[i] = -np.inf
                assert vec.largest(bad) == np.inf
    assert vec.sum_of_squares(np.full(20, 1e30, dtype)) == pytest.approx(20e60)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.1, 0.5, 0.9])
def test_dropout(rate, dtype, rng):
    for first in (0, 13, 2**64 - 5):
        for n in SIZES:
            guarded = Guarded(dtype)
            x, y = guarded(rng.normal(size=n)), guarded.empty(n)
            keep = np.array(vec.uniform_draws(77, first, n)) >= rate
            vec.apply_dropout(x, 77, first, rate, y)
            assert_array_equal(y, np.where(keep, x * dtype(1 / (1 - rate)), 0))
            vec.apply_dropout(x, 77, first, rate, x)
            assert same_bits(x, y)
            guarded.check()
    x = np.ones(20000, dtype)
    assert abs((vec.apply_dropout(x, 1, 0, rate) == 0).mean() - rate) < 0.02
    assert abs(vec.apply_dropout(x, 1, 0, rate).mean() - 1) < 0.1


def test_sgd(dtype, rng):
    for n in SIZES:
        for momentum, nesterov in ((0, 0), (0.9, 0), (0.9, 1)):
            guarded = Guarded(dtype)
            theta, g, v = (guarded(rng.normal(size=shape)) for shape in (n, n, (1, n)))
            t, w = theta.astype(np.float64), v[0].astype(np.float64)
            w = momentum * w - 0.1 * g
            t = t + (momentum * w - 0.1 * g if nesterov else w)
            coef = np.array([0.1, momentum, nesterov])
            vec.update_("sgd", theta, g, v if momentum else None, coef)
            assert_allclose(theta, t, rtol=1e-6, atol=1e-6)
            if momentum:
                assert_allclose(v[0], w, rtol=1e-6, atol=1e-6)
            guarded.check()


def test_adam(dtype, rng):
    step, b1, b2, c, eps = coef = np.array([1e-2, 0.9, 0.999, 3.0, 1e-8])
    for n in SIZES:
        guarded = Guarded(dtype)
        theta, g, slots = (guarded(rng.normal(size=shape)) for shape in (n, n, (2, n)))
        m, v = slots
        v[...] = v**2
        if n > 2:
            g[0] = m[0] = v[0] = 0                          # nothing to do, and no 0 / 0
        t, m2, v2 = (x.astype(np.float64) for x in (theta, m, v))
        m2 = b1 * m2 + (1 - b1) * g
        v2 = b2 * v2 + (1 - b2) * g.astype(np.float64)**2
        t = t - step * m2 / (np.sqrt(v2) * c + eps)
        vec.update_("adam", theta, g, slots, coef)
        for got, want in ((theta, t), (m, m2), (v, v2)):
            assert_allclose(got, want, rtol=1e-6, atol=1e-6)
        guarded.check()


def test_denormals_come_back():
    """A prediction flushes them to zero where the processor can, and puts the mode back."""
    model = Sequential([layers.Dense(1, use_bias=False)], random_state=0).build(1)
    model.theta[:] = 1e-30
    x = np.float32([[1e-12]])
    tiny = x * np.float32(1e-30)
    for threads in (None, 1):                               # the fast path and the general one
        inside = model.predict(x, n_threads=threads)
        assert inside in (0, tiny)
        if vec.instruction_set() != "base":
            assert inside == 0
        assert x * np.float32(1e-30) == tiny != 0


def test_choice_of_instruction_set(isa):
    assert vec.instruction_set() == isa
    with pytest.raises(ValueError, match="name must be one of"):
        vec.use_instruction_set("v99")
