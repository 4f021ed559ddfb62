"""ONNX files that are damaged or hostile: a ValueError "from_onnx: ...", and no more memory than the file has bytes."""
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import graph, numbers

from ldl_cy import interop


def sound():
    return graph([("Gemm", "x W b", "h"), ("Relu", "h", "r"), ("MatMul", "r V", "y")], (3,),
                 {"W": numbers(3, 4), "b": numbers(4), "V": numbers(4, 2)})


def refuse(source, text):
    interop.from_onnx(sound())                  # what is imported for it is there from now on
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"^from_onnx: .*{text}"):
            interop.from_onnx(source)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content, text", [
    (b"", "must have 1 .. 2147483647 bytes, got 0"),
    (b"PK\x03\x04 no graph", "is not a readable ONNX file|must be of version"),
    (b"\x3a\xff\xff\xff\xff\x0f" + bytes(9), "is not a readable ONNX file"), (b"\x3a\x0a" * 3000, ""),
], ids=["empty", "another format", "a length beyond the end", "depth"])
def test_bytes(tmp_path, content, text):
    (tmp_path / "model.onnx").write_bytes(content)
    refuse(tmp_path / "model.onnx", text)


def test_a_file_that_ends_too_early(tmp_path):
    content = sound().SerializeToString()
    for end in range(0, len(content) - 1, 7):
        (tmp_path / "model.onnx").write_bytes(content[:end])
        refuse(tmp_path / "model.onnx", "")


def test_paths(tmp_path):
    with pytest.raises(ValueError, match=r"^from_onnx: path must be a file, got the folder"):
        interop.from_onnx(tmp_path)
    with pytest.raises(TypeError, match=r"^from_onnx: path_or_proto must be a path or an onnx.ModelProto, got 3"):
        interop.from_onnx(3)
    with pytest.raises(FileNotFoundError):
        interop.from_onnx(tmp_path / "none.onnx")


