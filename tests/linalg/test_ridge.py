"""Ridge regression from sums over blocks, beside scikit-learn and a least squares problem with twice the rows."""
import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from ldl_cy.linalg.ridge import Moments, Triangle, appended, upper
from ldl_cy.linalg.ridge_fit import RowBlocks, fit_rows

SHAPES = [(60, 5, 1), (61, 7, 3), (9, 4, 2), (5, 4, 1), (6, 5, 2), (7, 20, 2), (2, 3, 1), (40, 1, 1)]
ALPHAS = [1e-3, 0.1, 3.0, 100.0]


def fit_blocks(blocks, n, m, k, alphas, left_out):
    return fit_rows(RowBlocks(blocks, n, m, k), alphas, left_out=left_out)


def problem(n, m, k, weighted, dtype=float, seed=0):
    rng = np.random.default_rng(seed)
    h = (rng.normal(size=(n, m)) + 3).astype(dtype)
    y = (rng.normal(size=(n, k)) + h @ rng.normal(size=(m, k)) - 2).astype(dtype)
    return h, y, rng.integers(1, 4, n) + rng.random(n) if weighted else None


def in_blocks(h, y, weight, size):
    return lambda: [(h[i:i + size], y[i:i + size], None if weight is None else weight[i:i + size])
                    for i in range(0, len(h), size)]


def reference(h, y, weight, alpha):
    """Weights, intercepts and squares by one least squares problem, whose unknowns are w and b."""
    n, m = h.shape
    root = np.ones(n) if weight is None else np.sqrt(weight)
    rows = np.concatenate([root[:, None] * np.c_[h, np.ones(n)], np.sqrt(alpha) * np.eye(m, m + 1)])
    targets = np.concatenate([root[:, None] * y, np.zeros((m, y.shape[1]))])
    found = np.linalg.lstsq(rows, targets, rcond=None)[0]
    left = root[:, None] * (y - np.c_[h, np.ones(n)] @ found)
    return found[:m], found[m], np.vdot(left, left)


def sums_of(kind, blocks, m, k):
    sums = kind(m, k)
    for block in blocks():
        added = sums.add(block) if kind is Moments else sums.added(block)
        sums = sums if added is None else added
    return sums


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [Moments, Triangle])
@pytest.mark.parametrize("shape", SHAPES)
def test_solutions(shape, kind, weighted):
    h, y, weight = problem(*shape, weighted)
    for size in (1, 7, 100):
        sums = sums_of(kind, in_blocks(h, y, weight, size), *shape[1:])
        for alpha in (0.05, 2.0):
            coef, intercept, squares = reference(h, y, weight, alpha)
            found = [sums.solve(alpha), sums.decompose(alpha).solve(alpha)]
            if kind is Moments:
                found.append(sums.triangle().solve(alpha))
            for one in found:
                np.testing.assert_allclose(one.coef, coef, rtol=1e-8, atol=1e-9)
                np.testing.assert_allclose(one.intercept, intercept, rtol=1e-8, atol=1e-9)
                np.testing.assert_allclose(one.squares, squares, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] > 2])      # of two rows all α have the same errors
def test_sklearns_solution_and_choice(shape, weighted, dtype):
    h, y, weight = problem(*shape, weighted, dtype)
    exact = h.astype(float), y.astype(float)
    sums, found, alpha, score = fit_blocks(in_blocks(h, y, weight, 11), *shape, [0.3], left_out=False)
    theirs = Ridge(0.3, solver="svd").fit(*exact, weight)
    np.testing.assert_allclose(found.coef, np.reshape(theirs.coef_, (shape[2], -1)).T, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.intercept, np.ravel(theirs.intercept_), rtol=1e-9, atol=1e-10)
    assert (alpha, score) == (0.3, None)
    assert isinstance(sums, Moments) == (shape[0] >= 2 * (1 + shape[1] + shape[2]))

    sums, found, alpha, score = fit_blocks(in_blocks(h, y, weight, 11), *shape, ALPHAS, left_out=True)
    theirs = RidgeCV(ALPHAS).fit(*exact, weight)
    assert alpha == theirs.alpha_
    np.testing.assert_allclose(score, theirs.best_score_, rtol=1e-8)
    np.testing.assert_allclose(found.coef, np.reshape(theirs.coef_, (shape[2], -1)).T, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", [Moments, Triangle])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(60, 5, 1), (9, 4, 2), (5, 4, 1), (7, 20, 2)])
def test_left_out_by_fits_without_each_row(shape, weighted, kind):
    n, m, k = shape
    h, y, weight = problem(*shape, weighted)
    decomposition = sums_of(kind, in_blocks(h, y, weight, 4), m, k).decompose(0.01)
    for alpha, errors in zip((0.01, 1.0), decomposition.left_out((h, y, weight), (0.01, 1.0))):
        for i in range(n):
            others = np.arange(n) != i
            coef, intercept, _ = reference(h[others], y[others], None if weight is None else weight[others], alpha)
            error = (y[i] - h[i] @ coef - intercept) * (1 if weight is None else np.sqrt(weight[i]))
            np.testing.assert_allclose(errors[i], error, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(60, 5, 1), (9, 4, 2), (7, 20, 2), (40, 30, 1)])
