"""Every activation against its NumPy formula."""
import re

import pytest
from contract import CHECKS, DTYPES, LayerCase
from references import activate

from ldl_cy.layers import Activation
from ldl_cy.layers.activation import ACTIVATIONS

CASES = [
    *[LayerCase(name, Activation(name), (7,), lambda p, x, name=name: activate(name, x)) for name in ACTIVATIONS],
    *[LayerCase(f"{name} image", Activation(name), (3, 2, 5), lambda p, x, name=name: activate(name, x))
      for name in ACTIVATIONS],
    LayerCase("slope", Activation("leaky_relu", 0.3), (4,), lambda p, x: x * (1 - 0.7 * (x < 0))),
    LayerCase("alias", Activation("swish"), (1,), lambda p, x: activate("silu", x)),
    LayerCase("hard alias", Activation("hard_swish"), (2,), lambda p, x: activate("hard_silu", x)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize(("arguments", "message"), [
    (("rellu",), "Activation: activation must be None or one of"),
    ((3,), "Activation: activation must be None or one of"),
    (("leaky_relu", "a"), "Activation: negative_slope must be a number >= 0, got 'a'."),
    (("leaky_relu", -0.1), "Activation: negative_slope must be a number >= 0, got -0.1."),
    (("leaky_relu", float("nan")), "Activation: negative_slope must be a number >= 0, got nan."),
])
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Activation(*arguments)
    assert str(error.value).startswith(message)


def test_the_docstring_names_every_activation():
    assert [name for name in ACTIVATIONS if not re.search(rf"\b{name}\b", Activation.__doc__)] == []
