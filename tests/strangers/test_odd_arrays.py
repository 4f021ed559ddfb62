"""Arrays of unusual layouts: huge by strides of 0, reversed, overlapping, in other byte orders and dtypes."""
import sys

import numpy as np
import pytest
from strangers import LIMITS_MEMORY, run_all

from ldl_cy import Sequential, find_learning_rate, layers

HUGE = 10**12
MOST_BYTES = 1 << 35            # of address space: what is refused must not depend on the machine's memory


def a_huge_array(dtype, columns, what):
    import resource  # Windows has none

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    X = np.broadcast_to(np.dtype(dtype).type(1), (HUGE, columns))
    y = np.broadcast_to(np.float32(0), (HUGE, 1))
    model = Sequential([layers.Dense(1)], random_state=0).build(columns)
    before = model.theta.copy()
    try:
        if what == "predict":
            model.predict(X)
        elif what == "fit":
            model.fit(X, y, loss="squared_error")
        elif what == "split":
            model.fit(X, y, loss="squared_error", validation_split=0.5)
        elif what == "few targets":
            model.fit(X, np.zeros((5, 1)), loss="squared_error")
        elif what == "weights":
            model.fit(np.ones((5, columns)), np.zeros((5, 1)), loss="squared_error", sample_weight=y[:, 0])
        elif what == "evaluate":
            model.evaluate(X, y, loss="squared_error")
        elif what == "jacobian":
            model.jacobian(X)
        elif what == "ids":
            Sequential([layers.Embedding(2, 3), layers.Flatten(), layers.Dense(1)]).build(columns).predict(X)
        elif what == "as many weights":
            model.fit(X, y, loss="squared_error", sample_weight=np.broadcast_to(1.0, HUGE))
        elif what == "counts":
            model.evaluate(X, np.broadcast_to(1.0, (HUGE, 1)), loss="poisson")
        elif what == "labels":
            model.evaluate(X, np.broadcast_to(1.0, (HUGE, 1)), loss="hinge")
        elif what == "find":
            find_learning_rate(model, X, y, loss="squared_error")
    finally:
        assert (model.theta == before).all() and model.epoch == 0


@pytest.mark.skipif(not LIMITS_MEMORY, reason="the address sanitizer reserves more address space than the limit")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address space can be limited on Linux only")
def test_huge_arrays():
    """Refused, by NumPy for the lack of memory or here for a shape, before any work that grows with the rows."""
    cases = [(dtype, columns, what) for what in (
        "predict", "fit", "split", "few targets", "weights", "evaluate", "jacobian", "find", "ids", "as many weights",
        "counts", "labels")
        for dtype, columns in (("float32", 1), ("float32", 4), ("float64", 4), ("uint8", 4), ("int8", 4))]
    for case, ended in zip(cases, run_all(a_huge_array, cases)):
        assert ended.error in ("MemoryError", "_ArrayMemoryError", "ValueError"), (case, ended)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [
    lambda x: x[::-1, ::-1][::-1, ::-1], lambda x: np.ascontiguousarray(x[::-1])[::-1], np.asfortranarray,
    lambda x: np.repeat(x, 2, axis=0)[::2], lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x.astype(">f8"),
    lambda x: x.astype(np.longdouble), lambda x: x.astype(object).astype(float)])
def test_the_same_numbers_in_another_layout(make, dtype):
    x = np.random.default_rng(0).integers(-8, 8, (40, 5)).astype(dtype)
    y = x[:, :1]
    models = [Sequential([layers.Dense(3, "tanh"), layers.Dense(1)], dtype, 0) for _ in range(2)]
    for model, f in zip(models, (np.array, make)):
        model.fit(f(x), f(y), loss="squared_error", epochs=2, validation_split=0.25, sample_weight=f(y * y)[:, 0] + 1)
    np.testing.assert_array_equal(models[0].theta, models[1].theta)
    np.testing.assert_array_equal(models[0].predict(make(x)), models[0].predict(x))


