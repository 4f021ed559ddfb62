"""Losses: values and gradients against NumPy, what is refused, what they teach a model."""
import threading

import numpy as np
import pytest
from gradients import check_gradient
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax, xlogy
from sklearn.linear_model import PoissonRegressor

from ldl_cy import Sequential, layers, losses, optimizers
from ldl_cy._kernels.losses import make_loss

DTYPES = ("float32", "float64")
N, STEPS, K = 7, 3, 4


# -- formulas in NumPy: y (n, steps, k) and targets -> (loss of each element or vector, gradient) -------------------


def squared_error(y, t):
    return (y - t) ** 2, 2 * (y - t)


def absolute_error(y, t):
    return np.abs(y - t), np.sign(y - t)


def huber(delta):
    def formula(y, t):
        e = y - t
        near = np.abs(e) <= delta
        return np.where(near, e**2 / 2, delta * (np.abs(e) - delta / 2)), np.where(near, e, delta * np.sign(e))
    return formula


def quantile(q):
    def formula(y, t):
        loss = q * np.maximum(t - y, 0) + (1 - q) * np.maximum(y - t, 0)
        return loss, (1 - q) * (y > t) - q * (y < t)
    return formula


def poisson(y, t):
    return np.exp(y) - t * y, np.exp(y) - t


def deviance(y, t):
    return np.exp(y) - t * y + xlogy(t, t) - t, np.exp(y) - t


def binary_log_loss(y, t):
    return np.logaddexp(0, y) - t * y, 1 / (1 + np.exp(-y)) - t


def binary_hinge(y, t):
    s = np.where(t == 1, 1, -1)
    return np.maximum(0, 1 - s * y), np.where(s * y < 1, -s, 0)


def log_loss(smoothing):
    def formula(y, t):
        p = t if t.ndim == 3 else np.eye(y.shape[-1])[t.astype(int)]
        p = (1 - smoothing) * p + smoothing / y.shape[-1]
        return -(p * log_softmax(y, -1)).sum(-1), softmax(y, -1) - p
    return formula


def hinge(y, t):
    hot = np.eye(y.shape[-1], dtype=bool)[t.astype(int)]
    others = np.where(hot, -np.inf, y)
    loss = np.maximum(0, 1 + others.max(-1) - y[hot].reshape(t.shape))
    rival = np.eye(y.shape[-1])[others.argmax(-1)]
    return loss, (rival - hot) * (loss > 0)[..., None]


def real(rng, k):
    return rng.normal(0, 2, (N, STEPS, k))


def counts(rng, k):
    return rng.poisson(1.5, (N, STEPS, k))


def share(rng, k):
    return rng.uniform(0, 1, (N, STEPS, k))


def bits(rng, k):
    return rng.integers(0, 2, (N, STEPS, k))


def signs(rng, k):
    return 2 * rng.integers(0, 2, (N, STEPS, k)) - 1


def codes(rng, k):
    return rng.integers(0, k, (N, STEPS))


def chances(rng, k):
    return rng.dirichlet(np.ones(k), (N, STEPS))


