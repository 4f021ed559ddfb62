"""Fits: closed forms, the order of rows, threads, interruption, bad input."""
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from ldl_cy import Sequential, callbacks, layers, losses, optimizers
from ldl_cy.state import TrainingState

NET = [layers.Dense(16, "tanh"), layers.Dropout(0.2), layers.Dense(3)]


def data(n=75, n_in=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_in))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


# -- against closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_descent_reaches_least_squares(weighted):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (100, 1))
    y = 3 * X + 2 + rng.uniform(-0.5, 0.5, (100, 1))
    w = rng.uniform(0, 2, 100) if weighted else np.ones(100)
    model = Sequential([layers.Dense(1)], "float64", 0)
    history = model.fit(X, y, loss="squared_error", optimizer=optimizers.GD(0.3, tol=1e-10), epochs=5000,
                        sample_weight=w if weighted else None)
    root = np.sqrt(w)[:, None]
    expected = np.linalg.lstsq(root * np.c_[X, np.ones(100)], root * y, rcond=None)[0].ravel()
    np.testing.assert_allclose(model.theta, expected, atol=1e-9)
    assert history.stop_reason == "converged" and len(history.history["loss"]) < 5000


def test_alpha_is_ridge():
    """Minimum of mean (y - Xw - b)^2 + alpha/2 w^2/n: Ridge with alpha/2, bias free of it."""
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
    model = Sequential([layers.Dense(1)], "float64", 0)
    model.fit(X, y, loss="squared_error", optimizer=optimizers.GD(0.1, tol=1e-11), epochs=20000, alpha=100.0)
    ridge = Ridge(alpha=50.0).fit(X, y)
    np.testing.assert_allclose(model.theta, [*ridge.coef_, ridge.intercept_], atol=1e-8)
    loss = model.fit(X, y, loss="squared_error", optimizer=optimizers.GD(0.1, tol=0), epochs=1, alpha=100.0)
    w = model.theta[:-1]
    assert loss.history["loss"][0] == pytest.approx(
        np.mean((y - ridge.predict(X)) ** 2) + 0.5 * 100 * w @ w / len(y), rel=1e-9)


def test_epoch_is_a_pass_over_every_row_once():
    """One epoch of SGD on linear data equals NumPy in the order of the documented stream."""
    from ldl_cy._engine.rng import PERMUTATION, Stream

    X, _ = data(50)
    y = X @ np.arange(1.0, 6) + 1
    model = Sequential([layers.Dense(1)], "float64", 7).build(5)
    theta = model.theta.copy()
    model.fit(X, y, loss="squared_error", optimizer=optimizers.SGD(0.01), batch_size=8, epochs=2)
    A = np.c_[X, np.ones(50)]
    for epoch in range(2):
        order = Stream(7, PERMUTATION, epoch).permutation(50)
        assert sorted(order) == list(range(50))
        for start in range(0, 50, 8):
            rows = order[start:start + 8]
            theta = theta - 0.01 * 2 * A[rows].T @ (A[rows] @ theta - y[rows]) / len(rows)
    np.testing.assert_allclose(model.theta, theta, atol=1e-12)


# -- what changes nothing, and threads -------------------------------------------------------------------------


def test_watching_changes_nothing():
    X, y = data()
    results = []
    for options in ({}, {"callbacks": [lambda model, logs: None]}, {"validation_data": (X, y)}, {"n_threads": 2},
                    {"n_threads": 5}):
        model = Sequential(NET, random_state=1)
        model.fit(X, y, loss="log_loss", optimizer="adam", epochs=4, **options)
        results.append(model.theta)
    for theta in results[1:]:
        np.testing.assert_array_equal(theta, results[0])


