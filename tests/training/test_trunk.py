"""Fits behind frozen layers: the same bits whether their outputs are kept or computed in each epoch."""
import copy

import numpy as np
import pytest
import scipy.sparse
from states import check_same

from ldl_cy import Sequential, callbacks, layers, losses, optimizers, schedules
from ldl_cy.network import Network
from ldl_cy.training import trunk_outputs
from ldl_cy.training.trunk import Trunk, count_frozen

RNG = np.random.default_rng(0)
F = {"trainable": False}
IMAGES = [layers.Conv2D(5, 3, activation="relu", **F), layers.MaxPool2D(), layers.BatchNorm(**F), layers.Flatten(),
          layers.Dense(9, "tanh", **F)]
SERIES = [layers.Conv1D(4, 3, padding="same", **F), layers.Bidirectional(layers.GRU(3, return_sequences=True), **F)]
BRANCHES = [layers.Add([layers.Dense(6, "gelu"), layers.Dense(6)], [], **F),
            layers.Concatenate([], layers.Dense(3), **F)]
HEAD = [layers.Dropout(0.3), layers.Dense(7, "relu"), layers.BatchNorm(), layers.Dense(2)]


def targets(n):
    return RNG.normal(size=(n, 2))


def sparse(n):
    return scipy.sparse.random(n, 6, 0.4, "csr", random_state=1)


def lengths(n, longest):
    return RNG.integers(1, longest + 1, n)


# trunk, rest, X of n rows, further arguments of fit
CASES = {
    "images": (IMAGES, HEAD, lambda n: RNG.normal(size=(n, 9, 8, 2)), {}),
    "uint8": (IMAGES, HEAD, lambda n: RNG.integers(0, 256, (n, 9, 8, 2)).astype(np.uint8), {"batch_size": 10}),
    "branches": (BRANCHES, HEAD, lambda n: RNG.normal(size=(n, 6)), {"batch_size": 31, "alpha": 0.1}),
    "sparse": (BRANCHES, HEAD, sparse, {"batch_size": 17}),
    "batches of one row": (BRANCHES, [layers.Dense(2)], lambda n: RNG.normal(size=(n, 6)), {"batch_size": 1}),
    "full batch": (IMAGES, HEAD, lambda n: RNG.normal(size=(n, 9, 8, 2)), {"batch_size": "full"}),
    "in order": (IMAGES, HEAD, lambda n: RNG.normal(size=(n, 9, 8, 2)), {"shuffle": False}),
    "series": (SERIES, [layers.GRU(5), *HEAD], lambda n: RNG.normal(size=(n, 7, 3)), {}),
    "states": ([*SERIES, layers.LSTM(6, **F)], HEAD, lambda n: RNG.normal(size=(n, 7, 3)), {}),
    "tokens": ([layers.Embedding(11, 5, **F), layers.GRU(6, **F)], HEAD, lambda n: RNG.integers(0, 11, (n, 8)), {}),
    "wide": ([layers.Dense(300, "relu", **F)], HEAD, lambda n: RNG.normal(size=(n, 500)), {"batch_size": 50}),
}


