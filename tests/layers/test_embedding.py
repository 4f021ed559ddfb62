"""Embedding against table[ids] in NumPy."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.layers import Embedding


def lookup(p, x):
    return p["table"][x.astype(int)]


def ids(n_ids, *shape):
    return lambda rng, n: rng.integers(0, n_ids, (n, *shape))


CASES = [
    LayerCase("sequence", Embedding(9, 4), (6,), lookup, data=ids(9, 6)),
    LayerCase("one token", Embedding(3, 17), (1,), lookup, data=ids(3, 1)),
    LayerCase("one id", Embedding(1, 1), (5,), lookup, data=ids(1, 5)),
    LayerCase("grid", Embedding(50, 3, embeddings_initializer="normal"), (4, 2), lookup, data=ids(50, 4, 2)),
    LayerCase("frozen", Embedding(4, 2, name="words", trainable=False), (7,), lookup, data=ids(4, 7)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_adds_up_over_equal_ids(dtype):
    kernel = Embedding(5, 3).build((4,)).kernel(dtype)
    x = np.array([[1, 1, 4, 1], [0, 4, 1, 0]], dtype)
    theta, dy = np.zeros(15, dtype), np.arange(24, dtype=dtype).reshape(2, 12)
    y, cache, _ = kernel.forward(theta, x)
    dx, grad = np.full_like(x, np.nan), np.ones(15, dtype)
    kernel.backward(theta, x, y, dy.copy(), cache, dx=dx, grad=grad)
    expected = np.ones((5, 3))
    np.add.at(expected, x.astype(int).ravel(), dy.reshape(8, 3))
    np.testing.assert_array_equal(grad.reshape(5, 3), expected)
    assert not dx.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_id_reads_row_0(dtype):
    kernel = Embedding(3, 2).build((8,)).kernel(dtype)
    x = np.array([[-1, 3, 1e30, -1e30, np.nan, np.inf, 2, 1.2]], dtype)
    theta = np.arange(6, dtype=dtype)
    y, cache, _ = kernel.forward(theta, x)
    np.testing.assert_array_equal(y.reshape(8, 2)[:, 0], [0, 0, 0, 0, 0, 0, 4, 2])
    grad = np.zeros(6, dtype)
    kernel.backward(theta, x, y, np.ones_like(y), cache, grad=grad)
    np.testing.assert_array_equal(grad, [6, 6, 1, 1, 1, 1])


def test_the_largest_ids():
    n = 2**24
    kernel = Embedding(n, 1).build((2,)).kernel("float32")
    theta = np.zeros(n, np.float32)
    theta[-2:] = 1, 2
    np.testing.assert_array_equal(kernel.forward(theta, np.array([[n - 1, n - 2]], np.float32))[0], [[2, 1]])
    assert Embedding(n + 1, 1).build((2,)).kernel("float64").n_params == n + 1
    with pytest.raises(ValueError, match=r"Embedding: input_dim must be at most 16777216 in float32") as error:
        Sequential([Embedding(n + 1, 1)]).build((2,))
    assert "layer 'embedding_0' after the input" in str(error.value)


@pytest.mark.parametrize("kind", ["int64", "uint8", "float32", "float64", "bool"])
def test_ids_of_any_dtype(kind):
    model = Sequential([Embedding(2, 3)], random_state=0).build((4,))
    X = np.array([[0, 1, 1, 0], [1, 1, 1, 0]], kind)
    np.testing.assert_array_equal(model.predict(X), model.parameters["embedding_0.table"][X.astype(int)])


@pytest.mark.parametrize(("bad", "shown"), [(-1, "-1"), (10, "10"), (2.5, "2.5"), (2**40, "1099511627776")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ids_are_checked_before_any_work(dtype, bad, shown):
    model = Sequential([Embedding(10, 2), layers.GlobalAvgPool1D(), layers.Dense(1)], dtype=dtype, random_state=0)
    good, y = np.zeros((5, 3)), np.zeros((5, 1))
    X = good.copy()
    X[3, 1] = bad
    calls = [
        lambda: model.fit(X, y, loss="squared_error"),
        lambda: model.fit(good, y, loss="squared_error", validation_data=(X, y)),
        lambda: model.predict(X), lambda: model.trace(X),
        lambda: model.evaluate(X, y, loss="squared_error"),
        lambda: model.loss_and_grad(X, y, loss="squared_error"),
    ]
    for i, call in enumerate(calls):
        if i == 2:
            assert model.input_shape is None        # a refused fit builds nothing
            model.build((3,))
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == f"Embedding: token ids must be whole numbers 0 .. 9, got {shown}."


def test_it_learns_words():
    """Which of two groups most tokens come from; the result is the same for any number of threads."""
    rng = np.random.default_rng(1)
    X = rng.integers(0, 40, (300, 9))
    y = ((X < 20).sum(1) > 4).astype(int)
    thetas = []
    for threads in (1, 2):
        model = Sequential([Embedding(40, 8), layers.GlobalAvgPool1D(), layers.Dense(2)], random_state=0)
        model.fit(X, y, loss="log_loss", optimizer=optimizers.Adam(0.05), epochs=30, n_threads=threads)
        thetas.append(model.theta)
    np.testing.assert_array_equal(*thetas)
    assert np.mean(model.predict(X).argmax(1) == y) > 0.97


@pytest.mark.parametrize(("arguments", "message"), [
    ((0, 3), "Embedding: input_dim must be an int >= 1, got 0."),
    ((3, 0), "Embedding: output_dim must be an int >= 1, got 0."),
    ((3.0, 2), "Embedding: input_dim must be an int >= 1, got 3.0."),
    ((3, "2"), "Embedding: output_dim must be an int >= 1, got '2'."),
])
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Embedding(*arguments)
    assert str(error.value) == message


def test_bad_initializer():
    with pytest.raises(ValueError, match=r"Embedding: embeddings_initializer must be one of"):
        Embedding(3, 2, embeddings_initializer="xavier")


def test_ids_are_checked_wherever_the_input_is_read():
    stack = [layers.Reshape((2, 2)), layers.Concatenate([layers.Embedding(5, 2)], [layers.Embedding(9, 2)])]
    model = Sequential(stack, random_state=0).build(4)
    assert model.predict(np.full((3, 4), 4)).shape == (3, 2, 2, 4)
    with pytest.raises(ValueError, match=r"Embedding: token ids must be whole numbers 0 \.\. 4"):
        model.predict(np.full((3, 4), 5))
    with pytest.raises(ValueError, match="Embedding: must read the model's input"):
        Sequential([layers.Dense(4), layers.Embedding(5, 2)]).build(4)


@pytest.mark.parametrize("sizes", [{"input_dim": 2**70, "output_dim": 1}, {"input_dim": 1, "output_dim": 2**70}])
def test_sizes_that_no_integer_holds(sizes):
    with pytest.raises(ValueError, match=r"Embedding: (input|output)_dim must be at most 2147483647 .*got 118059"):
        Embedding(**sizes).compute_output_shape(())