def test_threads_on_a_network_large_enough_to_share():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 12, 12, 3)).astype("float32"), rng.integers(0, 4, 300)
    stack = [layers.Conv2D(8, 3, padding="same", activation="relu"), layers.MaxPool2D(2), layers.Flatten(),
             layers.Dropout(0.3), layers.Dense(4)]
    results = []
    for threads in (1, 2, 5):
        model = Sequential(stack, random_state=1)
        history = model.fit(X, y, loss="log_loss", optimizer="adam", epochs=2, batch_size=128, n_threads=threads)
        results.append((model.theta, history.history["loss"], model.predict(X, n_threads=threads)))
    with model.network.workspace(128, 2, training=True, loss_size=1) as ws:
        assert ws.plan.lanes > 1 and ws.flops * 128 > ws.share_above
    for other in results[1:]:
        for a, b in zip(other, results[0]):
            np.testing.assert_array_equal(a, b)


def test_shuffle_and_seed():
    X, y = data()
    thetas = []
    for options in ({}, {"shuffle": False}):
        model = Sequential(NET, random_state=1)
        model.fit(X, y, loss="log_loss", epochs=2, **options)
        thetas.append(model.theta)
    assert (thetas[0] != thetas[1]).any()
    model.reset()
    assert model.epoch == 0
    model.fit(X, y, loss="log_loss", epochs=2, shuffle=False)
    np.testing.assert_array_equal(model.theta, thetas[1])


def test_weights_are_repetitions():
    X, y = data(30)
    repeats = np.random.default_rng(1).integers(0, 3, 30)
    first, second = (Sequential([layers.Dense(4, "tanh"), layers.Dense(3)], "float64", 1) for _ in range(2))
    first.fit(X, y, loss="log_loss", optimizer=optimizers.GD(0.1, tol=0), epochs=20, sample_weight=repeats)
    second.fit(np.repeat(X, repeats, 0), np.repeat(y, repeats), loss="log_loss",
               optimizer=optimizers.GD(0.1, tol=0), epochs=20)
    np.testing.assert_allclose(first.theta, second.theta, atol=1e-12)


def test_batch_without_weight_makes_no_update():
    X, y = data(8)
    model = Sequential([layers.Dense(3)], "float64", 1)
    weights = np.r_[np.ones(4), np.zeros(4)]
    model.fit(X, y, loss="log_loss", batch_size=4, epochs=1, shuffle=False, sample_weight=weights)
    other = Sequential([layers.Dense(3)], "float64", 1)
    other.fit(X[:4], y[:4], loss="log_loss", batch_size=4, epochs=1, shuffle=False)
    np.testing.assert_array_equal(model.theta, other.theta)


def test_frozen_layer_keeps_its_weights():
    X, y = data()
    model = Sequential([layers.Dense(8, "tanh", trainable=False), layers.Dense(3)], random_state=1).build(5)
    before = {k: v.copy() for k, v in model.parameters.items()}
    model.fit(X, y, loss="log_loss", optimizer=optimizers.Adam(weight_decay=0.1), epochs=3, alpha=1.0)
    for name, value in model.parameters.items():
        assert (value == before[name]).all() == name.startswith("dense_0")


def test_validation_callbacks_and_stopping():
    X, y = data()
    model = Sequential(NET, random_state=1)
    history = model.fit(X, y, loss="log_loss", epochs=3, validation_split=0.2)
    assert history.history["val_loss"][-1] == pytest.approx(
        model.evaluate(X[-15:], y[-15:], loss="log_loss"), rel=1e-12)
    seen = []

    class Watch(callbacks.Callback):
        def on_fit_begin(self, model, epochs):
            seen.append(("begin", epochs))

        def on_epoch_end(self, model, epoch, logs):
            seen.append((epoch, sorted(logs)))
            return epoch == 5

        def on_fit_end(self, model):
            seen.append("end")

    history = model.fit(X, y, loss="log_loss", epochs=9, callbacks=[Watch()])
    assert seen == [("begin", 9), (4, ["loss"]), (5, ["loss"]), "end"]
    assert history.stop_reason == "callback" and model.epoch == 5

    def fail(model, logs):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.fit(X, y, loss="log_loss", epochs=2, callbacks=fail)
    assert model.epoch == 6 and np.isfinite(model.predict(X)).all()


