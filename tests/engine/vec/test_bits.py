"""The same bits at any place in an array, alone or together; nearly the same on every instruction set."""
import numpy as np
import pytest
import vec_kernels as vec
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from vectors import EXTREMES, same_bits

from ldl_cy._engine.vec import check_rule

# rules and their coefficients, each way through a rule
RULES = (
    ("adam", [1e-3, 0.9, 0.999, 1.5, 1e-8]), ("sgd", [1e-3, 0, 0]), ("sgd", [1e-3, 0.9, 0]), ("sgd", [1e-3, 0.9, 1]),
    ("rmsprop", [1e-3, 0.9, 1e-8, 0, 0]), ("rmsprop", [1e-3, 0.9, 1e-8, 0.9, 0]),
    ("rmsprop", [1e-3, 0.9, 1e-8, 0, 1]), ("rmsprop", [1e-3, 0.9, 1e-8, 0.9, 1]),
    ("adagrad", [1e-3, 0.1, 1e-8]), ("adadelta", [1, 0.9, 1e-6]), ("nadam", [1e-4, 1e-3, 0.9, 0.999, 1.5, 1e-8]),
    ("lion", [1e-3, 0.9, 0.99]))


def every_kernel(dtype):
    """Results of each kernel on numbers of all sizes, as one list of arrays."""
    rng = np.random.default_rng(1)
    found = []

    def draw(*shape, scale=3.0):
        return (scale * rng.standard_normal(shape)).astype(dtype)

    x = np.concatenate([draw(2000), draw(500, scale=100), np.array(EXTREMES[dtype], dtype)])
    found += [vec.exponential(x), vec.logarithm(np.abs(x)), vec.apply_dropout(x, 5, 3, 0.3)]
    for name in vec.ACTIVATIONS:
        for shape in ((37, 1), (37, 2), (7, 10), (5, 16), (5, 23), (3, 30), (2, 150)):
            z, dy = draw(*shape), draw(*shape)
            y = vec.activation(name, z, slope=0.3)
            a = z if vec.keeps_z(name) else y
            found += [y, vec.activation_grad(name, a, dy, slope=0.3)]
        found.append(vec.activation(name, x[:, None]))
    for name in vec.LOSSES:
        for shape in ((37, 1), (37, 2), (20, 10), (5, 16), (5, 23), (3, 30), (2, 300)):
            y, dy = draw(*shape), draw(*shape)
            t = np.abs(draw(*shape))
            if name == "log_loss_codes":
                t = rng.integers(shape[1], size=shape[0]).astype(dtype)
            w = np.abs(draw(shape[0]))
            found.append(np.array(vec.loss(name, y, t, w, 0.7, 0.1, dy)))
            found.append(dy)
    for u in (1, 5, 16, 20, 40):
        z = draw(6, 4 * u)
        c_prev, c, tc, h, dc = (draw(6, u) for _ in range(5))
        vec.lstm_step(z, c_prev, c, tc, h)
        found += [z.copy(), c, tc, h]
        vec.lstm_step_back(z, c_prev, tc, draw(6, u), dc)
        found += [z, dc]
        a, q, dh = draw(6, 3 * u), draw(6, u), draw(6, u)
        vec.gru_step(a, q, c_prev, h)
        found += [a.copy(), h]
        vec.gru_step_back(a, q, c_prev, dh)
        found += [a, q, dh]
    for shape in ((1, 3), (70, 1), (70, 10), (70, 16), (70, 17), (9, 100)):
        a, total, b = draw(*shape), draw(shape[1]), draw(*shape[::-1])
        vec.add_column_sums_(a, total)
        vec.transpose_(a, b)
        found += [total, b]
    for n in (3, 16, 100):
        theta, g = draw(n), draw(n)
        for rule, coef in RULES:
            slots = np.abs(draw(vec.fewest_slots(rule, coef), n))
            vec.update_(rule, theta, g, slots if len(slots) else None, np.array(coef, float))
            found += [theta.copy(), slots]
        found.append(np.array([vec.sum_of_squares(g), vec.largest(g)]))
    return found


@pytest.mark.parametrize("name", vec.RULES)
def test_every_rule_is_among_them(name):
    assert name in [rule for rule, _ in RULES], f"{name} has no coefficients in this file"


