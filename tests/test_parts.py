"""Parts of a model: slices, more layers and fewer, what is frozen; the given layers and models never change."""
import copy
import gc
import pickle
import tracemalloc

import numpy as np
import pytest

from ldl_cy import Sequential, layers, optimizers

BRANCH = layers.Add([layers.Dense(6, "tanh"), layers.BatchNorm()], [layers.Dense(6, name="short")], name="block")
STACK = [layers.Dense(6, "tanh"), layers.Dropout(0.2), BRANCH, layers.BatchNorm(), layers.Dense(2, name="head")]
NAMES = ["dense_0", "dropout_1", "block", "block.0.dense_0", "block.0.batch_norm_1", "block.1.short", "batch_norm_3",
         "head"]


def trained(dtype="float64", stack=STACK, epochs=2, **options):
    rng = np.random.default_rng(0)
    model = Sequential(stack, dtype, 3).build(5)
    model.fit(rng.standard_normal((40, 5)), rng.standard_normal((40, 2)), loss="squared_error", epochs=epochs,
              **{"optimizer": "adam", **options})
    return model


def numbers(model):
    return {**{k: v.copy() for k, v in model.parameters.items()}, **{k: v.copy() for k, v in model.state.items()}}


def trainable(model):
    """The names of the layers, inside of others too, whose weights train."""
    return {e.name.rpartition(".")[0] for e in model.network.graph.parameters if e.trainable}


# -- layers and slices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("built", [False, True])
def test_layers_by_place_and_by_name(built):
    model = Sequential(STACK, random_state=0)
    model = model.build(5) if built else model
    assert model[0] is STACK[0] and model[-1] is STACK[4] and model[np.int64(2)] is BRANCH
    assert model["head"] is STACK[4] and model["dropout_1"] is STACK[1]
    assert model["block.1.short"] is BRANCH.paths[1][0] and model["block.0.dense_0"] is BRANCH.paths[0][0]
    assert list(model) == list(model.layers) == STACK
    assert bool(model) and bool(Sequential([layers.Flatten()]))
    assert np.array([model, model]).shape == (2,)               # NumPy takes it for no sequence


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_slice_is_a_model_of_its_own(dtype):
    """It computes what these layers compute in the whole, and shares nothing with it."""
    model = trained(dtype)
    X = np.random.default_rng(1).standard_normal((7, 5))
    traced = model.trace(X)
    first, middle, last = model[:2], model["block":"batch_norm_3"], model[3:]
    assert [part.input_shape for part in (first, middle, last)] == [(5,), (6,), (6,)]
    inputs = {"dropout_1": X, "block": traced["dropout_1"], "head": traced["block"]}
    for part, end in ((first, "dropout_1"), (middle, "block"), (last, "head")):
        np.testing.assert_allclose(part.predict(inputs[end]), traced[end], rtol=1e-5 if dtype == "float32" else 1e-12)
        assert (part.dtype, part.epoch, part.random_state) == (dtype, 0, 3)
    assert list(last.parameters) == ["batch_norm_0.gamma", "batch_norm_0.beta", "head.kernel", "head.bias"]
    np.testing.assert_array_equal(last.state["batch_norm_0.mean"], model.state["batch_norm_3.mean"])
    before = numbers(model)
    for part in (first, middle, last):
        part.theta[:] = 0
        part.network.statistics[:] = 7
    for name, values in numbers(model).items():
        np.testing.assert_array_equal(values, before[name])
    whole = model[:]
    np.testing.assert_array_equal(whole.theta, model.theta)
    assert whole is not model and whole.step == 0


def test_slices_leave_no_memory_behind():
    model = Sequential([layers.Dense(200, "relu") for _ in range(10)], random_state=0).build(200)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for low in range(10):
        for high in range(low + 1, 11):
            model[low:high]
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert left < 0.1 * model.theta.nbytes


def test_slices_end_as_pythons_do():
    model = Sequential(STACK, random_state=0).build(5)
    for key in (slice(1, 3), slice(-2, None), slice(None, -3), slice(None, 99), slice(1, 4, 1), slice(np.int64(1), 2)):
        assert list(model[key].layers) == STACK[key]
    assert list(model["block":].layers) == STACK[2:] and list(model[1:"head"].layers) == STACK[1:4]
    unbuilt = Sequential(STACK)[2:]
    assert unbuilt.input_shape is None and list(unbuilt.layers) == STACK[2:]


