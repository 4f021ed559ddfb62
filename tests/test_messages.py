"""Values in error messages: short, whatever they are."""
import sys

import numpy as np
import pytest

from ldl_cy import Sequential, layers, losses, optimizers, schedules
from ldl_cy.messages import LONGEST, MOST_ITEMS, cut, listed, shown


class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")


class LongRepr:
    def __repr__(self):
        return "x" * 10**7


def nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


class list_of_none(list):
    def __len__(self):
        raise ValueError("no length")


list_of_none.__name__ = "list"

ODD = {
    "digits": 10**5000, "digits in a list": [10**5000, -(10**5000)], "a million numbers": np.zeros(10**6),
    "a list of a million": [1] * 10**6, "nested": nested(10**5), "a word": "a" * 10**7, "no repr": NoRepr(),
    "no repr in a dict": {1: NoRepr()}, "long repr": LongRepr(), "objects": np.array([NoRepr()] * 3),
    "no length": list_of_none(),
    "set": set(range(10**5)), "bytes": b"a" * 10**7,
}


@pytest.mark.parametrize("value", [
    1, -3, 2.5, None, "a word", [1, 2], (3,), {"a": 1}, np.float32(2), np.arange(3), int])
def test_ordinary_values_are_shown_by_their_repr(value):
    assert shown(value) == repr(value)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_what_is_shown_is_short(value):
    assert 0 < len(shown(value)) <= 4 * LONGEST + 3


def test_an_int_that_python_does_not_write():
    assert shown(10**5000) == f"an int of {(10**5000).bit_length()} bits"
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert shown(10**700) == "an int of 2326 bits"
    finally:
        sys.set_int_max_str_digits(limit)


ARGUMENTS = {
    "units": lambda v: layers.Dense(v), "activation": lambda v: layers.Dense(1, v),
    "filters": lambda v: layers.Conv2D(v, 3),
    "kernel_size": lambda v: layers.Conv2D(1, v), "padding": lambda v: layers.Conv2D(1, 1, padding=v),
    "shape": lambda v: layers.Reshape(v), "build": lambda v: Sequential([layers.Dense(1)]).build(v),
    "layers": lambda v: Sequential([v]), "dtype": lambda v: Sequential([layers.Dense(1)], v),
    "seed": lambda v: Sequential([layers.Dense(1)], random_state=v), "name": lambda v: layers.Dense(1, name=v),
    "initializer": lambda v: layers.Dense(1, kernel_initializer=v), "rate": lambda v: layers.Dropout(v),
    "loss": lambda v: losses.get(v), "delta": lambda v: losses.Huber(v), "optimizer": lambda v: optimizers.get(v),
    "step": lambda v: schedules.Step(0.1, v), "momentum": lambda v: optimizers.SGD(0.1, momentum=v),
    "learning_rate": lambda v: optimizers.Adam(v), "ids": lambda v: layers.Embedding(v, 1),
    "epochs": lambda v: Sequential([layers.Dense(1)]).fit(np.ones((2, 1)), np.ones(2), loss="squared_error", epochs=v),
    "threads": lambda v: Sequential([layers.Dense(1)]).build(1).predict(np.ones((2, 1)), n_threads=v),
    "callbacks": lambda v: Sequential([layers.Dense(1)]).fit(
        np.ones((2, 1)), np.ones(2), loss="squared_error", callbacks=[v]),
    "load": lambda v: Sequential.load(v), "adopt": lambda v: Sequential([layers.Dense(1)]).adopt(v),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_messages_of_odd_values_are_short(argument, value):
    if argument == "name" and isinstance(value, str):
        return                      # a word, which the graph refuses
    with pytest.raises((TypeError, ValueError, OSError)) as info:
        ARGUMENTS[argument](value)
    assert (len(str(info.value)) < 2000 and "Exceeds the limit" not in str(info.value)) or argument == "load"


def test_strings_and_lists_of_them_are_cut():
    assert cut("kernel") == "kernel" and cut("k" * 10**6) == "k" * LONGEST + "..."
    assert listed(["a", "b"]) == "a, b" and listed([]) == ""
    assert listed(["a"] * (MOST_ITEMS + 3), "; ") == "; ".join(["a"] * MOST_ITEMS) + " and 3 more"