@pytest.mark.parametrize(("rule", "coef"), RULES, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_gradient_that_is_not_finite_reaches_theta(rule, coef, value, dtype, rng):
    """Training looks at theta alone to find it; the other weights do not notice."""
    for n in (1, 19, 64):
        for place in {0, n // 2, n - 1}:
            g = rng.normal(0, 1, n).astype(dtype)
            g[place] = value
            theta = np.ones_like(g)
            slots = np.abs(rng.normal(0, 1, (vec.fewest_slots(rule, coef), n))).astype(dtype)
            vec.update_(rule, theta, g, slots if len(slots) else None, np.array(coef, float))
            assert_array_equal(np.isfinite(theta), np.arange(n) != place)


@pytest.mark.parametrize(("rule", "coef"), RULES, ids=str)
def test_the_table_knows_how_many_vectors_a_rule_has(rule, coef, dtype, rng):
    """It writes to each of them, and neither reads nor writes what follows, which is NaN."""
    n, count = 37, vec.fewest_slots(rule, coef)
    memory = np.full((count + 2, n), np.nan, dtype)
    memory[:count] = np.abs(rng.normal(0, 1, (count, n)))
    before, theta = memory.copy(), np.ones(n, dtype)
    vec.update_(rule, theta, rng.normal(0, 1, n).astype(dtype), memory[:count] if count else None,
                np.array(coef, float))
    assert np.isfinite(theta).all() and np.isfinite(memory[:count]).all() and np.isnan(memory[count:]).all()
    assert all((memory[i] != before[i]).any() for i in range(count))


@pytest.mark.parametrize("rule", vec.RULES)
def test_coefficients_that_are_not_zero_need_no_fewer_vectors(rule):
    """With each coefficient at 0 or not: the largest number is what tables.h allows, and one more is refused."""
    length = next(len(coef) for name, coef in RULES if name == rule)
    counts = [vec.fewest_slots(rule, coef) for coef in np.ndindex(*[2] * length)]
    assert counts[-1] == max(counts)
    with pytest.raises(ValueError, match=rf"^Mine: the rule {rule} must have .* slots with these coefficients"):
        check_rule("Mine", vec.RULES.index(rule), max(counts) + 1, np.ones((2, length)))
    for other in (length - 1, length + 1):
        with pytest.raises(ValueError, match=f"^Mine: the rule {rule} must have {length} coefficients, got {other}"):
            check_rule("Mine", vec.RULES.index(rule), max(counts), np.ones((2, other)))


@np.errstate(all="ignore")
def test_instruction_sets_agree(isa, dtype):
    got = every_kernel(dtype)
    vec.use_instruction_set(vec.instruction_sets()[0])
    tolerance = 32 * np.finfo(dtype).eps                    # a b + c is rounded once where there is fma
    for i, (a, b) in enumerate(zip(got, every_kernel(dtype), strict=True)):
        assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=str(i))


@pytest.mark.parametrize("name", [n for n in vec.ACTIVATIONS if n != "softmax"])
def test_place_does_not_matter(name, dtype, rng):
    x = rng.normal(0, 3, 53).astype(dtype)
    y = vec.activation(name, x)
    d = vec.activation_grad(name, x, np.ones_like(x))
    for shift in (1, 3, 8, 16, 21, 52):
        assert same_bits(vec.activation(name, x[shift:]), y[shift:])
        assert same_bits(vec.activation(name, x[:shift]), y[:shift])
        assert same_bits(vec.activation_grad(name, x[shift:], np.ones_like(x[shift:])), d[shift:])


@pytest.mark.parametrize("k", [1, 2, 3, 5, 10, 12, 13, 16, 24, 25, 40, 300])
def test_rows_alone_are_rows_together(k, dtype, rng):
    z = rng.normal(0, 3, (37, k)).astype(dtype)
    together = vec.activation("softmax", z)
    assert_allclose(together, special.softmax(z.astype(float), axis=1), rtol=1e-5, atol=1e-15)
    t = special.softmax(rng.normal(0, 3, (37, k)), axis=1).astype(dtype)
    codes = rng.integers(k, size=37).astype(dtype)
    dy, dy_codes = np.empty_like(z), np.empty_like(z)
    vec.loss("log_loss_probs", z, t, smoothing=0.1, dy=dy)
    vec.loss("log_loss_codes", z, codes, smoothing=0.1, dy=dy_codes)
    for rows in (slice(0, 1), slice(3, 8), slice(36, 37), slice(5, 25)):
        assert same_bits(vec.activation("softmax", z[rows]), together[rows])
        part = np.empty_like(z[rows])
        vec.loss("log_loss_probs", z[rows], t[rows], smoothing=0.1, dy=part)
        assert same_bits(part, dy[rows])
        vec.loss("log_loss_codes", z[rows], codes[rows], smoothing=0.1, dy=part)
        assert same_bits(part, dy_codes[rows])


def test_softmax_of_hard_rows(dtype):
    inf = np.inf
    for k in (4, 30):
        z = np.zeros((5, k), dtype)
        z[0, 1] = 1e30                                      # a sure class
        z[1, :] = -1e30
        z[2, :2] = -inf                                     # masked out
        z[3, 0] = np.nan
        y = vec.activation("softmax", z)
        assert_array_equal(y[0], np.eye(k, dtype=dtype)[1])
        assert_allclose(y[1], 1 / k)
        assert_allclose(y[2], [0, 0, *[1 / (k - 2)] * (k - 2)], rtol=1e-6)
        assert np.isnan(y[3]).all()
        assert_allclose(y[4], 1 / k)
