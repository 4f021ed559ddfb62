"""The range test: what it leaves alone, what it finds, what it refuses."""
import copy
import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits

from ldl_cy import Sequential, find_learning_rate, layers, optimizers
from ldl_cy.learning_rate import RangeTest, batches
from ldl_cy.schedules import Cosine

X, Y = load_digits(return_X_y=True)
X = X / 16
OPTIMIZERS = {"sgd": optimizers.SGD(), "momentum": optimizers.SGD(momentum=0.9), "adam": optimizers.Adam()}


def network(seed=0):
    return Sequential([layers.Dense(32, "relu"), layers.BatchNorm(), layers.Dropout(0.1), layers.Dense(10)],
                      random_state=seed)


def content(model):
    return pickle.dumps(model.__getstate__()["described"]), *(a.copy() for a in model.__getstate__()["arrays"].values())


def test_the_model_and_the_optimizer_do_not_change():
    optimizer = optimizers.Adam(Cosine(0.1, 5))
    model = network()
    model.fit(X, Y, loss="log_loss", optimizer=optimizer, epochs=2)
    before, twin = content(model), copy.deepcopy(model)
    find_learning_rate(model, X, Y, loss="log_loss", optimizer=optimizer)
    for a, b in zip(content(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert optimizer.learning_rate == Cosine(0.1, 5)
    for each in (model, twin):
        each.fit(X, Y, loss="log_loss", optimizer=optimizer, epochs=1)
    np.testing.assert_array_equal(model.theta, twin.theta)
    unbuilt = network()
    find_learning_rate(unbuilt, X, Y, loss="log_loss")
    assert unbuilt.input_shape is None


def test_the_seed_fixes_the_result():
    found = [find_learning_rate(model, X, Y, loss="log_loss", n_threads=threads)
             for model, threads in ((network(), 1), (network().build(64), 2), (network(1), 1))]
    np.testing.assert_array_equal(found[0].losses, found[1].losses)
    assert (found[0].losses[:30] != found[2].losses[:30]).any()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_suggestion_trains_well(name, seed):
    optimizer = OPTIMIZERS[name]
    found = find_learning_rate(network(seed), X, Y, loss="log_loss", optimizer=optimizer)
    assert found.rates[0] < found.suggestion < found.rates[np.argmin(found.smoothed)]

    def loss(rate):
        chosen = type(optimizer)(**{**optimizer.get_config(), "learning_rate": rate})
        try:
            return network(seed).fit(X, Y, loss="log_loss", optimizer=chosen, epochs=5).history["loss"][-1]
        except FloatingPointError:
            return np.inf

    good = loss(found.suggestion)
    assert good < 0.3
    assert loss(found.suggestion / 100) > 2 * good and loss(found.suggestion * 100) > 2 * good


def test_steps_are_those_of_a_fit():
    """Losses, rates and rows against gradient descent in NumPy."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((50, 3))
    y, weights = A @ [1.0, 2, 3], rng.integers(0, 3, 50).astype(float)
    model = Sequential([layers.Dense(1, use_bias=False)], "float64", 5).build(3)
    found = find_learning_rate(model, A, y, loss="squared_error", lowest=1e-4, highest=0.1, n_steps=40, batch_size=8,
                               sample_weight=weights)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 0.1, 40), rtol=1e-12)
    theta, expected = model.theta.copy(), []
    for rate, rows in zip(found.rates, batches(np.flatnonzero(weights), 8, 5, 0)):
        error, w = A[rows] @ theta - y[rows], weights[rows] / weights[rows].sum()
        expected.append(w @ error**2)
        theta = theta - rate * 2 * A[rows].T @ (w * error)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-10)
    shares = 0.9 ** np.arange(40)
    np.testing.assert_allclose(
        found.smoothed, [shares[:t + 1][::-1] @ found.losses[:t + 1] / shares[:t + 1].sum() for t in range(40)])


def test_batches_visit_every_row_once_an_epoch():
    rows = np.arange(5, 28)
    epochs = [rows for rows, _ in zip(batches(rows, 5, 0, 0), range(8))]
    for four in (epochs[:4], epochs[4:]):
        assert len(set(np.concatenate(four))) == 20 and set(np.concatenate(four)) <= set(rows)
    assert sorted(next(batches(rows, 100, 0, 0))) == list(rows)


def test_it_ends_where_the_loss_explodes():
    found = find_learning_rate(network(), X, Y, loss="log_loss", optimizer=optimizers.SGD(momentum=0.9), highest=1e6)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 100
    assert np.isfinite(found.losses).all() and found.rates[-1] < 1e3
    assert (found.smoothed[10:-1] <= 4 * np.minimum.accumulate(found.smoothed)[10:-1]).all()
    huge = np.full((64, 1), 1e200)
    with pytest.raises(FloatingPointError, match=r"^find_learning_rate: the loss must be finite at the lowest rate"):
        find_learning_rate(Sequential([layers.Dense(1)], "float64"), np.ones((64, 1)), huge, loss="squared_error")


def test_sparse_rows_and_lengths():
    found = [find_learning_rate(Sequential([layers.Dense(10)], "float64", 0), rows, Y, loss="log_loss", n_steps=30)
             for rows in (X, csr_array(X))]
    np.testing.assert_allclose(found[0].losses, found[1].losses, rtol=1e-8)
    rng = np.random.default_rng(0)
    Z, lengths = rng.standard_normal((60, 7, 2)), rng.integers(1, 8, 60)
    model = Sequential([layers.GRU(4), layers.Dense(1)], "float64", 0)
    cut = np.where(np.arange(7)[:, None] < lengths[:, None, None], Z, 9.0)
    losses = [find_learning_rate(model, rows, Z[:, 0, 0], loss="squared_error", lengths=lengths).losses
              for rows in (Z, cut)]
    np.testing.assert_array_equal(*losses)


def test_suggestion_and_repr_of_a_known_curve():
    rates = np.geomspace(1e-6, 10, 100)
    smoothed = 1 - 1 / (1 + (0.01 / rates) ** 2) + rates / 100
    found = RangeTest(rates, smoothed, smoothed)
    assert 0.005 < found.suggestion < 0.02          # the middle of the sigmoid
    assert repr(found) == f"<RangeTest of 100 steps, rates 1e-06 .. 10, suggestion={found.suggestion:.3g}>"
    for curve in (rates, np.ones(100)):
        never = RangeTest(rates, curve, curve)
        assert never.suggestion is None and repr(never).endswith("suggestion=None>")


def test_plot():
    pytest.importorskip("matplotlib", reason="the extra 'test' brings matplotlib, which draws the picture").use("agg")
    import matplotlib.pyplot as plt

    found = find_learning_rate(network(), X, Y, loss="log_loss")
    ax = found.plot()
    assert ax.get_xscale() == "log" and found.plot(ax) is ax
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.losses)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), found.smoothed)
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), found.rates)
    assert ax.lines[2].get_xdata()[0] == found.suggestion
    assert len(RangeTest(found.rates, found.rates, found.rates).plot().lines) == 2
    plt.close("all")


@pytest.mark.parametrize(("options", "message"), [
    ({"model": 3}, "find_learning_rate: model must be a Sequential, got int."),
    ({"X": X[:, :4]}, "find_learning_rate: X must have the shape (n, 64), got (1797, 4)."),
    ({"X": X * np.nan}, "find_learning_rate: X must be finite, got NaN."),
    ({"y": Y[:5]}, "log_loss: X and y must have as many rows"),
    ({"y": Y + 7}, "log_loss: y must hold class codes 0 .. 9"),
    ({"loss": "squares"}, "Sequential: loss must be one of"),
    ({"optimizer": "adamm"}, "Sequential: optimizer must be one of"),
    ({"optimizer": "gd"}, "find_learning_rate: optimizer must take batches, got GD, which takes the full batch."),
    ({"lowest": 0}, "find_learning_rate: lowest must be a number > 0, got 0."),
    ({"lowest": 0.5, "highest": 0.5}, "find_learning_rate: highest must be a number > 0.5, got 0.5."),
    ({"n_steps": 29}, "find_learning_rate: n_steps must be an int >= 30, got 29."),
    ({"batch_size": 0}, "find_learning_rate: batch_size must be an int >= 1, got 0."),
    ({"batch_size": "full"}, "find_learning_rate: batch_size must be an int >= 1, got 'full'."),
    ({"sample_weight": np.ones(5)}, "Sequential: sample_weight must have the shape (1797,), got (5,)."),
    ({"lengths": np.ones(5, int)}, "Sequential: lengths must have the shape (1797,), got (5,)."),
    ({"n_threads": 0}, "Sequential: n_threads must be an int >= 1, got 0."),
])
def test_bad_input(options, message):
    given = {"model": network().build(64), "X": X, "y": Y, "loss": "log_loss", **options}
    with pytest.raises((TypeError, ValueError)) as error:
        find_learning_rate(given.pop("model"), given.pop("X"), given.pop("y"), **given)
    assert str(error.value).startswith(message)
