"""Normalization by given numbers, against its formula; they are state, which nothing but the user changes."""
import json
import pickle

import numpy as np
import pytest
from branches import check_keeping
from contract import CHECKS, DTYPES, LayerCase, close

from ldl_cy import Sequential, callbacks, layers, optimizers
from ldl_cy.layers import Conv2D, Dense, Flatten, Normalization


def formula(mean, variance):
    """With mean and variance in a shape that NumPy broadcasts."""
    return lambda p, x: (x - mean) / np.maximum(np.sqrt(variance), 1e-7)


RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.standard_normal(shape), RNG.uniform(0.5, 2, shape)


def case(name, shape, axis, own):
    """``own``: the shape that NumPy broadcasts, in which the lengths of other axes are 1."""
    mean, variance = numbers(*own)
    layer = Normalization(mean.squeeze(), variance.squeeze(), axis)
    return LayerCase(name, layer, shape, formula(mean, variance))


CASES = [
    LayerCase("nothing", Normalization(), (7,), lambda p, x: x),
    LayerCase("one for all", Normalization(3, 4.0), (4, 3), formula(3, 4)),
    LayerCase("one and several", Normalization(0.5, (1.0, 4.0, 9.0), name="scaled"), (4, 3),
              formula(0.5, np.r_[1, 4, 9])),
    LayerCase("no axis", Normalization(1.5, 2.5, None), (3, 2, 5), formula(1.5, 2.5)),
    LayerCase("no axis, one number", Normalization(1.5, 2.5, None), (1, 1), formula(1.5, 2.5)),
    LayerCase("tiny variance", Normalization((0.0, 0.0, 0.0), (0.0, 1e-20, 1e-2), trainable=False), (3,),
              formula(0, np.r_[0, 1e-20, 1e-2])),
    case("vector", (19,), -1, (19,)),
    case("image", (3, 2, 9), -1, (9,)),
    case("rows", (3, 2, 9), 1, (3, 1, 1)),
    case("columns", (3, 4, 5), 2, (4, 1)),
    case("pixels", (3, 4, 2), (2, 1), (3, 4, 1)),
    case("rows and channels", (3, 4, 5), (1, -1), (3, 1, 5)),
    case("each number", (3, 4, 2), (1, 2, 3), (3, 4, 2)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


MEAN, VARIANCE = (120.5, 99.0, 80.25), (3600.0, 4000.0, 0.1 + 0.2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels(dtype):
    """A first layer over bytes, by the path for a few rows and by the general one."""
    X = np.random.default_rng(1).integers(0, 256, (40, 5, 4, 3), np.uint8)
    model = Sequential([Normalization(MEAN, VARIANCE), Conv2D(4, 3), Flatten(), Dense(2)], dtype, 0).build((5, 4, 3))
    expected = formula(np.array(MEAN), np.array(VARIANCE))(None, X.astype(float))
    tol = 1e-13 if dtype == "float64" else 1e-6
    close(model.trace(X)["normalization_0"], expected, tol)
    bare = Sequential(model.layers[1:], dtype, 0).build((5, 4, 3))
    bare.theta[:] = model.theta
    for rows in (1, 40):
        close(model.predict(X[:rows]), bare.predict(expected[:rows]), 20 * tol)
        np.testing.assert_array_equal(model.predict(X[:rows]), model.predict(X[:rows].astype(float)))


def test_the_numbers_never_change(tmp_path):
    stack = [Normalization(MEAN, VARIANCE), Dense(4, "tanh"), Dense(1)]
    model = Sequential(stack, "float64", 0).build(3)
    X = np.random.default_rng(2).normal(100, 60, (50, 3))
    y = np.tanh(X[:, :1] / 50 - 2)
    assert list(model.state) == ["normalization_0.mean", "normalization_0.variance"]
    assert not any("normalization" in name for name in model.parameters)

    def check(model):
        np.testing.assert_array_equal(model.state["normalization_0.mean"], MEAN)
        np.testing.assert_array_equal(model.state["normalization_0.variance"], VARIANCE)

    model.fit(X, y, loss="squared_error", optimizer="adam", epochs=3, batch_size=8)
    check(model)
    before = model.evaluate(X, y, loss="squared_error")
    model.fit(X, y, loss="squared_error", optimizer=optimizers.LevenbergMarquardt(), epochs=3)
    assert model.evaluate(X, y, loss="squared_error") < before
    check(model)
    model.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    assert loaded.layers == model.layers == tuple(stack)
    check(loaded)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    model.reset()
    check(model)
    # the user may
    model.state["normalization_0.mean"][:] = 0
    model.state["normalization_0.variance"][:] = 1
    np.testing.assert_array_equal(model.trace(X)["normalization_0"], X)
    found = model.predict(X[:1])
    model.state["normalization_0.mean"][:] = 7
    assert (model.predict(X[:1]) != found).any()


def test_a_stack_with_it_is_kept(tmp_path, capsys):
    check_keeping([Normalization(MEAN, VARIANCE), Dense(2, "tanh")], (4, 3), tmp_path, capsys)


def test_gradients_pass_through():
    model = Sequential([Dense(3), Normalization(MEAN, VARIANCE)], "float64", 0).build(2)
    x = np.random.default_rng(3).standard_normal((5, 2))
    jacobian = model.jacobian(x)
    # d y_j / d b_j = 1 / sigma_j
    bias = jacobian[:, :, -3:]
    np.testing.assert_allclose(bias, np.broadcast_to(np.diag(1 / np.sqrt(VARIANCE)), bias.shape), rtol=1e-15)


def test_batches_and_threads_give_the_same_bits():
    X, y = np.random.default_rng(4).normal(100, 60, (64, 6, 3)), np.zeros((64, 6, 1))
    results = []
    for threads in (1, 2):
        model = Sequential([Normalization(MEAN, VARIANCE), Dense(40, "tanh"), Dense(1)], random_state=0)
        model.fit(X, y, loss="squared_error", epochs=2, batch_size=32, n_threads=threads,
                  callbacks=[callbacks.EarlyStopping("loss")])
        results.append(model.predict(X, n_threads=threads))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("given", [
    lambda a: a, list, tuple, lambda a: a.astype("float32"), lambda a: a.astype(int), lambda a: a[None].T.tolist()])
def test_numbers_come_back_from_json(given):
    mean, variance = given(np.array([1.0, 2.0, 7.0])), given(np.array([0.0, 3.0, 9.0]))
    layer = Normalization(mean, variance)
    np.testing.assert_array_equal(layer.mean, mean)
    config = json.loads(json.dumps(layer.get_config()))
    assert Normalization(**config) == layer == pickle.loads(pickle.dumps(layer))
    assert eval(repr(layer), vars(layers)) == layer
    assert layer != Normalization(mean, 2.0) and type(Normalization(np.float32(2)).mean) is float


@pytest.mark.parametrize(("arguments", "kind", "message"), [
    ({"mean": None}, TypeError, "mean must be a number or a tuple of them, got None."),
    ({"mean": "1"}, TypeError, "mean must be a number or a tuple of them, got '1'."),
    ({"mean": True}, TypeError, "mean must be a number or a tuple of them, got True."),
    ({"mean": (1, None)}, TypeError, "mean must be a number or a tuple of them, got (1, None)."),
    ({"mean": ((1, 2), 3)}, TypeError, "mean must be a number or a tuple of them, got ((1, 2), 3)."),
    ({"mean": 1j}, TypeError, "mean must be a number or a tuple of them, got 1j."),
    ({"mean": 10**400}, TypeError, "mean must be a number or a tuple of them, got 1000"),
    ({"mean": np.ma.masked_array([1, 2], [0, 1])}, TypeError, "mean must be a number or a tuple of them, got masked"),
    ({"mean": float("nan")}, ValueError, "mean must be finite numbers, got nan."),
    ({"mean": (1, -np.inf)}, ValueError, "mean must be finite numbers, got (1, -inf)."),
    ({"variance": (1, -1e-9)}, ValueError, "variance must be finite numbers >= 0, got (1, -1e-09)."),
    ({"variance": np.nan}, ValueError, "variance must be finite numbers >= 0, got nan."),
    ({"axis": 0}, ValueError, "axis must be an int other than 0, the batch, or a tuple of different ones, got 0."),
    ({"axis": "1"}, TypeError, "axis must be an int other than 0, the batch, or a tuple of different ones, got '1'."),
])
def test_bad_arguments(arguments, kind, message):
    with pytest.raises(kind) as error:
        Normalization(**arguments)
    assert str(error.value).startswith(f"Normalization: {message}")


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (Normalization((1, 2)), (4, 3), "mean must be a number or have the shape (3,) of the input (4, 3) along axis -1, "
     "got the shape (2,)."),
    (Normalization(0, ((1, 2), (3, 4)), (1, 2)), (2, 3), "variance must be a number or have the shape (2, 3) of the "
     "input (2, 3) along axis (1, 2), got the shape (2, 2)."),
    (Normalization((1, 2, 3), axis=None), (3,), "mean must be a number or have the shape () of the input (3,) along "
     "axis None, got the shape (3,)."),
    (Normalization(()), (3,), "mean must be a number or have the shape (3,) of the input (3,) along axis -1, got"),
    (Normalization(axis=3), (4, 3), "axis must be different axes 1 .. 2 or -2 .. -1 of the input (4, 3), got 3."),
    (Normalization(), (), "axis must be different axes 1 .. 0"),
    (Normalization(axis=tuple(range(2, 19, 2))), (2,) * 18, "axis must change between own numbers and shared ones at "
     f"most 15 times along the input {(2,) * 18}, got (2, 4, 6, 8, 10, 12, 14, 16, 18)."),
])
def test_shapes_that_do_not_fit(layer, shape, message):
    with pytest.raises(ValueError) as error:
        layer.build(shape)
    assert str(error.value).startswith(f"Normalization: {message}")


def test_numbers_that_float32_has_not():
    with pytest.raises(ValueError) as error:
        Sequential([Normalization(1e300)]).build(2)
    assert str(error.value) == "Sequential: initial values of normalization_0.mean must fit into float32, got 1e+300."
    assert Sequential([Normalization(1e300)], "float64").build(2).predict(np.full((1, 2), 1e300)).tolist() == [[0, 0]]
