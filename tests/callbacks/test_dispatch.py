"""What a callback keeps from fit to fit, and what callbacks tell each other."""
import copy
import json

import numpy as np
import pytest
from small_estimators import problem, small
from small_fits import X, Y, fail, fit, made

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.callbacks import Callback, Checkpoint, EarlyStopping, ReduceOnPlateau


class Counter(Callback):
    """Counts epochs over all fits of a model."""

    def __init__(self, key="Counter"):
        self.key, self.begun = key, []

    @property
    def state_key(self):
        return self.key

    def on_fit_begin(self, model, epochs):
        self.epochs = 0

    def on_epoch_begin(self, model, epoch):
        self.begun.append(self.epochs)

    def on_epoch_end(self, model, epoch, logs):
        self.epochs += 1

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


def test_a_callback_continues_in_another_process(tmp_path):
    """Another object, another model: the state travels with the file, in the checkpoint of each epoch too."""
    model = made()
    fit(model, [Checkpoint(tmp_path / "m", keep=9), Counter()], epochs=3)
    for path, expected in ((tmp_path / "m", 3), (tmp_path / "m-000002", 2)):
        loaded, counter = Sequential.load(path), Counter()
        fit(loaded, counter, epochs=2)
        assert counter.begun == [expected, expected + 1]
        assert loaded.training_state.callbacks == {"Counter": {"epochs": expected + 2}}


def test_several_of_one_kind_have_a_state_each():
    """The second one with the same key gets a number."""
    model = made()
    first, second, other = Counter(), Counter(), Counter("mine")
    fit(model, first, epochs=2)
    fit(model, [first, second, other], epochs=1)
    assert model.training_state.callbacks == {
        "Counter": {"epochs": 3}, "Counter 2": {"epochs": 1}, "mine": {"epochs": 1}}
    fit(model, [Counter("mine"), first], epochs=1)
    assert model.training_state.callbacks == {
        "Counter": {"epochs": 4}, "Counter 2": {"epochs": 1}, "mine": {"epochs": 2}}


def test_two_plateau_callbacks_on_one_value_do_not_share_a_counter():
    """Neither improves by nine: the patience of two reduces after two epochs, that of three after
    three."""
    model, rates = made(), []
    watchers = [ReduceOnPlateau("loss", 0.5, 2, 9.0), ReduceOnPlateau("loss", 0.1, 3, 9.0)]
    fit(model, [*watchers, lambda model, logs: rates.append(model.training_state.rate_factor)], epochs=7)
    # the first epoch improves on infinity
    assert rates == pytest.approx([1, 1, 0.5, 0.05, 0.025, 0.025, 0.00125])


@pytest.mark.parametrize("how", ["save", "copy", "raise"])
@pytest.mark.parametrize("stop", range(2, 9))
def test_whatever_comes_after_a_callback_sees_its_state(how, stop, tmp_path):
    """A later callback that saves or copies the model, or raises: further fits give the bits of an undisturbed one."""
    def after(model, logs):
        if model.epoch == stop:
            taken.append({"save": lambda: model.save(tmp_path / "m"), "copy": lambda: copy.deepcopy(model),
                          "raise": fail}[how]())

    def plateau():
        return ReduceOnPlateau("loss", 0.5, 3, 9.0)

    taken, whole, model = [], made(), made()
    fit(whole, plateau(), epochs=12)
    if how == "raise":
        with pytest.raises(KeyError, match="mine"):
            fit(model, [plateau(), after], epochs=12)
    else:
        fit(model, [plateau(), after], epochs=12)
        model = Sequential.load(tmp_path / "m") if how == "save" else taken[0]
    fit(model, plateau(), epochs=12 - stop)
    np.testing.assert_array_equal(model.theta, whole.theta)
    assert model.training_state.callbacks == whole.training_state.callbacks


def test_a_key_that_looks_like_a_numbered_one():
    model = made()
    fit(model, [Counter("A"), Counter("A 2"), Counter("A")], epochs=1)
    assert model.training_state.callbacks == {"A": {"epochs": 1}, "A 2": {"epochs": 1}, "A 3": {"epochs": 1}}


def test_a_state_that_is_empty_again_is_dropped():
    class Forgets(Counter):
        def state_dict(self):
            return super().state_dict() if self.epochs < 2 else {}

    model = made()
    fit(model, Forgets(), epochs=1)
    assert model.training_state.callbacks == {"Counter": {"epochs": 1}}
    fit(model, Forgets(), epochs=1)
    assert model.training_state.callbacks == {}


def test_states_are_copies():
    class Keeps(Callback):
        def on_fit_begin(self, model, epochs):
            self.seen = []

        def on_epoch_end(self, model, epoch, logs):
            self.seen.append(epoch)

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    model, first, second = made(), Keeps(), Keeps()
    fit(model, first, epochs=2)
    first.seen.append("mine")
    fit(model, second, epochs=1)
    second.seen.append("mine")
    assert model.training_state.callbacks == {"Keeps": {"seen": [1, 2, 3]}}


