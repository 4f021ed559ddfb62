"""Kernels called alone from Python: what they are called, what they refuse, errors of functions written in Python."""
import numpy as np
import pytest

from ldl_cy import layers

KERNEL = layers.Dense(2, "tanh").build((3,)).kernel("float32")
THETA, X = np.ones(8, "float32"), np.ones((5, 3), "float32")


def test_repr():
    assert repr(KERNEL).startswith("<kernel dense float32: ") and "n_in=3" in repr(KERNEL)


@pytest.mark.parametrize(("theta", "x", "options", "error", "message"), [
    (THETA, X.astype(float), {}, TypeError, "Kernel: x must be a C-contiguous array of float32, got float64."),
    (THETA, X[:, ::-1], {}, TypeError, "Kernel: x must be a C-contiguous array of float32, got float32."),
    ([1.0] * 8, X, {}, TypeError, "Kernel: theta must be a C-contiguous array of float32, got list."),
    (THETA[:7], X, {}, ValueError, "Kernel: theta must hold 8 numbers, got 7."),
    (THETA, X, {"y": np.ones(9, "float32")}, ValueError, "Kernel: y must hold 10 numbers, got 9."),
    (THETA, X, {"rows": 5, "batch": 1}, TypeError, "Kernel: unknown arguments ['batch', 'rows']."),
])
def test_refused(theta, x, options, error, message):
    with pytest.raises(error) as raised:
        KERNEL.forward(theta, x, **options)
    assert str(raised.value) == message


def test_exceptions_come_out_once():
    def fails(*arguments):
        raise KeyError("mine")

    def double(parameters, x):
        return 2 * x

    def kernel(forward, backward):
        return layers.Custom(forward, backward, 3).build((3,)).kernel("float32")

    with pytest.raises(KeyError, match="mine"):
        kernel(fails, fails).forward(None, X)
    half = kernel(double, fails)
    y, cache, _ = half.forward(None, X)
    with pytest.raises(KeyError, match="mine"):
        half.backward(None, X, y, np.ones_like(y), cache, dx=np.empty_like(X))
    np.testing.assert_array_equal(half.forward(None, X)[0], 2 * X)
