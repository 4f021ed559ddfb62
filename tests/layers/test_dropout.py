"""Dropout: the identity in inference, a reproducible mask in training."""
import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, run

from ldl_cy.layers import Dropout

CASES = [
    LayerCase("vector", Dropout(0.4), (7,), lambda p, x: x),
    LayerCase("image", Dropout(0.5), (3, 2, 5), lambda p, x: x),
    LayerCase("rate 0", Dropout(0), (6,), lambda p, x: x),
    LayerCase("rate near 1", Dropout(0.99), (6,), lambda p, x: x),
]
THETA = np.empty(0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


def dropped(rate, x, **options):
    return Dropout(rate).build(x.shape[1:]).kernel("float64").forward(THETA, x, **options)[0]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_and_mean(rate):
    y = dropped(rate, np.ones((200, 500)), training=True, seed=4)
    assert abs(np.mean(y == 0) - rate) < 0.005
    assert abs(np.mean(y) - 1) < 0.02
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate))


def test_inference_and_rate_0_are_the_identity():
    x = np.random.default_rng(0).standard_normal((4, 9))
    np.testing.assert_array_equal(dropped(0.5, x), x)
    np.testing.assert_array_equal(dropped(0, x, training=True), x)


def test_rows_alone_and_together_draw_one_mask():
    x = np.ones((12, 11))
    options = {"training": True, "seed": 1, "epoch": 2, "step": 3}
    together = dropped(0.5, x, **options)
    for rows in (1, 5):
        parts = [dropped(0.5, x[i:i + rows], row0=i, **options) for i in range(0, 12, rows)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


def test_seed_epoch_and_step_change_the_mask():
    x = np.ones((8, 50))
    options = {"training": True, "seed": 1, "epoch": 2, "step": 3}
    masks = [dropped(0.5, x, **options)]
    masks += [dropped(0.5, x, **{**options, name: 9}) for name in ("seed", "epoch", "step")]
    for i in range(4):
        for j in range(i):
            assert 0.3 < np.mean(masks[i] == masks[j]) < 0.7


def test_both_dtypes_draw_one_mask():
    kernels = [Dropout(0.3).build((20,)).kernel(dtype) for dtype in DTYPES]
    ys = [k.forward(np.empty(0, k.dtype), np.ones((5, 20), k.dtype), training=True)[0] for k in kernels]
    np.testing.assert_array_equal(ys[0] == 0, ys[1] == 0)


def test_backward_uses_the_mask_of_forward():
    kernel = Dropout(0.5).build((30,)).kernel("float64")
    y, dx, _ = run(kernel, THETA, np.ones((4, 30)))
    dy = np.random.default_rng(3).standard_normal(y.shape)
    np.testing.assert_array_equal(dx, dy * y)


@pytest.mark.parametrize("rate", [1, 1.5, -0.1, float("nan"), "0.5", None, True])
def test_bad_rate(rate):
    with pytest.raises((TypeError, ValueError)) as error:
        Dropout(rate)
    assert str(error.value) == f"Dropout: rate must be a number >= 0 and < 1, got {rate!r}."
