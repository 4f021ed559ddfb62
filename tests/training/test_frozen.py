"""Frozen weights keep their bits under every optimizer, penalty, clipping and average; the others train as before."""
import numpy as np
import pytest
from scipy.linalg import lstsq
from small_fits import METHODS, X, Y
from states import check_same

from ldl_cy import Sequential, layers, optimizers
from ldl_cy._engine.plan import BACKWARD, NONE, Plan
from ldl_cy.callbacks import EarlyStopping
from ldl_cy.optimizers import OPTIMIZERS, StepRule

# two ranges of theta train where the first and the third layer are frozen
STACK = [layers.Dense(6, "tanh"), layers.Dense(5, "tanh"), layers.LayerNorm(), layers.Dense(1)]
EVERY = {
    **METHODS,
    **{f"{name} {what}": kind(0.01, weight_decay=0.1, **options)
       for name, kind in OPTIMIZERS.items() if issubclass(kind, StepRule)
       for what, options in {"clipped": {"clip_norm": 0.1}, "averaged": {"ema": 0.8}}.items()}}
METHODS_ONLY = [name for name, optimizer in METHODS.items() if optimizer.method is not None]


def made(dtype="float32", frozen=()):
    return Sequential([type(layer).from_config({**layer.get_config(), "trainable": i not in frozen})
                       for i, layer in enumerate(STACK)], dtype, 2).build(5)


def fit(model, optimizer, epochs=3, **options):
    return model.fit(X, Y, loss="squared_error", optimizer=optimizer, epochs=epochs, alpha=0.1, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EVERY)
def test_frozen_weights_and_their_state_keep_their_bits(name, dtype):
    """After some training, in two ranges, with vectors of state that would move them on; then they train again."""
    model, optimizer = made(dtype), EVERY[name]
    fit(model, optimizer, 2)
    model.freeze("dense_0", "layer_norm_2")
    trainable = model.network.trainable
    assert len(model.network.trainable_ranges) == 2 and trainable.sum() == 41
    theta, slots = model.theta.copy(), model.training_state.optimizer.slots.copy()
    fit(model, optimizer, 3)
    kept = model.training_state.optimizer.slots
    assert model.theta[~trainable].tobytes() == theta[~trainable].tobytes()
    if not name.endswith("averaged") and name != "ema":
        assert kept[:, ~trainable].tobytes() == slots[:, ~trainable].tobytes()
    assert (model.theta[trainable] != theta[trainable]).any()
    model.unfreeze("layer_norm_2")
    fit(model, optimizer, 2)
    assert model.theta[:36].tobytes() == theta[:36].tobytes() and (model.theta[71:81] != theta[71:81]).any()


@pytest.mark.parametrize("name", [name for name in EVERY if name.endswith("averaged")] + ["ema"])
def test_the_average_and_the_steps_own_weights_agree_where_frozen(name):
    """From the moment of freezing on: what the model shows then stays, and training continues from it later."""
    model, optimizer = made(), EVERY[name]
    fit(model, optimizer, 2)
    own = model.training_state.optimizer.slots[-1].copy()
    assert (own[:36] != model.theta[:36]).any()
    model.freeze("dense_0")
    for _ in range(2):
        own = model.training_state.optimizer.slots[-1]
        assert own[:36].tobytes() == model.theta[:36].tobytes() and (own[36:] != model.theta[36:]).any()
        fit(model, optimizer, 1)
    model.unfreeze()
    before = model.theta[:36].copy()
    fit(model, optimizer, 1)
    assert 0 < np.abs(model.theta[:36] - before).max() < 0.2


