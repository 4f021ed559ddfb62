"""All that a model is, to be compared to the bit."""
from __future__ import annotations

from typing import Any

from ldl_cy import Sequential


def state_of(model: Sequential) -> dict[str, Any]:
    """Description, layers, and the bytes of the weights, the running statistics and the optimizer's vectors."""
    state = model.__getstate__()
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in state.get("arrays", {}).items()}
    return {**state["described"], "layers": repr(state["layers"]), **arrays}


def check_same(a: Sequential, b: Sequential) -> None:
    """Two models that are the same to the bit."""
    one, other = state_of(a), state_of(b)
    assert one.keys() == other.keys()
    assert not [name for name in one if one[name] != other[name]]