# loss, formula, targets, numbers of outputs, whether the loss is a mean over outputs
CASES = {
    "squared_error": (losses.SquaredError, squared_error, real, (1, K), True),
    "absolute_error": (losses.AbsoluteError, absolute_error, real, (1, K), True),
    "huber": (losses.Huber, huber(1.0), real, (1, K), True),
    "huber_0.3": (lambda **o: losses.Huber(0.3, **o), huber(0.3), real, (1, K), True),
    "quantile": (losses.Quantile, quantile(0.5), real, (1, K), True),
    "quantile_0.9": (lambda **o: losses.Quantile(0.9, **o), quantile(0.9), real, (1, K), True),
    "poisson": (losses.Poisson, poisson, counts, (1, K), True),
    "deviance": (lambda **o: losses.Poisson(deviance=True, **o), deviance, counts, (1, K), True),
    "binary_log_loss": (losses.BinaryLogLoss, binary_log_loss, share, (1, K), True),
    "log_loss": (losses.LogLoss, log_loss(0), codes, (2, K), False),
    "log_loss_smooth": (lambda **o: losses.LogLoss(0.1, **o), log_loss(0.1), codes, (2, K), False),
    "log_loss_probs": (losses.LogLoss, log_loss(0), chances, (2, K), False),
    "log_loss_probs_smooth": (lambda **o: losses.LogLoss(0.1, **o), log_loss(0.1), chances, (2, K), False),
    "hinge": (losses.Hinge, hinge, codes, (2, K), False),
    "hinge_bits": (losses.Hinge, binary_hinge, bits, (1,), False),
    "hinge_signs": (losses.Hinge, binary_hinge, signs, (1,), False),
}


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_has_a_case(name):
    assert any(type(case[0]()) is losses.LOSSES[name] for case in CASES.values()), f"{name} is not in CASES"


NAMES_AND_K = [(name, k) for name, case in CASES.items() for k in case[3]]


