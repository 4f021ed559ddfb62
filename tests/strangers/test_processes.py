"""The helper of this folder: what crashes or hangs is seen."""
import ctypes
import time

import pytest
from strangers import run, run_all


def returns(x):
    return [x, 2 * x]


def refuses(x):
    raise ValueError(f"Sequential: x must be less, got {x}.")


def crashes(x):
    if x:
        ctypes.string_at(0)
    return x


def hangs():
    time.sleep(1000)




def test_a_result_and_a_sentence():
    assert run(returns, 3).result() == [3, 6]
    assert run(refuses, 3).says("ValueError", "Sequential: x must be less")
    with pytest.raises(AssertionError, match="Sequential: x must be"):
        run(refuses, 3).result()
    assert [ended.value for ended in run_all(crashes, [[0], [0]])] == [0, 0]


def test_a_crash_and_a_hang_are_seen():
    with pytest.raises(AssertionError, match=r"crashes: \[1\] ended the process"):
        run_all(crashes, [[0], [1], [0]])
    with pytest.raises(AssertionError, match="did not end within 1 s"):
        run(hangs, seconds=1)
