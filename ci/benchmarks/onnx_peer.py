"""ONNX Runtime: predictions of the graphs of onnx_layers.py.

Inputs are put into ONNX's own layouts before the clock starts.
"""
from __future__ import annotations

import numpy as np
import onnxruntime

from benchmarks.common import NotSupported, input_data
from benchmarks.onnx_layers import model
from benchmarks.row import rows_of

# How ONNX Runtime says that an op has no kernel for a dtype: the name of its status code, or the op's own words.
NO_KERNEL = ("NOT_IMPLEMENTED", "does not support")


def place(X, row):
    """Rows in ONNX's layout: channels first, time first."""
    if row.images:
        return np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    if row.series:
        return np.ascontiguousarray(X.transpose(0, 2, 1))
    return np.ascontiguousarray(np.swapaxes(X, 0, 1)) if row.recurrent else X


def outputs(row, dtype, setting):
    """The network's outputs for the rows of a prediction, (n, outputs)."""
    return open_session(row, "inference", dtype, 1)[2]


def open_session(row, part, dtype, threads):
    """(session, input, outputs of a first run)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    x = place(input_data(row, part, dtype), row)
    n = rows_of(row, part)
    made = model(row, x.shape, n, dtype)
    try:
        session = onnxruntime.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        y = session.run(None, {"x": x})[0]
    except Exception as error:              # no common class: NotImplemented, Fail, RuntimeException
        if any(words in str(error) for words in NO_KERNEL):
            raise NotSupported(f"no {dtype} kernel for this network") from None
        raise
    if y.shape != (n, row.outputs) or not np.all(np.isfinite(y)):
        raise RuntimeError(f"onnxruntime: an output of shape {y.shape} that is not the network's.")
    return session, x, y


def prepare(row, part, dtype, threads, setting):
    """A function that predicts some times."""
    if part == "train":
        raise NotSupported("inference only")
    session, x, _ = open_session(row, part, dtype, threads)
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
