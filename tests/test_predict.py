"""The fast path of predict: the same bits as the general one, whatever happens to the weights meanwhile."""
from __future__ import annotations

import _thread
import copy
import functools
import operator
import pickle
import signal
import threading
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from ldl_cy import CNNClassifier, MLPClassifier, MLPRegressor, Sequential, layers, threads, workspaces
from ldl_cy._engine.blas_threads import BlasLimit
from ldl_cy._engine.finite import all_finite
from ldl_cy._kernels.probabilities import class_probabilities

DTYPES = ["float32", "float64"]
RNG = np.random.default_rng(0)

NETWORKS = {
    "mlp": ([layers.Dense(64, "relu"), layers.Dense(64, "tanh"), layers.Dense(2)], (20,)),
    "wide": ([layers.Dense(300, "relu"), layers.Dense(3)], (200,)),
    "conv": ([layers.Conv2D(6, 3, activation="relu"), layers.MaxPool2D(2), layers.Flatten(), layers.Dense(4)],
             (8, 8, 2)),
    "winograd": ([layers.Conv2D(32, 3, padding="same"), layers.GlobalAvgPool2D(), layers.Dense(2)], (16, 16, 32)),
    "lstm": ([layers.LSTM(12, return_sequences=True), layers.GRU(8), layers.Dense(2)], (7, 5)),
    "norm": ([layers.Dense(16), layers.BatchNorm(), layers.Activation("tanh"), layers.LayerNorm(), layers.Dense(2)],
             (6,)),
    "flattened": ([layers.Flatten(), layers.Dense(2)], (3, 4)),
}


def network(name: str, dtype: str = "float32") -> Sequential:
    stack, shape = NETWORKS[name]
    model = Sequential(copy.deepcopy(stack), dtype=dtype, random_state=0).build(shape)
    for values in model.state.values():
        values[...] = RNG.uniform(0.5, 1.5, values.shape)
    return model


def general(model: Sequential, X: np.ndarray) -> np.ndarray:
    """The general path: a batch size is asked for."""
    return model.predict(X, batch_size=len(X), n_threads=1)


def rows(model: Sequential, n: int, dtype: str) -> np.ndarray:
    return RNG.standard_normal((n, *model.input_shape)).astype(dtype)


def fast_path(model: Sequential, X: np.ndarray) -> np.ndarray:
    """The fast path, which must have been taken."""
    model.predict(X)
    out = model.network.fast_path.predictor.predict(X)
    assert out is not None
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_as_the_general_path(name, dtype):
    model = network(name, dtype)
    for n in (1, 2, 11):
        for kind in ("float32", "float64", "uint8"):
            X = (10 * rows(model, n, "float64")).astype(kind)
            np.testing.assert_array_equal(fast_path(model, X), general(model, X))
            np.testing.assert_array_equal(model.predict(X), general(model, X))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_number_of_threads_takes_the_fast_path(name, dtype):
    """Also more rows than one thread is given by default, in blocks that the threads share."""
    model = network(name, dtype)
    few, many = rows(model, 3, dtype), rows(model, 500, dtype)
    model.predict(few, n_threads=1)
    assert 3 <= model.network.fast_path.predictor.most_rows <= 32
    for X in (few, many):
        expected = general(model, X)
        for n_threads in (1, 2, 3, 100, None):
            np.testing.assert_array_equal(model.predict(X, n_threads=n_threads), expected)
            predictor = model.network.fast_path.predictor
            if n_threads is None and len(X) > predictor.rows_alone:
                assert predictor.predict(X) is None
            else:
                np.testing.assert_array_equal(predictor.predict(X, n_threads), expected)
    assert predictor.n_threads == min(100, predictor.most_threads) or len(many) <= predictor.rows_alone
    for wrong in (0, -1, True, 1.0, np.int64(2), "2"):
        assert predictor.predict(few, wrong) is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_statistics_written_between_predicts(name, dtype):
    model = network(name, dtype)
    X = rows(model, 2, dtype)
    for path in (fast_path, general):
        seen = [path(model, X)]
        model.theta[:] = model.theta + 0.2 * RNG.standard_normal(model.theta.shape)
        seen.append(path(model, X))
        for values in model.parameters.values():        # one at a time: each has kept copies of its own
            values += 0.3 * RNG.standard_normal(values.shape)
            seen.append(path(model, X))
        for values in model.state.values():
            values *= RNG.uniform(1.5, 3, values.shape)
            seen.append(path(model, X))
        for one, other in pairwise(seen):
            assert not np.array_equal(one, other)
        fresh = network(name, dtype)
        fresh.theta = model.theta
        fresh.network.statistics[:] = model.network.statistics
        np.testing.assert_array_equal(seen[-1], general(fresh, X))


