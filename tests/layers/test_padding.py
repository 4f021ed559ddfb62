"""ZeroPadding1D and ZeroPadding2D against numpy.pad."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, run

from ldl_cy import Sequential
from ldl_cy.layers import Conv2D, MaxPool1D, ZeroPadding1D, ZeroPadding2D


def case(name, layer, shape, around, n=2):
    return LayerCase(name, layer, shape, lambda p, x: np.pad(x, ((0, 0), *around, (0, 0))), n=n)


CASES = [
    case("1D", ZeroPadding1D(), (5, 3), [(1, 1)]),
    case("1D int", ZeroPadding1D(3), (2, 1), [(3, 3)], n=1),
    case("1D before", ZeroPadding1D((2, 0)), (4, 5), [(2, 0)]),
    case("1D after", ZeroPadding1D((0, 3)), (1, 2), [(0, 3)]),
    case("2D", ZeroPadding2D(), (3, 4, 2), [(1, 1), (1, 1)]),
    case("2D pair", ZeroPadding2D((2, 0)), (3, 5, 1), [(2, 2), (0, 0)]),
    case("2D width", ZeroPadding2D((0, 3)), (2, 3, 3), [(0, 0), (3, 3)], n=1),
    case("2D top", ZeroPadding2D(((1, 0), (0, 0))), (3, 2, 2), [(1, 0), (0, 0)]),
    case("2D bottom", ZeroPadding2D(((0, 2), (0, 0))), (3, 2, 2), [(0, 2), (0, 0)]),
    case("2D left", ZeroPadding2D(((0, 0), (3, 0))), (3, 2, 2), [(0, 0), (3, 0)]),
    case("2D right", ZeroPadding2D(((0, 0), (0, 1))), (1, 1, 3), [(0, 0), (0, 1)]),
    case("2D sides", ZeroPadding2D(((0, 2), (3, 1))), (4, 5, 3), [(0, 2), (3, 1)], n=3),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_is_a_crop_to_the_bit(case, dtype):
    built = case.layer.build(case.input_shape)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, *case.input_shape)).astype(dtype)
    dy = rng.standard_normal((3, *built.output_shape)).astype(dtype)
    y, dx, _ = run(built.kernel(dtype), np.empty(0, dtype), x, dy, want_grad=False)
    expected = case.reference({}, x)
    np.testing.assert_array_equal(y.reshape(expected.shape), expected)
    inside = case.reference({}, np.ones_like(x)) == 1
    np.testing.assert_array_equal(dx.ravel(), dy[inside])


@pytest.mark.parametrize(("layer", "shape"), [
    (ZeroPadding1D(0), (4, 2)), (ZeroPadding1D((0, 0)), (4, 2)), (ZeroPadding2D(((0, 0), (0, 0))), (3, 4, 2))])
def test_nothing_to_add_needs_no_kernel(layer, shape):
    built = layer.build(shape)
    assert built.kernel is None and built.output_shape == shape


@pytest.mark.parametrize(("padding", "layer"), [
    (((2, 0), (1, 3)), Conv2D(4, 3, 2, activation="tanh")), (1, Conv2D(3, (2, 3), groups=3))])
def test_before_a_convolution_it_is_its_padding(padding, layer):
    padded = Sequential([ZeroPadding2D(padding), layer], "float64", 0).build((6, 5, 3))
    within = Sequential([type(layer)(**{**layer.get_config(), "padding": padding})], "float64", 0).build((6, 5, 3))
    within.theta[:] = padded.theta
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 6, 5, 3))
    y = rng.standard_normal((4, *padded.output_shape))
    np.testing.assert_allclose(padded.predict(x), within.predict(x), rtol=0, atol=1e-13)
    (_, found), (_, expected) = (m.loss_and_grad(x, y, loss="squared_error") for m in (padded, within))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_zeros_are_numbers_to_the_pooling_after_it():
    x = np.full((1, 2, 1), -5.0)
    model = Sequential([ZeroPadding1D((1, 0)), MaxPool1D(3)], "float64").build((2, 1))
    assert model.predict(x).item() == 0


def test_lists_are_kept_as_tuples():
    assert ZeroPadding1D([1, np.int64(2)]).padding == (1, 2)
    assert ZeroPadding2D([[1, 2], [0, 3]]) == ZeroPadding2D(((1, 2), (0, 3)))
    assert ZeroPadding2D.default_name() == "zero_padding2d"


ONE = "ZeroPadding1D: padding must be an int >= 0 or a pair (before, after) of them, got"
TWO = "ZeroPadding2D: padding must be an int >= 0, a pair of them or ((top, bottom), (left, right)), got"


@pytest.mark.parametrize(("cls", "padding", "message"), [
    (ZeroPadding1D, -1, f"{ONE} -1."), (ZeroPadding1D, "same", f"{ONE} 'same'."), (ZeroPadding1D, (1,), f"{ONE} (1,)."),
    (ZeroPadding1D, 1.5, f"{ONE} 1.5."), (ZeroPadding1D, None, f"{ONE} None."),
    (ZeroPadding1D, (0, -1), f"{ONE} (0, -1)."), (ZeroPadding2D, (1, 2, 3), f"{TWO} (1, 2, 3)."),
    (ZeroPadding2D, ((1, 2), 3), f"{TWO} ((1, 2), 3)."), (ZeroPadding2D, ((1, 2), (3,)), f"{TWO} ((1, 2), (3,))."),
    (ZeroPadding2D, ((1, -2), (3, 0)), f"{TWO} ((1, -2), (3, 0))."), (ZeroPadding2D, True, f"{TWO} True."),
])
def test_bad_arguments(cls, padding, message):
    with pytest.raises((TypeError, ValueError)) as error:
        cls(padding)
    assert str(error.value) == message


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (ZeroPadding1D(), (4,), "ZeroPadding1D: the input must have the shape (time, features), got (4,)."),
    (ZeroPadding2D(), (4, 3), "ZeroPadding2D: the input must have the shape (height, width, channels), got (4, 3)."),
    (ZeroPadding1D(2**100), (4, 3), "ZeroPadding1D: the output's axes must be at most 2147483647, got 25353"),
])
def test_bad_input_shape(layer, shape, message):
    with pytest.raises(ValueError) as error:
        layer.build(shape)
    assert str(error.value).startswith(message)
