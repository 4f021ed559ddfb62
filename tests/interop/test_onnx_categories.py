"""Tables of categories in ONNX graphs: what is written, what is read, and what is refused."""
import numpy as np
import pytest
from onnx import TensorProto
from onnx_graphs import graph, numbers
from onnx_reference import run

from ldl_cy import Sequential, interop, layers

INT64 = {"to": TensorProto.INT64}
LINES = [
    ("Gather", "x numbers", "n", {"axis": 1}),
    ("Gather", "x second", "b", {"axis": 1}), ("Cast", "b", "j", INT64), ("Gather", "B j", "v"),
    ("Gather", "x first", "a", {"axis": 1}), ("Cast", "a", "i", INT64), ("Gather", "A i", "u"),
    ("Concat", "n v u", "y", {"axis": 1})]
CONSTANTS = {"numbers": np.array([1, 3]), "first": np.array(0), "second": np.array(-2), "A": numbers(3, 2),
             "B": numbers(5, 4)}


def changed(at, line, **constants):
    return [*LINES[:at], line, *LINES[at + 1:]], {**CONSTANTS, **constants}


def test_columns_of_a_graph():
    proto = graph(LINES, (4,), CONSTANTS)
    model = interop.from_onnx(proto)
    layer, = model.layers
    assert layer == layers.CategoryEmbedding((2, 0), (5, 3), (4, 2))
    x = np.array([[0, 0.5, 4, -1], [2, 2, 0, 7]], np.float32)
    np.testing.assert_array_equal(model.predict(x), run(proto, x=x)[0])


def test_no_numbers():
    lines = [*LINES[1:7], ("Concat", "v u", "y", {"axis": -1})]
    proto = graph(lines, (2,), {**CONSTANTS, "second": np.array(1)})
    model = interop.from_onnx(proto)
    assert model.layers == (layers.CategoryEmbedding((1, 0), (5, 3), (4, 2)),)
    x = np.array([[0, 4], [2, 1]], np.float32)
    np.testing.assert_array_equal(model.predict(x), run(proto, x=x)[0])


def test_what_is_written_is_read_again():
    """The mean of a table is a row there, so that codes of unknown categories are those of one more."""
    stack = [layers.CategoryEmbedding([0, 2], [3, 4], names=["city", "job"]), layers.Dense(2)]
    model = Sequential(stack, random_state=0).build(4)
    model.state["category_embedding_0.city.counts"][:] = 5, 1, 0
    proto = interop.to_onnx(model)
    assert sorted(tensor.name for tensor in proto.graph.initializer if "table" in tensor.name) == [
        "category_embedding_0.city.table", "category_embedding_0.job.table"]
    x = np.array([[3, 0.5, 4, -1], [2, 2, 0, 7], [3, 1, 1, 1]], np.float32)
    again = interop.from_onnx(proto)
    assert again.layers[0].input_dims == (4, 5)
    for found in (run(proto, x=x)[0], again.predict(x)):
        np.testing.assert_allclose(found, model.predict(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("lines, constants", [
    changed(7, ("Concat", "v n u", "y", {"axis": 1})),                              # numbers behind vectors
    changed(7, ("Concat", "n v v", "y", {"axis": 1})),                              # a column twice
    changed(7, ("Concat", "n v u", "y", {"axis": 1}), numbers=np.array([3, 1])),    # in another order
    changed(7, ("Concat", "n v u", "y", {"axis": 1}), numbers=np.array([1])),       # one is left out
    changed(7, ("Concat", "n v u", "y", {"axis": 1}), second=np.array(1)),          # numbers that are also codes
    changed(7, ("Concat", "n n u", "y", {"axis": 1})),
    changed(7, ("Add", "v u", "y"), A=numbers(5, 4)),
    changed(6, ("Gather", "A i", "u", {"axis": 1}), A=numbers(3, 2, 1)),
], ids=str)
def test_what_is_no_table(lines, constants):
    proto = graph(lines, (4,), constants)
    with pytest.raises(ValueError, match="from_onnx: "):
        interop.from_onnx(proto)