def fitted(name, dtype, n, monkeypatch, chunk=None, **options):
    """(model, history) of three epochs, with features computed in chunks of about so many bytes."""
    trunk, rest, rows, given = CASES[name]
    RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state
    X, y = rows(n), targets(n)
    given = {"batch_size": 13, "epochs": 3, "optimizer": optimizers.AdamW(1e-2, clip_norm=1.0, ema=0.9), **given}
    if X.ndim == 3 and "lengths" not in options:
        given["lengths"] = lengths(n, X.shape[1])
    if chunk is not None:
        monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", chunk)
    model = Sequential([*trunk, *rest], dtype, 3)
    return model, model.fit(X, y, loss="squared_error", **{**given, **options}).history


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_kept_or_not(name, dtype, monkeypatch):
    weights = np.where(np.arange(83) // 9 % 3 == 1, 0.0, RNG.uniform(0.5, 2, 83))
    options = [{}, {"sample_weight": weights, "validation_split": 0.2}]
    if name == "series":
        options.append({"lengths": None})
    for given in options:
        n = 83
        kept, history = fitted(name, dtype, n, monkeypatch, cache_features=True, n_threads=1, **given)
        assert count_frozen(kept.network) == len(CASES[name][0])
        for chunk, n_threads in ((1 << 26, 2), (1, 1), (9000, 2), (50_000, 1)):
            other, found = fitted(
                name, dtype, n, monkeypatch, chunk, cache_features=False, n_threads=n_threads, **given)
            check_same(kept, other)
            assert found == history
        other, found = fitted(name, dtype, n, monkeypatch, n_threads=2, callbacks=[lambda model, logs: None], **given)
        check_same(kept, other)
        assert found == history


@pytest.mark.parametrize("name", ["images", "branches", "series", "states", "tokens"])
def test_near_a_fit_of_the_whole_network(name, monkeypatch):
    """An iterable of batches passes all layers in each step: beyond rounding the same weights."""
    trunk, rest, rows, given = CASES[name]
    RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state
    X, y = rows(83), targets(83)
    known = (lengths(83, X.shape[1]),) if X.ndim == 3 else ()
    parts = [slice(start, start + 13) for start in range(0, 83, 13)]
    batches = [(X[part], y[part], None, *(k[part] for k in known)) for part in parts]
    models = [Sequential([*trunk, *rest], "float64", 3) for _ in range(2)]
    options = {"loss": "squared_error", "optimizer": optimizers.Adam(1e-2, clip_norm=1.0), "epochs": 3}
    models[0].fit(batches, **options)
    models[1].fit(X, y, batch_size=13, shuffle=False, lengths=known[0] if known else None, **options)
    np.testing.assert_allclose(models[1].theta, models[0].theta, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(models[1].network.statistics, models[0].network.statistics, rtol=1e-9)
    frozen = Sequential([*trunk, *rest], "float64", 3).build(X.shape[1:])
    fixed = ~frozen.network.trainable
    for model in models:
        np.testing.assert_array_equal(model.theta[fixed], frozen.theta[fixed])


def test_memmaps_and_other_layouts(tmp_path, monkeypatch):
    X, y = RNG.normal(size=(70, 9, 8, 2)), targets(70)
    model = Sequential([*IMAGES, *HEAD], random_state=1)
    model.fit(X, y, loss="squared_error", epochs=2)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for given in (mapped, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X.astype(">f8")):
        for cached in (True, False):
            monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 20_000)
            other = Sequential([*IMAGES, *HEAD], random_state=1)
            other.fit(given, y, loss="squared_error", epochs=2, cache_features=cached)
            check_same(model, other)


@pytest.mark.parametrize("optimizer", [
    optimizers.SGD(schedules.Step(0.05, 0.5, 3, by="epoch"), momentum=0.9), optimizers.AdamW(1e-2, ema=0.8),
    optimizers.Adam(schedules.OneCycle(0.02, 50))])
def test_resumed_fits(optimizer, tmp_path, monkeypatch):
    X, y = RNG.normal(size=(61, 9, 8, 2)), targets(61)
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 20_000)
    options = {"loss": "squared_error", "optimizer": optimizer, "batch_size": 11,
               "sample_weight": np.where(np.arange(61) % 5 == 0, 0.0, 1.0)}
    whole = Sequential([*IMAGES, *HEAD], random_state=1)
    whole.fit(X, y, epochs=7, **options)
    for first, second in ((True, False), (False, True), (False, False)):
        parts = Sequential([*IMAGES, *HEAD], random_state=1)
        parts.fit(X, y, epochs=3, cache_features=first, **options)
        parts.save(tmp_path / "model.ldl")
        parts = Sequential.load(tmp_path / "model.ldl")
        parts.fit(X, y, epochs=4, cache_features=second, **options)
        check_same(parts, whole)


