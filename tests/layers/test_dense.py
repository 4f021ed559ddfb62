"""Dense against y = x W + b in NumPy."""
import numpy as np
import pytest
from buffers import Guarded
from contract import CHECKS, DTYPES, LayerCase, close, run
from references import activate

from ldl_cy._kernels.dense import dense
from ldl_cy.layers import Dense
from ldl_cy.layers.activation import ACTIVATIONS


def reference(activation="identity", bias=True):
    def compute(p, x):
        return activate(activation, x @ p["kernel"] + (p["bias"] if bias else 0))
    return compute


CASES = [
    LayerCase("plain", Dense(3), (5,), reference()),
    LayerCase("one to one", Dense(1), (1,), reference()),
    LayerCase("no bias", Dense(4, use_bias=False), (7,), reference(bias=False)),
    LayerCase("named", Dense(2, "relu", name="first", trainable=False), (3,), reference("relu")),
    LayerCase("sequence", Dense(4, "tanh"), (6, 3), reference("tanh")),
    LayerCase("image", Dense(2, "relu"), (2, 3, 5), reference("relu")),
    LayerCase("many rows", Dense(17, "relu"), (33,), reference("relu"), n=37),
    *[LayerCase(name, Dense(6, name), (4,), reference(name)) for name in ACTIVATIONS],
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def test_large_weights_take_the_path_without_a_copy():
    kernel = Dense(257).build((256,)).kernel("float64")     # W^T would have more than 2^16 numbers
    rng = np.random.default_rng(0)
    theta, x = rng.standard_normal(kernel.n_params), rng.standard_normal((3, 256))
    dy = rng.standard_normal((3, 257))
    _, dx, _ = run(kernel, theta, x, dy, want_grad=False)
    np.testing.assert_allclose(dx, dy @ theta[:-257].reshape(256, 257).T, atol=1e-11)


# rows, columns and depth that no panel divides, a few outputs, and one
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "n_in", "n_out"), [
    (1, 261, 301), (2, 813, 709), (67, 261, 301), (131, 113, 131), (300, 66, 65), (3, 1, 70001), (300, 70001, 1),
    (7, 900, 15), (33, 20, 2), (1, 20, 3)])
def test_products_of_all_sizes(n, n_in, n_out, dtype, isa):
    kernel = dense(dtype, n_in=n_in, n_out=n_out, steps=1, activation="relu")
    rng = np.random.default_rng(0)
    theta, x, dy = (rng.standard_normal(size).astype(dtype) for size in (kernel.n_params, (n, n_in), (n, n_out)))
    W, b = theta[:n_in * n_out].astype(float).reshape(n_in, n_out), theta[n_in * n_out:]
    y, cache, derived = kernel.forward(theta, x)
    tol = 1e-11 if dtype == "float64" else 1e-4
    close(y, np.maximum(x.astype(float) @ W + b, 0), tol)
    dz = dy.astype(float) * (y > 0)
    expected = np.concatenate([(x.T @ dz).ravel(), dz.sum(axis=0)])
    _, dx, grad = run(kernel, theta, x, dy)
    close(dx, dz @ W.T, tol)
    close(grad, expected, tol)
    # the gradient over all rows, in tiles, from what a backward pass without grad left
    kernel.backward(theta, x, y, dy, cache, derived=derived)
    close(kernel.gradient(x, dy, np.full_like(theta, np.nan)), expected, tol)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_in_tiles_is_that_of_backward(case, dtype):
    _, kernel, theta, x = case.make(dtype)
    _, _, grad = run(kernel, theta, x)
    y, cache, derived = kernel.forward(theta, x)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype)
    kernel.backward(theta, x, y, dy, cache, derived=derived)
    guarded = Guarded(dtype)
    found = guarded.empty(grad.size)
    kernel.gradient(x, dy, found)
    close(found, grad, 1e-12 if dtype == "float64" else 1e-5)
    guarded.check()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"units": 0}, "Dense: units must be an int >= 1, got 0."),
    ({"units": 2.0}, "Dense: units must be an int >= 1, got 2.0."),
    ({"units": True}, "Dense: units must be an int >= 1, got True."),
    ({"units": 3, "activation": "rellu"}, "Dense: activation must be None or one of"),
    ({"units": 3, "use_bias": 1}, "Dense: use_bias must be True or False, got 1."),
    ({"units": 3, "kernel_initializer": "xavier"}, "Dense: kernel_initializer must be one of"),
    ({"units": 3, "name": "a b"}, "Dense: name must be None or a word"),
    ({"units": 3, "trainable": "no"}, "Dense: trainable must be True or False, got 'no'."),
])
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Dense(**arguments)
    assert str(error.value).startswith(message)


def test_bad_input_shape():
    with pytest.raises(ValueError, match=r"Dense: the input must have the shape"):
        Dense(3).build(())
