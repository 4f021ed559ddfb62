"""Callbacks: when they are called, what they decide, what they write, and that they spoil nothing."""
import copy
import csv
import pickle

import numpy as np
import pytest
from states import state_of

from ldl_cy import Sequential, layers, optimizers, schedules
from ldl_cy.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    History,
    ProgressBar,
    ReduceOnPlateau,
    TerminateOnNaN,
)

NET = [layers.Dense(8, "tanh"), layers.Dense(1)]
METHODS = {
    "adam": optimizers.Adam(0.01), "gd": optimizers.GD(0.05, tol=0), "ema": optimizers.SGD(0.05, 0.9, ema=0.9),
    "line_search": optimizers.GD(0.1, tol=0, line_search=True), "lbfgs": optimizers.LBFGS(),
    "cg": optimizers.ConjugateGradient(), "lm": optimizers.LevenbergMarquardt(),
    "bayesian": optimizers.LevenbergMarquardt(bayesian=True), "gauss_newton_cg": optimizers.GaussNewtonCG(),
}


def data(n=75, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    return X, (X[:, :1] * X[:, 1:2] + 0.3 * rng.standard_normal((n, 1)))


X, Y = data()
X_NEW, Y_NEW = data(30, seed=1)


def made(net=NET, dtype="float32", seed=1):
    return Sequential(net, dtype, seed)


def fit(model, callbacks=(), epochs=3, optimizer="adam", **options):
    return model.fit(X, Y, loss="squared_error", optimizer=METHODS.get(optimizer, optimizer), epochs=epochs,
                     callbacks=callbacks, **options)


class Recorder(Callback):
    """Notes every call under a name, in a list that several may share."""

    def __init__(self, name="", calls=None):
        self.name, self.calls = name, [] if calls is None else calls

    def check(self, optimizer, known):
        self.calls.append((self.name, "check", type(optimizer).__name__, *known))

    def on_fit_begin(self, model, epochs):
        self.calls.append((self.name, "fit begins", epochs))

    def on_epoch_begin(self, model, epoch):
        assert model.epoch == epoch - 1
        self.calls.append((self.name, "begins", epoch))

    def on_epoch_end(self, model, epoch, logs):
        assert model.epoch == epoch and all(type(value) is float for value in logs.values())
        self.calls.append((self.name, "ends", epoch, *logs))

    def on_non_finite(self, model, error):
        self.calls.append((self.name, "non-finite", str(error)))

    def on_fit_end(self, model):
        self.calls.append((self.name, "fit ends"))


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
    from ldl_cy.callbacks import Checkpoint

    return [EarlyStopping("loss", restore_best_weights=True), ReduceOnPlateau("loss"), Checkpoint(folder / "m"),
            CSVLogger(folder / "log.csv"), ProgressBar(), TerminateOnNaN(), History(), Recorder()]


def test_a_progress_bar_named_twice(capfd):
    bar = ProgressBar()
    made().fit(X, Y, loss="squared_error", epochs=1, callbacks=[bar, bar])
    assert bar.bar is None



def test_copies_and_pickles(tmp_path, capsys):
    watchers = every(tmp_path)
    fit(made(), watchers)
    for again in (copy.deepcopy(watchers), pickle.loads(pickle.dumps(watchers))):
        fit(made(), again)


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
    # goes on as if nothing had happened
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
    (lambda folder: CSVLogger(folder / "no" / "log"), "adam", "CSVLogger: path must lie in a folder that exists, got "),
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


# -- early stopping -------------------------------------------------------------------------------------------


def stops_at(curve, patience, min_delta, sign):
    """(epoch of the last value, epoch of the best) by Keras's rules; epochs count from 1."""
    best, best_epoch, wait = np.inf, 0, 0
    for epoch, value in enumerate(curve, 1):
        wait += 1
        if sign * value + min_delta < best:
            best, best_epoch, wait = sign * value, epoch, 0
        elif wait >= patience:
            return epoch, best_epoch
    return len(curve), best_epoch


@pytest.mark.parametrize("patience", [0, 1, 2, 5])
@pytest.mark.parametrize("min_delta", [0.0, 0.25])
@pytest.mark.parametrize(("monitor", "mode", "sign"), [
    ("val_loss", "auto", 1), ("val_loss", "max", -1), ("val_score", "auto", -1), ("val_score", "min", 1),
    ("accuracy", "auto", -1)])
def test_early_stopping_on_random_curves(patience, min_delta, monitor, mode, sign):
    rng, model = np.random.default_rng(0), made().build(5)
    stopping = EarlyStopping(monitor, patience, min_delta, mode=mode)
    for _ in range(50):
        # quarters: differences of exactly min_delta, which are no improvement
        curve = (rng.integers(-4, 5, 30) - sign * np.arange(30) // 3) / 4
        stopping.on_fit_begin(model, 30)
        last = next((epoch for epoch, value in enumerate(curve, 1)
                     if stopping.on_epoch_end(model, epoch, {monitor: float(value), "other": 0.0})), len(curve))
        expected, best = stops_at(curve, patience, min_delta, sign)
        assert (last, stopping.best_epoch) == (expected, best) and stopping.best == curve[best - 1]
        assert stopping.stopped_epoch == (last if expected < 30 else stopping.stopped_epoch)


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("patience", [1, 3, 6])
def test_early_stopping_of_a_fit(patience, restore):
    """Overfits; BatchNorm's running statistics go back with the weights."""
    net = [layers.Dense(30, "tanh"), layers.BatchNorm(), layers.Dense(1)]
    options = {"optimizer": optimizers.Adam(0.03), "validation_data": (X_NEW, Y_NEW), "epochs": 60}
    kept = []
    curve = fit(made(net), lambda model, logs: kept.append((model.theta.copy(), model._state.copy())),
                **options).history["val_loss"]
    model, stopping = made(net), EarlyStopping(patience=patience, restore_best_weights=restore)
    history = fit(model, stopping, **options)
    last, best = stops_at(curve, patience, 0, 1)
    assert best < last < 60 and history.history["val_loss"] == curve[:last]
    assert history.stop_reason == "callback"
    assert (stopping.stopped_epoch, stopping.best_epoch, stopping.best) == (last, best, curve[best - 1])
    theta, state = kept[(best if restore else last) - 1]
    np.testing.assert_array_equal(model.theta, theta)
    np.testing.assert_array_equal(model._state, state)
    # begins anew: the next fit's best is its own
    fit(model, stopping, **{**options, "epochs": 2})
    assert stopping.best_epoch > last


def after(epoch, what):
    def act(model, logs):
        return what() if model.epoch == epoch else None
    return act


def fail():
    raise KeyError("mine")


@pytest.mark.parametrize("ending", ["epochs", "callback", "exception"])
def test_best_weights_however_the_fit_ends(ending):
    kept, model = [], made()
    watchers = [lambda model, logs: kept.append(model.theta.copy()),
                EarlyStopping("loss", 100, restore_best_weights=True, mode="max"),
                *{"epochs": [], "callback": [after(4, lambda: True)], "exception": [after(4, fail)]}[ending]]
    if ending == "exception":
        with pytest.raises(KeyError):
            fit(model, watchers, epochs=4)
    else:
        fit(model, watchers, epochs=4)
    np.testing.assert_array_equal(model.theta, kept[0])


def test_nan_is_no_improvement():
    model, stopping = made().build(5), EarlyStopping(patience=2)
    stopping.on_fit_begin(model, 9)
    answers = [stopping.on_epoch_end(model, epoch, {"val_loss": value})
               for epoch, value in enumerate([1.0, np.nan, 0.5, np.nan, np.inf], 1)]
    assert answers == [None, None, None, None, True] and stopping.best_epoch == 3


# -- smaller steps --------------------------------------------------------------------------------------------


def reduced(rates, epochs, factor, patience, min_delta, min_factor, theta, size=25):
    """SGD on the squared error of a linear model in NumPy: (weights, the factor of each epoch)."""
    A, t, factors, reduction, best, wait = np.c_[X, np.ones(len(X))], 0, [], 1.0, np.inf, 0
    for epoch in range(epochs):
        losses = []
        factors.append(reduction)
        for start in range(0, len(X), size):
            part = slice(start, start + size)
            error = A[part] @ theta - Y[part, 0]
            losses.append(error @ error / size)
            theta = theta - reduction * rates(t, epoch) * 2 * A[part].T @ error / size
            t += 1
        wait += 1
        if np.mean(losses) < best - min_delta:
            best, wait = np.mean(losses), 0
        elif wait >= patience:
            reduction, wait = max(reduction * factor, min_factor), 0
    return theta, factors


@pytest.mark.parametrize(("patience", "min_delta", "min_factor"), [(3, 0.05, 0.0), (0, 0.02, 0.3), (2, 0.02, 0.05)])
@pytest.mark.parametrize("schedule", ["none", "step", "epoch"])
def test_reduce_on_plateau(schedule, patience, min_delta, min_factor):
    rate, rates = {
        "none": (0.3, lambda t, epoch: 0.3),
        "step": (schedules.Cosine(0.3, length=40), lambda t, epoch: 0.15 * (1 + np.cos(np.pi * min(t / 40, 1)))),
        "epoch": (schedules.Exponential(0.3, 0.9, by="epoch"), lambda t, epoch: 0.3 * 0.9**epoch)}[schedule]
    model, seen = made([layers.Dense(1)], "float64").build(5), []
    theta, factors = reduced(rates, 20, 0.5, patience, min_delta, min_factor, model.theta.copy())
    watchers = [ReduceOnPlateau("loss", 0.5, patience, min_delta, min_factor)]
    note = Callback()
    note.on_epoch_begin = lambda model, epoch: seen.append(model._memory.get("rate_factor", 1.0))
    for epochs in (7, 13):          # going on
        fit(model, [*watchers, note], epochs, optimizers.SGD(rate), batch_size=25, shuffle=False)
    assert seen == factors and len(set(factors)) > 1 and min(factors) >= min_factor
    np.testing.assert_allclose(model.theta, theta, rtol=0, atol=1e-12)
    # another kind of optimizer begins anew
    seen.clear()
    fit(model, [*watchers, note], 1, optimizers.Adam())
    assert seen == [1.0]


def test_values_are_watched_apart():
    """A value that rises and one that falls: only the first reduces."""
    model = made().build(5)
    watchers = [ReduceOnPlateau("val_loss", 0.5, 2, 0.0), ReduceOnPlateau("loss", 0.1, 2, 0.0)]
    for epoch in range(1, 6):
        for watcher in watchers:
            watcher.on_epoch_end(model, epoch, {"loss": 9.0 - epoch, "val_loss": 1.0 + epoch})
    assert model._memory["rate_factor"] == 0.25


def test_a_floor_raises_nothing():
    model = made().build(5)
    model._memory["rate_factor"] = 0.01
    watcher = ReduceOnPlateau("loss", 0.5, 1, 0.0, min_factor=0.1)
    for _ in range(3):
        watcher.on_epoch_end(model, 1, {"loss": 1.0})
    assert model._memory["rate_factor"] == 0.01


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
    # anew
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


# -- values that are none -------------------------------------------------------------------------------------


def diverging(callbacks=()):
    model = made([layers.Dense(1)])
    return model, model.fit(X, Y * 1e15, loss="squared_error", optimizer=optimizers.SGD(0.6, 0.9), epochs=50,
                            batch_size=10, callbacks=callbacks)


def test_terminate_on_nan():
    recorder, kept = Recorder(), []
    watchers = [recorder, lambda model, logs: kept.append(model.theta.copy())]
    with pytest.raises(FloatingPointError, match="became non-finite in epoch"):
        diverging(watchers)
    assert [call[1] for call in recorder.calls[-2:]] == ["non-finite", "fit ends"]
    best = EarlyStopping("loss", 100, restore_best_weights=True)
    for more, place in (([], -1), ([best], 0)):
        kept.clear()
        model, history = diverging([*watchers, TerminateOnNaN(), *more])
        assert history.stop_reason == "non-finite" and history.message == recorder.calls[-2][2]
        assert model.epoch == len(kept) == len(history.epoch) > 0
        # the epoch that failed is not counted, nor are its steps
        assert model.step == model._optimizer_steps == 8 * len(kept)
        np.testing.assert_array_equal(model.theta, kept[place])


def test_infinity_in_the_first_epoch():
    model = made([layers.Dense(1)])
    history = model.fit(X, Y * 1e30, loss="squared_error", optimizer=optimizers.SGD(1e30), callbacks=TerminateOnNaN())
    assert history.epoch == [] and model.epoch == model.step == 0 and np.isfinite(model.theta).all()
