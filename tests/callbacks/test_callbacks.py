"""Callbacks: when they are called, what they write, what is refused, and that they spoil nothing."""
import copy
import csv
import pickle

import numpy as np
import pytest
from small_fits import METHODS, X_NEW, Y_NEW, Recorder, X, Y, after, fail, fit, made
from states import state_of

from ldl_cy import callbacks, layers, optimizers
from ldl_cy.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    History,
    ProgressBar,
    ReduceOnPlateau,
    TerminateOnNaN,
)

# -- the hooks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_order_and_arguments(method, validates):
    model, recorder, optimizer = made(), Recorder("a"), METHODS[method]
    names = ["loss", *(["effective_parameters"] if method == "bayesian" else []), *(["val_loss"] if validates else [])]
    for first in (1, 4):
        recorder.calls.clear()
        history = fit(model, [recorder], optimizer=method, validation_data=(X_NEW, Y_NEW) if validates else None)
        expected = [("a", "check", type(optimizer).__name__, *names), ("a", "fit begins", 3)]
        for epoch in range(first, first + 3):
            expected += [("a", "begins", epoch), ("a", "ends", epoch, *names)]
        assert recorder.calls == [*expected, ("a", "fit ends")]
        assert history.epoch == list(range(first, first + 3)) and history.stop_reason == "epochs"


def test_several_end_in_reverse():
    calls = []
    fit(made(), [Recorder(name, calls) for name in "ab"], epochs=1)
    assert [f"{call[0]} {call[1]}" for call in calls] == [
        "a check", "b check", "a fit begins", "b fit begins", "a begins", "b begins", "a ends", "b ends",
        "b fit ends", "a fit ends"]


def test_watching_changes_nothing():
    for method in METHODS:
        alone, watched = made(), made()
        fit(alone, optimizer=method, epochs=6)
        fit(watched, [Recorder(), EarlyStopping("loss", 100, restore_best_weights=False), History()],
            optimizer=method, epochs=6)
        np.testing.assert_array_equal(alone.theta, watched.theta)


def test_functions_and_their_answers():
    seen = []
    assert fit(made(), lambda model, logs: seen.append((model.epoch, *logs))).stop_reason == "epochs"
    assert seen == [(1, "loss"), (2, "loss"), (3, "loss")]
    # what is not a bool says nothing; a comparison of NumPy's numbers is one
    assert fit(made(), lambda model, logs: 1).stop_reason == "epochs"
    history = fit(made(), [lambda model, logs: np.float64(logs["loss"]) > 0, Recorder()])
    assert history.stop_reason == "callback" and len(history.epoch) == 1


def test_a_callback_may_leave_every_hook_out():
    assert len(fit(made(), [Callback()]).epoch) == 3


def test_history_as_a_callback():
    recorded = History()
    history = fit(made(), [recorded], validation_split=0.2)
    assert recorded.history == history.history and recorded.epoch == history.epoch
    assert list(history.history) == ["loss", "val_loss"]
    assert repr(history).startswith("<History of 3 epochs: loss=")


@pytest.mark.parametrize("method", ["adam", "lbfgs", "lm"])
def test_progress_bar(method, capsys):
    bar = ProgressBar("here")
    fit(made(), [bar], optimizer=method)
    err = capsys.readouterr().err
    assert "here: 100%" in err and "3/3" in err and "loss=" in err and bar.bar is None


def every(folder):
    return [EarlyStopping("loss", restore_best_weights=True), ReduceOnPlateau("loss"), Checkpoint(folder / "m"),
            CSVLogger(folder / "log.csv"), ProgressBar(), TerminateOnNaN(), History(), Recorder()]


# the base, the type of what fit takes, and what fit makes of callbacks and functions
@pytest.mark.parametrize("name", sorted(set(callbacks.__all__) - {"Callback", "Callbacks", "CallbackList", "Function"}))
def test_every_callback_is_here(name, tmp_path):
    assert any(type(callback).__name__ == name for callback in every(tmp_path)), f"{name} is not in every()"


def test_a_progress_bar_named_twice(capsys):
    bar = ProgressBar()
    fit(made(), [bar, bar], epochs=1)
    assert bar.bar is None


