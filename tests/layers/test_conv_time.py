"""Conv1D in another basis against the definition and against its plain twin, _kernels/conv.pyx (algorithm="direct")."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, run
from convolutions import case

from ldl_cy import Sequential
from ldl_cy._engine.gemm_packed import has_kernels
from ldl_cy._kernels.time_bases import Basis, bases, choose, in_order, matrices, places, turns
from ldl_cy.layers import Conv1D, Dense, GlobalAvgPool1D


def winograd(filters, size, **options):
    return Conv1D(filters, size, algorithm="winograd", **options)


def fft(filters, size, **options):
    return Conv1D(filters, size, algorithm="fft", **options)


CASES = [
    case("one tile", winograd(3, 3), (8, 2)),
    case("one step", winograd(2, 3), (3, 2), n=3),
    case("one of everything", winograd(1, 2), (2, 1), n=1),
    case("windows of 4", winograd(2, 4, padding="same"), (11, 3)),
    case("windows of 5", winograd(4, 5, padding="causal", activation="relu"), (13, 2)),
    case("windows of 7", winograd(3, 7, padding="same"), (12, 2)),
    case("17 channels, 19 filters", winograd(19, 3, activation="relu"), (9, 17), n=1),
    case("33 channels, one filter", winograd(1, 3), (10, 33)),
    case("16 to 16", winograd(16, 3, padding="same", activation="tanh"), (7, 16), n=1),
    case("dilation", winograd(3, 3, padding="causal", dilation_rate=3), (16, 2)),
    case("dilation beyond the end", winograd(3, 3, padding="same", dilation_rate=9), (5, 2)),
    case("no bias", winograd(4, 3, use_bias=False, activation="relu"), (7, 2)),
    case("keeps z", winograd(3, 3, padding="same", activation="gelu"), (9, 2), n=3),
    case("softmax", winograd(3, 3, activation="softmax"), (5, 4)),
    case("before and after", winograd(3, 3, padding=(5, 0)), (4, 2)),
    case("far before", winograd(2, 3, padding=(21, 2)), (2, 2), n=1),
    case("far after", winograd(2, 3, padding=(0, 19)), (3, 2)),
    case("several blocks", winograd(2, 3, padding="same"), (95, 2), n=5),
    case("fft", fft(3, 5), (30, 2)),
    case("fft, one step", fft(2, 3), (3, 2)),
    case("fft, one of everything", fft(1, 2), (2, 1), n=1),
    case("fft, 17 channels, 19 filters", fft(19, 4, activation="relu"), (21, 17), n=1),
    case("fft, 33 channels, one filter", fft(1, 3, padding="same"), (10, 33)),
    case("fft, long window", fft(3, 21, padding="same", activation="tanh"), (25, 2)),
    case("fft, window longer than the sequence", fft(2, 40, padding="same"), (7, 3)),
    case("fft, dilation", fft(3, 7, padding="causal", dilation_rate=3), (29, 2)),
    case("fft, dilation beyond the end", fft(3, 3, padding="same", dilation_rate=9), (5, 2)),
    case("fft, before and after", fft(3, 6, padding=(0, 25), activation="gelu"), (8, 2)),
    case("fft, softmax, no bias", fft(3, 9, activation="softmax", use_bias=False), (40, 2)),
    case("fft, several blocks", fft(2, 9, padding="same"), (95, 2), n=5),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def passes(layer, shape, dtype, n):
    """y, dx, dW, db of a fixed draw, in float64."""
    kernel = layer.build(shape).kernel(dtype)
    rng = np.random.default_rng(7)
    theta = rng.standard_normal(kernel.n_params) / np.sqrt(layer.kernel_size * shape[1])
    x, dy = rng.standard_normal((n, *shape)), rng.standard_normal((n, kernel.y_size))
    y, dx, grad = run(kernel, theta.astype(dtype), x.astype(dtype), dy)
    return [a.astype(float).ravel() for a in (y, dx, grad)]


def off(a, b):
    """Root mean square of a - b relative to that of b."""
    return np.sqrt(np.mean((a - b)**2) / np.mean(b**2))


@pytest.mark.parametrize("dilation", [1, 2, 8])
@pytest.mark.parametrize(("algorithm", "size"), [
    *(("winograd", size) for size in range(2, 8)), *(("fft", size) for size in (3, 5, 9, 19, 39, 70, 300))])
@pytest.mark.parametrize(("filters", "shape", "n"), [(64, (200, 64), 1), (20, (83, 33), 3)])
def test_against_the_plain_twin(isa, filters, shape, n, algorithm, size, dilation):
    """What the documentation promises: 3e-6 in float32 (rounding of the transforms), 1e-13 in float64."""
    options = {"padding": "causal", "dilation_rate": dilation}
    exact = passes(Conv1D(filters, size, algorithm="direct", **options), shape, "float64", n)
    layer = Conv1D(filters, size, algorithm=algorithm, **options)
    for dtype, bound in (("float32", 3e-6), ("float64", 1e-13)):
        for got, expected in zip(passes(layer, shape, dtype, n), exact, strict=True):
            assert off(got, expected) <= bound


@pytest.mark.parametrize("size", [2, 3, 5, 7])
@pytest.mark.parametrize(("filters", "shape", "n"), [
    (128, (60, 160), 2), (256, (60, 161), 2), (1024, (20, 256), 1), (16, (300, 16), 24)])
def test_errors_of_many_channels_and_of_long_sums(filters, shape, n, size):
    exact = passes(Conv1D(filters, size, algorithm="direct", padding="same"), shape, "float64", n)
    found = passes(winograd(filters, size, padding="same"), shape, "float32", n)
    for got, expected in zip(found, exact, strict=True):
        assert off(got, expected) <= 3e-6


def test_fewer_points_for_more_channels():
    assert [choose("winograd", 3, c, 16, 500, 1).n for c in (160, 161, 1024, 1025, 5000)] == [10, 8, 8, 6, 6]
    for size in range(2, 8):
        assert choose("winograd", size, 5000, 5000, 500, 1).n <= 8


def in_time(layer, shape):
    """The basis of a layer's kernel, or None."""
    kernel = layer.build(shape).kernel("float32")
    return kernel.config["basis"] if kernel.name == "conv_time" else None


