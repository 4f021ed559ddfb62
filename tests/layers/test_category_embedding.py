"""CategoryEmbedding against tables in NumPy: numbers beside them, unknown codes, counts."""
import tracemalloc

import numpy as np
import pytest
from cases import looked_up
from contract import CHECKS, DTYPES, LayerCase

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.layers import CategoryEmbedding


def case(name, layer, n_in):
    """Codes of all columns up to the unknown one, numbers elsewhere."""
    def data(rng, n):
        X = rng.standard_normal((n, n_in))
        for place, n_ids in zip(layer.places, layer.input_dims):
            X[:, place] = rng.integers(0, n_ids + 1, n)
        return X
    return LayerCase(name, layer, (n_in,), lambda p, x: looked_up(layer, p, x), data=data)


CASES = [
    case("beside numbers", CategoryEmbedding([1], [5]), 3),
    case("several", CategoryEmbedding([4, 0, 2], [3, 9, 120], [2, 17, 1]), 7),
    case("no numbers", CategoryEmbedding([0, 1], [2, 2]), 2),
    case("one category", CategoryEmbedding([0], [1]), 1),
    case("names", CategoryEmbedding([2, 1], [4, 3], names=["hours per week", "a.kernel"], name="tables"), 4),
    case("frozen", CategoryEmbedding([0], [4], [3], trainable=False, embeddings_initializer="normal"), 2),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("counts", [(5, 0, 1), (0, 0, 0), (1e6, 1, 1), (0.5, 0.25, 0.25)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_unknown_codes_are_the_mean_by_counts(dtype, counts):
    kernel = CategoryEmbedding([1], [3], [2]).build((2,)).kernel(dtype)
    theta, state = np.array([1, 2, 3, 5, 7, 11], dtype), np.array(counts, dtype)
    x = np.array([[0.5, 3], [1.5, 1], [-2, 3]], dtype)
    y, cache, derived = kernel.forward(theta, x, state=state)
    share = np.array(counts, float) / (sum(counts) or 1)
    mean = share @ theta.reshape(3, 2).astype(float)
    close = {"rtol": 1e-6 if dtype == "float32" else 1e-14, "atol": 0}
    np.testing.assert_allclose(y, [[0.5, *mean], [1.5, 3, 5], [-2, *mean]], **close)
    dy, grad, dx = np.array([[9, 1, 2], [8, 4, 8], [7, 16, 32]], dtype), np.zeros(6, dtype), np.full_like(x, np.nan)
    kernel.backward(theta, x, y, dy.copy(), cache, derived=derived, state=state, grad=grad, dx=dx)
    expected = share[:, None] * (dy[0, 1:] + dy[2, 1:]).astype(float)
    expected[1] += dy[1, 1:]
    np.testing.assert_allclose(grad.reshape(3, 2), expected, **close)
    np.testing.assert_array_equal(dx, [[9, 0], [8, 0], [7, 0]])


def test_columns_of_numbers_take_no_memory_of_their_own():
    tracemalloc.start()
    CategoryEmbedding([2, 0], [3, 4]).build((10**6,)).kernel("float32")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**5


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_code_reads_the_mean(dtype):
    kernel = CategoryEmbedding([0], [2], [1]).build((1,)).kernel(dtype)
    x = np.array([[-1], [2], [1e30], [-1e30], [np.nan], [np.inf], [1], [0.2]], dtype)
    y, _, _ = kernel.forward(np.array([1, 4], dtype), x, state=np.ones(2, dtype))
    np.testing.assert_array_equal(y.ravel(), [2.5] * 6 + [4, 1])


def test_sizes_and_names():
    layer = CategoryEmbedding([3, 1], [7, 200], names=["city", "job"])
    model = Sequential([layer, layers.Dense(2)], random_state=0).build(5)
    shapes = {name: values.shape for name, values in model.parameters.items()}
    assert shapes == {
        "category_embedding_0.city.table": (7, 4), "category_embedding_0.job.table": (200, 50),
        "dense_1.kernel": (57, 2), "dense_1.bias": (2,)}
    assert {name: values.tolist() for name, values in model.state.items()} == {
        "category_embedding_0.city.counts": [1] * 7, "category_embedding_0.job.counts": [1] * 200}
    assert list(Sequential([CategoryEmbedding([1], [1])]).build(2).parameters) == ["category_embedding_0.x1.table"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_are_of_the_user(dtype, tmp_path):
    """Training leaves them as they are; files, pickles and float32 keep them."""
    model = Sequential([CategoryEmbedding([0], [3], [2]), layers.Dense(1)], dtype, 0).build(2)
    counts = model.state["category_embedding_0.x0.counts"]
    counts[:] = 6, 1, 0
    X = np.array([[0, 0.5], [1, 2], [3, 1], [2, -1]])
    model.fit(X, np.ones(4), loss="squared_error", optimizer="adam", epochs=3)
    np.testing.assert_array_equal(counts, [6, 1, 0])
    table = model.parameters["category_embedding_0.x0.table"].astype(float)
    mean = model.trace(X)["category_embedding_0"][2, 1:]
    np.testing.assert_allclose(mean, (6 * table[0] + table[1]) / 7, rtol=1e-6 if dtype == "float32" else 1e-14)
    model.save(tmp_path / "model.ldl")
    again = Sequential.load(tmp_path / "model.ldl")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.layers == model.layers


@pytest.mark.parametrize(("bad", "shown"), [(-1, "-1"), (4, "4"), (1.5, "1.5"), (2**40, "1099511627776")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_are_checked_before_any_work(dtype, bad, shown):
    model = Sequential([CategoryEmbedding([2, 1], [9, 3]), layers.Dense(1)], dtype=dtype, random_state=0)
    good, y = np.ones((5, 3)), np.zeros((5, 1))
    X = good.copy()
    X[3, 1] = bad
    with pytest.raises(ValueError) as error:
        model.fit(X, y, loss="squared_error")
    assert str(error.value) == f"CategoryEmbedding: codes in column 1 must be whole numbers 0 .. 3, got {shown}."
    assert model.input_shape is None
    good[:, 0] = bad                    # a column of numbers
    assert model.build(3).predict(good).shape == (5, 1)
    with pytest.raises(ValueError, match="codes in column 1 must be whole numbers"):
        model.predict(X)


def test_it_reads_the_models_input():
    with pytest.raises(ValueError, match="CategoryEmbedding: must read the model's input"):
        Sequential([layers.Dense(4), CategoryEmbedding([0], [5])]).build(4)


def test_it_learns_categories():
    """A number for each pair of two categories; the result is the same for any number of threads."""
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.integers(0, 30, 600), rng.standard_normal(600), rng.integers(0, 4, 600)])
    effect = rng.standard_normal(30)
    y = effect[X[:, 0].astype(int)] * (X[:, 2] > 1) + X[:, 1]
    thetas = []
    for threads in (1, 2):
        model = Sequential([CategoryEmbedding([0, 2], [30, 4]), layers.Dense(20, "tanh"), layers.Dense(1)],
                           random_state=0)
        model.fit(X, y, loss="squared_error", optimizer=optimizers.Adam(0.02), epochs=60, n_threads=threads)
        thetas.append(model.theta)
    np.testing.assert_array_equal(*thetas)
    assert np.mean((model.predict(X).ravel() - y) ** 2) < 0.05 * y.var()


@pytest.mark.parametrize("dtype", DTYPES)
def test_frozen_tables(dtype):
    """Their outputs may be computed once for a fit; counts belong to them."""
    X = np.random.default_rng(0).integers(0, 4, (301, 3)).astype(dtype)
    stack = [CategoryEmbedding([0], [3], trainable=False), layers.Dense(4, "tanh", trainable=False), layers.Dense(1)]
    thetas = []
    for cached in (True, False):
        model = Sequential(stack, dtype, 0).build(3)
        model.state["category_embedding_0.x0.counts"][:] = 3, 2, 7
        before = model.theta.copy()
        model.fit(X, X[:, 0], loss="squared_error", epochs=3, cache_features=cached)
        changed = model.theta != before
        assert changed[-5:].all() and not changed[:-5].any()
        thetas.append(model.theta)
    np.testing.assert_array_equal(*thetas)


def test_float32_holds_no_larger_codes():
    n = 2**24 - 1
    assert CategoryEmbedding([0], [n], [1]).build((1,)).kernel("float32").n_params == n
    assert CategoryEmbedding([0], [n + 1], [1]).build((1,)).kernel("float64").n_params == n + 1
    with pytest.raises(ValueError, match=r"input_dims must be less than 16777216 in float32.*got 16777216\."):
        CategoryEmbedding([0], [n + 1], [1]).build((1,)).kernel("float32")


@pytest.mark.parametrize(("arguments", "options", "error", "message"), [
    ((3, [2]), {}, TypeError, "places must be a sequence of ints >= 0, got 3."),
    (([], []), {}, ValueError, "places must be 1 to 100000 ints >= 0, got none."),
    (([-1], [2]), {}, ValueError, "places must be an int >= 0, got -1."),
    (([0.5], [2]), {}, TypeError, "places must be an int >= 0, got 0.5."),
    (([0, 0], [2, 3]), {}, ValueError, "places must be different ones, got (0, 0)."),
    (([0], [0]), {}, ValueError, "input_dims must be an int >= 1, got 0."),
    (([0], [2, 3]), {}, ValueError, "input_dims must be as many as places, 1, got 2."),
    (([0], [2], [0]), {}, ValueError, "output_dims must be an int >= 1, got 0."),
    (([0], [2], [1, 1]), {}, ValueError, "output_dims must be as many as places, 1, got 2."),
    (([0], [2], 4), {}, TypeError, "output_dims must be a sequence of ints >= 1, got 4."),
    (([0], [2]), {"names": "a"}, TypeError, "names must be a sequence of str, got 'a'."),
    (([0], [2]), {"names": [3]}, TypeError, "names must be a sequence of str with a letter or more, got 3."),
    (([0], [2]), {"names": [""]}, ValueError, "names must be a sequence of str with a letter or more, got ''."),
    (([0, 1], [2, 2]), {"names": ["a", "a"]}, ValueError, "names must be different ones, got ('a', 'a')."),
    ((range(10**9), [2]), {}, ValueError, "places must be 1 to 100000 ints >= 0, got more."),
])
def test_refused_arguments(arguments, options, error, message):
    with pytest.raises(error) as raised:
        CategoryEmbedding(*arguments, **options)
    assert str(raised.value) == f"CategoryEmbedding: {message}"


def test_refused_shapes():
    with pytest.raises(ValueError, match=r"places must be less than the number of columns, 4, got 4\."):
        CategoryEmbedding([1, 4], [2, 2]).build((4,))
    with pytest.raises(ValueError, match=r"the input must have the shape \(n_columns,\), got \(4, 2\)\."):
        CategoryEmbedding([1], [2]).build((4, 2))
    with pytest.raises(ValueError, match=r"CategoryEmbedding: embeddings_initializer must be one of"):
        CategoryEmbedding([0], [2], embeddings_initializer="xavier")
