"""BatchNorm over the batch, whatever its blocks, and its running statistics; LayerNorm along each vector."""
import pickle

import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, close
from gradients import check_gradient
from steps import check_blocks_and_threads, run_model_step

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.layers import BatchNorm, LayerNorm


def running(epsilon=1e-5):
    """Inference with the running statistics of the beginning, mean 0 and variance 1."""
    return lambda p, x: p["gamma"] * x / np.sqrt(1 + epsilon) + p["beta"]


def over_the_batch(x, gamma=1.0, beta=0.0, epsilon=1e-5):
    axes = tuple(range(x.ndim - 1))
    return gamma * (x - x.mean(axes)) / np.sqrt(x.var(axes) + epsilon) + beta


def along_the_vector(p, x, epsilon=1e-5):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return p["gamma"] * (x - mean) / np.sqrt(variance + epsilon) + p["beta"]


def along(*axes, epsilon=1e-5):
    """LayerNorm along these axes, counted with the batch."""
    def reference(p, x):
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        shape = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
        return p["gamma"].reshape(shape) * (x - mean) / np.sqrt(variance + epsilon) + p["beta"].reshape(shape)
    return reference


def many_axes(p, x):
    """Along every other one."""
    return along(*range(1, 13, 2))(p, x)


CASES = [
    LayerCase("batch vector", BatchNorm(), (7,), running()),
    LayerCase("batch one channel", BatchNorm(0.5, 0.1), (1,), running(0.1)),
    LayerCase("batch sequence", BatchNorm(epsilon=1e-3), (4, 3), running(1e-3)),
    LayerCase("batch image", BatchNorm(name="norm"), (3, 2, 9), running(), n=6),
    LayerCase("batch frozen", BatchNorm(trainable=False), (2, 5), running()),
    LayerCase("layer vector", LayerNorm(), (7,), along_the_vector),
    LayerCase("layer lanes", LayerNorm(), (16,), along_the_vector),
    LayerCase("layer one channel", LayerNorm(0.1), (1,), lambda p, x: 0 * x + p["beta"]),
    LayerCase("layer sequence", LayerNorm(1e-2), (4, 19), lambda p, x: along_the_vector(p, x, 1e-2)),
    LayerCase("layer image", LayerNorm(name="norm", trainable=False), (3, 2, 9), along_the_vector, n=6),
    LayerCase("only axis", LayerNorm(axis=1), (7,), along(1)),
    LayerCase("last axis", LayerNorm(axis=2), (4, 19), along(2)),
    LayerCase("time", LayerNorm(axis=1), (5, 3), along(1)),
    LayerCase("time, lanes", LayerNorm(1e-2, -2), (6, 21), along(1, epsilon=1e-2)),
    LayerCase("time, one channel", LayerNorm(axis=1), (9, 1), along(1)),
    LayerCase("one step", LayerNorm(axis=1), (1, 4), lambda p, x: 0 * x + p["beta"]),
    LayerCase("sequence", LayerNorm(axis=(-2, -1)), (5, 7), along(1, 2)),
    LayerCase("rows", LayerNorm(axis=1), (3, 2, 9), along(1)),
    LayerCase("columns", LayerNorm(axis=[2]), (3, 11, 2), along(2), n=6),
    LayerCase("each channel", LayerNorm(axis=(2, 1)), (3, 4, 5), along(1, 2)),
    LayerCase("columns and channels", LayerNorm(axis=(3, 2)), (3, 4, 5), along(2, 3)),
    LayerCase("rows and channels", LayerNorm(axis=(1, -1)), (3, 4, 17), along(1, 3)),
    LayerCase("images", LayerNorm(axis=(1, 2, 3)), (3, 4, 2), along(1, 2, 3)),
    LayerCase("several volumes", LayerNorm(axis=(2, 4), trainable=False), (2, 3, 1, 2, 2), along(2, 4)),
    LayerCase("numbers", LayerNorm(axis=1), (1, 1), lambda p, x: 0 * x + p["beta"]),
    LayerCase("many axes", LayerNorm(axis=tuple(range(1, 13, 2))), (2, 2, 1, 2, 2, 2, 1, 2, 2, 1, 2, 2), many_axes, 2),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def batch_norm(shape, dtype="float64", **options):
    """(kernel, theta, state) with random numbers."""
    rng = np.random.default_rng(4)
    kernel, k = BatchNorm(**options).build(shape).kernel(dtype), shape[-1]
    theta, state = rng.standard_normal(2 * k), np.concatenate([rng.standard_normal(k), rng.uniform(0.5, 2, k)])
    return kernel, theta.astype(dtype), state.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6,), (5, 3), (4, 3, 2)])
