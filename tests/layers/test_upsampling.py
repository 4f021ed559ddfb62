"""UpSampling1D and UpSampling2D against numpy.repeat; gradients are sums over the copies."""
import numpy as np
import pytest
from branches import DTYPES, check_keeping, check_rows_and_bits, check_stack_gradient, small
from gradients import check_gradient

from ldl_cy import Sequential
from ldl_cy.layers import Conv2D, Dense, Flatten, GlobalAvgPool1D, Reshape, UpSampling1D, UpSampling2D

CASES = [
    (UpSampling1D(), (4, 3)), (UpSampling1D(3), (1, 5)), (UpSampling1D(5), (7, 1)), (UpSampling1D(1), (4, 2)),
    (UpSampling2D(), (3, 4, 2)), (UpSampling2D((1, 3)), (2, 5, 1)), (UpSampling2D((4, 1)), (3, 1, 3)),
    (UpSampling2D((2, 3)), (1, 1, 1)), (UpSampling2D((1, 1)), (2, 2, 2)), (UpSampling2D((3, 2)), (2, 3, 7))]
IDS = [f"{layer} {shape}" for layer, shape in CASES]


def repeated(layer, x):
    sizes = layer.size if isinstance(layer.size, tuple) else (layer.size,) * (x.ndim - 2)
    for axis, size in enumerate(sizes, 1):
        x = x.repeat(size, axis)
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "shape"), CASES, ids=IDS)
def test_repeats_to_the_bit(layer, shape, dtype):
    model, x = small([layer], shape, dtype)
    expected = repeated(layer, x)
    assert layer.compute_output_shape(shape) == model.output_shape == expected.shape[1:]
    for rows in (x, x[:1]):
        np.testing.assert_array_equal(model.predict(rows), expected[:len(rows)])


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=IDS)
def test_gradients(layer, shape):
    check_stack_gradient([Dense(2, "tanh"), layer, Dense(3)], shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "shape"), CASES, ids=IDS)
def test_threads(layer, shape, dtype):
    check_rows_and_bits([Dense(3, "tanh"), layer], shape, dtype)


def test_keeping(tmp_path, capsys):
    check_keeping([Dense(8), Reshape((2, 2, 2)), UpSampling2D((2, 1), name="larger"), Conv2D(1, 2)], (3,), tmp_path,
                  capsys)


def test_in_a_decoder():
    stack = [Dense(12, "tanh"), Reshape((2, 3, 2)), UpSampling2D(), Conv2D(3, 3, padding="same", activation="tanh"),
             UpSampling2D((1, 2)), Conv2D(1, 3, padding="same")]
    model, x = small(stack, (4,), "float64")
    assert model.output_shape == (4, 12, 1)
    y = np.random.default_rng(1).standard_normal((5, 4, 12, 1))
    f = model.objective(x, y, loss="squared_error")
    check_gradient(lambda theta: f(theta)[0], model.theta.copy(), f(model.theta)[1])


def test_lengths_have_no_meaning_after_other_steps():
    x, lengths = np.ones((2, 4, 2)), np.array([4, 2])
    kept = Sequential([UpSampling1D(1), GlobalAvgPool1D()]).build((4, 2))
    np.testing.assert_array_equal(kept.predict(x, lengths=lengths), np.ones((2, 2)))
    with pytest.raises(ValueError, match="UpSampling1D changes the number of steps from 4 to 8"):
        Sequential([UpSampling1D(), GlobalAvgPool1D()]).build((4, 2)).predict(x, lengths=lengths)


@pytest.mark.parametrize(("make", "text"), [
    (lambda: UpSampling1D(0), "UpSampling1D: size must be an int >= 1, got 0."),
    (lambda: UpSampling1D((2,)), "UpSampling1D: size must be an int >= 1, got (2,)."),
    (lambda: UpSampling1D(257), "UpSampling1D: size must be at most 256, got 257."),
    (lambda: UpSampling2D((2, 0)), "UpSampling2D: size must be an int >= 1 or a pair of them, got (2, 0)."),
    (lambda: UpSampling2D((2, 300)), "UpSampling2D: size must be at most 256, got (2, 300)."),
    (lambda: UpSampling2D(1.5), "UpSampling2D: size must be an int >= 1 or a pair of them, got 1.5."),
    (lambda: UpSampling1D().compute_output_shape((4,)),
     "UpSampling1D: the input must have the shape (time, features), got (4,)."),
    (lambda: Sequential([Flatten(), UpSampling2D()]).build((4, 3, 1)),
     "UpSampling2D: the input must have the shape (height, width, channels), got (12,). (layer 'up_sampling2d_1' after "
     "'flatten_0' of shape (12,))"),
])
def test_bad_arguments(make, text):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value) == text


def test_lists_are_kept_as_tuples():
    assert UpSampling2D([2, 1]) == UpSampling2D((2, 1))
