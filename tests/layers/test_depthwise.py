"""The kernel of depthwise convolutions against its plain twin, _kernels/conv.pyx, on each instruction set."""
import numpy as np
import pytest
from contract import DTYPES, close, run

from ldl_cy._kernels.conv import conv
from ldl_cy.layers import Conv2D

pytestmark = pytest.mark.usefixtures("isa")


def both(layer, shape, dtype):
    built = layer.build(shape)
    settings = dict(built.kernel.keywords)
    return built.kernel(dtype), conv(dtype, **settings, filters=shape[2], groups=shape[2])


def compare(layer, shape, dtype, n):
    fast, plain = both(layer, shape, dtype)
    assert (fast.name, plain.name) == ("depthwise", "conv")
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(fast.n_params).astype(dtype)
    x = rng.standard_normal((n, fast.x_size)).astype(dtype)
    dy = rng.standard_normal((n, fast.y_size)).astype(dtype)
    tolerance = (1e-12 if dtype == "float64" else 1e-4) * np.sqrt(n)
    for got, expected in zip(run(fast, theta, x, dy), run(plain, theta, x, dy), strict=True):
        close(got, expected, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 67])
def test_channels(channels, dtype):
    compare(Conv2D(channels, 3, padding="same", groups=channels), (6, 9, channels), dtype, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", range(1, 13))
def test_widths(width, dtype):
    compare(Conv2D(17, 3, padding="same", groups=17, activation="relu"), (3, width, 17), dtype, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "options"), [
    ((9, 10, 5), {"strides": 2, "padding": "same"}),
    ((9, 10, 18), {"strides": (3, 2), "padding": 2}),
    ((9, 10, 16), {"dilation_rate": (2, 3), "padding": "same"}),
    ((8, 13, 19), {"dilation_rate": 2, "strides": 2, "padding": ((3, 0), (0, 4))}),
    ((5, 6, 20), {"padding": 4, "activation": "gelu"}),
    ((12, 12, 33), {"padding": "valid", "use_bias": False, "activation": "tanh"}),
    ((2, 2, 17), {"padding": ((0, 5), (6, 1)), "activation": "relu"}),
])
def test_windows(shape, options, dtype):
    for kernel_size in ((3, 3), (1, 5), (2, 2), (5, 4), (1, 1)):
        compare(Conv2D(shape[2], kernel_size, groups=shape[2], **options), shape, dtype, 3)


def test_relu_of_nan(isa):
    """As the plain twin does it: NaN stays NaN."""
    fast, plain = both(Conv2D(17, 3, groups=17, activation="relu"), (5, 8, 17), "float32")
    x = np.ones((1, fast.x_size), np.float32)
    x[0, 17 * 11 + 4] = np.nan
    theta = -np.ones(fast.n_params, np.float32)
    np.testing.assert_array_equal(fast.forward(theta, x)[0], plain.forward(theta, x)[0])