def test_progress_bar(capsys):
    X, y = data()
    Sequential(NET, random_state=1).fit(X, y, loss="log_loss", epochs=2, verbose=1)
    err = capsys.readouterr().err
    assert "2/2" in err and "loss=" in err


# -- when things go wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [optimizers.SGD(1e30), optimizers.GD(1e30), optimizers.SGD(1e12, momentum=0.9)])
def test_non_finite_loss_keeps_the_last_finite_epoch(optimizer):
    X, _ = data()
    y = X[:, :1] * 1e10
    model = Sequential([layers.Dense(4, "relu"), layers.Dense(1)], random_state=1)
    kept = []
    with pytest.raises(FloatingPointError, match=r"non-finite in epoch \d+; the weights are those of epoch \d+"):
        model.fit(X, y, loss="squared_error", optimizer=optimizer, epochs=50,
                  callbacks=[lambda m, logs: kept.append(m.theta.copy())])
    assert np.isfinite(model.theta).all()
    assert model.epoch == len(kept)
    if kept:
        np.testing.assert_array_equal(model.theta, kept[-1])
    else:
        np.testing.assert_array_equal(model.theta, Sequential(model.layers, random_state=1).build(5).theta)


def test_fit_is_exclusive():
    X, y = data(200)
    model = Sequential(NET, random_state=1)
    errors = []

    def second(model, logs):
        try:
            model.fit(X, y, loss="log_loss", epochs=1)
        except RuntimeError as error:
            errors.append(str(error))

    model.fit(X, y, loss="log_loss", epochs=1, callbacks=second)
    assert errors == ["Sequential: another fit of this model is running."]


def test_two_fits_in_two_threads():
    X, y = data(200)
    alone = Sequential(NET, random_state=1)
    alone.fit(X, y, loss="log_loss", epochs=20)
    models = [Sequential(NET, random_state=1) for _ in range(3)]
    threads = [threading.Thread(target=m.fit, args=(X, y), kwargs={"loss": "log_loss", "epochs": 20}) for m in models]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for model in models:
        np.testing.assert_array_equal(model.theta, alone.theta)


