"""Bidirectional against two recurrent layers, run alone and put together in NumPy; reversal in time."""
import pickle

import numpy as np
import pytest
from branches import DTYPES, check_keeping, check_rows_and_bits, check_stack_gradient, small
from contract import close, run

from ldl_cy import Sequential, layers
from ldl_cy._kernels.reverse import reverse
from ldl_cy.layers import GRU, LSTM, RNN, Add, Bidirectional, Concatenate, Dense

CELLS = [RNN, LSTM, GRU]
LENGTHS = {"mixed": [3, 7, 1, 7, 4, 3], "with none": [0, 5, 0, 1, 7, 7], "full": [7] * 6}


def alone(layer, go_backwards, parameters, prefix, x):
    """The outputs of one direction, in the order of processing."""
    config = {**layer.get_config(), "go_backwards": go_backwards}
    model = Sequential([type(layer)(**config)], dtype="float64").build(x.shape[1:])
    for name, view in model.parameters.items():
        view[:] = parameters[f"{prefix}.{name.rpartition('.')[2]}"]
    return model.predict(x)


def compute(layer, parameters, name, x):
    inner = layer.layer
    forward = alone(inner, inner.go_backwards, parameters, f"{name}.forward", x)
    backward = alone(inner, not inner.go_backwards, parameters, f"{name}.backward", x)
    if inner.return_sequences:
        if inner.go_backwards:
            forward = forward[:, ::-1]
        else:
            backward = backward[:, ::-1]
    return np.concatenate([forward, backward], -1) if layer.merge_mode == "concat" else forward + backward


SETTINGS = [(cell, mode, sequences, False) for cell in CELLS for mode in ("concat", "sum")
            for sequences in (False, True)] + [(GRU, "concat", True, True), (LSTM, "sum", False, True)]
STACKS = {
    f"{cell.__name__}, {mode}{', sequences' * sequences}{', backwards' * back}": (
        [Bidirectional(cell(3, return_sequences=sequences, go_backwards=back), mode)], (4, 2))
    for cell, mode, sequences, back in SETTINGS}
STACKS |= {
    "two": ([Bidirectional(LSTM(2, return_sequences=True)), Bidirectional(GRU(3), "sum"), Dense(2)], (5, 2)),
    "residual": ([Dense(4), Add([Bidirectional(GRU(2, return_sequences=True))], []), LSTM(2)], (4, 2)),
    "beside a dense layer": ([
        Concatenate(Bidirectional(RNN(2, return_sequences=True), "sum"), Dense(2), []), Dense(1)], (3, 2)),
}
SINGLE = {name: case for name, case in STACKS.items() if len(case[0]) == 1}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack, shape", SINGLE.values(), ids=SINGLE)
def test_forward(stack, shape, dtype):
    model, x = small(stack, shape, dtype)
    parameters = {name: value.astype(float) for name, value in model.parameters.items()}
    expected = compute(stack[0], parameters, "bidirectional_0", x.astype(float))
    found = model.predict(x)
    assert found.dtype == dtype and found.shape == expected.shape == (len(x), *model.output_shape)
    close(found, expected, 1e-12 if dtype == "float64" else 1e-5)
    close(model.trace(x)["bidirectional_0"], expected, 1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("stack, shape", STACKS.values(), ids=STACKS)
def test_gradient(stack, shape):
    check_stack_gradient(stack, shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack, shape", STACKS.values(), ids=STACKS)
def test_threads(stack, shape, dtype):
    check_rows_and_bits(stack, shape, dtype)


@pytest.mark.parametrize("stack, shape", STACKS.values(), ids=STACKS)
def test_keeping(stack, shape, tmp_path, capsys):
    check_keeping(stack, shape, tmp_path, capsys)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [None, *LENGTHS.values()], ids=["none", *LENGTHS])
def test_reversal(lengths, dtype):
    """Each row within its own length, zeros past it, the gradient likewise; nothing past the end is read."""
    kernel = reverse(dtype, n_steps=7, width=3)
    assert kernel.uses_lengths and kernel.x_size == kernel.y_size == 21 and not kernel.n_params
    x = np.random.default_rng(0).standard_normal((6, 7, 3)).astype(dtype)
    ends = [7] * 6 if lengths is None else lengths
    options = {} if lengths is None else {"lengths": np.array(lengths, np.int32)}
    for i, end in enumerate(ends):
        x[i, end:] = np.nan
    theta = np.zeros(0, dtype)
    y, dx, _ = run(kernel, theta, x, want_grad=False, **options)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype).reshape(x.shape)
    for i, end in enumerate(ends):
        np.testing.assert_array_equal(y.reshape(x.shape)[i, :end], x[i, :end][::-1])
        np.testing.assert_array_equal(dx[i, :end], dy[i, :end][::-1])
        assert not y.reshape(x.shape)[i, end:].any() and not dx[i, end:].any()
    run(kernel, theta, x, want_dx=False, want_grad=False, **options)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("cell", CELLS)
