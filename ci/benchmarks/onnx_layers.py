"""The layers of a row as a graph of ONNX, with the weights that all contenders have.

ONNX has images as (n, c, h, w), series as (n, c, time) and, for its recurrent ops, sequences as (time, n, features).
"""
from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import benchmarks.layers as described
from benchmarks.weights import channels_first, draw

OPSET, IR_VERSION = 17, 8                               # old enough for any runtime of the last years
CELLS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
# places of the gates' columns in ldl_cy's order: ONNX has i o f g and z r n
GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}


class Graph:
    """Nodes and constants in the order in which layers add them; ``value`` is the last one's output."""

    def __init__(self, row, dtype):
        self.weights, self.dtype = iter(draw(row, dtype)), dtype
        self.nodes, self.constants, self.value = [], [], "x"
        self.flattened = None                           # the shape of the images that the last Flatten has read

    def constant(self, values):
        """The name of an array that the graph holds."""
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind, *inputs, place=0, outputs=1, **attributes):
        """A node on the last value and ``inputs``; of several outputs, the one in ``place`` is the next value."""
        names = [f"y{len(self.nodes)}" if i == place else "" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, [self.value, *inputs], names, **attributes))
        self.value = names[place]

    def activated(self, name):
        if name == "gelu":                              # Gelu is an op from opset 20 on; the runtime fuses these
            x = self.value
            self.add("Div", self.constant(np.array(2**0.5, self.dtype)))
            self.add("Erf")
            self.add("Add", self.constant(np.array(1, self.dtype)))
            self.add("Mul", x)
            self.add("Mul", self.constant(np.array(0.5, self.dtype)))
        elif name is not None:
            self.add({"relu": "Relu", "tanh": "Tanh"}[name])

    def stack(self, network, shape):
        for layer in network:
            self.layer(layer, shape)
            shape = layer.after(shape)

    def layer(self, layer, shape):
        """The nodes of one description."""
        match layer:
            case described.Dense(_, activation):
                self.dense(activation)
            case described.Conv():
                self.convolution(layer, len(shape) - 1)
            case described.BatchNorm(epsilon):
                zeros = np.zeros(shape[-1], self.dtype)
                self.add("BatchNormalization", *self.scale_and_shift(), self.constant(zeros),
                         self.constant(zeros + 1), epsilon=epsilon)
            case described.LayerNorm(epsilon):
                self.add("LayerNormalization", *self.scale_and_shift(), epsilon=epsilon)
            case described.Activation(name):
                self.activated(name)
            case described.Pool(kind, size, _, padding):
                axes = len(shape) - 1
                self.add({"max": "MaxPool", "mean": "AveragePool"}[kind], kernel_shape=[size] * axes,
                         strides=[layer.step] * axes, pads=[padding] * 2 * axes)
            case described.GlobalMean():
                self.add("GlobalAveragePool")
                self.add("Flatten")
            case described.Flatten():
                self.flattened = shape
                self.add("Flatten")
            case described.Embedding():
                x, self.value = self.value, self.constant(next(self.weights)["embeddings"])
                self.add("Gather", x)
            case described.Recurrent():
                self.recurrent(layer)
            case described.Widen(channels):
                starts, ends, axes, steps = ([0, 0], [10**6] * 2, [2, 3], [2, 2])
                self.add("Slice", *(self.constant(np.array(v, np.int64)) for v in (starts, ends, axes, steps)))
                self.add("Pad", self.constant(np.array([0, channels, 0, 0] * 2, np.int64)))
            case described.Branches(paths):
                self.branches(layer, paths, shape)
            case _:
                raise TypeError(f"no node for {layer!r}")

    def dense(self, activation):
        given = next(self.weights)
        kernel = given["kernel"]
        if self.flattened is not None:
            kernel = channels_first(kernel, self.flattened)
            self.flattened = None
        self.add("Gemm", self.constant(kernel), self.constant(given["bias"]))
        self.activated(activation)

    def scale_and_shift(self):
        given = next(self.weights)
        return self.constant(given["gamma"]), self.constant(given["beta"])

    def convolution(self, layer, axes):
        given = next(self.weights)
        inputs = [self.constant(np.moveaxis(given["kernel"], (-1, -2), (0, 1)))]
        if layer.bias:
            inputs.append(self.constant(given["bias"]))
        before, after = layer.padding
        self.add("Conv", *inputs, kernel_shape=[layer.size] * axes, strides=[layer.stride] * axes,
                 dilations=[layer.dilation] * axes, group=layer.groups, pads=[before] * axes + [after] * axes)
        self.activated(layer.activation)

    def recurrent(self, layer):
        """One node for both directions; states of every step, or the last."""
        given, n = next(self.weights), layer.units
        ways = ("forward.", "backward.") if layer.both else ("",)
        W, U, b = [], [], []
        for way in ways:
            one = {name.removeprefix(way): array for name, array in given.items() if name.startswith(way)}
            columns = np.concatenate([np.arange(g * n, (g + 1) * n) for g in GATES[layer.cell]])
            second = np.zeros_like(one["bias"])
            if layer.cell == "gru":
                second[2 * n:] = one["recurrent_bias"]
            W.append(one["kernel"].T[columns])
            U.append(one["recurrent_kernel"].T[columns])
            b.append(np.concatenate([one["bias"][columns], second[columns]]))
        options = {"linear_before_reset": 1} if layer.cell == "gru" else {}     # torch's GRU and ldl_cy's
        self.add(CELLS[layer.cell], *(self.constant(np.stack(each)) for each in (W, U, b)), hidden_size=n,
                 direction="bidirectional" if layer.both else "forward", place=0 if layer.sequences else 1, outputs=2,
                 **options)
        # (time, directions, n, units) or (directions, n, units)
        if layer.sequences:
            self.add("Transpose", perm=[0, 2, 1, 3])
            self.add("Reshape", self.constant(np.array([0, 0, -1], np.int64)))
        else:
            self.add("Transpose", perm=[1, 0, 2])
            self.add("Flatten")

    def branches(self, layer, paths, shape):
        x, values = self.value, []
        for path in paths:
            self.value = x
            self.stack(path, shape)
            values.append(self.value)
        self.value = values[0]
        if isinstance(layer, described.Add):
            for value in values[1:]:
                self.add("Add", value)
        else:
            self.add("Concat", *values[1:], axis=1)


def model(row, shape, n, dtype):
    """The row's network as an ONNX model for n samples, which are an array of this shape together."""
    graph = Graph(row, dtype)
    graph.stack(row.network, row.shape)
    number = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    x = helper.make_tensor_value_info("x", TensorProto.INT64 if row.tokens else number, shape)
    y = helper.make_tensor_value_info(graph.value, number, [n, row.outputs])
    made = helper.make_model(
        helper.make_graph(graph.nodes, row.key, [x], [y], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(made)
    return made
