"""Checks of whole stacks of layers, for layers that are made of others: gradients, threads, files."""
import pickle

import numpy as np
from compare import DTYPES
from gradients import check_gradient
from steps import check_blocks_and_threads, check_same_step, run_model_step

from ldl_cy import Sequential, layers

__all__ = ["DTYPES", "check_keeping", "check_rows_and_bits", "check_stack_gradient", "small"]


def small(stack, shape, dtype, n=5, data=None):
    """A model with weights that are not small, biases too, and rows for it: ``data(rng, n)``, or normal numbers."""
    model = Sequential(stack, dtype=dtype, random_state=3).build(shape)
    rng = np.random.default_rng(7)
    model.theta[:] = 0.5 * rng.standard_normal(model.n_parameters)
    return model, (data(rng, n) if data else rng.standard_normal((n, *shape))).astype(dtype)


def targets_of(model, n):
    return np.random.default_rng(5).standard_normal((n, *model.output_shape))


def check_stack_gradient(stack, shape, training=False, data=None):
    """The gradients of the weights and of the input against central differences."""
    model, x = small(stack, shape, "float64", data=data)
    y = targets_of(model, len(x))
    f = model.objective(x, y, loss="squared_error", training=training)
    check_gradient(lambda theta: f(theta)[0], model.theta.copy(), f(model.theta)[1])
    check_gradient(lambda x: run_model_step(model, x, y, training=training).loss, x,
                   run_model_step(model, x, y, training=training).dx)


def check_rows_and_bits(stack, shape, dtype, data=None):
    """Blocks of two rows in three lanes and barriers anywhere: equal bits for 1, 2 and 5 threads."""
    model, x = small(stack, shape, dtype, 11, data)
    y = targets_of(model, len(x))

    def step(threads, **options):
        return run_model_step(model, x, y, threads, **options)

    first = check_blocks_and_threads(step, 1e-11 if dtype == "float64" else 1e-4)
    cuts = tuple(range(len(first.plan.graph.nodes)))
    for threads, chosen in ((1, cuts), (5, cuts[::2])):
        check_same_step(step(threads, block_rows=2, lanes=3, cuts=chosen), first)
    found = [model.predict(x, n_threads=t) for t in (1, 2, 5)]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def check_keeping(stack, shape, tmp_path, capsys, data=None):
    """Pickle, files and repr give the model back, also in the middle of its training; the summary names all."""
    model, x = small(stack, shape, "float32", data=data)
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