def test_backwards_then_reversed_is_in_input_order(cell, lengths):
    """With lengths the state beside step t has seen the row's own steps from its end to t, and no others."""
    layer = cell(3, return_sequences=True, go_backwards=True)
    kernel = layer.build((7, 2)).kernel("float64")
    rng = np.random.default_rng(1)
    theta, x = rng.standard_normal(kernel.n_params), rng.standard_normal((6, 7, 2))
    ends = np.array(lengths, np.int32)
    turn = reverse("float64", n_steps=7, width=3)
    states = turn.forward(np.zeros(0), kernel.forward(theta, x, lengths=ends)[0], lengths=ends)[0].reshape(6, 7, 3)
    for i, end in enumerate(lengths):
        assert not states[i, end:].any()
        for t in range(end):
            last = cell(3, go_backwards=True).build((end - t, 2)).kernel("float64")
            close(states[i, t], last.forward(theta, np.ascontiguousarray(x[i:i + 1, t:end]))[0], 1e-12)


def test_names():
    model = Sequential([Dense(2), Bidirectional(LSTM(3, name="unused")), Bidirectional(RNN(1), name="end")])
    with pytest.raises(ValueError, match=r"RNN: the input must have the shape \(time, features\), got \(6,\). "
                                         r"\(layer 'end' after 'bidirectional_1'"):
        model.build((4, 2))
    model = Sequential([Bidirectional(GRU(3, name="unused"))], random_state=0).build((4, 2))
    assert list(model.parameters) == [f"bidirectional_0.{way}.{own}" for way in ("forward", "backward") for own in (
        "kernel", "recurrent_kernel", "bias", "recurrent_bias")]
    forward, backward = (model.parameters[f"bidirectional_0.{way}.kernel"] for way in ("forward", "backward"))
    assert not np.allclose(forward, backward)
    assert list(model.trace(np.ones((2, 4, 2)))) == [
        "bidirectional_0.forward", "bidirectional_0.backward", "bidirectional_0"]


@pytest.mark.parametrize("layer", [
    Bidirectional(GRU(2), trainable=False), Bidirectional(GRU(2, trainable=False)),
    Add(Bidirectional(GRU(2)), Bidirectional(LSTM(2)), trainable=False),
])
def test_frozen(layer):
    model, x = small([layer, Dense(1)], (4, 2), "float64")
    before = model.theta.copy()
    model.fit(x, np.ones((len(x), 1)), loss="squared_error", epochs=2)
    changed = model.theta != before
    size = model.parameters["dense_1.kernel"].size + 1
    assert changed[-size:].all() and not changed[:-size].any()


def test_it_learns():
    """Which of the first and the last step is larger: neither direction alone has both fresh in mind."""
    X = np.random.default_rng(0).standard_normal((256, 12, 1))
    y = X[:, :1, 0] - X[:, -1:, 0]
    model = Sequential([Bidirectional(GRU(8)), Dense(1)], random_state=0)
    history = model.fit(X, y, loss="squared_error", optimizer="adam", epochs=30)
    assert history.history["loss"][-1] < 0.2 * history.history["loss"][0]


def test_configuration():
    layer = Bidirectional(LSTM(4, return_sequences=True), "sum", name="both")
    assert repr(layer) == "Bidirectional(LSTM(4, return_sequences=True), merge_mode='sum', name='both')"
    for same in (eval(repr(layer), vars(layers).copy()), Bidirectional.from_config(layer.get_config()),
                 pickle.loads(pickle.dumps(layer))):
        assert same == layer
    assert layer != Bidirectional(LSTM(4), "sum", name="both")
    assert layer.compute_output_shape((5, 2)) == (5, 4)
    assert Bidirectional(LSTM(4)).compute_output_shape((5, 2)) == (8,)


@pytest.mark.parametrize("arguments, error, message", [
    ((Dense(3),), TypeError, "Bidirectional: layer must be an RNN, LSTM or GRU, got Dense(3)."),
    ((GRU,), TypeError, "Bidirectional: layer must be an RNN, LSTM or GRU, got <class 'ldl_cy."),
    ((Bidirectional(GRU(2)),), TypeError, "Bidirectional: layer must be an RNN, LSTM or GRU, got Bidirectional("),
    (([GRU(2)],), TypeError, "Bidirectional: layer must be an RNN, LSTM or GRU, got [GRU(2)]."),
    ((GRU(2), "mean"), ValueError, "Bidirectional: merge_mode must be one of 'concat', 'sum', got 'mean'."),
    ((GRU(2), None), TypeError, "Bidirectional: merge_mode must be one of 'concat', 'sum', got None."),
])
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error) as raised:
        Bidirectional(*arguments)
    assert str(raised.value).startswith(message)
