"""The plan and what runs it: gradients of graphs, coupled rows, tiles of columns, threads, barriers."""
import numpy as np
import pytest
from gradients import check_gradient
from steps import check_blocks_and_threads, check_same_step, run_step

from ldl_cy import Sequential, layers, losses, optimizers
from ldl_cy._engine.aligned import aligned
from ldl_cy._engine.graph import Graph
from ldl_cy._engine.plan import BACKWARD, Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy._engine.train import train
from ldl_cy.state import TrainingState

N_IN, N_OUT = 5, 3


def straight(dtype):
    graph = Graph(dtype, (N_IN,))
    x = graph.add_layer(layers.Dense(7, "tanh"), 0, "a")
    graph.add_layer(layers.Dense(N_OUT), x, "b")
    return graph


def coupled(dtype):
    """BatchNorm between two Dense: rows are coupled, two barriers."""
    graph = Graph(dtype, (N_IN,))
    x = graph.add_layer(layers.Dense(6, "tanh"), 0, "a")
    x = graph.add_layer(layers.BatchNorm(), x, "norm")
    graph.add_layer(layers.Dense(N_OUT), x, "b")
    return graph


def branches(dtype):
    """y = Dense(concat(a, tanh(a) + Dense(a), a)): values with several readers, add, put."""
    graph = Graph(dtype, (N_IN,))
    a = graph.add_layer(layers.Dense(4, "tanh"), 0, "a")
    left = graph.add_layer(layers.Dense(4, "logistic"), a, "left")
    right = graph.add_layer(layers.Activation("tanh"), a, "right")
    total = graph.add(left, right)
    double = graph.add(total, total)
    joined = graph.concatenate([a, double, a])
    graph.add_layer(layers.Dense(N_OUT), joined, "b")
    return graph


def products(dtype):
    """y = Dense(a a (a_1 b)) with b repeated: values with several readers, one value twice, factors that are shared."""
    graph = Graph(dtype, (N_IN,))
    a = graph.add_layer(layers.Dense(6, "tanh"), 0, "a")
    matrix = graph.new_value((3, 2), graph.buffers[a])
    b = graph.new_value((3, 1), graph.buffers[graph.add_layer(layers.Dense(3), a, "b")])
    c = graph.new_value((1, 2), graph.buffers[graph.add_layer(layers.Dense(2), 0, "c")])
    shared = graph.multiply(graph.multiply(c, matrix), b)
    outer = graph.multiply(b, c)
    square = graph.multiply(graph.multiply(matrix, matrix), outer)
    joined = graph.new_value((12,), graph.buffers[graph.concatenate([shared, square])])
    graph.add_layer(layers.Dense(N_OUT), joined, "d")
    return graph


def sequences(dtype):
    """Concatenation along the last axis of (2, c) values, and a reshape without a node."""
    graph = Graph(dtype, (2, N_IN))
    a = graph.add_layer(layers.Dense(3, "tanh"), 0, "a")
    b = graph.add_layer(layers.Dense(2, "tanh"), 0, "b")
    x = graph.concatenate([a, b])
    x = graph.new_value((10,), graph.buffers[x])
    graph.add_layer(layers.Dense(N_OUT), x, "c")
    return graph


GRAPHS = [straight, coupled, branches, products, sequences]


def make(build, dtype, n=23, seed=0):
    """(graph, theta, X, y, weights of the rows), random."""
    graph = build(dtype)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, graph.sizes[0])).astype(dtype)
    y = rng.standard_normal((n, N_OUT))
    theta = (0.5 * rng.standard_normal(graph.n_params)).astype(dtype)
    return graph, theta, X, y, rng.uniform(0.5, 2, n).astype(dtype)


@pytest.mark.parametrize("build", GRAPHS)
@pytest.mark.parametrize("options", [{}, {"block_rows": 4, "lanes": 3}], ids=["whole", "blocks"])
def test_gradient_against_central_differences(build, options):
    graph, theta, X, y, weights = make(build, "float64")

    def step(theta):
        return run_step(graph, theta, X, y, weights=weights, **options)

    check_gradient(lambda theta: step(theta).loss, theta, step(theta).grad)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("build", GRAPHS)
