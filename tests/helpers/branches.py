"""Checks of whole stacks of layers, for layers that are made of others: gradients, threads, files."""
import pickle

import numpy as np
from contract import DTYPES, close

from ldl_cy import Sequential, layers, losses
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace

__all__ = ["DTYPES", "check_gradient", "check_keeping", "check_rows_and_bits", "small"]


def small(stack, shape, dtype, n=5):
    """A model with weights that are not small, biases too, and rows for it."""
    model = Sequential(stack, dtype=dtype, random_state=3).build(shape)
    rng = np.random.default_rng(7)
    model.theta[:] = 0.5 * rng.standard_normal(model.n_parameters)
    return model, rng.standard_normal((n, *shape)).astype(dtype)


def targets_of(model, n):
    return np.random.default_rng(5).standard_normal((n, *model.output_shape))


def check_gradient(stack, shape, training=False):
    """Every weight's gradient against central differences, and the input's."""
    model, x = small(stack, shape, "float64")
    f = model.objective(x, targets_of(model, len(x)), loss="squared_error", training=training)
    theta = model.theta.copy()
    _, grad = f(theta)
    numeric = np.empty_like(grad)
    for i in range(len(theta)):
        step = np.zeros_like(theta)
        step[i] = 1e-6
        numeric[i] = (f(theta + step)[0] - f(theta - step)[0]) / 2e-6
    close(grad, numeric, 2e-8)
    _, _, dx = run(model, x, 1, training=training)
    numeric = np.empty_like(x)
    for i in range(x.size):
        values = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved.flat[i] += step
            values.append(run(model, moved, 1, training=training)[0])
        numeric.flat[i] = (values[0] - values[1]) / 2e-6
    close(dx, numeric, 2e-8)


def run(model, x, threads, *, training=True, **options):
    """(loss, gradient, gradient of the input), every phase shared among the threads."""
    graph, n = model.network.graph, len(x)
    targets, loss = losses.SquaredError().encode_targets(targets_of(model, n), n, model.output_shape, model.dtype)
    plan = Plan(graph, True, n, loss.target_size, input_gradient=True, **options)
    workspace = Workspace(plan, threads)
    workspace.share_above = 0
    grad = np.full(graph.n_params, np.nan, model.dtype)
    dx = np.full((n, graph.sizes[0]), np.nan, model.dtype)
    with Pool(threads) as pool:
        value = workspace.gradient(
            x.reshape(n, -1), targets, None, model.theta, model.network.statistics.copy(), loss, grad, pool,
            training=training, seed=11, epoch=2, step=5, dx=dx)
    return value, grad, dx


def check_rows_and_bits(stack, shape, dtype):
    """Blocks of two rows in three lanes and barriers anywhere: equal bits for 1, 2 and 5 threads."""
    model, x = small(stack, shape, dtype, n=11)
    whole = run(model, x, 1)
    blocks = {"block_rows": 2, "lanes": 3}
    first = run(model, x, 1, **blocks)
    for a, b in zip(first, whole):
        close(a, b, 1e-11 if dtype == "float64" else 1e-4)
    cuts = tuple(range(len(model.network.graph.nodes)))
    for threads, options in ((2, {}), (5, {}), (1, {"cuts": cuts}), (5, {"cuts": cuts[::2]})):
        for a, b in zip(run(model, x, threads, **blocks, **options), first):
            np.testing.assert_array_equal(a, b)
    found = [model.predict(x, n_threads=t) for t in (1, 2, 5)]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def check_keeping(stack, shape, tmp_path, capsys):
    """Pickle, files and repr give the model back, also in the middle of its training; the summary names all."""
    model, x = small(stack, shape, "float32")
    y = targets_of(model, len(x))
    if model.n_parameters:
        model.fit(x, y, loss="squared_error", optimizer="adam", epochs=2, batch_size=2)
    model.save(tmp_path / "model")
    expected = model.predict(x)
    for copy in (Sequential.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert copy.layers == model.layers
        assert list(copy.parameters) == list(model.parameters)
        np.testing.assert_array_equal(copy.predict(x), expected)
        if model.n_parameters:
            again = pickle.loads(pickle.dumps(model))
            for m in (copy, again):
                m.fit(x, y, loss="squared_error", optimizer="adam", epochs=1, batch_size=2)
            np.testing.assert_array_equal(copy.theta, again.theta)
    assert eval(repr(model), {"Sequential": Sequential, **vars(layers)}).layers == model.layers
    assert list(model.layers) == stack
    model.summary()
    shown = capsys.readouterr().out
    for name, value in model.trace(x).items():
        assert f"\n{name} " in shown
        assert np.isfinite(value).all()
    assert f"{model.n_parameters:,}" in shown
