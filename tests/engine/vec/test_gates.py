"""LSTM and GRU gates against NumPy and central differences."""
import numpy as np
import pytest
import vec_kernels as vec
from buffers import Guarded
from gradients import TOLERANCE, check_derivative
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from vectors import same_bits

UNITS = (1, 2, 5, 10, 15, 16, 17, 33, 48, 64, 70)


def reference_lstm(z, c_prev):
    i, f, g, o = np.split(z, 4, axis=1)
    i, f, g, o = special.expit(i), special.expit(f), np.tanh(g), special.expit(o)
    c = f * c_prev + i * g
    return np.hstack([i, f, g, o]), c, np.tanh(c), o * np.tanh(c)


def reference_gru(a, q, h_prev):
    """a with the parts of h_prev U_r and h_prev U_z, q = h_prev U_n + c_n"""
    ar, az, an = np.split(a, 3, axis=1)
    r, z = special.expit(ar), special.expit(az)
    n = np.tanh(an + r * q)
    return np.hstack([r, z, n]), (1 - z) * n + z * h_prev


@pytest.mark.parametrize("u", UNITS)
def test_lstm_forward(u, dtype, rng):
    tolerance = dict(rtol=2e-6, atol=1e-6) if dtype is np.float32 else dict(rtol=1e-14, atol=1e-15)
    for n in (1, 3, 13, 70):
        z = rng.normal(0, 2, (n, 4 * u))
        for c_prev in (rng.normal(0, 1, (n, u)), None):
            guarded = Guarded(dtype)
            gates, before = guarded(z), None if c_prev is None else guarded(c_prev)
            c, tc, h = (guarded.empty(n, u) for _ in range(3))
            vec.lstm_step(gates, before, c, tc, h)
            want = reference_lstm(z, 0 if c_prev is None else c_prev)
            for got, w in zip((gates, c, tc, h), want):
                assert_allclose(got, w, **tolerance)
            # without tc, and c in the place of c_prev
            c2 = guarded.empty(n, u) if c_prev is None else guarded(c_prev)
            gates2, h2 = guarded(z), guarded.empty(n, u)
            vec.lstm_step(gates2, None if c_prev is None else c2, c2, None, h2)
            assert same_bits(gates2, gates) and same_bits(c2, c) and same_bits(h2, h)
            # a row alone
            alone = [guarded.empty(1, u) for _ in range(3)]
            vec.lstm_step(guarded(z[-1:]), None if before is None else before[-1:], *alone)
            assert same_bits(alone[2], h[-1:])
            guarded.check()


@pytest.mark.parametrize("u", UNITS)
def test_gru_forward(u, dtype, rng):
    tolerance = dict(rtol=2e-6, atol=1e-6) if dtype is np.float32 else dict(rtol=1e-14, atol=1e-15)
    for n in (1, 3, 13, 70):
        a, q = rng.normal(0, 2, (n, 3 * u)), rng.normal(0, 2, (n, u))
        for h_prev in (rng.normal(0, 1, (n, u)), None):
            guarded = Guarded(dtype)
            gates, inner, h = guarded(a), guarded(q), guarded.empty(n, u)
            before = None if h_prev is None else guarded(h_prev)
            vec.gru_step(gates, inner, before, h)
            want = reference_gru(a, q, 0 if h_prev is None else h_prev)
            assert_allclose(gates, want[0], **tolerance)
            assert_allclose(h, want[1], **tolerance)
            assert_array_equal(inner, q.astype(dtype))
            if h_prev is not None:                          # h in the place of h_prev
                vec.gru_step(guarded(a), inner, before, before)
                assert same_bits(before, h)
            # a row alone
            alone = guarded.empty(1, u)
            vec.gru_step(guarded(a[-1:]), guarded(q[-1:]), None if h_prev is None else guarded(h_prev[-1:]), alone)
            assert same_bits(alone, h[-1:])
            guarded.check()