def test_threads_give_the_same_bits(build, dtype):
    graph, theta, X, y, weights = make(build, dtype, n=61)
    check_blocks_and_threads(
        lambda threads, **options: run_step(graph, theta, X, y, weights=weights, threads=threads, **options),
        1e-12 if dtype == "float64" else 1e-5, block_rows=4, lanes=5)


@pytest.mark.parametrize("build", GRAPHS)
def test_barriers_anywhere_change_nothing(build):
    """Depth-first blocks and a barrier after every op are the same arithmetic."""
    graph, theta, X, y, weights = make(build, "float64", n=31)
    options = {"weights": weights, "block_rows": 4, "lanes": 3}
    expected = run_step(graph, theta, X, y, **options)
    for cuts in ((0,), tuple(range(len(graph.nodes)))):
        for threads in (1, 2):
            check_same_step(run_step(graph, theta, X, y, threads=threads, cuts=cuts, **options), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("build", GRAPHS)
def test_training_is_the_same_for_any_number_of_threads(build, dtype):
    """Shuffled batches with a tail, momentum and Adam, clipping, alpha: 1, 2 and 5 threads, equal bits."""
    for optimizer in (optimizers.SGD(0.05, momentum=0.9, clip_norm=1.0),
                      optimizers.Adam(0.01, weight_decay=0.1)):
        results = []
        for threads in (1, 2, 5):
            graph, theta, X, y, weights = make(build, dtype, n=61)
            targets, kernel = losses.SquaredError().encode_targets(y, 61, (N_OUT,), dtype)
            plan = Plan(graph, True, 17, N_OUT, block_rows=2, lanes=4)
            workspace = Workspace(plan, threads)
            workspace.share_above = 0
            state, found = np.zeros(graph.n_state, dtype), np.zeros(6)
            slots = np.zeros((optimizer.n_slots, graph.n_params), dtype)
            ranges, counts = np.array([(0, graph.n_params)]), TrainingState(graph.n_params, dtype)
            with Pool(threads) as pool:
                done, *_, error = train(
                    workspace, theta, slots, state, X, targets, weights, kernel, optimizer.rule(0.1, ranges),
                    optimizer.coefficients(0, 24), batch_size=17, epochs=6, order=np.arange(61), reshuffle=True,
                    seed=1, epoch=0, step=0, losses=found, pool=pool, counts=counts)
            assert (done, counts.epoch, counts.step, error) == (6, 6, 24, None)
            assert found[-1] < found[0]
            results.append((theta, slots, state, found))
        for other in results[1:]:
            for a, b in zip(other, results[0]):
                np.testing.assert_array_equal(a, b)


def test_slots_and_coefficients_are_those_of_the_rule():
    graph, theta, X, y, weights = make(straight, "float64")
    targets, kernel = losses.SquaredError().encode_targets(y, 23, (N_OUT,), "float64")
    workspace, ranges = Workspace(Plan(graph, True, 23, N_OUT), 1), np.zeros((0, 2), np.int64)
    adam = optimizers.Adam()

    def run(n_slots, coef):
        with Pool(1) as pool:
            train(workspace, theta, np.zeros((n_slots, graph.n_params)), np.empty(0), X, targets, weights, kernel,
                  adam.rule(0.0, ranges), coef, batch_size=23, epochs=1, order=None, reshuffle=False, seed=0, epoch=0,
                  step=0, losses=np.zeros(1), pool=pool)

    coef = adam.coefficients(0, 1)
    for n_slots, row, message in (
            (3, coef, "Rule: the rule adam must have 2 slots with these coefficients, got 3."),
            (1, coef, "Rule: the rule adam must have 2 slots with these coefficients, got 1."),
            (2, coef[:, :-1], "Rule: the rule adam must have 5 coefficients, got 4.")):
        with pytest.raises(ValueError) as error:
            run(n_slots, np.ascontiguousarray(row))
        assert str(error.value) == message
    run(2, coef)


def test_coupled_rows_see_the_whole_batch():
    """The mean inside a network equals NumPy's over the batch, whatever the blocks; the running mean follows."""
    graph = Graph("float64", (4,))
    graph.add_layer(layers.BatchNorm(momentum=0.9), 0, "norm")
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((19, 4)) + 3, rng.standard_normal((19, 4))
    theta = np.repeat([1.0, 0.0], 4)
    expected = (X - X.mean(0)) / np.sqrt(X.var(0) + graph.nodes[0].kernel.config["epsilon"])
    for block_rows in (1, 5, 19):
        step = run_step(graph, theta, X, y, statistics=np.ones(8), threads=2, block_rows=block_rows, lanes=2)
        np.testing.assert_allclose(step.loss, np.mean((expected - y) ** 2), rtol=1e-12)
        np.testing.assert_allclose(step.statistics[:4], 0.9 + 0.1 * X.mean(0), rtol=1e-12)


def test_an_exception_ends_the_step():
    """The blocks behind it are left out."""
    seen = []

    def fails(y_pred, y):
        seen.append(len(y))
        raise KeyError("mine")

    graph, theta, X, y, weights = make(straight, "float64")
    with pytest.raises(KeyError, match="mine"):
        run_step(graph, theta, X, y, loss=losses.Custom(fails), weights=weights, block_rows=4, lanes=2)
    assert seen == [4]


@pytest.mark.parametrize("block_rows", [22, 5])         # with and without room in the last block
def test_more_rows_than_planned(block_rows):
    graph, theta, X, y, weights = make(straight, "float64")
    targets, kernel = losses.SquaredError().encode_targets(y, len(X), (N_OUT,), "float64")
    workspace = Workspace(Plan(graph, True, 22, N_OUT, block_rows=block_rows, lanes=1), 1)
    grad = np.zeros(graph.n_params)
    with Pool(1) as pool, pytest.raises(ValueError) as error:
        workspace.gradient(X, targets, weights, theta, np.empty(0), kernel, grad, pool)
    assert str(error.value) == "Workspace: planned for 22 rows, got 23." and not grad.any()


def test_input_gradient():
    graph, theta, X, y, weights = make(branches, "float64")

    def step(X):
        return run_step(graph, theta, X, y, weights=weights, block_rows=5, input_gradient=True)

    check_gradient(lambda X: step(X).loss, X, step(X).dx)


def test_buffers_that_live_together_do_not_overlap():
    for build in GRAPHS:
        graph = build("float32")
        plan = Plan(graph, True, 64, N_OUT, block_rows=8)
        local = [b for b in plan.buffers if b.first >= 0 and not b.whole]
        for i, a in enumerate(local):
            for b in local[i + 1:]:
                if a.first <= b.last and b.first <= a.last:
                    low, high = sorted((a, b), key=lambda q: q.offset)
                    assert low.offset + low.size * plan.block_rows <= high.offset


def test_frozen_layers_end_the_backward_walk():
    graph = Graph("float64", (N_IN,))
    x = graph.add_layer(layers.Dense(4, "tanh", trainable=False), 0, "a")
    graph.add_layer(layers.Dense(N_OUT), x, "b")
    plan = Plan(graph, True, 8, N_OUT)
    assert [i for kind, i in plan.actions if kind == BACKWARD] == [1]
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(graph.n_params)
    grad = run_step(graph, theta, rng.standard_normal((8, N_IN)), rng.standard_normal((8, 3))).grad
    assert not grad[:24].any() and grad[24:].all()


@pytest.mark.parametrize(("stack", "shape", "rows"), [
    ([layers.LSTM(64), layers.Dense(3)], (50, 16), 16),             # weights are read in each step anyway
    ([layers.Embedding(5000, 64), layers.Bidirectional(layers.LSTM(64))], (80,), 16),
    ([layers.Dense(512), layers.Dense(512)], (784,), 32),           # each weight is read once for a block
], ids=["lstm", "bidirectional", "dense"])
def test_blocks_of_predictions(stack, shape, rows):
    """32 rows of a recurrent network are two tasks, which two threads share."""
    graph = Sequential(stack, random_state=0).build(shape).network.graph
    plan = Plan(graph, False, 1024)
    assert plan.block_rows == rows
    assert plan.shares(32) == (rows < 32)


@pytest.mark.parametrize(("size", "said"), [(3 * 2**18, "3.0 MiB"), (2**28, "1.0 GiB"), (2**60, "4,294,967,296.0 GiB")])
def test_a_workspace_that_does_not_fit(monkeypatch, size, said):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr("ldl_cy._engine.aligned.np.zeros", full)
    with pytest.raises(MemoryError, match=f"a workspace of {said} does not fit into memory"):
        aligned(size, "float32")