def test_a_callback_changes_the_frozen_weights(monkeypatch):
    X, y = RNG.normal(size=(61, 9, 8, 2)), targets(61)
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 20_000)

    def shift(model, logs):
        if model.epoch == 2:
            model.parameters["conv2d_0.kernel"][...] *= 2
        if model.epoch == 4:
            model.state["batch_norm_2.mean"][...] += 1

    found = []
    for cached, watchers in ((True, [shift]), (False, [shift]), (True, [])):
        model = Sequential([*IMAGES, *HEAD], random_state=1)
        history = model.fit(X, y, loss="squared_error", epochs=6, cache_features=cached, callbacks=watchers,
                            validation_split=0.2, optimizer=optimizers.Adam(1e-2, ema=0.5))
        found.append((model, history.history))
    check_same(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    changed, unchanged = (np.array(found[i][1]["val_loss"]) for i in (0, 2))
    assert list(changed == unchanged) == [True, True, False, False, False, False]
    last = found[0][0]
    assert changed[-1] == pytest.approx(last.evaluate(X[49:], y[49:], loss="squared_error"), rel=1e-5)


def test_a_callback_changes_the_rows():
    X, y = RNG.normal(size=(40, 9, 8, 2)), targets(40)
    found = []
    for cached in (True, False):
        rows = X.astype(np.float32)

        def write(model, logs, rows=rows):
            rows[...] = 0

        model = Sequential([*IMAGES, layers.Dense(2)], random_state=1)
        found.append(model.fit(rows, y, loss="squared_error", epochs=2, cache_features=cached, callbacks=[write],
                               optimizer=optimizers.SGD(1e-9)).history["loss"])
    assert found[0][1] == pytest.approx(found[0][0]) and found[1][1] != pytest.approx(found[1][0], rel=1e-3)


def test_factors_of_the_rate(monkeypatch):
    """Those of the layers behind the frozen ones; a pattern may name frozen weights alone."""
    X, y = RNG.normal(size=(61, 9, 8, 2)), targets(61)
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 20_000)
    found = {}
    for factors in ({}, {"conv2d_*": 0.1}, {"conv2d_*": 0.1, "dense_8.*": 0.0, "*.gamma": 10.0}):
        for cached in (True, False):
            model = Sequential([*IMAGES, *HEAD], random_state=1)
            model.fit(X, y, loss="squared_error", epochs=2, cache_features=cached, batch_size=11,
                      optimizer=optimizers.AdamW(1e-2, rate_factors=factors))
            found[len(factors), cached] = model
    for count in (0, 1, 3):
        check_same(found[count, True], found[count, False])
    start, plain, slow = Sequential([*IMAGES, *HEAD], random_state=1).build((9, 8, 2)), found[0, True], found[3, True]
    np.testing.assert_array_equal(plain.theta, found[1, True].theta)
    np.testing.assert_array_equal(slow.parameters["dense_8.kernel"], start.parameters["dense_8.kernel"])
    assert (np.abs(slow.parameters["batch_norm_7.gamma"] - 1) > np.abs(
        plain.parameters["batch_norm_7.gamma"] - 1)).all()
    with pytest.raises(ValueError, match="lstm"):
        plain.fit(X, y, loss="squared_error", optimizer=optimizers.Adam(rate_factors={"lstm_*": 0.1}))


METHODS = [optimizers.LBFGS(), optimizers.LevenbergMarquardt(), optimizers.ConjugateGradient(),
           optimizers.GaussNewtonCG(), optimizers.GD(0.1), optimizers.GD(0.1, line_search=True)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", METHODS, ids=lambda o: f"{type(o).__name__}{o.method is not None}")
def test_full_batch_methods(optimizer, dtype, monkeypatch):
    X, y = RNG.normal(size=(61, 7, 3)).astype(np.float32), targets(61)
    known, stack = lengths(61, 7), [*SERIES, layers.GRU(4, **F), layers.Dense(5, "tanh"), layers.Dense(2)]
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 1)
    models = []
    for cached in (True, False):
        model = Sequential(stack, dtype, 2)
        options = {"loss": "squared_error", "optimizer": optimizer, "alpha": 1.0, "cache_features": cached}
        history = model.fit(X, y, lengths=known, epochs=4, validation_split=0.2, **options)
        assert history.history["loss"][-1] < history.history["loss"][0]
        assert history.history["val_loss"][-1] == pytest.approx(
            model.evaluate(X[49:], y[49:], lengths=known[49:], loss="squared_error"), rel=1e-5)
        models.append(model)
    check_same(*models)
    start = Sequential(stack, dtype, 2).build((7, 3))
    fixed = ~start.network.trainable
    np.testing.assert_array_equal(models[0].theta[fixed], start.theta[fixed])
    np.testing.assert_array_equal(models[0].training_state.optimizer.slots[:, fixed], 0)


