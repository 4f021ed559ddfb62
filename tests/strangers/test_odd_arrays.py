"""Arrays of unusual layouts: huge by strides of 0, reversed, overlapping, in other byte orders and dtypes."""
import sys

import numpy as np
import pytest
from strangers import run_all

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
        elif what == "find":
            find_learning_rate(model, X, y, loss="squared_error")
    finally:
        assert (model.theta == before).all() and model.epoch == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address space can be limited on Linux only")
def test_huge_arrays():
    """Refused, by NumPy for the lack of memory or here for a shape, before any work that grows with the rows."""
    cases = [(dtype, columns, what) for what in (
        "predict", "fit", "split", "few targets", "weights", "evaluate", "jacobian", "find")
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
