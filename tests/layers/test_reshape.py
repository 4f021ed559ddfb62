"""Flatten and Reshape: shapes only."""
import copy
import pickle

import pytest

from ldl_cy import layers
from ldl_cy.layers import Flatten, Reshape


@pytest.mark.parametrize(("layer", "shape", "expected"), [
    (Flatten(), (2, 3, 4), (24,)),
    (Flatten(), (5,), (5,)),
    (Flatten(), (), (1,)),
    (Reshape((3, 4)), (12,), (3, 4)),
    (Reshape([2, -1]), (3, 4), (2, 6)),
    (Reshape((-1,)), (3, 4), (12,)),
    (Reshape(-1), (3, 4), (12,)),
    (Reshape((2, 1, -1, 2)), (2, 4), (2, 1, 2, 2)),
    (Reshape((-1, 12)), (3, 4), (1, 12)),
])
def test_shapes(layer, shape, expected):
    before = copy.deepcopy(layer.get_config())
    built = layer.build(shape)
    assert built.output_shape == expected
    assert built.kernel is None and built.parameters == () and built.state == ()
    assert layer.get_config() == before
    assert type(layer)(**before) == layer
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert eval(repr(layer), vars(layers).copy()) == layer


@pytest.mark.parametrize("target", [0, (2, 0), (-2,), (-1, -1), 2.0, "4", None, (2, "4"), (True,)])
def test_bad_target(target):
    with pytest.raises((TypeError, ValueError)) as error:
        Reshape(target)
    assert str(error.value) == (
        f"Reshape: target_shape must be ints >= 1, at most one of them -1, got {target!r}.")


@pytest.mark.parametrize("target", [(5,), (5, -1), (24, -1), (3, 3)])
def test_another_size(target):
    with pytest.raises(ValueError) as error:
        Reshape(target).build((3, 4))
    assert str(error.value) == (
        f"Reshape: target_shape must hold as many numbers as the input (3, 4), got {target}.")
