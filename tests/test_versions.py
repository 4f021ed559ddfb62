"""Derived weights of predictions: kept while the network's version is known, compared where theta was handed out."""
from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from thread_comm import ThreadComm, run_ranks, without_errors

from ldl_cy import MLPClassifier, RNNRegressor, Sequential, layers, optimizers
from ldl_cy._engine.version import VersionCounter
from ldl_cy.callbacks import EarlyStopping
from ldl_cy.interop import torch_state_dict

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((40, 6, 6, 16)).astype("float32"), rng.integers(0, 3, 40)
LOSS: dict[str, Any] = {"loss": "log_loss", "epochs": 2, "batch_size": 10}


def wide() -> Sequential:
    """Its products are made with packed weights while theta was not handed out."""
    return Sequential([layers.Flatten(), layers.Dense(64, "relu"), layers.BatchNorm(), layers.Dense(300, "tanh"),
                       layers.Dense(3)], random_state=0).build((6, 6, 16))


def new() -> Sequential:
    """Each of its kernels derives weights."""
    return Sequential([layers.Conv2D(16, 3, padding="same", algorithm="winograd"), layers.BatchNorm(),
                       layers.Conv2D(4, 3, activation="relu"), layers.Reshape((16, 4)), layers.GRU(6),
                       layers.Dense(5), layers.BatchNorm(), layers.Activation("tanh"), layers.Dense(3)],
                      random_state=0).build((6, 6, 16))


class Stop(Exception):
    """Raised by a callback."""


def fails(model: Sequential) -> None:
    def stop(model: Sequential, logs: dict[str, float]) -> None:
        if model.epoch % 2 == 0:
            raise Stop

    with pytest.raises(Stop):
        model.fit(X, Y, **LOSS, callbacks=[stop])


def fails_within(model: Sequential) -> None:
    """After a step of its second epoch, which is taken back."""
    class Batches:
        rounds = 0

        def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            self.rounds += 1
            yield X[:20], Y[:20]
            if self.rounds == 2:
                raise Stop
            yield X[20:], Y[20:]

    with pytest.raises(Stop):
        model.fit(Batches(), loss="log_loss", epochs=2)


def diverges(model: Sequential) -> None:
    with suppress(FloatingPointError):
        model.fit(X, Y, **{**LOSS, "epochs": 50}, optimizer=optimizers.SGD(1e30))


def stops_early(model: Sequential) -> None:
    model.fit(X, Y, **{**LOSS, "epochs": 5}, validation_split=0.5,
              callbacks=[EarlyStopping("val_loss", patience=1, restore_best_weights=True)])


def predicts_within(model: Sequential) -> None:
    found: list[np.ndarray] = []
    model.fit(X, Y, **LOSS, callbacks=[lambda m, logs: found.append(m.predict(X[:2]))])
    assert not np.array_equal(*found)


def restores(model: Sequential) -> None:
    theta, statistics = model.network.snapshot()
    model.network.restore((2 * theta, statistics + 1))


def loads(model: Sequential) -> None:
    other = Sequential(model.layers, random_state=1).build((6, 6, 16))
    model.load_weights({**other.parameters, **other.state})


def assigns(model: Sequential) -> None:
    model.theta = np.linspace(-1, 1, model.n_parameters)


CHANGES: dict[str, Callable[[Sequential], Any]] = {
    "fit": lambda model: model.fit(X, Y, **LOSS),
    "averages": lambda model: model.fit(X, Y, **LOSS, optimizer=optimizers.Adam(ema=0.9)),
    "batches": lambda model: model.fit([(X[:20], Y[:20]), (X[20:], Y[20:])], loss="log_loss", epochs=2),
    **{change.__name__: change for change in (
        fails, fails_within, diverges, stops_early, predicts_within, restores, loads, assigns)},
}


@pytest.mark.parametrize("make", [new, wide])
@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_seen(name: str, make: Callable[[], Sequential]) -> None:
    """Without the comparison of weights that a model makes whose theta was handed out."""
    own, compared = make(), make()
    assert compared.theta.size and not compared.network.version.known
    for n in (1, 3, 40):
        np.testing.assert_array_equal(own.predict(X[:n]), compared.predict(X[:n]))
    for _ in range(2):
        for model in (own, compared):
            CHANGES[name](model)
        for n in (1, 3, 40):
            np.testing.assert_array_equal(own.predict(X[:n]), compared.predict(X[:n]))
            np.testing.assert_array_equal(own.predict(X[:n], batch_size=n), compared.predict(X[:n]))
        assert own.evaluate(X, Y, loss="log_loss") == compared.evaluate(X, Y, loss="log_loss")
        assert own.network.version.known


