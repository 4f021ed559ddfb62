"""Branches: Add, Multiply and Concatenate against the layers of their paths, applied one by one."""
import pickle
from functools import reduce

import numpy as np
import pytest
from branches import DTYPES, check_keeping, check_rows_and_bits, check_stack_gradient, small
from contract import close

from ldl_cy import Sequential, layers
from ldl_cy.layers import (
    LSTM,
    Activation,
    Add,
    AvgPool2D,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    MaxPool2D,
    Multiply,
    Reshape,
)
from ldl_cy.layers.merge import Branches


def compute(layer, parameters, name, x):
    """A layer, or a branch path by path, with the parameters that begin with its name."""
    if isinstance(layer, Branches):
        values = []
        for i, path in enumerate(layer.paths):
            value = x
            for j, inner in enumerate(path):
                own = inner.name or f"{inner.default_name()}_{j}"
                value = compute(inner, parameters, f"{name}.{i}.{own}", value)
            values.append(value)
        if isinstance(layer, Concatenate):
            return np.concatenate(values, -1)
        return reduce(np.add if isinstance(layer, Add) else np.multiply, values)
    model = Sequential([layer], dtype="float64").build(x.shape[1:])
    for view, own in zip(model.parameters.values(), (n.rpartition(".")[2] for n in model.parameters)):
        view[:] = parameters[f"{name}.{own}"]
    return model.predict(x)


def conv(filters, size=3, activation="tanh"):
    return Conv2D(filters, size, padding="same", activation=activation)


def excitation(channels, hidden, activation="logistic"):
    """Squeeze and excitation of an image."""
    squeeze = [GlobalAvgPool2D(), Reshape((1, 1, channels))]
    return Multiply([], [*squeeze, Dense(hidden, "tanh"), Dense(channels, activation)])