def test_auto():
    assert not in_time(Conv1D(64, 3, padding="same"), (200, 64)).by_dft
    assert in_time(Conv1D(32, 39, padding="same"), (250, 32)).by_dft
    assert in_time(winograd(1, 3), (9, 1)) is not None
    for other in (Conv1D(64, 3, algorithm="direct"), Conv1D(64, 3, 2), Conv1D(64, 3, groups=2), Conv1D(64, 1),
                  Conv1D(64, 3, padding=(0, 2), dilation_rate=100)):
        assert in_time(other, (200, 64)) is None
    assert in_time(Conv1D(64, 39, padding="same"), (200, 8)) is None


def test_direct_where_most_of_a_tile_would_be_outside():
    assert choose("auto", 3, 64, 64, 2, 1) is None
    assert choose("auto", 3, 64, 64, 2000, 1000) is None


@pytest.mark.parametrize(("options", "text"), [
    ({"kernel_size": 8, "algorithm": "winograd"}, "algorithm='winograd' needs kernel_size 2 to 7, strides 1 and"),
    ({"kernel_size": 1, "algorithm": "winograd"}, "kernel_size=1"),
    ({"kernel_size": 1024, "algorithm": "fft"}, "algorithm='fft' needs kernel_size 2 to 1023"),
    ({"kernel_size": 3, "strides": 2, "algorithm": "fft"}, "strides=2"),
    ({"kernel_size": 3, "groups": 2, "algorithm": "fft"}, "groups=2"),
    ({"kernel_size": 3, "algorithm": "gemm"}, "algorithm must be"),
])
def test_refused(options, text):
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        Conv1D(4, **options)


