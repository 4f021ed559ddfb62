"""Fits on batches that the user makes, and on files that are not read as a whole."""
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from ldl_cy import Sequential, callbacks, layers, optimizers, schedules

NET = [layers.Dense(8, "tanh"), layers.BatchNorm(), layers.Dropout(0.3), layers.Dense(1)]


def data(n=70, n_in=5):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_in))
    return X, X[:, :1] * X[:, 1:2], rng.uniform(0, 1, n)


def cut(*arrays, size=16):
    return [tuple(a[i:i + size] for a in arrays) for i in range(0, len(arrays[0]), size)]


OPTIMIZERS = [
    optimizers.SGD(0.05, 0.9), optimizers.Adam(ema=0.9, clip_norm=0.5), optimizers.RMSprop(centered=True),
    optimizers.AdamW(schedules.Cosine(0.01, 15)), optimizers.Nadam(schedules.Exponential(0.01, 0.5, by="epoch"))]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_are_the_steps_of_a_fit(optimizer, dtype, weighted):
    X, y, w = data()
    whole, parts = Sequential(NET, dtype, 1), Sequential(NET, dtype, 1)
    arrays = (X, y, w) if weighted else (X, y)
    options = {"loss": "squared_error", "optimizer": optimizer, "epochs": 4, "alpha": 0.1, "validation_data": (X, y)}
    expected = whole.fit(X, y, batch_size=16, shuffle=False, sample_weight=w if weighted else None, **options)
    history = parts.fit(cut(*arrays), **options)
    np.testing.assert_array_equal(parts.theta, whole.theta)
    np.testing.assert_array_equal(parts.training_state.optimizer.slots, whole.training_state.optimizer.slots)
    np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-12)
    assert history.history["val_loss"] == expected.history["val_loss"]
    assert (parts.epoch, parts.step) == (whole.epoch, whole.step) == (4, 20)


def test_batches_resume_to_the_same_bits(tmp_path):
    X, y, _ = data()
    options = {"loss": "squared_error", "optimizer": optimizers.Adam(ema=0.9)}
    whole, parts = Sequential(NET, random_state=1), Sequential(NET, random_state=1)
    whole.fit(cut(X, y), epochs=4, **options)
    parts.fit(cut(X, y), epochs=1, **options)
    parts.save(tmp_path / "model")
    parts = Sequential.load(tmp_path / "model")
    parts.fit(iter(cut(X, y)), epochs=1, **options)         # an iterator lasts for an epoch
    parts.fit((batch for batch in cut(X, y)), epochs=1, **options)
    parts.fit(cut(X, y), epochs=1, **options)
    np.testing.assert_array_equal(parts.theta, whole.theta)


def test_batches_of_sparse_rows_and_of_sequences():
    X, y, w = data()
    X[X < 0.5] = 0
    net = [layers.Dense(4, "tanh"), layers.Dense(1)]
    dense, sparse = Sequential(net, random_state=1), Sequential(net, random_state=1)
    dense.fit(cut(X, y), loss="squared_error", epochs=2)
    sparse.fit([(scipy.sparse.csr_array(a), b) for a, b in cut(X, y)], loss="squared_error", epochs=2)
    np.testing.assert_array_equal(sparse.theta, dense.theta)
    rng = np.random.default_rng(0)
    X, lengths = rng.standard_normal((70, 6, 2)), rng.integers(1, 7, 70)
    whole, parts = (Sequential([layers.GRU(3), layers.Dense(1)], random_state=1) for _ in range(2))
    whole.fit(X, y, loss="squared_error", lengths=lengths, batch_size=16, shuffle=False, epochs=2, sample_weight=w)
    parts.fit(cut(X, y, w, lengths), loss="squared_error", epochs=2)
    np.testing.assert_array_equal(parts.theta, whole.theta)