IMAGE = (4, 4, 2)
STACKS = {
    "identity twice": ([Add([], [])], (3,)),
    "identity beside itself": ([Concatenate([], [], [])], (2, 3)),
    "residual": ([Dense(4, "tanh"), Add([Dense(3, "tanh"), Dense(4)], []), Activation("tanh")], (5,)),
    "two residuals": ([Add([Dense(4, "tanh"), Dense(4)], []), Add([], [Dense(4, "tanh")])], (4,)),
    "three paths": ([Dense(3), Add(Dense(4), Dense(4, "tanh"), [Dense(2, "tanh"), Dense(4)])], (3,)),
    "residual of convolutions": ([conv(2), Add([conv(3), conv(2, 3, None)], []), GlobalAvgPool2D()], IMAGE),
    "projected shortcut": ([Add([Conv2D(3, 2, strides=2)], [MaxPool2D(2), Conv2D(3, 1)])], IMAGE),
    "inception": ([
        Concatenate([conv(1, 1)], [conv(2, 1), conv(2)], [AvgPool2D(3, strides=1, padding="same"), conv(1, 1)], []),
        MaxPool2D(2), Flatten(), Dense(2)], IMAGE),
    "sequences": ([Concatenate([Conv1D(2, 3, padding="same")], [], Dense(1)), LSTM(2)], (5, 2)),
    "nested": ([
        Dense(3, "tanh"),
        Concatenate([Add([Dense(3, "tanh")], []), Dense(2)], [Concatenate([], [Add([], [])], Dense(1))], []),
        Dense(2)], (4,)),
    # a value and the same numbers in another shape, read by several
    "reshaped": ([
        Dense(3, "tanh"), Concatenate(Flatten(), [Flatten(), Dense(2, "tanh")], [Dense(2), Flatten()]),
        Dense(2)], (2, 2)),
    "reshaped and added": ([
        Dense(2, "tanh"), Add(Reshape((2, 3)), [Reshape((2, 3)), Dense(3, "tanh")], [Flatten(), Reshape((2, 3))]),
        Flatten(), Dense(2)], (3, 2)),
    "the input, reshaped": ([Concatenate(Flatten(), [Dense(2, "tanh"), Flatten()]), Dense(1)], (2, 3)),
    "ends in a reshape": ([Add(Dense(4), Dense(4, "tanh")), Reshape((2, 2)), Flatten()], (3,)),
    "square": ([Dense(3, "tanh"), Multiply([], []), Dense(2)], (4,)),
    "powers": ([Multiply([], [], [Multiply([], [])], [])], (3,)),
    "gated": ([Dense(4), Multiply(Dense(5, "tanh"), Dense(5, "logistic")), Dense(2)], (3,)),
    "squeeze and excitation": ([conv(3), excitation(3, 2), conv(2), excitation(2, 3), GlobalAvgPool2D()], IMAGE),
    "a weight of each step": ([Dense(9, "tanh"), Multiply(Dense(1, "logistic"), []), GlobalAvgPool1D()], (5, 3)),
    "rows and columns": ([
        Multiply(Conv2D(2, (1, 5)), [Conv2D(2, (3, 1)), Activation("tanh")], conv(1)), Flatten(), Dense(2)], (3, 5, 2)),
    "outer product": ([
        Multiply([Dense(3), Reshape((3, 1))], [Dense(11, "tanh"), Reshape((1, 11))]), Flatten(), Dense(1)], (4,)),
    "repeated in the middle": ([
        Multiply([Dense(6), Reshape((3, 1, 2))], [Dense(8), Reshape((1, 4, 2))], Reshape((1, 1, 1))),
        Flatten(), Dense(1)], (1,)),
    "by single numbers": ([Multiply(Dense(1), [Dense(1), Reshape((1,))], Dense(10)), Dense(2)], (3,)),
    "two input shapes": ([Add([Dense(2), Dropout(0.4)], []), Dense(1)], (2,)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack, shape", STACKS.values(), ids=STACKS)
def test_forward(stack, shape, dtype):
    model, x = small(stack, shape, dtype)
    parameters = {name: value.astype(float) for name, value in model.parameters.items()}
    value = x.astype(float)
    trace = model.trace(x)
    for i, layer in enumerate(stack):
        name = f"{layer.default_name()}_{i}"
        value = compute(layer, parameters, name, value)
        close(trace[name], value, 1e-12 if dtype == "float64" else 1e-5)
    found = model.predict(x)
    assert found.dtype == dtype and found.shape == value.shape == (len(x), *model.output_shape)
    close(found, value, 1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("stack, shape", STACKS.values(), ids=STACKS)
def test_gradient(stack, shape, training):
    check_stack_gradient(stack, shape, training)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack, shape", STACKS.values(), ids=STACKS)
def test_threads(stack, shape, dtype):
    check_rows_and_bits(stack, shape, dtype)


@pytest.mark.parametrize("stack, shape", STACKS.values(), ids=STACKS)
def test_keeping(stack, shape, tmp_path, capsys):
    check_keeping(stack, shape, tmp_path, capsys)


def test_names():
    model = Sequential([Dense(3), Dense(3), Add([Activation("relu"), Dense(3)], [], [Dense(3, name="short")])])
    model.build(3)
    assert list(model.parameters)[4:] == [
        "add_2.0.dense_1.kernel", "add_2.0.dense_1.bias", "add_2.2.short.kernel", "add_2.2.short.bias"]
    assert list(model.trace(np.ones((2, 3)))) == [
        "dense_0", "dense_1", "add_2.0.activation_0", "add_2.0.dense_1", "add_2.2.short", "add_2"]
    twice = Sequential([Concatenate([Add(Dense(2), Dense(2))], [], name="both")]).build(2)
    assert list(twice.parameters)[::2] == ["both.0.add_0.0.dense_0.kernel", "both.0.add_0.1.dense_0.kernel"]


def test_the_same_layer_twice_has_two_sets_of_weights():
    layer = Dense(3)
    model = Sequential([Add(layer, [layer, layer])], random_state=0).build(3)
    kernels = list(model.parameters.values())[::2]
    assert len(kernels) == 3 and not np.allclose(kernels[0], kernels[1])


def test_frozen_branches():
    inner = Add([Dense(3, "tanh")], [])
    stack = [Dense(3), Concatenate([inner], Dense(2), trainable=False), Dense(1)]
    model, x = small(stack, (3,), "float64")
    before = {name: value.copy() for name, value in model.parameters.items()}
    model.fit(x, np.ones((len(x), 1)), loss="squared_error", optimizer="adam", epochs=2)
    for name, value in model.parameters.items():
        assert (value == before[name]).all() == name.startswith("concatenate_1"), name
    only = Sequential([Add([Dense(2, trainable=False)], [Dense(2)]), Add([Dense(2)], [])]).build(2)
    assert [e.trainable for e in only.network.graph.parameters] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("trainable", [0, 1])
def test_one_factor_is_frozen(trainable):
    def gradients(*frozen):
        paths = [[Dense(n, trainable=i not in frozen), Reshape((3, -1))] for i, n in enumerate((12, 3))]
        model, x = small([Multiply(*paths), Flatten(), Dense(2)], (2,), "float64")
        _, grad = model.loss_and_grad(x, np.ones((len(x), 2)), loss="squared_error")
        return {entry.name: grad[entry.offset:entry.offset + entry.parameter.size]
                for entry in model.network.graph.parameters}

    expected, frozen = gradients(), f"multiply_0.{1 - trainable}."
    for name, found in gradients(1 - trainable).items():
        np.testing.assert_array_equal(found, 0 * found if name.startswith(frozen) else expected[name])
        assert found.any() != name.startswith(frozen)


def test_a_product_past_the_end_of_a_sequence():
    """It is zero, and gives no gradient, also where a factor of all steps is infinite."""
    gate = [GlobalAvgPool1D(), Reshape((1, 2)), Dense(2, use_bias=False)]
    model = Sequential([Multiply([], gate)], "float32", 0).build((3, 2))
    x, lengths = np.ones((2, 3, 2)), np.array([1, 3])
    model.theta[:] = 3e38
    found = model.predict(x, lengths=lengths)
    assert np.isinf(found[0, 0]).all() and np.isinf(found[1]).all() and not found[0, 1:].any()
    assert not np.signbit(found).any()
    model.theta[:] = -1
    for value in (x, np.where(np.arange(3)[:, None] < lengths[:, None, None], x, 7.0)):
        grad = model.loss_and_grad(value, 2 * x, loss="squared_error", lengths=lengths)[1]
        np.testing.assert_array_equal(grad, model.loss_and_grad(x, 2 * x, loss="squared_error", lengths=lengths)[1])
    assert not np.signbit(model.predict(x, lengths=lengths)[0, 1:]).any()


def test_products_that_make_steps_take_no_lengths():
    model = Sequential([Multiply([], [Flatten(), Dense(4), Reshape((4, 1))])]).build((1, 2))
    assert model.predict(np.ones((2, 1, 2))).shape == (2, 4, 2)
    with pytest.raises(ValueError) as raised:
        model.predict(np.ones((2, 1, 2)), lengths=[1, 1])
    assert str(raised.value) == ("Sequential: lengths do not fit this network: multiply changes the number of steps "
                                 "from 1 to 4, and lengths have no meaning after it.")


def test_a_long_sum_in_float32():
    """The gradient of a factor that 2^18 numbers share, of which the first makes the others small."""
    n = 2**18
    model = Sequential([Multiply([], [Flatten(), Dense(1), Reshape((1, 1))])], "float32").build((n, 1))
    model.theta[:] = 0
    x = np.ones((1, n, 1))
    x[0, 0] = 2.0**14
    # dl / d bias = sum x dy, dy = -2 t / n
    _, grad = model.loss_and_grad(x, np.full((1, n, 1), -0.5), loss="squared_error")
    assert grad[-1] == (2.0**14 + n - 1) / n


def test_multiplications_are_counted():
    graph = Sequential([Multiply([], [Dense(1)])]).build((6, 5)).network.graph
    assert graph.flops == graph.nodes[0].kernel.flops + 30 and [node.flops for node in graph.nodes[1:]] == [30]


def test_it_learns():
    X = np.random.default_rng(0).standard_normal((256, 4))
    y = np.tanh(X[:, :1] * X[:, 1:2]) + X[:, 2:3]
    block = Add([Dense(16, "tanh"), Dense(16)], [])
    model = Sequential([Dense(16, "tanh"), block, block, Dense(1)], random_state=0)
    history = model.fit(X, y, loss="squared_error", optimizer="adam", epochs=60)
    assert history.history["loss"][-1] < 0.2 * history.history["loss"][0]


def test_configuration():
    a = Add([Dense(3), Dense(4, name="end")], [], name="block", trainable=False)
    assert repr(a) == "Add([Dense(3), Dense(4, name='end')], [], name='block', trainable=False)"
    assert repr(Concatenate(Dense(3), ())) == "Concatenate([Dense(3)], [])"
    assert a.get_config() == {
        "paths": ([Dense(3), Dense(4, name="end")], []), "name": "block", "trainable": False}
    for same in (eval(repr(a), vars(layers).copy()), Add.from_config(a.get_config()), pickle.loads(pickle.dumps(a))):
        assert same == a
    assert a != Add([Dense(3), Dense(5, name="end")], [], name="block", trainable=False)
    assert Add([], []) != Concatenate([], []) and Add([], []) != Add([], [], [])
    assert Add([Flatten(), Dense(4)], Dense(4)).compute_output_shape((4,)) == (4,)


@pytest.mark.parametrize("kind", [Add, Multiply, Concatenate])
@pytest.mark.parametrize("paths, error, message", [
    ((), ValueError, "there must be at least two paths, got 0."),
    (([Dense(2)],), ValueError, "there must be at least two paths, got 1."),
    ((Dense(2), "dense"), TypeError, "each path must be a list of layers, got 'dense'."),
    (([Dense(2)], None), TypeError, "each path must be a list of layers, got None."),
    (([[Dense(2)], []],), TypeError, "each path must be a list of layers, got [[Dense(2)], []]."),
    (([], [Dense]), TypeError, "each path must be a list of layers, got [<class"),
    (([], [Dense(2, name="a"), Dense(2, name="a")]), ValueError, "names of layers must differ, got 'a' twice."),
    (([], [Dense(2, name="dense_1"), Dense(2)]), ValueError, "names of layers must differ, got 'dense_1' twice."),
])
def test_bad_arguments(kind, paths, error, message):
    with pytest.raises(error) as raised:
        kind(*paths)
    assert str(raised.value).startswith(f"{kind.__name__}: {message}")


def test_branches_that_do_not_join():
    class Parallel(Branches):
        pass

    with pytest.raises(TypeError) as raised:
        Sequential([Parallel([], [])]).build(3)
    assert str(raised.value) == "Parallel: a branch must define join(graph, values)."


@pytest.mark.parametrize("layer, shape, message", [
    (Add([], [conv(3)]), (8, 8, 4), "Add: the paths must give one shape, got (8, 8, 4) and (8, 8, 3). "
     "(layer 'add_0' after the input of shape (8, 8, 4))"),
    (Multiply([], [GlobalAvgPool2D()]), (8, 8, 4), "Multiply: the paths must give shapes of one rank, whose axes are "
     "equal or 1, got (8, 8, 4) and (4,). (layer 'multiply_0' after the input of shape (8, 8, 4))"),
    (Multiply([], Dense(1), Dense(2)), (3, 4), "Multiply: the paths must give shapes of one rank, whose axes are equal "
     "or 1, got (3, 4) and (3, 1) and (3, 2). (layer 'multiply_0'"),
    (Add(Dense(2), Dense(2), [Flatten(), Dense(2)]), (3, 3),
     "Add: the paths must give one shape, got (3, 2) and (2,). (layer 'add_0'"),
    (Concatenate([], [MaxPool2D(2)], Conv2D(2, 3)), (8, 8, 4), "Concatenate: the paths must give one shape but for "
     "the last axis, got (8, 8, 4) and (4, 4, 4) and (6, 6, 2). (layer 'concatenate_0'"),
    (Concatenate([], [Flatten()]), (2, 3), "Concatenate: the paths must give one shape but for the last axis"),
    (Add([], [Dense(3), Conv2D(3, 3)]), (3,), "Conv2D: the input must have the shape (height, width, channels), "
     "got (3,). (layer 'add_0.1.conv2d_1' after 'add_0.1.dense_0' of shape (3,))"),
    (Add([], [Concatenate([], Conv2D(3, 3))]), (3,), "Conv2D: the input must have the shape (height, width, channels),"
     " got (3,). (layer 'add_0.1.concatenate_0.1.conv2d_0' after the input of 'add_0.1.concatenate_0' of shape (3,))"),
])
def test_shapes_that_do_not_fit(layer, shape, message):
    with pytest.raises(ValueError) as raised:
        Sequential([layer]).build(shape)
    assert str(raised.value).startswith(message)


def test_single_numbers_have_no_last_axis():
    with pytest.raises(ValueError, match=r"Concatenate: the paths must give shapes with a last axis, got \(\)\."):
        Concatenate([], []).compute_output_shape(())
