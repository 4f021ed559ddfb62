"""The vectorised kernels against NumPy, for each instruction set that runs here."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from ldl_cy._engine import vec

DTYPES = (np.float32, np.float64)
# 16 lanes, chunks of 128, tiles of 12 and 24 columns: around each of them
SIZES = (0, 1, 2, 7, 15, 16, 17, 31, 33, 100, 128, 150)
WIDE = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
EXTREMES = {
    np.float32: [0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, 1e-20, -1e-20, 3e38, -3e38],
    np.float64: [0.0, -0.0, 5e-324, -5e-324, 1e-310, -1e-310, 1e-200, -1e-200, 1e308, -1e308],
}
TINY = {np.float32: 1e-44, np.float64: 1e-322}


@pytest.fixture(params=vec.instruction_sets(), autouse=True)
def isa(request):
    before = vec.instruction_set()
    vec.use_instruction_set(request.param)
    yield request.param
    vec.use_instruction_set(before)


@pytest.fixture(params=DTYPES, ids=lambda t: t.__name__)
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def wide(x):
    """x in a precision in which a reference can be computed."""
    return np.asarray(x, dtype=np.float64 if x.dtype == np.float32 else np.longdouble)


class Guarded:
    """Arrays with numbers around them that must stay."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.buffers = []

    def __call__(self, value, before=5):
        value = np.asarray(value, dtype=self.dtype)
        buffer = np.full(before + value.size + 40, 12345, dtype=self.dtype)
        inner = buffer[before:before + value.size].reshape(value.shape)
        inner[...] = value
        self.buffers.append((buffer, before, value.size))
        return inner

    def empty(self, *shape):
        return self(np.full(shape, np.nan))

    def check(self):
        for buffer, before, size in self.buffers:
            assert (buffer[:before] == 12345).all()
            assert (buffer[before + size:] == 12345).all()


def assert_ulp(got, reference, bound, name=""):
    """|got - reference| <= bound units in the last place of the dtype, subnormal ones included."""
    dtype = got.dtype.type
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.asarray(reference, dtype=dtype)
    assert_array_equal(np.isnan(got), np.isnan(rounded), err_msg=name)
    assert_array_equal(np.isinf(got), np.isinf(rounded), err_msg=name)
    finite = np.isfinite(rounded)
    got, reference, rounded = got[finite], reference[finite], rounded[finite]
    ulp = np.maximum(np.spacing(np.abs(rounded)), np.finfo(dtype).smallest_subnormal)
    # where the reference is a power of two, the units below are half of that
    error = np.abs(wide(got) - reference) / wide(ulp)
    if error.size:
        worst = error.argmax()
        slack = 0 if dtype is np.float32 or WIDE else 1
        assert error[worst] <= bound + slack, (name, rounded[worst], float(error[worst]))


def same_bits(a, b):
    """Equal, with NaN equal to NaN."""
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=True) and (
        np.array_equal(np.signbit(a), np.signbit(b)) or np.isnan(a).any())


def points(dtype, rng, span):
    """Numbers over the range of a function, near zero, and outside of the range."""
    x = [np.linspace(-span, span, 4001), np.linspace(-1, 1, 3001), rng.normal(0, 3, 4001),
         np.geomspace(1e-30, 1, 500), -np.geomspace(1e-30, 1, 500), [np.nan, np.inf, -np.inf],
         EXTREMES[dtype]]
    with np.errstate(under="ignore"):
        return np.concatenate(x).astype(dtype)


# ------------------------------------------------------------------------------------------------
# exp, log, tanh, logistic