def test_batches_are_made_for_each_epoch():
    class Drawn:
        epochs = 0

        def __iter__(self):
            self.epochs += 1
            return iter(cut(X, y))

    X, y, _ = data()
    drawn, seen = Drawn(), []
    model = Sequential(NET, random_state=1)
    history = model.fit(drawn, loss="squared_error", epochs=5,
                        callbacks=[lambda m, logs: seen.append(m.epoch) or m.epoch == 3])
    assert seen == [1, 2, 3] and drawn.epochs == 3 and history.stop_reason == "callback"


def as_bytes(model):
    """All that a fit changes."""
    network, state = model.network, model.training_state
    return (network.theta.tobytes(), network.statistics.tobytes(), state.optimizer.slots.tobytes(), state.to_dict())


def raises(batches, error):
    yield from batches
    raise error


@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1, ema=0.9), optimizers.SGD(0.1, 0.9)], ids=["ema", "momentum"])
@pytest.mark.parametrize("what", ["shape", "error", "interrupt", "loss", "no batch", "no weight"])
def test_an_epoch_that_fails_is_taken_back(what, optimizer):
    """Whatever ended it: the model is as after its last complete epoch, and continues to the same bits."""
    X, y, w = data()
    good = cut(X, y)
    bad = {"shape": [*good[:2], (X[:3, :2], y[:3])], "error": raises(good[:2], OSError("mine")),
           "interrupt": raises(good[:2], KeyboardInterrupt()), "loss": [*good[:2], *[(X[:3], y[:3] * 1e38)] * 2],
           "no batch": [], "no weight": [(X, y, 0 * w)]}[what]
    error, text = {"shape": (ValueError, "Sequential: X must have"), "error": (OSError, "mine"),
                   "interrupt": (KeyboardInterrupt, None), "loss": (FloatingPointError, "non-finite in epoch 3"),
                   "no batch": (ValueError, "Sequential: batches must give a batch in each epoch, got none in epoch 3"),
                   "no weight": (ValueError, "Sequential: weights must not be zero for every row of an epoch, got only "
                                             "zeros in epoch 3")}[what]

    class Epochs:
        made = 0

        def __iter__(self):
            self.made += 1
            return iter(good if self.made < 3 else bad)

    model, kept = Sequential(NET, random_state=1), []
    options = {"loss": "squared_error", "optimizer": optimizer}
    with pytest.raises(error, match=text):
        model.fit(Epochs(), epochs=4, callbacks=lambda model, logs: kept.append(as_bytes(model)), **options)
    assert len(kept) == 2 and as_bytes(model) == kept[-1]
    whole = Sequential(NET, random_state=1)
    whole.fit(good, epochs=4, **options)
    model.fit(good, epochs=2, **options)
    assert as_bytes(model) == as_bytes(whole)


def test_a_checkpoint_after_an_epoch_that_failed(tmp_path):
    """It is that of the last complete epoch."""
    X, y, _ = data()

    class Fails:
        made = 0

        def __iter__(self):
            self.made += 1
            return iter(cut(X, y)) if self.made < 3 else raises(cut(X, y)[:2], OSError("mine"))

    model = Sequential(NET, random_state=1)
    with pytest.raises(OSError, match="mine"):
        model.fit(Fails(), loss="squared_error", epochs=4,
                  callbacks=callbacks.Checkpoint(tmp_path / "model", every=50))
    loaded = Sequential.load(tmp_path / "model")
    assert loaded.epoch == 2 and as_bytes(loaded) == as_bytes(model)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("shuffles", [False, True])