def test_rows_of_weight_0_count_for_the_mean_alone(shape):
    h, y, weight = problem(*shape, True)
    weight[::3] = 0
    kept = weight > 0
    _, found, alpha, score = fit_blocks(in_blocks(h, y, weight, 4), *shape, ALPHAS, left_out=True)
    _, same, alpha_of_kept, score_of_kept = fit_blocks(
        in_blocks(h[kept], y[kept], weight[kept], 4), kept.sum(), *shape[1:], ALPHAS, left_out=True)
    assert alpha == alpha_of_kept
    np.testing.assert_allclose(found.coef, same.coef, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(score * len(h), score_of_kept * kept.sum(), rtol=1e-8)


def test_ill_conditioned_features_are_solved_by_triangles():
    rng = np.random.default_rng(0)
    h = rng.normal(size=(300, 6)) @ np.diag(10.0 ** -np.arange(6)) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    w = rng.normal(size=(6, 1))
    y = h @ w + 1
    sums, found, *_ = fit_blocks(in_blocks(h, y, None, 50), 300, 6, 1, [0.0], left_out=False)
    assert isinstance(sums, Triangle)
    np.testing.assert_allclose(found.coef, w, rtol=1e-9)
    # a penalty makes the normal equations good enough
    assert isinstance(fit_blocks(in_blocks(h, y, None, 50), 300, 6, 1, [1.0], left_out=False)[0], Moments)
    assert isinstance(fit_blocks(in_blocks(h, y, None, 50), 300, 6, 1, [1.0, 2.0], left_out=True)[0], Moments)
    assert isinstance(fit_blocks(in_blocks(h, y, None, 50), 300, 6, 1, [1e-12, 2.0], left_out=True)[0], Triangle)


@pytest.mark.parametrize("alpha", [0.0, 1e-30, 1.0])
@pytest.mark.parametrize("shape", [(100, 6), (100, 60), (20, 30)])
def test_dependent_and_constant_features(shape, alpha):
    n, m = shape
    h, y, _ = problem(n, m - 2, 2, False)
    h = np.c_[h, h[:, :1], np.full(n, 5.0)]
    _, found, *_ = fit_blocks(in_blocks(h, y, None, 30), n, m, 2, [alpha], left_out=False)
    centred = h - h.mean(axis=0)
    expected = np.linalg.lstsq(centred, y, rcond=1e-12)[0] if alpha < 1 else Ridge(1.0).fit(h, y).coef_.T
    np.testing.assert_allclose(found.coef, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", [Moments, Triangle])
def test_far_from_the_origin(kind):
    # without a shift the squares of 1e6 would drown the variance
    h, y, _ = problem(200, 4, 1, False)
    found = sums_of(kind, in_blocks(h + 1e6, y, None, 30), 4, 1).solve(0.1)
    np.testing.assert_allclose(found.coef, Ridge(0.1).fit(h, y).coef_.reshape(-1, 1), rtol=1e-7)


def test_rows_added_in_several_calls():
    h, y, weight = problem(90, 5, 2, True)
    whole = sums_of(Triangle, in_blocks(h, y, weight, 90), 5, 2)
    parts = sums_of(Moments, in_blocks(h[:50], y[:50], weight[:50], 20), 5, 2).triangle()
    before = parts.r.copy()
    more = parts.added((h[50:], y[50:], weight[50:]))
    assert (more.n, parts.n) == (90, 50)
    np.testing.assert_array_equal(parts.r, before)
    np.testing.assert_allclose(more.solve(0.1).coef, whole.solve(0.1).coef, rtol=1e-10)
    np.testing.assert_allclose(more.r.T @ more.r, whole.r.T @ whole.r, rtol=1e-10)


def test_complete_fits_keep_their_digits():
    # as many features as rows, and a penalty far below rounding errors of 1 − leverage
    h, y, _ = problem(20, 40, 1, False)
    errors = next(sums_of(Triangle, in_blocks(h, y, None, 20), 40, 1).decompose().left_out((h, y, None), [1e-13]))
    expected = next(sums_of(Triangle, in_blocks(h, y, None, 20), 40, 1).decompose().left_out((h, y, None), [1e-7]))
    np.testing.assert_allclose(errors, expected, rtol=1e-5)


@pytest.mark.parametrize("left_out", [False, True])
@pytest.mark.parametrize("kind", ["one row", "one row of weight", "equal rows", "many equal rows"])
def test_rows_without_variance(kind, left_out):
    n = {"one row": 1, "many equal rows": 50}.get(kind, 3)
    h, y, weight = np.full((n, 4), 2.0), np.arange(n, dtype=float)[:, None] + 3, None
    if kind == "one row of weight":
        h, weight = np.arange(12.0).reshape(3, 4), np.array([0.0, 2.0, 0.0])
    found = fit_blocks(in_blocks(h, y, weight, 2), n, 4, 1, [0.5, 2.0], left_out=left_out)[1]
    np.testing.assert_allclose(found.coef, 0, atol=1e-14)
    np.testing.assert_allclose(found.intercept, np.average(y[:, 0], weights=weight), rtol=1e-14)


def test_sums_that_overflow():
    h, y, _ = problem(40, 3, 1, False)
    # squares overflow, the rows do not
    sums, found, *_ = fit_blocks(in_blocks(h * 1e200, y * 1e200, None, 10), 40, 3, 1, [0.0], left_out=False)
    assert isinstance(sums, Triangle)
    np.testing.assert_allclose(found.coef, reference(h, y, None, 0.0)[0], rtol=1e-9)
    with pytest.raises(FloatingPointError, match=r"^a sum over rows is not finite$"), np.errstate(all="ignore"):
        fit_blocks(in_blocks(h * 1e307, y, None, 10), 40, 3, 1, [1.0], left_out=False)


@pytest.mark.parametrize("n", [0, 1, 5, 200])
@pytest.mark.parametrize("columns", [1, 4, 40])
def test_rows_below_a_triangle(columns, n):
    rng = np.random.default_rng(0)
    first, rows = rng.normal(size=(columns + 3, columns)), rng.normal(size=(n, columns))
    whole = np.concatenate([first, rows])
    r = upper(first.copy())
    kept = r.copy()
    found = appended(r, rows.copy())
    np.testing.assert_array_equal(r, kept)
    np.testing.assert_array_equal(found, np.triu(found))
    np.testing.assert_allclose(found.T @ found, whole.T @ whole, rtol=1e-12, atol=1e-12)
    # fewer rows than columns so far
    found = appended(upper(first[:columns // 2].copy()), rows.copy())
    whole = np.concatenate([first[:columns // 2], rows])
    np.testing.assert_allclose(found.T @ found, whole.T @ whole, rtol=1e-12, atol=1e-12)
    # a triangle
    square = np.triu(rng.normal(size=(columns, columns)))
    found = appended(r, square.copy(), triangular=True)
    np.testing.assert_allclose(found.T @ found, r.T @ r + square.T @ square, rtol=1e-12, atol=1e-12)


def test_upper_is_the_triangle():
    rows = np.random.default_rng(0).normal(size=(9, 4))
    r = upper(rows.copy())
    assert r.shape == (4, 4)
    assert upper(rows[:3].copy()).shape == (3, 4)
    np.testing.assert_array_equal(r, np.triu(r))
    np.testing.assert_allclose(r.T @ r, rows.T @ rows, rtol=1e-12)
