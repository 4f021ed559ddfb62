"""Axes of arrays that are read together, against NumPy's broadcasting."""
import numpy as np
import pytest

from ldl_cy._engine.axes import broadcast_shape, merged


@pytest.mark.parametrize(("shape", "others", "expected"), [
    ((), [()], ((1,), ((1,),))),
    ((1, 1), [(1, 1)], ((1,), ((1,),))),
    ((5, 3), [(5, 3)], ((15,), ((1,),))),
    ((5, 3), [(1, 1)], ((15,), ((0,),))),
    ((4, 5, 3), [(1, 1, 3)], ((20, 3), ((0, 1),))),
    ((4, 5, 3), [(4, 1, 3)], ((4, 5, 3), ((3, 0, 1),))),
    ((4, 1, 3), [(1, 1, 1)], ((12,), ((0,),))),
    ((4, 1, 3), [(4, 1, 3), (1, 1, 3)], ((4, 3), ((3, 1), (0, 1)))),
    ((2, 1, 3, 5), [(2, 1, 3, 1), (1, 1, 3, 1)], ((2, 3, 5), ((3, 1, 0), (0, 1, 0)))),
    ((2, 3), [], ((6,), ())),
])
def test_merged(shape, others, expected):
    assert merged(shape, others) == expected


def test_merged_axes_lead_to_the_numbers_of_each_array():
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(int(n) for n in rng.integers(1, 4, rng.integers(0, 6)))
        arrays = [np.arange(np.prod(own, dtype=int)).reshape(own)
                  for own in (tuple(n if rng.integers(2) else 1 for n in shape) for _ in range(3))]
        sizes, strides = merged(shape, [array.shape for array in arrays])
        assert len(sizes) == 1 or min(sizes) > 1
        for array, along in zip(arrays, strides):
            places = np.tensordot(along, np.indices(sizes), 1)
            np.testing.assert_array_equal(array.ravel()[places].ravel(), np.broadcast_to(array, shape).ravel())


@pytest.mark.parametrize("shapes", [
    [(), ()], [(3,), (3,)], [(3, 1), (1, 4)], [(2, 1, 3), (1, 1, 3), (2, 5, 1)], [(3,), (4,)],
    [(2, 3), (3, 2), (1, 1)]])
def test_broadcast_shape(shapes):
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        expected = None
    assert broadcast_shape(shapes) == expected


def test_no_axes_are_added():
    assert broadcast_shape([(3,), (2, 3)]) is None
