"""Checkpoints: which files there are, what is in them, and whose files are left alone."""
import os

import numpy as np
import pytest
from states import state_of

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.callbacks import Callback, Checkpoint, EarlyStopping, ReduceOnPlateau, TerminateOnNaN

NET = [layers.Dense(8, "tanh"), layers.Dropout(0.2), layers.Dense(1)]
rng = np.random.default_rng(0)
X = rng.standard_normal((60, 5))
Y = X[:, :1] * X[:, 1:2]


def fit(model, callbacks=(), epochs=3, optimizer="adam", **options):
    return model.fit(X, Y, loss="squared_error", optimizer=optimizer, epochs=epochs, callbacks=callbacks, **options)


def made(net=NET, dtype="float32", seed=1):
    return Sequential(net, dtype, seed)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def no_links(*_, **__):
    raise OSError("this file system has none")


@pytest.fixture(params=["links", "copies"])
def links(request, monkeypatch):
    """File systems with hard links, and without."""
    if request.param == "copies":
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.parametrize(("every", "keep", "epochs", "expected"), [
    (1, 1, 4, {4: "m.ldl"}),
    (1, 3, 5, {3: "m-000003.ldl", 4: "m-000004.ldl", 5: "m.ldl"}),
    (2, 2, 7, {6: "m-000006.ldl", 7: "m.ldl"}),
    (3, 9, 6, {3: "m-000003.ldl", 6: "m.ldl"}),
    (50, 3, 4, {4: "m.ldl"}),
])
@pytest.mark.usefixtures("links")
def test_files(every, keep, epochs, expected, tmp_path):
    kept = {}
    checkpoint = Checkpoint(str(tmp_path / "m.ldl"), every, keep)
    model = made()
    fit(model, [lambda model, logs: kept.update({model.epoch: state_of(model)}), checkpoint], epochs)
    assert files(tmp_path) == sorted(expected.values()) and checkpoint.saved == epochs
    for epoch, name in expected.items():
        assert state_of(Sequential.load(tmp_path / name)) == kept[epoch]


@pytest.mark.parametrize("name", ["model", "m[0]*?.ldl", ".hidden", "a-b.c-000001.ldl", "märz 1"])
@pytest.mark.usefixtures("links")
def test_names(name, tmp_path):
    fit(made(), Checkpoint(tmp_path / name, keep=2), 4)
    stem, suffix = os.path.splitext(name)
    assert files(tmp_path) == sorted([name, f"{stem}-000003{suffix}"])
    assert Sequential.load(tmp_path / name).epoch == 4


def test_every_counts_from_the_models_first_epoch(tmp_path):
    model = made()
    for _ in range(3):
        fit(model, Checkpoint(tmp_path / "m", every=4, keep=9), 3)
    assert files(tmp_path) == ["m", "m-000003", "m-000004", "m-000006", "m-000008"]


@pytest.mark.parametrize("method", ["lbfgs", "cg", "gd", optimizers.GD(0.1, tol=0, line_search=True),
                                    optimizers.Adam(ema=0.9)])
def test_resumes_from_a_file(method, tmp_path):
    net, method = NET[::2], optimizers.get(method)
    whole, saved = made(net), made(net)
    fit(saved, Checkpoint(tmp_path / "m"), 4, method)
    loaded = Sequential.load(tmp_path / "m")
    assert state_of(loaded) == state_of(saved)
    fit(loaded, Checkpoint(tmp_path / "m"), 2, method)
    assert Sequential.load(tmp_path / "m").epoch == 6
    fit(whole, (), 6, method)
    if not isinstance(method, optimizers.LBFGS):        # which begins with an empty memory
        np.testing.assert_array_equal(loaded.theta, whole.theta)


# -- other files ----------------------------------------------------------------------------------------------


def test_other_files_stay(tmp_path):
    names = ["m-000100.ldl", "m-2.ldl", "m-2024.ldl", "m-000001.txt", "m-final.ldl", "other-000001.ldl", "m-.ldl",
             ".m.ldl.settings", ".m.ldl.bak.abcdefgh.part", ".n.ldl.abcdefgh.part"]
    for name in names:
        (tmp_path / name).write_text("mine")
    for half in (".m.ldl.abcdefgh.part", ".m.ldl.000003.part"):         # of a process that was killed
        (tmp_path / half).write_text("half")
    fit(made(), Checkpoint(tmp_path / "m.ldl", keep=1), 5)
    assert files(tmp_path) == sorted([*names, "m.ldl"])
    assert all((tmp_path / name).read_text() == "mine" for name in names)