@pytest.mark.parametrize(("key", "kind", "message"), [
    (5, IndexError, "Sequential: the place of a layer must be in -5 .. 4, got 5."),
    (-6, IndexError, "must be in -5 .. 4, got -6"), (1.0, TypeError, "by its place or its name, got 1.0"),
    (None, TypeError, "by its place or its name, got None"),
    ("tail", KeyError, f"no layer 'tail'; there are: {', '.join(NAMES)}"),
    (slice(2, 2), ValueError, r"a slice must hold at least one layer, got \[2:2\] of 5"),
    (slice("head", "block"), ValueError, r"got \['head':'block'\] of 5"),
    (slice(0, 5, 2), ValueError, "the step of a slice must be 1, got 2"),
    (slice("block.0.dense_0", None), KeyError, "no layer 'block.0.dense_0'; there are: dense_0, dropout_1, block,"),
    (slice(0, 2.5), TypeError, "by its place or its name, got 2.5")])
@pytest.mark.parametrize("built", [False, True])
def test_refused_keys(key, kind, message, built):
    model = Sequential(STACK)
    with pytest.raises(kind, match=message):
        (model.build(5) if built else model)[key]


def test_slices_of_sequences_and_tokens():
    stack = [layers.Embedding(9, 4), layers.Bidirectional(layers.GRU(3, return_sequences=True)), layers.Reshape((-1,)),
             layers.Dense(2)]
    model = Sequential(stack, "float64", 0).build((6,))
    X = np.random.default_rng(0).integers(0, 9, (5, 6))
    traced = model.trace(X)
    np.testing.assert_allclose(model[1:].predict(traced["embedding_0"]), traced["dense_3"], rtol=1e-12)
    np.testing.assert_array_equal(model[:1].predict(X), traced["embedding_0"])
    assert model[2:3].predict(traced["bidirectional_1"]).shape == (5, 36)
    model = Sequential([layers.Dense(4), stack[1], layers.Dense(2)], "float64", 0).build((6, 3))
    X, lengths = np.random.default_rng(0).standard_normal((5, 6, 3)), np.array([6, 2, 3, 1, 6])
    np.testing.assert_allclose(model[1:].predict(model[:1].predict(X, lengths=lengths), lengths=lengths),
                               model.predict(X, lengths=lengths), rtol=1e-12)


# -- append, extend, pop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_more_layers_keep_the_weights_of_the_others(dtype):
    model = trained(dtype)
    kept, layer = numbers(model), layers.Dense(3, name="top")
    assert model.append(layers.BatchNorm()).extend([layer]) is model
    assert model.layers == (*STACK, layers.BatchNorm(), layer) and model.output_shape == (3,)
    fresh = Sequential(model.layers, dtype, 3).build(5)
    for name, values in numbers(model).items():
        np.testing.assert_array_equal(values, kept[name] if name in kept else numbers(fresh)[name])
    assert len(numbers(model)) == len(kept) + 6
    assert (model.epoch, model.step, model.training_state.optimizer.name) == (0, 0, "")
    assert model.pop() is layer and model.pop() == layers.BatchNorm()
    for name, values in numbers(model).items():
        np.testing.assert_array_equal(values, kept[name])
    # a model so made trains like one that was built so
    other = Sequential(model.layers, dtype, 3).build(5)
    other.theta = model.theta
    other.network.statistics[:] = model.network.statistics
    X, y = np.random.default_rng(2).standard_normal((2, 20, 5))
    for one in (model, other):
        one.fit(X, y[:, :2], loss="squared_error", epochs=2)
    np.testing.assert_array_equal(model.theta, other.theta)


def test_models_that_are_not_built():
    model = Sequential([layers.Dense(3)], random_state=0)
    model.append(layers.Dense(2)).extend(layers.Dense(n) for n in (4, 5))
    assert model.input_shape is None and [layer.units for layer in model.layers] == [3, 2, 4, 5]
    assert model.pop() == layers.Dense(5)
    np.testing.assert_array_equal(
        model.build(7).theta, Sequential([layers.Dense(n) for n in (3, 2, 4)], random_state=0).build(7).theta)


