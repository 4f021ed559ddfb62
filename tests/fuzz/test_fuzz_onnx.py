"""Files that are not, or no longer, ONNX graphs: a ValueError, little memory, and no other file is opened."""
from __future__ import annotations

import re
import sys

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'fuzz' brings hypothesis, which draws the examples")
pytest.importorskip("onnx", reason="the extra 'fuzz' brings onnx, which reads and writes the graphs")

import onnx
from fuzz.damage import damaged
from fuzz.outcomes import Refused, attempt, measured
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from ldl_cy import MLPClassifier, Sequential, interop, layers

FORM = re.compile(r"from_onnx: ")
LARGEST = 1 << 23                   # bytes that reading a file of some kB may take
INTS = [-2**63, -2**31, -2, -1, 0, 1, 2, 3, 7, 1000, 2**31 - 1, 2**31, 2**62, 2**63 - 1]
FLOATS = [-1.0, 0.0, 0.5, 1e30, float("nan"), float("inf")]
STRINGS = [b"", b"x", b"SAME_UPPER", b"bidirectional", b"Relu", b"\xff\xfe", b"constant"]
OPS = ["Add", "Mul", "Sub", "Div", "Pow", "Conv", "MatMul", "Gemm", "Reshape", "Transpose", "Flatten", "Concat",
       "Gather", "Slice", "Squeeze", "Unsqueeze", "Softmax", "Pad", "MaxPool", "AveragePool", "ReduceMean",
       "ReduceMax", "Shape", "Expand", "ConstantOfShape", "Constant", "Cast", "Clip", "LSTM", "GRU", "RNN", "PRelu",
       "LayerNormalization", "BatchNormalization", "Where", "Identity", "If", "Sum", "ReduceSum", "GlobalAveragePool",
       "ReverseSequence", "Scan"]
OPENED: list[str] = []
WATCHING: list[bool] = []


def watch(event, arguments):
    """Names of files that are opened."""
    if WATCHING and event == "open":
        OPENED.append(str(arguments[0]))


sys.addaudithook(watch)


@pytest.fixture(scope="module")
def protos():
    """Graphs of images, sequences and vectors, with branches."""
    found = []
    for lengths, stack, shape in (
        (False, [layers.Conv2D(4, 3, padding="same", activation="silu"), layers.BatchNorm(),
                 layers.MaxPool2D(2, padding=1), layers.Add([layers.Conv2D(4, 1)], []), layers.Flatten(),
                 layers.Dense(3, "softmax")], (5, 6, 2)),
        (False, [layers.Bidirectional(layers.GRU(3, return_sequences=True)), layers.LSTM(2, return_sequences=True),
                 layers.LayerNorm(axis=1), layers.RNN(2, go_backwards=True)], (4, 3)),
        (False, [layers.Embedding(7, 3), layers.ZeroPadding1D(1), layers.PReLU(1), layers.Permute((2, 1)),
                 layers.Concatenate([layers.Dense(2, "gelu")], []), layers.GlobalMaxPool1D()], (4,)),
        (True, [layers.Bidirectional(layers.RNN(2, "gelu", return_sequences=True)), layers.LayerNorm(axis=1),
                layers.MaxPool1D(3, 1, "same"), layers.AvgPool1D(3, 1, "same"), layers.RNN(2, "mish")], (4, 3)),
    ):
        found.append(interop.to_onnx(Sequential(stack, random_state=0).build(shape), lengths=lengths))
        interop.from_onnx(found[-1])                # what is imported for it is there from now on
    X = np.random.default_rng(0).standard_normal((9, 3))
    for y in (["a", "b", "c"] * 3, X[:, 0] > 0):
        clf = MLPClassifier((4,), solver="lbfgs", max_iter=2, random_state=0)
        with pytest.warns(ConvergenceWarning):
            found.append(interop.to_onnx(clf.fit(X, y)))
        interop.from_onnx(found[-1])
    return found


def check(tally, kind, content, path):
    """Read a file; a model that comes out is one, if it is not too large."""
    path.write_bytes(content)
    OPENED.clear()
    model, largest = measured(lambda: interop.from_onnx(path), FORM, WATCHING)
    tally(kind, "refused" if isinstance(model, Refused) else "read")
    assert set(OPENED) <= {str(path)}
    assert largest < LARGEST
    if not isinstance(model, Refused) and max(model.network.graph.sizes, default=0) < 1 << 16:
        rows = np.zeros((2, *model.input_shape))
        assert attempt(lambda: model.predict(rows), re.compile("")) is not None