def test_an_earlier_run_is_written_over(tmp_path):
    """Its later epochs stay; those kept of this run are its own."""
    fit(made(seed=5), Checkpoint(tmp_path / "m"), 8)
    assert files(tmp_path) == ["m", "m-000006", "m-000007"]
    fit(made(), Checkpoint(tmp_path / "m"), 4)
    assert files(tmp_path) == ["m", "m-000002", "m-000003", "m-000006", "m-000007"]
    for name, seed in (("m", 1), ("m-000002", 1), ("m-000003", 1), ("m-000006", 5), ("m-000007", 5)):
        assert Sequential.load(tmp_path / name).random_state == seed


@pytest.mark.parametrize("other", [
    lambda: made([layers.Dense(9, "tanh"), layers.Dropout(0.2), layers.Dense(1)]).build(5),
    lambda: made(dtype="float64").build(5), lambda: made().build(4), made])
def test_another_networks_file_is_refused(other, tmp_path):
    other().save(tmp_path / "m")
    (tmp_path / ".m.abcdefgh.part").write_text("half")
    content = (tmp_path / "m").read_bytes()
    model = made()
    fit(model)
    before, begun = state_of(model), []
    first = Callback()
    first.on_fit_end = lambda model: begun.append(model.epoch)
    for optimizer in ("adam", "sgd"):           # Adam's state is not forgotten either
        with pytest.raises(ValueError, match="Checkpoint: path must be a new file or a checkpoint of the same network"):
            fit(model, [first, Checkpoint(tmp_path / "m")], optimizer=optimizer)
    assert state_of(model) == before and begun == [3, 3]
    assert (tmp_path / "m").read_bytes() == content and files(tmp_path) == [".m.abcdefgh.part", "m"]


