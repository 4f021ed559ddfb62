"""exp, log, tanh, logistic within 2 ulp; activations and their gradients."""
import numpy as np
import pytest
import vec_kernels as vec
from buffers import Guarded
from gradients import TOLERANCE, check_derivative
from numpy.testing import assert_allclose, assert_array_equal
from references import activate
from vectors import EXTREMES, SIZES, TINY, assert_ulp, points, ref_logistic, same_bits, wide

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
        "selu": [nan, inf],
        "gelu": [nan, inf, 0, big, 0, 0],
        "silu": [nan, inf, 0, big, 0, 0],
        "softplus": [nan, inf, 0, big, 0],
        "tanh": [nan, 1, -1, 1, -1, 0],
        "logistic": [nan, 1, 0, 1, 0, 0.5],
        "mish": [nan, inf, 0, big, 0, 0],
        "hard_sigmoid": [nan, 1, 0, 1, 0, 0.5],
        "hard_silu": [nan, inf, 0, big, 0, 0],
        "relu6": [nan, 6, 0, 6, 0, 0],
        "gelu_tanh": [nan, inf, 0, big, 0, 0],
    }
    missing = [name for name in vec.ACTIVATIONS if name not in expected and name != "softmax"]
    assert not missing, f"what {', '.join(missing)} makes of NaN and infinity is not in this file"
    for name, y in expected.items():
        got = vec.activation(name, x, slope=0.25)
        assert_array_equal(got[:len(y)], np.array(y, dtype), err_msg=name)
    assert np.signbit(vec.activation("tanh", np.array([-0.0], dtype)))[0]
    x = np.array(EXTREMES[dtype][2:8], dtype)
    assert_array_equal(vec.activation("tanh", x), x)            # also below the normal numbers
    # gradients stay finite at both ends and keep NaN
    x = np.array([inf, -inf, big, -big, nan], dtype)
    for name in ("gelu", "silu", "mish", "hard_silu", "gelu_tanh"):
        d = vec.activation_grad(name, x, np.ones_like(x))
        assert_array_equal(d, np.array([1, 0, 1, 0, nan], dtype), err_msg=name)
    for name in vec.ACTIVATIONS:
        one = np.ones((3, 1), dtype)
        assert np.isnan(vec.activation_grad(name, one / 2, one * nan)).all(), name


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
                want = activate(name, z.astype(np.float64), 0.3)
                assert_allclose(y, want, rtol=10 * rtol, atol=atol)
            # in place, and with the numbers at another distance from 64-byte lines
            again = guarded(z, before=6)
            vec.activation(name, again, slope=0.3, out=again)
            assert same_bits(again, y)
            guarded.check()


@pytest.mark.parametrize(("name", "lowest"), [("gelu", -12), ("silu", -12), ("mish", -12), ("gelu_tanh", -10)])
def test_activation_keeps_the_lower_tail(name, lowest, dtype):
    z = np.linspace(lowest, -1, 301).astype(dtype)
    want = activate(name, z.astype(np.float64))
    assert_allclose(vec.activation(name, z), want, rtol=2e-5 if dtype is np.float32 else 1e-13)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", vec.ACTIVATIONS)
def test_activation_grad(name, n, dtype, rng):
    tol = 2e-6 if dtype is np.float32 else TOLERANCE
    z = rng.normal(0, 2, (3, n))
    for corner in (0, 3, 6):
        z[np.abs(np.abs(z) - corner) < 1e-3] = 0.5      # away from it
    dy = rng.normal(0, 1, (3, n))
    guarded = Guarded(dtype)
    a = guarded(z if vec.keeps_z(name) else activate(name, z, 0.3) if n else z)
    d, dz = guarded(dy), guarded.empty(3, n)
    assert vec.activation_grad(name, a, d, slope=0.3, out=dz) is dz
    if name == "softmax":
        for j in range(n):
            check_derivative(lambda z: (dy * activate(name, z)).sum(1), z, np.eye(n)[j], dz[:, j], tol)
    elif n:
        check_derivative(lambda z: dy * activate(name, z, 0.3), z, 1.0, dz, tol)
    vec.activation_grad(name, a, d, slope=0.3, out=d)
    assert same_bits(d, dz)
    guarded.check()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", [name for name in vec.ACTIVATIONS if vec.keeps_z(name)])
def test_activation_with_its_slope(name, n, dtype, rng):
    eps = np.finfo(dtype).eps
    guarded = Guarded(dtype)
    z = guarded(np.resize(np.r_[rng.normal(0, 3, 50), -np.inf, np.inf, np.nan, 0, -0.0, 3, -3, 1e30, -1e30], n))
    y, slope = vec.activation_both(name, z, out=guarded.empty(n))
    assert_allclose(y, vec.activation(name, z), rtol=4 * eps, atol=4 * eps)
    assert_allclose(slope, vec.activation_grad(name, z, np.ones_like(z)), rtol=4 * eps, atol=4 * eps)
    in_place, again = vec.activation_both(name, z, out=z)
    assert in_place is z and same_bits(z, y) and same_bits(again, slope)
    guarded.check()


def test_gradient_of_relu_keeps_nan(dtype):
    one = np.ones(2, dtype)
    y = np.array([np.nan, 0], dtype)
    assert_array_equal(vec.activation_grad("relu", y, one), np.array([1, 0], dtype))
