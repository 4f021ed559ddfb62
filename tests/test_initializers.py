"""Initializers: variances, orthogonality, and that each is a pure function of shape and stream."""
import numpy as np
import pytest

from ldl_cy import Sequential, initializers, layers
from ldl_cy._engine.rng import Stream

VARIANCE = {
    "normal": 0.05**2, "uniform": 0.05**2 / 3,
    "glorot_uniform": 2 / 500, "glorot_normal": 2 / 500, "he_uniform": 2 / 200, "he_normal": 2 / 200,
    "lecun_uniform": 1 / 200, "lecun_normal": 1 / 200,
}
EXACT = {"zeros": np.zeros((3, 4)), "ones": np.ones((3, 4)), "identity": np.eye(3, 4)}


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_every_initializer_has_its_numbers(name):
    assert name in {**VARIANCE, **EXACT, "orthogonal": None}, f"{name} has no test of its numbers"


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_pure_function_of_shape_and_stream(name):
    draw = initializers.get("Dense", "kernel_initializer", name)
    first, second = draw((4, 6), Stream(1, 2)), draw((4, 6), Stream(1, 2))
    assert first.dtype == np.float64 and first.shape == (4, 6)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("name", "variance"), VARIANCE.items())
def test_variance(name, variance):
    values = initializers.INITIALIZERS[name]((200, 300), Stream(3))
    assert values.mean() == pytest.approx(0, abs=4 * np.sqrt(variance / values.size))
    assert values.var() == pytest.approx(variance, rel=0.03)
    if name.endswith("uniform"):
        assert np.abs(values).max() <= np.sqrt(3 * variance)
    else:
        assert np.abs(values).max() > 3.5 * np.sqrt(variance)


def test_fans_of_a_convolution():
    assert initializers.fans((3, 3, 16, 32)) == (144, 288)
    assert initializers.fans((5, 7)) == (5, 7)
    assert initializers.fans((4,)) == (4, 4)
    values = initializers.glorot_uniform((3, 3, 16, 32), Stream(0))
    assert values.var() == pytest.approx(2 / 432, rel=0.05)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (2, 3, 4)])
def test_orthogonal(shape):
    q = initializers.orthogonal(shape, Stream(5)).reshape(-1, shape[-1])
    small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-14)


@pytest.mark.parametrize("name", EXACT)
def test_exact(name):
    np.testing.assert_array_equal(initializers.INITIALIZERS[name]((3, 4), None), EXACT[name])


def test_constant():
    constant = initializers.Constant(0.5)
    assert (constant((3,), None) == 0.5).all() and eval(repr(constant), vars(initializers).copy()) == constant
    assert {constant, initializers.Constant(0.5)} == {constant} != {initializers.Constant(0.25)}


def test_a_constant_in_a_file(tmp_path):
    layer = layers.Dense(3, bias_initializer=initializers.Constant(0.5))
    Sequential([layer], random_state=0).build(2).save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    assert loaded.layers == (layer,)
    loaded.theta[:] = 0
    loaded.reset()
    assert (loaded.parameters["dense_0.bias"] == 0.5).all()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: initializers.get("Dense", "bias_initializer", "xavier"), "Dense: bias_initializer must be one of zeros"),
    (lambda: initializers.get("Dense", "bias_initializer", 0), "Dense: bias_initializer must be one of zeros"),
    (lambda: initializers.Constant("a"), "Constant: value must be a number, got 'a'."),
    (lambda: initializers.orthogonal((3,), Stream(0)), "orthogonal: the shape must have two axes or more"),
    (lambda: initializers.identity((3,), Stream(0)), "identity: the shape must have two axes"),
])
def test_bad_input(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value).startswith(message)