def ref_logistic(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


FUNCTIONS = {
    "exp": (lambda x: vec.exponential(x), np.exp),
    "tanh": (lambda x: vec.activation("tanh", x), np.tanh),
    "logistic": (lambda x: vec.activation("logistic", x), ref_logistic),
    "expm1": (lambda x: vec.activation("elu", x), lambda x: np.where(x < 0, np.expm1(x), x)),
    "softplus": (lambda x: vec.activation("softplus", x),
                 lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@np.errstate(all="ignore")
def test_two_ulp(name, dtype, rng):
    f, reference = FUNCTIONS[name]
    x = points(dtype, rng, 110 if dtype == np.float32 else 760)
    assert_ulp(f(x), reference(wide(x)), 2, name)


@np.errstate(all="ignore")
def test_log_two_ulp(dtype, rng):
    info = np.finfo(dtype)
    x = np.concatenate([
        np.abs(points(dtype, rng, 100)), np.linspace(0.5, 2, 5001),
        np.geomspace(info.tiny, info.max, 5001), np.geomspace(TINY[dtype], info.tiny, 99),
        [-1, -1e-30],
    ]).astype(dtype)
    assert_ulp(vec.logarithm(x), np.log(wide(x)), 2)


def test_special_values(dtype):
    nan, inf = np.nan, np.inf
    big = 3e38 if dtype is np.float32 else 1e308
    x = np.array([nan, inf, -inf, big, -big, 0.0], dtype)
    assert_array_equal(vec.exponential(x), np.array([nan, inf, 0, inf, 0, 1], dtype))
    assert_array_equal(vec.logarithm(x)[:3], np.array([nan, inf, nan], dtype))
    assert_array_equal(vec.logarithm(x)[4:], np.array([nan, -inf], dtype))
    expected = {
        "identity": [nan, inf, -inf, big, -big, 0],
        "relu": [nan, inf, 0, big, 0, 0],
        "leaky_relu": [nan, inf, -inf, big, -0.25 * dtype(big), 0],
        "elu": [nan, inf, -0.25, big, -0.25, 0],
        "gelu": [nan, inf, 0, big, 0, 0],
        "silu": [nan, inf, 0, big, 0, 0],
        "softplus": [nan, inf, 0, big, 0],
        "tanh": [nan, 1, -1, 1, -1, 0],
        "logistic": [nan, 1, 0, 1, 0, 0.5],
        "mish": [nan, inf, 0, big, 0, 0],
        "hard_sigmoid": [nan, 1, 0, 1, 0, 0.5],
    }
    for name, y in expected.items():
        got = vec.activation(name, x, slope=0.25)
        assert_array_equal(got[:len(y)], np.array(y, dtype), err_msg=name)
    assert np.signbit(vec.activation("tanh", np.array([-0.0], dtype)))[0]
    x = np.array(EXTREMES[dtype][2:8], dtype)
    assert_array_equal(vec.activation("tanh", x), x)            # also below the normal numbers
    # gradients stay finite at both ends and keep NaN
    x = np.array([inf, -inf, big, -big, nan], dtype)
    for name in ("gelu", "silu", "mish"):
        d = vec.activation_grad(name, x, np.ones_like(x))
        assert_array_equal(d, np.array([1, 0, 1, 0, nan], dtype), err_msg=name)
    for name in vec.ACTIVATIONS:
        one = np.ones((3, 1), dtype)
        assert np.isnan(vec.activation_grad(name, one / 2, one * nan)).all(), name


# ------------------------------------------------------------------------------------------------
# Activations

SCALE, ALPHA = 1.0507009873554804934, 1.6732632423543772848


def reference_activation(name, x, slope):
    return {
        "identity": lambda: x,
        "relu": lambda: np.maximum(x, 0),
        "leaky_relu": lambda: np.where(x < 0, slope * x, x),
        "elu": lambda: np.where(x < 0, slope * np.expm1(np.minimum(x, 0)), x),
        "selu": lambda: SCALE * np.where(x < 0, ALPHA * np.expm1(np.minimum(x, 0)), x),
        "gelu": lambda: x * special.ndtr(x),
        "silu": lambda: x * special.expit(x),
        "softplus": lambda: np.logaddexp(0, x),
        "tanh": lambda: np.tanh(x),
        "logistic": lambda: special.expit(x),
        "softmax": lambda: special.softmax(x, axis=-1),
        "mish": lambda: x * np.tanh(np.logaddexp(0, x)),
        "hard_sigmoid": lambda: np.clip(x + 3, 0, 6) / 6,
    }[name]()


@pytest.mark.parametrize("name", vec.ACTIVATIONS)
def test_activation(name, dtype, rng):
    rtol, atol = (3e-7, 2e-7) if dtype is np.float32 else (1e-15, 1e-15)
    for n in SIZES:
        for shape in ((n,), (3, n)):
            guarded = Guarded(dtype)
            z = guarded(rng.normal(0, 3, shape))
            y = guarded.empty(*shape)
            out = vec.activation(name, z, slope=0.3, out=y)
            assert out is y
            if n:
                want = reference_activation(name, z.astype(np.float64), 0.3)
                assert_allclose(y, want, rtol=10 * rtol, atol=atol)
            # in place, and with the numbers at another distance from 64-byte lines
            again = guarded(z, before=6)
            vec.activation(name, again, slope=0.3, out=again)
            assert same_bits(again, y)
            guarded.check()


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_activation_keeps_the_lower_tail(name, dtype):
    z = np.linspace(-12, -1, 301).astype(dtype)
    want = reference_activation(name, z.astype(np.float64), 1)
    assert_allclose(vec.activation(name, z), want, rtol=2e-5 if dtype is np.float32 else 1e-13)


@pytest.mark.parametrize("name", vec.ACTIVATIONS)
def test_activation_grad(name, dtype, rng):
    for n in SIZES:
        z = rng.normal(0, 2, (3, n))
        z[np.abs(np.abs(z) - 3) < 1e-3] = 0.5               # away from the corners
        z[np.abs(z) < 1e-3] = 0.5
        dy = rng.normal(0, 1, (3, n))
        want = np.zeros((3, n))
        for j in range(n) if name == "softmax" else range(1):
            step = np.zeros((3, n))
            step[:, j if name == "softmax" else slice(None)] = 1e-5
            f = reference_activation(name, z + step, 0.3) if n else z
            g = reference_activation(name, z - step, 0.3) if n else z
            if name == "softmax":
                want[:, j] = (dy * (f - g) / 2e-5).sum(axis=1)
            else:
                want = dy * (f - g) / 2e-5
        guarded = Guarded(dtype)
        a = guarded(z if vec.keeps_z(name) else reference_activation(name, z, 0.3) if n else z)
        d, dz = guarded(dy), guarded.empty(3, n)
        assert vec.activation_grad(name, a, d, slope=0.3, out=dz) is dz
        assert_allclose(dz, want, rtol=2e-6, atol=2e-6 if dtype is np.float32 else 1e-9)
        vec.activation_grad(name, a, d, slope=0.3, out=d)
        assert same_bits(d, dz)
        guarded.check()


def test_gradient_of_relu_keeps_nan(dtype):
    one = np.ones(2, dtype)
    y = np.array([np.nan, 0], dtype)
    assert_array_equal(vec.activation_grad("relu", y, one), np.array([1, 0], dtype))


# ------------------------------------------------------------------------------------------------
# The same bits

def every_kernel(dtype):
    """Results of each kernel on numbers of all sizes, as one list of arrays."""
    rng = np.random.default_rng(1)
    found = []

    def draw(*shape, scale=3.0):
        return (scale * rng.standard_normal(shape)).astype(dtype)

    x = np.concatenate([draw(2000), draw(500, scale=100), np.array(EXTREMES[dtype], dtype)])
    found += [vec.exponential(x), vec.logarithm(np.abs(x)), vec.dropped(x, 5, 3, 0.3)]
    for name in vec.ACTIVATIONS:
        for shape in ((37, 1), (37, 2), (7, 10), (5, 16), (5, 23), (3, 30), (2, 150)):
            z, dy = draw(*shape), draw(*shape)
            y = vec.activation(name, z, slope=0.3)
            a = z if vec.keeps_z(name) else y
            found += [y, vec.activation_grad(name, a, dy, slope=0.3)]
        found.append(vec.activation(name, x[:, None]))
    for name in vec.LOSSES:
        for shape in ((37, 1), (37, 2), (20, 10), (5, 16), (5, 23), (3, 30), (2, 300)):
            y, dy = draw(*shape), draw(*shape)
            t = np.abs(draw(*shape))
            if name == "log_loss_codes":
                t = rng.integers(shape[1], size=shape[0]).astype(dtype)
            w = np.abs(draw(shape[0]))
            found.append(np.array(vec.loss(name, y, t, w, 0.7, 0.1, dy)))
            found.append(dy)
    for u in (1, 5, 16, 20, 40):
        z = draw(6, 4 * u)
        c_prev, c, tc, h, dc = (draw(6, u) for _ in range(5))
        vec.lstm_step(z, c_prev, c, tc, h)
        found += [z.copy(), c, tc, h]
        vec.lstm_step_back(z, c_prev, tc, draw(6, u), dc)
        found += [z, dc]
        a, s, cn, dh = draw(6, 3 * u), draw(6, 3 * u), draw(u), draw(6, u)
        vec.gru_step(a, s, cn, c_prev, h)
        found += [a.copy(), s.copy(), h]
        vec.gru_step_back(a, s, c_prev, dh)
        found += [a, s, dh]
    for shape in ((1, 3), (70, 1), (70, 10), (70, 16), (70, 17), (9, 100)):
        a, total, b = draw(*shape), draw(shape[1]), draw(*shape[::-1])
        vec.added_column_sums(a, total)
        vec.transposed(a, b)
        found += [total, b]
    for n in (3, 16, 100):
        theta, g, m, v = draw(n), draw(n), draw(n), np.abs(draw(n))
        vec.update("adam", theta, g, m, v, np.array([1e-3, 0.9, 0.999, 1.5, 1e-8]))
        vec.update("sgd", theta, g, m, None, np.array([1e-3, 0.9, 1.0]))
        found += [theta, m, v, np.array([vec.square_sum(g), vec.largest(g)])]
    return found


@np.errstate(all="ignore")
def test_instruction_sets_agree(isa, dtype):
    got = every_kernel(dtype)
    vec.use_instruction_set(vec.instruction_sets()[0])
    for i, (a, b) in enumerate(zip(got, every_kernel(dtype), strict=True)):
        assert same_bits(a, b), i


@pytest.mark.parametrize("name", [n for n in vec.ACTIVATIONS if n != "softmax"])
def test_place_does_not_matter(name, dtype, rng):
    x = rng.normal(0, 3, 53).astype(dtype)
    y = vec.activation(name, x)
    d = vec.activation_grad(name, x, np.ones_like(x))
    for shift in (1, 3, 8, 16, 21, 52):
        assert same_bits(vec.activation(name, x[shift:]), y[shift:])
        assert same_bits(vec.activation(name, x[:shift]), y[:shift])
        assert same_bits(vec.activation_grad(name, x[shift:], np.ones_like(x[shift:])), d[shift:])


@pytest.mark.parametrize("k", [1, 2, 3, 5, 10, 12, 13, 16, 24, 25, 40, 300])
def test_rows_alone_are_rows_together(k, dtype, rng):
    z = rng.normal(0, 3, (37, k)).astype(dtype)
    together = vec.activation("softmax", z)
    assert_allclose(together, special.softmax(z.astype(float), axis=1), rtol=1e-5, atol=1e-15)
    t = special.softmax(rng.normal(0, 3, (37, k)), axis=1).astype(dtype)
    codes = rng.integers(k, size=37).astype(dtype)
    dy, dy_codes = np.empty_like(z), np.empty_like(z)
    vec.loss("log_loss_probs", z, t, smoothing=0.1, dy=dy)
    vec.loss("log_loss_codes", z, codes, smoothing=0.1, dy=dy_codes)
    for rows in (slice(0, 1), slice(3, 8), slice(36, 37), slice(5, 25)):
        assert same_bits(vec.activation("softmax", z[rows]), together[rows])
        part = np.empty_like(z[rows])
        vec.loss("log_loss_probs", z[rows], t[rows], smoothing=0.1, dy=part)
        assert same_bits(part, dy[rows])
        vec.loss("log_loss_codes", z[rows], codes[rows], smoothing=0.1, dy=part)
        assert same_bits(part, dy_codes[rows])


def test_softmax_of_hard_rows(dtype):
    inf = np.inf
    for k in (4, 30):
        z = np.zeros((5, k), dtype)
        z[0, 1] = 1e30                                      # a sure class
        z[1, :] = -1e30
        z[2, :2] = -inf                                     # masked out
        z[3, 0] = np.nan
        y = vec.activation("softmax", z)
        assert_array_equal(y[0], np.eye(k, dtype=dtype)[1])
        assert_allclose(y[1], 1 / k)
        assert_allclose(y[2], [0, 0, *[1 / (k - 2)] * (k - 2)], rtol=1e-6)
        assert np.isnan(y[3]).all()
        assert_allclose(y[4], 1 / k)


# ------------------------------------------------------------------------------------------------
# Losses

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
    w, dy, want = rng.uniform(1, 2, rows), np.empty((rows, k)), np.empty((rows, k))
    vec.loss(name, y, t, w, 1.5, 0.1, dy)
    for i in np.ndindex(rows, k):
        step = np.zeros((rows, k))
        step[i] = 1e-6
        above, below = (vec.loss(name, y + s, t, w, smoothing=0.1) for s in (step, -step))
        want[i] = 1.5 * (above - below) / 2e-6
    assert_allclose(dy, want, atol=1e-8)


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


# ------------------------------------------------------------------------------------------------
# Recurrent gates

UNITS = (1, 2, 5, 10, 15, 16, 17, 33, 48, 64, 70)


def reference_lstm(z, c_prev):
    i, f, g, o = np.split(z, 4, axis=1)
    i, f, g, o = special.expit(i), special.expit(f), np.tanh(g), special.expit(o)
    c = f * c_prev + i * g
    return np.hstack([i, f, g, o]), c, np.tanh(c), o * np.tanh(c)


def reference_gru(a, s, cn, h_prev):
    ar, az, an = np.split(a, 3, axis=1)
    sr, sz, sn = np.split(s, 3, axis=1)
    r, z, q = special.expit(ar + sr), special.expit(az + sz), sn + cn
    n = np.tanh(an + r * q)
    return np.hstack([r, z, n]), q, (1 - z) * n + z * h_prev


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
        a, s = rng.normal(0, 2, (n, 3 * u)), rng.normal(0, 2, (n, 3 * u))
        for cn in (rng.normal(0, 1, u), None):
            for h_prev in (rng.normal(0, 1, (n, u)), None):
                guarded = Guarded(dtype)
                gates, inner, h = guarded(a), guarded(s), guarded.empty(n, u)
                before = None if h_prev is None else guarded(h_prev)
                if h_prev is None:
                    inner[...] = np.nan                     # is taken as zeros
                vec.gru_step(gates, inner, None if cn is None else guarded(cn), before, h)
                first = h_prev is None
                want = reference_gru(
                    a, s * (not first), 0 if cn is None else cn, 0 if first else h_prev)
                assert_allclose(gates, want[0], **tolerance)
                assert_allclose(inner[:, 2 * u:], np.broadcast_to(want[1], (n, u)), **tolerance)
                assert_allclose(h, want[2], **tolerance)
                if not first:                               # h in the place of h_prev
                    vec.gru_step(guarded(a), guarded(s), None if cn is None else guarded(cn), before,
                                 before)
                    assert same_bits(before, h)
                guarded.check()


@pytest.mark.parametrize("u", UNITS)
def test_lstm_backward(u, dtype, rng):
    n = 3
    z, c_prev = rng.normal(0, 2, (n, 4 * u)), rng.normal(0, 1, (n, u))
    dh, dc = rng.normal(0, 1, (n, u)), rng.normal(0, 1, (n, u))

    def value(z, c_prev):
        _, c, _, h = reference_lstm(z, c_prev)
        return dh * h + dc * c                              # each unit depends on its own numbers

    for before in (c_prev, None):
        start = np.zeros((n, u)) if before is None else before
        gates, _, tc, _ = reference_lstm(z, start)
        guarded = Guarded(dtype)
        gates, tc, back, d_next = guarded(gates), guarded(tc), guarded(dh), guarded(dc)
        vec.lstm_step_back(gates, None if before is None else guarded(before), tc, back, d_next)
        want = []
        for q in range(4):
            step = np.zeros((n, 4 * u))
            step[:, q * u:(q + 1) * u] = 1e-6
            want.append((value(z + step, start) - value(z - step, start)) / 2e-6)
        tolerance = 3e-6 if dtype is np.float32 else 1e-8
        assert_allclose(gates, np.hstack(want), rtol=1e-5, atol=tolerance)
        want = (value(z, start + 1e-6) - value(z, start - 1e-6)) / 2e-6
        assert_allclose(d_next, want, rtol=1e-5, atol=tolerance)
        assert_array_equal(back, dh.astype(dtype))
        guarded.check()


@pytest.mark.parametrize("u", UNITS)
def test_gru_backward(u, dtype, rng):
    n = 3
    a, s = rng.normal(0, 2, (n, 3 * u)), rng.normal(0, 2, (n, 3 * u))
    cn, h_prev, dh = rng.normal(0, 1, u), rng.normal(0, 1, (n, u)), rng.normal(0, 1, (n, u))

    def value(a, s, h_prev):
        return dh * reference_gru(a, s, cn, h_prev)[2]

    for first in (False, True):
        s0, h0 = (s * 0, h_prev * 0) if first else (s, h_prev)
        gates, q, _ = reference_gru(a, s0, cn, h0)
        guarded = Guarded(dtype)
        gates, back = guarded(gates), guarded(dh)
        inner = guarded(np.hstack([np.full((n, 2 * u), np.nan), q]))
        vec.gru_step_back(gates, inner, None if first else guarded(h_prev), back)
        want_a, want_s = [], []
        for part in range(3):
            step = np.zeros((n, 3 * u))
            step[:, part * u:(part + 1) * u] = 1e-6
            want_a.append((value(a + step, s0, h0) - value(a - step, s0, h0)) / 2e-6)
            want_s.append((value(a, s0 + step, h0) - value(a, s0 - step, h0)) / 2e-6)
        tolerance = dict(rtol=1e-5, atol=5e-6 if dtype is np.float32 else 1e-8)
        assert_allclose(gates, np.hstack(want_a), **tolerance)
        assert_allclose(inner, np.hstack(want_s), **tolerance)
        want = (value(a, s0, h0 + 1e-6) - value(a, s0, h0 - 1e-6)) / 2e-6
        assert_allclose(back, want, **tolerance)
        guarded.check()


# ------------------------------------------------------------------------------------------------
# Linear helpers

def test_transpose(dtype, rng):
    for rows, cols in [(0, 3), (3, 0), (1, 1), (1, 20), (20, 1), (2, 2), (3, 5), (4, 4), (5, 7),
                       (8, 8), (9, 8), (10, 16), (16, 10), (17, 23), (64, 64), (100, 37)]:
        for extra in (0, 3):
            a = np.full((rows, cols + extra), 7, dtype)
            b = np.full((cols + 1, rows + extra), 9, dtype)
            a[:, :cols] = rng.normal(size=(rows, cols))
            vec.transposed(a[:, :cols], b[:cols, :rows])
            assert_array_equal(b[:cols, :rows], a[:, :cols].T)
            assert (b[:, rows:] == 9).all() and (b[cols:] == 9).all()


def test_fill_rows(dtype, rng):
    for rows, k in [(0, 3), (3, 0), (1, 1), (7, 1), (5, 3), (300, 10), (9, 64), (2, 5000)]:
        for extra in (0, 2):
            y = np.full((rows + 1, k + extra), 9, dtype)
            b = rng.normal(size=k).astype(dtype)
            vec.filled_rows(y[:rows, :k], b)
            assert_array_equal(y[:rows, :k], np.broadcast_to(b, (rows, k)))
            assert (y[rows:] == 9).all() and (y[:, k:] == 9).all()
            vec.filled_rows(y[:rows, :k])
            assert (y[:rows, :k] == 0).all() and (y[rows:] == 9).all()


def test_column_sums(dtype, rng):
    for rows in (0, 1, 3, 4, 31, 32, 33, 100):
        for k in (1, 2, 3, 10, 16, 17, 64, 100):
            guarded = Guarded(dtype)
            x, total = rng.normal(size=(rows, k)), rng.normal(size=k)
            y = guarded(total)
            vec.added_column_sums(guarded(x), y)
            tolerance = 1e-5 if dtype is np.float32 else 1e-13
            assert_allclose(y, total + x.sum(axis=0), rtol=tolerance, atol=tolerance)
            guarded.check()


def test_add_scale_norms(dtype, rng):
    for n in SIZES:
        guarded = Guarded(dtype)
        x, y = guarded(rng.normal(size=n)), guarded(rng.normal(size=n))
        want = x + y
        vec.added(x, y)
        assert_array_equal(y, want)
        want = y + dtype(0.3) * x
        vec.added(x, y, 0.3)
        assert_array_equal(y, want)
        want = y * dtype(0.7)
        vec.scaled(y, 0.7)
        assert_array_equal(y, want)
        assert_allclose(vec.square_sum(x), (x.astype(np.float64) ** 2).sum(), rtol=1e-14)
        assert vec.largest(x) == (np.abs(x).max() if n else 0)
        guarded.check()
        if n:
            for i in {0, n // 2, n - 1}:
                bad = x.copy()
                bad[i] = np.nan
                assert vec.largest(bad) == np.inf
                bad[i] = -np.inf
                assert vec.largest(bad) == np.inf
    assert vec.square_sum(np.full(20, 1e30, dtype)) == pytest.approx(20e60)


# ------------------------------------------------------------------------------------------------
# Dropout and update rules

@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.1, 0.5, 0.9])
def test_dropout(rate, dtype, rng):
    for first in (0, 13, 2**64 - 5):
        for n in SIZES:
            guarded = Guarded(dtype)
            x, y = guarded(rng.normal(size=n)), guarded.empty(n)
            keep = np.array(vec.uniform_draws(77, first, n)) >= rate
            vec.dropped(x, 77, first, rate, y)
            assert_array_equal(y, np.where(keep, x * dtype(1 / (1 - rate)), 0))
            vec.dropped(x, 77, first, rate, x)
            assert same_bits(x, y)
            guarded.check()
    x = np.ones(20000, dtype)
    assert abs((vec.dropped(x, 1, 0, rate) == 0).mean() - rate) < 0.02
    assert abs(vec.dropped(x, 1, 0, rate).mean() - 1) < 0.1


def test_sgd(dtype, rng):
    for n in SIZES:
        for momentum, nesterov in ((0, 0), (0.9, 0), (0.9, 1)):
            guarded = Guarded(dtype)
            theta, g, v = (guarded(rng.normal(size=n)) for _ in range(3))
            t, w = theta.astype(np.float64), v.astype(np.float64)
            w = momentum * w - 0.1 * g
            t = t + (momentum * w - 0.1 * g if nesterov else w)
            coef = np.array([0.1, momentum, nesterov])
            vec.update("sgd", theta, g, v if momentum else None, None, coef)
            assert_allclose(theta, t, rtol=1e-6, atol=1e-6)
            if momentum:
                assert_allclose(v, w, rtol=1e-6, atol=1e-6)
            guarded.check()


def test_adam(dtype, rng):
    step, b1, b2, c, eps = coef = np.array([1e-2, 0.9, 0.999, 3.0, 1e-8])
    for n in SIZES:
        guarded = Guarded(dtype)
        theta, g, m, v = (guarded(rng.normal(size=n)) for _ in range(4))
        v[...] = v**2
        if n > 2:
            g[0] = m[0] = v[0] = 0                          # nothing to do, and no 0 / 0
        t, m2, v2 = (x.astype(np.float64) for x in (theta, m, v))
        m2 = b1 * m2 + (1 - b1) * g
        v2 = b2 * v2 + (1 - b2) * g.astype(np.float64)**2
        t = t - step * m2 / (np.sqrt(v2) * c + eps)
        vec.update("adam", theta, g, m, v, coef)
        for got, want in ((theta, t), (m, m2), (v, v2)):
            assert_allclose(got, want, rtol=1e-6, atol=1e-6)
        guarded.check()


# ------------------------------------------------------------------------------------------------
# The module

def test_denormals_come_back():
    inside, outside = vec.product_flushed(1e-300, 1e-10)
    assert outside == 1e-310
    assert inside in (0, 1e-310)
    if vec.instruction_set() != "base":
        assert inside == 0


def test_choice_of_instruction_set(isa):
    assert vec.instruction_set() == isa
    with pytest.raises(ValueError, match="name must be one of"):
        vec.use_instruction_set("v99")


def test_wrong_arguments(dtype):
    x = np.ones((3, 4), dtype)
    with pytest.raises(ValueError, match="name must be one of"):
        vec.activation("relu6", x)
    with pytest.raises(ValueError, match="must be of shape"):
        vec.activation("relu", x, out=np.ones((3, 5), dtype))
    with pytest.raises(ValueError, match="C-contiguous"):
        vec.activation("relu", x.T)
    with pytest.raises(TypeError, match="dtype"):
        vec.activation("relu", x.astype(int))
    read_only = x.copy()
    read_only.flags.writeable = False
    assert_array_equal(vec.activation("relu", read_only), x)
    with pytest.raises(ValueError, match="writeable"):
        vec.activation("relu", x, out=read_only)
    with pytest.raises(ValueError, match="codes must be in"):
        vec.loss("log_loss_codes", x, np.array([0, 1, 4], dtype))
    with pytest.raises(ValueError, match="transposed shape"):
        vec.transposed(x, x)
