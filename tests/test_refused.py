"""Data that a model cannot take: refused in the project's form, without warnings, and the model is as it was."""
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from ldl_cy import MLPRegressor, Sequential, find_learning_rate, initializers, layers, optimizers, schedules

X = np.random.default_rng(0).standard_normal((6, 4))
Y = X[:, :1]
RAGGED = [[1.0, 2.0], [3.0]]
MASKED = np.ma.array(X, mask=np.arange(24).reshape(6, 4) < 3)


def built(dtype="float32"):
    return Sequential([layers.Dense(3, "tanh"), layers.Dense(1)], dtype, 0).build(4)


def fit(model, X=X, y=Y, **options):
    return model.fit(X, y, **{"loss": "squared_error", "epochs": 2, **options})


@pytest.mark.parametrize(("call", "message"), [
    (lambda m: fit(m, X * 1e300), "Sequential: X must fit into float32, got "),
    (lambda m: fit(m, RAGGED), "Sequential: X must be an array of numbers, got nested sequences of several lengths."),
    (lambda m: m.predict(RAGGED), "Sequential: X must be an array of numbers, got nested"),
    (lambda m: fit(m, y=RAGGED), "squared_error: y must be an array of numbers, got nested"),
    (lambda m: fit(m, y=Y * 1e300), "squared_error: y must fit into float32, got "),
    (lambda m: fit(m, sample_weight=RAGGED), "Sequential: sample_weight must be an array of numbers, got nested"),
    (lambda m: fit(m, lengths=RAGGED), "Sequential: lengths must be an array of numbers, got nested"),
    (lambda m: fit(m, sample_weight=np.full(6, 1e300)), "Sequential: sample_weight must fit into float32, got 1e+300."),
    (lambda m: fit(m, sample_weight=np.full(6, 3e38)), "Sequential: sample_weight must be in float32 at most 1.4e+37"),
    (lambda m: fit(m, sample_weight=np.full(6, 1e-300)), "Sequential: sample_weight must be in float32 at most"),
    (lambda m: m.loss_and_grad(X, Y, loss="squared_error", sample_weight=np.full(6, 1e-45)),
     "Sequential: sample_weight must be in float32 at most"),
    (lambda m: fit(m, validation_split=0.5, X=3.0), "Sequential: X must have the shape (n, ...), got ()."),
    (lambda m: fit(m, validation_split=0.5, y=3.0), "Sequential: y must have as many rows as X, 6, got the shape ()."),
    (lambda m: fit(m, validation_split=0.5, X=RAGGED), "Sequential: X must be an array of numbers, got nested"),
    (lambda m: m.loss_and_grad(X, Y, loss="squared_error", theta=np.zeros(m.n_parameters, complex)),
     "Sequential: theta must be an array of numbers, got dtype complex128."),
    (lambda m: m.jacobian(X, theta="a"), "Sequential: theta must be an array of numbers, got dtype "),
    (lambda m: setattr(m, "theta", ["a"] * m.n_parameters), "Sequential: theta must be an array of numbers"),
    (lambda m: setattr(m, "theta", RAGGED), "Sequential: theta must be an array of numbers, got nested"),
    (lambda m: setattr(m, "theta", None), "Sequential: theta must be an array of numbers"),
    (lambda m: fit(m, MASKED), "Sequential: X must have no masked values, got 3 of them."),
    (lambda m: fit(m, MASKED, validation_split=0.5), "Sequential: X must have no masked values, got 3 of them."),
    (lambda m: fit(m, validation_data=(MASKED, Y)), "Sequential: validation_data must have no masked values, got 3"),
    (lambda m: m.predict(MASKED), "Sequential: X must have no masked values, got 3 of them."),
    (lambda m: fit(m, y=MASKED[:, :1]), "squared_error: y must have no masked values, got 1 of them."),
    (lambda m: fit(m, sample_weight=MASKED[:, 0]), "Sequential: sample_weight must have no masked values, got 1"),
    (lambda m: find_learning_rate(m, MASKED, Y, loss="squared_error"), "find_learning_rate: X must have no masked"),
    (lambda m: fit(m, None, validation_split=0.3), "Sequential: X must be an array of numbers, got dtype object."),
    (lambda m: fit(m, "abc", validation_split=0.3), "Sequential: X must be an array of numbers, got dtype <U3."),
    (lambda m: fit(m, [], validation_split=0.3), "Sequential: X must have at least one row, got the shape (0,)."),
    (lambda m: fit(m, y=Y[:5], validation_split=0.3), "Sequential: y must have as many rows as X, 6, got the shape (5"),
    (lambda m: fit(m, sp.coo_array(np.ones(4))), "Sequential: X must have the shape (n, 4), got (4,)."),
    (lambda m: find_learning_rate(m, None, Y, loss="squared_error"), "find_learning_rate: X must be an array of num"),
    (lambda m: find_learning_rate(m, X, Y, loss="squared_error", lowest=1e-300, highest=1e300),
     "find_learning_rate: highest / lowest must be a number > 1, got inf."),
    (lambda m: fit(m, alpha=10**310), "Sequential: alpha must be a number >= 0, got 1000"),
    (lambda m: fit(m, validation_split=10**310), "Sequential: validation_split must be a number >= 0 and < 1, got 1"),
])
def test_refused(call, message):
    model = built()
    theta = model.theta.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError)) as error:
            call(model)
    assert str(error.value).startswith(message)
    assert model.epoch == 0
    np.testing.assert_array_equal(model.theta, theta)


