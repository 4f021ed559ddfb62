"""What full-batch methods see of a fit: loss, gradient, products with the Jacobian, Gauss-Newton matrix, curvature."""
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
from gradients import check_derivative

from ldl_cy import Sequential, layers, losses
from ldl_cy.data import validate_data
from ldl_cy.optimizers.objective import Objective

CONV = [layers.Conv2D(3, 3, activation="tanh"), layers.MaxPool2D(2), layers.Flatten(), layers.Dense(2)]
# layers, input shape, rows
NETWORKS = {
    "linear": ([layers.Dense(3)], (4,), 10),
    "one row": ([layers.Dense(3, "tanh"), layers.Dense(2)], (4,), 1),
    "a block of rows": ([layers.Dense(3, "tanh"), layers.Dense(1)], (4,), 64),
    "more than a block": ([layers.Dense(5, "tanh"), layers.Dense(3)], (4,), 131),
    "frozen": ([layers.Dense(5, "tanh"), layers.Dense(4, "gelu", trainable=False), layers.Dense(2)], (3,), 17),
    "convolution": (CONV, (6, 6, 2), 67),
    "normalized": ([layers.Dense(4), layers.BatchNorm(), layers.LayerNorm(), layers.Dense(2)], (3,), 9),
    "given numbers": ([layers.Normalization((1, 2, 3), (4, 5, 6)), layers.Dense(2, "tanh")], (3,), 9),
    "branches": ([layers.Concatenate([layers.Dense(3, "tanh")], layers.Dense(2), []), layers.Dense(2)], (3,), 9),
    "products": ([layers.Dense(4, "tanh"), layers.Multiply([], layers.Dense(1), [layers.Dense(4, "logistic")]),
                  layers.Dense(2)], (3,), 9),
    "recurrent": ([layers.GRU(4, return_sequences=True), layers.LSTM(3), layers.Dense(2)], (5, 2), 70),
}


@contextmanager
def objective(model, X, y, loss="squared_error", sample_weight=None, lengths=None, alpha=0.0, n_threads=1):
    """As a fit makes it, in float64."""
    loss = losses.get(loss)
    data = validate_data(model.network, "X", X, y, sample_weight, lengths, loss, "float64")
    with Objective(model.network.astype("float64"), data, loss, alpha, n_threads) as made:
        yield made


def case(name, dtype="float64", seed=0):
    stack, shape, n = NETWORKS[name]
    rng = np.random.default_rng(seed)
    model = Sequential(stack, dtype, 1).build(shape)
    for values in model.state.values():
        values[...] = rng.uniform(0.5, 2, values.shape)
    X = rng.standard_normal((n, *shape)).astype(dtype)
    y = rng.standard_normal((n, *model.output_shape)).astype(dtype)
    return model, X, y, rng


def in_float64(model):
    twin = Sequential(model.layers, "float64", 0).build(model.input_shape)
    twin.network.statistics[:] = model.network.statistics
    return twin


