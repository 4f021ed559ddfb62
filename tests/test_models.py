"""Sequential as API users meet it: building, predicting, gradients, files, bad input."""
import pickle
import threading
import zipfile

import numpy as np
import pytest
from gradients import check_gradient
from scipy.optimize import minimize

from ldl_cy import Sequential, layers, losses

DENSE = [layers.Dense(8, "tanh"), layers.Dense(3)]


def data(n=40, n_in=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_in))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def test_names_shapes_and_views():
    model = Sequential([layers.Conv2D(4, 3), layers.Activation("relu"), layers.Dense(2, name="out")], random_state=0)
    assert model.input_shape is None and model.output_shape is None
    model.build((8, 8, 1))
    assert model.output_shape == (6, 6, 2)
    assert list(model.parameters) == ["conv2d_0.kernel", "conv2d_0.bias", "out.kernel", "out.bias"]
    assert model.n_parameters == model.theta.size == 3 * 3 * 4 + 4 + 8 + 2
    model.parameters["out.bias"][:] = 7
    assert (model.theta[-2:] == 7).all()
    with pytest.raises(TypeError):
        model.parameters["out.bias"] = 0
    model.theta = np.arange(model.n_parameters)
    assert (model.parameters["out.bias"] == model.theta[-2:]).all() and model.theta[-1] == model.n_parameters - 1
    with pytest.raises(ValueError, match="theta must have the shape"):
        model.theta = 3


def test_initial_weights_are_a_function_of_the_seed():
    first = Sequential(DENSE, random_state=3).build(5)
    assert (Sequential(DENSE, random_state=3).build(5).theta == first.theta).all()
    assert (Sequential(DENSE, random_state=4).build(5).theta != first.theta).any()
    # drawn in float64 and rounded: both dtypes begin with the same numbers
    double = Sequential(DENSE, "float64", 3).build(5)
    np.testing.assert_array_equal(double.theta.astype("float32"), first.theta)
    kernel = double.parameters["dense_0.kernel"]
    assert np.abs(kernel).max() <= np.sqrt(6 / 13) and kernel.std() > 0.2


def test_same_layer_object_twice_means_two_sets_of_weights():
    layer = layers.Dense(4)
    model = Sequential([layer, layer], random_state=0).build(4)
    assert model.n_parameters == 40
    assert (model.parameters["dense_0.kernel"] != model.parameters["dense_1.kernel"]).any()


def test_predict_equals_the_chain_of_products():
    X, _ = data()
    model = Sequential(DENSE, "float64", 0).build(5)
    p = model.parameters
    hidden = np.tanh(X @ p["dense_0.kernel"] + p["dense_0.bias"])
    expected = hidden @ p["dense_1.kernel"] + p["dense_1.bias"]
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-13)
    np.testing.assert_allclose(model.predict(X, batch_size=7), expected, atol=1e-13)
    np.testing.assert_allclose(model.predict(X[:1]), expected[:1], atol=1e-13)
    trace = model.trace(X)
    np.testing.assert_allclose(trace["dense_0"], hidden, atol=1e-13)
    np.testing.assert_array_equal(trace["dense_1"], model.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_of_every_kind_give_the_same(dtype, tmp_path):
    X, _ = data(30)
    X = np.round(X * 20 + 100).clip(0, 255)
    model = Sequential(DENSE, dtype, 0).build(5)
    expected = model.predict(X.astype(dtype))
    path = tmp_path / "X.npy"
    np.save(path, X)
    fortran, strided = np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]
    for kind in (X, X.astype("float32"), X.astype("uint8"), X.astype("int16"), X.tolist(), fortran, strided,
                 X[::-1][::-1], np.repeat(X, 2, axis=1)[:, ::2], np.load(path, mmap_mode="r")):
        np.testing.assert_array_equal(model.predict(kind), expected)


def test_reshape_only_model():
    model = Sequential([layers.Flatten()]).build((2, 3))
    X = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(model.predict(X), X.reshape(2, 6))


