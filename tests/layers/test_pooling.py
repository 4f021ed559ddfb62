"""Pooling against maxima and means over windows in NumPy."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, run

from ldl_cy._kernels.pooling import pool
from ldl_cy.layers import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)


def two(value):
    return value if isinstance(value, tuple) else (value, value)


def spans(n, size, stride, padding):
    """The cells (from, to) that each window along an axis of n covers, those outside left out."""
    if padding == "same":
        count = -(-n // stride)
        before = max(0, (count - 1) * stride + size - n) // 2
    else:
        before, after = (0, 0) if padding == "valid" else two(padding)
        count = (n + before + after - size) // stride + 1
    starts = [i * stride - before for i in range(count)]
    return [(max(0, a), min(n, a + size)) for a in starts]


def pooled(function, x, size, strides, padding):
    (kh, kw), (sh, sw), (ph, pw) = two(size), two(strides), two(padding)
    rows, cols = spans(x.shape[1], kh, sh, ph), spans(x.shape[2], kw, sw, pw)
    return np.stack([np.stack([function(x[:, a:b, c:d], (1, 2)) for c, d in cols], 1) for a, b in rows], 1)


def case(name, layer, input_shape, n=2, data=None):
    function = np.max if "Max" in type(layer).__name__ else np.mean

    def reference(p, x):
        if "Global" in type(layer).__name__:
            return function(x, tuple(range(1, x.ndim - 1)))
        size, padding = layer.pool_size, layer.padding
        strides = size if layer.strides is None else layer.strides
        if x.ndim == 4:
            return pooled(function, x, size, strides, padding)
        return pooled(function, x[:, None], (1, size), (1, strides), ("valid", padding))[:, 0]
    return LayerCase(name, layer, input_shape, reference, n=n, data=data)


CASES = [
    case(f"{cls.__name__} {name}", cls(*arguments), shape, n)
    for cls in (MaxPool2D, AvgPool2D)
    for name, arguments, shape, n in [
        ("plain", (), (4, 6, 3), 3),
        ("leftover", (), (5, 7, 2), 2),
        ("one channel", (), (4, 4, 1), 2),
        ("6 channels", (), (4, 6, 6), 2),
        ("6 channels, leftover", (), (5, 7, 6), 2),
        ("16 channels", (2,), (4, 4, 16), 2),
        ("17 channels", (2,), (3, 4, 17), 1),
        ("overlapping", (3, 2), (7, 6, 3), 2),
        ("overlapping, wide", (3, 1), (4, 5, 9), 2),
        ("gaps", (2, 3), (8, 7, 2), 2),
        ("same", (3, 2, "same"), (5, 6, 3), 2),
        ("same, wide", (3, 2, "same"), (6, 5, 8), 2),
        ("same, stride 1", (2, 1, "same"), (3, 4, 2), 2),
        ("same, larger than the map", (4, 2, "same"), (2, 3, 9), 2),
        ("padded", (3, 2, 1), (5, 4, 2), 2),
        ("padded by two", (3, (2, 1), (2, 0)), (3, 4, 8), 2),
        ("uneven", ((1, 3), (2, 1)), (4, 5, 2), 2),
        ("before and after", (3, 2, ((2, 0), (0, 1))), (5, 6, 3), 2),
        ("before and after, wide", ((3, 4), (1, 2), ((0, 2), (3, 1))), (4, 5, 9), 2),
        ("after only, 2x2", (2, 2, ((0, 1), (0, 1))), (5, 7, 16), 2),
        ("after only, 2x2, no further window", (2, 2, ((0, 1), (0, 1))), (4, 6, 16), 2),
        ("before only, 2x2", (2, 2, ((1, 0), (1, 0))), (4, 5, 16), 2),
        ("more cells than a byte counts", (17, 16, "same"), (17, 18, 1), 1),
        ("more cells than a byte counts, wide", (16, 1), (16, 17, 9), 1),
        ("one cell", (1,), (2, 2, 2), 2),
    ]
] + [
    case(f"{cls.__name__} {name}", cls(*arguments), shape)
    for cls in (MaxPool1D, AvgPool1D)
    for name, arguments, shape in [
        ("plain", (), (6, 3)), ("leftover", (3,), (7, 17)), ("overlapping", (3, 1), (5, 2)),
        ("same", (3, 2, "same"), (6, 9)), ("padded", (2, 2, 1), (5, 1)),
        ("before", (3, 2, (2, 0)), (5, 2)), ("after", (3, 2, (0, 1)), (6, 9)), ("one step", (1, 2), (3, 2)),
    ]
] + [
    case(f"{cls.__name__} {shape}", cls(), shape)
    for cls, shape in [
        (GlobalMaxPool1D, (5, 3)), (GlobalMaxPool1D, (1, 1)), (GlobalMaxPool2D, (3, 4, 2)),
        (GlobalMaxPool2D, (17, 16, 9)), (GlobalAvgPool1D, (5, 3)), (GlobalAvgPool2D, (3, 4, 17)),
        (GlobalAvgPool2D, (1, 1, 2)),
    ]
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def forward_backward(layer, x, dy, dtype, **options):
    kernel = layer.build(x.shape[1:]).kernel(dtype)
    return run(kernel, np.empty(0, dtype), np.ascontiguousarray(x, dtype), dy, want_grad=False, **options)[:2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 8, 17])
def test_first_of_equal_maxima_takes_the_gradient(channels, dtype):
    x = np.broadcast_to(np.array([[1, 2, 2], [2, 0, 2]])[None, :, :, None], (1, 2, 3, channels))
    y, dx = forward_backward(GlobalMaxPool2D(), x, np.ones(channels), dtype)
    assert (y == 2).all()
    assert (dx[0, 0, 1] == 1).all() and dx.sum() == channels
    for equal in ([0], [0, 1, 2, 3], [1, 2], [1, 3], [2, 3]):
        x = np.zeros((1, 4, channels))
        x[:, equal] = 5
        y, dx = forward_backward(MaxPool2D(), x.reshape(1, 2, 2, channels), np.ones(channels), dtype)
        assert (y == 5).all()
        assert (dx.reshape(4, channels)[equal[0]] == 1).all() and dx.sum() == channels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 9])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("keep", [True, False])
def test_nan_is_the_maximum(channels, place, keep, dtype):
    x = np.ones((1, 4, channels), dtype)
    x[0, place, -1] = np.nan
    for layer, shape in ((MaxPool1D(4), (4, channels)), (MaxPool2D(2), (2, 2, channels))):
        kernel = layer.build(shape).kernel(dtype)
        y, cache, _ = kernel.forward(np.empty(0, dtype), x.reshape(1, *shape), keep=keep)
        assert np.isnan(y[0, -1]) and (y[0, :-1] == 1).all()
        if keep:
            dx = np.empty_like(x)
            kernel.backward(np.empty(0, dtype), x, y, np.ones_like(y), cache, dx=dx)
            assert dx[0, place, -1] == 1 and dx.sum() == channels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [2, 9])
@pytest.mark.parametrize(("layer", "function"), [
    (GlobalMaxPool1D(), np.max), (GlobalAvgPool1D(), np.mean),
    (MaxPool1D(2), np.max), (AvgPool1D(2), np.mean),
])
def test_steps_past_the_end_are_left_out(layer, function, channels, dtype):
    lengths = np.array([5, 2, 1, 0], np.int32)
    x = -1 - np.random.default_rng(0).random((4, 5, channels))
    for row, length in zip(x, lengths):
        row[length:] = 0
    size = 5 if "Global" in type(layer).__name__ else 2
    y, dx = forward_backward(layer, x, np.ones((4, 5 // size, channels)), dtype, lengths=lengths)
    y = y.reshape(4, 5 // size, channels)
    for i, length in enumerate(lengths):
        for j in range(5 // size):
            window = x[i, j * size:min((j + 1) * size, length)]
            expected = function(window, 0) if len(window) else np.zeros(channels)
            np.testing.assert_allclose(y[i, j], expected, rtol=1e-6)
            total = dx[i, j * size:(j + 1) * size].sum(0)
            np.testing.assert_allclose(total, float(len(window) > 0), rtol=1e-6)
        assert (dx[i, length:] == 0).all()


def test_default_names():
    assert [cls.default_name() for cls in (MaxPool2D, AvgPool1D, GlobalAvgPool1D, GlobalMaxPool2D)] == [
        "max_pool2d", "avg_pool1d", "global_avg_pool1d", "global_max_pool2d"]


@pytest.mark.parametrize(("cls", "arguments", "message"), [
    (MaxPool2D, {"pool_size": 0}, "MaxPool2D: pool_size must be an int >= 1 or a pair of them, got 0."),
    (MaxPool2D, {"pool_size": (2, 2, 2)}, "MaxPool2D: pool_size must be an int >= 1 or a pair of them, got"),
    (AvgPool2D, {"pool_size": "2"}, "AvgPool2D: pool_size must be an int >= 1 or a pair of them, got '2'."),
    (MaxPool1D, {"pool_size": (2,)}, "MaxPool1D: pool_size must be an int >= 1, got (2,)."),
    (MaxPool2D, {"strides": 0}, "MaxPool2D: strides must be an int >= 1 or a pair of them, got 0."),
    (AvgPool1D, {"strides": 1.5}, "AvgPool1D: strides must be an int >= 1, got 1.5."),
    (MaxPool2D, {"padding": "causal"},
     "MaxPool2D: padding must be 'valid', 'same', an int >= 0, a pair of them or ((top, bottom), (left, right)), "
     "got 'causal'."),
    (AvgPool1D, {"padding": -1},
     "AvgPool1D: padding must be 'valid', 'same', an int >= 0 or a pair (before, after) of them, got -1."),
    (AvgPool1D, {"padding": ((0, 1), (0, 1))},
     "AvgPool1D: padding must be 'valid', 'same', an int >= 0 or a pair (before, after) of them, got"),
    (MaxPool2D, {"padding": 2}, "MaxPool2D: padding must be less than pool_size 2, got 2."),
    (MaxPool2D, {"pool_size": (3, 2), "padding": (1, 2)}, "MaxPool2D: padding must be less than"),
    (AvgPool1D, {"padding": 2}, "AvgPool1D: padding must be less than pool_size 2, got 2."),
    (AvgPool1D, {"padding": (0, 2)}, "AvgPool1D: padding must be less than pool_size 2, got (0, 2)."),
    (MaxPool1D, {"padding": (2, 0)}, "MaxPool1D: padding must be less than pool_size 2, got (2, 0)."),
    (MaxPool2D, {"pool_size": (3, 2), "padding": ((2, 2), (0, 2))},
     "MaxPool2D: padding must be less than pool_size (3, 2), got ((2, 2), (0, 2))."),
    (GlobalAvgPool1D, {"name": 3}, "GlobalAvgPool1D: name must be None or a word"),
])
def test_bad_arguments(cls, arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        cls(**arguments)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (MaxPool2D(), (8, 8),
     r"MaxPool2D: the input must have the shape \(height, width, channels\), got \(8, 8\)\."),
    (AvgPool1D(), (8,), r"AvgPool1D: the input must have the shape \(time, features\), got \(8,\)\."),
    (GlobalMaxPool2D(), (8, 8),
     r"GlobalMaxPool2D: the input must have the shape \(height, width, channels\), got"),
    (MaxPool2D(3), (2, 4, 1), r"MaxPool2D: pool_size \(3, 3\) does not fit into the padded input \(2, 4\)\."),
    (AvgPool1D(3), (2, 1), r"AvgPool1D: pool_size 3 does not fit into the padded input 2\."),
])
def test_bad_input_shape(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.build(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", range(1, 10))
def test_maxima_of_few_channels(c, dtype, isa):
    """2x2 windows with fewer channels than a register holds: the first of equals, and a NaN is the maximum."""
    kernel = pool(dtype, kind="max", image=(5, 6, c), kernel=(2, 2), strides=(2, 2), padding=(0, 0), output=(2, 3))
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (3, 5, 6, c)).astype(dtype)
    x[1, 2, 3, 0] = np.nan
    cells = x[:, :4].reshape(3, 2, 2, 3, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(3, 2, 3, c, 4)
    none = np.zeros(0, dtype)
    y, places, _ = kernel.forward(none, x)
    np.testing.assert_array_equal(y.reshape(3, 2, 3, c), cells.max(-1))
    np.testing.assert_array_equal(kernel.forward(none, x, keep=False)[0], y)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, _ = kernel.backward(none, x, y, dy.copy(), places, dx=np.empty_like(x))
    expected = np.zeros_like(cells)
    np.put_along_axis(expected, cells.argmax(-1)[..., None], dy.reshape(3, 2, 3, c, 1), -1)
    found = dx.reshape(x.shape)
    assert not found[:, 4].any()
    found = found[:, :4].reshape(3, 2, 2, 3, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(cells.shape)
    np.testing.assert_array_equal(found, expected)
