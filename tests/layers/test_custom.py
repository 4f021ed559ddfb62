"""Custom: a layer in NumPy, through the same contract as the compiled ones."""
import math

import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, check_config, check_in_a_model

from ldl_cy import Sequential, layers


def affine(p, x):
    return x @ p["weight"] + p["shift"]


def affine_backward(p, x, y, dy):
    return dy @ p["weight"].T, {"weight": x.T @ dy, "shift": dy.sum(0)}


def square(p, x):
    return x * x


def square_backward(p, x, y, dy):
    return 2 * x * dy, {}


def same_shape(shape):
    return shape


AFFINE = layers.Custom(affine, affine_backward, 3, {"weight": (4, 3), "shift": 3})
SQUARE = layers.Custom(square, square_backward, same_shape)
CASES = [
    LayerCase("affine", AFFINE, (4,), affine),
    LayerCase("square", SQUARE, (2, 5), square),
]
# a repr cannot name the functions, and files need them from the caller: both are tested below
GENERIC = [check for check in CHECKS if check not in (check_config, check_in_a_model)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", GENERIC, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def data(n=50):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 4))
    return X, (X**2).sum(1, keepdims=True)


def test_equals_dense_bit_for_bit_in_training():
    X, y = data()
    results = []
    for layer in (AFFINE, layers.Dense(3)):
        model = Sequential([layer, layers.Activation("tanh"), SQUARE, layers.Dense(1)], "float64", 1).build(4)
        assert model.n_parameters == 19
        history = model.fit(X, y, loss="squared_error", optimizer="adam", epochs=5, n_threads=2)
        results.append((model.theta, history.history["loss"]))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)


def test_names_and_files(tmp_path):
    X, _ = data()
    model = Sequential([AFFINE, SQUARE], random_state=1).build(4)
    assert list(model.parameters) == ["custom_0.weight", "custom_0.shift"]
    assert not model.parameters["custom_0.shift"].any() and model.parameters["custom_0.weight"].any()
    model.save(tmp_path / "m")
    functions = {f.__name__: f for f in (affine, affine_backward, square, square_backward, same_shape)}
    loaded = Sequential.load(tmp_path / "m", custom=functions)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.layers == model.layers
    with pytest.raises(ValueError, match="load: the file needs the function 'affine'"):
        Sequential.load(tmp_path / "m")


@pytest.mark.parametrize("stage", ["forward", "backward"])
def test_exceptions_come_out_and_the_model_stays_usable(stage):
    X, y = data()
    calls = []

    def fail(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("mine")
        return (square if len(arguments) == 2 else square_backward)(*arguments)

    layer = layers.Custom(fail if stage == "forward" else square, fail if stage == "backward" else square_backward,
                          same_shape)
    model = Sequential([layers.Dense(3), layer, layers.Dense(1)], random_state=1)
    with pytest.raises(KeyError, match="mine"):
        model.fit(X, y, loss="squared_error", batch_size=10, epochs=2)
    assert model.step == model.epoch == 0 and np.isfinite(model.theta).all()
    model.fit(X, y, loss="squared_error", epochs=1)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("cell", [layers.RNN, layers.LSTM, layers.GRU])
def test_an_exception_behind_a_recurrent_layer(cell):
    """Its way back is not gone."""
    def fail(p, x, y, dy):
        raise KeyError("mine")

    model = Sequential([cell(3), layers.Custom(square, fail, same_shape)], random_state=1).build((6, 2))
    before = model.theta.copy()
    with pytest.raises(KeyError, match="mine"):
        model.fit(np.ones((9, 6, 2)), np.ones((9, 3)), loss="squared_error")
    np.testing.assert_array_equal(model.theta, before)
    assert model.epoch == model.step == 0


@pytest.mark.parametrize(("forward", "backward", "message"), [
    (lambda p, x: x[:, :2], square_backward, r"Custom: the result of forward must have the shape \(50, 4\)"),
    (square, lambda p, x, y, dy: dy, r"Custom: backward must return \(dx, gradients\), got ndarray"),
    (square, lambda p, x, y, dy: (dy[:1], {}), r"Custom: dx must have the shape"),
])
def test_wrong_results(forward, backward, message):
    X, y = data()
    model = Sequential([layers.Dense(4), layers.Custom(forward, backward, 4), layers.Dense(1)], random_state=0)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(X, y, loss="squared_error", epochs=1, batch_size="full")


def test_missing_gradient():
    X, y = data()
    layer = layers.Custom(affine, lambda p, x, y, dy: (dy @ p["weight"].T, {"shift": dy.sum(0)}), 3,
                          {"weight": (4, 3), "shift": 3})
    with pytest.raises(ValueError, match="Custom: backward must return a gradient for 'weight'"):
        Sequential([layer, layers.Dense(1)]).fit(X, y, loss="squared_error", epochs=1)


@pytest.mark.parametrize(("arguments", "message"), [
    ((3, square_backward, 4), "Custom: forward must be a function, got 3."),
    ((square, None, 4), "Custom: backward must be a function, got None."),
    ((square, square_backward, 0), "Custom: output_shape must be an int >= 1"),
    ((square, square_backward, (2.5,)), "Custom: output_shape must be an int >= 1"),
    ((square, square_backward, 4, [3]), "Custom: parameters must be a dict of name to shape, got [3]."),
    ((square, square_backward, 4, {"a b": 3}), "Custom: parameters must have names that are words, got 'a b'."),
    ((square, square_backward, 4, {"a": 0}), "Custom: parameters['a'] must be an int >= 1"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        layers.Custom(*arguments)
    assert str(error.value).startswith(message)


def test_settings_survive():
    layer = layers.Custom(affine, affine_backward, 3, {"weight": [4, 3], "shift": 3})
    assert layer == AFFINE and layer.build((4,)).output_shape == (3,)
    assert type(layer)(**layer.get_config()) == layer
    assert math.prod(layer.parameters["weight"]) == 12


def test_a_layer_within_another_ones_function_leaves_numpys_settings():
    """NumPy 1's errstate forgets them where one object of it is entered twice, as that of a decorator is."""
    def through_another(p, x):
        return inner.predict(x)

    inner = Sequential([layers.Custom(square, square_backward, (3,))]).build(3)
    outer = Sequential([layers.Custom(through_another, square_backward, (3,))]).build(3)
    X = np.arange(6.0).reshape(2, 3)
    with np.errstate(over="raise", invalid="warn", divide="print"):
        before = np.geterr()
        np.testing.assert_array_equal(outer.predict(X), X**2)
        assert np.geterr() == before