def test_the_last_bit_of_a_weight_and_the_sign_of_zero_are_seen():
    model = Sequential([layers.Conv1D(1, 1, use_bias=False)], random_state=0).build((1, 1))
    X = np.ones((1, 1, 1), np.float32)
    for value in (np.float32(1), np.nextafter(np.float32(1), np.float32(2)), np.float32(0), np.float32(np.nan)):
        model.theta[:] = value
        np.testing.assert_array_equal(fast_path(model, X).ravel(), value)


def test_fit_load_pickle_copy_build(tmp_path):
    model = network("mlp")
    X = rows(model, 4, "float32")
    before = fast_path(model, X)
    model.fit(X, np.ones((4, 2)), loss="squared_error", epochs=2)
    after = fast_path(model, X)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, general(model, X))
    model.save(tmp_path / "model")
    for twin in (Sequential.load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(fast_path(twin, X), after)
        twin.theta[:] = 0
        np.testing.assert_array_equal(fast_path(twin, X), 0)
    np.testing.assert_array_equal(fast_path(model, X), after)
    model.build(5)
    assert model.network.fast_path.predictor is None
    assert model.predict(np.zeros((2, 5), np.float32)).shape == (2, 2)
    with pytest.raises(ValueError, match="must have the shape"):
        model.predict(X)


@pytest.mark.parametrize("name", ["mlp", "conv", "lstm"])
def test_unusual_arrays_give_what_plain_ones_do(name):
    model = network(name)
    plain = rows(model, 6, "float32")
    expected = fast_path(model, plain)
    double = np.zeros((12, *model.input_shape), "float32")
    double[::2] = plain
    unusual = {
        "list": plain.tolist(), "fortran": np.asfortranarray(plain), "strided": double[::2],
        "negative": plain[::-1].copy()[::-1], "big-endian": plain.astype(">f4"), "matrix": np.ma.array(plain),
        "read-only": plain.copy(), "unaligned": np.frombuffer(b"x" + plain.tobytes(), np.uint8)[1:].view("f4").reshape(
            plain.shape),
    }
    unusual["read-only"].flags.writeable = False
    for X in unusual.values():
        np.testing.assert_array_equal(model.predict(X), expected)
    ints = np.arange(plain.size).reshape(plain.shape) % 7
    for kind in ("int64", "int8", "bool", "float16", ">f8"):
        np.testing.assert_array_equal(model.predict(ints.astype(kind)), general(model, ints.astype(kind).astype("f4")))


@pytest.mark.parametrize("kind", DTYPES)
def test_errors_are_those_of_the_general_path(kind):
    model = network("mlp")
    good = rows(model, 2, kind)
    fast_path(model, good)
    for bad, text in ((np.nan, "finite, got NaN"), (np.inf, "finite, got infinity"), (-np.inf, "infinity")):
        X = good.copy()
        X[1, 19] = bad
        with pytest.raises(ValueError, match=text):
            model.predict(X)
    for X in (good[0], good[:, :19], good[None], np.zeros((0, 20), kind), np.zeros((2, 20, 1), kind)):
        with pytest.raises(ValueError, match="X must have"):
            model.predict(X)
    for X in (good.astype(complex), good.astype(object), good.astype("U8"), good.astype("M8[s]")):
        with pytest.raises(TypeError, match="must be an array of numbers"):
            model.predict(X)
    with pytest.raises(ValueError, match="float32"):
        model.predict(np.full((1, 20), 1e39))
    with pytest.raises(ValueError, match="n_threads"):
        model.predict(good, n_threads=0)


def test_two_threads_predict_at_once():
    # long enough for the GIL to be released: the second thread finds it taken
    model = Sequential([layers.Dense(700, "relu"), layers.Dense(700, "relu"), layers.Dense(3)],
                       random_state=0).build(300)
    inputs = [rows(model, 3, "float32") for _ in range(4)]
    expected = [general(model, X) for X in inputs]
    fast_path(model, inputs[0])
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(60):
            if not np.array_equal(model.predict(inputs[i]), expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_ctrl_c_ends_the_fast_path():
    """It comes before the call, between two of C, where Python looks for it no more."""
    model, out = network("wide"), []
    X = rows(model, 12, "float32")
    expected = fast_path(model, X)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            predict = functools.partial(model.network.fast_path.predictor.predict, X)
            out.extend(map(operator.call, (_thread.interrupt_main, predict)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert out == [None]
    np.testing.assert_array_equal(fast_path(model, X), expected)


def test_an_output_is_the_callers():
    model = network("mlp")
    X = rows(model, 2, "float32")
    first = fast_path(model, X)
    kept = first.copy()
    fast_path(model, X + 1)
    np.testing.assert_array_equal(first, kept)
    assert first.flags.owndata and first.flags.writeable and first.flags.c_contiguous


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_ids_are_checked_on_the_fast_path(shape):
    """What the first layer does not accept comes back, and the general path raises the error."""
    model = Sequential([layers.Embedding(5, 3), layers.Flatten(), layers.Dense(2)], random_state=0).build(shape)
    for n in (1, 3):
        X = RNG.integers(0, 5, (n, *shape)).astype("float32")
        np.testing.assert_array_equal(fast_path(model, X), general(model, X))
        for bad in (5, -1, 0.5):
            wrong = X.copy()
            wrong.ravel()[-1] = bad
            assert model.network.fast_path.predictor.predict(wrong) is None
            with pytest.raises(ValueError, match="token ids must be whole numbers"):
                model.predict(wrong)
        np.testing.assert_array_equal(fast_path(model, X), general(model, X))


def test_networks_that_have_no_fast_path():
    python = Sequential([layers.Custom(lambda p, x: 2 * x, lambda p, x, y, dy: (2 * dy, {}), output_shape=3)]).build(3)
    python.predict(np.ones((1, 3), "float32"))
    assert python.network.fast_path.predictor is None


def test_a_network_without_arithmetic():
    shape, x = Sequential([layers.Flatten()]).build((2, 2)), np.arange(8, dtype="float32").reshape(2, 2, 2)
    for _ in range(2):                  # the second time by the fast path
        out = shape.predict(x)
        assert not np.shares_memory(out, x)
        np.testing.assert_array_equal(out, x.reshape(2, 4))


def test_blas_is_held_from_any_thread():
    assert threads.find_blas() in (True, False)
    if not threads.find_blas():
        pytest.skip("a BLAS that threadpoolctl alone can set")
    from threadpoolctl import ThreadpoolController
    libraries = [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]
    before = [c.num_threads for c in libraries]
    seen = []

    def work() -> None:
        with BlasLimit(), threads.blas_at_one_thread():
            seen.extend(c.num_threads for c in libraries)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen == [1] * len(libraries)
    assert [c.num_threads for c in libraries] == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_finite(dtype):
    x = np.ones((5, 7), dtype)
    assert all_finite(x) and all_finite(x[:0]) and all_finite(x[2]) and all_finite(x.reshape(5, 1, 7))
    for bad in (np.nan, np.inf, -np.inf):
        y = x.copy()
        y[4, 6] = bad
        assert all_finite(y) is False
    assert all_finite(np.full(3, np.finfo(dtype).max)) and all_finite(np.full(3, np.finfo(dtype).tiny / 2, dtype))
    assert all_finite(x[:, ::2]) is None and all_finite(x.astype(x.dtype.newbyteorder())) is None
    assert all_finite(np.full(3, -1e39)) and all_finite(np.full(3, -1e39), True) is False


@pytest.mark.parametrize("dtype", DTYPES)
def test_class_probabilities(dtype):
    from scipy.special import expit, softmax
    eps = np.finfo(dtype).eps
    z = (10 * RNG.standard_normal((9, 3))).astype(dtype)
    z[0] = (0, 300, -300)
    z[1, 0] = np.nan
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(class_probabilities(z.copy(), True),
                                   np.clip(softmax(z, axis=1), eps, 1 - eps), rtol=20 * eps)
    p = np.clip(expit(z), eps, 1 - eps)
    np.testing.assert_allclose(class_probabilities(z.copy(), False), p, rtol=20 * eps)
    one = class_probabilities(z[:, :1].copy(), False, True)
    np.testing.assert_allclose(one, np.hstack([1 - p[:, :1], p[:, :1]]), rtol=20 * eps, atol=2 * eps)
    assert one.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3])
def test_estimators_take_the_fast_path(dtype, classes):
    X = RNG.standard_normal((30, 4, 4, 1)).astype(dtype)
    names = np.array(["a", "b", "c"])
    y = names[np.arange(30) % classes]
    flat = X.reshape(30, 16)
    cases = [(MLPClassifier((8,), max_iter=2, random_state=0), flat, y),
             (MLPRegressor(hidden_layer_sizes=(8,), max_iter=2, random_state=0), flat, flat[:, :classes - 1]),
             (CNNClassifier(filters=3, max_iter=2, random_state=0), X, y)]
    for estimator, samples, targets in cases:
        estimator.fit(samples, targets)
        general_path = copy.deepcopy(estimator).set_params(n_threads=1)
        one = samples[:1]
        for method in ("predict", "predict_proba") if hasattr(estimator, "classes_") else ("predict",):
            for _ in range(2):
                np.testing.assert_array_equal(
                    getattr(estimator, method)(one), getattr(general_path, method)(one))
                np.testing.assert_array_equal(
                    getattr(estimator, method)(one.astype("f8").tolist()), getattr(general_path, method)(one))
        assert estimator.model_.network.fast_path.predictor is not None
        for bad in (one[:, :2], np.full_like(one, np.nan), one[0, 0] if one.ndim == 2 else one[..., None]):
            with pytest.raises(ValueError) as ours:
                estimator.predict(bad)
            with pytest.raises(ValueError) as theirs:
                general_path.predict(bad)
            assert str(ours.value) == str(theirs.value)
        estimator.model_.theta[:] = 0
        assert np.array_equal(estimator._raw(one), np.zeros_like(estimator._raw(one)))


def test_names_of_features_are_still_compared():
    pandas = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    X = pandas.DataFrame(RNG.standard_normal((20, 2)), columns=["a", "b"])
    estimator = MLPRegressor(hidden_layer_sizes=(3,), max_iter=2).fit(X, X["a"])
    estimator.predict(X)
    with pytest.warns(UserWarning, match="feature names"):
        estimator.predict(X.to_numpy())


def test_a_model_keeps_few_kinds_of_workspaces():
    model = network("mlp")
    X = rows(model, 3, "float32")
    expected = general(model, X)
    for n_threads in (*range(1, 2 * workspaces.MOST_KINDS), 1):       # the first kind was dropped meanwhile
        np.testing.assert_array_equal(model.predict(X, batch_size=3, n_threads=n_threads), expected)
        assert len(model.network.workspaces) <= workspaces.MOST_KINDS
    assert len(model.network.workspaces) == workspaces.MOST_KINDS


def test_without_a_hold_only_small_products_take_the_fast_path(monkeypatch):
    monkeypatch.setattr("ldl_cy.fast_path.find_blas", lambda: False)
    model = network("mlp")
    X = rows(model, 3, "float32")
    np.testing.assert_array_equal(model.predict(X), general(model, X))
    assert model.network.fast_path.predictor is None and model.network.fast_path.limits[:2] == (2, 2)
    np.testing.assert_array_equal(fast_path(model, X[:2]), general(model, X[:2]))


@pytest.mark.parametrize(("stack", "shape"), [
    ([layers.Conv2D(16, 3, padding="same"), layers.Conv2D(16, 3, padding="same"), layers.GlobalAvgPool2D()],
     (128, 128, 3)),
    ([layers.LSTM(16, return_sequences=True), layers.GRU(8), layers.Dense(1)], (10_000, 8)),
])
def test_one_row_takes_the_memory_of_one_row(stack, shape, monkeypatch):
    """Not that of a block of rows, let alone of the rows that a plan is for."""
    model = Sequential(stack, "float32", 0).build(shape)
    x = np.random.default_rng(0).standard_normal((40, *shape)).astype("float32")
    y = np.zeros((1, *model.output_shape))
    row = sum(model.network.graph.sizes) * 4
    for call in (model.predict, model.trace, lambda x: model.evaluate(x, y, loss="squared_error")):
        tracemalloc.start()
        call(x[:1])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * row
    found = [model.predict(x[:n], n_threads=1) for n in (1, 2, 33)]
    # the same blocks, so the same bits, with memory for any number of rows
    monkeypatch.setattr("ldl_cy.workspaces.FEW_ROWS", (0, 0))
    model = Sequential(stack, "float32", 0).build(shape)
    for n, got in zip((1, 2, 33), found):
        np.testing.assert_array_equal(model.predict(x[:n], n_threads=1), got)


def test_the_fast_path_grows_with_the_calls():
    model = Sequential([layers.Dense(3, "tanh"), layers.Dense(2)], random_state=0).build(4)
    x = np.random.default_rng(0).standard_normal((200, 4)).astype("float32")
    rows = []
    for n in (1, 1, 2, 32, 33, 1, 200):
        np.testing.assert_array_equal(model.predict(x[:n]), model.predict(x[:n], n_threads=1))
        rows.append(model.network.fast_path.predictor.most_rows)
    assert rows[:4] == [1, 1, 32, 32] and rows[4] == rows[5] == rows[6] >= 200