def test_networks_that_share_weights() -> None:
    model = new()
    before = model.predict(X[:2])
    model.freeze("conv2d_0")
    np.testing.assert_array_equal(model.predict(X[:2]), before)
    model.fit(X, Y, **LOSS)
    assert not np.array_equal(model.predict(X[:2]), before)
    assert model.network.version.known
    first, rest = model.network.split(3)
    assert rest.theta.size and not first.version.known and not model.network.version.known

    sequences = Sequential([layers.GRU(5), layers.Dense(2)], random_state=0).build((4, 3))
    other, x = sequences.network.with_steps(7), rng.standard_normal((2, 7, 3)).astype("float32")
    longer = Sequential([layers.GRU(5), layers.Dense(2)], random_state=0).build((7, 3))
    for _ in range(2):
        sequences.theta = longer.theta = rng.standard_normal(sequences.n_parameters)
        other.fast_path.prepare(2, 1)
        assert other.fast_path.predictor is not None
        np.testing.assert_array_equal(other.fast_path.predictor.predict(x), longer.predict(x))


@pytest.mark.parametrize("make", [new, wide])
@pytest.mark.parametrize("name", ["theta", "parameters", "state"])
def test_what_was_handed_out_is_compared(name: str, make: Callable[[], Sequential]) -> None:
    model = make()
    before = model.predict(X[:2])
    given = getattr(model, name)
    assert not model.network.version.known
    for array in [given] if name == "theta" else given.values():
        array += 1
    assert not np.array_equal(model.predict(X[:2]), before)


def test_copies_and_what_is_read_hand_nothing_out(tmp_path: Any) -> None:
    model = new()
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    model.save(tmp_path / "model")
    model.save_weights(tmp_path / "weights")
    model.trace(X[:1])
    model.loss_and_grad(X, Y, loss="log_loss")
    exported = torch_state_dict(model)
    assert not any(np.shares_memory(a, b) for a in exported.values() for b in model.network.vectors)
    for one in (model, *copies, Sequential.load(tmp_path / "model"), copy.copy(model)):
        assert one.network.version.known
    buffers: list[Any] = []
    pickle.dumps(model, 5, buffer_callback=buffers.append)
    assert buffers and all(buffer.raw().readonly for buffer in buffers[:2])
    classifier = MLPClassifier((5,), max_iter=3, early_stopping=True, random_state=0).fit(X[:, 0, 0], Y)
    assert classifier.model_.network.version.known
    assert len(classifier.coefs_) and not classifier.model_.network.version.known


def test_fits_that_read_and_set_weights_hand_nothing_out() -> None:
    def fit(comm: ThreadComm) -> Sequential:
        model = new()
        model.fit(X, Y, **LOSS, comm=comm, shards=2)
        return model

    for model in without_errors(run_ranks(2, fit)):
        assert model.network.version.known
    model = new()
    model.fit(X, Y, **LOSS, optimizer=optimizers.Adam(ema=0.9))
    model.freeze("conv2d_0")
    assert model.network.version.known
    for dtype in ("float32", "float64"):
        model = Sequential([layers.Flatten(), layers.Dense(3)], dtype=dtype, random_state=0).build((6, 6, 16))
        before = model.predict(X[:2])
        model.fit(X, Y, loss="log_loss", epochs=2, optimizer=optimizers.LBFGS())
        assert model.network.version.known and not np.array_equal(model.predict(X[:2]), before)
        np.testing.assert_array_equal(model.predict(X[:2]), copy.deepcopy(model).predict(X[:2]))
    echo = RNNRegressor(cell="rnn", units=(4,), spectral_radius=0.5, max_iter=1, input_shape=(6, 6)).fit(
        X[:, :, :, 0].reshape(40, -1), Y)
    codes = np.column_stack([Y, rng.standard_normal(40)])
    tables = MLPClassifier((5,), max_iter=1, categorical_features=[0]).fit(codes, Y)
    before = tables.predict_proba(codes)
    assert tables.embedding_of(0)
    for estimator in (echo, tables):
        assert estimator.model_.network.version.known
    # counts of another fit are seen, which the table of unknown categories is made from
    tables.partial_fit(codes[:20], Y[:20])
    assert tables.model_.network.version.known and not np.array_equal(tables.predict_proba(codes), before)


def test_a_version_within_changes() -> None:
    version = VersionCounter()
    assert version.known
    with version:
        assert not version.known
        with version:
            assert not version.known
        assert not version.known
    assert version.known
    with pytest.raises(Stop), version:
        raise Stop
    assert version.known
    version.hand_out()
    assert not version.known


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packed_weights_make_the_same_bits(dtype: str) -> None:
    for shape, size in (((300,), 70), ((130,), 129), ((7, 128), 130), ((20000,), 2)):
        model, other = (Sequential([layers.Dense(size, "relu"), layers.Dense(3)], dtype, 0).build(shape)
                        for _ in range(2))
        assert other.theta.size
        for n in (1, 2, 3, 17, 33, 100):
            x = rng.standard_normal((n, *shape)).astype(dtype)
            np.testing.assert_array_equal(model.predict(x), other.predict(x))
            np.testing.assert_array_equal(model.predict(x, n_threads=2), other.predict(x))
