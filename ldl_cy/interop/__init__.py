"""Weights and networks in and out: torch, Keras, scikit-learn and ONNX. Each function imports its package when called.

    from_torch  from_keras  from_sklearn  from_onnx           to_torch  to_keras  to_sklearn  to_onnx
              \\      |           |       /                            \\     |         |     /
               chains   (a graph of nodes -> branches)                   parts   (layers with their weights)
               assembly (layers and weights -> Sequential)                 |
                              \\________________ Sequential _______________/

Every mapping is a file of its own: what a layer is called there, how its weights are laid out, and what has no
counterpart, which is refused by name before anything is built.
"""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# where each function is defined
_ROOMS: dict[str, str] = {
    "from_keras": "keras", "to_keras": "keras",
    "from_onnx": "onnx.load", "to_onnx": "onnx.export", "register_skl2onnx": "skl2onnx",
    "from_sklearn": "sklearn", "to_sklearn": "sklearn",
    "from_torch": "torch", "load_torch": "torch", "to_torch": "torch", "torch_state_dict": "torch",
}

__all__ = [
    "from_keras", "from_onnx", "from_sklearn", "from_torch", "load_torch", "register_skl2onnx", "to_keras", "to_onnx",
    "to_sklearn", "to_torch", "torch_state_dict"]

if TYPE_CHECKING:
    from ldl_cy.interop.keras import from_keras as from_keras
    from ldl_cy.interop.keras import to_keras as to_keras
    from ldl_cy.interop.onnx.export import to_onnx as to_onnx
    from ldl_cy.interop.onnx.load import from_onnx as from_onnx
    from ldl_cy.interop.skl2onnx import register_skl2onnx as register_skl2onnx
    from ldl_cy.interop.sklearn import from_sklearn as from_sklearn
    from ldl_cy.interop.sklearn import to_sklearn as to_sklearn
    from ldl_cy.interop.torch import from_torch as from_torch
    from ldl_cy.interop.torch import load_torch as load_torch
    from ldl_cy.interop.torch import to_torch as to_torch
    from ldl_cy.interop.torch import torch_state_dict as torch_state_dict
else:       # hidden from type checkers, which accept any name of a module that has a __getattr__
    def __getattr__(name):
        if name not in _ROOMS:
            raise AttributeError(f"module 'ldl_cy.interop' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"ldl_cy.interop.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
