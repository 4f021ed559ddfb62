"""RandomFlip, RandomTranslation, GaussianNoise: the identity in inference, reproducible draws in training."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, run
from scipy import stats

from ldl_cy import Sequential
from ldl_cy._engine.rng import Stream
from ldl_cy.layers import Conv2D, Dense, Flatten, GaussianNoise, MaxPool2D, RandomFlip, RandomTranslation
from ldl_cy.layers.augmentation import MODES, pixels

THETA = {dtype: np.empty(0, dtype) for dtype in DTYPES}
CASES = [LayerCase(name, layer, shape, lambda p, x: x) for name, layer, shape in [
    ("flip", RandomFlip(), (3, 4, 2)), ("flip of one column", RandomFlip("horizontal_and_vertical"), (5, 1, 3)),
    ("vertical", RandomFlip("vertical"), (4, 3, 1)), ("both", RandomFlip("horizontal_and_vertical"), (5, 7, 3)),
    ("many channels", RandomFlip(), (2, 3, 19)),
    ("shift", RandomTranslation(0.4, 0.4), (5, 6, 1)), ("down", RandomTranslation((0.5, 1), 0), (4, 3, 2)),
    ("left", RandomTranslation(0, (-1, -0.2)), (3, 5, 2)), ("no shift", RandomTranslation(0, 0), (3, 2, 2)),
    ("out of the image", RandomTranslation(1, 1), (2, 3, 3)), ("one pixel", RandomTranslation(1, 0.9), (1, 1, 4)),
    ("noise", GaussianNoise(0.7), (7,)), ("noise of an image", GaussianNoise(2), (3, 2, 5)),
    ("no noise", GaussianNoise(0), (4,))]]
WHEN = {"training": True, "seed": 7, "epoch": 2, "step": 3}
N = 23


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def drawn(layer, x, **options):
    kernel = layer.build(x.shape[1:]).kernel(x.dtype.name)
    return kernel.forward(THETA[x.dtype.name], x, **options)[0].reshape(x.shape)


def uniform(n):
    """The four numbers of each row, as the engine names its streams."""
    return Stream(WHEN["seed"], WHEN["epoch"], WHEN["step"], 16).uniform((n, 4))


def numbers(layer, n=N, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal((n, *layer)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5, 2), (1, 6, 1), (6, 1, 3), (3, 3, 17)])
@pytest.mark.parametrize("mode", MODES)
def test_flips_in_numpy(mode, shape, dtype):
    x, u = numbers(shape, dtype=dtype), uniform(N)
    expected = np.stack([row[::-1 if MODES[mode][0] and a >= 0.5 else 1, ::-1 if MODES[mode][1] and b >= 0.5 else 1]
                         for row, (a, b, _, _) in zip(x, u)])
    np.testing.assert_array_equal(drawn(RandomFlip(mode), x, **WHEN), expected)


def shifted(row, down, right):
    """Through an image three times as large, which is zero around."""
    h, w, _ = row.shape
    large = np.zeros((3 * h, 3 * w, row.shape[2]), row.dtype)
    large[h + down:2 * h + down, w + right:2 * w + right] = row
    return large[h:2 * h, w:2 * w]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5, 2), (1, 6, 1), (7, 1, 3), (3, 3, 17)])
@pytest.mark.parametrize("factors", [(0.3, 0.5), ((0, 1), 0), (0, (-1, 0)), (1, 1), ((-0.5, 0), (0, 0.4))], ids=str)
def test_shifts_in_numpy(factors, shape, dtype):
    x, u = numbers(shape, dtype=dtype), uniform(N)
    ranges = [range(least, most + 1) for least, most in
              (pixels("factor", factor, size) for factor, size in zip(factors, shape))]
    expected = np.stack([shifted(row, *(r[int(len(r) * v)] for r, v in zip(ranges, draws[2:])))
                         for row, draws in zip(x, u)])
    np.testing.assert_array_equal(drawn(RandomTranslation(*factors), x, **WHEN), expected)


def test_how_many_pixels():
    assert pixels("f", 0.1, 28) == (-2, 2) and pixels("f", 0.29, 100) == (-29, 29) and pixels("f", 0, 9) == (0, 0)
    assert pixels("f", (0.5, 0.5), 4) == (2, 2) and pixels("f", (-1, 1), 5) == (-5, 5)
    assert pixels("f", (-0.07, 0.57), 100) == (-7, 57)


def test_what_is_drawn_is_spread_evenly():
    x = np.arange(1.0, 16).reshape(1, 3, 5, 1).repeat(4000, 0)
    flips = drawn(RandomFlip("horizontal_and_vertical"), x, **WHEN)
    kinds = np.unique(flips.reshape(4000, -1), axis=0, return_counts=True)[1]
    assert len(kinds) == 4 and stats.chisquare(kinds).pvalue > 0.001
    shifts = drawn(RandomTranslation(0.34, 0.4), x, **WHEN)
    kinds = np.unique(shifts.reshape(4000, -1), axis=0, return_counts=True)[1]
    assert len(kinds) == 15 and stats.chisquare(kinds).pvalue > 0.001


def test_noise_is_normal():
    x = np.zeros((400, 1000))
    noise = drawn(GaussianNoise(1), x, **WHEN).ravel()
    assert stats.kstest(noise, "norm").pvalue > 0.001
    n = noise.size
    assert abs(noise.mean()) < 4 / n**0.5 and abs(noise.var() - 1) < 4 * (2 / n)**0.5
    assert abs(stats.kurtosis(noise)) < 4 * (24 / n)**0.5
    # beyond the ziggurat's last layer, in both directions, and far out in the tail
    for edge in (3.442619855899, 4.2):
        for side in (noise, -noise):
            expected = n * stats.norm.sf(edge)
            assert abs(np.sum(side > edge) - expected) < 4 * expected**0.5
    lags = [np.corrcoef(noise[:-lag], noise[lag:])[0, 1] for lag in (1, 2, 128, 1000)]
    assert np.max(np.abs(lags)) < 4 / n**0.5


def test_noise_scales_and_is_added_in_both_dtypes():
    x = numbers((50,), 40)
    noise = drawn(GaussianNoise(1), np.zeros_like(x), **WHEN)
    np.testing.assert_allclose(drawn(GaussianNoise(0.3), x, **WHEN), x + 0.3 * noise, rtol=1e-15, atol=1e-15)
    single = drawn(GaussianNoise(0.3), x.astype("float32"), **WHEN)
    np.testing.assert_allclose(single, x + 0.3 * noise, rtol=0, atol=1e-6)


LAYERS = [RandomFlip("horizontal_and_vertical"), RandomTranslation(0.4, 0.4), GaussianNoise(0.5)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_rows_alone_and_together_draw_the_same(layer, dtype):
    x = numbers((5, 4, 3), 12, dtype)
    together = drawn(layer, x, **WHEN)
    assert not np.array_equal(together, x)
    for rows in (1, 5):
        parts = [drawn(layer, x[i:i + rows], row0=i, **WHEN) for i in range(0, 12, rows)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_seed_epoch_step_and_place_change_what_is_drawn(layer):
    x = numbers((4, 5, 2), 40)
    found = [drawn(layer, x, **WHEN), drawn(layer, x[::-1].copy(), **WHEN)[::-1]]
    found += [drawn(layer, x, **{**WHEN, name: 9}) for name in ("seed", "epoch", "step")]
    kernel = layer.build((4, 5, 2)).kernel("float64")
    kernel.name_layer(4)
    found.append(kernel.forward(THETA["float64"], x, **WHEN)[0].reshape(x.shape))
    for i in range(len(found)):
        for j in range(i):
            assert np.any(found[i] != found[j], axis=(1, 2, 3)).mean() > 0.4, (i, j)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_inference_is_the_identity(layer):
    x = numbers((5, 4, 3))
    np.testing.assert_array_equal(drawn(layer, x), x)
    model = Sequential([layer, Flatten()], "float64", 0).build((5, 4, 3))
    np.testing.assert_array_equal(model.predict(x), x.reshape(N, -1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_gradient_is_the_transpose(layer, dtype):
    """y is a x + b with a of zeros and ones: <dy, a v> = <a' dy, v>, to the bit where nothing is added."""
    x, dy, zero = numbers((5, 4, 3), 9, dtype), numbers((5, 4, 3), 9, dtype, 1), np.zeros((9, 5, 4, 3), dtype)
    kernel = layer.build(x.shape[1:]).kernel(dtype)
    _, dx, _ = run(kernel, THETA[dtype], x, dy, want_grad=False, **WHEN)
    moved = np.float64(drawn(layer, x, **WHEN)) - drawn(layer, zero, **WHEN)
    left, right = (np.einsum("nijk,nijk->n", np.float64(a), np.float64(b)) for a, b in ((dy, moved), (dx, x)))
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-12 if dtype == "float64" else 1e-4)
    if isinstance(layer, GaussianNoise):
        np.testing.assert_array_equal(dx, dy)


