"""What is built and how far training has come: one place each."""
import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from small_fits import NET, X_NEW, Y_NEW, X, Y, fit, made

from ldl_cy import Sequential, data, layers, network, optimizers, serialize
from ldl_cy.inference import predict
from ldl_cy.state import TrainingState

NORMED = [layers.Dense(4, "tanh"), layers.BatchNorm(), layers.Dense(1)]


def counted(monkeypatch, *places):
    """A list that grows with the name of a function wherever it is called through one of the places."""
    calls = []

    def count(place, name):
        function = getattr(place, name)

        def counting(*args, **options):
            calls.append(name)
            return function(*args, **options)

        monkeypatch.setattr(place, name, counting)

    for place, name in places:
        count(place, name)
    return calls


@pytest.mark.parametrize("how", ["build", "fit", "fit of a built one", "load", "reset"])
def test_a_graph_is_made_once(how, monkeypatch, tmp_path):
    model = made().build(5) if how in ("fit of a built one", "load", "reset") else made()
    model.save(tmp_path / "m")
    calls = counted(monkeypatch, (network, "make_graph"), (serialize, "make_graph"))
    if how == "build":
        model.build(5).build(5)
    elif how.startswith("fit"):
        fit(model, epochs=1)
    elif how == "load":
        Sequential.load(tmp_path / "m")
    else:
        model.reset()
    assert len(calls) == (0 if how in ("fit of a built one", "reset") else 1)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "lm"])
@pytest.mark.parametrize("how", ["validation_data", "validation_split"])
def test_validation_data_are_checked_once_a_fit(how, optimizer, monkeypatch):
    """Rows and targets of both parts, whatever the number of epochs."""
    calls = counted(monkeypatch, (network, "check_rows"), (data, "check_weights"))
    options = {"validation_data": (X_NEW, Y_NEW)} if how == "validation_data" else {"validation_split": 0.2}
    history = fit(made(), optimizer=optimizer, epochs=4, **options)
    assert len(history.history["val_loss"]) == 4
    assert calls == ["check_rows", "check_weights"] * 2


def test_before_building():
    model = made()
    assert (model.epoch, model.step) == (0, 0) and len(model.parameters) == len(model.state) == 0
    assert model.input_shape is None and model.output_shape is None
    for unbuilt in ("network", "theta", "n_parameters"):
        with pytest.raises(ValueError, match="the model must be built first"):
            getattr(model, unbuilt)
    with pytest.raises(ValueError, match="the model must be built first"):
        model.reset()


def test_names_that_do_not_exist():
    model = made(NORMED).build(5)
    with pytest.raises(KeyError, match=r"no parameter 'dense_1.kernel'; there are: dense_0.kernel, dense_0.bias, "):
        model.parameters["dense_1.kernel"]
    with pytest.raises(KeyError, match=r"no running statistic 'mean'; there are: batch_norm_1.mean, "):
        model.state["mean"]
    with pytest.raises(KeyError, match="there are: none"):
        made().build(5).state["mean"]
    assert type(model.parameters.copy()) is dict and model.parameters | {} == model.parameters
    assert "dense_1.kernel" not in model.parameters and model.parameters.get("dense_1.kernel") is None


def test_views():
    model = made(NORMED).build(5)
    model.parameters["dense_2.bias"][...] = 7
    model.state["batch_norm_1.mean"][...] = [1, 2, 3, 4]
    assert model.theta[-1] == 7 and model.network.statistics[:4].tolist() == [1, 2, 3, 4]
    with pytest.raises(TypeError):
        model.parameters["dense_2.bias"] = 3


def test_other_lengths_share_the_weights():
    model = Sequential([layers.GRU(3), layers.Dense(1)], "float64", 1).build((4, 2))
    longer = model.network.with_steps(9)
    assert longer.input_shape == (9, 2) and longer.theta is model.theta
    assert model.network.with_steps(4) is model.network
    flat = Sequential([layers.Flatten(), layers.Dense(1)]).build((4, 2))
    with pytest.raises(ValueError, match="not depend on the number of steps, got 9 steps for a network built for 4"):
        flat.network.with_steps(9)