@pytest.mark.parametrize("loss", ["squared_error", "log_loss", losses.LogLoss(label_smoothing=0.1), "binary_log_loss"])
def test_loss_and_grad(loss):
    X, codes = data()
    y = np.eye(3)[codes]
    weights = np.random.default_rng(1).uniform(0, 2, len(X))
    model = Sequential(DENSE, "float64", 0).build(5)
    value, grad = model.loss_and_grad(X, y, loss=loss, sample_weight=weights)
    assert value == pytest.approx(model.evaluate(X, y, loss=loss, sample_weight=weights), rel=1e-13)
    z = model.predict(X)
    logp = z - np.log(np.exp(z).sum(1, keepdims=True))
    smooth = 0.9 * y + 0.1 / 3
    expected = {
        "squared_error": ((z - y) ** 2).mean(1), "log_loss": -(y * logp).sum(1),
        "binary_log_loss": (np.log1p(np.exp(z)) - z * y).mean(1),
    }.get(loss, -(smooth * logp).sum(1)) if isinstance(loss, str) else -(smooth * logp).sum(1)
    assert value == pytest.approx(np.average(expected, weights=weights), rel=1e-12)
    check_gradient(lambda theta: model.loss_and_grad(X, y, loss=loss, sample_weight=weights, theta=theta)[0],
                   model.theta, grad, entries=range(0, grad.size, 7))
    if loss == "log_loss":
        assert model.evaluate(X, codes, loss=loss) == pytest.approx(model.evaluate(X, y, loss=loss), rel=1e-13)


def test_sequence_outputs_average_over_steps():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 4, 5)), rng.integers(0, 3, (6, 4))
    weights = np.array([1, 2, 0, 1, 1, 3.0])
    model = Sequential(DENSE, "float64", 0).build((4, 5))
    z = model.predict(X)
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    per_sample = -np.take_along_axis(logp, y[..., None], -1).mean((1, 2))
    assert model.evaluate(X, y, loss="log_loss", sample_weight=weights) == pytest.approx(
        np.average(per_sample, weights=weights), rel=1e-12)