def test_copies_and_pickles(tmp_path, capsys):
    """Copies of callbacks after a fit hold what these hold, and do in a fit of their own what these did."""
    watchers = every(tmp_path)
    history, log = fit(made(), watchers), rows_of(tmp_path / "log.csv")
    first, *_, seen, recorder = watchers
    for again in (copy.deepcopy(watchers), pickle.loads(pickle.dumps(watchers))):
        stopping, *_, recorded, noted = again
        assert recorded.history == seen.history == history.history and noted.calls == recorder.calls
        (tmp_path / "log.csv").unlink()
        assert fit(made(), again).history == history.history
        assert rows_of(tmp_path / "log.csv") == log
        assert (stopping.best_epoch, stopping.stopped_epoch) == (first.best_epoch, first.stopped_epoch) == (3, None)
        assert recorded.history["loss"] == 2 * seen.history["loss"] and noted.calls == 2 * recorder.calls


# -- when a callback fails ------------------------------------------------------------------------------------

HOOKS = ["check", "on_fit_begin", "on_epoch_begin", "on_epoch_end", "on_non_finite", "on_fit_end"]


@pytest.mark.parametrize("method", ["adam", "ema", "lbfgs", "cg", "line_search"])
@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_leaves_a_usable_model(hook, method):
    def fail(*_):
        raise KeyError(hook)

    failing = Callback()
    setattr(failing, hook, fail)
    model, calls = made(), []
    fit(model, epochs=2, optimizer=method)
    whole, before = copy.deepcopy(model), state_of(model)
    watchers = [Recorder("a", calls), failing, Recorder("b", calls)]
    if hook == "on_non_finite":
        with pytest.raises(KeyError, match=hook):
            made([layers.Dense(1)]).fit(X, Y * 1e15, loss="squared_error", optimizer=optimizers.SGD(1e25), epochs=9,
                                        callbacks=watchers)
    else:
        with pytest.raises(KeyError, match=hook):
            fit(model, watchers, epochs=1, optimizer=method)
    begun = {call[0] for call in calls if call[1] == "fit begins"}
    assert {call[0] for call in calls if call[1] == "fit ends"} == begun
    assert begun == {"check": set(), "on_fit_begin": {"a"}}.get(hook, {"a", "b"})
    if hook in ("check", "on_fit_begin", "on_epoch_begin"):
        assert state_of(model) == before
    elif hook != "on_non_finite":
        fit(whole, epochs=1, optimizer=method)
        np.testing.assert_array_equal(model.theta, whole.theta)
        assert model.epoch == whole.epoch == 3
    # continues as if nothing had happened
    fit(model, optimizer=method)
    if method != "lbfgs" and hook != "on_non_finite":
        fit(whole, optimizer=method)
        np.testing.assert_array_equal(model.theta, whole.theta)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("method", ["adam", "ema"])
def test_a_schedule_that_raises_changes_nothing(method):
    model, optimizer = made(), type(METHODS[method])
    rates = {"learning_rate": lambda steps: np.where(steps < 6, 0.01, np.nan)}
    options = {"ema": 0.9} if method == "ema" else {}
    fit(model, epochs=2, optimizer=optimizer(0.01, **options))
    before = state_of(model)
    with pytest.raises(ValueError, match="learning_rate must return"):
        fit(model, Recorder(), optimizer=optimizer(**rates, **options))
    assert state_of(model) == before


def test_interrupted_in_a_callback():
    model = made()

    def interrupt(model, logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, interrupt)
    assert model.epoch == 1 and len(fit(model).epoch) == 3


# -- what is refused ------------------------------------------------------------------------------------------

SCORES = "monitor must be one of 'loss', got 'val_loss'; it needs validation data."


