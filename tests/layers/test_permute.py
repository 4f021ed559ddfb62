"""Permute against numpy.transpose."""
from itertools import permutations

import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase, run

from ldl_cy.layers import Permute


def case(dims, shape, n=2):
    name = "".join(map(str, dims)) + f" of {shape}"
    return LayerCase(name, Permute(dims), shape, lambda p, x: x.transpose(0, *dims), n=n)


CASES = [
    case((2, 1), (3, 5)), case((2, 1), (17, 16), n=1), case((2, 1), (4, 133)),          # transposed by tiles
    case((2, 1, 3), (4, 3, 2)), case((2, 1, 3), (3, 5, 17)), case((3, 1, 2), (4, 5, 3), n=1),
    case((2, 3, 1), (3, 4, 5)), case((3, 2, 1), (3, 4, 5)), case((1, 3, 2), (2, 9, 8)),
    case((4, 2, 1, 3), (2, 3, 4, 5)), case((3, 1, 4, 2), (3, 2, 2, 3)), case((1, 3, 2, 4), (2, 3, 4, 3)),
    case((5, 3, 1, 4, 2), (2, 3, 2, 3, 2)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 9), (5, 1), (2, 3, 17), (4, 1, 5), (1, 1, 3), (2, 3, 1, 5), (17, 2, 3, 2),
                                   (2, 2, 1, 3, 2)], ids=str)
def test_every_order(shape, dtype):
    """Forward is numpy's, backward the inverse, to the bit; a kernel only where numbers move."""
    x = np.arange(2 * np.prod(shape)).reshape(2, *shape).astype(dtype)
    for dims in permutations(range(1, len(shape) + 1)):
        built, expected = Permute(dims).build(shape), x.transpose(0, *dims)
        assert built.output_shape == expected.shape[1:]
        moves = not np.array_equal(x.ravel(), expected.ravel())
        assert (built.kernel is not None) == moves, dims
        if moves:
            y, dx, _ = run(built.kernel(dtype), np.empty(0, dtype), x, expected.copy(), want_grad=False)
            np.testing.assert_array_equal(y.reshape(expected.shape), expected, err_msg=str(dims))
            np.testing.assert_array_equal(dx.reshape(x.shape), x, err_msg=str(dims))


@pytest.mark.parametrize(("dims", "shape", "sizes", "order"), [
    ((3, 1, 2), (4, 5, 3), (20, 3), (1, 0)),
    ((2, 3, 1), (4, 5, 3), (4, 15), (1, 0)),
    ((2, 1, 3, 4), (4, 5, 3, 2), (4, 5, 6), (1, 0, 2)),
    ((4, 2, 1, 3), (4, 1, 5, 2), (20, 2), (1, 0)),
    ((1, 4, 3, 2), (4, 2, 1, 5), (4, 2, 5), (0, 2, 1)),
])
def test_neighbours_that_stay_neighbours_are_one_axis(dims, shape, sizes, order):
    assert Permute(dims).build(shape).kernel("float32").config == {"sizes": sizes, "order": order}


def test_many_axes():
    shape, dims = (2,) * 12, tuple(range(12, 0, -1))
    x = np.arange(2.0**13).reshape(2, *shape)
    y, dx, _ = run(Permute(dims).build(shape).kernel("float64"), np.empty(0), x, x, want_grad=False)
    np.testing.assert_array_equal(y.ravel(), x.transpose(0, *dims).ravel())
    np.testing.assert_array_equal(dx.ravel(), y.ravel())        # an order that is its own inverse
    with pytest.raises(ValueError, match=r"Permute: dims must move at most 12 groups of the input's axes \(2, 2, "):
        Permute((13, *dims)).build((2, *shape))


def test_lists_are_kept_as_tuples():
    layer = Permute([np.int64(2), 1])
    assert layer.dims == (2, 1) and layer == Permute((2, 1)) and repr(layer) == "Permute((2, 1))"


@pytest.mark.parametrize("dims", [(), (0, 1), (1, 3), (1, 1), (2, 1, 2), (-1, 1), (1.0, 2), ("2", "1"), (True, 2), 1,
                                  None, "21", ((2, 1),)])
def test_bad_arguments(dims):
    with pytest.raises((TypeError, ValueError)) as error:
        Permute(dims)
    assert str(error.value) == (
        f"Permute: dims must be a tuple of the ints 1 .. n, each once, in any order, got {dims!r}.")


def test_too_many_entries():
    with pytest.raises(ValueError, match=r"Permute: dims must have at most 31 entries, got 32\."):
        Permute(tuple(range(1, 33)))


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5), ()])
def test_another_rank(shape):
    with pytest.raises(ValueError) as error:
        Permute((2, 1)).build(shape)
    assert str(error.value) == f"Permute: the input must have as many axes as dims (2, 1), got {shape}."