@pytest.mark.parametrize("state", [[1], (1,), 3, "words", None, True])
def test_a_state_that_is_no_dict(state):
    """Refused at once: no file could be read again."""
    class Wrong(Counter):
        def state_dict(self):
            return state

    model = made()
    with pytest.raises(TypeError, match="Wrong: state_dict must return a dict, got "):
        fit(model, Wrong(), epochs=1)
    assert model.training_state.callbacks == {}


@pytest.mark.parametrize("key", [None, 5, 1.5, ["a"]])
def test_a_key_that_is_no_string(key):
    with pytest.raises(TypeError, match="Counter: state_key must be a str, got "):
        fit(made(), Counter(key), epochs=1)


def test_a_key_that_was_set():
    plain = Callback()
    assert plain.state_key == "Callback"
    plain.state_key = "mine"
    assert plain.state_key == "mine" and ReduceOnPlateau("loss").state_key == "ReduceOnPlateau loss"


def test_a_state_too_long_for_a_file(tmp_path):
    class Long(Counter):
        def state_dict(self):
            return {"numbers": "9" * (1 << 24)}

    model = made()
    fit(model, Long(), epochs=1)
    with pytest.raises(ValueError, match="save: the description must be of at most 16777216 characters"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_the_history_keeps_the_loss():
    """Whatever callbacks make of the values, those of the fit are recorded."""
    plain = fit(made()).history
    for change in (dict.clear, lambda logs: logs.pop("loss"), lambda logs: logs.update(loss=None)):
        def callback(model, logs, change=change):
            change(logs)
        history = fit(made(), callback)
        assert history.history == plain and "loss" in repr(history)


@pytest.mark.parametrize("hook", ["on_fit_begin", "on_fit_end"])
def test_a_stop_iteration_is_an_exception_as_others_are(hook):
    def stop(*_):
        raise StopIteration("mine")

    failing = Callback()
    setattr(failing, hook, stop)
    with pytest.raises(StopIteration, match="mine"):
        fit(made(), failing)


def test_one_object_on_two_models():
    """Counts from one model do not affect the other."""
    watcher = ReduceOnPlateau("loss", 0.5, 3, 9.0)
    one, other = made(), made()
    fit(one, watcher, epochs=3)
    fit(other, watcher, epochs=3)
    assert other.training_state.rate_factor == 1.0
    fit(one, watcher, epochs=1)
    assert one.training_state.rate_factor == 0.5 and other.training_state.rate_factor == 1.0


@pytest.mark.parametrize("state", [
    {"best": "low"}, {"best": None}, {"wait": -1}, {"wait": [1]}, {"best": float("nan"), "wait": 1}])
def test_a_state_that_no_plateau_callback_wrote(state):
    with pytest.raises((TypeError, ValueError), match=r"ReduceOnPlateau: (best|wait) must be a number"):
        ReduceOnPlateau().load_state_dict(state)


@pytest.mark.parametrize("states", [3, [1], {"Counter": 3}, {"Counter": [1]}])
def test_states_in_a_file_that_are_none(states, tmp_path):
    model = made()
    fit(model, Counter())
    described = model.__getstate__()
    described["described"]["callbacks"] = states
    with pytest.raises(ValueError, match="load: callbacks must be names with the states of callbacks, got "):
        Sequential.__new__(Sequential).__setstate__(described)


def test_a_state_that_no_file_holds(tmp_path):
    class Keeps(Counter):
        def state_dict(self):
            return {"array": np.ones(3)}

    model = made()
    fit(model, Keeps())
    with pytest.raises(TypeError, match="save: the state of a callback must be numbers, strings, and lists and dicts"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_the_format_is_the_same():
    """Files of models without such callbacks are as before; with them they have one entry more."""
    plain, kept = made(), made()
    fit(plain)
    fit(kept, Counter())
    one, other = plain.__getstate__()["described"], kept.__getstate__()["described"]
    assert one["format"] == other["format"] == 1
    assert other.keys() - one.keys() == {"callbacks"} and json.loads(json.dumps(other))["callbacks"] == {
        "Counter": {"epochs": 3}}


def test_another_optimizer_begins_without_states():
    model = made()
    fit(model, Counter(), optimizer=optimizers.Adam())
    fit(model, optimizer=optimizers.Adam(0.1))
    assert model.training_state.callbacks
    fit(model, optimizer=optimizers.SGD())
    assert not model.training_state.callbacks


def test_values_that_a_callback_adds():
    """Later callbacks and the history see them."""
    seen, stopping = [], EarlyStopping("loss", 100)

    def add(model, logs):
        logs["accuracy"] = model.epoch / 10

    history = fit(made(), [add, lambda model, logs: seen.append(logs["accuracy"]), stopping])
    assert seen == history.history["accuracy"] == [0.1, 0.2, 0.3] and list(history.history) == ["loss", "accuracy"]


def test_estimators_dispatch_as_models_do():
    """A callback's state is kept in a warm start, and a stop ends the fit after all callbacks saw the epoch."""
    counter = Counter()
    est = small("MLPRegressor", max_iter=2, warm_start=True, callbacks=[lambda model, logs: True, counter])
    A, b = problem(est)
    est.fit(A, b).fit(A, b)
    assert counter.begun == [0, 1] and est.n_iter_ == 1
    assert est.model_.training_state.callbacks == {"Counter": {"epochs": 2}}


def test_a_fit_on_batches_keeps_states_too():
    model = made()
    model.fit([(X, Y), (X, Y)], loss="squared_error", epochs=2, callbacks=Counter())
    assert model.training_state.callbacks == {"Counter": {"epochs": 2}}


@pytest.mark.parametrize("optimizer", ["adam", "ema"])
def test_a_rate_that_is_set_before_the_first_epoch(optimizer):
    """Also before the model's first fit, and before one with another optimizer."""
    class Slows(Callback):
        def on_fit_begin(self, model, epochs):
            model.training_state.rate_factor = 0.25

    for first in (None, "gd"):
        slowed, other = made(), made()
        if first:
            fit(slowed, optimizer=first)
            fit(other, optimizer=first)
        fit(slowed, Slows(), optimizer=optimizer)
        fit(other, optimizer=optimizer)
        assert slowed.training_state.rate_factor == 0.25 and other.training_state.rate_factor == 1.0
        assert (slowed.theta != other.theta).any()


def test_a_fit_that_a_callback_refuses_keeps_the_optimizers_state():
    class Refuses(Callback):
        def on_fit_begin(self, model, epochs):
            model.training_state.rate_factor = 0.5
            raise ValueError("mine")

    class Rejects(Counter):
        def load_state_dict(self, state):
            raise ValueError("mine")

    model = made()
    fit(model, Counter())
    before = model.training_state.to_dict(), model.training_state.optimizer.slots.copy()
    for watcher, optimizer in ((Refuses(), "ema"), (Rejects(), "adam")):
        with pytest.raises(ValueError, match="mine"):
            fit(model, watcher, optimizer=optimizer)
        assert model.training_state.to_dict() == before[0]
        np.testing.assert_array_equal(model.training_state.optimizer.slots, before[1])


@pytest.mark.parametrize("state", [
    {"a": float("nan"), "b": float("inf"), "c": -0.0}, {"a": 2**200, "b": -1}, {"a": [1, [2.5, {"b": None}]], "c": "d"},
    {"a": True, "": "\ud800\u20ac\x00"}])
def test_states_come_back_from_a_file_as_they_were(state, tmp_path):
    class Keeps(Callback):
        def state_dict(self):
            return state

    model = made()
    fit(model, Keeps(), epochs=1)
    model.save(tmp_path / "m")
    assert repr(Sequential.load(tmp_path / "m").training_state.callbacks) == repr({"Keeps": state})


@pytest.mark.parametrize("state", [
    {1: 2}, {"a": {None: 1}}, {"a": {1.5: 1}}, {"a": {("b", 1): 1}}, {"a": (1, 2)}, {"a": 10**5000}, {"a": {1, 2}},
    {"a": b"bytes"}, {"a": np.int64(1)}])
def test_states_that_would_come_back_as_others_are_refused(state, tmp_path):
    """When the model is saved, with a sentence that names the callback's state; in memory they are what they are."""
    model = made()
    fit(model)
    model.training_state.callbacks = {"Keeps": state}
    with pytest.raises(TypeError, match="save: the state of a callback must be numbers, strings, and lists and dicts"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def nested(levels):
    found = {}
    for _ in range(levels):
        found = {"a": found}
    return found


class Nested(Callback):
    def __init__(self, levels):
        self.levels = levels

    def state_dict(self):
        return nested(self.levels)


def test_states_of_many_levels(tmp_path):
    X = np.ones((4, 2))
    model = Sequential([layers.Dense(1)], random_state=0)
    with pytest.raises(ValueError, match="Nested: state_dict must return a dict of fewer levels"):
        model.fit(X, X[:, 0], loss="squared_error", epochs=1, callbacks=[Nested(10**5)])
    for levels in (200, 900):
        model = Sequential([layers.Dense(1)], random_state=0)
        try:
            model.fit(X, X[:, 0], loss="squared_error", epochs=1, callbacks=[Nested(levels)])
        except ValueError as error:
            assert "fewer levels" in str(error)
            continue
        with pytest.raises(TypeError, match="at most 100 levels deep"):
            model.save(tmp_path / "m")
    model = Sequential([layers.Dense(1)], random_state=0)
    model.fit(X, X[:, 0], loss="squared_error", epochs=1, callbacks=[Nested(99)])
    model.save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m").training_state.callbacks == model.training_state.callbacks
