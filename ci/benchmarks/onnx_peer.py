"""ONNX Runtime: predictions of graphs written by hand.

Inputs are put into ONNX's own layouts before the clock starts.
"""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks import rows as table
from benchmarks.common import NotSupported, input_data

OPSET, IR_VERSION = 17, 8                               # old enough for any runtime of the last years
CELLS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}

# How ONNX Runtime says that an op has no kernel for a dtype: the name of its status code, or the op's own words.
NO_KERNEL = ("NOT_IMPLEMENTED", "does not support")


def axes(row, part):
    """Settings to choose from; the best is taken."""
    return [("call", ("run", "io binding"))]


class Graph:
    """Nodes and weights in the order in which layers add them."""

    def __init__(self, dtype):
        self.nodes, self.weights, self.value, self.dtype = [], [], "x", dtype
        self.rng = np.random.default_rng(0)

    def weight(self, *shape, fan_in=1):
        """A random weight's name."""
        name = f"w{len(self.weights)}"
        values = self.rng.standard_normal(shape) / np.sqrt(fan_in)
        self.weights.append(numpy_helper.from_array(values.astype(self.dtype), name))
        return name

    def constant(self, values):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values), name))
        return name

    def add(self, kind, *inputs, outputs=None, **attributes):
        """A node behind the last value."""
        y = f"y{len(self.nodes)}"
        names = [y if name is None else name for name in (outputs or [None])]
        self.nodes.append(helper.make_node(kind, [self.value, *inputs], names, **attributes))
        self.value = y


def model(row, n, dtype):
    """The row's network as an ONNX model for n samples."""
    graph = Graph(dtype)
    for layer, before, after in table.layer_shapes(row):
        kind, *numbers = layer
        if kind == "dense":
            graph.add("Gemm", graph.weight(before[0], after[0], fan_in=before[0]), graph.weight(after[0]))
        elif kind == "conv":
            filters, size, padding, _ = numbers
            W = graph.weight(filters, before[2], size, size, fan_in=before[2] * size**2)
            graph.add("Conv", W, graph.weight(filters), kernel_shape=[size, size], pads=[padding] * 4)
        elif kind == "flatten":
            graph.add("Flatten")
        elif kind in CELLS:
            units, width = numbers[0], numbers[0] * table.GATES[kind]
            options = {"linear_before_reset": 1} if kind == "gru" else {}   # torch's GRU and ldl_cy's
            graph.add(CELLS[kind], graph.weight(1, width, before[1], fan_in=before[1]),
                      graph.weight(1, width, units, fan_in=units), graph.weight(1, 2 * width),
                      outputs=["", None], hidden_size=units, **options)
            graph.add("Squeeze", graph.constant(np.array([0], np.int64)))
        else:
            pool = {"maxpool": "MaxPool", "avgpool": "AveragePool"}[kind]
            graph.add(pool, kernel_shape=numbers * 2, strides=numbers * 2)
        if kind in ("dense", "conv") and numbers[-1] is not None:
            graph.add({"relu": "Relu", "tanh": "Tanh"}[numbers[-1]])
    number = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    x = helper.make_tensor_value_info("x", number, place(np.empty((n, *row.shape), dtype), row).shape)
    y = helper.make_tensor_value_info(graph.value, number, [n, row.outputs])
    made = helper.make_model(
        helper.make_graph(graph.nodes, row.key, [x], [y], graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(made)
    return made


def place(X, row):
    """Rows in ONNX's layout: channels first, time first."""
    if row.images:
        return np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    return np.ascontiguousarray(X.transpose(1, 0, 2)) if row.recurrent else X


def prepare(row, part, dtype, threads, setting):
    """A function that predicts some times."""
    if part == "train":
        raise NotSupported("inference only")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    x = place(input_data(row, part, dtype), row)
    made = model(row, table.rows_of(row, part), dtype)
    try:
        session = onnxruntime.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        y = session.run(None, {"x": x})[0]
    except Exception as error:              # no common class: NotImplemented, Fail, RuntimeException
        if any(words in str(error) for words in NO_KERNEL):
            raise NotSupported(f"no {dtype} kernel for this network") from None
        raise
    if y.shape != (len(x) if not row.recurrent else x.shape[1], row.outputs) or not np.all(np.isfinite(y)):
        raise RuntimeError(f"onnxruntime: an output of shape {y.shape} that is not the network's.")
    if setting["call"] == "run":
        def run(count):
            for _ in range(count):
                session.run(None, {"x": x})
            return count

        return run
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def run(count):
        for _ in range(count):
            session.run_with_iobinding(binding)
        return count

    return run