def test_objective_serves_scipy():
    X, y = data(60)
    model = Sequential(DENSE, "float64", 0).build(5)
    f = model.objective(X, y, loss="log_loss")
    found = minimize(f, model.theta, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    assert found.fun < 0.05 < 0.5 < f(model.theta)[0]
    assert np.abs(found.jac).max() < 1e-4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_jacobian(dtype):
    X, _ = data(9)
    stack = [layers.Dense(4, "tanh", trainable=False), layers.BatchNorm(), layers.Dropout(0.5),
             layers.Dense(3, "gelu"), layers.Dense(2)]
    model = Sequential(stack, dtype, 0).build(5)
    found = model.jacobian(X)
    assert found.shape == (9, 2, model.n_parameters) and found.dtype == dtype
    np.testing.assert_array_equal(model.jacobian(X, n_threads=2), found)
    frozen = model.parameters["dense_0.kernel"].size + model.parameters["dense_0.bias"].size
    assert not found[:, :, :frozen].any()
    reference = Sequential(stack, "float64", 0).build(5)
    theta = model.theta.astype(float)

    def outputs(theta):
        reference.theta = theta
        return reference.predict(X)

    check_gradient(outputs, theta, found, 1e-8 if dtype == "float64" else 1e-5, entries=range(frozen, theta.size))
    np.testing.assert_allclose(model.jacobian(X[:2], theta=theta * 2), model.jacobian(X[:2], theta=model.theta * 2))
    with pytest.raises(ValueError, match="Jacobian must take at most 2147483648 bytes"):
        Sequential([layers.Dense(5000), layers.Dense(500)]).build(1000).jacobian(np.ones((10, 1000)))
    with pytest.raises(ValueError, match="theta must have the shape"):
        model.jacobian(X, theta=np.zeros(3))


def test_inference_does_not_change_the_model():
    X, y = data()
    model = Sequential([layers.Dense(8, "relu"), layers.Dropout(0.5), layers.Dense(3)], random_state=0).build(5)
    before = pickle.dumps(model)
    plain = model.loss_and_grad(X, y, loss="log_loss")[0]
    masked = model.loss_and_grad(X, y, loss="log_loss", training=True)[0]
    model.evaluate(X, y, loss="log_loss"), model.predict(X), model.trace(X)
    assert plain == pytest.approx(model.evaluate(X, y, loss="log_loss"), rel=1e-6)
    assert masked != plain
    assert pickle.dumps(model) == before


def test_predicts_in_several_threads():
    X, _ = data(400)
    model = Sequential(DENSE, random_state=0).build(5)
    expected = model.predict(X)
    wrong = []

    def work():
        for _ in range(50):
            if not (model.predict(X) == expected).all():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_save_and_load(tmp_path):
    X, y = data()
    model = Sequential([layers.Dense(4, "gelu", kernel_initializer="orthogonal"), layers.Dense(3)], random_state=1)
    model.fit(X, y, loss="log_loss", optimizer="adam", epochs=3)
    model.save(tmp_path / "m")
    assert sorted(zipfile.ZipFile(tmp_path / "m").namelist()) == ["model.json", "slots.npy", "state.npy", "theta.npy"]
    loaded = Sequential.load(tmp_path / "m")
    assert (loaded.epoch, loaded.step, loaded.random_state) == (3, 6, 1)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.layers == model.layers
    # unbuilt models too
    Sequential(DENSE, "float64", 5).save(tmp_path / "m")
    loaded = Sequential.load(tmp_path / "m")
    assert loaded.input_shape is None and loaded.random_state == 5 and loaded.dtype == "float64"


def test_damaged_files_are_refused(tmp_path):
    X, y = data()
    model = Sequential(DENSE, random_state=1)
    model.fit(X, y, loss="log_loss", epochs=1)
    model.save(tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for damaged in (b"", b"hello", whole[:100], whole[:len(whole) // 2], whole[:-30]):
        (tmp_path / "bad").write_bytes(damaged)
        with pytest.raises(ValueError, match="load:"):
            Sequential.load(tmp_path / "bad")
    with zipfile.ZipFile(tmp_path / "m") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    changes = {
        "format": {"model.json": files["model.json"].replace(b'"format": 1', b'"format": 99')},
        "class": {"model.json": files["model.json"].replace(b'"Dense"', b'"Popen"')},
        "theta": {"theta.npy": files["slots.npy"]},
    }
    for message, change in changes.items():
        with zipfile.ZipFile(tmp_path / "bad", "w") as archive:
            for name, content in (files | change).items():
                archive.writestr(name, content)
        with pytest.raises(ValueError, match=f"load: .*{message}"):
            Sequential.load(tmp_path / "bad")
    with pytest.raises(FileNotFoundError):
        Sequential.load(tmp_path / "nothing")


def test_summary(capsys):
    Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]).build((8, 8, 1)).summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["conv2d_0", "(6,", "6,", "4)", "40", "1,296"]
    assert lines[3].split() == ["flatten_1", "(144,)", "0", "0"]
    assert lines[-3].split()[-2:] == ["330", "1,584"] and lines[-2] == "parameters: 330 trainable, 0 frozen"
    assert lines[-1].startswith("memory of a sample: ") and lines[-1].endswith("weights 1.3 kB")


def test_summary_of_frozen_layers_and_before_building(capsys):
    model = Sequential([layers.Add([layers.Dense(5, "relu")], []), layers.Dense(2, name="head")])
    model.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "settings"] and lines[2] == "add_0  Add([Dense(5, activation='relu')], [])"
    assert lines[3] == "head   Dense(2, name='head')" and lines[-1].startswith("not built: output shapes, ")
    model.freeze("add_*").build(5).summary()
    text = capsys.readouterr().out
    assert text.splitlines()[2].split() == ["add_0.0.dense_0", "(5,)", "30", "frozen", "25"]
    assert text.splitlines()[4].split() == ["head", "(2,)", "12", "10"]
    assert "parameters: 12 trainable, 30 frozen\n" in text
    assert "<td colspan=\"4\">parameters: 12 trainable, 30 frozen</td>" in model._repr_html_()


def test_notebooks_show_a_table():
    model = Sequential([layers.Dense(2, name="a_b"), layers.Activation("relu")])
    assert model._repr_html_() == "<pre>Sequential([Dense(2, name=&#x27;a_b&#x27;), Activation(&#x27;relu&#x27;)], " \
        "dtype=&#x27;float32&#x27;)</pre>"
    page = model.build(3)._repr_html_()
    assert page.count("<tr>") == 6 and "<td style=\"text-align: left\">a_b</td>" in page and "(2,)" in page


X, Y = data(6)
NAN = np.where(X > 1.2, np.nan, X)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Sequential([]), "Sequential: layers must hold at least one layer"),
    (lambda: Sequential([3]), "Sequential: layers must be a list of layers, got 3."),
    (lambda: Sequential(DENSE, "float16"), "Sequential: dtype must be one of 'float32', 'float64', got 'float16'."),
    (lambda: Sequential(DENSE, random_state=-1), "Sequential: random_state must be an int >= 0, got -1."),
    (lambda: Sequential([layers.Dense(1, name="a"), layers.Dense(1, name="a")]),
     "Sequential: names of layers must differ, got 'a' twice."),
    (lambda: Sequential(DENSE).build((0,)), "Sequential: input_shape must be an int >= 1"),
    (lambda: Sequential(DENSE).predict(X), "Sequential: the model must be built first"),
    (lambda: Sequential([layers.Conv2D(2, 3)]).build((5,)),
     "Conv2D: the input must have the shape (height, width, channels), got (5,). (layer 'conv2d_0' after the input"),
    (lambda: built().predict(X[:, :4]), "Sequential: X must have the shape (n, 5), got (6, 4)."),
    (lambda: built().predict(X[:0]), "Sequential: X must have at least one row, got the shape (0, 5)."),
    (lambda: built().predict(3.0), "Sequential: X must have the shape (n, 5), got ()."),
    (lambda: built().predict(NAN), "Sequential: X must be finite, got NaN."),
    (lambda: built().predict(X * np.inf), "Sequential: X must be finite, got "),
    (lambda: built().predict(X * 1e60), "Sequential: X must fit into float32, got "),
    (lambda: built().predict(X.astype(str)), "Sequential: X must be an array of numbers, got dtype <U"),
    (lambda: built().predict(X.astype(complex)), "Sequential: X must be an array of numbers, got dtype complex128."),
    (lambda: built().evaluate(X, Y[:5], loss="log_loss"), "log_loss: X and y must have as many rows, got 6 and (5,)."),
    (lambda: built().evaluate(X, Y + 5, loss="log_loss"), "log_loss: y must hold class codes 0 .. 2, got values"),
    (lambda: built().evaluate(X, Y + 0.5, loss="log_loss"), "log_loss: y must hold class codes 0 .. 2, got values"),
    (lambda: built().evaluate(X, np.ones((6, 3)), loss="log_loss"), "log_loss: the probabilities in a row of y"),
    (lambda: built().evaluate(X, np.ones((6, 2)), loss="log_loss"), "log_loss: y must have the shape (6,)"),
    (lambda: built().evaluate(X, Y, loss="squared_error"), "squared_error: y must have the shape (6, 3)"),
    (lambda: built().evaluate(X, X[:, :3] * np.nan, loss="squared_error"), "squared_error: y must be finite, got NaN."),
    (lambda: built().evaluate(X, X[:, :3] * 9, loss="binary_log_loss"), "binary_log_loss: y must be in [0, 1]"),
    (lambda: built().evaluate(X, Y.astype(str), loss="log_loss"), "log_loss: y must be an array of numbers"),
    (lambda: built().evaluate(X, Y, loss="squares"),
     "Sequential: loss must be one of squared_error, absolute_error, huber, quantile, poisson, log_loss, "
     "binary_log_loss, hinge"),
    (lambda: built().evaluate(X, Y, loss=3), "Sequential: loss must be one of"),
    (lambda: built().evaluate(X, Y, loss="log_loss", sample_weight=[1, 2]),
     "Sequential: sample_weight must have the shape (6,), got (2,)."),
    (lambda: built().evaluate(X, Y, loss="log_loss", sample_weight=-np.ones(6)),
     "Sequential: sample_weight must be >= 0, got -1.0."),
    (lambda: built().evaluate(X, Y, loss="log_loss", sample_weight=np.zeros(6)),
     "Sequential: sample_weight must not be zero for every row."),
    (lambda: built().loss_and_grad(X, Y, loss="log_loss", theta=np.zeros(3)),
     "Sequential: theta must have the shape (75,), got (3,)."),
    (lambda: built().predict(X, n_threads=0), "Sequential: n_threads must be an int >= 1, got 0."),
    (lambda: built().predict(X, batch_size=0), "Sequential: batch_size must be an int >= 1, got 0."),
    (lambda: Sequential([layers.Dense(3, "softmax")]).build(5).evaluate(X, Y, loss="log_loss"),
     "log_loss: the last layer must give raw outputs, since the loss applies softmax itself; drop"),
    (lambda: Sequential([layers.Dense(3), layers.Activation("sigmoid")]).build(5).evaluate(
        X, X[:, :3], loss="binary_log_loss"), "binary_log_loss: the last layer must give raw outputs"),
])
def test_bad_input(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value).startswith(message)


def built():
    return Sequential(DENSE, random_state=0).build(5)