@pytest.mark.parametrize("frozen", [(0, 2), (1, 2)], ids=["trunk", "between"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EVERY)
def test_resumed_fits_and_threads_give_the_same_bits(name, dtype, frozen, tmp_path):
    """With frozen layers at the beginning, and with two ranges that train around frozen ones."""
    optimizer, whole, parts = EVERY[name], made(dtype, frozen), made(dtype, frozen)
    fit(whole, optimizer, 4, n_threads=1)
    fit(parts, optimizer, 1, n_threads=2)
    if name == "lbfgs":         # SciPy keeps its memory
        assert np.isfinite(parts.theta).all()
        return
    parts.save(tmp_path / "model")
    parts = Sequential.load(tmp_path / "model")
    fit(parts, optimizer, 3, n_threads=3)
    check_same(parts, whole)


@pytest.mark.parametrize("name", EVERY)
def test_one_range_is_trained_like_a_network_of_its_own(name):
    """The head on the outputs of a frozen trunk, to rounding: methods see the trainable weights alone."""
    model = made("float64", (0, 1))
    history = fit(model, EVERY[name], 3, shuffle=False)
    trunk = made("float64")
    head = trunk[2:]
    other = head.fit(trunk[:2].predict(X), Y, loss="squared_error", optimizer=EVERY[name], epochs=3, alpha=0.1,
                     shuffle=False)
    np.testing.assert_allclose(history.history["loss"], other.history["loss"], rtol=1e-7)
    np.testing.assert_allclose(model.theta[71:], head.theta, rtol=1e-6, atol=1e-9)


def test_levenberg_marquardt_solves_the_linear_head_at_once():
    """One step without a penalty is the least-squares solution; its matrices are those of the head."""
    stack = [layers.Dense(300, "tanh", trainable=False), layers.Dense(4, "tanh", trainable=False), layers.Dense(1)]
    model = Sequential(stack, "float64", 0).build(5)
    features = np.column_stack([model[:2].predict(X), np.ones(len(X))])
    model.fit(X, Y, loss="squared_error", optimizer=optimizers.LevenbergMarquardt(damping=1e-12), epochs=2)
    np.testing.assert_allclose(model.theta[-5:], lstsq(features, Y)[0][:, 0], rtol=1e-8)
    big = Sequential([layers.Dense(40_000, trainable=False), layers.Dense(4, trainable=False), layers.Dense(1)])
    big.build(5).fit(X, Y, loss="squared_error", optimizer="lm", epochs=1)      # all of it would not fit


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_trainable(name):
    """A fit computes losses; methods have converged."""
    model = made().freeze()
    before = model.theta.tobytes()
    history = fit(model, EVERY[name], 3, n_threads=1)
    assert model.theta.tobytes() == before
    assert history.history["loss"][0] == pytest.approx(model.evaluate(X, Y, loss="squared_error"), rel=1e-5)
    if name in METHODS_ONLY:
        assert (history.stop_reason, model.epoch) == ("converged", 1)


@pytest.mark.parametrize("name", ["adam", "ema", *METHODS_ONLY])
def test_callbacks_may_set_weights(name):
    """The trainable ones and the frozen ones: the next iteration begins with them, as a further fit does."""
    def change(model, logs):
        model.theta = model.theta * 0.9

    for dtype, frozen in (("float32", (0, 2)), ("float64", (0, 2)), ("float32", (1,)), ("float64", (1,))):
        one, parts = made(dtype, frozen), made(dtype, frozen)
        fit(one, METHODS[name], 3, callbacks=change)
        for _ in range(3):
            fit(parts, METHODS[name], 1)
            change(parts, {})
        np.testing.assert_array_equal(one.theta, parts.theta)


@pytest.mark.parametrize("name", ["adam", "ema", *METHODS_ONLY])
def test_an_interrupted_epoch_is_taken_back(name):
    """Frozen or not, weights and state are those of the last complete epoch; the best are restored too."""
    def fail(model, logs):
        if model.epoch == 2:
            model.theta[:] = np.nan
        return False

    model, other = made("float64", (0, 2)), made("float64", (0, 2))
    fit(other, METHODS[name], 2)
    theta = other.theta.copy()
    with pytest.raises(FloatingPointError):
        fit(model, METHODS[name], 5, callbacks=fail)
    assert model.epoch == 2
    model = made("float64", (0, 2))
    fit(model, METHODS[name], 2, callbacks=[EarlyStopping("loss", 9, restore_best_weights=True)])
    assert np.isfinite(model.theta).all() and model.theta[:36].tobytes() == theta[:36].tobytes()


def test_a_frozen_norm_keeps_its_statistics():
    """After freezing it normalizes by the running statistics, in training too, and no longer updates them."""
    stack = [layers.Dense(6), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(1)]
    model = Sequential(stack, "float64", 0)
    fit(model, "adam", 3)
    model.freeze("batch_norm_*")
    kept = model.network.statistics.tobytes()
    fit(model, "adam", 3)
    assert model.network.statistics.tobytes() == kept
    model.unfreeze()
    fit(model, "adam", 1)
    assert model.network.statistics.tobytes() != kept


def test_nothing_is_computed_backwards_below_the_last_trainable_layer():
    """No op of the trunk has a backward action, the first trainable one makes no dx, and frozen ones no gradient."""
    stack = [layers.Conv2D(4, 3, activation="relu"), layers.BatchNorm(), layers.MaxPool2D(2), layers.Flatten(),
             layers.Dense(8, "relu"), layers.Dense(8, "relu"), layers.Dense(2)]
    model = Sequential(stack, random_state=0).build((8, 8, 1)).freeze("conv2d_*", "batch_norm_*", "dense_5")
    plan = Plan(model.network.graph, True, 32, 2)
    done = {plan.nodes[i].node.kernel.name: plan.nodes[i] for kind, i in plan.actions if kind == BACKWARD}
    backward = [i for kind, i in plan.actions if kind == BACKWARD]
    assert backward == [len(plan.nodes) - 1 - i for i in range(3)] and set(done) == {"dense"}
    assert [plan.nodes[i].dx == NONE for i in backward] == [False, False, True]
    assert [plan.nodes[i].node.trainable for i in backward] == [True, False, True]
    assert sum(high - low for low, high in plan.added) == 8 * 36 + 8 + 18
