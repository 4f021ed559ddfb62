"""Arrays that are written to after they were checked: by a callback, by another thread, by the owner of a memmap.

Numbers that become indices may then be anything: the call ends with some result or with an error, never with a crash.
"""
import itertools
import tempfile
import threading
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from strangers import run, run_all

from ldl_cy import (
    MLPClassifier,
    NeuralNetClassifier,
    RNNClassifier,
    Sequential,
    find_learning_rate,
    layers,
    optimizers,
)

N, BAD = 64, [2**28, -(2**28), np.nan, np.inf, -np.inf, 1e30]


class Changed:
    """Data of one kind, a model for them, and ``spoil``, which writes to what was checked."""

    def __init__(self, kind, dtype, bad):
        rng = np.random.default_rng(0)
        self.kind, self.lengths, self.loss, k = kind, None, "log_loss", 3
        self.X = rng.standard_normal((N, 4)).astype(dtype)
        if kind in ("codes", "many codes", "hinge"):
            k = 300 if kind == "many codes" else 3
            self.loss = "hinge" if kind == "hinge" else "log_loss"
        self.y = rng.integers(k, size=N).astype(dtype)
        stack = [layers.Dense(k)]
        target, bad = self.y, dtype(bad)
        if kind in ("columns", "rows"):
            self.X = sp.csr_matrix(self.X)
            target = self.X.indices if kind == "columns" else self.X.indptr
        elif kind == "lengths":
            self.X = rng.standard_normal((N, 6, 2)).astype(dtype)
            self.lengths = target = rng.integers(1, 7, N).astype(np.int32)
            stack = [layers.LSTM(3, return_sequences=True), layers.MaxPool1D(2, 1, padding="same"), layers.BatchNorm(),
                     layers.Bidirectional(layers.GRU(2, return_sequences=True)), layers.GlobalAvgPool1D(),
                     layers.Dense(k)]
        elif kind == "steps":
            self.X = rng.standard_normal((N, 6, 2)).astype(dtype)
            self.y = rng.integers(k, size=(N, 6)).astype(dtype)
            self.lengths = target = rng.integers(1, 7, N).astype(np.int32)
            stack = [layers.RNN(3, return_sequences=True), layers.Dense(k)]
        elif kind == "ids":
            self.X = target = rng.integers(50, size=(N, 4)).astype(dtype)
            stack = [layers.Embedding(50, 3), layers.Flatten(), layers.Dense(k)]
        if target.dtype.kind == "i":
            bad = 2**28 if not np.isfinite(bad) or bad > 0 else -(2**28)
        self.target, self.bad, self.kept = target, bad, target.copy()
        name = np.dtype(dtype).name
        self.model = Sequential(stack, name, 0).build(self.X.shape[1:])

    def spoil(self, *_):
        self.target[...] = self.bad
        if self.kind == "rows":         # the first of them then has all entries, and more
            self.target[0] = 0

    def mend(self):
        self.target[...] = self.kept

    def data(self):
        return (self.X, self.y, None, self.lengths)


KINDS = ["codes", "many codes", "hinge", "columns", "rows", "lengths", "steps", "ids"]


def clean(kind, dtype):
    """The same data, which are not written to."""
    return Changed(kind, dtype, 0).data()


def by_callback(changed, where, kind, dtype):
    model, (X, y, _, lengths) = changed.model, changed.data()
    X2, y2, _, lengths2 = clean(kind, dtype)
    fit = {"loss": changed.loss, "epochs": 3, "n_threads": 1, "callbacks": [changed.spoil]}
    if where == "training":
        model.fit(X, y, lengths=lengths, batch_size=8, **fit)
    elif where == "full batch":
        model.fit(X, y, lengths=lengths, batch_size="full", **fit)
    elif where == "method":
        model.fit(X, y, lengths=lengths, optimizer="lbfgs" if changed.loss == "log_loss" else "cg", **fit)
    elif where == "validation":
        model.fit(X2, y2, lengths=lengths2, validation_data=changed.data(), **fit)
    elif where == "split":
        model.fit(X, y, lengths=lengths, validation_split=0.5, **fit)
    elif where == "batches":
        model.fit([changed.data()] * 2, **{**fit, "epochs": 1})
    elif where == "objective":
        f = model.objective(X, y, loss=changed.loss, lengths=lengths)
        f(model.theta)
        changed.spoil()
        f(model.theta)


def a_change(kind, where, dtype, bad):
    changed = Changed(kind, np.dtype(dtype).type, float(bad))
    try:
        by_callback(changed, where, kind, np.dtype(dtype).type)
    except FloatingPointError as error:
        assert str(error).startswith("Sequential: the loss or a weight became non-finite"), error
    return bool(np.isfinite(changed.model.theta).all())


WHERE = ["training", "full batch", "method", "validation", "split", "batches", "objective"]


def test_a_callback_changes_the_data():
    cases = [(kind, where, dtype, str(bad)) for (kind, where, dtype), bad in zip(
        itertools.product(KINDS, WHERE, ["float32", "float64"]), itertools.cycle(BAD))]
    assert all(ended.result() for ended in run_all(a_change, cases))


