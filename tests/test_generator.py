"""Random numbers by NumPy's methods: distributions, sizes and parameters as there, and the same numbers for a seed."""
import numpy as np
import pytest
from scipy import stats

from ldl_cy import Sequential, layers
from ldl_cy._engine.rng import Stream
from ldl_cy.generator import Generator

N = 20000
# (method, arguments, distribution)
CONTINUOUS = [
    ("random", (), stats.uniform()), ("uniform", (), stats.uniform()), ("uniform", (-2, 3), stats.uniform(-2, 5)),
    ("standard_normal", (), stats.norm()), ("normal", (), stats.norm()), ("normal", (4, 0.5), stats.norm(4, 0.5)),
    ("lognormal", (0.5, 0.25), stats.lognorm(0.25, scale=np.exp(0.5))), ("exponential", (), stats.expon()),
    ("exponential", (3.0,), stats.expon(scale=3)), ("laplace", (), stats.laplace()),
    ("laplace", (-1, 2), stats.laplace(-1, 2)),
]


def ours(*name):
    return Generator(Stream(3, *name))


@pytest.mark.parametrize(("method", "arguments", "distribution"), CONTINUOUS, ids=lambda a: str(a)[:12])
def test_distributions(method, arguments, distribution):
    values = getattr(ours(1), method)(*arguments, size=N)
    assert values.shape == (N,) and values.dtype == np.float64
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-3
    # independent of the one before
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.03


@pytest.mark.parametrize("size", [None, 0, 1, 3, (2, 3), (), [4, 1]])
@pytest.mark.parametrize(("method", "arguments"), [
    *((method, arguments) for method, arguments, _ in CONTINUOUS), ("integers", (5,)), ("integers", (-3, 9)),
    ("choice", (4,)), ("choice", ([1.5, 2.5],)), ("uniform", ([0.0, 5.0, 7.0], [1.0, 6.0, 8.0])),
    ("normal", (0.0, [1.0, 2.0, 3.0])), ("exponential", ([1.0, 2.0, 3.0],)), ("laplace", ([[1.0], [2.0]], 1.0))])
def test_sizes_as_numpys(method, arguments, size):
    theirs = np.random.default_rng(0)
    try:
        expected = getattr(theirs, method)(*arguments, size=tuple(size) if isinstance(size, list) else size)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            getattr(ours(), method)(*arguments, size=size)
        return
    found = getattr(ours(), method)(*arguments, size=size)
    assert np.shape(found) == np.shape(expected) and np.asarray(found).dtype == np.asarray(expected).dtype
    assert size == () or isinstance(found, np.ndarray) == isinstance(expected, np.ndarray)


def test_a_shape_alone_is_a_size():
    for method, other in (("uniform", "random"), ("normal", "standard_normal")):
        for shape in ((3, 4), [2], ()):
            np.testing.assert_array_equal(getattr(ours(), method)(shape), getattr(ours(), other)(tuple(shape)))
    assert ours().normal(5) == 5 + ours().standard_normal()         # a number is the mean


def test_numbers_continue():
    whole, parts = ours().random(7), ours()
    np.testing.assert_array_equal(np.r_[parts.random(3), parts.random(), parts.random((1, 3)).ravel()], whole)
    assert (ours(1).random(5) != ours(2).random(5)).all()


def test_the_numbers_are_those_of_the_seed():
    """Written down: another version of NumPy gives the same."""
    assert ours().random(3).tolist() == [0.6360717220142077, 0.9528318486489126, 0.5478483079713959]
    assert ours().integers(1000, size=5).tolist() == [636, 952, 547, 906, 600]
    assert ours().permutation(6).tolist() == [5, 2, 4, 0, 3, 1]


@pytest.mark.parametrize(("arguments", "options", "values"), [
    ((4,), {}, range(4)), ((-2, 3), {}, range(-2, 3)), ((1, 3), {"endpoint": True}, range(1, 4)), ((1,), {}, [0])])
def test_integers(arguments, options, values):
    found = ours().integers(*arguments, size=N, **options)
    counts = np.unique(found, return_counts=True)
    assert counts[0].tolist() == list(values) and found.dtype == np.int64
    assert len(values) == 1 or stats.chisquare(counts[1]).pvalue > 1e-3
    assert ours().integers(2**53, size=N).max() < 2**53 and ours().integers(3, dtype=np.int8, size=2).dtype == np.int8