def expected(name, y, t, w, scale):
    """(sum_i w_i l_i, gradient) of y (n, steps, k)."""
    loss, grad = CASES[name][1](y, t)
    k = y.shape[-1] if CASES[name][4] else 1
    per_sample = loss.reshape(len(y), -1).sum(1) / (y.shape[1] * k)
    return w @ per_sample * scale, grad * w[:, None, None] * scale / (y.shape[1] * k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize(("name", "k"), NAMES_AND_K)
def test_value_and_gradient(name, k, steps, weighted, dtype):
    rng = np.random.default_rng(0)
    make, _, targets, _, _ = CASES[name]
    y = rng.normal(0, 1.5, (N, steps, k)).astype(dtype)
    t = targets(rng, k)[:, :steps]
    w = np.array([1, 0, 2, 0.5, 0, 1, 3.0]) if weighted else None
    flat, kernel = make(scale=0.7).encode_targets(t, N, (steps, k), dtype)
    value, grad = expected(name, y.astype(float), t, np.ones(N) if w is None else w, 0.7)
    tol = {"rtol": 3e-6, "atol": 3e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}
    got, dy = kernel(y, flat, w, 0.25)
    np.testing.assert_allclose(got, value, **tol)
    np.testing.assert_allclose(dy, 0.25 * grad, **tol)
    assert dy.dtype == dtype
    over_y = kernel(y, flat, w, 0.25, gradient="in place")
    assert over_y[0] == got
    np.testing.assert_array_equal(over_y[1], dy)
    assert kernel(y, flat, w, 0.25, gradient="none") == (got, None)


@pytest.mark.parametrize(("name", "k"), NAMES_AND_K)
def test_central_differences(name, k):
    rng = np.random.default_rng(1)
    make, _, targets, _, _ = CASES[name]
    y = rng.normal(0, 1.5, (N, STEPS, k))       # the kinks are nowhere near
    w = rng.uniform(0.5, 2, N)
    flat, kernel = make().encode_targets(targets(rng, k), N, (STEPS, k), "float64")
    _, dy = kernel(y, flat, w)
    # f is a sum over rows, far larger than the derivative by one number: what is left is its rounding, eps |f| / h
    check_gradient(lambda y: kernel(y, flat, w)[0], y, dy, 5e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows(dtype):
    """More numbers than are exponentiated at a time."""
    rng = np.random.default_rng(2)
    y, t = rng.normal(size=(5, 1, 700)), rng.poisson(2, (5, 1, 700))
    flat, kernel = losses.Poisson(deviance=True).encode_targets(t.reshape(5, 700), 5, (700,), dtype)
    for w in (None, np.array([1, 0, 2, 1, 1.0])):
        got, dy = kernel(y, flat, w, gradient="in place")
        loss, grad = deviance(y, t)
        weights = np.ones(5) if w is None else w
        np.testing.assert_allclose(got, weights @ loss.mean((1, 2)), rtol=1e-6 if dtype == "float32" else 1e-12)
        np.testing.assert_allclose(dy, grad * weights[:, None, None] / 700, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "y", "t", "value", "gradient"), [
    (losses.AbsoluteError(), [[2.0]], [2], 0, [[0]]),
    (losses.Quantile(0.9), [[2.0]], [2], 0, [[0]]),
    (losses.Huber(2.0), [[2.0]], [0], 2, [[2]]),
    (losses.Huber(2.0), [[-5.0]], [0], 8, [[-2]]),
    (losses.Hinge(), [[1.0]], [1], 0, [[0]]),
    (losses.Hinge(), [[1.0, 3, 3, 0]], [0], 3, [[-1, 1, 0, 0]]),
    (losses.Hinge(), [[3.0, 3, 0]], [1], 1, [[1, -1, 0]]),
    (losses.Hinge(), [[0.0, 2, 1]], [1], 0, [[0, 0, 0]]),
    (losses.Hinge(), [[0.0, 2, 1]], [2], 2, [[0, 1, -1]]),
    (losses.Poisson(deviance=True), [[np.log(3.0)]], [3], 0, [[0]]),
])
def test_at_the_kinks(loss, y, t, value, gradient, dtype):
    flat, kernel = loss.encode_targets(np.array(t), 1, (len(y[0]),), dtype)
    got, dy = kernel(np.array(y), flat)
    assert got == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(dy, gradient, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite(dtype):
    """An overflow is an infinite loss, NaN stays NaN, and neither counts where the weight is 0."""
    for loss in losses.LOSSES.values():
        k = 3 if loss.name in ("log_loss", "hinge") else 1
        flat, kernel = loss().encode_targets(np.array([0, 1]), 2, (k,), dtype)
        for place in range(k):
            y = np.zeros((2, k))
            y[1, place] = np.nan
            assert np.isnan(kernel(y, flat)[0]), loss.name
    flat, kernel = losses.Hinge().encode_targets(np.array([0, 1]), 2, (1,), dtype)
    assert np.isnan(kernel(np.array([[0], [np.nan]]), flat)[0])
    flat, kernel = losses.Poisson().encode_targets(np.array([1, 1]), 2, (1,), dtype)
    assert kernel(np.array([[0], [1e3]]), flat)[0] == np.inf
    value, dy = kernel(np.array([[0], [1e3]]), flat, [1, 0])
    assert value == 1 and dy.tolist() == [[0], [0]]
    model = Sequential([layers.Dense(1)], dtype).build(1)
    model.theta[:] = [1000, 0]
    with pytest.raises(FloatingPointError, match="non-finite in epoch 1"):
        model.fit(np.ones((4, 1)), np.ones(4), loss="poisson")
    assert model.theta.tolist() == [1000, 0]


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "message"), [
    (lambda: losses.Huber(0), "Huber: delta must be a number > 0, got 0."),
    (lambda: losses.Huber("1"), "Huber: delta must be a number > 0, got '1'."),
    (lambda: losses.Quantile(1.0), "Quantile: quantile must be a number > 0 and < 1, got 1.0."),
    (lambda: losses.Quantile(0), "Quantile: quantile must be a number > 0 and < 1, got 0."),
    (lambda: losses.Quantile(None), "Quantile: quantile must be a number > 0 and < 1, got None."),
    (lambda: losses.Poisson(1), "Poisson: deviance must be True or False, got 1."),
    (lambda: losses.Hinge(scale=-1), "Hinge: scale must be a number > 0, got -1."),
    (lambda: losses.Custom("mean"), "Custom: fn must be a function, got 'mean'."),
    (lambda: losses.get("custom"), "Sequential: loss must be one of squared_error, "),
])
def test_bad_settings(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("loss", "y", "shape", "message"), [
    ("absolute_error", np.ones(3), (2,), "absolute_error: y must have the shape (3, 2) of the output, got (3,)."),
    ("huber", np.array([1, np.inf, 1]), (1,), "huber: y must be finite, got infinity."),
    ("quantile", np.array(["a", "b", "c"]), (1,), "quantile: y must be an array of numbers, got dtype <U1."),
    ("poisson", np.array([1, -2, 1]), (1,), "poisson: y must be >= 0, got -2."),
    ("log_loss", np.zeros(3), (1,),
     "log_loss: the output must have 2 classes or more, got 1; binary_log_loss takes one."),
    ("hinge", np.array([0, 1, 3]), (3,), "hinge: y must hold class codes 0 .. 2, got values from 0 to 3."),
    ("hinge", np.array([0, 1, 0.5]), (3,), "hinge: y must hold class codes 0 .. 2, got values from 0.0 to 1.0."),
    ("hinge", np.ones((3, 3)), (3,), "hinge: y must have the shape (3,) (class codes), got (3, 3)."),
    ("hinge", np.array([0, 1, -1]), (1,), "hinge: y must hold 0 and 1 or -1 and 1 for one output, got -1, 0, 1."),
    ("hinge", np.array([[0, 1]] * 3), (1,), "hinge: y must have the shape (3, 1) of the output, got (3, 2)."),
])
def test_bad_targets(loss, y, shape, message):
    with pytest.raises((TypeError, ValueError)) as error:
        losses.get(loss).encode_targets(y, 3, shape, "float64")
    assert str(error.value) == message