def network(n_threads, dtype, epochs=2):
    stack = [RandomFlip(), RandomTranslation(0.2, 0.2), GaussianNoise(0.1), Conv2D(4, 3, activation="relu"),
             RandomFlip("vertical"), MaxPool2D(), Flatten(), GaussianNoise(0.2), Dense(3)]
    model = Sequential(stack, dtype, random_state=5)
    x, y = numbers((9, 8, 2), 50), np.arange(50) % 3
    model.fit(x, y, loss="log_loss", optimizer="adam", epochs=epochs, batch_size=16, n_threads=n_threads)
    return model, x, y


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_further_fits_give_the_same_bits(dtype):
    first, x, y = network(1, dtype)
    np.testing.assert_array_equal(network(2, dtype)[0].theta, first.theta)
    half = network(1, dtype, 1)[0]
    half.fit(x, y, loss="log_loss", optimizer="adam", epochs=1, batch_size=16)
    np.testing.assert_array_equal(half.theta, first.theta)


@pytest.mark.parametrize(("layer", "kept"), [
    (RandomFlip(), True), (RandomFlip("vertical"), False), (RandomTranslation(0, 0.5), True),
    (RandomTranslation(0.01, 0.5), True), (RandomTranslation(0.5, 0), False), (GaussianNoise(1), True)], ids=str)