def test_training_takes_the_statistics_of_the_batch(shape, dtype):
    kernel, theta, state = batch_norm(shape, dtype, momentum=0.7)
    x = (3 + 2 * np.random.default_rng(0).standard_normal((8, *shape))).astype(dtype)
    wide, before, k, axes = x.astype(float), state.copy(), shape[-1], tuple(range(len(shape)))
    y, _, _ = kernel.forward(theta, x, state=state, training=True)
    tol = 1e-13 if dtype == "float64" else 1e-6
    close(y, over_the_batch(wide, theta[:k], theta[k:]), 4 * tol)
    close(state[:k], 0.7 * before[:k] + 0.3 * wide.mean(axes), tol)
    close(state[k:], 0.7 * before[k:] + 0.3 * wide.var(axes), tol)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2, 1, 7]], ids=["whole", "lengths"])
def test_gradients(training, lengths):
    """Against central differences, in both modes, with and without lengths."""
    kernel, theta, state = batch_norm((4, 2, 3))
    rng = np.random.default_rng(1)
    x, r = rng.standard_normal((5, 4, 2, 3)), rng.standard_normal((5, 24))
    options = {"training": training, "lengths": None if lengths is None else np.array(lengths, np.int32)}

    def loss(theta, x):
        return float(np.sum(r * kernel.forward(theta, x, state=state.copy(), **options)[0]))

    y, cache, _ = kernel.forward(theta, x, state=state.copy(), **options)
    dx, grad = np.empty_like(x), np.zeros(6)
    kernel.backward(theta, x, y, r.copy(), cache, state=state, dx=dx, grad=grad, **options)
    check_gradient(lambda x: loss(theta, x), x, dx)
    check_gradient(lambda theta: loss(theta, x), theta, grad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_valid_steps_count(dtype):
    kernel, theta, state = batch_norm((4, 3), dtype)
    x = np.random.default_rng(2).standard_normal((3, 4, 3)).astype(dtype)
    lengths, before = np.array([2, 4, 1], np.int32), state.copy()
    valid = np.arange(4) < lengths[:, None]
    x[~valid] = 1e6
    y, cache, _ = kernel.forward(theta, x, state=state, training=True, lengths=lengths)
    y = y.reshape(x.shape)
    steps = x[valid].astype(float)
    tol = 1e-13 if dtype == "float64" else 1e-6
    close(y[valid], over_the_batch(steps, theta[:3], theta[3:]), 4 * tol)
    assert not y[~valid].any()
    close(state, 0.9 * before + 0.1 * np.concatenate([steps.mean(0), steps.var(0)]), tol)
    dx = np.full_like(x, np.nan)
    kernel.backward(theta, x, y, np.ones_like(y), cache, state=state, dx=dx, training=True, lengths=lengths)
    assert np.isfinite(dx).all() and not dx[~valid].any()


def test_a_batch_without_valid_steps_changes_nothing():
    kernel, theta, state = batch_norm((2, 3))
    x, before, lengths = np.ones((2, 2, 3)), state.copy(), np.zeros(2, np.int32)
    y, cache, _ = kernel.forward(theta, x, state=state, training=True, lengths=lengths)
    dx, grad = np.empty_like(x), np.zeros(6)
    kernel.backward(theta, x, y, np.ones_like(y), cache, state=state, dx=dx, grad=grad, training=True,
                    lengths=lengths)
    np.testing.assert_array_equal(state, before)
    assert not (y.any() or dx.any() or grad.any())


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_value_gives_beta(dtype):
    kernel, theta, state = batch_norm((3,), dtype)
    x = np.array([[1.5, -2, 1e4]], dtype)
    y, cache, _ = kernel.forward(theta, x, state=state, training=True)
    np.testing.assert_array_equal(y[0], theta[3:])
    dx, grad = np.empty_like(x), np.zeros(6, dtype)
    kernel.backward(theta, x, y, np.ones_like(y), cache, state=state, dx=dx, grad=grad, training=True)
    close(dx, np.zeros(3), 1e-12 if dtype == "float64" else 1e-3)
    np.testing.assert_array_equal(grad, [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize(("dtype", "mean", "tol"), [("float64", 1e6, 1e-9), ("float32", 1e3, 1e-6)])
def test_large_mean_and_small_variance(dtype, mean, tol):
    x = (mean + np.random.default_rng(3).standard_normal((64, 4))).astype(dtype)
    kernel, theta, state = batch_norm((4,), dtype)
    theta[:] = [1] * 4 + [0] * 4
    y, _, _ = kernel.forward(theta, x, state=state, training=True)
    close(y, over_the_batch(x.astype(np.longdouble)), tol)
    # in blocks as well
    model = Sequential([BatchNorm()], dtype=dtype, random_state=0).build((4,))
    for rows in (1, 5):
        value = run_model_step(model, x, np.zeros((64, 4)), block_rows=rows, lanes=2).loss
        close(value, np.mean(over_the_batch(x.astype(np.longdouble)) ** 2), tol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block_rows", [1, 5, 19])
def test_blocks_and_threads(block_rows, dtype):
    """Any blocks give the batch's statistics; any threads the same bits."""
    model = Sequential([layers.Dense(6, "tanh"), BatchNorm(), layers.Dense(4, "tanh"), BatchNorm(momentum=0.5)],
                       dtype=dtype, random_state=0).build((3, 5))
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((19, 3, 5)).astype(dtype), rng.standard_normal((19, 3, 4))
    step = check_blocks_and_threads(lambda threads, **options: run_model_step(model, X, y, threads, **options),
                                    1e-12 if dtype == "float64" else 2e-5, block_rows=block_rows)
    p = {name: v.astype(float) for name, v in model.parameters.items()}
    h = over_the_batch(np.tanh(X.astype(float) @ p["dense_0.kernel"] + p["dense_0.bias"]))
    out = over_the_batch(np.tanh(h @ p["dense_2.kernel"] + p["dense_2.bias"]))
    close(step.loss, np.mean((out - y) ** 2), 1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_gradient_through_a_network(training):
    model = Sequential([layers.Dense(3, "tanh"), BatchNorm(), layers.Dense(2)], dtype="float64", random_state=1)
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((12, 4)), rng.standard_normal((12, 2))
    model.fit(X, y, loss="squared_error", epochs=3, batch_size=5)
    before = {name: value.copy() for name, value in model.state.items()}
    f = model.objective(X, y, loss="squared_error", training=training)
    check_gradient(lambda theta: f(theta)[0], model.theta, f(model.theta)[1])
    for name, value in model.state.items():
        np.testing.assert_array_equal(value, before[name])
    if not training:
        close(f(model.theta)[0], model.evaluate(X, y, loss="squared_error"), 1e-13)


def test_running_statistics_follow_the_batches():
    X = np.random.default_rng(7).standard_normal((10, 2, 3)) + 5
    model = Sequential([BatchNorm(momentum=0.8)], dtype="float64", random_state=0)
    model.fit(X, X, loss="squared_error", epochs=2, batch_size=4, shuffle=False)
    mean, variance = np.zeros(3), np.ones(3)
    for part in (X[:4], X[4:8], X[8:]) * 2:
        mean = 0.8 * mean + 0.2 * part.mean((0, 1))
        variance = 0.8 * variance + 0.2 * part.var((0, 1))
    assert list(model.state) == ["batch_norm_0.mean", "batch_norm_0.variance"]
    close(model.state["batch_norm_0.mean"], mean, 1e-13)
    close(model.state["batch_norm_0.variance"], variance, 1e-13)
    expected = (X - mean) / np.sqrt(variance + 1e-5)
    p = model.parameters
    close(model.predict(X), p["batch_norm_0.gamma"] * expected + p["batch_norm_0.beta"], 1e-13)


def test_it_learns_and_is_kept_in_a_file(tmp_path):
    rng = np.random.default_rng(8)
    X = 100 + 20 * rng.standard_normal((256, 8))
    y = (X[:, 0] > X[:, 1]).astype(int)
    stack = [BatchNorm(), layers.Dense(16, "relu"), BatchNorm(), layers.Dense(2)]
    model = Sequential(stack, random_state=0)
    model.fit(X, y, loss="log_loss", optimizer=optimizers.Adam(0.02), epochs=40, n_threads=2)
    assert np.mean(model.predict(X).argmax(1) == y) > 0.95
    model.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    for name, value in model.state.items():
        np.testing.assert_array_equal(loaded.state[name], value)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    for m in (model, loaded):
        m.fit(X, y, loss="log_loss", optimizer=optimizers.Adam(0.02), epochs=2, n_threads=1)
    np.testing.assert_array_equal(loaded.theta, model.theta)
    np.testing.assert_array_equal(loaded.network.statistics, model.network.statistics)


def test_images_between_convolutions():
    rng = np.random.default_rng(9)
    X = rng.standard_normal((24, 8, 8, 1)).astype("float32")
    y = X.mean((1, 2))
    model = Sequential([layers.Conv2D(4, 3), BatchNorm(), layers.Activation("relu"), layers.GlobalAvgPool2D(),
                        layers.Dense(1)], random_state=0)
    history = model.fit(X, y, loss="squared_error", optimizer=optimizers.Adam(0.02), epochs=60)
    losses_seen = history.history["loss"]
    assert losses_seen[-1] < 0.5 * losses_seen[0]
    assert layers.BatchNormalization is BatchNorm


@pytest.mark.parametrize(("dtype", "mean", "tol"), [("float64", 1e6, 1e-9), ("float32", 1e3, 1e-6)])
def test_vectors_of_large_mean_and_small_variance(dtype, mean, tol):
    x = (mean + np.random.default_rng(3).standard_normal((5, 37))).astype(dtype)
    kernel, theta = LayerNorm().build((37,)).kernel(dtype), np.repeat([1, 0], 37).astype(dtype)
    y, cache, _ = kernel.forward(theta, x)
    wide = x.astype(np.longdouble)
    close(y, along_the_vector({"gamma": 1, "beta": 0}, wide), tol)
    # the sum of outputs does not change with the input
    dx = np.empty_like(x)
    kernel.backward(theta, x, y, np.ones_like(y), cache, dx=dx)
    close(dx, 0 * x, tol)


def test_layer_norm_learns():
    rng = np.random.default_rng(10)
    X = rng.standard_normal((128, 6, 3)) * rng.uniform(1, 100, (128, 1, 1))
    y = (X[:, :, 0] > X[:, :, 1])[:, :, None].astype(float)
    model = Sequential([LayerNorm(), layers.Dense(12, "tanh"), LayerNorm(), layers.Dense(1)], random_state=0)
    model.fit(X, y, loss="binary_log_loss", optimizer=optimizers.Adam(0.02), epochs=30)
    assert np.mean((model.predict(X) > 0) == y) > 0.95
    assert layers.LayerNormalization is LayerNorm and not model.state


@pytest.mark.parametrize(("arguments", "message"), [
    ({"momentum": 1.5}, "BatchNorm: momentum must be a number >= 0 and <= 1, got 1.5."),
    ({"momentum": "0.9"}, "BatchNorm: momentum must be a number >= 0 and <= 1, got '0.9'."),
    ({"epsilon": 0}, "BatchNorm: epsilon must be a number > 0, got 0."),
    ({"epsilon": float("nan")}, "BatchNorm: epsilon must be a number > 0, got nan."),
    ({"trainable": 1}, "BatchNorm: trainable must be True or False, got 1."),
    ({"name": "a b"}, "BatchNorm: name must be None or a word"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        BatchNorm(**arguments)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"epsilon": 0.0}, "LayerNorm: epsilon must be a number > 0, got 0.0."),
    ({"epsilon": None}, "LayerNorm: epsilon must be a number > 0, got None."),
    ({"trainable": 1}, "LayerNorm: trainable must be True or False, got 1."),
    *(({"axis": axis}, "LayerNorm: axis must be an int other than 0, the batch, or a tuple of different ones, got "
       f"{axis!r}.") for axis in (0, (), (1, 0), (1, 1), True, 1.0, None, "1", (1, None))),
    ({"axis": 2**200}, f"LayerNorm: axis must be an int < 2^128, got {2**200}."),
])
def test_bad_arguments_of_layer_norm(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        LayerNorm(**arguments)
    assert str(error.value) == message


def test_bad_input_shape():
    with pytest.raises(ValueError, match=r"BatchNorm: the input must have the shape \(..., channels\), got \(\)."):
        BatchNorm().build(())
    with pytest.raises(ValueError, match=r"LayerNorm: the input must have the shape"):
        LayerNorm().build(())


@pytest.mark.parametrize("axis", [3, -3, (1, -2), (2, 3)])
def test_axes_that_the_input_has_not(axis):
    with pytest.raises(ValueError) as error:
        LayerNorm(axis=axis).build((4, 5))
    assert str(error.value) == (
        f"LayerNorm: axis must be different axes 1 .. 2 or -2 .. -1 of the input (4, 5), got {axis}.")


def test_axes_that_change_too_often():
    shape = (2,) * 14
    with pytest.raises(ValueError) as error:
        LayerNorm(axis=tuple(range(2, 15, 2))).build(shape)
    assert str(error.value) == (
        f"LayerNorm: axis must change between normalized and not at most 11 times along the input {shape}, "
        "got (2, 4, 6, 8, 10, 12, 14).")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("axis", "shape"), [(1, (5, 3)), (1, (4, 2, 3)), ((1, 3), (4, 2, 3)), ((1, 2), (4, 3))])
def test_steps_of_layer_norm_with_lengths(axis, shape, dtype):
    """Along the time axis each sequence is normalized as if it were alone, cut to its length."""
    layer, rng, lengths = LayerNorm(axis=axis), np.random.default_rng(12), np.array([2, shape[0], 1, 3, 0], np.int32)
    x = rng.standard_normal((5, *shape)).astype(dtype)
    built = layer.build(shape)
    kernel = built.kernel(dtype)
    assert kernel.uses_lengths
    theta = rng.standard_normal(kernel.n_params).astype(dtype)
    gamma, beta = theta.reshape(2, *built.parameters[0].shape)
    r = rng.standard_normal(x.shape).astype(dtype)
    padded = x.copy()
    for i, n in enumerate(lengths):
        padded[i, n:] = 1e6
        r[i, n:] = 0                    # the engine does this
    y, cache, _ = kernel.forward(theta, padded, lengths=lengths)
    dx, grad = np.full_like(x, np.nan), np.zeros_like(theta)
    kernel.backward(theta, padded, y, r.copy(), cache, dx=dx, grad=grad, lengths=lengths)
    dgamma, dbeta = np.zeros((2, *gamma.shape))
    y, tol = y.reshape(x.shape), 1e-12 if dtype == "float64" else 1e-4
    for i, n in enumerate(lengths):
        assert not y[i, n:].any() and not dx[i, n:].any()
        if n == 0:
            continue
        alone = layer.build((int(n), *shape[1:])).kernel(dtype)
        own = np.concatenate([gamma[:n].ravel(), beta[:n].ravel()])
        row = np.ascontiguousarray(x[i:i + 1, :n])
        expected, cache, _ = alone.forward(own, row)
        close(y[i, :n], expected.reshape(row.shape)[0], tol)
        dx_alone, grad_alone = np.empty_like(row), np.zeros_like(own)
        alone.backward(own, row, expected, r[i:i + 1, :n].copy(), cache, dx=dx_alone, grad=grad_alone)
        close(dx[i, :n], dx_alone[0], tol)
        for total, part in zip((dgamma, dbeta), grad_alone.reshape(2, *gamma[:n].shape)):
            total[:n] += part
    close(grad, np.concatenate([dgamma.ravel(), dbeta.ravel()]), tol)


def test_other_axes_of_sequences_need_no_lengths():
    kernel = LayerNorm(axis=(2, 3)).build((4, 2, 3)).kernel("float64")
    assert not kernel.uses_lengths and not LayerNorm(axis=2).build((4, 2, 3)).kernel("float64").uses_lengths
    model = Sequential([layers.Reshape((2, 6)), LayerNorm(axis=1)]).build((3, 4))
    with pytest.raises(ValueError) as error:
        model.predict(np.ones((1, 3, 4)), lengths=[2])
    assert str(error.value).startswith("Sequential: lengths do not fit this network: layer_norm reads an axis of 2 "
                                       "that is no longer that of the steps")


def test_the_axis_is_kept_where_it_is_not_the_last():
    """Models without it are read by older versions, and objects of older versions are equal to new ones."""
    assert LayerNorm(axis=-1).get_config() == {"epsilon": 1e-5, "name": None, "trainable": True}
    assert LayerNorm(axis=[1, 2]).get_config()["axis"] == (1, 2)
    assert repr(LayerNorm()) == "LayerNorm()"
    assert repr(LayerNorm(1e-3, (1, 2))) == "LayerNorm(epsilon=0.001, axis=(1, 2))"
    assert LayerNorm(axis=1) != LayerNorm() == LayerNorm(axis=-1)
    old = LayerNorm(1e-3)
    del old.axis
    assert pickle.loads(pickle.dumps(old)) == LayerNorm(1e-3)


def test_axes_give_the_bits_of_the_last_one():
    """One way to name an axis is as good as the other."""
    x = np.random.default_rng(13).standard_normal((6, 4, 10))
    models = [Sequential([LayerNorm(axis=axis)], random_state=0).build((4, 10)) for axis in (-1, 2, (2,))]
    for model in models[1:]:
        np.testing.assert_array_equal(model.predict(x), models[0].predict(x))
    flat = Sequential([layers.Flatten(), LayerNorm()], random_state=0).build((4, 10))
    whole = Sequential([LayerNorm(axis=(1, 2))], random_state=0).build((4, 10))
    np.testing.assert_array_equal(whole.predict(x).reshape(6, 40), flat.predict(x))


@pytest.mark.parametrize(("dtype", "mean", "tol"), [("float64", 1e6, 1e-9), ("float32", 1e3, 1e-6)])
def test_columns_of_large_mean_and_small_variance(dtype, mean, tol):
    x = (mean + np.random.default_rng(3).standard_normal((5, 37, 3))).astype(dtype)
    kernel, theta = LayerNorm(axis=1).build((37, 3)).kernel(dtype), np.repeat([1, 0], 37).astype(dtype)
    y, _, _ = kernel.forward(theta, x)
    wide = x.astype(np.longdouble)
    close(y, (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5), tol)


@pytest.mark.parametrize("branch", [False, True])
def test_frozen_batch_norm_keeps_its_running_statistics(branch):
    """As in Keras: a frozen layer works with what it has stored, in training too."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)) + 5, rng.standard_normal((40, 1))
    norm = layers.BatchNorm(trainable=branch)
    stack = [layers.Add([norm], [], trainable=False) if branch else norm, layers.Dense(1)]
    model = Sequential(stack, "float64", 0).build(3)
    name = "add_0.0.batch_norm_0" if branch else "batch_norm_0"
    model.state[f"{name}.mean"][:] = 4
    model.state[f"{name}.variance"][:] = 2
    before = model.network.statistics.copy()
    inference = model.loss_and_grad(X, y, loss="squared_error")
    training = model.loss_and_grad(X, y, loss="squared_error", training=True)
    assert inference[0] == training[0]
    np.testing.assert_array_equal(inference[1], training[1])
    assert not inference[1][:6].any() and inference[1][6:].all()
    model.fit(X, y, loss="squared_error", epochs=2)
    np.testing.assert_array_equal(model.network.statistics, before)
