"""Graphs as chains with branches: values that separate and meet again, and what is refused."""
import numpy as np
import pytest

from ldl_cy import layers
from ldl_cy.interop.assembly import Imported, assemble, branch
from ldl_cy.interop.chains import Node, as_chain
from ldl_cy.interop.parts import parts


def dense(n_in, units, seed=0):
    rng = np.random.default_rng(seed)
    return Imported(layers.Dense(units), {"kernel": rng.standard_normal((n_in, units)), "bias": np.zeros(units)},
                    f"layer 'dense {seed}'")


def activation():
    return Imported(layers.Activation("tanh"), {}, "an activation")


def node(*inputs, made=None, source="a node"):
    return Node(inputs, made or activation(), source)


def test_nested_branches():
    """x -> a -> Add(a, Concatenate(b(a), c(b(a)))), whose inner paths separate at b."""
    nodes = {
        "a": node("x", made=dense(3, 4, 1)), "b": node("a", made=dense(4, 2, 2)), "c": node("b", made=dense(2, 2, 3)),
        "both": node("b", "c", made=layers.Concatenate), "y": node("a", "both", made=layers.Add),
        "unused": node("a")}
    model = assemble("test", as_chain("test", nodes, "x", "y"), (3,), "float64")
    first, added = model.layers
    assert added.paths[0] == [] and type(added.paths[1][1]) is layers.Concatenate
    W1, W2, W3 = (nodes[v].made.weights["kernel"] for v in "abc")
    x = np.random.default_rng(4).standard_normal((5, 3))
    a = x @ W1
    b = a @ W2
    np.testing.assert_allclose(model.predict(x), a + np.concatenate([b, b @ W3], 1), rtol=1e-12)


def test_one_value_twice():
    model = assemble("test", as_chain("test", {"y": node("x", "x", made=layers.Add)}, "x", "y"), (3,))
    np.testing.assert_array_equal(model.predict(np.ones((2, 3))), np.full((2, 3), 2))


def test_a_long_chain_is_no_recursion():
    n = 30_000                  # also where each node would cost time in proportion to those before it
    nodes = {f"v{i + 1}": node(f"v{i}") for i in range(n)}
    assert len(as_chain("test", nodes, "v0", f"v{n}")) == n


@pytest.mark.parametrize("nodes, text", [
    ({"a": node("x", made=dense(3, 3), source="layer 'a'"), "b": node("a"), "c": node("x"),
      "ab": node("a", "c", made=layers.Add), "y": node("b", "ab", made=layers.Add)},
     "layer 'a' must be in one path of a branch, got several"),
    ({"y": node("z")}, "computed from the input 'x', got 'z'"),
    ({"y": node("z"), "z": node("y", source="layer 'z'")}, "no cycles, got one at"),
    ({}, "computed from the input 'x', got 'y'"),
], ids=["paths that cross", "another input", "cycle", "no output"])
def test_refused(nodes, text):
    with pytest.raises(ValueError, match=f"test: .*{text}"):
        as_chain("test", nodes, "x", "y")


def test_parts_are_what_was_assembled():
    inner = branch(layers.Add, [[dense(3, 3, 1), activation()], []], "a block", "block")
    model = assemble("test", [dense(2, 3), inner], (2,))
    first, block = parts(model.network)
    assert (first.name, first.input_shape, first.output_shape) == ("dense_0", (2,), (3,))
    assert block.name == "block" and block.paths[1] == ()
    np.testing.assert_array_equal(block.paths[0][0].weights["kernel"], model.parameters["block.0.dense_0.kernel"])


@pytest.mark.parametrize("weights, text", [
    ({"kernel": np.zeros((2, 3))}, "must have dense_0.bias, which is missing"),
    ({"kernel": np.zeros((3, 2)), "bias": np.zeros(3)}, r"shape \(2, 3\), got \(3, 2\)"),
    ({"kernel": np.full((2, 3), np.nan), "bias": np.zeros(3)}, "must be finite, got NaN"),
    ({"kernel": np.full((2, 3), 1e300), "bias": np.zeros(3)}, "must fit into float32"),
    ({"kernel": np.zeros((2, 3)), "bias": np.zeros(3), "scale": np.zeros(3)}, "weights of its layer only, got"),
], ids=["missing", "shape", "NaN", "overflow", "unexpected"])
def test_weights_that_do_not_fit(weights, text):
    with pytest.raises(ValueError, match=f"test: .*{text}"):
        assemble("test", [Imported(layers.Dense(3), weights, "layer 'd'")], (2,))
