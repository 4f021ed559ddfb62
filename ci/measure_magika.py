#!/usr/bin/env python
"""A network that others trained, here and in ONNX Runtime: Magika, which says of what kind a file is by its bytes.

    python ci/measure_magika.py [MODEL.ONNX] [--files FOLDER] [--count N] [--repeats N]

MODEL.ONNX is assets/models/fast_v2_1/model.onnx of github.com/google/magika (Apache-2.0), 3,143,943 bytes. Its graph
was written by a converter for TensorFlow: 72 nodes for eight layers, with shapes that are computed at run time. Here
the weights come out of it by name and shape, and the layers are written down:

    1,024 bytes or 256, padding -> one-hot -> Dense 64, gelu     an Embedding whose table is gelu(W + b)
    (256, 256) -> LayerNorm over the time -> Conv1D 512, 5, gelu -> maximum over the time -> LayerNorm -> Dense 213

Rows are files of FOLDER, by default Python's own library: the first and the last 512 bytes without the spaces around
them. The exit code is 1 where a probability differs by more than 1e-5 or the likeliest kind is another one. Seconds are
the least of the repeats, on one thread and on as many as either library takes by itself. Without MODEL.ONNX, onnx or
onnxruntime it is left out with a message.
"""
import argparse
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
from scipy.special import erf

from ldl_cy import Sequential, layers
from ldl_cy.interop.assembly import Imported, assemble

try:
    import onnx
    import onnxruntime
except ImportError as error:
    sys.exit(print(f"left out: {error.name} is not installed"))

PADDING, HALF = 256, 512
LARGEST = 1e-5                          # difference of a probability


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def read_network(path: Path) -> Sequential:
    """The eight layers with the file's weights."""
    graph = onnx.load_model(path, load_external_data=False).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
              if tensor.data_type == onnx.TensorProto.FLOAT}
    norm = next(node for node in graph.node if node.op_type == "BatchNormalization")

    def named(part: str) -> np.ndarray:
        return next(array for name, array in arrays.items() if part in name)

    def shaped(*shape: int) -> np.ndarray:
        return next(array for array in arrays.values() if array.shape == shape)

    table = gelu(named("dense/Tensordot").astype("f8") + named("dense/BiasAdd"))
    kernel = named("Conv1D/ExpandDims")                     # (filters, channels, 1, steps)
    epsilon = float(named("layer_normalization/batchnorm/add/y"))
    second = next(attribute.f for attribute in norm.attribute if attribute.name == "epsilon")
    return assemble("measure_magika", [
        Imported(layers.Embedding(257, 64), {"table": table}, "dense"),
        Imported(layers.Reshape((256, 256)), {}, "reshape"),
        Imported(layers.LayerNorm(epsilon, axis=1), {
            "gamma": named("layer_normalization/Reshape:0").ravel(),
            "beta": named("layer_normalization/Reshape_1:0").ravel()}, "layer_normalization"),
        Imported(layers.Conv1D(512, 5, padding=padding(graph), activation="gelu"), {
            "kernel": kernel[:, :, 0].transpose(2, 1, 0), "bias": shaped(1, 512, 1).ravel()}, "conv1d"),
        Imported(layers.GlobalMaxPool1D(), {}, "global_max_pooling1d"),
        Imported(layers.LayerNorm(float(np.float32(second))), {
            "gamma": named("layer_normalization_1/mul"), "beta": named("layer_normalization_1/add")},
            "layer_normalization_1"),
        Imported(layers.Dense(213, "softmax"), {
            "kernel": named("target_label/MatMul"), "bias": named("target_label/BiasAdd")}, "target_label"),
    ], (2 * HALF,))


def padding(graph: onnx.GraphProto) -> str:
    """Of the convolution."""
    conv = next(node for node in graph.node if node.op_type == "Conv")
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in conv.attribute}
    return "same" if found.get("auto_pad", b"").startswith(b"SAME") or any(found.get("pads", ())) else "valid"


def row(content: bytes) -> np.ndarray:
    """1,024 numbers of a file."""
    found = np.full(2 * HALF, PADDING, np.int32)
    first, last = content.lstrip()[:HALF], content.rstrip()[-HALF:]
    found[:len(first)] = np.frombuffer(first, np.uint8)
    found[2 * HALF - len(last):] = np.frombuffer(last, np.uint8)
    return found


def seconds(call, repeats: int) -> float:
    """The least time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL.ONNX")
    parser.add_argument("--files", type=Path, default=Path(sysconfig.get_path("stdlib")), metavar="FOLDER")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.model is None:
        print("left out: no MODEL.ONNX was given")
        return 0
    paths = [path for path in sorted(arguments.files.rglob("*")) if path.is_file() and path.stat().st_size > 64]
    paths = paths[::max(1, len(paths) // arguments.count)][:arguments.count]
    X = np.stack([row(path.read_bytes()) for path in paths])
    model = read_network(arguments.model)
    mine = model.predict(X)
    print(f"{len(X)} files below {arguments.files}, {len({path.suffix for path in paths})} endings; "
          f"{model.n_parameters} weights")
    bad = False
    for threads in (1, None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

        def theirs(rows: np.ndarray, session=session, name=name) -> np.ndarray:
            return session.run(None, {name: rows})[0]

        def ours(rows: np.ndarray, threads=threads) -> np.ndarray:
            return model.predict(rows, n_threads=threads)

        expected = theirs(X)
        difference, same = np.abs(mine - expected).max(), (mine.argmax(1) == expected.argmax(1)).all()
        bad |= difference > LARGEST or not same
        text = "one thread" if threads else "threads by default"
        print(f"{text}: largest difference of a probability {difference:.1e}, likeliest kind "
              f"{'the same' if same else 'ANOTHER ONE'} for all files")
        for what, rows in (("all files", X), ("one file", X[:1])):
            print(f"    {what}: ldl_cy {seconds(lambda rows=rows: ours(rows), arguments.repeats):.4f} s, ONNX Runtime "
                  f"{seconds(lambda rows=rows: theirs(rows), arguments.repeats):.4f} s")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