@pytest.mark.skipif(not np.isfinite(np.longdouble("1e400")), reason="long double is double here")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_doubles(dtype):
    model, long = built(dtype), np.full((6, 4), np.longdouble("1e400"))
    for X_, y_, who in ((long, Y, "Sequential: X"), (X, long[:, :1], "squared_error: y")):
        with pytest.raises(ValueError, match=rf"{who} must fit into {dtype}, got 1e\+400\."):
            fit(model, X_, y_)


@pytest.mark.parametrize("shape", [(), (4,), (3, 2)])
def test_networks_without_arithmetic(shape):
    """Layers that only change the shape can be asked for everything as well."""
    model = Sequential([layers.Flatten(), layers.Reshape((2, -1) if shape else (1,))]).build(shape)
    x = np.random.default_rng(0).standard_normal((5, *shape)).astype("float32")
    y = np.zeros((5, *model.output_shape))
    np.testing.assert_array_equal(model.predict(x), x.reshape(y.shape))
    assert model.evaluate(x, y, loss="squared_error") == pytest.approx(float((x**2).mean()))
    assert model.loss_and_grad(x, y, loss="squared_error")[1].shape == (0,)
    assert model.jacobian(x).shape == (5, y[0].size, 0)
    assert model.fit(x, y, loss="squared_error", epochs=2).history["loss"][1] == pytest.approx(float((x**2).mean()))


@pytest.mark.parametrize("shape", [(6, 0), (6, 0, 2), (6, 2, 0)])
def test_rows_without_numbers(shape):
    for layer in (layers.Dense(1), layers.Activation("softmax"), layers.Flatten(), layers.LayerNorm()):
        with pytest.raises(ValueError, match="Sequential: X must have numbers in its rows, got the shape"):
            Sequential([layer]).fit(np.zeros(shape), np.zeros((6, 1)), loss="squared_error")
        with pytest.raises(ValueError, match=": input_shape must be an int >= 1"):
            layer.compute_output_shape(shape[1:])


@pytest.mark.parametrize("layer", [
    layers.Dropout(0.1), layers.Embedding(2, 3), layers.Flatten(), layers.GlobalAvgPool1D(), layers.LSTM(2**60),
    layers.MaxPool1D(), layers.Activation("tanh"), layers.GaussianNoise(0.1), layers.UpSampling1D()])
def test_sizes_that_no_integer_holds(layer):
    for shape in [(2**40, 2**40), (2**70, 1)]:
        with pytest.raises(ValueError, match=r": .* must .* at most "):
            Sequential([layer]).build(shape)
        with pytest.raises(ValueError, match=r": .* must .* at most "):
            layer.compute_output_shape(shape)


def odd(array):
    """The same numbers at odd addresses."""
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    raw[...] = array
    assert not raw.flags.aligned
    return raw


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_at_odd_addresses(dtype):
    x, y, weights = X.astype(dtype), Y.astype(dtype), np.arange(1, 7).astype(dtype)
    models = built(dtype), built(dtype)
    for model, make in zip(models, (np.asarray, odd)):
        fit(model, make(x), make(y), sample_weight=make(weights), batch_size=2)
    np.testing.assert_array_equal(models[0].theta, models[1].theta)
    np.testing.assert_array_equal(models[0].predict(odd(x)), models[0].predict(x))
    found = [m.loss_and_grad(x, y, loss="squared_error", theta=make(models[0].theta))[1]
             for m, make in zip(models, (np.asarray, odd))]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("values", "message"), [
    (initializers.Constant(1e300), "initial values of dense_0.kernel must fit into float32"),
    (lambda shape, stream: np.full(shape, np.nan), "initial values of dense_0.kernel must be finite, got NaN"),
    (lambda shape, stream: np.zeros(shape, complex), "initial values of dense_0.kernel must be an array of numbers"),
    (lambda shape, stream: np.zeros(3), "initial values of dense_0.kernel must have the shape"),
])
def test_initial_values(values, message):
    """Refused before the model is built."""
    model = Sequential([layers.Dense(1, kernel_initializer=values)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError), match=f"Sequential: {message}"):
            fit(model)
    assert model.input_shape is None


