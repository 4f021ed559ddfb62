"""One fit at a time: of a model, of an estimator, and with a callback."""
import copy
import functools
import pickle
import threading

import numpy as np
import pytest
from small_estimators import EVERY, problem, small
from small_fits import METHODS, X, Y, fit, made

from ldl_cy import Sequential, callbacks, layers
from ldl_cy._engine.process import Exclusive

MODEL = "Sequential: another fit of this model is running."


def in_another_thread(action):
    """What an action raises in a thread of its own, as a string; "" if nothing."""
    said = [""]

    def run():
        try:
            action()
        except Exception as error:
            said[0] = f"{type(error).__name__}: {error}"

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return said[0]


def refusal(action, in_thread):
    """What an action raises, a RuntimeError, here or in a thread of its own, as a string."""
    if in_thread:
        return in_another_thread(action)
    with pytest.raises(RuntimeError) as error:
        action()
    return f"RuntimeError: {error.value}"


CHANGES = {
    "fit": lambda model: fit(model, epochs=1), "reset": lambda model: model.reset(),
    "build": lambda model: model.build(7), "adopt": lambda model: model.adopt(made().build(5).network),
    "append": lambda model: model.append(layers.Dense(1, name="last")), "pop": lambda model: model.pop(),
    "freeze": lambda model: model.freeze(), "unfreeze": lambda model: model.unfreeze(),
    "load_weights": lambda model: model.load_weights({}, strict=False)}


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", ["adam", "ema", "cg", "lbfgs", "lm", "batches"])
def test_what_changes_a_model_is_refused_during_a_fit(method, change, threads):
    """In a callback and in other threads; the fit gives the bits of one that was not asked."""
    def ask(model, logs):
        said.append(refusal(lambda: CHANGES[change](model), threads))
        model.build(5)                      # changes nothing
        again = pickle.loads(pickle.dumps(copy.deepcopy(model)))
        np.testing.assert_array_equal(again.theta, model.theta)

    said, found = [], []
    for watchers in ((), ask):
        model = made()
        if method == "batches":
            model.fit([(X[:40], Y[:40]), (X[40:], Y[40:])], loss="squared_error", epochs=3, callbacks=watchers)
        else:
            fit(model, watchers, optimizer=METHODS[method])
        found.append(model.theta)
    assert said == [f"RuntimeError: {MODEL}"] * 3
    np.testing.assert_array_equal(*found)
    for change in CHANGES.values():         # and it is free again
        change(model)


def test_weights_may_be_set_in_a_callback():
    def double(model, logs):
        model.theta = 2 * model.theta

    one, parts = made(), made()
    fit(one, double, epochs=2)
    for _ in range(2):
        fit(parts, epochs=1)
        parts.theta = 2 * parts.theta
    np.testing.assert_array_equal(one.theta, parts.theta)


def test_a_fit_that_fails_frees_its_model_and_its_callbacks():
    model, watcher = made(), callbacks.EarlyStopping("loss", 99)
    for bad in (lambda model, logs: 1 / 0, "callback"):
        with pytest.raises((ZeroDivisionError, TypeError)):
            fit(model, [watcher, bad])
    with pytest.raises(ValueError, match="X must have"):
        model.fit(X[:, :2], Y, loss="squared_error", callbacks=watcher)
    fit(model, watcher)


WATCHERS = {
    "ReduceOnPlateau": lambda folder: callbacks.ReduceOnPlateau("loss"),
    "EarlyStopping": lambda folder: callbacks.EarlyStopping("loss", 99),
    "Checkpoint": lambda folder: callbacks.Checkpoint(folder / "m"),
    "CSVLogger": lambda folder: callbacks.CSVLogger(folder / "log.csv"),
    "History": lambda folder: callbacks.History(), "ProgressBar": lambda folder: callbacks.ProgressBar(),
    "TerminateOnNaN": lambda folder: callbacks.TerminateOnNaN()}


@pytest.mark.parametrize("estimator", [False, True])
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("name", WATCHERS)
def test_a_callback_serves_one_fit_at_a_time(name, threads, estimator, tmp_path):
    """Another fit with it is refused before any work, and possible afterwards."""
    def second(model, logs):
        if estimator:
            est = small("MLPRegressor", max_iter=1, callbacks=[watcher])
            ask = functools.partial(est.fit, *problem(est))
        else:
            other = made()
            ask = functools.partial(fit, other, watcher, epochs=1)
        said.append(refusal(ask, threads))
        assert not hasattr(est, "model_") if estimator else other.input_shape is None

    watcher, said = WATCHERS[name](tmp_path), []
    plain = fit(made(), epochs=2)
    history = fit(made(), [watcher, second], epochs=2)
    assert said == [f"RuntimeError: {name}: another fit with this callback is running."] * 2
    assert history.history == plain.history
    fit(made(), [watcher], epochs=2)


def test_one_object_twice_in_a_fit():
    watcher = callbacks.History()
    fit(made(), [watcher, watcher], epochs=2)
    assert watcher.epoch == [1, 1, 2, 2]


@pytest.mark.filterwarnings("ignore:.*converge")
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("solver", ["adam", "lbfgs", "cg"])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_an_estimator_is_fitted_once_at_a_time(name, solver, threads):
    def again(model, logs):
        for ask in (lambda: est.fit(A, b), lambda: est.set_params(warm_start=True).fit(A, b),
                    *([lambda: est.partial_fit(A, b)] if solver == "adam" else []), lambda: est.model_.reset()):
            said.append(refusal(ask, threads))

    said, expected = [], small(name, solver=solver, max_iter=2)
    A, b = problem(expected)
    expected.fit(A, b)
    est = small(name, solver=solver, max_iter=2, callbacks=[again])
    est.fit(A, b)
    assert set(said) == {f"RuntimeError: {name}: another fit of this estimator is running.", f"RuntimeError: {MODEL}"}
    np.testing.assert_array_equal(est.model_.theta, expected.model_.theta)
    assert est.loss_curve_ == expected.loss_curve_ and est.n_iter_ == expected.n_iter_
    est.set_params(callbacks=None).fit(A, b)


def test_every_estimator_takes_itself():
    for name in EVERY:
        est = small(name, max_iter=1)
        with Exclusive([est], "of this estimator"), pytest.raises(RuntimeError, match=f"{name}: another fit of this"):
            est.fit([[1.0]], [1.0])
        assert not hasattr(est, "model_")


def test_an_object_is_free_after_an_exception_in_the_middle_of_several():
    one, other = Sequential([layers.Dense(1)]), Sequential([layers.Dense(1)])
    with Exclusive([other], "of this model"):
        with pytest.raises(RuntimeError, match=MODEL), Exclusive([one, other], "of this model"):
            pass
        with Exclusive([one, one], "of this model"):
            pass
    with Exclusive([one, other], "of this model"):
        pass
