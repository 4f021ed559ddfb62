"""Checkpoints of the best epoch alone: which epochs are saved, and how a further fit compares with them."""
import numpy as np
import pytest
from small_fits import X_NEW, Y_NEW, fit, made
from states import state_of

from ldl_cy import MLPClassifier, Sequential, layers, optimizers
from ldl_cy.callbacks import Callback, Checkpoint, EarlyStopping

NET = [layers.Dense(30, "tanh"), layers.BatchNorm(), layers.Dense(1)]
OVERFITS = {"optimizer": optimizers.Adam(0.03), "validation_data": (X_NEW, Y_NEW), "epochs": 30}


class Values(Callback):
    """Writes given values into the logs, and keeps the state of the model after each epoch."""

    def __init__(self, values, name="loss"):
        self.values, self.name, self.states = values, name, {}

    def on_epoch_end(self, model, epoch, logs):
        logs[self.name] = self.values[epoch - 1]
        self.states[epoch] = state_of(model)


def test_the_file_has_the_best_epoch(tmp_path):
    model, states = made(NET), {}
    checkpoint = Checkpoint(tmp_path / "m", save_best="val_loss", keep=1)
    history = fit(model, [lambda model, logs: states.update({model.epoch: model.theta.copy()}), checkpoint], **OVERFITS)
    curve = history.history["val_loss"]
    best = int(np.argmin(curve)) + 1
    assert best < 30 and checkpoint.best == min(curve) and checkpoint.saved == best
    saved = Sequential.load(tmp_path / "m")
    assert saved.epoch == best and saved.evaluate(X_NEW, Y_NEW, loss="squared_error") == min(curve)
    np.testing.assert_array_equal(saved.theta, states[best])
    # it resumes as the fit went on
    fit(saved, **{**OVERFITS, "epochs": 30 - best})
    np.testing.assert_array_equal(saved.theta, model.theta)


@pytest.mark.parametrize("method", ["adam", "ema", "lbfgs", "cg"])
def test_beside_early_stopping(method, tmp_path):
    """Restored weights and the file are the same."""
    net = NET if method in ("adam", "ema") else NET[::2]
    optimizer = {"adam": optimizers.Adam(0.03), "ema": optimizers.Adam(0.03, ema=0.5)}.get(method, method)
    model, watchers = made(net), [Checkpoint(tmp_path / "m", save_best="val_loss"),
                                  EarlyStopping(patience=5, restore_best_weights=True)]
    fit(model, watchers, **{**OVERFITS, "optimizer": optimizer})
    saved = Sequential.load(tmp_path / "m")
    assert saved.epoch == watchers[1].best_epoch and watchers[0].best == watchers[1].best
    np.testing.assert_array_equal(saved.theta, model.theta)
    np.testing.assert_array_equal(saved.network.statistics, model.network.statistics)


@pytest.mark.parametrize(("name", "mode", "sign"), [
    ("loss", "auto", 1), ("loss", "max", -1), ("val_score", "auto", -1), ("accuracy", "min", 1)])
@pytest.mark.parametrize("every", [1, 3])
def test_which_epochs(name, mode, sign, every, tmp_path):
    values = [3.0, 2.0, 4.0, 1.0, np.nan, 1.0, 0.5, 6.0, 5.0]
    values = Values([value * sign for value in values], name)
    checkpoint = Checkpoint(tmp_path / "m", every, keep=9, save_best=name, mode=mode)
    checkpoint.check = lambda *_: None              # the values are added by a callback
    fit(made(), [checkpoint, values], epochs=9)
    saved, best = [], np.inf
    for epoch in range(every, 10, every):
        if sign * values.values[epoch - 1] < best:
            best = sign * values.values[epoch - 1]
            saved.append(epoch)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["m", *(f"m-{epoch:06d}" for epoch in saved[:-1])] and checkpoint.best == sign * best
    for name, epoch in zip(["m", *names[1:]], [saved[-1], *saved[:-1]]):
        found = state_of(Sequential.load(tmp_path / name))
        assert found["epoch"] == epoch
        assert all(found[part] == values.states[epoch][part] for part in ("theta", "state", "slots"))