@given(st.integers(0, 5), st.data())
def test_bytes(tally, protos, tmp_path_factory, which, data):
    """Cut, flipped, overwritten, repeated."""
    content = damaged(protos[which].SerializeToString(), data)
    check(tally, "damaged graphs", content, tmp_path_factory.mktemp("fuzz") / "model.onnx")


@given(st.binary(max_size=300))
def test_any_bytes(tally, tmp_path_factory, content):
    check(tally, "graphs of any bytes", content, tmp_path_factory.mktemp("fuzz") / "model.onnx")


def change_node(draw, graph):
    """Another operator, other inputs or attributes."""
    node = draw(st.sampled_from(list(graph.node)))
    how = draw(st.sampled_from(["op", "input", "no input", "more inputs", "attribute", "attribute", "no attribute"]))
    names = [value for each in graph.node for value in (*each.input, *each.output)] + [""]
    if how == "op":
        node.op_type = draw(st.sampled_from(OPS))
    elif how == "input" and node.input:
        node.input[draw(st.integers(0, len(node.input) - 1))] = draw(st.sampled_from(names))
    elif how == "no input" and node.input:
        del node.input[-1]
    elif how == "more inputs":
        node.input.append(draw(st.sampled_from(names)))
    elif node.attribute:
        attribute = draw(st.sampled_from(list(node.attribute)))
        if how == "no attribute":
            node.attribute.remove(attribute)
            return
        value = draw(st.one_of(
            st.sampled_from(INTS), st.sampled_from(FLOATS), st.sampled_from(STRINGS),
            st.lists(st.sampled_from(INTS), min_size=1, max_size=5), st.lists(st.sampled_from(FLOATS), min_size=1),
            st.lists(st.sampled_from(STRINGS), min_size=1, max_size=3)))
        attribute.CopyFrom(onnx.helper.make_attribute(attribute.name, value))


def change_tensor(draw, graph):
    """Another shape, type, number of bytes, place, or other numbers."""
    if not graph.initializer:
        return
    tensor = draw(st.sampled_from(list(graph.initializer)))
    how = draw(st.sampled_from(["shape", "type", "bytes", "numbers", "outside", "ints"]))
    if how == "shape":
        del tensor.dims[:]
        tensor.dims.extend(draw(st.lists(st.sampled_from(INTS), max_size=5)))
    elif how == "type":
        tensor.data_type = draw(st.integers(0, 30))
    elif how == "bytes":
        tensor.raw_data = tensor.raw_data[:draw(st.integers(0, 64))]
    elif how == "numbers":
        size = len(tensor.raw_data) // 4
        tensor.raw_data = np.full(size, draw(st.sampled_from(FLOATS)), "f4").tobytes()
    elif how == "outside":
        tensor.data_location = 1
        tensor.external_data.add(key="location", value=draw(st.sampled_from(["/etc/passwd", "../x", "weights"])))
    else:
        new = onnx.numpy_helper.from_array(np.array(draw(st.lists(st.sampled_from(INTS), max_size=5)), "i8"))
        new.name = tensor.name
        tensor.CopyFrom(new)


def change_graph(draw, graph):
    """Nodes left out or doubled, other inputs and outputs."""
    how = draw(st.sampled_from(["remove", "double", "input", "output", "axes", "type", "subgraph"]))
    node = draw(st.sampled_from(list(graph.node)))
    if how == "remove":
        graph.node.remove(node)
    elif how == "double":
        graph.node.append(node)
    elif how == "input":
        graph.input.append(draw(st.sampled_from([*graph.input, *graph.output])))
    elif how == "output":
        graph.output[0].name = draw(st.sampled_from([name for each in graph.node for name in each.output]))
    elif how == "axes":
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[draw(st.integers(0, len(dims) - 1))].dim_value = draw(st.sampled_from(INTS))
    elif how == "type":
        graph.input[0].type.tensor_type.elem_type = draw(st.integers(0, 20))
    else:
        inner = onnx.helper.make_graph([], "inner", [], [])
        node.attribute.append(onnx.helper.make_attribute("body", inner))


@given(st.integers(0, 5), st.data())
def test_protos(tally, protos, tmp_path_factory, which, data):
    """Graphs that are sound protobuf."""
    proto = onnx.ModelProto()
    proto.CopyFrom(protos[which])
    for _ in range(data.draw(st.integers(1, 3))):
        if proto.graph.node:
            bodies = [each.g for node in proto.graph.node for each in node.attribute if each.g.node and each.g.input]
            graph = data.draw(st.sampled_from([proto.graph, *bodies]))
            data.draw(st.sampled_from([change_node, change_node, change_tensor, change_graph]))(data.draw, graph)
    check(tally, "changed graphs", proto.SerializeToString(), tmp_path_factory.mktemp("fuzz") / "model.onnx")