def test_kernels_alone():
    kernel = make_loss("log_loss_codes", "float32", steps=1, k=3, scale=1.0)
    for y, t, w, sizes in ((np.ones((4, 3)), np.zeros(3), None, "12, 3, 1"),
                           (np.ones((4, 3)), np.zeros(4), np.ones(5), "12, 4, 5")):
        with pytest.raises(ValueError) as error:
            kernel(y, t, w)
        assert str(error.value) == f"LossKernel: y, t and w do not agree: {sizes}."
    with pytest.raises(ValueError) as error:
        make_loss("log_loss", "float32", steps=1, k=3, scale=1.0)
    assert str(error.value) == "make_loss: no kernel for 'log_loss'."


def test_names_and_repr():
    for name, loss in losses.LOSSES.items():
        assert loss.name == name and type(losses.get(name)) is loss
    assert repr(losses.Quantile(0.9)) == "Quantile(quantile=0.9)"
    assert repr(losses.Huber(scale=2)) == "Huber(delta=1.0, scale=2.0)"


# -- what they teach ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "q"), [
    (losses.Quantile(0.9), 0.9), (losses.Quantile(0.25), 0.25), ("quantile", 0.5), ("absolute_error", 0.5)])
def test_a_constant_becomes_the_quantile(loss, q):
    y = np.random.default_rng(0).exponential(1, 101)
    model = Sequential([layers.Dense(1)], "float64", 0).build(1)
    for rate in (0.3, 0.03, 0.003):
        model.fit(np.zeros((101, 1)), y, loss=loss, batch_size="full", epochs=400, optimizer=optimizers.SGD(rate))
    assert model.predict(np.zeros((1, 1)))[0, 0] == pytest.approx(np.quantile(y, q), abs=0.02)


@pytest.mark.parametrize("deviance", [False, True])
def test_poisson_regression(deviance):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = rng.poisson(np.exp(X @ [0.5, -0.3, 0.2] + 0.7))
    w = rng.uniform(0.5, 2, 300)
    model = Sequential([layers.Dense(1)], "float64", 0).build(3)
    f = model.objective(X, y, loss=losses.Poisson(deviance), sample_weight=w)
    found = minimize(f, model.theta, jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 0})
    known = PoissonRegressor(alpha=0, tol=1e-9, max_iter=1000).fit(X, y, w)
    np.testing.assert_allclose(found.x, [*known.coef_, known.intercept_], atol=1e-6)


