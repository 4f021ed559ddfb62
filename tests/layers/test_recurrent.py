"""RNN, LSTM, GRU against loops over rows and steps in NumPy."""
import pickle
from functools import partial

import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, close, run
from gradients import check_derivative, check_gradient
from recurrences import recurrence

from ldl_cy import layers
from ldl_cy._engine.gemm_packed import has_kernels
from ldl_cy.layers import GRU, LSTM, RNN
from ldl_cy.layers.activation import ACTIVATIONS


def case(layer, n_steps=4, n_in=3, n=5):
    return LayerCase(f"{layer!r} of {n_steps}x{n_in}", layer, (n_steps, n_in),
                     lambda p, x: recurrence(layer, p, x), n=n)


CELLS = [RNN, LSTM, GRU]
LEAKY = partial(RNN, leak=0.3)
CASES = [
    *[make for cell in CELLS for make in (
        case(cell(5)),
        case(cell(1), n_steps=1, n_in=1),
        case(cell(16), n_steps=2, n_in=1, n=3),
        case(cell(5, return_sequences=True), n_steps=7, n_in=1),
        case(cell(1, go_backwards=True), n_steps=7),
        case(cell(5, return_sequences=True, go_backwards=True), n=1),
        case(cell(4, return_sequences=True, use_bias=False)),
        case(cell(2), n_steps=9, n_in=2, n=43),             # several chunks of steps
        case(cell(2, return_sequences=True), n_steps=35, n_in=1, n=2),
    )],
    *[case(RNN(4, name, return_sequences=True), n_steps=3) for name in ACTIVATIONS],
    case(RNN(3, None)),
    # f' from f(a), and from a
    *[case(RNN(4, name, return_sequences=True, leak=0.3), n_steps=3) for name in ACTIVATIONS],
    case(RNN(5, leak=0.01)),
    case(RNN(1, leak=0.7, go_backwards=True), n_steps=1, n_in=1, n=1),
    case(RNN(2, "gelu", leak=0.3, use_bias=False), n_steps=35, n_in=2, n=43),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


LENGTHS = {
    "mixed": [3, 7, 1, 7, 4, 3],
    "full": [7] * 6,
    "short": [2, 1, 2, 2, 1, 1],
    "with none": [0, 5, 0, 1, 7, 7],
}


@pytest.fixture(params=[False, True], ids=["last", "sequences"])
def return_sequences(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def go_backwards(request):
    return request.param


def with_lengths(cell, return_sequences, go_backwards, dtype, n=6, n_steps=7):
    layer = cell(3, return_sequences=return_sequences, go_backwards=go_backwards)
    case = LayerCase("lengths", layer, (n_steps, 2), None, n=n)
    return layer, case, *case.make(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("cell", [*CELLS, LEAKY])
def test_lengths_forward(cell, lengths, return_sequences, go_backwards, dtype):
    layer, case, built, kernel, theta, x = with_lengths(cell, return_sequences, go_backwards, dtype)
    lengths = np.array(lengths, np.int32)
    for i, length in enumerate(lengths):
        x[i, length:] = np.nan                              # no step past the end is looked at
    expected = recurrence(layer, case.parameters(built, theta), x.astype(float), lengths)
    for keep in (True, False):
        y, _, _ = kernel.forward(theta, x, lengths=lengths, keep=keep)
        close(y, expected, 1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("cell", [*CELLS, LEAKY])
def test_lengths_gradients(cell, lengths, return_sequences, go_backwards):
    *_, kernel, theta, x = with_lengths(cell, return_sequences, go_backwards, "float64")
    lengths = np.array(lengths, np.int32)
    past = np.arange(7) >= lengths[:, None]
    r = np.random.default_rng(1).standard_normal((6, kernel.y_size))
    if return_sequences:
        r.reshape(6, 7, 3)[past] = 0
    _, dx, grad = run(kernel, theta, x, r, lengths=lengths)
    assert (dx[past] == 0).all()

    def loss(theta, x):
        return np.sum(r * kernel.forward(theta, x, lengths=lengths, keep=False)[0])

    check_gradient(lambda x: loss(theta, x), x, dx)
    check_gradient(lambda theta: loss(theta, x), theta, grad)


@pytest.mark.parametrize("cell", [*CELLS, LEAKY])
def test_lengths_over_several_chunks(cell, return_sequences, go_backwards, isa):
    """Rows with lengths, together, equal each row alone in a kernel of its own length."""
    n, n_steps = 40, 19
    layer, *_, kernel, theta, x = with_lengths(cell, return_sequences, go_backwards, "float64", n, n_steps)
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, n_steps, n, np.int32, endpoint=True)
    dy = rng.standard_normal((n, kernel.y_size))
    y, dx, grad = run(kernel, theta, x, dy, lengths=lengths)
    total = np.zeros_like(theta)
    for i, length in enumerate(lengths):
        alone = layer.build((int(length), 2)).kernel("float64")
        y_i, dx_i, grad_i = run(alone, theta, x[i:i + 1, :length].copy(), dy[i, :alone.y_size])
        total += grad_i
        close(y[i, :y_i.size], y_i, 1e-12)
        close(dx[i, :length], dx_i, 1e-12)
        assert not y[i, y_i.size:].any() and not dx[i, length:].any()
    close(grad, total, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", [*CELLS, LEAKY])
@pytest.mark.parametrize("units", [131, 128])               # partial panels; rows of a power of two
def test_packed_products(units, cell, dtype, return_sequences, isa):
    """Products of several panels against NumPy and a derivative, in float32 against float64."""
    layer = cell(units, return_sequences=return_sequences)
    case = LayerCase("packed", layer, (3, 70), None, n=50)
    built, _, theta, x = case.make(dtype)
    theta *= theta.dtype.type(0.1)
    expected = recurrence(layer, case.parameters(built, theta), x.astype(float))
    y, dx, grad = run(built.kernel(dtype), theta, x)
    close(y, expected, 1e-12 if dtype == "float64" else 1e-5)
    exact = built.kernel("float64")
    theta, x = theta.astype(float), x.astype(float)
    if dtype == "float64":
        rng = np.random.default_rng(0)
        v, direction = rng.standard_normal(x.shape), 0.1 * rng.standard_normal(theta.shape)
        r = np.random.default_rng(3).standard_normal(y.shape)
        check_derivative(lambda t: np.sum(r * exact.forward(theta + t * direction, x + t * v)[0]), 0.0, 1.0,
                         np.sum(dx * v) + grad @ direction, 1e-6)
    else:
        _, dx_exact, grad_exact = run(exact, theta, x)
        close(dx, dx_exact, 1e-4)
        close(grad, grad_exact, 1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("units", [67, 128])
def test_few_rows_read_weights_in_pieces(units, cell, dtype, isa):
    """Pieces of columns, from either end: of U larger than a cache, to the bits that more rows have."""
    layer = cell(units)
    case = LayerCase("few rows", layer, (6, 3), None, n=5)
    built, _, theta, x = case.make(dtype)
    theta *= theta.dtype.type(0.1)
    expected = recurrence(layer, case.parameters(built, theta), x.astype(float))
    kernel = built.kernel(dtype)
    whole = kernel.forward(theta, x, keep=False)[0]
    for n in range(1, 6):
        y = kernel.forward(theta, x[:n], keep=False)[0]
        close(y, expected[:n], 1e-12 if dtype == "float64" else 1e-5)
        if n > 1 and has_kernels(dtype):
            np.testing.assert_array_equal(y, whole[:n])


def test_shapes_and_names_of_parameters():
    shapes = {cell: {p.name: p.shape for p in cell(5).build((7, 3)).parameters} for cell in CELLS}
    assert shapes == {
        RNN: {"kernel": (3, 5), "recurrent_kernel": (5, 5), "bias": (5,)},
        LSTM: {"kernel": (3, 20), "recurrent_kernel": (5, 20), "bias": (20,)},
        GRU: {"kernel": (3, 15), "recurrent_kernel": (5, 15), "bias": (15,), "recurrent_bias": (5,)},
    }
    assert [cell.default_name() for cell in CELLS] == ["rnn", "lstm", "gru"]
    for cell in CELLS:
        assert cell(5, use_bias=False).build((7, 3)).parameters[-1].name == "recurrent_kernel"
    assert layers.SimpleRNN is RNN


@pytest.mark.parametrize(("initializer", "others"), [
    ("zeros", 0), ("ones", 1), (lambda shape, stream: np.full(shape, 7), 7)])
def test_lstm_forgets_nothing_at_first(initializer, others):
    layer = LSTM(2, bias_initializer=initializer)
    assert layer.get_config()["bias_initializer"] is initializer
    bias = layer.build((7, 3)).parameters[-1].initializer((8,), None)
    np.testing.assert_array_equal(bias, [others] * 2 + [1, 1] + [others] * 4)


def test_lstm_bias_initializer_pickles():
    draw = LSTM(2).build((7, 3)).parameters[-1].initializer
    assert pickle.loads(pickle.dumps(draw)) == draw
    np.testing.assert_array_equal(draw((4,), None), [0, 1, 0, 0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("arguments", "message"), [
    ({"units": 0}, "units must be an int >= 1, got 0."),
    ({"units": -3}, "units must be an int >= 1, got -3."),
    ({"units": 2.0}, "units must be an int >= 1, got 2.0."),
    ({"units": True}, "units must be an int >= 1, got True."),
    ({"return_sequences": 1}, "return_sequences must be True or False, got 1."),
    ({"go_backwards": None}, "go_backwards must be True or False, got None."),
    ({"use_bias": "yes"}, "use_bias must be True or False, got 'yes'."),
    ({"kernel_initializer": "xavier"}, "kernel_initializer must be one of"),
    ({"recurrent_initializer": 3}, "recurrent_initializer must be one of"),
    ({"bias_initializer": None}, "bias_initializer must be one of"),
    ({"name": "a b"}, "name must be None or a word"),
    ({"name": 3}, "name must be None or a word"),
    ({"trainable": 0}, "trainable must be True or False, got 0."),
])
def test_bad_arguments(cell, arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        cell(**{"units": 3, **arguments})
    assert str(error.value).startswith(f"{cell.__name__}: {message}")


@pytest.mark.parametrize("leak", [0, -0.1, 1.5, np.nan, "slow", True, None])
def test_bad_leak(leak):
    with pytest.raises((TypeError, ValueError), match=r"^RNN: leak must be a number > 0 and <= 1, got "):
        RNN(3, leak=leak)
    for cell in (LSTM, GRU):
        with pytest.raises(TypeError):
            cell(3, leak=0.5)


def test_a_leak_of_1_changes_no_bit():
    x = np.random.default_rng(0).standard_normal((4, 9, 3))
    built, leaky = RNN(5, leak=1.0).build((9, 3)), RNN(5, leak=np.nextafter(1, 0)).build((9, 3))
    theta = np.random.default_rng(1).standard_normal(built.kernel("float64").n_params)
    y, dx, grad = run(built.kernel("float64"), theta, x)
    for a, b in zip((y, dx, grad), run(RNN(5).build((9, 3)).kernel("float64"), theta, x)):
        np.testing.assert_array_equal(a, b)
    for a, b in zip((y, dx, grad), run(leaky.kernel("float64"), theta, x)):
        close(a, b, 1e-12)


def test_layers_from_before_leaks():
    old = RNN(3)
    del vars(old)["leak"]
    assert pickle.loads(pickle.dumps(old)) == RNN(3)
    assert (repr(RNN(3)), repr(RNN(3, leak=0.5))) == ("RNN(3)", "RNN(3, leak=0.5)")


@pytest.mark.parametrize("activation", ["rellu", 3])
def test_bad_activation(activation):
    with pytest.raises((TypeError, ValueError), match=r"RNN: activation must be None or one of"):
        RNN(3, activation)
    for cell in (LSTM, GRU):
        with pytest.raises(TypeError):
            cell(3, activation="tanh")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(), (8,), (2, 3, 4)])
def test_bad_input_shape(cell, shape):
    with pytest.raises(ValueError) as error:
        cell(3).build(shape)
    assert str(error.value) == (
        f"{cell.__name__}: the input must have the shape (time, features), got {shape}.")


@pytest.mark.parametrize("cell", CELLS)
def test_weights_too_many_for_blas(cell):
    with pytest.raises(ValueError, match=f"{cell.__name__}: features \\* units must be at most 2147483647"):
        cell(2**16).build((7, 2**16))
    with pytest.raises(ValueError, match=f"{cell.__name__}: units \\* units must be at most 2147483647"):
        cell(2**16).build((7, 1))
