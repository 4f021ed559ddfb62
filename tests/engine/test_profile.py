"""Times of single ops: one for each repetition, of arrays that stay as they are; what cannot be timed."""
import numpy as np
import pytest

from ldl_cy import layers, losses, optimizers
from ldl_cy._engine.profile import time_loss, time_op, time_update

DTYPES = ["float32", "float64"]
OPS = {
    "dense": (layers.Dense(40, "tanh"), (30,)),
    "prepared": (layers.GRU(20), (6, 8)),
    "state": (layers.BatchNorm(), (30,)),
    "no weights": (layers.Activation("tanh"), (300,)),
}


def arrays(kernel, n=16):
    """theta, state, x, dy."""
    rng = np.random.default_rng(0)
    shapes = (kernel.n_params,), (kernel.n_state,), (n, kernel.x_size), (n, kernel.y_size)
    return [rng.uniform(0.1, 1, shape).astype(kernel.dtype) for shape in shapes]


def check_times(times, shape):
    assert times.shape == shape and times.dtype == np.float64
    assert (times >= 0).all() and (times.sum(axis=-1) > 0).all()


def check_op(kernel, **wants):
    """prepare may be nothing to do."""
    given = arrays(kernel)
    before = [a.tobytes() for a in given]
    times = time_op(kernel, *given, repeats=20, **wants)
    assert times.shape == (3, 20) and (times[0] >= 0).all()
    check_times(times[1:], (2, 20))
    assert [a.tobytes() for a in given] == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPS)
def test_ops(name, dtype):
    layer, shape = OPS[name]
    kernel = layer.build(shape).kernel(dtype)
    if kernel.couples_rows:
        kernel.freeze()
    for dx in (True, False):
        for grad in (True, False):
            check_op(kernel, wants_dx=dx, wants_grad=grad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses(dtype):
    y, codes = np.random.default_rng(0).standard_normal((200, 10)).astype(dtype), np.arange(200) % 10
    targets, kernel = losses.LogLoss().encode_targets(codes, 200, (10,), dtype)
    before = y.copy(), targets.copy()
    check_times(time_loss(kernel, y, targets, 20), (20,))
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(targets, before[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("optimizer", [optimizers.SGD(), optimizers.SGD(momentum=0.9), optimizers.Adam()], ids=repr)
def test_updates(optimizer, lanes, dtype):
    theta = np.ones(5000, dtype)
    coef = np.ascontiguousarray(optimizer.coefficients(0, 1)[0, 2:])
    check_times(time_update(optimizer.rule_id, optimizer.n_slots, theta, lanes, coef, 20), (20,))
    assert (theta == 1).all()


@pytest.mark.parametrize(("layer", "change", "error", "message"), [
    (layers.BatchNorm(), {}, ValueError, "profile: batch_norm cannot be timed alone."),
    (layers.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), 4), {}, ValueError,
     "profile: custom cannot be timed alone."),
    (layers.Dense(3), {"theta": np.ones(14, "float32")}, ValueError, "profile: an array does not fit dense."),
    (layers.Dense(3), {"dy": np.ones((15, 3), "float32")}, ValueError, "profile: an array does not fit dense."),
    (layers.Dense(3), {"x": np.ones((16, 4))}, TypeError, "profile: dense needs float32."),
    (layers.Dense(3), {"x": np.ones((4, 16), "float32").T}, ValueError, "profile: arrays must be C-contiguous."),
])
def test_ops_refused(layer, change, error, message):
    kernel = layer.build((4,)).kernel("float32")
    given = {**dict(zip(("theta", "state", "x", "dy"), arrays(kernel))), **change}
    with pytest.raises(error) as raised:
        time_op(kernel, **given, wants_dx=True, wants_grad=True, repeats=1)
    assert str(raised.value) == message


@pytest.mark.parametrize(("y", "targets"), [
    (np.ones((5, 3)), np.ones(5, "float32")), (np.ones((5, 3), "float32"), np.ones(5)),
    (np.ones((5, 2), "float32"), np.ones(5, "float32")), (np.ones((5, 3), "float32"), np.ones(4, "float32"))])
def test_losses_refused(y, targets):
    log_loss = losses.LogLoss().encode_targets(np.zeros(5, int), 5, (3,), "float32")[1]
    custom = losses.Custom(lambda y_pred, y: (y[:, 0], y)).encode_targets(np.ones((5, 3)), 5, (3,), "float32")[1]
    for kernel, *given in ((log_loss, y, targets), (custom, *np.ones((2, 5, 3), "float32"))):
        with pytest.raises(ValueError) as error:
            time_loss(kernel, *given, 1)
        assert str(error.value) == "profile: the arrays do not fit the loss."
