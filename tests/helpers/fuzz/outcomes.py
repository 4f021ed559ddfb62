"""What a call may end with: a result, or an error that says who refuses what."""
from __future__ import annotations

import re
import tracemalloc
import warnings

import numpy as np

FORM = re.compile(r"[A-Za-z_][\w.]*( [a-z_]+)?: \S")
REFUSALS = (TypeError, ValueError, FloatingPointError)


class Refused(str):
    """The message of an error in the project's form."""


def attempt(call, form=FORM, silenced=()):
    """The result of a call, or its refusal; any other exception, message or warning is a fault of the library's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for category in silenced:
            warnings.simplefilter("ignore", category)
        try:
            return call()
        except REFUSALS as error:
            if not form.match(str(error)):
                raise AssertionError(f"not in the project's form: {type(error).__name__}: {error}") from error
            return Refused(f"{type(error).__name__}: {error}")


def measured(call, form=FORM, watching=None):
    """``attempt``, and the bytes of memory that it took at most; the list ``watching`` is not empty meanwhile."""
    tracemalloc.start()
    if watching is not None:
        watching.append(True)
    try:
        found = attempt(call, form)
    finally:
        if watching is not None:
            watching.clear()
        largest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found, largest


def bytes_of(value):
    """Something that compares as an array's numbers do, bit by bit."""
    array = np.array(value)
    return repr(array.tolist()) if array.dtype.char == "g" else array.tobytes()     # those have bytes without meaning


def equal(a, b):
    """Equal to the bit, dtype and shape included."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def everything(model):
    """All that a model is, as something that compares."""

    state = model.__getstate__()
    arrays = {name: (a.shape, a.tobytes()) for name, a in state.get("arrays", {}).items()}
    described = state["described"]
    memory = {name: float(value) for name, value in described.get("memory", {}).items()}
    return repr({**described, "memory": memory}), arrays