def test_another_dtype_is_a_copy():
    model = made(NORMED).build(5)
    twin = model.network.astype("float64")
    np.testing.assert_array_equal(twin.theta, model.theta)
    np.testing.assert_array_equal(twin.statistics, model.network.statistics)
    twin.theta[:] = 0
    assert model.theta.any() and model.network.astype("float32") is model.network


def test_ranges_and_masks():
    """Kernels decay, biases and gamma do not; what is frozen neither decays nor trains."""
    model = Sequential([layers.Dense(2), layers.LayerNorm(), layers.Dense(1, trainable=False)]).build(3)
    assert model.network.decayed.tolist() == [[0, 6]]
    assert model.network.trainable.tolist() == [True] * 12 + [False] * 3


def test_what_decays():
    """Kernels and tables, wherever they are; a layer in NumPy: what has two axes or more."""
    stack = [
        layers.Embedding(5, 4), layers.Conv1D(3, 2), layers.Add([layers.Dense(3)], []),
        layers.Bidirectional(layers.GRU(2, return_sequences=True)), layers.LSTM(3), layers.BatchNorm(),
        layers.LayerNorm(), layers.Custom(lambda p, x: x, lambda p, x, y, dy: (dy, {}), output_shape=3,
                                          parameters={"matrix": (2, 2), "vector": 2}), layers.Dense(1)]
    model = Sequential(stack).build((6,))
    decayed = np.zeros(model.n_parameters, bool)
    for low, high in model.network.decayed:
        decayed[low:high] = True
    places = iter(decayed)
    found = {name: {next(places) for _ in range(values.size)} for name, values in model.parameters.items()}
    kinds = ("kernel", "recurrent_kernel", "table", "matrix")
    assert found == {name: {name.rpartition(".")[2] in kinds} for name in model.parameters}


@pytest.mark.parametrize(("name", "expected"), [
    ("PReLU", "prelu"), ("LeakyReLU", "leaky_relu"), ("MaxPool2D", "max_pool2d"), ("ZeroPadding1D", "zero_padding1d"),
    ("MyRNN", "my_rnn"), ("LSTM", "lstm"), ("BatchNorm", "batch_norm")])
def test_default_names(name, expected):
    assert type(name, (layers.Layer,), {}).default_name() == expected


# -- the training state -------------------------------------------------------------------------------------------


def filled():
    """A state that has something everywhere."""
    model = made(NORMED)
    fit(model, optimizer=optimizers.Adam(0.01, ema=0.9))
    state = model.training_state
    state.rate_factor, state.callbacks["Mine"] = 0.25, {"best": [1.0, 2.0]}
    state.optimizer.scalars["damping"] = 0.5
    return model, state


def as_comparable(state):
    return {**state.to_dict(), "slots": state.optimizer.slots.tobytes()}


def test_a_snapshot_forgets_nothing():
    """Every attribute comes back, whatever was written, also in place."""
    model, state = filled()
    before, saved = as_comparable(state), state.snapshot()
    assert saved.keys() == vars(state).keys() - {"_lock"}
    state.count(steps=3, epochs=1)
    state.rate_factor = state.average_checksum = 0.0
    state.optimizer.slots[:] = 9
    state.optimizer.scalars["damping"] = 7.0
    state.callbacks["Mine"]["best"].append(3.0)
    for _ in range(2):              # a snapshot stays what it was
        state.restore(saved)
        assert as_comparable(state) == before
        state.count(steps=3, epochs=1)
        state.optimizer.slots[:] = 9
        state.callbacks["Mine"]["best"].append(3.0)
    fit(model, optimizer=optimizers.SGD(0.1))
    assert state.rate_factor == 1.0 and state.callbacks == {} and state.optimizer.scalars == {}