def test_lengths_have_a_meaning_while_rows_stay_where_they_are(layer, kept):
    model = Sequential([layer, Flatten(), Dense(2)], random_state=0).build((4, 3, 2))
    fault = model.network.graph.length_fault
    assert (fault == "") is kept if isinstance(fault, str) else (fault is None) is kept


@pytest.mark.parametrize(("make", "text"), [
    (lambda: RandomFlip("sideways"), "RandomFlip: mode must be one of 'horizontal', 'vertical', "
                                     "'horizontal_and_vertical', got 'sideways'."),
    (lambda: GaussianNoise(-0.1), "GaussianNoise: stddev must be a number >= 0, got -0.1."),
    (lambda: GaussianNoise(np.nan), "GaussianNoise: stddev must be a number >= 0, got nan."),
    *((lambda value=value: RandomTranslation(value, 0.1),
       "RandomTranslation: height_factor must be a number >= 0 and <= 1 or a pair (low, high) of numbers from -1 to 1, "
       f"got {value!r}.") for value in (-0.1, 1.1, None, True, "a", (0.2, 0.1), (0.1,), (-2, 0), (0, np.inf))),
    (lambda: RandomTranslation(0, (0, 2)), "RandomTranslation: width_factor must be a number >= 0 and <= 1 or a pair "
                                           "(low, high) of numbers from -1 to 1, got (0, 2)."),
])
def test_bad_arguments(make, text):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(("layer", "shape", "text"), [
    (RandomFlip(), (4, 3), "RandomFlip: the input must have the shape (height, width, channels), got (4, 3)."),
    (RandomTranslation(0, 0), (4,), "RandomTranslation: the input must have the shape (height, width, channels), got "
                                    "(4,)."),
    (RandomTranslation((0.1, 0.2), 0), (4, 3, 1), "RandomTranslation: height_factor must have a whole number of pixels "
                                                  "between its ends, got (0.1, 0.2) for an axis of 4."),
    (RandomTranslation(0, 0.1), (4, 2**32, 1), "RandomTranslation: the input's height and width must be at most "
                                               "2147483647, got 4294967296."),
])
def test_bad_input_shape(layer, shape, text):
    with pytest.raises(ValueError) as error:
        layer.build(shape)
    assert str(error.value) == text


def test_lists_are_kept_as_tuples():
    assert RandomTranslation([0, 0.5], 1) == RandomTranslation((0, 0.5), 1)
