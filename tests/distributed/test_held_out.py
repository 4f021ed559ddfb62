"""validation_split over ranks: with rows="local" a share of each shard is held out."""
import numpy as np
import pytest
from thread_comm import run_ranks

from ldl_cy import Sequential, layers

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((160, 5)), RNG.standard_normal((160, 2))


def fit(comm, rows):
    """theta, and the history, on whole shards of the rows."""
    rank, size = comm.Get_rank(), comm.Get_size()
    own = slice(None) if rows == "all" else slice(160 * rank // size, 160 * (rank + 1) // size)
    model = Sequential([layers.Dense(7, "tanh"), layers.Dense(2)], random_state=0)
    history = model.fit(X[own], Y[own], loss="squared_error", epochs=3, batch_size=40, validation_split=0.2, comm=comm,
                        rows=rows)
    return model.theta.tobytes(), history.history["loss"], history.history["val_loss"]


@pytest.mark.parametrize("rows", ["all", "local"])
def test_the_same_bits_on_any_number_of_ranks(rows):
    expected = run_ranks(1, lambda comm: fit(comm, rows))[0]
    for size in (2, 4, 8):
        assert run_ranks(size, lambda comm: fit(comm, rows)) == [expected] * size


def test_the_held_out_rows_are_the_last_of_each_shard():
    held = (np.arange(160) % 20) >= 16

    def evaluate(comm):
        model = Sequential([layers.Dense(7, "tanh"), layers.Dense(2)], "float64", random_state=0)
        history = model.fit(X, Y, loss="squared_error", epochs=1, batch_size=40, validation_split=0.2, comm=comm,
                            rows="local")
        return history.history["val_loss"][0], model.evaluate(X[held], Y[held], loss="squared_error")

    found, expected = run_ranks(1, evaluate)[0]
    assert found == pytest.approx(expected, rel=1e-12)


def test_shards_that_are_too_small():
    for error in run_ranks(2, lambda comm: Sequential([layers.Dense(2)]).fit(
            X[:8], Y[:8], loss="squared_error", validation_split=0.2, comm=comm, rows="local")):
        assert str(error) == ("Sequential: validation_split must hold out a row of a shard, and leave a row to train "
                              "on, got 0.2 of 8 rows in 4 shards.")
