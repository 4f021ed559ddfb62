"""Models that change while others use them, and models whose arrays came from read-only memory."""
import copy
import io
import pickle
import sys
import threading

import joblib
import numpy as np
from sklearn.multioutput import MultiOutputRegressor
from small_estimators import EVERY, problem, small
from strangers import run, run_all

from ldl_cy import MLPRegressor, Sequential, callbacks, layers, optimizers

STACK = [layers.Dense(8, "tanh"), layers.BatchNorm(), layers.Dense(1)]


def data(n=40, n_in=5):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_in))
    return X, X[:, :1] * X[:, 1:2]


def trained(optimizer, stack):
    X, y = data()
    model = Sequential(stack, random_state=0)
    model.fit(X, y, loss="squared_error", optimizer=optimizer, epochs=2)
    return model


# -- arrays in read-only memory -------------------------------------------------------------------------------------


def loaded(saved, how, folder="."):
    """The object again, its arrays read-only where that is possible."""
    if how == "joblib":
        joblib.dump(saved, f"{folder}/saved")
        return joblib.load(f"{folder}/saved", mmap_mode="r")
    if how == "buffers":
        buffers = []
        text = pickle.dumps(saved, protocol=5, buffer_callback=buffers.append)
        return pickle.loads(text, buffers=[bytes(buffer.raw()) for buffer in buffers])
    return copy.deepcopy(saved)


HOWS = ["joblib", "buffers", "deepcopy"]


def continued_model(how, what):
    """What a loaded model then has, as the one that was never saved."""
    X, y = data()
    optimizer = {"cg": "cg", "ema": optimizers.SGD(0.1, 0.9, ema=0.9)}.get(what, "adam")
    model = trained(optimizer, [layers.Dense(8, "tanh"), layers.Dense(1)] if what == "cg" else STACK)
    for one in (model, again := loaded(model, how)):
        if what == "theta":
            one.theta = one.theta * 2
            one.parameters["dense_0.bias"][:] = 1
        elif what == "reset":
            one.reset()
        best = callbacks.EarlyStopping("loss", 1, mode="max", restore_best_weights=True)
        one.fit(X, y, loss="squared_error", optimizer=optimizer, epochs=3, callbacks=best if what == "best" else ())
    np.testing.assert_array_equal(again.theta, model.theta)
    np.testing.assert_array_equal(again.network.statistics, model.network.statistics)


def test_a_loaded_model_continues():
    whats = ("fit", "theta", "reset", "best", "ema", "cg")
    for ended in run_all(continued_model, [(how, what) for what in whats for how in HOWS]):
        ended.result()


def continued_estimator(name, how, **settings):
    """Partial fits, and warm starts with early stopping, whose best weights and orders are arrays too."""
    for options in ({}, {"warm_start": True, "early_stopping": True, "solver": "sgd", "max_iter": 3}):
        est = small(name, **{"max_iter": 2, **options, **settings})
        X, y = problem(est)
        if name.startswith("RNN"):
            X = X[:, :, None]
        elif name.startswith("CNN"):
            X = X.reshape(-1, 2, 3, 1)
        if options:
            est.fit(X, y)
        else:
            est.partial_fit(X, y, **({"classes": np.unique(y)} if name.endswith("Classifier") else {}))
        for one in (est, again := loaded(est, how)):
            for _ in range(2):
                one.fit(X, y) if options else one.partial_fit(X, y)
        np.testing.assert_array_equal(again.model_.theta, est.model_.theta)


def test_a_loaded_estimator_continues():
    for ended in run_all(continued_estimator, [(name, how) for name in EVERY for how in HOWS]):
        ended.result()


def partial_fits_in_processes():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 500)), rng.standard_normal((200, 2))
    est = MultiOutputRegressor(MLPRegressor(hidden_layer_sizes=(200,), random_state=0), n_jobs=2)
    alone = MultiOutputRegressor(MLPRegressor(hidden_layer_sizes=(200,), random_state=0))
    for one in (est, alone):
        one.partial_fit(X, Y)
        one.partial_fit(X, Y)           # in a worker, to which the arrays of the first come as read-only memory
    np.testing.assert_array_equal(est.predict(X), alone.predict(X))


def test_partial_fits_in_joblibs_processes():
    run(partial_fits_in_processes).result()


# -- what was made from a model that is another one now ---------------------------------------------------------------


def used_after(change):
    """Functions of a model keep the network from which they were made: right results, or sentences."""
    model = Sequential([layers.GRU(4), layers.Dense(1)], random_state=0).build((6, 3))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 6, 3)), rng.standard_normal((20, 1))
    model.fit(X, y, loss="squared_error", epochs=1)
    model.predict(X[:1])
    f, network, theta, predictor = (model.objective(X, y, loss="squared_error", training=True), model.network,
                                    model.theta.copy(), model.network.fast_path.predictor)
    expected = f(theta), network.fast_path.predictor.predict(X[:1])
    before = network
    if change == "build":
        model.build((60, 30))
    elif change == "reset":
        model.reset()
    elif change == "astype":
        network = network.astype("float64").astype("float32")
    elif change == "with_steps":
        network = network.with_steps(60).with_steps(6)
    else:
        model.save("m")
        model = Sequential.load("m")
    for value, grad in (f(theta), f(None)):
        assert value == expected[0][0]
        np.testing.assert_array_equal(grad, expected[0][1])
    np.testing.assert_array_equal(predictor.predict(X[:1]), expected[1])
    np.testing.assert_array_equal(before.theta, theta)
    if change == "build":
        try:
            f(model.theta)
        except ValueError as error:
            assert str(error).startswith("Sequential: theta must have the shape")
        else:
            raise AssertionError("weights of another network were taken")
    else:
        f(model.theta)
    shape = model.input_shape
    model.jacobian(np.zeros((2, *shape)))
    model.fit(np.zeros((3, *shape)), y[:3], loss="squared_error", epochs=1)
    assert model.predict(np.zeros((2, *shape))).shape == (2, 1)