@pytest.mark.parametrize("again", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_copies_of_a_state(again):
    _, state = filled()
    copied = again(state)
    assert as_comparable(copied) == as_comparable(state)
    copied.optimizer.slots[:] = 9
    copied.callbacks["Mine"]["best"].append(3.0)
    assert as_comparable(copied) != as_comparable(state) and state.callbacks["Mine"] == {"best": [1.0, 2.0]}


def test_a_snapshot_of_something_else_is_refused():
    """Before anything changes."""
    model, state = filled()
    before = as_comparable(state)
    other, wider = made(NORMED), made([layers.Dense(1)])
    fit(other, optimizer=optimizers.SGD(0.1))
    fit(wider, optimizer=optimizers.Adam(0.01, ema=0.9))
    for saved in (other.training_state.snapshot(), wider.training_state.snapshot(), TrainingState().snapshot()):
        with pytest.raises(ValueError, match=r"TrainingState: saved must be a snapshot with this network and this opt"):
            state.restore(saved)
    for saved in (None, {}, {"epoch": 1}, state):
        with pytest.raises(TypeError, match="TrainingState: saved must be a snapshot, got "):
            state.restore(saved)
    assert as_comparable(state) == before
    network, numbers = model.network, model.network.snapshot()
    for saved in (wider.network.snapshot(), (numbers[0], numbers[1][:0]), (numbers[0].astype(float), numbers[1]),
                  (numbers[0][:1], numbers[1])):
        with pytest.raises(ValueError, match="Network: saved must be a snapshot of this network, "):
            network.restore(saved)
    for saved in (None, numbers[0], (1.0, 2.0), (*numbers, numbers[0])):
        with pytest.raises(TypeError, match="Network: saved must be a snapshot, got "):
            network.restore(saved)
    for array, kept in zip(network.snapshot(), numbers):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))],
                         ids=["copy", "deepcopy", "pickle"])
def test_copies_of_a_network(again):
    """Also of one that has made predictions: workspaces are no part of it."""
    model = made(NORMED)
    fit(model)
    expected = model.predict(X)
    copied = again(model.network)
    for one, other in zip(copied.snapshot(), model.network.snapshot()):
        np.testing.assert_array_equal(one, other)
    model.network.theta[:] = 0
    taken = made(NORMED)
    taken.adopt(copied)
    np.testing.assert_array_equal(taken.predict(X), expected)


def test_the_arrays_of_a_network_stay():
    network = made().build(5).network
    for name in ("theta", "statistics"):
        with pytest.raises(AttributeError, match=name):
            setattr(network, name, np.zeros(3))


def test_to_dict_and_back():
    _, state = filled()
    described = state.to_dict()
    again = TrainingState.from_dict(described, state.optimizer.slots.copy())
    assert as_comparable(again) == as_comparable(state)
    described["callbacks"]["Mine"]["best"].append(9.0)
    assert state.callbacks["Mine"] == again.callbacks["Mine"] == {"best": [1.0, 2.0]}


def test_files_of_before_callbacks_kept_their_own_state():
    """The best value and the count, by the name of the value, go to the callback that monitors it."""
    described = {**TrainingState().to_dict(), "memory": {
        "rate_factor": 0.5, "plateau_best val_loss": 3.0, "plateau_wait val_loss": 2.0, "plateau_wait loss": 1.0,
        "damping": 0.1}}
    state = TrainingState.from_dict(described, np.zeros((0, 3)))
    assert state.rate_factor == 0.5 and state.optimizer.scalars == {"damping": 0.1}
    assert state.callbacks == {"ReduceOnPlateau val_loss": {"best": 3.0, "wait": 2.0},
                               "ReduceOnPlateau loss": {"wait": 1.0}}


def test_a_roll_back_over_batches_takes_back_averages_too():
    """An epoch of batches with an average, in which the loss becomes non-finite: nothing of it is left."""
    model, sgd = made(), optimizers.SGD(0.01, ema=0.9)
    batches = [(X[:20], Y[:20]), (X[20:40], Y[20:40])]
    model.fit(batches, loss="squared_error", optimizer=sgd, epochs=2)
    before, theta = as_comparable(model.training_state), model.theta.copy()
    with pytest.raises(FloatingPointError):
        model.fit([*batches, *[(X[:9], Y[:9] * 1e38)] * 3], loss="squared_error", optimizer=sgd, epochs=1)
    np.testing.assert_array_equal(model.theta, theta)
    assert as_comparable(model.training_state) == before
    other = made()
    other.fit(batches, loss="squared_error", optimizer=sgd, epochs=3)
    model.fit(batches, loss="squared_error", optimizer=sgd, epochs=1)
    np.testing.assert_array_equal(model.theta, other.theta)


