"""The check of numbers that come in: arrays that the compiled check leaves to NumPy."""
import numpy as np
import pytest

from ldl_cy._engine.finite import all_finite
from ldl_cy.checks import check_finite

LONG = (3, 2**21 + 2)           # every other column: a row is more than what is looked at in one piece


@pytest.fixture
def array():
    """Its sum overflows, its numbers do not; its rows are not contiguous."""
    numbers = np.full(LONG, 3e38, np.float32)[:, ::2]
    assert all_finite(numbers) is None
    return numbers


def test_a_sum_that_overflows_proves_nothing(array):
    assert check_finite("Owner", "X", array) is None


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("row", [0, 2])
def test_one_fault_is_found(array, value, name, row):
    array[row, -1] = value
    with pytest.raises(ValueError, match=f"Owner: X must be finite, got {name}."):
        check_finite("Owner", "X", array)
