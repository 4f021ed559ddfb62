"""PReLU: slopes of every shape, sequences of several lengths, and what it refuses."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, close, run

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.initializers import Constant
from ldl_cy.layers import PReLU


def rectified(p, x):
    return np.maximum(x, 0) + p["alpha"] * np.minimum(x, 0)


def slope_gradient(layer, x, dy):
    """Summed over rows and shared axes."""
    return (dy * np.minimum(x, 0)).sum((0, *(layer.shared_axes or ())), keepdims=True)[0]


CASES = [
    LayerCase("number", PReLU(), (), rectified),
    LayerCase("vector", PReLU(), (7,), rectified),
    LayerCase("one slope", PReLU(1), (19,), rectified),
    LayerCase("sequence", PReLU(shared_axes=1), (4, 9), rectified),
    LayerCase("steps", PReLU([2]), (4, 9), rectified),
    LayerCase("image of own slopes", PReLU(alpha_initializer="he_normal"), (3, 2, 5), rectified),
    LayerCase("channels", PReLU((1, 2), "ones", name="slopes"), (3, 4, 5), rectified, n=6),
    LayerCase("one for an image", PReLU((2, 1, 3), trainable=False), (3, 4, 5), rectified),
    LayerCase("rows and channels", PReLU((2,)), (3, 4, 5), rectified),
    LayerCase("columns", PReLU((1, 3)), (3, 4, 5), rectified),
    LayerCase("axes of length 1", PReLU((1, 3, 4)), (1, 3, 1, 4, 1), rectified),
    LayerCase("in turn", PReLU((1, 3, 5)), (2, 3, 2, 3, 2, 2), rectified),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_is_the_formulas(case, dtype):
    built, kernel, theta, x = case.make(dtype)
    alpha = case.parameters(built, theta)["alpha"]
    dy = np.random.default_rng(1).standard_normal(x.shape)
    _, dx, grad = run(kernel, theta, x, dy)
    tol = 1e-12 if dtype == "float64" else 1e-5
    expected = slope_gradient(case.layer, x.astype(float), dy)
    assert expected.shape == alpha.shape == built.parameters[0].shape
    close(grad, expected.ravel(), tol)
    close(dx, np.where(x > 0, dy, alpha * dy), tol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_and_nan(dtype):
    """At 0 the slope is alpha, as that of leaky_relu, and gives alpha nothing; a NaN is not taken for a number."""
    kernel, theta = PReLU(1).build((4,)).kernel(dtype), np.array([0.25], dtype)
    x = np.array([[0, -0.0, -2, 3]], dtype)
    y, dx, grad = run(kernel, theta, x, np.ones(4))
    np.testing.assert_array_equal(y, [[0, 0, -0.5, 3]])
    np.testing.assert_array_equal(dx, [[0.25, 0.25, 0.25, 1]])
    np.testing.assert_array_equal(grad, [-2])
    x[0, 3] = np.nan
    assert np.isnan(run(kernel, theta, x)[0][0, 3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_shared_by_many_numbers_keep_their_digits(dtype):
    """A million numbers added up in float32 would be wrong in the fourth digit."""
    kernel, x = PReLU(1).build((10**6,)).kernel(dtype), np.full((1, 10**6), -1, dtype)
    grad = run(kernel, np.zeros(1, dtype), x, np.full(10**6, 0.1))[2]
    close(grad, [-np.array(0.1, dtype).astype(float) * 10**6], 1e-6 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("shared_axes", [None, 1, 2, (1, 2)])
def test_past_the_end_of_a_sequence(shared_axes):
    """Outputs are zero there, and neither they nor their gradients reach alpha, whatever the padding holds."""
    lengths = np.array([4, 1, 3])
    valid = (np.arange(4) < lengths[:, None])[..., None]
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 4, 2))
    model = Sequential([PReLU(shared_axes, "normal")], "float64", 0).build((4, 2))
    alpha = model.parameters["prelu_0.alpha"]
    expected = np.where(valid, rectified({"alpha": alpha}, X), 0)
    # each row's loss is the mean over its own steps
    dy = 2 * (expected - y) * valid / (lengths[:, None, None] * 2 * len(X))
    for padding in (0.0, -1e6):
        padded = np.where(valid, X, padding)
        np.testing.assert_allclose(model.predict(padded, lengths=lengths), expected, rtol=0, atol=1e-15)
        grad = model.loss_and_grad(padded, y, loss="squared_error", lengths=lengths)[1]
        close(grad, slope_gradient(model.layers[0], X, dy).ravel(), 1e-13)


def test_slopes_of_steps_that_no_sequence_has():
    """They get no gradient, and stay as they are."""
    X = -np.ones((2, 4, 1))
    stack = [layers.Dense(3, kernel_initializer="ones"), PReLU(2, Constant(0.25))]
    model = Sequential(stack, "float64", 0).build((4, 1))
    model.fit(X, np.ones((2, 4, 3)), loss="squared_error", epochs=3, lengths=[2, 1])
    alpha = model.parameters["prelu_1.alpha"].ravel()
    assert (alpha[2:] == 0.25).all() and (alpha[:2] != 0.25).all()


def test_slopes_do_not_decay():
    X = np.abs(np.random.default_rng(3).standard_normal((8, 3, 2)))       # no number has a slope
    model = Sequential([PReLU(alpha_initializer="ones")], "float64", 0)
    model.fit(X, X, loss="squared_error", optimizer=optimizers.SGD(weight_decay=0.5), alpha=10.0, epochs=3)
    assert (model.theta == 1).all()


def test_it_learns_a_slope():
    X = np.random.default_rng(4).standard_normal((200, 3))
    slopes = np.array([-0.5, 0.1, 2.0])
    model = Sequential([PReLU()], "float64", 0)
    model.fit(X, rectified({"alpha": slopes}, X), loss="squared_error", optimizer=optimizers.SGD(0.5), epochs=100)
    np.testing.assert_allclose(model.theta, slopes, rtol=1e-6)


@pytest.mark.parametrize(("shared_axes", "kind"), [
    (0, ValueError), ((1, -1), ValueError), ((2, 2), ValueError), (True, TypeError), (1.0, TypeError),
    ((1, None), TypeError), ("1", TypeError)])
def test_bad_axes(shared_axes, kind):
    with pytest.raises(kind) as error:
        PReLU(shared_axes)
    assert str(error.value) == (
        f"PReLU: shared_axes must be None, an int >= 1 or a tuple of different ones, got {shared_axes!r}.")


@pytest.mark.parametrize(("make", "message"), [
    (lambda: PReLU(alpha_initializer="small"), "PReLU: alpha_initializer must be "),
    (lambda: PReLU((1, 3)).build((4, 5)), "PReLU: shared_axes must be axes 1 .. 2 of the input (4, 5), got (1, 3)."),
    (lambda: PReLU(tuple(range(1, 18, 2))).build((2,) * 17),
     "PReLU: shared_axes must change between shared and not at most 15 times along the input (2, 2,"),
])
def test_bad_arguments(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)
