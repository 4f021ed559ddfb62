"""Fits on ranks beside plain NumPy, and beside the same fits without a communicator: equal but for rounding."""
import numpy as np
import pytest
from rank_fits import CASES, CLASSES, ROWS, WEIGHTS, N, fitted, own
from thread_comm import run_ranks, without_errors

from ldl_cy import Sequential, layers
from ldl_cy.optimizers import SGD

CLOSE = {"rtol": 1e-8, "atol": 1e-10}       # of float64 weights after a few steps


def on_ranks(size, function):
    """The results of all ranks; an exception is raised."""
    return without_errors(run_ranks(size, function))


def softmax_regression(rate, batch, epochs, parts):
    """Weights (6, 3) and biases (3,) after steps in the rows' order, each by the mean of its parts' gradients."""
    W, b = np.zeros((6, 3)), np.zeros(3)
    for _ in range(epochs):
        for first in range(0, N, batch):
            rows = np.arange(first, min(first + batch, N))
            total = WEIGHTS[rows].sum()
            if total == 0:
                continue
            grads = []
            for part in np.array_split(rows, parts):
                z = ROWS[part] @ W + b
                p = np.exp(z - z.max(1, keepdims=True))
                p = (p / p.sum(1, keepdims=True) - np.eye(3)[CLASSES[part]]) * WEIGHTS[part, None] / total
                grads.append((ROWS[part].T @ p, p.sum(0)))
            W, b = W - rate * sum(g for g, _ in grads), b - rate * sum(g for _, g in grads)
    return W, b


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_a_step_is_the_sum_of_the_shards_gradients(size):
    def fit(comm):
        model = Sequential([layers.Dense(3, kernel_initializer="zeros")], "float64", random_state=0)
        model.fit(ROWS, CLASSES, loss="log_loss", optimizer=SGD(0.3), batch_size=32, epochs=4, shuffle=False,
                  sample_weight=WEIGHTS, comm=comm)
        return model.parameters["dense_0.kernel"], model.parameters["dense_0.bias"]

    W, b = softmax_regression(0.3, 32, 4, 5)
    for kernel, bias in on_ranks(size, fit):
        np.testing.assert_allclose(kernel, W, **CLOSE)
        np.testing.assert_allclose(bias, b, **CLOSE)


@pytest.mark.parametrize("name", CASES)
def test_the_fit_without_a_communicator(name):
    """Other sums, but the same rows, masks, shifts, noise and decisions."""
    model, history = fitted(name, dtype="float64")
    (one, of_one), (other, of_other) = on_ranks(2, lambda comm: fitted(name, comm, dtype="float64"))
    assert one.theta.tobytes() == other.theta.tobytes() and one.network.statistics.tobytes() == \
        other.network.statistics.tobytes() and of_one.history == of_other.history
    np.testing.assert_allclose(one.theta, model.theta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.network.statistics, model.network.statistics, **CLOSE)
    assert of_one.history.keys() == history.history.keys() and of_one.epoch == history.epoch
    for key, values in history.history.items():
        np.testing.assert_allclose(of_one.history[key], values, rtol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "normed", "weights", "penalty"])
@pytest.mark.parametrize("counts", [(104, 104), (150, 58), (3, 200, 5)])
def test_own_rows_in_one_batch_are_all_rows(name, counts):
    """A batch of all rows has the same gradient, however they are divided; the rows of a batch have no order."""
    steps = {"batch_size": N, "shuffle": False, "dtype": "float64"}
    model, history = fitted(name, **steps)
    for found, of_found in on_ranks(len(counts), lambda comm: fitted(
            name, comm, of=own(comm, counts), rows="local", **steps)):
        np.testing.assert_allclose(found.theta, model.theta, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(of_found.history["loss"], history.history["loss"], rtol=1e-8)


def test_a_seed_that_is_drawn_is_one_for_all():
    def fit(comm):
        model = Sequential([layers.Dense(4, "tanh"), layers.Dropout(0.3), layers.Dense(3)])
        model.fit(ROWS, CLASSES, loss="log_loss", epochs=2, comm=comm)
        return model.theta.tobytes(), model.random_state

    first, *others = on_ranks(3, fit)
    assert others == [first] * 2


@pytest.mark.parametrize("what", ["weights", "learning rate"])
def test_what_a_callback_changes_on_one_rank(what):
    def fit(comm):
        def change(model, logs):
            if comm.Get_rank() == 1 and model.epoch == 2:
                if what == "weights":
                    model.theta[0] += 1
                else:
                    model.training_state.rate_factor = 0.5

        model = Sequential([layers.Dense(3)], random_state=0)
        model.fit(ROWS, CLASSES, loss="log_loss", epochs=3, callbacks=[change], comm=comm)

    for error in run_ranks(3, fit):
        assert type(error) is RuntimeError and str(error) == (
            f"Sequential: callbacks must leave the same {what} on all ranks, got a difference between rank 0 and rank "
            "1.")


def test_the_first_ranks_weights_are_taken():
    def fit(comm, seed):
        model = Sequential([layers.Dense(4, "tanh"), layers.BatchNorm(), layers.Dense(3)], random_state=seed).build(6)
        model.fit(ROWS, CLASSES, loss="log_loss", optimizer="adam", epochs=2, comm=comm)
        return model.theta.tobytes(), model.network.statistics.tobytes()

    expected = on_ranks(1, lambda comm: fit(comm, 0))[0]
    assert on_ranks(3, lambda comm: fit(comm, comm.Get_rank())) == [expected] * 3