@pytest.mark.parametrize("u", (5, 16))
def test_saturated_gates(u, dtype):
    """Pre-activations of any size are gates of 0 or 1, and NaN stays NaN in its own unit."""
    for big in (40, 1e4, 1e30, np.inf):
        z = np.repeat(np.array([[big, -big, -big, big]], dtype), u, axis=1)         # i, f, g, o
        c_prev, c, tc, h = (np.full((1, u), 3, dtype) for _ in range(4))
        vec.lstm_step(z, c_prev, c, tc, h)
        for got, want in ((z, np.repeat([[1, 0, -1, 1]], u, axis=1)), (c, -1), (h, -np.tanh(1))):
            assert_allclose(got, np.broadcast_to(want, got.shape), rtol=1e-6, atol=1e-12)
        a = np.repeat(np.array([[big, -big, -big]], dtype), u, axis=1)              # r, z, n
        q, h_prev, h = (np.full((1, u), 3, dtype) for _ in range(3))
        vec.gru_step(a, q, h_prev, h)
        assert_allclose(h, np.full((1, u), -1), rtol=1e-6)
    for gate in range(4):
        z, c_prev = np.zeros((1, 4 * u), dtype), np.zeros((1, u), dtype)
        z[0, gate * u + 1] = np.nan
        vec.lstm_step(z, c_prev, c, None, h)
        assert_array_equal(np.isnan(h[0]), np.arange(u) == 1)
        a, q = z[:, :3 * u].copy(), np.zeros((1, u), dtype)
        if gate == 3:
            a[...] = 0
            q[0, 1] = np.nan
        else:
            a[0, gate * u + 1] = np.nan
        vec.gru_step(a, q, c_prev, h)
        assert_array_equal(np.isnan(h[0]), np.arange(u) == 1)


def of_units(columns, width):
    """The direction in which the columns of a gate change; each unit depends on its own number of the gate alone."""
    direction = np.zeros(width)
    direction[columns] = 1
    return direction


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("u", UNITS)
def test_lstm_backward(u, first, dtype, rng):
    n, tol = 3, 3e-6 if dtype is np.float32 else TOLERANCE
    z, c_prev = rng.normal(0, 2, (n, 4 * u)), rng.normal(0, 1, (n, u))
    dh, dc = rng.normal(0, 1, (n, u)), rng.normal(0, 1, (n, u))

    def value(z, c_prev):
        _, c, _, h = reference_lstm(z, c_prev)
        return dh * h + dc * c                              # each unit depends on its own numbers

    start = c_prev * (not first)
    gates, _, tc, _ = reference_lstm(z, start)
    guarded = Guarded(dtype)
    gates, tc, back, d_next = guarded(gates), guarded(tc), guarded(dh), guarded(dc)
    vec.lstm_step_back(gates, None if first else guarded(c_prev), tc, back, d_next)
    for gate in np.arange(4 * u).reshape(4, u):
        check_derivative(lambda z: value(z, start), z, of_units(gate, 4 * u), gates[:, gate], tol)
    check_derivative(lambda c_prev: value(z, c_prev), start, 1.0, d_next, tol)
    assert_array_equal(back, dh.astype(dtype))
    guarded.check()


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("u", UNITS)
def test_gru_backward(u, first, dtype, rng):
    n, tol = 3, 5e-6 if dtype is np.float32 else TOLERANCE
    a, q = rng.normal(0, 2, (n, 3 * u)), rng.normal(0, 2, (n, u))
    h_prev, dh = rng.normal(0, 1, (n, u)) * (not first), rng.normal(0, 1, (n, u))

    def value(a, q, h_prev):
        return dh * reference_gru(a, q, h_prev)[1]

    guarded = Guarded(dtype)
    gates, inner, back = guarded(reference_gru(a, q, h_prev)[0]), guarded(q), guarded(dh)
    vec.gru_step_back(gates, inner, None if first else guarded(h_prev), back)
    for gate in np.arange(3 * u).reshape(3, u):
        check_derivative(lambda a: value(a, q, h_prev), a, of_units(gate, 3 * u), gates[:, gate], tol)
    check_derivative(lambda q: value(a, q, h_prev), q, 1.0, inner, tol)
    check_derivative(lambda h_prev: value(a, q, h_prev), h_prev, 1.0, back, tol)
    guarded.check()
