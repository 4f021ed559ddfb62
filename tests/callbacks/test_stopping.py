"""Callbacks that watch a value: when they stop a fit or reduce its steps, which weights it ends with, NaN."""
import numpy as np
import pytest
from small_fits import X_NEW, Y_NEW, Recorder, X, Y, after, fail, fit, made

from ldl_cy import layers, optimizers, schedules
from ldl_cy.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TerminateOnNaN

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
    curve = fit(made(net), lambda model, logs: kept.append((model.theta.copy(), model.network.statistics.copy())),
                **options).history["val_loss"]
    model, stopping = made(net), EarlyStopping(patience=patience, restore_best_weights=restore)
    history = fit(model, stopping, **options)
    last, best = stops_at(curve, patience, 0, 1)
    assert best < last < 60 and history.history["val_loss"] == curve[:last]
    assert history.stop_reason == "callback"
    assert (stopping.stopped_epoch, stopping.best_epoch, stopping.best) == (last, best, curve[best - 1])
    theta, state = kept[(best if restore else last) - 1]
    np.testing.assert_array_equal(model.theta, theta)
    np.testing.assert_array_equal(model.network.statistics, state)
    # starts over: the next fit's best is its own
    fit(model, stopping, **{**options, "epochs": 2})
    assert stopping.best_epoch > last


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
    note.on_epoch_begin = lambda model, epoch: seen.append(model.training_state.rate_factor)
    for epochs in (7, 13):          # resumed
        fit(model, [*watchers, note], epochs, optimizers.SGD(rate), batch_size=25, shuffle=False)
    assert seen == factors and len(set(factors)) > 1 and min(factors) >= min_factor
    np.testing.assert_allclose(model.theta, theta, rtol=0, atol=1e-12)
    # another kind of optimizer starts over
    seen.clear()
    fit(model, [*watchers, note], 1, optimizers.Adam())
    assert seen == [1.0]


def test_values_are_watched_separately():
    """A value that rises and one that falls: only the first reduces."""
    model = made().build(5)
    watchers = [ReduceOnPlateau("val_loss", 0.5, 2, 0.0), ReduceOnPlateau("loss", 0.1, 2, 0.0)]
    for epoch in range(1, 6):
        for watcher in watchers:
            watcher.on_epoch_end(model, epoch, {"loss": 9.0 - epoch, "val_loss": 1.0 + epoch})
    assert model.training_state.rate_factor == 0.25


def test_a_floor_raises_nothing():
    model = made().build(5)
    model.training_state.rate_factor = 0.01
    watcher = ReduceOnPlateau("loss", 0.5, 1, 0.0, min_factor=0.1)
    for _ in range(3):
        watcher.on_epoch_end(model, 1, {"loss": 1.0})
    assert model.training_state.rate_factor == 0.01


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
        assert history.stop_reason == "non_finite" and history.message == recorder.calls[-2][2]
        assert model.epoch == len(kept) == len(history.epoch) > 0
        # the epoch that failed is not counted, nor are its steps
        assert model.step == model.training_state.optimizer.steps == 8 * len(kept)
        np.testing.assert_array_equal(model.theta, kept[place])


def test_infinity_in_the_first_epoch():
    model = made([layers.Dense(1)])
    history = model.fit(X, Y * 1e30, loss="squared_error", optimizer=optimizers.SGD(1e30), callbacks=TerminateOnNaN())
    assert history.epoch == [] and model.epoch == model.step == 0 and np.isfinite(model.theta).all()
