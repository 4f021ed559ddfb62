"""Conv1D and Conv2D against sums over windows in NumPy."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, close, run
from convolutions import case

from ldl_cy._engine.gemm_packed import has_kernels
from ldl_cy._kernels.conv import conv
from ldl_cy.layers import Conv1D, Conv2D
from ldl_cy.layers.activation import ACTIVATIONS
from ldl_cy.layers.windows import lay_windows

CASES = [
    case("plain", Conv2D(4, 3), (5, 6, 3)),
    case("one channel", Conv2D(3, 3, padding="same"), (6, 5, 1), n=3),
    case("one channel, many filters", Conv2D(17, 3, padding="same", activation="relu"), (5, 6, 1)),
    case("16 channels", Conv2D(3, 3, padding="same"), (4, 5, 16)),
    case("17 channels", Conv2D(16, 2, padding=1, activation="tanh"), (3, 4, 17)),
    case("16 to 16", Conv2D(16, (3, 2), padding="same"), (3, 3, 16)),
    case("no bias", Conv2D(4, 2, use_bias=False), (4, 3, 2)),
    case("no bias, one channel", Conv2D(4, 2, use_bias=False), (4, 3, 1)),
    case("5x5", Conv2D(6, 5, activation="tanh"), (7, 8, 1)),
    case("5x5 of 6", Conv2D(5, 5, activation="relu"), (6, 6, 6)),
    case("stride 2", Conv2D(3, 3, 2), (7, 8, 2)),
    case("stride 2, same, even", Conv2D(3, 3, 2, "same"), (6, 8, 3)),
    case("stride 2, same, odd", Conv2D(17, 3, 2, "same"), (5, 7, 2)),
    case("strides 3 and 2", Conv2D(3, (2, 3), (3, 2), 2), (5, 4, 17)),
    case("stride beyond the kernel", Conv2D(4, 1, 2), (5, 4, 3)),
    case("stride 3, one channel", Conv2D(4, 2, 3, 1), (7, 6, 1)),
    case("stride 1 by 2, 16 channels", Conv2D(3, 2, (1, 2), "same"), (3, 5, 16)),
    case("pads of two kinds", Conv2D(3, 3, padding=(2, 0)), (3, 5, 2)),
    case("pad beyond the kernel", Conv2D(3, 2, padding=3), (2, 3, 2)),
    case("pad beyond the kernel, 16 channels", Conv2D(2, 2, padding=2), (2, 2, 16)),
    case("dilation", Conv2D(3, 3, dilation_rate=2), (6, 7, 2)),
    case("dilation, same, 16 channels", Conv2D(3, (2, 3), padding="same", dilation_rate=(3, 2)), (4, 5, 16)),
    case("dilation and stride", Conv2D(3, 2, 2, 1, (2, 3)), (6, 7, 3)),
    case("kernel beyond the map", Conv2D(3, 5, padding=2), (2, 3, 2)),
    case("kernel beyond the map, same", Conv2D(3, (7, 4), padding="same"), (3, 2, 16)),
    case("before and after", Conv2D(3, 3, padding=((2, 0), (0, 1))), (3, 5, 2)),
    case("before and after, stride, dilation", Conv2D(3, 2, (2, 3), ((0, 3), (2, 1)), (2, 1)), (5, 4, 17)),
    case("before and after, one channel", Conv2D(5, 3, padding=((0, 4), (3, 1)), activation="tanh"), (3, 4, 1)),
    case("before and after, 16 to 16", Conv2D(16, (3, 2), padding=((1, 0), (0, 2))), (3, 3, 16)),
    case("before and after, one pixel", Conv2D(16, 1, padding=((1, 0), (0, 2))), (2, 3, 16)),
    case("before and after, groups", Conv2D(6, 3, padding=((0, 2), (1, 0)), groups=2), (3, 4, 4)),
    case("before and after, depthwise", Conv2D(5, 3, 2, ((3, 0), (0, 2)), groups=5, activation="relu"), (4, 5, 5)),
    case("groups", Conv2D(6, 3, padding="same", groups=2), (4, 5, 4)),
    case("groups of 16", Conv2D(4, 2, groups=2, activation="silu"), (3, 4, 32)),
    case("groups, stride, dilation", Conv2D(6, 2, 2, "same", 2, 3), (5, 6, 6)),
    case("groups of one pixel", Conv2D(6, 1, groups=3), (3, 2, 6)),
    case("depthwise", Conv2D(5, 3, padding="same", groups=5, activation="relu"), (4, 5, 5)),
    case("depthwise 17, stride 2", Conv2D(17, 3, 2, 1, groups=17), (5, 4, 17)),
    case("depthwise, dilation, no bias", Conv2D(4, 2, 1, "same", 2, 4, use_bias=False), (5, 4, 4)),
    case("depthwise, two filters a channel", Conv2D(6, 3, groups=3), (4, 5, 3)),
    case("1x1", Conv2D(4, 1, activation="relu"), (3, 4, 3)),
    case("1x1, 17 to 16", Conv2D(16, 1), (3, 2, 17)),
    case("1x1, padded", Conv2D(4, 1, padding=1), (3, 2, 3)),
    case("1x1 image", Conv2D(4, 3, padding="same"), (1, 1, 3)),
    case("one of everything", Conv2D(1, 1), (1, 1, 1)),
    case("wide", Conv2D(3, (1, 3), padding="same"), (1, 9, 2)),
    case("batch of 1", Conv2D(3, 2), (4, 4, 2), n=1),
    case("several panels", Conv2D(6, 3, padding="same", activation="gelu"), (11, 9, 3), n=5),
    case("several panels, one channel", Conv2D(2, 2, activation="gelu"), (17, 12, 1), n=3),
    *[case(f"2D {name}", Conv2D(3, 2, activation=name), (3, 4, 2)) for name in ACTIVATIONS],
    case("1D", Conv1D(4, 3), (7, 3)),
    case("1D same", Conv1D(4, 4, 2, "same", activation="gelu"), (7, 3)),
    case("1D causal", Conv1D(4, 3, padding="causal"), (6, 2)),
    case("1D causal, dilation, stride", Conv1D(3, 3, 2, "causal", 2), (7, 17)),
    case("1D int", Conv1D(4, 3, padding=2, activation="softmax"), (5, 16)),
    case("1D before and after", Conv1D(4, 3, padding=(2, 0), activation="tanh"), (5, 16)),
    case("1D before and after, stride", Conv1D(4, 3, 2, (0, 3), 2), (6, 2)),
    case("1D one channel", Conv1D(4, 5, padding="same"), (8, 1)),
    case("1D depthwise", Conv1D(3, 2, groups=3), (5, 3)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "shape"), [
    (Conv2D(20, 3, padding="same", activation="relu"), (21, 19, 16)),     # pieces of rows, several blocks
    (Conv2D(20, 3, 2, "same", activation="silu"), (24, 13, 33)),
    (Conv2D(40, 3), (13, 21, 24)),
    (Conv2D(24, 5, padding=2, activation="tanh"), (23, 17, 3)),           # panels, the last one shorter
    (Conv2D(9, 7, 2, 3), (41, 37, 1)),
    (Conv2D(33, 3, padding="same", activation="relu"), (25, 23, 1)),
    (Conv2D(32, 3, padding="same", groups=2), (18, 17, 34)),
    (Conv2D(30, 3, groups=30), (19, 18, 30)),
    (Conv2D(130, 3, padding="same"), (4, 3, 140)),                        # products too large to stay small
    (Conv1D(18, 5, padding="causal", dilation_rate=4), (301, 20)),
    (Conv1D(150, 3, 2, padding="same", activation="relu"), (403, 16)),    # rows in parts
    (Conv2D(150, 1, activation="relu"), (13, 17, 16)),
])
def test_larger_maps(layer, shape, dtype):
    """Forward against the definition; gradients through <dy, L v> = <L^T dy, v>: y is linear in x and W."""
    kernel = layer.build(shape).kernel(dtype)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(kernel.n_params) / np.sqrt(kernel.flops / 2 / kernel.y_size)
    theta = theta.astype(dtype)
    x = rng.standard_normal((2, *shape)).astype(dtype)
    tol = 1e-11 if dtype == "float64" else 1e-4
    one = case("", layer, shape)
    y, _, _ = kernel.forward(theta, x)
    expected = one.reference(one.parameters(layer.build(shape), theta), x.astype(float))
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=0, atol=tol)

    linear = type(layer)(**{**layer.get_config(), "activation": None}).build(shape).kernel(dtype)
    dy = rng.standard_normal(y.shape).astype(dtype)
    y, dx, grad = run(linear, theta, x, dy)
    v, w = rng.standard_normal(x.shape).astype(dtype), rng.standard_normal(theta.size).astype(dtype)
    moved = linear.forward(theta, x + v)[0] - y
    close(np.vdot(dx, v), np.vdot(dy, moved), tol * np.sqrt(dy.size) * 10)
    close(np.vdot(grad, w), np.vdot(dy, linear.forward(w, x)[0]), tol * np.sqrt(dy.size * theta.size))


def test_parameters():
    built = Conv2D(6, (3, 2), groups=2).build((8, 8, 4))
    assert [(p.name, p.shape) for p in built.parameters] == [("kernel", (3, 2, 2, 6)), ("bias", (6,))]
    built = Conv1D(5, 3, use_bias=False).build((8, 4))
    assert [(p.name, p.shape) for p in built.parameters] == [("kernel", (3, 4, 5))]
    assert Conv2D.default_name() == "conv2d" and Conv1D.default_name() == "conv1d"


def test_lists_are_kept_as_tuples():
    layer = Conv2D(3, [3, 2], [1, 2], [0, 1], [2, 1])
    assert layer == Conv2D(3, (3, 2), (1, 2), (0, 1), (2, 1))
    assert Conv2D(3, 2, padding=[[0, 1], [2, 3]]).padding == ((0, 1), (2, 3))
    assert Conv1D(3, 2, padding=[0, np.int64(1)]).padding == (0, 1)
    assert Conv2D(3, np.int64(2)).kernel_size == 2


PAIR = "must be an int >= 1 or a pair of them, got"
PADDING = "must be 'valid', 'same', an int >= 0, a pair of them or ((top, bottom), (left, right)), got"
PADDING_1D = "must be 'valid', 'same', 'causal', an int >= 0 or a pair (before, after) of them, got"


@pytest.mark.parametrize(("arguments", "message"), [
    ({"filters": 0}, "Conv2D: filters must be an int >= 1, got 0."),
    ({"filters": 2.0}, "Conv2D: filters must be an int >= 1, got 2.0."),
    ({"kernel_size": 0}, f"Conv2D: kernel_size {PAIR} 0."),
    ({"kernel_size": (3, 0)}, f"Conv2D: kernel_size {PAIR} (3, 0)."),
    ({"kernel_size": (3,)}, f"Conv2D: kernel_size {PAIR} (3,)."),
    ({"kernel_size": "3"}, f"Conv2D: kernel_size {PAIR} '3'."),
    ({"kernel_size": None}, f"Conv2D: kernel_size {PAIR} None."),
    ({"strides": -1}, f"Conv2D: strides {PAIR} -1."),
    ({"strides": 1.0}, f"Conv2D: strides {PAIR} 1.0."),
    ({"padding": "full"}, f"Conv2D: padding {PADDING} 'full'."),
    ({"padding": "causal"}, f"Conv2D: padding {PADDING} 'causal'."),
    ({"padding": -1}, f"Conv2D: padding {PADDING} -1."),
    ({"padding": (1, 2, 3)}, f"Conv2D: padding {PADDING} (1, 2, 3)."),
    ({"padding": None}, f"Conv2D: padding {PADDING} None."),
    ({"padding": ((1, 1), 1)}, f"Conv2D: padding {PADDING} ((1, 1), 1)."),
    ({"padding": ((1, 1), (1, -1))}, f"Conv2D: padding {PADDING} ((1, 1), (1, -1))."),
    ({"padding": ((1, 1), (1, 1, 1))}, f"Conv2D: padding {PADDING} ((1, 1), (1, 1, 1))."),
    ({"padding": ((1, 1), ("same", 1))}, f"Conv2D: padding {PADDING} ((1, 1), ('same', 1))."),
    ({"padding": ((1, 1),)}, f"Conv2D: padding {PADDING} ((1, 1),)."),
    ({"dilation_rate": 0}, f"Conv2D: dilation_rate {PAIR} 0."),
    ({"dilation_rate": True}, f"Conv2D: dilation_rate {PAIR} True."),
    ({"groups": 0}, "Conv2D: groups must be an int >= 1, got 0."),
    ({"groups": 2.5}, "Conv2D: groups must be an int >= 1, got 2.5."),
    ({"groups": 3}, "Conv2D: filters must be a multiple of groups 3, got 4."),
    ({"activation": "rellu"}, "Conv2D: activation must be None or one of"),
    ({"activation": 1}, "Conv2D: activation must be None or one of"),
    ({"algorithm": "fft"}, "Conv2D: algorithm must be one of 'auto', 'direct', 'winograd', got 'fft'."),
    ({"algorithm": None}, "Conv2D: algorithm must be one of 'auto', 'direct', 'winograd', got None."),
    ({"algorithm": "winograd", "kernel_size": (3, 2)}, "Conv2D: algorithm='winograd' needs kernel_size 3, strides 1"),
    ({"algorithm": "winograd", "kernel_size": 3, "strides": (1, 2)}, "Conv2D: algorithm='winograd' needs kernel_"),
    ({"algorithm": "winograd", "kernel_size": 3, "groups": 2}, "Conv2D: algorithm='winograd' needs kernel_size 3"),
    ({"use_bias": 1}, "Conv2D: use_bias must be True or False, got 1."),
    ({"kernel_initializer": "xavier"}, "Conv2D: kernel_initializer must be one of"),
    ({"bias_initializer": 0}, "Conv2D: bias_initializer must be"),
    ({"name": "a b"}, "Conv2D: name must be None or a word"),
    ({"trainable": 0}, "Conv2D: trainable must be True or False, got 0."),
])
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Conv2D(**{"filters": 4, "kernel_size": 3, **arguments})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"kernel_size": 0}, "Conv1D: kernel_size must be an int >= 1, got 0."),
    ({"kernel_size": (3,)}, "Conv1D: kernel_size must be an int >= 1, got (3,)."),
    ({"strides": 0}, "Conv1D: strides must be an int >= 1, got 0."),
    ({"dilation_rate": "2"}, "Conv1D: dilation_rate must be an int >= 1, got '2'."),
    ({"padding": "full"}, f"Conv1D: padding {PADDING_1D} 'full'."),
    ({"padding": (1, -1)}, f"Conv1D: padding {PADDING_1D} (1, -1)."),
    ({"padding": (1, 1, 1)}, f"Conv1D: padding {PADDING_1D} (1, 1, 1)."),
    ({"padding": ((1, 1), (1, 1))}, f"Conv1D: padding {PADDING_1D} ((1, 1), (1, 1))."),
    ({"padding": 1.0}, f"Conv1D: padding {PADDING_1D} 1.0."),
    ({"groups": 3}, "Conv1D: filters must be a multiple of groups 3, got 4."),
])
def test_bad_arguments_1d(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Conv1D(**{"filters": 4, "kernel_size": 3, **arguments})
    assert str(error.value) == message


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (Conv2D(4, 3), (8, 8), "Conv2D: the input must have the shape (height, width, channels), got (8, 8)."),
    (Conv1D(4, 3), (8,), "Conv1D: the input must have the shape (time, features), got (8,)."),
    (Conv2D(4, 9), (8, 8, 1), "Conv2D: kernel_size (9, 9) does not fit into the padded input (8, 8)."),
    (Conv2D(4, (1, 9), padding=(3, 0)), (8, 8, 1),
     "Conv2D: kernel_size (1, 9) does not fit into the padded input (14, 8)."),
    (Conv2D(4, 3, dilation_rate=4), (8, 8, 1),
     "Conv2D: kernel_size (3, 3) (dilated (9, 9)) does not fit into the padded input (8, 8)."),
    (Conv1D(4, 9), (8, 1), "Conv1D: kernel_size 9 does not fit into the padded input 8."),
    (Conv1D(4, 3, dilation_rate=4), (8, 1),
     "Conv1D: kernel_size 3 (dilated 9) does not fit into the padded input 8."),
    (Conv2D(4, 3, groups=2), (8, 8, 3),
     "Conv2D: the input's channels must be a multiple of groups 2, got 3."),
    (Conv2D(2**16, 1), (1, 1, 2**15), "Conv2D: the size of the kernel must be at most 2147483647"),
    (Conv1D(1, 1, 2**26), (4, 32), "Conv1D: strides * channels must be at most 2147483647 (BLAS's int), got"),
])
def test_bad_input_shape(layer, shape, message):
    with pytest.raises(ValueError) as error:
        layer.build(shape)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_that_are_too_large_to_be_packed(dtype):
    """Six steps see only the eleven cells around the middle of a window of 300,001."""
    size, near = 300_001, slice(150_000 - 5, 150_000 + 6)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 6, 2)).astype(dtype)
    W, b = rng.standard_normal((size, 2, 3)).astype(dtype), rng.standard_normal(3).astype(dtype)
    dy = rng.standard_normal((3, 6, 3)).astype(dtype)
    found = []
    for part in (W, W[near]):
        layer = Conv1D(3, len(part), padding="same", activation="relu", algorithm="direct")
        kernel = layer.build((6, 2)).kernel(dtype)
        assert bool(kernel.n_derived) == (len(part) < size)
        theta, grad, dx = np.concatenate([part.ravel(), b]), np.zeros(kernel.n_params, dtype), np.empty_like(x)
        y, cache, derived = kernel.forward(theta, x)
        kernel.backward(theta, x, y, dy.copy(), cache, derived=derived, dx=dx, grad=grad)
        found.append((y, dx, grad[:-3].reshape(-1, 2, 3), grad[-3:]))
    large, small = found
    assert np.count_nonzero(large[2]) == np.count_nonzero(large[2][near])
    for a, b in zip((large[0], large[1], large[2][near], large[3]), small):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 if dtype == "float32" else 1e-14)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "filters", "size", "strides", "padding"), [
    ((9, 11, 3), 5, 3, 1, "same"),          # 11 columns: one tile of 6 and one that begins before its end
    ((6, 10, 2), 33, (2, 3), 1, "valid"),   # tiles of 4, three registers of filters, the last one almost empty
    ((13, 17, 1), 16, 5, (2, 3), 2),
    ((5, 12, 16), 70, 3, (1, 2), ((0, 3), (2, 1))),     # two panels of filters
    ((3, 5, 2), 4, 2, 1, 3),                # windows beyond the image
    ((12, 13, 2), 9, 3, 2, "valid"),        # the image has more than the windows see
])
def test_windows_read_where_they_are(shape, filters, size, strides, padding, dtype):
    """The same sums in the same order as those of copied windows times a packed matrix, where there is one."""
    windows = lay_windows("test", "kernel_size", shape, 2, size, strides, 1, padding)
    rng = np.random.default_rng(0)
    for activation, use_bias in (("identity", True), ("relu", False), ("gelu", True)):
        settings = dict(windows, dilation=(1, 1), filters=filters, activation=activation, use_bias=use_bias)
        copied, in_place = (conv(dtype, **settings, per_image=per_image) for per_image in (False, True))
        theta = rng.standard_normal(copied.n_params).astype(dtype)
        for n in (1, 3):
            x = rng.standard_normal((n, *shape)).astype(dtype)
            expected, found = run(copied, theta, x), run(in_place, theta, x)
            close(found[0], expected[0], 1e-13 if dtype == "float64" else 1e-6)
            if has_kernels(dtype):
                for a, b in zip(found, expected):
                    np.testing.assert_array_equal(a, b)