def test_poisson_by_gradient_descent():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = rng.poisson(np.exp(X @ [0.5, -0.3, 0.2] + 0.7))
    model = Sequential([layers.Dense(1)], "float32", 0).build(3)
    model.fit(X, y, loss="poisson", batch_size="full", epochs=500, optimizer=optimizers.SGD(0.1))
    known = PoissonRegressor(alpha=0, tol=1e-9).fit(X, y)
    np.testing.assert_allclose(model.theta, [*known.coef_, known.intercept_], atol=1e-3)


@pytest.mark.parametrize("k", [1, 3])
def test_hinge_separates(k):
    rng = np.random.default_rng(0)
    y = rng.integers(0, max(k, 2), 200)
    X = rng.normal(size=(200, 2)) + 6 * np.array([[0, 0], [1, 0], [0, 1]])[y]
    model = Sequential([layers.Dense(k)], random_state=0)
    history = model.fit(X, y, loss="hinge", epochs=60, optimizer=optimizers.SGD(0.05))
    raw = model.predict(X)
    guess = raw.argmax(1) if k == 3 else raw[:, 0] > 0
    assert (guess == y).mean() > 0.97 and history.history["loss"][-1] < 0.15


def test_huber_resists_outliers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    y = 2 * X[:, 0] + 0.1 * rng.normal(size=200)
    y[:20] += 100
    slopes = []
    for loss in ("huber", "squared_error"):
        model = Sequential([layers.Dense(1)], "float64", 0).build(1)
        f = model.objective(X, y, loss=loss)
        slopes.append(minimize(f, model.theta, jac=True).x)
    assert abs(slopes[0][0] - 2) < 0.1 and abs(slopes[0][1]) < 0.3 < 5 < slopes[1][1]


@pytest.mark.parametrize("loss", ["absolute_error", "huber", losses.Quantile(0.9), "poisson", "hinge"])
def test_threads_change_nothing(loss):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 60)).astype("float32"), rng.integers(0, 2, 400)
    thetas = []
    for n_threads in (1, 2):
        model = Sequential([layers.Dense(100, "tanh"), layers.Dense(1)], random_state=0)
        model.fit(X, y, loss=loss, batch_size=200, epochs=3, n_threads=n_threads)
        thetas.append(model.theta)
    np.testing.assert_array_equal(*thetas)


# -- losses in NumPy ------------------------------------------------------------------------------------------------


def in_numpy(y_pred, y):
    """The squared error."""
    y = y.reshape(y_pred.shape)
    axes = tuple(range(1, y.ndim))
    return ((y_pred - y) ** 2).mean(axes), 2 * (y_pred - y) / y[0].size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (5, 3)])