@pytest.mark.parametrize(("name", "message"), [
    ("nowhere/m", "Checkpoint: path must be in a folder that exists, got "),
    ("folder", "Checkpoint: path must be a file, got the folder "),
    ("table.csv", "Checkpoint: path must be a new file or a checkpoint of the same network, got "),
    ("half", "Checkpoint: path must be a new file or a checkpoint of the same network, got "),
])
def test_refused_before_any_work(name, message, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    model = made()
    fit(model)
    model.save(tmp_path / "half")
    (tmp_path / "half").write_bytes((tmp_path / "half").read_bytes()[:500])
    before = state_of(model), files(tmp_path)
    with pytest.raises(ValueError) as error:
        fit(model, Checkpoint(tmp_path / name), optimizer="sgd")
    assert str(error.value).startswith(message)
    assert (state_of(model), files(tmp_path)) == before


def test_what_cannot_be_written_is_said_first(tmp_path):
    model = made([layers.Dense(1, kernel_initializer=lambda shape, stream: np.ones(shape))])
    with pytest.raises(TypeError, match=r"save: .* cannot be written to a file"):
        fit(model, Checkpoint(tmp_path / "m"))
    assert model.epoch == 0 and files(tmp_path) == []


@pytest.mark.parametrize(("settings", "message"), [
    ({"every": 0}, "Checkpoint: every must be an int >= 1, got 0."),
    ({"keep": 0}, "Checkpoint: keep must be an int >= 1, got 0."),
    ({"keep": 1.5}, "Checkpoint: keep must be an int >= 1, got 1.5."),
])
def test_bad_settings(settings, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Checkpoint("m", **settings)
    assert str(error.value) == message


# -- when something ends the fit ------------------------------------------------------------------------------


class Fails(Callback):
    """Raises at the beginning or at the end of an epoch."""

    def __init__(self, when, epoch):
        self.when, self.epoch = when, epoch

    def on_epoch_begin(self, model, epoch):
        if (self.when, self.epoch) == ("begin", epoch):
            raise KeyError("mine")

    def on_epoch_end(self, model, epoch, logs):
        if (self.when, self.epoch) == ("end", epoch):
            raise KeyError("mine")


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("when", "epoch", "saved"), [
    ("begin", 1, []), ("end", 2, [2]), ("end", 3, [3]), ("end", 4, [4])])
def test_the_last_whole_epoch_is_saved(first, when, epoch, saved, tmp_path):
    model, watchers = made(), [Fails(when, epoch), Checkpoint(tmp_path / "m", every=3, keep=1)]
    with pytest.raises(KeyError):
        fit(model, watchers if first else watchers[::-1], 9)
    assert [Sequential.load(tmp_path / name).epoch for name in files(tmp_path)] == saved


def test_an_epoch_that_was_interrupted_is_not(tmp_path):
    """It is taken back: the last complete one is saved, and resumes to the bits of a fit without interruption."""
    calls = []

    def forward(parameters, x):
        calls.append(1)
        if len(calls) == interrupted:
            raise KeyboardInterrupt
        return x + 0

    def backward(parameters, x, y, dy):
        return dy, {}

    def stack():
        return made([layers.Dense(3), layers.Custom(forward, backward, output_shape=3), layers.Dense(1)])

    interrupted, model = 8, stack()             # in the third epoch, of three steps
    with pytest.raises(KeyboardInterrupt):
        fit(model, Checkpoint(tmp_path / "m", every=50), 30, batch_size=20)
    assert (model.epoch, model.step) == (2, 6) and files(tmp_path) == ["m"]
    saved = Sequential.load(tmp_path / "m", {"forward": forward, "backward": backward})
    assert state_of(saved) == state_of(model)
    interrupted, whole = 0, stack()
    fit(whole, (), 30, batch_size=20)
    fit(saved, (), 30 - saved.epoch, batch_size=20)
    assert state_of(saved) == state_of(whole)


def test_the_last_finite_epoch_is_saved(tmp_path):
    kept = []
    model = made([layers.Dense(1)])
    model.fit(X, Y * 1e15, loss="squared_error", optimizer=optimizers.SGD(0.6, 0.9), epochs=50, batch_size=10,
              callbacks=[lambda model, logs: kept.append(state_of(model)), Checkpoint(tmp_path / "m", every=100),
                         TerminateOnNaN()])
    assert 0 < len(kept) < 50 and state_of(Sequential.load(tmp_path / "m")) == kept[-1]


def test_a_full_disk_keeps_the_last_one(tmp_path, monkeypatch):
    model, replace = made(), os.replace

    def full(source, target):
        if model.epoch == 3:
            raise OSError("No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        fit(model, Checkpoint(tmp_path / "m", keep=2), 5)
    assert files(tmp_path) == ["m", "m-000001", "m-000002"]         # the newest has both its names already
    assert [Sequential.load(tmp_path / name).epoch for name in files(tmp_path)] == [2, 1, 2]
    monkeypatch.undo()
    fit(model, Checkpoint(tmp_path / "m", keep=2), 1)
    assert files(tmp_path) == ["m", "m-000002"] and Sequential.load(tmp_path / "m").epoch == 4


@pytest.mark.parametrize("first", [False, True])
def test_what_others_count_is_saved(first, tmp_path):
    """Whatever the place of the checkpoint among the callbacks."""
    kept, model = [], made()
    watchers = [ReduceOnPlateau("loss", 0.5, 1, min_delta=9.0), Checkpoint(tmp_path / "m")]
    fit(model, [*(watchers[::-1] if first else watchers), lambda model, logs: kept.append(state_of(model))], 4)
    assert [state_of(Sequential.load(tmp_path / name)) for name in ("m-000002", "m-000003", "m")] == kept[1:]
    assert kept[-1]["memory"]["rate_factor"] == 0.125


@pytest.mark.parametrize("every", [1, 50])
@pytest.mark.parametrize("first", [False, True])
def test_beside_early_stopping(first, every, tmp_path):
    """The model and the newest file have the best weights, whatever the callbacks' order; the epoch before is kept."""
    kept, model = [], made()
    watchers = [lambda model, logs: kept.append(model.theta.copy()),
                EarlyStopping("loss", 2, mode="max", restore_best_weights=True),
                Checkpoint(tmp_path / "m", every=every)]
    fit(model, watchers[::-1] if first else watchers, 9)
    assert 1 < len(kept) < 9
    best = kept[watchers[1].best_epoch - 1]
    assert (best != kept[-1]).any()
    np.testing.assert_array_equal(model.theta, best)
    saved = Sequential.load(tmp_path / "m")
    assert state_of(saved) == state_of(model) and saved.epoch == len(kept)
    if every == 1:
        np.testing.assert_array_equal(Sequential.load(tmp_path / f"m-{len(kept) - 1:06d}").theta, kept[-2])
    fit(model, epochs=2)
    fit(saved, epochs=2)
    assert state_of(saved) == state_of(model)
