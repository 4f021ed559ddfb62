"""ONNX graphs written in lines: (operator, names that it reads, names that it gives, attributes)."""
from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def graph(lines, shape, constants=None, *, opset=18, dtype=TensorProto.FLOAT, outputs=("y",), inputs=None):
    """A ModelProto that reads x of (n, *shape); an int in place of "n" fixes the batch."""
    nodes = [helper.make_node(op, reads.split(" ") if reads else [], gives.split(" "), name=f"{op}_{i}", **attributes)
             for i, (op, reads, gives, attributes) in enumerate((*line, {})[:4] for line in lines)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    given = [helper.make_tensor_value_info("x", dtype, shape if shape and shape[0] == "n" else ("n", *shape))]
    given = inputs or given
    results = [helper.make_tensor_value_info(name, dtype if dtype != TensorProto.INT64 else TensorProto.FLOAT, None)
               for name in outputs]
    model = helper.make_model(helper.make_graph(nodes, "a graph", given, results, tensors),
                              opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)     # the checker wants the shape of the output


def numbers(*shape, seed=0, dtype="float32"):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def channels_last(x):
    return np.moveaxis(x, 1, -1)