def test_windows_that_overlap():
    series = np.arange(50, dtype="float32") / 50
    windows = np.lib.stride_tricks.sliding_window_view(series, 8)
    model = Sequential([layers.Dense(2, "tanh"), layers.Dense(1)], random_state=0).build(8)
    np.testing.assert_array_equal(model.predict(windows), model.predict(windows.copy()))
    other = Sequential([layers.Dense(2, "tanh"), layers.Dense(1)], random_state=0)
    for m, x in ((model, windows), (other, windows.copy())):
        m.fit(x, x[:, :1], loss="squared_error", epochs=2)
    np.testing.assert_array_equal(model.theta, other.theta)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems may store the holes of the sparse file")
def test_rows_further_apart_than_an_int_counts(tmp_path):
    """The first columns of a memmap whose rows are longer than BLAS's int: the same bits as for a copy."""
    rng = np.random.default_rng(0)
    near = rng.standard_normal((12, 4)).astype("f")
    far = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(12, 2**31 + 8))[:, :4]
    far[:] = near
    for stack in ([layers.Dense(3), layers.Dense(1)], [layers.Reshape((4, 1)), layers.LSTM(2), layers.Dense(1)],
                  [layers.Reshape((2, 2, 1)), layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(1)]):
        for batch_size in (5, "full"):
            models = [Sequential(stack, random_state=0).build(4) for _ in range(2)]
            for model, X in zip(models, (far, near)):
                model.fit(X, near[:, :1], loss="squared_error", epochs=2, batch_size=batch_size)
            assert (models[0].theta == models[1].theta).all()
            assert (models[0].predict(far) == models[0].predict(near)).all()
            assert (models[0].jacobian(far) == models[0].jacobian(near)).all()


class Shifting:
    """An array that answers otherwise each time: as long as its first answer is kept, nothing else is read."""

    def __init__(self):
        self.asked = 0

    @property
    def shape(self):
        self.asked += 1
        return (self.asked, 4)

    def __len__(self):
        self.asked += 1
        return self.asked

    @property
    def dtype(self):
        self.asked += 1
        return np.dtype("f4" if self.asked % 2 else "O")

    def __array__(self, dtype=None, copy=None):
        self.asked += 1
        return np.ones((8 + self.asked % 3, 4 + self.asked % 2), dtype or "f8")


def a_shifting_array(what, asked):
    X = Shifting()
    X.asked = asked
    model = Sequential([layers.Dense(1)], random_state=0).build(4)
    y, known = np.ones((8, 1)), np.ones((8, 4))
    fit = {"loss": "squared_error", "epochs": 1}
    calls = {
        "predict": lambda: model.predict(X), "fit": lambda: model.fit(X, y, **fit),
        "unbuilt": lambda: Sequential([layers.Dense(1)]).fit(X, y, **fit), "y": lambda: model.fit(known, X, **fit),
        "weights": lambda: model.fit(known, y, sample_weight=X, **fit), "trace": lambda: model.trace(X),
        "split": lambda: model.fit(X, X, validation_split=0.5, **fit), "batches": lambda: model.fit([(X, X)], **fit),
        "validation": lambda: model.fit(known, y, validation_data=(X, X), **fit),
        "find": lambda: find_learning_rate(model, X, X, loss="squared_error"), "theta": lambda: setattr(model,
        "theta", X),
        "jacobian": lambda: model.jacobian(X), "lengths": lambda: model.predict(known, lengths=X),
        "objective": lambda: model.objective(X, X, loss="squared_error")(X)}
    calls[what]()


def test_arrays_that_answer_otherwise_each_time():
    cases = [(what, asked) for asked in range(6) for what in (
        "predict", "fit", "unbuilt", "y", "weights", "trace", "split", "batches", "validation", "find", "theta",
        "jacobian", "lengths", "objective")]
    for case, ended in zip(cases, run_all(a_shifting_array, cases)):
        assert ended.error in ("", "ValueError", "TypeError"), (case, ended)
        assert not ended.error or " must " in ended.text or "lengths" in ended.text, (case, ended)