def test_batches_without_weight_are_no_steps(optimizer, shuffles):
    """Over arrays and iterables, with schedules by step and by epoch: the steps, masks and averages of the others."""
    X, y, w = data(64)
    w[:32] = 0
    options = {"loss": "squared_error", "optimizer": optimizer, "epochs": 5, "alpha": 0.1}
    whole, parts, others = (Sequential(NET, "float64", 1) for _ in range(3))
    expected = whole.fit(X, y, batch_size=16, shuffle=False, sample_weight=w, **options)
    history = parts.fit(cut(X, y, w), **options)
    others.fit(cut(X, y, w)[2:], **options)
    assert as_bytes(whole) == as_bytes(parts) == as_bytes(others) and whole.step == 10
    np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-12)
    if shuffles:                    # then some epochs have such a batch: the same with one call for each epoch
        w = np.zeros(64)
        w[:3] = 1
        one, other = (Sequential(NET, "float64", 1) for _ in range(2))
        one.fit(X, y, batch_size=16, sample_weight=w, **options)
        other.fit(X, y, batch_size=16, sample_weight=w, callbacks=lambda model, logs: None, **options)
        assert as_bytes(one) == as_bytes(other) and 5 <= one.step <= 15


def test_a_first_batch_without_weight():
    X, y, w = data()
    model = Sequential(NET, random_state=1)
    model.fit([(X[:9], y[:9], 0 * w[:9]), (X, y, w)], loss="squared_error", epochs=2)
    assert (model.step, model.epoch) == (2, 2)


def test_non_finite_batches_leave_the_epoch_before():
    X, y, _ = data()
    model = Sequential(NET, random_state=1)
    model.fit(cut(X, y), loss="squared_error", epochs=2)
    before = model.theta.copy()
    wild, options = cut(X, np.full_like(y, 1e30)), {"loss": "squared_error", "optimizer": optimizers.SGD(1e10)}
    with pytest.raises(FloatingPointError, match="epoch 3; the weights are those of epoch 2"):
        model.fit(wild, epochs=1, **options)
    np.testing.assert_array_equal(model.theta, before)
    history = model.fit(wild, epochs=1, callbacks=[callbacks.TerminateOnNaN()], **options)
    assert history.stop_reason == "non_finite"


@pytest.mark.parametrize(("X", "options", "message"), [
    (np.zeros((4, 5)), {}, "Sequential: y must be given with X, unless X is an iterable of batches"),
    (7, {}, "Sequential: y must be given with X, unless X is an iterable of batches (X, y), got X of type int"),
    ([], {}, "Sequential: there must be a batch, got none."),
    ([3], {}, "Sequential: a batch must be (X, y), (X, y, weights) or (X, y, weights, lengths), got int."),
    (iter([(np.zeros((4, 5)), np.zeros(4))]), {"epochs": 2},
     "Sequential: batches must be an iterable that restarts in each epoch, such as a list, got list_iterator"),
    ([(np.zeros((4, 5)), np.zeros(4))], {"batch_size": 3}, "Sequential: batch_size must be left out with an"),
    ([(np.zeros((4, 5)), np.zeros(4))], {"sample_weight": np.ones(4), "validation_split": 0.1},
     "Sequential: sample_weight, validation_split must be left out"),
    ([(np.zeros((4, 5)), np.zeros(4))], {"optimizer": "lbfgs"}, "Sequential: an iterable of batches needs"),
    ([(np.zeros((4, 3)), np.zeros(4))], {}, "Sequential: X must have"),
])
def test_bad_batches_change_nothing(X, options, message):
    model = Sequential(NET, random_state=1).build(5)
    before = model.theta.copy()
    with pytest.raises((ValueError, TypeError)) as error:
        model.fit(X, loss="squared_error", **options)
    assert str(error.value).startswith(message)
    np.testing.assert_array_equal(model.theta, before)
    assert model.epoch == model.step == 0


@pytest.mark.parametrize("mode", ["r", "c"])
def test_a_file_is_not_read_as_a_whole(mode, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20000, 100)).astype("float32")
    y = X[:, :1]
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode=mode)
    net = [layers.Dense(4, "tanh"), layers.Dense(1)]
    inside, outside = (Sequential(net, random_state=1).build(100) for _ in range(2))
    inside.fit(X, y, loss="squared_error", epochs=1)
    tracemalloc.start()
    outside.fit(mapped, y, loss="squared_error", epochs=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(outside.theta, inside.theta)
    assert peak < X.nbytes / 8
