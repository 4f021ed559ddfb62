"""All contenders compute the same: outputs of every network, and gradients of a training step."""
import importlib
from dataclasses import replace

import numpy as np
import pytest
from benchmarks import common, networks, ours, row, rows, runner, settings, weights, worker

TOLERANCE = {"float32": 3e-6, "float64": 1e-12}
# one of each kind, with few rows
KEYS = ["linear", "mlp20", "lenet", "lenet-1998", "rnn-t50-16-64", "gru-t50-16-64", "lstm-t50-16-64",
        *(one.key for one in networks.NETWORKS)]

PEERS = ["torch", "jax", "onnxruntime"]


def needs(peer):
    """Skip a test that compares with a peer where one of its packages is not installed."""
    for package in runner.PEERS[peer]:
        pytest.importorskip(package, reason=f"{package} is not installed; it is in the extra 'bench'")


def module(peer):
    return importlib.import_module(f"benchmarks.{worker.MODULES[peer]}")


def small(key):
    return replace(rows.BY_KEY[key], batch=4, batches=1, predicts=3)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize(("key", "dtype"), [
    *((key, "float32") for key in KEYS), ("cnn-bn", "float64"), ("tcn", "float64"), ("two-grus", "float64"),
    ("tabular-ln", "float64"), ("tabular-bn", "float64")])
def test_outputs(name, key, dtype):
    needs(name)
    peer, one = module(name), small(key)
    setting = settings.first(name, one, "inference")
    try:
        found = peer.outputs(one, dtype, setting)
    except common.NotSupported as error:
        assert (name, dtype, str(error)) == ("onnxruntime", "float64", "no float64 kernel for this network")
        return
    wanted = ours.outputs(one, dtype, {})
    assert found.shape == wanted.shape == (3, one.outputs) and found.dtype == wanted.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE[dtype] * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_every_setting_gives_the_same_outputs(name):
    needs(name)
    peer = module(name)
    for key in ("cnn-bn", "bilstm", "two-grus", "rnn-t50-16-64"):
        one = small(key)
        setting = settings.first(name, one, "inference")
        wanted = peer.outputs(one, "float64", setting)
        for axis, values in settings.axes(name, one, "inference"):
            for value in values[1:]:
                np.testing.assert_allclose(
                    peer.outputs(one, "float64", {**setting, axis: value}), wanted, atol=1e-12)


@pytest.mark.parametrize("key", ["linear", "mlp20", "lenet-1998", "mobilenet", "tcn", "bilstm", "two-grus",
                                 "autoencoder", "tabular-ln"])
def test_gradients_of_jax(key):
    """The loss and its gradient for one batch, with the statistics of the batch in BatchNorm."""
    needs("jax")
    import jax
    from benchmarks import jax_peer

    one = small(key)
    jax.config.update("jax_enable_x64", True)
    X, y = common.training_data(one, "float64")
    compute = jax.jit(jax.value_and_grad(jax_peer.loss, has_aux=True), static_argnums=(4, 5))
    (loss, _), gradient = compute(
        *jax_peer.begin(one, "float64"), jax_peer.place(X, one), y[:, None] if one.outputs == 1 else y, one, 1)
    found = np.concatenate([np.ravel(given[name]) for given, names in zip(gradient, weights.draw(one, "float64"))
                            for name in names])
    model = ours.build(one, "float64")
    own, wanted = model.loss_and_grad(X.astype("float64"), y, loss=one.loss, training=True)
    factor = float(loss) / own                      # a squared error may have a half in front
    assert factor == pytest.approx(round(factor)) and (factor == pytest.approx(1) or one.loss == "squared_error")
    np.testing.assert_allclose(found, factor * wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["ldl_cy", "torch", "jax"])
def test_runs_do_as_many_steps_as_they_say(name):
    if name in PEERS:
        needs(name)
    peer, one = module(name), rows.BY_KEY["mlp64"]
    for steps in dict(settings.axes(name, one, "train")).get("steps", ("",)):
        run = peer.prepare(one, "train", "float32", 1, {**settings.first(name, one, "train"), "steps": steps})
        assert run(1) == one.batches and run(one.batches + 1) == 2 * one.batches
    assert peer.prepare(one, "one_row", "float32", 1, settings.first(name, one, "one_row"))(3) == 3
    assert row.rows_of(rows.BY_KEY["tcn"], "inference") == 32 and row.rows_of(one, "inference") == 64