def test_functions_of_a_model_that_has_changed():
    for ended in run_all(used_after, [[c] for c in ("build", "reset", "astype", "with_steps", "load")]):
        ended.result()


# -- what changes a model while it is read ----------------------------------------------------------------------------


def read_while_changed(how, seconds=1.0):
    """One thread builds, fits and resets a model: what the others read belongs together."""
    sys.setswitchinterval(1e-6)
    X = {n: np.ones((3, n)) for n in (5, 9)}
    model, ended, faults = Sequential(STACK, random_state=0).build(5), threading.Event(), []
    rules = [optimizers.SGD(), optimizers.Adam(), optimizers.SGD(0.1, ema=0.9)]

    def change():
        try:
            for i in range(10**6):
                if ended.is_set():
                    return
                n = (5, 9)[i % 2] if how == "build" else 5
                model.build(n)
                model.fit(X[n], np.ones((3, 1)), loss="squared_error", optimizer=rules[i % 3], epochs=1)
                model.reset()
        except BaseException as error:
            faults.append(repr(error))

    def read(action):
        try:
            while not ended.is_set():
                action()
        except BaseException as error:
            faults.append(f"{action.__name__}: {error!r}")

    def saves():
        saved = io.BytesIO()
        joblib.dump(model, saved)
        check(joblib.load(io.BytesIO(saved.getvalue())))

    def copies():
        check(copy.deepcopy(model))

    def check(again):           # loading has compared the shapes of all arrays, and what the optimizer can have
        again.fit(X[again.input_shape[0]], np.ones((3, 1)), loss="squared_error", optimizer=rules[0], epochs=1)

    def predicts():
        for n in (5, 9):
            try:
                assert model.predict(X[n]).shape == (3, 1)
                model.evaluate(X[n], np.ones((3, 1)), loss="squared_error")
                model.loss_and_grad(X[n], np.ones((3, 1)), loss="squared_error")
                model.jacobian(X[n])
            except ValueError as error:
                assert str(error).startswith("Sequential: X must have the shape")

    threads = [threading.Thread(target=change), *(
        threading.Thread(target=read, args=(action,)) for action in (saves, copies, predicts))]
    for thread in threads:
        thread.start()
    ended.wait(seconds)
    ended.set()
    for thread in threads:
        thread.join()
    return faults


def test_what_is_read_while_a_model_changes():
    for ended in run_all(read_while_changed, [["build"], ["fit"]]):
        assert ended.result() == []


def exchanged_in_a_callback(what, optimizer):
    """The fit ends with a sentence before compiled code reads what is not there."""
    def change(model, logs):
        state = model.training_state
        if model.epoch == 2:
            if what == "slots":
                state.optimizer.slots = np.zeros((2, 0), "float32")
            elif what == "begin":
                state.begin_optimizer(state.optimizer.name, np.zeros((0, 3)))
            elif what == "restore":
                state.restore(other.training_state.snapshot())
            elif what == "network":
                model.network.restore(other.network.snapshot())
            elif what == "adopt":
                model.adopt(Sequential(net).build(9).network)
            elif what == "theta":
                model.network.theta = np.zeros(3)
            elif what == "statistics":
                model.network.statistics = np.zeros(0)
            elif what == "build":
                model.build(9)
            else:
                model.reset()

    X, y = data()
    other = Sequential([layers.Dense(1)], random_state=0)
    other.fit(X, y, loss="squared_error", epochs=1)
    net = [layers.Dense(40, "tanh"), layers.Dense(1)]
    model = Sequential(net, random_state=0).build(5)
    error = None
    rows = [(X, y)] if optimizer == "batches" else X
    rule = {"gd": optimizers.GD(line_search=True), "batches": "adam"}.get(optimizer, optimizer)
    try:
        model.fit(rows, None if optimizer == "batches" else y, loss="squared_error", optimizer=rule, epochs=4,
                  callbacks=change)
    except (RuntimeError, ValueError, AttributeError) as raised:
        error = str(raised)
    assert error is not None and model.epoch == 2
    model.fit(X, y, loss="squared_error", epochs=1)
    return error


WHAT = {
    "slots": "Sequential: the model was built, reset or restored to another state during its fit.",
    "begin": "Sequential: the model was built, reset or restored to another state during its fit.",
    "restore": "TrainingState: saved must be a snapshot with this network and this optimizer, ",
    "network": "Network: saved must be a snapshot of this network, ", "theta": "property 'theta' of 'Network'",
    "statistics": "property 'statistics' of 'Network'", **dict.fromkeys(
        ("adopt", "build", "reset"), "Sequential: another fit of this model is running.")}


def test_exchanges_in_a_callback():
    cases = [(what, optimizer) for optimizer in ("adam", "batches", "lbfgs", "cg", "gauss_newton_cg", "gd", "lm")
             for what in WHAT]
    for case, ended in zip(cases, run_all(exchanged_in_a_callback, cases)):
        assert ended.result().startswith(WHAT[case[0]]), (case, ended.value)