@pytest.mark.parametrize("optimizer", ["lm", "gauss_newton_cg"])
def test_a_frozen_batch_norm_is_a_function_of_the_row(optimizer):
    X, y = RNG.normal(size=(61, 9, 8, 2)), targets(61)
    model = Sequential([*IMAGES, layers.Dense(2)], "float64", 2)
    history = model.fit(X, y, loss="squared_error", optimizer=optimizer, epochs=3)
    assert history.history["loss"][-1] < history.history["loss"][0]
    with pytest.raises(ValueError, match=r"must be without trainable BatchNorm and .* got batch_norm_2\.$"):
        model.unfreeze("batch_norm_*").fit(X, y, loss="squared_error", optimizer=optimizer)


def test_full_batch_methods_see_changed_weights():
    X, y = RNG.normal(size=(61, 6)), targets(61)

    def shift(model, logs):
        model.parameters["add_0.0.dense_0.kernel"][...] *= 1.1

    model = Sequential([*BRANCHES, layers.Dense(2)], "float64", 2)
    model.fit(X, y, loss="squared_error", optimizer="lm", epochs=3, callbacks=[shift])
    at = model.theta.copy()
    plain = model.objective(X, y, loss="squared_error")
    model.fit(X, y, loss="squared_error", optimizer="lm", epochs=20)
    assert not np.array_equal(at, model.theta)
    np.testing.assert_allclose(plain(None)[1][model.network.trainable], 0, atol=1e-7)


class Stop(Exception):
    """Of a callback or a loss."""


@pytest.mark.parametrize("cached", [True, False])
def test_an_epoch_is_made_completely_or_not_at_all(cached, monkeypatch):
    X, y = RNG.normal(size=(61, 6)), targets(61)
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 2000)
    options = {"optimizer": optimizers.AdamW(1e-2, ema=0.9), "batch_size": 11, "cache_features": cached}
    calls = []

    def squares(predicted, wanted):
        calls.append(1)
        if len(calls) == 15:            # in the third epoch of six batches
            raise Stop
        return ((predicted - wanted) ** 2).mean(1), 2 * (predicted - wanted) / 2

    model, whole = (Sequential([*BRANCHES, *HEAD], "float64", 2) for _ in range(2))
    with pytest.raises(Stop):
        model.fit(X, y, loss=losses.Custom(squares), epochs=5, **options)
    assert model.epoch == 2
    whole.fit(X, y, loss=losses.Custom(squares), epochs=2, **options)
    check_same(model, whole)
    for each in (model, whole):
        each.fit(X, y, loss=losses.Custom(squares), epochs=1, **options)
    check_same(model, whole)


@pytest.mark.parametrize("cached", [True, False])
def test_not_finite(cached, monkeypatch):
    X, y = RNG.normal(size=(61, 6)), targets(61)
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 2000)
    model = Sequential([*BRANCHES, layers.Dense(4), layers.Dense(2)], random_state=2)
    with pytest.raises(FloatingPointError, match="became non-finite in epoch"):
        model.fit(X, y, loss="squared_error", optimizer=optimizers.SGD(50.0), epochs=40, batch_size=11,
                  cache_features=cached)
    assert np.isfinite(model.theta).all()
    after = model.epoch
    again = Sequential([*BRANCHES, layers.Dense(4), layers.Dense(2)], random_state=2)
    if after:
        again.fit(X, y, loss="squared_error", optimizer=optimizers.SGD(50.0), epochs=after, batch_size=11)
    else:
        again.build(6)
    np.testing.assert_array_equal(model.theta, again.theta)


def test_early_stopping_and_checkpoints(tmp_path, monkeypatch):
    X, y = RNG.normal(size=(61, 6)), targets(61)
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 2000)
    found = []
    for cached in (True, False):
        model = Sequential([*BRANCHES, *HEAD], random_state=2)
        stop = callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
        path = tmp_path / f"{cached}.ldl"
        model.fit(X, y, loss="squared_error", optimizer="adam", epochs=30, validation_split=0.3, cache_features=cached,
                  callbacks=[stop, callbacks.Checkpoint(path)])
        found += [model, Sequential.load(path)]
    check_same(found[0], found[2])
    check_same(found[1], found[3])


