"""Every layer, frozen in front of one that trains: a forward pass that keeps nothing for a backward pass."""
import zlib

import numpy as np
import pytest
from cases import PUBLIC, example
from states import check_same
from steps import check_blocks_and_threads, run_model_step

from ldl_cy import Sequential, layers
from ldl_cy._engine.plan import Plan


def case(name, dtype, trainable):
    """The layer of an example in front of a Dense layer, with the same numbers whether it is trainable or not."""
    given = example(name)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    stack = [given.layer.with_trainable(trainable), layers.Flatten(), layers.Dense(2, name="head")]
    model = Sequential(stack, dtype, 1).build(given.input_shape)
    model.theta[:] = 0.5 * rng.standard_normal(model.n_parameters)
    x = given.data(rng, 7) if given.data else rng.standard_normal((7, *given.input_shape))
    return model, x.reshape(7, *given.input_shape).astype(dtype), rng.standard_normal((7, 2))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PUBLIC)
def test_the_next_layer_has_the_same_gradient(name, dtype):
    """As where the layer trains, in inference; in blocks, on threads, and with what is drawn in training."""
    tol = 1e-12 if dtype == "float64" else 2e-5
    grads = []
    for trainable in (True, False):
        model, x, y = case(name, dtype, trainable)
        found = run_model_step(model, x, y, training=False, input_gradient=False)
        grads.append(found.grad[-model.parameters["head.kernel"].size - 2:])
    assert not found.grad[:model.n_parameters - len(grads[1])].any() and np.isfinite(grads[1]).all()
    np.testing.assert_allclose(grads[1], grads[0], rtol=0, atol=tol * np.abs(grads[0]).max())
    check_blocks_and_threads(
        lambda threads, **options: run_model_step(model, x, y, threads, input_gradient=False, **options), tol)


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_is_kept_for_a_backward_pass(name):
    """The plan has no memory for caches of frozen layers, and no action that would read them."""
    model, *_ = case(name, "float64", False)
    plan = Plan(model.network.graph, True, 7, 2)
    assert all(planned.cache < 0 for planned in plan.nodes if not plan.needs[planned.node.y])
    assert sum(plan.needs) == 1 and plan.added[0][1] - plan.added[0][0] == model.network.trainable.sum()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PUBLIC)
def test_fits_keep_its_weights_and_statistics(name, dtype):
    """On batches that pass it in each step, on any number of threads; a row of its own in the last batch."""
    fitted = []
    for threads in (1, 2):
        model, x, y = case(name, dtype, False)
        theta, statistics = model.theta.copy(), model.network.statistics.copy()
        model.fit([(x[:6], y[:6]), (x[6:], y[6:])], loss="squared_error", optimizer="adam", epochs=2, alpha=0.1,
                  n_threads=threads)
        frozen = ~model.network.trainable
        assert model.theta[frozen].tobytes() == theta[frozen].tobytes()
        assert model.network.statistics.tobytes() == statistics.tobytes()
        assert (model.theta[~frozen] != theta[~frozen]).any()
        fitted.append(model)
    check_same(*fitted)


def test_sequences_of_several_lengths():
    """Layers that look across steps, frozen, with lengths: the gradient of the head is that of the trained network."""
    stack = [layers.Bidirectional(layers.GRU(3, return_sequences=True)), layers.LSTM(4, return_sequences=True),
             layers.BatchNorm(), layers.RNN(3), layers.Dense(2)]
    rng = np.random.default_rng(0)
    x, y, lengths = rng.standard_normal((6, 5, 2)), rng.standard_normal((6, 2)), np.array([5, 1, 3, 5, 2, 4])
    model = Sequential(stack, "float64", 0).build((5, 2))
    before = model.loss_and_grad(x, y, loss="squared_error", lengths=lengths)
    model.freeze("bidirectional_0", "lstm_1", "batch_norm_2", "rnn_3")
    value, grad = model.loss_and_grad(x, y, loss="squared_error", lengths=lengths)
    assert value == pytest.approx(before[0], rel=1e-13) and not grad[:-8].any()
    np.testing.assert_allclose(grad[-8:], before[1][-8:], rtol=1e-11)