@pytest.mark.parametrize(("make", "method", "message"), [
    (lambda folder: EarlyStopping(), "adam", f"EarlyStopping: {SCORES}"),
    (lambda folder: ReduceOnPlateau(), "adam", f"ReduceOnPlateau: {SCORES}"),
    (lambda folder: EarlyStopping("score"), "adam", "EarlyStopping: monitor must be one of 'loss', got 'score'."),
    (lambda folder: EarlyStopping("effective_parameters"), "lm",
     "EarlyStopping: monitor must be one of 'loss', got 'effective_parameters'."),
    (lambda folder: ReduceOnPlateau("loss"), "lbfgs",
     "ReduceOnPlateau: the optimizer must take steps of a learning rate, got LBFGS."),
    (lambda folder: ReduceOnPlateau("loss"), "line_search",
     "ReduceOnPlateau: the optimizer must take steps of a learning rate, got GD."),
    (lambda folder: CSVLogger(folder / "no" / "log"), "adam", "CSVLogger: path must be in a folder that exists, got "),
    (lambda folder: CSVLogger(folder), "adam", "CSVLogger: path must be a file, got the folder "),
    (lambda folder: CSVLogger(folder / "other", append=True), "adam",
     "CSVLogger: path must be a file with the columns epoch, loss where append=True, got "),
    (lambda folder: EarlyStopping, "adam", "Sequential: callbacks must be callbacks or functions, got <class"),
    (lambda folder: 0, "adam", "Sequential: callbacks must be a list of callbacks or functions, got 0."),
    (lambda folder: "loss", "adam", "Sequential: callbacks must be callbacks or functions, got 'l'."),
])
def test_refused_before_any_work(make, method, message, tmp_path):
    (tmp_path / "other").write_text("name,address\n")
    model = made()
    fit(model, epochs=2)
    before, begun = state_of(model), Recorder()
    given = make(tmp_path)
    with pytest.raises((TypeError, ValueError)) as error:
        fit(model, [begun, CSVLogger(tmp_path / "log"), given] if isinstance(given, Callback) else given,
            optimizer=method)
    assert str(error.value).startswith(message)
    assert state_of(model) == before and {call[1] for call in begun.calls} <= {"check"}
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: EarlyStopping(3), "EarlyStopping: monitor must be the name of a value such as 'val_loss', got 3."),
    (lambda: EarlyStopping(patience=-1), "EarlyStopping: patience must be an int >= 0, got -1."),
    (lambda: EarlyStopping(min_delta=-1), "EarlyStopping: min_delta must be a number >= 0, got -1."),
    (lambda: EarlyStopping(restore_best_weights=1), "EarlyStopping: restore_best_weights must be True or False, got"),
    (lambda: EarlyStopping(mode="best"), "EarlyStopping: mode must be one of 'auto', 'min', 'max', got 'best'."),
    (lambda: ReduceOnPlateau(factor=1), "ReduceOnPlateau: factor must be a number > 0 and < 1, got 1."),
    (lambda: ReduceOnPlateau(min_factor=1), "ReduceOnPlateau: min_factor must be a number >= 0 and < 1, got 1."),
    (lambda: CSVLogger("log", append=1), "CSVLogger: append must be True or False, got 1."),
])
def test_bad_settings(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value).startswith(message)


# -- files of values ------------------------------------------------------------------------------------------


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("method", ["adam", "bayesian"])
def test_csv_is_the_history(method, tmp_path):
    model, log = made(), CSVLogger(tmp_path / "log.csv", append=True)
    first = fit(model, log, optimizer=method, validation_split=0.2)
    assert log.file is None
    second = fit(model, [log], 2, optimizer=method, validation_split=0.2)
    third = fit(model, [log], 1, optimizer=method)                     # without validation: an empty column
    names, *rows = rows_of(tmp_path / "log.csv")
    assert names == ["epoch", *first.history]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5, 6] == first.epoch + second.epoch + third.epoch
    for i, name in enumerate(names[1:], 1):
        assert [float(row[i]) for row in rows[:5]] == first.history[name] + second.history[name]
    assert float(rows[5][1]) == third.history["loss"][0] and rows[5][names.index("val_loss")] == ""
    # from the beginning
    fit(model, CSVLogger(tmp_path / "log.csv"), 1, optimizer=method)
    assert len(rows_of(tmp_path / "log.csv")) == 2


def test_csv_is_there_after_each_epoch_and_closed_in_the_end(tmp_path):
    seen, log = [], CSVLogger(str(tmp_path / "log.csv"))
    with pytest.raises(KeyError):
        fit(made(), [log, lambda model, logs: seen.append(len(rows_of(log.path))), after(2, fail)])
    assert seen == [2, 3] and log.file is None


def test_csv_of_numpys_numbers(tmp_path):
    log = CSVLogger(tmp_path / "log.csv")
    log.on_fit_begin(None, 1)
    log.on_epoch_end(None, 1, {"score": np.float64(0.1), "small": np.float32(0.5)})
    for _ in range(2):                  # the second time there is nothing to close
        log.on_fit_end(None)
    assert rows_of(tmp_path / "log.csv") == [["epoch", "score", "small"], ["1", "0.1", "0.5"]]