@pytest.mark.parametrize("built", [False, True])
def test_refused_changes_change_nothing(built):
    model = Sequential([layers.Dense(3), layers.Dense(2, name="end")], random_state=0)
    model = model.build(4) if built else model
    before = model._built
    for act, kind, message in (
            (lambda: model.append("relu"), TypeError, "Sequential: layer must be a layer, got 'relu'."),
            (lambda: model.append([layers.Dense(1)]), TypeError, "layer must be a layer, got"),
            (lambda: model.extend(layers.Dense(1)), TypeError, "Sequential: layers must be a list of layers, got"),
            (lambda: model.extend([layers.Dense(1), 3]), TypeError, "layers must be a list of layers, got 3"),
            (lambda: model.append(layers.Dense(1, name="end")), ValueError, "names of layers must differ, got 'end'"),
            (lambda: Sequential([layers.Dense(1)]).pop(), ValueError, "must keep at least one layer, got pop"),
            (lambda: model.freeze("dense_0", "conv*"), ValueError,
             r"Sequential: patterns must match the name of a layer, got 'conv\*'; there are: dense_0, end."),
            (lambda: model.unfreeze(0), TypeError, "patterns must be names of layers, which may have .* got 0."),
            (lambda: model.freeze(["end"]), TypeError, "patterns must be names of layers")):
        with pytest.raises(kind, match=message):
            act()
        assert all(a is b for a, b in zip(model._built, before))
    if built:
        with pytest.raises(ValueError, match=r"Conv2D: .* \(layer 'conv2d_2' after 'end' of shape \(2,\)\)"):
            model.append(layers.Conv2D(2, 3))
        assert all(a is b for a, b in zip(model._built, before))


# -- freeze and unfreeze ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("built", [False, True])
def test_what_patterns_freeze(built):
    model = Sequential(STACK, random_state=0)
    model = model.build(5) if built else model
    every = {"dense_0", "block.0.dense_0", "block.0.batch_norm_1", "block.1.short", "batch_norm_3", "head"}

    def now():
        return trainable(model if built else Sequential(model.layers).build(5))

    assert now() == every and model.freeze("dense_*") is model
    assert now() == every - {"dense_0"}
    model.freeze("block.0.*")
    assert now() == {"block.1.short", "batch_norm_3", "head"}
    model.freeze("block", "batch_norm_?")
    assert now() == {"head"} and not model["block.1.short"].trainable
    model.unfreeze("block.0.dense_0")           # of what was frozen as a whole the rest stays frozen
    assert now() == {"block.0.dense_0", "head"}
    assert model["block"].trainable and not model["block.1.short"].trainable
    model.unfreeze("*.short")
    assert now() == {"block.0.dense_0", "block.1.short", "head"}
    assert model.unfreeze() is model
    assert now() == every
    model.freeze()
    assert now() == set() and not any(layer.trainable for layer in model.layers)
    model.unfreeze("[bh]*")
    assert now() == every - {"dense_0"}


def test_the_users_layers_are_not_changed():
    inner = layers.Bidirectional(layers.LSTM(2))
    stack = [layers.Embedding(5, 3), layers.Add([inner], [layers.Flatten(), layers.Dense(4)], trainable=True)]
    given = copy.deepcopy(stack)
    model = Sequential(stack, random_state=0).build((4,)).freeze()
    assert stack == given and stack[1].paths[0][0] is inner and inner.layer.trainable
    assert not model["add_1.0.bidirectional_0"].layer.trainable and not model["add_1.1.dense_1"].trainable
    model.unfreeze("add_1")
    both = {f"add_1.0.bidirectional_0.{direction}" for direction in ("forward", "backward")}
    assert trainable(model) == {*both, "add_1.1.dense_1"}
    model.unfreeze()
    assert list(model.layers) == given and stack == given
    layer = layers.Bidirectional(layers.GRU(2, trainable=False))
    assert Sequential([layer]).unfreeze()[0].layer.trainable and not layer.layer.trainable


def test_freezing_keeps_all_numbers(tmp_path):
    """Weights, running statistics, counts and the optimizer's state are the same arrays; also in files and pickles."""
    model = trained(optimizer=optimizers.SGD(0.01, 0.9))
    network, state, theta = model.network, model.training_state, model.theta
    slots = state.optimizer.slots.copy()
    model.freeze("dense_0", "block.0.*")
    assert model.network is not network and model.theta is theta and model.network.statistics is network.statistics
    assert model.training_state is state and model.step == 4
    np.testing.assert_array_equal(state.optimizer.slots, slots)
    model.save(tmp_path / "model")
    for again in (Sequential.load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert trainable(again) == trainable(model) == {"block.1.short", "batch_norm_3", "head"}
        assert again.layers == model.layers and again.step == 4


def test_reset_and_build_keep_what_is_frozen():
    model = trained().freeze("dense_0")
    model.reset()
    assert trainable(model) == trainable(model.build(9)) == set(NAMES) - {"dense_0", "dropout_1", "block"}
    np.testing.assert_array_equal(model.theta, Sequential(STACK, "float64", 3).build(9).theta)
