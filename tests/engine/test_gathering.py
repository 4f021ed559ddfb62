"""A first layer that reads shuffled rows in place gives what it gives from a copy of them."""
import numpy as np
import pytest

from ldl_cy import Sequential, layers
from ldl_cy._kernels.recurrent import recurrent


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_kernel_reads_rows_in_any_order(cell, go_backwards, dtype):
    kernel = recurrent(dtype, cell=cell, n_steps=5, n_in=3, units=7, go_backwards=go_backwards)
    rng = np.random.default_rng(0)
    theta, x = (0.3 * rng.standard_normal(size).astype(dtype) for size in (kernel.n_params, (9, 15)))
    order, lengths = np.array([4, 0, 8, 3]), np.array([2, 5, 1, 4], np.int32)
    for options in ({}, {"lengths": lengths}):
        y, cache, _ = kernel.forward(theta, x, order=order, **options)
        expected, cache_expected, _ = kernel.forward(theta, np.ascontiguousarray(x[order]), **options)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(cache, cache_expected)


@pytest.mark.parametrize("lengths", [False, True])
def test_fit_is_the_same_from_a_copy(lengths):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((43, 6, 4)).astype(np.float32), rng.integers(0, 3, 43)
    ends = rng.integers(1, 7, 43) if lengths else None
    wide = np.zeros((43, 7, 4), np.float32)
    wide[:, :6] = X
    weights = []
    # float64 and uint8 are converted row by row into a copy; a view's rows are not contiguous
    for rows in (X, X.astype(np.float64), wide[:, :6], X[::-1].copy()[::-1]):
        model = Sequential([layers.LSTM(8), layers.Dense(3)], random_state=0)
        model.fit(rows, y, loss="log_loss", epochs=3, batch_size=16, lengths=ends)
        weights.append(model.theta.copy())
    for theta in weights[1:]:
        np.testing.assert_array_equal(theta, weights[0])