def an_estimator(family, solver):
    """The estimator keeps the held-out rows as they were passed to it."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((N, 6, 2)), rng.integers(3, size=N)
    callbacks = []
    options = {"solver": solver, "max_iter": 3, "callbacks": callbacks, "random_state": 0, "dtype": "float64"}
    if family == "mlp":
        rows, held = sp.csr_matrix(X[:, :, 0]), sp.csr_matrix(X[:, :, 0])
        changed = [rows.indices, held.indices, rows.indptr[1:], held.indptr[1:]]
        estimator = MLPClassifier(4, **options)
    elif family == "rnn":
        rows = held = X
        changed = [X, y]
        estimator = RNNClassifier(units=3, **options)
    else:
        rows = held = rng.integers(20, size=(N, 6)).astype(float)
        changed = [rows, y]
        estimator = NeuralNetClassifier([layers.Embedding(20, 3), layers.Flatten()], **options)

    def spoil(model, logs):
        for array in changed:
            array[...] = 2**28
    callbacks.append(spoil)
    estimator.fit(rows, y, X_val=held, y_val=y.copy())
    return len(estimator.validation_scores_)


def test_a_callback_changes_the_rows_of_an_estimator():
    cases = itertools.product(["mlp", "rnn", "net"], ["adam", "lbfgs"])
    assert all(ended.result() >= 1 for ended in run_all(an_estimator, list(cases)))


def by_a_thread(kind, what, dtype):
    """Another thread writes bad and good numbers in turn, while calls check and read them."""
    changed, ended = Changed(kind, np.dtype(dtype).type, 2.0**28), threading.Event()
    X, y, _, lengths = changed.data()
    model = changed.model

    def write():
        while not ended.is_set():
            changed.spoil()
            changed.mend()
    thread = threading.Thread(target=write)
    thread.start()
    done = 0
    try:
        for _ in range(60):
            try:
                if what == "evaluate":
                    model.evaluate(X, y, loss=changed.loss, lengths=lengths)
                elif what == "predict":
                    model.predict(X, lengths=lengths)
                elif what == "fit":
                    model.fit(X, y, loss=changed.loss, lengths=lengths, batch_size=8, epochs=2, optimizer="adam")
                elif what == "find":
                    find_learning_rate(model, X, y, loss=changed.loss, lengths=lengths, n_steps=30)
                else:
                    model.loss_and_grad(X, y, loss=changed.loss, lengths=lengths)
                done += 1
            except (ValueError, FloatingPointError):
                pass
    finally:
        ended.set()
        thread.join()
    return done


def test_another_thread_changes_the_data():
    cases = [(kind, what, dtype) for (kind, what), dtype in zip(
        itertools.product(KINDS, ["evaluate", "predict", "fit", "grad", "find"]),
        itertools.cycle(["float32", "float64"]))]
    run_all(by_a_thread, cases)


def a_memmap():
    """Its owner writes to the file through another map; the model has a map that is readonly."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data")
        rng = np.random.default_rng(0)
        writable = {}
        for name, values in {"ids": rng.integers(50, size=(N, 4)), "codes": rng.integers(3, size=N)}.items():
            np.save(path.with_name(f"{name}.npy"), values.astype(np.float32))
            writable[name] = np.load(path.with_name(f"{name}.npy"), mmap_mode="r+")
        X, y = (np.load(path.with_name(f"{name}.npy"), mmap_mode="r") for name in writable)

        def spoil(*_):
            for array in writable.values():
                array[...] = 2**28
                array.flush()
        model = Sequential([layers.Embedding(50, 3), layers.Flatten(), layers.Dense(3)], random_state=0)
        history = model.fit(X, y, loss="log_loss", epochs=3, optimizer=optimizers.Adam(), callbacks=[spoil])
        return bool(np.isfinite(history.history["loss"]).all())


def test_the_owner_of_a_memmap_changes_it():
    assert run(a_memmap).result()


def an_order(values):
    """The order of rows that a warm start continues from was damaged."""
    X, y = np.eye(8), np.arange(8) % 2
    estimator = MLPClassifier(2, solver="sgd", random_state=0, max_iter=2, batch_size=3)
    estimator.partial_fit(X, y, classes=[0, 1])
    estimator._progress.order = np.array(values)
    estimator.partial_fit(X, y)
    return sorted(estimator._progress.order.tolist())


def test_a_damaged_order_of_rows():
    for ended in run_all(an_order, [[[2**30] * 8], [[-(2**30)] * 8], [[0.5] * 8], [[[1] * 8]]]):
        assert ended.result() == list(range(8))


def shapes_in_place(name):
    """The owner of an array gives it another shape while it is read."""
    changed = Changed("steps", np.float32, 0)
    X, y, _, lengths = changed.data()
    weights = np.ones(N, np.float32)
    array = {"X": X, "y": y, "weights": weights, "lengths": lengths}[name]

    def spoil(model, logs):
        array.shape = (1, *array.shape)
    model = changed.model
    model.fit(X, y, loss="log_loss", lengths=lengths, epochs=2, callbacks=[spoil], sample_weight=weights)
    model.fit(X.reshape(N, 6, 2), y.reshape(N, 6), loss="log_loss", lengths=lengths.reshape(N), epochs=2,
              validation_data=(X.reshape(N, 6, 2), y.reshape(N, 6), weights.reshape(N), lengths.reshape(N)),
              callbacks=[spoil], optimizer="lbfgs")
    return model.epoch


def test_another_shape_in_place():
    assert [e.result() for e in run_all(shapes_in_place, [["X"], ["y"], ["weights"], ["lengths"]])] == [4] * 4