@pytest.mark.parametrize("basis", [b for r in (2, 3, 5, 7) for b in bases(r, 16, ("winograd",))], ids=str)
def test_values_at_points(basis):
    """sum_j A_j [G g]_j [B^T d]_j is the convolution, exactly, and the order of the matrices holds all of them."""
    B, A, G = (np.array(matrix, object) for matrix in matrices(basis))
    identity = np.einsum("pk,pr,pn->krn", A, G, B)
    for k in range(basis.m):
        for j in range(basis.r):
            assert [identity[k, j, i] for i in range(basis.n)] == [i == k + j for i in range(basis.n)]
    assert len(in_order(matrices(basis)[0])) == (basis.n + 1) // 2 * 11


@pytest.mark.parametrize("n", [16, 32, 64, 128])
def test_turns_and_places(n):
    w = np.array(turns(n)).reshape(n, 2)
    np.testing.assert_allclose(w[:, 0] + 1j * w[:, 1], np.exp(-2j * np.pi * np.arange(n) / n), rtol=0, atol=1e-15)
    assert w[n // 4].tolist() == [0, -1] and w[n // 2].tolist() == [-1, 0]
    assert sorted(places(n)) == list(range(n))


def test_units_cover_the_output():
    for steps in (1, 2, 5, 16, 33):
        for dilation in (1, 2, 7, 40):
            for basis in (Basis(8, 6, False), Basis(16, 12, True)):
                tiles = basis.units(steps, dilation) * basis.tiles
                assert tiles * basis.m >= steps


@pytest.mark.parametrize("layer", [winograd(32, 3, padding="same"), fft(32, 9, padding="causal")], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype, layer):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 40, 16)).astype(dtype), rng.integers(0, 3, 50)
    weights = []
    for n_threads in (1, 2, 3):
        model = Sequential([layer, GlobalAvgPool1D(), Dense(3)], dtype=dtype, random_state=0)
        model.fit(X, y, loss="log_loss", epochs=2, batch_size=40, n_threads=n_threads)
        weights.append(model.theta.copy())
    np.testing.assert_array_equal(weights[1], weights[0])
    np.testing.assert_array_equal(weights[2], weights[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [winograd(24, 3), winograd(24, 5, padding="same"), fft(24, 9)], ids=str)
def test_same_bits_wherever_a_row_is(isa, layer, dtype):
    """Whatever the rows beside it are, and as a row alone: a tile alone is two rows of the products."""
    if not has_kernels(dtype):
        pytest.skip("here BLAS makes the products, whose sums may depend on a row's place")
    kernel = layer.build((10, 16)).kernel(dtype)
    rng = np.random.default_rng(0)
    theta, x = rng.standard_normal(kernel.n_params).astype(dtype), rng.standard_normal((9, 10, 16)).astype(dtype)
    together = kernel.forward(theta, x)[0]
    for i in (0, 4, 8):
        np.testing.assert_array_equal(kernel.forward(theta, x[i:i + 1].copy())[0][0], together[i])


@pytest.mark.parametrize(("layer", "bound"), [
    (Conv1D(24, 9, padding="causal", algorithm="direct"), 0), (winograd(24, 3, padding="causal"), 1e-6),
    (fft(24, 9, padding="causal"), 1e-6)], ids=str)
def test_later_numbers_change_causal_outputs_by_rounding_alone(layer, bound):
    kernel = layer.build((60, 16)).kernel("float32")
    rng = np.random.default_rng(0)
    theta = (rng.standard_normal(kernel.n_params) / 12).astype("float32")
    x = rng.standard_normal((2, 60, 16)).astype("float32")
    before = kernel.forward(theta, x)[0].reshape(2, 60, 24)[:, :40]
    x[:, 40:] *= 1e6
    change = np.abs(kernel.forward(theta, x)[0].reshape(2, 60, 24)[:, :40] - before)
    assert change.max() <= bound * 1e6
