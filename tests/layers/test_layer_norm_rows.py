"""LayerNorm's vector kernels on each instruction set, beside float64, and with the activation behind it in one op."""
import numpy as np
import pytest
from contract import DTYPES, close
from steps import check_blocks_and_threads, run_model_step

from ldl_cy import Sequential
from ldl_cy._engine import vec
from ldl_cy.layers import Activation, Dense, LayerNorm

pytestmark = pytest.mark.usefixtures("isa")


def numbers(dtype, rows, k):
    rng = np.random.default_rng(k)
    theta = np.concatenate([rng.standard_normal(k), 0.5 * rng.standard_normal(k)]).astype(dtype)
    return theta, (3 + 2 * rng.standard_normal((rows, k))).astype(dtype), rng.standard_normal((rows, k)).astype(dtype)


def run(kernel, theta, x, dy):
    y, cache, _ = kernel.forward(theta, x)
    alone, _, _ = kernel.forward(theta, x, keep=False)
    np.testing.assert_array_equal(alone, y)
    dx, grad = np.full_like(x, np.nan), np.zeros_like(theta)
    kernel.backward(theta, x, y, dy.copy(), cache, dx=dx, grad=grad)
    return y, dx, grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2, 3, 7, 8, 15, 16, 17, 20, 31, 33, 64, 100, 130, 1023, 1024, 1050, 5000])
@pytest.mark.parametrize("rows", [1, 2, 70])
def test_any_length_and_number_of_rows(rows, k, dtype):
    kernel = LayerNorm().build((k,)).kernel(dtype)
    theta, x, dy = numbers(dtype, rows, k)
    y, dx, grad = run(kernel, theta, x, dy)
    wide, gamma, beta, d = (a.astype(np.longdouble) for a in (x, theta[:k], theta[k:], dy))
    mean, sigma = wide.mean(1, keepdims=True), np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    xhat, g = (wide - mean) / sigma, gamma * d
    tol = 1e-13 if dtype == "float64" else 2e-6
    close(y, gamma * xhat + beta, tol)
    close(dx, (g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True)) / sigma, 4 * tol)
    close(grad, np.concatenate([(d * xhat).sum(0), d.sum(0)]), 4 * tol)
    for i in {0, rows // 2, rows - 1}:                      # a row's bits are its own
        own, own_dx, _ = run(kernel, theta, x[i:i + 1], dy[i:i + 1])
        np.testing.assert_array_equal(own[0], y[i])
        np.testing.assert_array_equal(own_dx[0], dx[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [kind for kind in vec.ACTIVATIONS if kind != "softmax"])
@pytest.mark.parametrize("shape", [(5,), (2, 33), (5000,)], ids=str)
def test_with_the_activation_behind_it(shape, activation, dtype):
    first, after = LayerNorm().build(shape).kernel(dtype), Activation(activation).build(shape).kernel(dtype)
    both = first.fuse(after, 100)
    theta, _, _ = numbers(dtype, 1, shape[-1])
    _, x, dy = numbers(dtype, 6, int(np.prod(shape)))
    z, cache, _ = first.forward(theta, x)
    y, act_cache, _ = after.forward(np.empty(0, dtype), z)
    dz, dx, grad = np.empty_like(z), np.empty_like(x), np.zeros_like(theta)
    after.backward(np.empty(0, dtype), z, y, dy.copy(), act_cache, dx=dz)
    first.backward(theta, x, z, dz, cache, dx=dx, grad=grad)
    for a, b in zip(run(both, theta, x, dy), (y, dx, grad)):
        close(a, b, 1e-12 if dtype == "float64" else 2e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_numbers_and_outliers(dtype):
    """Where squares overflow, and where the first number is far from all others."""
    huge, rng = {"float32": 1e30, "float64": 1e150}[dtype], np.random.default_rng(0)
    x = rng.standard_normal((4, 77))
    x[0] *= huge
    x[1, 0] = 1e4
    x[2] += 1e3
    x = x.astype(dtype)
    kernel, theta = LayerNorm().build((77,)).kernel(dtype), np.repeat([1, 0], 77).astype(dtype)
    y, _, _ = kernel.forward(theta, x)
    wide = x.astype(np.longdouble)
    close(y, (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5),
          1e-11 if dtype == "float64" else 4e-6)


def test_what_is_not_fused():
    kernel = LayerNorm().build((4, 8)).kernel("float32")
    assert kernel.fuse(Activation("softmax").build((4, 8)).kernel("float32"), 9) is None
    sequences, relu = LayerNorm(axis=(1, 2)).build((4, 8)).kernel("float32"), Activation("relu").build((4, 8))
    assert sequences.fuse(relu.kernel("float32"), 9) is None and kernel.fuse(relu.kernel("float32"), 9) is not None


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_is_fused_and_computes_the_same(dtype):
    stack = [Dense(20), LayerNorm(), Activation("gelu"), Dense(7), LayerNorm(), Activation("tanh"), Dense(2)]
    model = Sequential(stack, dtype=dtype, random_state=0).build((3, 4))
    graph, rng = model.network.graph, np.random.default_rng(0)
    X, y = rng.standard_normal((19, 3, 4)).astype(dtype), rng.standard_normal((19, 3, 2))
    lengths, tol = rng.integers(1, 4, 19).astype(np.int32), 1e-11 if dtype == "float64" else 1e-5
    for given in (None, lengths):
        step = check_blocks_and_threads(
            lambda threads, given=given, **options: run_model_step(model, X, y, threads, lengths=given, **options), tol)
        apart = run_model_step(model, X, y, lengths=given, keep=tuple(range(len(graph.sizes))))
        assert (len(step.plan.nodes), len(apart.plan.nodes)) == (5, 7)
        for a, b in zip(step[:4], apart[:4]):
            close(a, b, tol)