def compare(made, theta, J, outputs, targets, weights, rng):
    """All pieces for squared errors with the Jacobian J (n, k, P) and the outputs (n, k) given."""
    n, k, n_params = J.shape
    r, c = outputs - targets, np.repeat(weights, k) * 2 / (k * weights.sum())
    flat = J.reshape(-1, n_params)
    grad, matrix = made.gauss_newton(theta)
    tol = {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(grad, flat.T @ (c * r.ravel()), **tol)
    np.testing.assert_allclose(np.tril(matrix), np.tril(flat.T @ (c[:, None] * flat)), **tol)
    np.testing.assert_allclose(made.outputs(theta), outputs, **tol)
    u, v = rng.standard_normal((n, k)), rng.standard_normal(n_params)
    np.testing.assert_allclose(made.vjp(theta, u), flat.T @ u.ravel(), **tol)
    np.testing.assert_allclose(made.jvp(theta, v), (flat @ v).reshape(n, k), rtol=1e-6, atol=1e-7)
    assert not made.jvp(theta, 0 * v).any()
    value, grad = made.value_and_grad(theta)
    expected = np.sum(weights * np.mean(r**2, axis=1)) / weights.sum() + made.penalty(theta)
    assert value == pytest.approx(expected, rel=1e-12) and made.value(theta) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(grad, flat.T @ (c * r.ravel()) + made.decay * theta, **tol)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_pieces(name, weighted, dtype):
    model, X, y, rng = case(name, dtype)
    theta, twin = model.theta.astype(float), in_float64(model)
    weights = None
    if weighted:
        weights = rng.uniform(0, 2, len(X))
        weights[1::3] = 0
    J = twin.jacobian(X, theta=theta)
    twin.theta = theta
    with objective(model, X, y, sample_weight=weights, alpha=0.7) as made:
        trainable = model.network.trainable
        compare(made, theta[trainable], J[..., trainable], twin.predict(X).reshape(len(X), -1), y,
                np.ones(len(X)) if weights is None else weights, rng)
        expected = np.concatenate([np.full(entry.parameter.size, entry.parameter.decays * 0.7 / made.total_weight)
                                   for entry in model.network.graph.parameters if entry.trainable])
        np.testing.assert_array_equal(made.decay, expected)


@pytest.mark.parametrize("frozen", [(), (0,), (1,), (0, 2), (2,)])
def test_frozen_weights_are_constants(frozen):
    """The variables are the trainable weights; the function has the others where the network has them."""
    stack = [layers.Dense(n, "tanh", trainable=i not in frozen) for i, n in enumerate((5, 4, 2))]
    model = Sequential(stack, "float32", 1).build(3)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    trainable = model.network.trainable
    z, at = rng.standard_normal(trainable.sum()), model.theta.astype(float)
    with objective(model, X, y, alpha=1.0) as made:
        twin = in_float64(model)
        for change in (0.0, 0.1):       # of the frozen weights, as a callback may
            model.theta[~trainable] += change
            at[~trainable] = model.theta[~trainable]
            at[trainable] = z
            made.follow(model.network)
            expected, grad = twin.loss_and_grad(X, y, loss="squared_error", theta=at)
            value, found = made.value_and_grad(z)
            np.testing.assert_allclose(value - made.penalty(z), expected, rtol=1e-12)
            np.testing.assert_allclose(found - made.decay * z, grad[trainable], rtol=1e-10, atol=1e-13)
            assert made.value(z) == pytest.approx(value, rel=1e-13)
            J = twin.jacobian(X, theta=at)[..., trainable].reshape(18, -1)
            np.testing.assert_allclose(np.tril(made.gauss_newton(z)[1]), np.tril(J.T @ J) / 9, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(made.vjp(z, y), J.T @ y.ravel(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("units", [8, 600])             # the second in tiles of columns over all rows
def test_sparse_rows(units):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((70, 40)) * (rng.uniform(size=(70, 40)) < 0.1)
    y = rng.standard_normal((70, 2))
    model = Sequential([layers.Dense(units, "tanh"), layers.Dense(2)], "float64", 1).build(40)
    v, u = rng.standard_normal(model.n_parameters), rng.standard_normal((70, 2))
    found = []
    for data in (X, sp.csr_array(X)):
        with objective(model, data, y) as made:
            found.append([made.value(model.theta), *made.value_and_grad(model.theta), made.outputs(model.theta),
                          made.jvp(model.theta, v), made.vjp(model.theta, u)])
            if units == 8:
                found[-1] += made.gauss_newton(model.theta)
    for dense, sparse in zip(*found):
        np.testing.assert_array_equal(dense, sparse)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stack", [
    [layers.RNN(4), layers.Dense(2)],
    [layers.Dense(3), layers.GRU(3, return_sequences=True), layers.Bidirectional(layers.LSTM(2)), layers.Dense(2)],
    [layers.Conv1D(3, 3, padding="same", activation="tanh"), layers.GlobalAvgPool1D(), layers.Dense(2)],
])
def test_sequences_of_several_lengths(stack, dtype):
    """Each row's derivatives are those of a network built for its length."""
    rng = np.random.default_rng(0)
    n, T = 67, 6
    X, y = rng.standard_normal((n, T, 2)).astype(dtype), rng.standard_normal((n, 2)).astype(dtype)
    lengths, weights = rng.integers(1, T + 1, n), rng.uniform(0.5, 1, n)
    model = Sequential(stack, dtype, 1).build((T, 2))
    theta = model.theta.astype(float)
    J, outputs = [], []
    for row, length in zip(X, lengths):
        alone = Sequential(stack, "float64", 1).build((int(length), 2))
        alone.theta = theta
        J.append(alone.jacobian(row[None, :length]))
        outputs.append(alone.predict(row[None, :length]))
    with objective(model, X, y, sample_weight=weights, lengths=lengths) as made:
        compare(made, theta, np.concatenate(J), np.concatenate(outputs), y, weights, rng)


@pytest.mark.parametrize("loss", [
    losses.SquaredError(), losses.SquaredError(scale=0.5), losses.LogLoss(), losses.LogLoss(0.2, scale=3.0),
    losses.BinaryLogLoss(), losses.BinaryLogLoss(scale=2.0), losses.Poisson(), losses.Poisson(True, scale=2.0),
], ids=repr)
@pytest.mark.parametrize("k", [1, 3])
def test_curvature_is_the_gradients_derivative(loss, k):
    if loss.name == "log_loss" and k == 1:
        k = 2
    rng = np.random.default_rng(0)
    n = 20
    raw, v = 3 * rng.standard_normal((n, k)), rng.standard_normal((n, k))
    y = rng.integers(0, 2, n) if loss.name == "log_loss" else rng.integers(0, 2, (n, k)).astype(float)
    targets, kernel = loss.encode_targets(y, n, (k,), "float64")
    assert loss.has_curvature
    check_derivative(lambda raw: kernel(raw, targets)[1], raw, v, loss.curvature(raw, v))
    # far out nothing overflows but what does in exact arithmetic
    far = np.full((1, k), -800.0)
    far[0, 0] = 800.0 if loss.name != "poisson" else -800.0
    assert np.isfinite(loss.curvature(far, np.ones((1, k)))).all()


def test_every_curvature_is_tested():
    assert {name for name, kind in losses.LOSSES.items() if kind.has_curvature} == {
        "squared_error", "log_loss", "binary_log_loss", "poisson"}
    with pytest.raises(TypeError, match="huber: this loss defines no curvature"):
        losses.Huber().curvature(np.ones((1, 1)), np.ones((1, 1)))


@pytest.mark.parametrize("name", ["log_loss", "binary_log_loss", "poisson"])
def test_gauss_newton_product_of_other_losses(name):
    """Jᵀ B J v is the derivative of Jᵀ ∇l with the Jacobian held, weights included."""
    model, X, _, rng = case("more than a block")
    y = rng.integers(0, 3, len(X)) if name == "log_loss" else rng.integers(0, 2, (len(X), 3))
    weights = rng.uniform(0, 1, len(X))
    weights[:40] = 0
    J, v = model.jacobian(X), rng.standard_normal(model.n_parameters)
    targets, kernel = losses.get(name).encode_targets(y, len(X), (3,), "float64")

    def gradient(raw):
        return np.einsum("nkp,nk->p", J, kernel(raw, targets, weights)[1]) / weights.sum()

    with objective(model, X, y, name, weights) as made:
        bent = made.loss_curvature(made.outputs(model.theta), made.jvp(model.theta, v))
        check_derivative(gradient, model.predict(X), J @ v, made.vjp(model.theta, bent), 1e-7)


def test_threads_change_nothing():
    rng = np.random.default_rng(0)
    stack = [layers.Conv2D(8, 3, padding="same", activation="tanh"), layers.MaxPool2D(2), layers.Flatten(),
             layers.Dense(2)]
    X, y = rng.standard_normal((300, 12, 12, 3)), rng.standard_normal((300, 2))
    model = Sequential(stack, "float64", 1).build((12, 12, 3))
    v, u = rng.standard_normal(model.n_parameters), rng.standard_normal((300, 2))
    found = []
    for threads in (1, 2, 3):
        with objective(model, X, y, n_threads=threads) as made:
            found.append([made.value(model.theta), *made.value_and_grad(model.theta), made.outputs(model.theta),
                          made.jvp(model.theta, v), made.vjp(model.theta, u),
                          *made.gauss_newton(model.theta)])
    for other in found[1:]:
        for one, several in zip(found[0], other):
            np.testing.assert_array_equal(one, several)