def test_other_files_are_not_opened(tmp_path):
    proto = sound()
    onnx.save(proto, tmp_path / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    refuse(tmp_path / "model.onnx", "the initializer 'W' must be in the file itself")
    (tmp_path / "weights").unlink()
    refuse(tmp_path / "model.onnx", "the initializer 'W' must be in the file itself")


def damage(change):
    proto = sound()
    change(proto, proto.graph.initializer[0], proto.graph.node)
    return proto


def set_dims(*dims):
    def change(proto, tensor, nodes):
        del tensor.dims[:]
        tensor.dims.extend(dims)
    return change


def as_floats(count):
    def change(proto, tensor, nodes):
        tensor.raw_data = b""
        tensor.float_data.extend([0.5] * count)
    return change


def cycle(proto, tensor, nodes):
    nodes[0].input[0] = "r"


CHANGES = {
    "more numbers than bytes": (set_dims(3, 400), "'W' must have 4800 bytes"),
    "2^62 numbers": (set_dims(2**31, 2**31), "'W' must have"), "no numbers": (set_dims(0, 4), "'W' must have 0 bytes"),
    "negative": (set_dims(-3, -4), "'W' must have a shape of ints >= 0"),
    "many axes": (set_dims(*[1] * 40), "'W' must have a shape"),
    "too few floats": (as_floats(5), "'W' must have 12 numbers"),
    "unknown type": (lambda proto, tensor, nodes: setattr(tensor, "data_type", 77), "numbers of a known type"),
    "text": (lambda proto, tensor, nodes: setattr(tensor, "data_type", TensorProto.STRING), "numbers of a known type"),
    "whole numbers": (lambda proto, tensor, nodes: setattr(tensor, "data_type", TensorProto.INT32),
                      "'Gemm_0'.*the weights must be constant numbers"),
    "NaN": (lambda proto, tensor, nodes: setattr(tensor, "raw_data", np.full(12, np.nan, "f4").tobytes()),
            "kernel of the node 'Gemm_0'"),
    "cycle": (cycle, "a graph must have no cycles"),
    "a value that is not there": (lambda proto, tensor, nodes: nodes[0].input.__setitem__(0, "z"), "got 'z'"),
    "a value twice": (lambda proto, tensor, nodes: nodes[0].output.__setitem__(0, "r"), "defined once, got 'r' twice"),
    "an input that is computed": (lambda proto, tensor, nodes: nodes[0].output.__setitem__(0, "x"), "got 'x' twice"),
    "two outputs": (lambda proto, tensor, nodes: proto.graph.output.add(name="r"), "must have one output"),
    "no output": (lambda proto, tensor, nodes: proto.graph.output.pop(), "must have one output"),
    "another output": (lambda proto, tensor, nodes: setattr(proto.graph.output[0], "name", "q"),
                       "compute its output 'q'"),
    "two inputs": (lambda proto, tensor, nodes: proto.graph.input.append(
        helper.make_tensor_value_info("z", TensorProto.FLOAT, (3,))), "must have one input"),
    "no input": (lambda proto, tensor, nodes: proto.graph.input.pop(), "must have an input"),
    "an input of any rank": (lambda proto, tensor, nodes: proto.graph.input[0].type.tensor_type.ClearField("shape"),
                             "must have a shape"),
    "axes of any length": (lambda proto, tensor, nodes: proto.graph.input[0].type.tensor_type.shape.dim[1].Clear(),
                           "must have fixed lengths"),
    "old": (lambda proto, tensor, nodes: setattr(proto.opset_import[0], "version", 5), "of version 7 .. "),
    "functions": (lambda proto, tensor, nodes: proto.functions.add(name="f"), "no functions of its own, got 'f'"),
    "another domain": (lambda proto, tensor, nodes: setattr(nodes[1], "domain", "com.example"),
                       r"'Relu_1' \(com\.example\.Relu\)"),
    "sparse": (lambda proto, tensor, nodes: proto.graph.sparse_initializer.add(), "the weights must be dense"),
    "a sequence": (lambda proto, tensor, nodes: proto.graph.input[0].type.ClearField("tensor_type"),
                   "must have numbers"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_protos(name):
    change, text = CHANGES[name]
    refuse(damage(change), text)


def test_a_hundred_thousand_nodes():
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(100_001)]
    value = helper.make_tensor_value_info
    proto = helper.make_model(helper.make_graph(
        nodes, "g", [value("v0", TensorProto.FLOAT, ("n", 3))], [value("v100001", TensorProto.FLOAT, None)]))
    with pytest.raises(ValueError, match=r"^from_onnx: a graph must have at most 100000 nodes"):
        interop.from_onnx(proto)
    del proto.graph.node[2000:]
    proto.graph.output[0].name = "v2000"
    assert len(interop.from_onnx(proto).layers) == 2000


def test_constants_that_grow():
    """A chain of Concat doubles what it reads; small files must not fill the memory."""
    lines = [("Concat", "c c", "c0", {"axis": 0})]
    lines += [("Concat", f"c{i} c{i}", f"c{i + 1}", {"axis": 0}) for i in range(40)]
    lines += [("MatMul", "x c40", "y")]
    proto = graph([("MatMul", "x c", "y")], (3,), {"c": numbers(3, 4)})
    del proto.graph.node[:]
    proto.graph.node.extend(helper.make_node(op, reads.split(), [gives], **rest[0] if rest else {})
                            for op, reads, gives, *rest in lines)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^from_onnx: the weights must not be many times as large as the file"):
            interop.from_onnx(proto)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_weights_that_are_used_again_and_again():
    lines = [("MatMul", "x W" if not i else f"v{i - 1} W", f"v{i}") for i in range(300)]
    proto = graph(lines, (300,), {"W": numbers(300, 300)}, outputs=("v299",))
    with pytest.raises(ValueError, match=r"^from_onnx: the weights must not be many times as large as the file"):
        interop.from_onnx(proto)