def test_choice():
    rng = ours()
    for p in (None, [0.1, 0.6, 0.3], [2, 0, 2]):
        counts = np.bincount(rng.choice(3, N, p=p), minlength=3)
        expected = N * (np.ones(3) / 3 if p is None else np.array(p) / sum(p))
        assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3
        assert (counts[expected == 0] == 0).all()
    assert set(rng.choice(["a", "b"], 50)) == {"a", "b"}
    assert sorted(rng.choice(6, (2, 3), replace=False).ravel()) == list(range(6))
    # the first two of three, drawn one after the other
    pairs = np.array([rng.choice(3, 2, replace=False, p=[0.2, 0.3, 0.5]) for _ in range(6000)])
    expected = {(0, 1): 0.2 * 0.3 / 0.8, (2, 1): 0.5 * 0.3 / 0.5, (1, 2): 0.3 * 0.5 / 0.7}
    for pair, probability in expected.items():
        assert (pairs == pair).all(axis=1).mean() == pytest.approx(probability, abs=0.025)


def test_permutations():
    rng = ours()
    counts = np.zeros((4, 4))
    for _ in range(2000):
        counts[np.arange(4), rng.permutation(4)] += 1
    assert stats.chisquare(counts, axis=1).pvalue.min() > 1e-3
    rows = np.arange(12).reshape(6, 2)
    mixed = rng.permutation(rows)
    assert sorted(map(tuple, mixed)) == list(map(tuple, rows)) and (rows == np.arange(12).reshape(6, 2)).all()
    rng.shuffle(rows)
    assert sorted(map(tuple, rows)) == list(map(tuple, np.arange(12).reshape(6, 2)))


@pytest.mark.parametrize(("call", "message"), [
    (lambda rng: rng.normal(0, -1), "Generator: scale must be finite and >= 0, got -1."),
    (lambda rng: rng.uniform(0, np.inf), "Generator: high must be finite, got inf."),
    (lambda rng: rng.exponential("a"), "Generator: scale must be a number or an array of them, got 'a'."),
    (lambda rng: rng.integers(3, 3), "Generator: integers must have 1 to 2^53 numbers to choose from, got 0."),
    (lambda rng: rng.choice(0), "Generator: a must hold an element, got 0."),
    (lambda rng: rng.choice(3, p=[1, 1]), "Generator: p must be 3 numbers >= 0, not all 0, got [1, 1]."),
    (lambda rng: rng.choice(3, p=[0, 0, 0]), "Generator: p must be 3 numbers >= 0, not all 0, got [0, 0, 0]."),
    (lambda rng: rng.choice(2, 3, replace=False), "Generator: size must be at most 2 without replace, got 3."),
])
def test_bad_arguments(call, message):
    with pytest.raises((TypeError, ValueError)) as error:
        call(ours())
    assert str(error.value) == message


# -- as initializers -------------------------------------------------------------------------------------------------


def wide(shape, rng):
    return rng.uniform(-1, 1, shape)


def sparse(shape, rng):
    return rng.normal(0, 0.5, shape) * (rng.random(shape) < 0.2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [wide, sparse, lambda shape, stream: 0.1 * stream.normal(shape)])
def test_functions_draw_weights(function, dtype):
    def built(seed, units=(40, 30)):
        net = [layers.Dense(n, kernel_initializer=function) for n in units]
        return Sequential(net, dtype, seed).build(25)

    one, two = built(0), built(0)
    np.testing.assert_array_equal(one.theta, two.theta)
    assert (built(1).theta != one.theta).any()
    first, second = (one.parameters[f"dense_{i}.kernel"] for i in range(2))
    assert first.shape == (25, 40) and second.shape == (40, 30) and abs(first.mean()) < 0.1
    assert (first.ravel()[:100] != second.ravel()[:100]).any()
    # a layer's numbers do not depend on the sizes of others
    np.testing.assert_array_equal(built(0, (40, 7)).parameters["dense_0.kernel"], first)
    np.testing.assert_array_equal(one.reset().theta, two.theta)


def test_a_file_names_the_function(tmp_path):
    model = Sequential([layers.Dense(3, kernel_initializer=sparse)], random_state=0).build(4)
    model.save(tmp_path / "m")
    loaded = Sequential.load(tmp_path / "m", {"sparse": sparse})
    np.testing.assert_array_equal(loaded.reset().theta, model.theta)