def test_gradients_that_are_not_finite_come_without_a_warning():
    model = Sequential([layers.Dense(3), layers.Dense(3), layers.Dense(1)], "float64", 0).build(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.theta = 1e200 * model.theta
        assert not np.isfinite(model.jacobian(np.repeat(X, 3, axis=0))).all()
        model.loss_and_grad(np.repeat(X, 100, axis=0), np.repeat(Y, 100, axis=0), loss="squared_error")


def test_rates_that_overflow():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="SGD: learning_rate must return 2000 finite numbers >= 0"):
            fit(built(), optimizer=optimizers.SGD(schedules.Exponential(0.1, 1e9)), epochs=2000)


def test_layers_that_are_no_list():
    for given in (np.array(2), 3, None):
        with pytest.raises(TypeError, match="Sequential: layers must be a list of layers, got"):
            Sequential(given)


def test_weights_too_small_for_the_dtype_weigh_nothing():
    weights = np.array([1, 1e-42, 2, 1e-300, 0, 1])
    model, other = built(), built()
    found = model.loss_and_grad(X, Y, loss="squared_error", sample_weight=weights)
    expected = model.loss_and_grad(X, Y, loss="squared_error", sample_weight=np.where(weights < 1, 0, weights))
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    for m, w in ((model, weights), (other, np.where(weights < 1, 0, weights))):
        fit(m, sample_weight=w, batch_size=2)
    np.testing.assert_array_equal(model.theta, other.theta)


@pytest.mark.parametrize("scale", [1e37, 2e-38])
def test_gradients_do_not_depend_on_the_scale_of_weights(scale):
    model = built()
    _, expected = model.loss_and_grad(X, Y, loss="squared_error")
    _, found = model.loss_and_grad(X, Y, loss="squared_error", sample_weight=np.full(6, scale))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_sizes_without_bound():
    """More threads than there can be, and batches of more rows, are those that there are."""
    model = built()
    expected = model.predict(X)
    for n in (10**6, 2**31, 2**70):
        np.testing.assert_array_equal(model.predict(X, n_threads=n), expected)
        np.testing.assert_array_equal(model.predict(X, batch_size=n), expected)
        fit(built(), n_threads=n, batch_size=n)


def test_batch_size_is_checked_where_nothing_is_computed():
    with pytest.raises(ValueError, match="Sequential: batch_size must be an int >= 1, got 0"):
        Sequential([layers.Flatten()]).build((2, 2)).predict(np.zeros((3, 2, 2)), batch_size=0)


@pytest.mark.parametrize("large", [
    {"X": X * 1e300}, {"sample_weight": np.full(6, np.longdouble("1e300") * 1e300)}, {"y": 1e300 * Y.ravel()}])
def test_estimators_refuse_what_does_not_fit(large):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"contains infinity or a value too large|MLPRegressor: y must fit into "):
            MLPRegressor(dtype="float32").fit(**{"X": X, "y": Y.ravel(), **large})


@pytest.mark.parametrize(("arguments", "message"), [
    ({"X": MASKED}, "Input X contains masked values."),
    ({"y": MASKED[:, 0]}, "Input y contains masked values."),
    ({"sample_weight": MASKED[:, 0]}, "Input sample_weight contains masked values."),
    ({"X": [[10**400] * 4] * 6}, "Input X or y contains infinity or a value too large for dtype"),
    ({"sample_weight": 10**400}, "Input sample_weight contains infinity or a value too large for dtype"),
    ({"sample_weight": np.inf}, "Input sample_weight contains infinity or a value too large for dtype"),
    ({"y": sp.csr_array(Y)}, "Sparse data was passed for y, but dense data is required."),
    ({"X_val": MASKED, "y_val": Y[:, 0]}, "Input X contains masked values."),
])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_estimators_refuse(arguments, message, solver):
    estimator = MLPRegressor(hidden_layer_sizes=3, max_iter=2, solver=solver, random_state=0, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, Y[:, 0])
        before = estimator.model_.theta.copy()
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError)) as error:
            estimator.fit(**{"X": X, "y": Y[:, 0], **arguments})
    assert str(error.value).startswith(message)
    np.testing.assert_array_equal(estimator.model_.theta, before)


def test_a_mask_that_hides_nothing():
    whole = np.ma.array(X, mask=False)
    model = built()
    np.testing.assert_array_equal(model.predict(whole), model.predict(X))


def test_sparse_token_ids():
    ids = np.array([[0, 2, 1], [3, 0, 0]])
    model = Sequential([layers.Embedding(4, 2), layers.Flatten()], random_state=0).build(3)
    np.testing.assert_array_equal(model.predict(sp.csr_array(ids)), model.predict(ids))
    with pytest.raises(ValueError, match=r"Embedding: token ids must be whole numbers 0 \.\. 3, got 6\."):
        model.predict(sp.csr_array(ids * 3))


def test_epochs_beyond_any_memory():
    """Nothing is made for all of them at once."""
    for optimizer in ("sgd", "lbfgs"):
        model = built()
        fit(model, epochs=10**30, batch_size="auto", optimizer=optimizer, callbacks=[lambda m, logs: m.epoch == 2])
        assert model.epoch == 2
