"""The examples in the docstrings of what goes in and out run as they are."""
import doctest
import importlib

import pytest

MODULES = ["interop.onnx.export", "interop.onnx.load", "interop.skl2onnx", "interop.sklearn", "interop.torch", "models"]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    results = doctest.testmod(importlib.import_module(f"ldl_cy.{module}"))
    assert results.attempted > 0 and results.failed == 0