def test_custom_equals_squared_error(shape, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, *shape[:-1], 4))
    y, w = rng.normal(size=(90, *shape)), rng.integers(0, 3, 90)
    model = Sequential([layers.Dense(6, "tanh"), layers.Dense(3)], dtype, 0).build(X.shape[1:])
    tol = {"rtol": 2e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    for scale in (1.0, 0.3):
        pair = losses.Custom(in_numpy, scale=scale), losses.SquaredError(scale=scale)
        for weight in (None, w):
            (a, da), (b, db) = (model.loss_and_grad(X, y, loss=f, sample_weight=weight) for f in pair)
            np.testing.assert_allclose(a, b, **tol)
            np.testing.assert_allclose(da, db, **tol)
            assert model.evaluate(X, y, loss=pair[0], sample_weight=weight) == pytest.approx(a, rel=1e-5)
    thetas = []
    for loss in pair:
        model.reset()
        model.fit(X, y, loss=loss, epochs=3, sample_weight=w)
        thetas.append(model.theta.copy())
    np.testing.assert_allclose(*thetas, **tol)


def test_custom_in_place_and_alone():
    rng = np.random.default_rng(0)
    y, t = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    flat, kernel = losses.Custom(in_numpy).encode_targets(t, 6, (2,), "float64")
    got, dy = kernel(y, flat, [1, 0, 1, 2, 0, 1])
    over_y = kernel(y, flat, [1, 0, 1, 2, 0, 1], gradient="in place")
    assert over_y[0] == got == kernel(y, flat, [1, 0, 1, 2, 0, 1], gradient="none")[0]
    np.testing.assert_array_equal(over_y[1], dy)
    assert not dy[[1, 4]].any()
    with pytest.raises(ZeroDivisionError):
        losses.Custom(lambda a, b: 1 // 0).encode_targets(t, 6, (2,), "float64")[1](y, flat)


def test_custom_sees_its_targets():
    seen = []

    def look(y_pred, y):
        seen.append((y_pred, y, threading.get_ident()))
        return np.zeros(len(y)), np.zeros_like(y_pred)

    X, y = np.arange(10.0).reshape(10, 1), np.arange(40).reshape(10, 2, 2)
    model = Sequential([layers.Dense(3)], random_state=0).build(1)
    model.evaluate(X, y, loss=losses.Custom(look))
    assert np.concatenate([s[0] for s in seen]).shape == (10, 3)
    np.testing.assert_array_equal(np.concatenate([s[1] for s in seen]), y)
    assert seen[0][1].dtype == "float32"
    # only the calling thread, whatever is asked for
    seen.clear()
    wide = Sequential([layers.Dense(400, "tanh"), layers.Dense(3)], random_state=0)
    wide.fit(np.ones((600, 300)), np.zeros(600), loss=losses.Custom(look), batch_size=300, epochs=2, n_threads=2)
    assert {s[2] for s in seen} == {threading.get_ident()}


@pytest.mark.parametrize("error", [ZeroDivisionError("division"), KeyboardInterrupt()])
def test_custom_exceptions(error):
    calls = []

    def fails(y_pred, y):
        calls.append(1)
        if len(calls) > 5:
            raise error
        return in_numpy(y_pred, y)

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    loss = losses.Custom(fails)
    model = Sequential([layers.Dense(1)], "float64", 0).build(2)
    with pytest.raises(type(error)):
        model.fit(X, y, loss=loss, batch_size=8, epochs=9)
    assert np.isfinite(model.theta).all() and model.epoch == 1
    for call in (model.evaluate, model.loss_and_grad):
        with pytest.raises(type(error)):
            call(X, y, loss=loss)
    before = model.evaluate(X, y, loss="squared_error")
    model.fit(X, y, loss="squared_error", epochs=20)
    assert model.evaluate(X, y, loss=losses.Custom(in_numpy)) < before


@pytest.mark.parametrize(("fn", "message"), [
    (lambda a, b: a, "Custom: fn must return a tuple (loss per sample, gradient), got ndarray."),
    (lambda a, b: (a, a), "Custom: fn's loss per sample must have the shape (4,), got (4, 2)."),
    (lambda a, b: (a[:, 0], 1.0), "Custom: fn's gradient must have the shape (4, 2), got ()."),
])
def test_custom_returns(fn, message):
    model = Sequential([layers.Dense(2)], random_state=0).build(1)
    with pytest.raises((TypeError, ValueError)) as error:
        model.evaluate(np.ones((4, 1)), np.ones((4, 2)), loss=losses.Custom(fn))
    assert str(error.value) == message


def test_custom_serves_several_threads():
    """An objective in two threads: the one whose weights make the function fail gets the exception."""
    def picky(y_pred, y):
        if y_pred[0, 0] > 50:
            raise OverflowError("too large")
        return in_numpy(y_pred, y)

    model = Sequential([layers.Dense(1, use_bias=False)], "float64", 0).build(1)
    f = model.objective(np.ones((300, 1)), np.zeros(300), loss=losses.Custom(picky))
    found = {}

    def work(theta):
        good = bad = 0
        for _ in range(100):
            try:
                good += f(np.array([theta]))[0] == theta**2
            except OverflowError:
                bad += 1
        found[theta] = good, bad

    threads = [threading.Thread(target=work, args=(theta,)) for theta in (3.0, 100.0)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {3.0: (100, 0), 100.0: (0, 100)}
