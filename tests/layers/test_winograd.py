"""The Winograd kernel against the definition and against its plain twin, _kernels/conv.pyx (algorithm="direct")."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, close, run
from convolutions import case

from ldl_cy import Sequential
from ldl_cy.layers import AvgPool2D, Conv2D, Dense, Flatten, MaxPool2D


def winograd(filters, **options):
    return Conv2D(filters, 3, algorithm="winograd", **options)


CASES = [
    case("one tile of 4", winograd(3), (6, 6, 2)),
    case("one tile of 2", winograd(3), (4, 4, 2)),
    case("one pixel", winograd(2), (3, 3, 2), n=3),
    case("one of everything", winograd(1), (3, 3, 1), n=1),
    case("tiles cut at both ends", winograd(2, padding="same"), (5, 7, 3)),
    case("two rows", winograd(3, padding="same"), (2, 5, 2)),
    case("17 channels, 19 filters", winograd(19, activation="relu"), (6, 5, 17), n=1),
    case("16 to 16", winograd(16, padding="same", activation="tanh"), (4, 3, 16), n=1),
    case("33 channels, one filter", winograd(1), (3, 4, 33)),
    case("no bias", winograd(4, use_bias=False, activation="relu"), (5, 4, 2)),
    case("keeps z", winograd(3, padding="same", activation="gelu"), (5, 5, 2), n=3),
    case("softmax", winograd(3, activation="softmax"), (5, 4, 2)),
    case("pads of two kinds", winograd(2, padding=(2, 0)), (3, 5, 2)),
    case("before and after", winograd(3, padding=((2, 0), (0, 1))), (4, 5, 2)),
    case("before and after, 16 to 17", winograd(17, padding=((0, 2), (2, 1)), activation="relu"), (3, 4, 16), n=1),
    case("far before and after", winograd(1, padding=((7, 0), (1, 6))), (1, 2, 1), n=1),
    case("pad beyond the window", winograd(2, padding=3), (2, 1, 2)),
    case("pad beyond a tile", winograd(1, padding=(7, 0)), (1, 3, 1), n=1),
    case("several blocks", winograd(2, padding="same"), (9, 10, 2), n=5),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def passes(layer, shape, dtype, n):
    """y, dx, dW of a fixed draw, in float64."""
    kernel = layer.build(shape).kernel(dtype)
    rng = np.random.default_rng(7)
    theta = rng.standard_normal(kernel.n_params) / np.sqrt(9 * shape[2])
    x, dy = rng.standard_normal((n, *shape)), rng.standard_normal((n, kernel.y_size))
    return [a.astype(float).ravel() for a in run(kernel, theta.astype(dtype), x.astype(dtype), dy)]


def off(a, b):
    """Root mean square of a - b relative to that of b."""
    return np.sqrt(np.mean((a - b)**2) / np.mean(b**2))


@pytest.mark.parametrize(("filters", "shape", "n"), [
    (64, (32, 32, 64), 2), (128, (16, 16, 128), 3), (20, (13, 27, 33), 5), (256, (8, 8, 256), 1), (24, (2, 9, 40), 3),
    (16, (32, 32, 16), 40),                             # 2,560 tiles, which dW sums in parts
])
def test_against_the_plain_twin(isa, filters, shape, n):
    """What the documentation promises: 3e-6 in float32 (rounding of the transforms), 1e-14 in float64."""
    exact = passes(Conv2D(filters, 3, padding="same", algorithm="direct"), shape, "float64", n)
    for dtype, bound in (("float32", 3e-6), ("float64", 1e-14)):
        for got, expected in zip(passes(winograd(filters, padding="same"), shape, dtype, n), exact):
            assert off(got, expected) <= bound


def test_auto():
    def kernel(layer, shape):
        return layer.build(shape).kernel("float32").name

    assert kernel(Conv2D(16, 3, padding="same"), (28, 28, 16)) == "winograd"
    assert kernel(Conv2D(16, 3, padding="same", algorithm="direct"), (28, 28, 16)) == "conv"
    assert kernel(winograd(1), (28, 28, 1)) == "winograd"
    for other in (Conv2D(16, 5), Conv2D(16, 3, 2), Conv2D(16, 3, dilation_rate=2), Conv2D(16, 3, groups=2)):
        assert kernel(other, (28, 28, 16)) != "winograd"


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 12, 12, 16)).astype(dtype), rng.integers(0, 3, 50)
    weights = []
    for n_threads in (1, 2, 3):
        model = Sequential([Conv2D(32, 3, activation="relu"), Flatten(), Dense(3)], dtype=dtype, random_state=0)
        model.fit(X, y, loss="log_loss", epochs=2, batch_size=40, n_threads=n_threads)
        weights.append(model.theta.copy())
    np.testing.assert_array_equal(weights[1], weights[0])
    np.testing.assert_array_equal(weights[2], weights[0])


def chain(kernel, pooling, theta, x, dy, fused):
    """y, dx, grad of convolution and pooling, in one op or one after the other."""
    if fused is not None:
        y, dx, grad = run(fused, theta, x, dy)
        np.testing.assert_array_equal(fused.forward(theta, x, keep=False)[0], y)
        return y, dx, grad
    y, dz, _ = run(pooling, np.empty(0, x.dtype), kernel.forward(theta, x)[0], dy, want_grad=False)
    return y, *run(kernel, theta, x, dz)[1:]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", None, "tanh"])
@pytest.mark.parametrize(("filters", "shape", "n", "padding"), [
    (16, (8, 8, 16), 3, "same"), (17, (7, 10, 18), 1, "same"), (20, (5, 5, 16), 2, "same"),
    (64, (18, 17, 33), 5, "same"), (16, (2, 3, 16), 4, "same"), (16, (7, 8, 16), 3, ((2, 0), (0, 3)))])
def test_with_maxima(isa, filters, shape, n, padding, activation, dtype):
    """In one op with MaxPool2D: the same as one after the other."""
    layer = Conv2D(filters, 3, padding=padding, activation=activation, algorithm="winograd")
    built = layer.build(shape)
    kernel, pooling = built.kernel(dtype), MaxPool2D(2).build(built.output_shape).kernel(dtype)
    fused = kernel.fuse(pooling, n)
    rng = np.random.default_rng(3)
    theta = (rng.standard_normal(kernel.n_params) / np.sqrt(9 * shape[2])).astype(dtype)
    x, dy = rng.standard_normal((n, *shape)).astype(dtype), rng.standard_normal((n, pooling.y_size)).astype(dtype)
    for got, expected in zip(chain(kernel, pooling, theta, x, dy, fused),
                             chain(kernel, pooling, theta, x, dy, None), strict=True):
        close(got, expected, 1e-13 if dtype == "float64" else 1e-5)


def test_what_is_not_fused():
    def offered(layer, pooling, shape=(9, 8, 16)):
        built = layer.build(shape)
        return built.kernel("float32").fuse(pooling.build(built.output_shape).kernel("float32"), 8)

    layer = Conv2D(16, 3, padding="same")
    assert offered(layer, MaxPool2D(2)) is not None
    for pooling in (MaxPool2D(3), MaxPool2D(2, 1), MaxPool2D(2, padding="same"), AvgPool2D(2),
                    MaxPool2D(2, padding=((0, 1), (0, 0))), MaxPool2D(2, padding=((0, 0), (1, 0)))):
        assert offered(layer, pooling) is None
    assert offered(Conv2D(16, 3, activation="gelu"), MaxPool2D(2)) is None
    assert offered(Conv2D(16, 3, activation="softmax"), MaxPool2D(2)) is None


def test_trace_shows_what_is_between():
    model = Sequential([Conv2D(16, 3, name="c"), MaxPool2D(2, name="m"), Flatten(), Dense(3)], random_state=0)
    X = np.random.default_rng(0).standard_normal((3, 9, 9, 16)).astype(np.float32)
    seen = model.build((9, 9, 16)).trace(X)
    z = seen["c"][:, :6, :6].reshape(3, 3, 2, 3, 2, 16).max((2, 4))
    np.testing.assert_allclose(seen["m"], z, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.predict(X), list(seen.values())[-1], rtol=0, atol=1e-5)