def counted(monkeypatch):
    """A list to which each computation of outputs adds its number of rows."""
    calls, own = [], Trunk.outputs

    def outputs(self, rows, lengths, index=None):
        calls.append(len(rows) if index is None else len(index))
        return own(self, rows, lengths, index)

    monkeypatch.setattr(Trunk, "outputs", outputs)
    return calls


def test_how_often_rows_pass(monkeypatch):
    X, y = RNG.normal(size=(60, 6)), targets(60)
    calls = counted(monkeypatch)
    options = {"loss": "squared_error", "batch_size": 10, "epochs": 4, "validation_split": 0.1}

    def passed(**given):
        calls.clear()
        Sequential([*BRANCHES, *HEAD], random_state=2).fit(X, y, **{**options, **given})
        return list(calls)

    assert passed() == passed(cache_features=True) == passed(optimizer="lbfgs", batch_size="auto") == [54, 6]
    assert passed(cache_features=False) == 4 * [54, 6]
    row = 6 * 8 + 9 * 4                 # X in float64, features in float32
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 20 * row)
    assert passed(cache_features=False) == 4 * [20, 20, 14, 6]
    needed = 60 * 9 * 4
    for memory, kept in ((2 * needed, True), (2 * needed - 1, False)):
        monkeypatch.setattr(trunk_outputs, "available_bytes", lambda memory=memory: memory)
        assert passed() == ([54, 6] if kept else 4 * [20, 20, 14, 6])


def test_an_iterable_of_batches_passes_all_layers(monkeypatch):
    calls = counted(monkeypatch)
    model = Sequential([*BRANCHES, *HEAD], random_state=2)
    model.fit([(RNG.normal(size=(9, 6)), targets(9))] * 3, loss="squared_error", epochs=2)
    assert not calls and model.step == 6


def test_which_layers_are_in_front():
    def count(*stack, shape=(8, 8, 2)):
        return count_frozen(Network.build([*stack], shape, "float32", 0))

    flat, dense, free = layers.Flatten(), layers.Dense(3, **F), layers.Dense(3)
    assert count(flat, free) == count(free, dense, free) == count(flat, dense) == 0
    assert count(dense, flat, dense, free) == 3 and count(dense, layers.MaxPool2D(), flat, free, dense) == 3
    assert count(layers.Dropout(0.1), dense, free) == 0 and count(dense, layers.Dropout(0.1), dense, free) == 1
    assert count(dense, layers.BatchNorm(), dense, free) == 1
    assert count(dense, layers.BatchNorm(**F), free) == 2
    assert count(dense, layers.Add([layers.Dense(3, **F)], [layers.Dense(3)]), free) == 1
    assert count(dense, layers.Add([layers.Dense(3)], [], **F), free) == 2
    assert count(dense, layers.Add([layers.Dropout(0.1)], [], **F), free) == 1
    custom = layers.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), lambda shape: shape)
    assert count(dense, custom, free) == 1
    assert count(layers.Normalization(0.0, 1.0), dense, layers.Activation("relu"), free) == 3


def test_the_layers_of_a_model_keep_their_settings():
    stack = copy.deepcopy([*IMAGES, *HEAD])
    model = Sequential(stack, random_state=1)
    model.fit(RNG.normal(size=(20, 9, 8, 2)), targets(20), loss="squared_error", epochs=1)
    assert all(a is b for a, b in zip(model.layers, stack)) and model.layers == (*IMAGES, *HEAD)


@pytest.mark.parametrize(("given", "kind"), [("yes", ValueError), (1, TypeError), (None, TypeError)])
def test_refused(given, kind):
    model = Sequential([layers.Dense(2)])
    with pytest.raises(kind, match="Sequential: cache_features must be 'auto', True or False, got"):
        model.fit(np.ones((4, 3)), targets(4), loss="squared_error", cache_features=given)
    assert model.input_shape is None