def test_blas_threads_are_restored():
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(2, "blas"):
        X, y = data()
        seen = []
        Sequential(NET, random_state=1).fit(
            X, y, loss="log_loss", epochs=1, callbacks=lambda m, logs: seen.append(
                [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]))
        assert set(seen[0]) == {1}
        assert {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"} == {2}


INTERRUPTED = """
import signal
import numpy as np
from ldl_cy import Sequential, layers
rng = np.random.default_rng(0)
X, y = rng.standard_normal((60000, 64)).astype("float32"), rng.integers(0, 10, 60000)
model = Sequential([layers.Dense(512, "relu"), layers.Dense(512, "relu"), layers.Dense(10)], random_state=0)
model.build(64)
signal.signal(signal.SIGINT, signal.default_int_handler)        # a job in the background begins with it ignored
try:
    print("ready", flush=True)
    model.fit(X, y, loss="log_loss", epochs=10000, batch_size=%s, n_threads=%d)
except KeyboardInterrupt:
    assert np.isfinite(model.theta).all() and model.predict(X[:5]).shape == (5, 10)
    model.fit(X[:64], y[:64], loss="log_loss", epochs=1)
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process there")
@pytest.mark.parametrize(("batch_size", "threads"), [("32", 1), ("'full'", 1), ("1000", 2)])
def test_ctrl_c_leaves_a_usable_model(batch_size, threads, tmp_path):
    # away from the source folder, which would be imported instead of the installed package
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED % (batch_size, threads)],
                               stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.0)             # until it is well inside the fit
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and out == "interrupted\n"


X6, Y6 = data(6)


@pytest.mark.parametrize(("options", "message"), [
    ({"X": X6[:, :4]}, "Sequential: X must have the shape (n, 5), got (6, 4)."),
    ({"X": X6 * np.nan}, "Sequential: X must be finite, got NaN."),
    ({"y": Y6[:5]}, "log_loss: X and y must have as many rows"),
    ({"y": Y6 + 7}, "log_loss: y must hold class codes 0 .. 2"),
    ({"loss": "squares"}, "Sequential: loss must be one of"),
    ({"optimizer": "adamm"}, "Sequential: optimizer must be one of gd, sgd, adam"),
    ({"optimizer": 3}, "Sequential: optimizer must be one of"),
    ({"epochs": 0}, "Sequential: epochs must be an int >= 1, got 0."),
    ({"epochs": 1.5}, "Sequential: epochs must be an int >= 1, got 1.5."),
    ({"batch_size": 0}, "Sequential: batch_size must be an int >= 1, got 0."),
    ({"batch_size": "some"}, "Sequential: batch_size must be an int >= 1, 'auto' or 'full', got 'some'."),
    ({"optimizer": "gd", "batch_size": 3}, "Sequential: batch_size must be 'auto' or 'full' with GD"),
    ({"alpha": -1}, "Sequential: alpha must be a number >= 0, got -1."),
    ({"alpha": np.nan}, "Sequential: alpha must be a number >= 0, got nan."),
    ({"shuffle": 1}, "Sequential: shuffle must be True or False, got 1."),
    ({"sample_weight": np.ones(5)}, "Sequential: sample_weight must have the shape (6,), got (5,)."),
    ({"validation_split": 1.0}, "Sequential: validation_split must be a number >= 0 and < 1, got 1.0."),
    ({"X": X6[:1], "y": Y6[:1], "validation_split": 0.9},
     "Sequential: validation_split must leave a row to train on, got 0.9 of 1."),
    ({"validation_data": (X6,)}, "Sequential: validation_data must be (X, y)"),
    ({"validation_data": (X6, Y6), "validation_split": 0.1}, "Sequential: validation_split must be 0"),
    ({"validation_data": (X6[:, :3], Y6)}, "Sequential: validation_data must have the shape (n, 5), got (6, 3)."),
    ({"callbacks": 3}, "Sequential: callbacks must be a list of callbacks or functions, got 3."),
    ({"callbacks": [3]}, "Sequential: callbacks must be callbacks or functions, got 3."),
    ({"n_threads": 0}, "Sequential: n_threads must be an int >= 1, got 0."),
])
def test_bad_input_changes_nothing(options, message):
    model = Sequential(NET, random_state=1).build(5)
    before = model.theta.copy()
    given = {"X": X6, "y": Y6, "loss": "log_loss", **options}
    with pytest.raises((TypeError, ValueError)) as error:
        model.fit(given.pop("X"), given.pop("y"), **given)
    assert str(error.value).startswith(message)
    np.testing.assert_array_equal(model.theta, before)
    assert model.epoch == 0
    if "X" not in options and "validation_data" not in options:
        unbuilt = Sequential(NET, random_state=1)
        given = {"X": X6, "y": Y6, "loss": "log_loss", **options}
        with pytest.raises((TypeError, ValueError)):
            unbuilt.fit(given.pop("X"), given.pop("y"), **given)
        assert unbuilt.input_shape is None


@pytest.mark.parametrize(("make", "message"), [
    (lambda: losses.LogLoss(1.0), "LogLoss: label_smoothing must be a number >= 0 and < 1, got 1.0."),
    (lambda: losses.SquaredError(scale=0), "SquaredError: scale must be a number > 0, got 0."),
])
def test_bad_settings(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value).startswith(message)


# -- on real data ---------------------------------------------------------------------------------------------------


def split(load):
    X, y = load(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, random_state=0, stratify=None if load is load_diabetes else y)


@pytest.mark.parametrize(("load", "threshold"), [(load_iris, 0.93), (load_breast_cancer, 0.95), (load_digits, 0.96)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classification_of_real_data(load, threshold, dtype):
    X, X_test, y, y_test = split(load)
    scaler = StandardScaler().fit(X)
    model = Sequential([layers.Dense(64, "relu"), layers.Dense(len(np.unique(y)))], dtype, 0)
    model.fit(scaler.transform(X), y, loss="log_loss", optimizer=optimizers.Adam(0.01), epochs=40)
    assert np.mean(model.predict(scaler.transform(X_test)).argmax(1) == y_test) >= threshold


def test_regression_of_real_data():
    X, X_test, y, y_test = split(load_diabetes)
    scaler = StandardScaler().fit(X)
    centre, spread = y.mean(), y.std()
    model = Sequential([layers.Dense(16, "tanh"), layers.Dense(1)], random_state=0)
    model.fit(scaler.transform(X), (y - centre) / spread, loss="squared_error", optimizer=optimizers.SGD(0.01, 0.9),
              epochs=20, alpha=1.0)
    error = model.predict(scaler.transform(X_test)).ravel() * spread + centre - y_test
    assert 1 - np.mean(error**2) / np.var(y_test) > 0.35


def test_a_penalty_that_overflows():
    """The weights are finite, the sum of their squares is not."""
    model = Sequential([layers.Dense(1)], dtype="float64", random_state=0).build((2,))
    theta = model.theta.copy()
    with pytest.raises(FloatingPointError, match="non-finite in epoch 2; the weights are those of epoch 1"):
        model.fit(np.ones((1, 2)), np.ones((1, 1)), loss="absolute_error",
                  optimizer=optimizers.Adam(1e300, clip_norm=1e-3), epochs=2, alpha=1e-3)
    assert np.isfinite(model.theta).all() and not np.array_equal(model.theta, theta)


# -- what changes during a fit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["codes", "lengths", "sparse"])
def test_validation_data_that_are_changed_during_a_fit(kind):
    """They were checked once: codes are clamped, columns that do not exist are skipped, lengths are the fit's own."""
    def data():
        rng = np.random.default_rng(0)
        X, y, lengths = rng.standard_normal((20, 5, 3)), rng.integers(0, 3, 20).astype(float), np.full(20, 4, np.int32)
        if kind == "lengths":
            return [layers.GRU(3), layers.Dense(3)], (X, y, None, lengths), lambda: lengths.fill(10**7), int
        if kind == "sparse":
            rows = sp.csr_array(X[:, 0] * (X[:, 1] > 0))
            return [layers.Dense(3)], (rows, y, None, None), lambda: rows.indices.fill(10**8), lambda: rows.data.fill(0)
        return [layers.Dense(3)], (X[:, 0], y, None, None), lambda: y.fill(1e9), lambda: y.fill(2)

    found = []
    for which in range(2):
        stack, given, *changes = data()
        _, (X, y, _, lengths), *_ = data()
        history = Sequential(stack, "float64", 0).fit(
            X, y, lengths=lengths, loss="log_loss", epochs=3, validation_data=given,
            callbacks=lambda model, logs, change=changes[which]: change() and None)
        found.append(history.history["val_loss"])
    assert found[0] == found[1] and len(found[0]) == 3


@pytest.mark.parametrize("what", ["begin", "slots", "optimizer"])
@pytest.mark.parametrize("optimizer", [
    optimizers.Adam(), optimizers.SGD(momentum=0.9), optimizers.SGD(ema=0.9), optimizers.ConjugateGradient()],
    ids=["adam", "sgd", "averages", "cg"])
def test_arrays_that_are_exchanged_during_a_fit(what, optimizer):
    """Compiled steps and methods trust them: the fit ends with a sentence."""
    def change(model, logs):
        state = model.training_state
        if model.epoch == 2:
            {"begin": lambda: state.begin_optimizer("", np.zeros((0, 3))),
             "slots": lambda: setattr(state.optimizer, "slots", np.zeros((2, 0), "float32")),
             "optimizer": lambda: setattr(state, "optimizer", TrainingState().optimizer)}[what]()

    model = Sequential([layers.Dense(4), layers.Dense(3)], random_state=0)
    with pytest.raises(RuntimeError, match="was built, reset or restored to another state during its fit"):
        model.fit(X6, Y6, loss="log_loss", optimizer=optimizer, epochs=4, callbacks=change)


def test_the_seed_is_the_models():
    model = Sequential([layers.Dense(1)], random_state=3)
    assert model.random_state == 3
    with pytest.raises(AttributeError):
        model.random_state = 9