@pytest.mark.parametrize("again", ["same", "loaded", "another path", "another optimizer"])
def test_a_further_fit_compares_with_the_best_so_far(again, tmp_path):
    values = Values([2.0, 1.0, 3.0, 1.5, 0.5])
    model = made()
    fit(model, [values, Checkpoint(tmp_path / "m", save_best="loss")], epochs=3)
    assert Sequential.load(tmp_path / "m").epoch == 2
    if again == "loaded":                           # after its best epoch, of which the file knows the value
        model = Sequential.load(tmp_path / "m")
        values.values = [None, None, 1.5, 0.5]
        fit(model, [values, Checkpoint(tmp_path / "m", save_best="loss")], epochs=1)
        assert Sequential.load(tmp_path / "m").epoch == 2
        fit(model, [values, Checkpoint(tmp_path / "m", save_best="loss")], epochs=1)
        assert Sequential.load(tmp_path / "m").epoch == 4
        return
    path = tmp_path / ("other" if again == "another path" else "m")
    options = {"optimizer": "sgd"} if again == "another optimizer" else {}
    fit(model, [values, Checkpoint(path, save_best="loss")], epochs=1, **options)
    assert Sequential.load(path).epoch == (2 if again == "same" else 4)
    fit(model, [values, Checkpoint(path, save_best="loss")], epochs=1, **options)
    assert Sequential.load(path).epoch == 5


def test_both_kinds_side_by_side(tmp_path):
    model = made(NET)
    watchers = [Checkpoint(tmp_path / "newest"), Checkpoint(tmp_path / "best", save_best="val_loss"),
                Checkpoint(tmp_path / "least", save_best="loss")]
    history = fit(model, watchers, **OVERFITS)
    assert Sequential.load(tmp_path / "newest").epoch == 30
    for name, value in (("best", "val_loss"), ("least", "loss")):
        assert Sequential.load(tmp_path / name).epoch == 1 + np.argmin(history.history[value])
    assert set(model.training_state.callbacks) == {"Checkpoint val_loss", "Checkpoint loss"}


def test_nothing_that_is_a_number(tmp_path):
    fit(made(), [Values([np.nan] * 3), Checkpoint(tmp_path / "m", save_best="loss")], epochs=3)
    assert not list(tmp_path.iterdir())


def test_an_exception_after_the_best_epoch(tmp_path):
    """A later callback fails: the epoch is saved at the end."""
    class Fails(Callback):
        last = True

        def on_epoch_end(self, model, epoch, logs):
            if epoch == 2:
                raise KeyError("mine")

    model = made()
    with pytest.raises(KeyError, match="mine"):
        fit(model, [Values([2.0, 1.0, 3.0]), Checkpoint(tmp_path / "m", save_best="loss"), Fails()], epochs=3)
    assert Sequential.load(tmp_path / "m").epoch == 2


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("value", ["val_loss", "val_score"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators(value, solver, tmp_path):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(80, 4))
    b = (A[:, 0] + 0.8 * rng.normal(size=80) > 0).astype(int)
    clf = MLPClassifier(30, solver=solver, learning_rate_init=0.03, max_iter=30, random_state=0,
                        callbacks=[Checkpoint(tmp_path / "m", save_best=value)])
    clf.fit(A[:50], b[:50], X_val=A[50:], y_val=b[50:])
    curve = clf.validation_loss_curve_ if value == "val_loss" else -np.array(clf.validation_scores_)
    assert Sequential.load(tmp_path / "m").epoch == 1 + np.argmin(curve) < clf.n_iter_


@pytest.mark.parametrize(("settings", "message"), [
    ({"save_best": True}, "Checkpoint: save_best must be None or the name of a value such as 'val_loss', got True."),
    ({"mode": "least"}, "Checkpoint: mode must be one of 'auto', 'min', 'max', got 'least'."),
])
def test_bad_settings(settings, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Checkpoint("m", **settings)
    assert str(error.value) == message


def test_a_value_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match="Checkpoint: save_best must be one of 'loss', got 'val_loss'; it needs"):
        fit(made(), Checkpoint(tmp_path / "m", save_best="val_loss"))


def test_a_state_that_no_checkpoint_wrote(tmp_path):
    model = made()
    fit(model, Checkpoint(tmp_path / "m"), epochs=1)
    model.training_state.callbacks = {"Checkpoint loss": {"best": "low"}}
    with pytest.raises(TypeError, match="Checkpoint: best must be a number, got 'low'"):
        fit(model, Checkpoint(tmp_path / "m", save_best="loss"), epochs=1)


def test_an_infinite_value_is_no_state():
    checkpoint = Checkpoint("m", save_best="score")
    checkpoint.best = np.inf
    assert checkpoint.state_dict() == {}
