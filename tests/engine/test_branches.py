"""Branches of the line of actions: where they are found, and that threads which share them change no bit."""
from itertools import pairwise

import numpy as np
import pytest

from ldl_cy import Sequential, layers
from ldl_cy._engine.branches import LONGEST_FORK, Fork, find_forks
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace


@pytest.mark.parametrize(("reads", "writes", "expected"), [
    ([[0], [1], [2]], [1, 2, 3], []),                                       # a chain
    ([[0], [0], [1, 2]], [1, 2, 3], [Fork((0, 1, 2), 1)]),                  # two readers, and who adds them
    ([[0], [1], [1], [2], [3]], [1, 2, 3, 4, 4], [Fork((1, 2, 3), 1)]),     # two parts of a concatenation
    ([[0], [1], [0], [3], [0], [2, 4]], [1, 2, 3, 4, 5, 6], [Fork((0, 2, 4, 5), 3)]),
    ([[0], [1], [0, 2]], [1, 2, 3], []),                                    # a residual block waits for its branch
    ([[0], [0], [1], [2, 3]], [1, 2, 3, 4], [Fork((0, 1, 2), 1)]),          # the third belongs to the first branch
    ([[0], [0], [1, 2], [3], [3], [4, 5]], [1, 2, 3, 4, 5, 6], [Fork((0, 1, 2), 1), Fork((3, 4, 5), 1)]),
], ids=["chain", "add", "concatenate", "three", "residual", "back to the first", "two forks"])
def test_where_forks_are(reads, writes, expected):
    assert find_forks(reads, writes, [1.0] * len(reads), 1.0) == expected
    assert find_forks(reads, writes, [1.0] * len(reads), 100.0) == []


def test_long_lines_are_searched_in_pieces():
    """A value that is read at the end of thousands of actions, each of which might begin a branch."""
    n = 3000
    reads = [[i] for i in range(n)] + [[i] for i in range(n)]
    found = find_forks(reads, [*range(1, n + 1), *range(n + 1, 2 * n + 1)], [1.0] * len(reads), 1.0)
    assert all(fork.edges[-1] - fork.edges[0] <= LONGEST_FORK for fork in found)


BOTH = layers.Bidirectional(layers.LSTM(24, return_sequences=True))
STACKS = {
    "bidirectional": ([BOTH, layers.Bidirectional(layers.GRU(24)), layers.Dense(3)], (50, 11)),
    "paths": ([layers.Concatenate(layers.Conv1D(32, 9, padding="same", activation="relu"),
                                  [layers.Conv1D(8, 1), layers.Conv1D(32, 15, padding="same")],
                                  layers.Conv1D(24, 5, padding="same")), layers.GlobalAvgPool1D(), layers.Dense(3)],
              (70, 12)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("n", [1, 5])
def test_threads_share_branches(name, n, dtype):
    stack, shape = STACKS[name]
    model = Sequential(stack, dtype=dtype, random_state=0).build(shape)
    plan = Plan(model.network.graph, False, 16)
    assert plan.forks
    X = np.random.default_rng(0).standard_normal((n, *shape)).astype(dtype)
    lengths = None if name == "paths" else np.arange(shape[0], shape[0] - n, -1).astype(np.int32)
    results = []
    for threads in (1, 2, 3):
        ws = Workspace(plan, threads)
        ws.share_above = 0
        for _ in range(5):
            out = np.full((n, 3), np.nan, dtype)
            with Pool(threads) as pool:
                ws.predict(X.reshape(n, -1), out, *model.network.vectors, pool, lengths)
            results.append(out)
    for out in results:
        np.testing.assert_array_equal(out, results[0])
    # the same as without forks, whose buffers share memory
    plain = Plan(model.network.graph, False, 16)
    plain.forks = []
    out = np.empty((n, 3), dtype)
    with Pool(1) as pool:
        Workspace(plain, 1).predict(X.reshape(n, -1), out, *model.network.vectors, pool, lengths)
    np.testing.assert_array_equal(out, results[0])


@pytest.mark.parametrize("name", STACKS)
def test_buffers_of_branches_share_no_memory(name):
    """Whatever a fork's actions touch is alive during the whole fork, so that no two of them overlap."""
    stack, shape = STACKS[name]
    graph = Sequential(stack, random_state=0).build(shape).network.graph
    for training in (False, True):
        plan = Plan(graph, training, 16, 3 if training else 0)
        for fork in plan.forks:
            first, last = fork.edges[0], fork.edges[-1] - 1
            within = [b for b in plan.buffers if b.first >= 0 and not b.whole and b.first <= last and b.last >= first]
            assert all(b.first <= first and b.last >= last for b in within)
            within.sort(key=lambda b: b.offset)
            for low, high in pairwise(within):
                assert low.offset + low.size * plan.block_rows <= high.offset


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_with_one_block(dtype):
    """A batch of one block: the forward passes of its branches are shared."""
    stack, shape = STACKS["bidirectional"]
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((10, *shape)).astype(dtype), rng.integers(0, 3, 10)
    thetas = []
    for threads in (1, 2):
        model = Sequential(stack, dtype=dtype, random_state=0).build(shape)
        plan = Plan(model.network.graph, True, 10, 1)
        assert plan.forks and plan.lanes == 1
        model.fit(X, y, loss="log_loss", optimizer="adam", batch_size=10, epochs=4, n_threads=threads)
        thetas.append(model.theta.copy())
    np.testing.assert_array_equal(*thetas)


def test_memory_of_one_row():
    """One row by two threads takes memory for one row, not for a block."""
    stack, shape = STACKS["paths"]
    wide = (40 * shape[0], shape[1])
    model = Sequential(stack, random_state=0).build(wide)
    X = np.random.default_rng(2).standard_normal((33, *wide)).astype("float32")
    model.predict(X[:1], n_threads=2)
    predictor = model.network.fast_path.predictor
    assert (predictor.most_rows, predictor.n_threads) == (1, 2)
    one = model.predict(X[:1], n_threads=2)
    np.testing.assert_array_equal(one, model.predict(X[:1], n_threads=1))
    model.predict(X, n_threads=2)
    assert model.network.fast_path.predictor.most_rows >= 33
    np.testing.assert_array_equal(one, model.predict(X[:1], n_threads=2))
