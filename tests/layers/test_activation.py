"""Every activation against its NumPy formula."""
import re

import numpy as np
import pytest
from contract import CHECKS, DTYPES, LayerCase
from references import activate

from ldl_cy import CNNClassifier, MLPClassifier, Sequential
from ldl_cy.layers import GRU, RNN, Activation, Bidirectional, Conv1D, Conv2D, Dense, Reshape
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


def test_names_of_numpy():
    """np.str_ is a str: what a search over an array of names hands on."""
    relu, same = np.array(["relu", "same"])
    stack = [Conv2D(2, 1, padding=same, activation=relu, algorithm=np.str_("direct")), Reshape((4, 2)),
             Conv1D(2, 1, padding=same, activation=relu), Bidirectional(GRU(2, return_sequences=True), np.str_("sum")),
             RNN(2, relu), Dense(2, np.str_("swish")), Activation(relu)]
    model = Sequential(stack, dtype=np.str_("float64"), random_state=0).build((2, 2, 1))
    assert model.dtype == "float64" and type(model.dtype) is str
    X, y = np.random.default_rng(0).standard_normal((6, 4)), np.arange(6) % 2
    assert model.predict(X.reshape(6, 2, 2, 1)).shape == (6, 2)
    for kind in (MLPClassifier, CNNClassifier):
        expected, found = (kind(activation=name, solver=solver, max_iter=2, random_state=0).fit(X, y).predict_proba(X)
                           for name, solver in (("relu", "adam"), (relu, np.str_("adam"))))
        np.testing.assert_array_equal(found, expected)


def test_the_docstring_names_every_activation():
    assert [name for name in ACTIVATIONS if not re.search(rf"\b{name}\b", Activation.__doc__)] == []