def test_layers_stay_the_users():
    """Nothing that is built is kept in a layer."""
    one, other = made(NET).build(5), made(NET).build(7)
    assert one.layers == other.layers and one.theta.size != other.theta.size


@pytest.mark.parametrize("given, error, message", [
    (None, TypeError, "Sequential: network must be a Network, got None"),
    (Sequential([layers.Dense(2)], "float64", 0).build(3).network, ValueError,
     "Sequential: network must be built from the model's layers in float32, got one in float64"),
    (Sequential([layers.Dense(3)], random_state=0).build(3).network, ValueError,
     "Sequential: network must be built from the model's layers in float32, got one in float32 from"),
])
def test_adopt_refuses_another_network(given, error, message):
    model = Sequential([layers.Dense(2)], random_state=0).build(3)
    before = model.network
    with pytest.raises(error, match=message):
        model.adopt(given)
    assert model.network is before


def test_adopt_goes_on_with_a_state_of_training():
    model = Sequential([layers.GRU(3)], "float64", 0).build((4, 2))
    X, y = np.ones((5, 4, 2)), np.ones((5, 3))
    model.fit(X, y, loss="squared_error", optimizer="adam", epochs=2)
    network, state = model.network, model.training_state
    longer = network.with_steps(6)
    assert longer is network.with_steps(6) and longer.theta is network.theta
    for given, error, message in [
            (5, TypeError, "training_state must be None or a TrainingState, got int"),
            (TrainingState(3, "float64"), ValueError, "must be one of 57 weights in float64, got one of 3 in float64"),
            (TrainingState(57, "float32"), ValueError, "one of 57 weights in float64, got one of 57 in float32")]:
        with pytest.raises(error, match=message):
            model.adopt(longer, given)
    assert model.network is network
    model.adopt(longer, state)
    assert model.network is longer and model.epoch == 2 and model.input_shape == (6, 2)
    model.adopt(network, state)
    other = Sequential([layers.GRU(3)], "float64", 0)
    for one in (model, other):
        one.fit(X, y, loss="squared_error", optimizer="adam", epochs=1 if one is model else 3)
    np.testing.assert_array_equal(model.theta, other.theta)


def test_split_shares_numbers_layers_names_and_random_streams():
    stack = [layers.Conv1D(3, 2, padding="same"), layers.BatchNorm(), layers.Dropout(0.5), layers.GRU(4),
             layers.Dropout(0.3), layers.Dense(2)]
    model = Sequential(stack, random_state=0, dtype="float64").build((5, 2))
    X = np.random.default_rng(0).normal(size=(7, 5, 2))
    lengths = np.array([5, 1, 3, 5, 2, 4, 5])
    for k in range(1, len(stack)):
        first, rest = model.network.split(k)
        assert model.network.split(k) is model.network.split(k)
        assert [*first.parameters, *rest.parameters] == [*model.parameters]
        assert [*first.graph.outputs, *rest.graph.outputs] == [*model.network.graph.outputs]
        assert all(np.shares_memory(view, model.parameters[name])
                   for part in (first, rest) for name, view in part.parameters.items())
        between = predict(first, X, lengths, None, 1)
        if first.graph.steps[-1]:
            out = predict(rest, between, lengths, None, 1)
        else:
            assert rest.graph.steps[0] == 0
            out = predict(rest, between, None, None, 1)
        assert_allclose(out, model.predict(X, lengths=lengths), rtol=1e-12)
        # a Dropout draws by its layer's number
        assert first.graph.n_layers == k and rest.graph.n_layers == len(stack)
