#!/usr/bin/env python
"""Networks of keras.applications here: parameters, outputs, seconds of one image beside ONNX Runtime, memory.

    KERAS_BACKEND=torch python ci/measure_keras.py                       VGG16, ResNet50, MobileNetV2
    KERAS_BACKEND=torch python ci/measure_keras.py Xception EfficientNetB0 --threads 2

Weights are random, those of BatchNormalization too (weights=None, nothing is downloaded). Each network is saved by
Keras as a .keras file and read by from_keras, in a process of its own. Errors are relative to the largest output.
Without Keras, h5py, onnx or onnxruntime it is left out with a message.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

# as Keras states them, with include_top
PUBLISHED = {"VGG16": 138_357_544, "ResNet50": 25_636_712, "MobileNetV2": 3_538_984, "ResNet50V2": 25_613_800,
             "DenseNet121": 8_062_504, "MobileNetV3Small": 2_554_968, "EfficientNetB0": 5_330_571,
             "InceptionV3": 23_851_784, "Xception": 22_910_480, "MobileNet": 4_253_864}
STANDARD = ("VGG16", "ResNet50", "MobileNetV2")
TOL = 2e-5


def seconds(call, repeats):
    """The best of several calls, after one that is not counted."""
    call()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def peak():
    """The largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_network(name, folder):
    """Save a network with random weights, an image and Keras' outputs; Keras' own seconds."""
    import keras
    import numpy as np

    side = 299 if name in ("InceptionV3", "Xception") else 224
    model = getattr(keras.applications, name)(
        weights=None, classifier_activation=None, input_shape=(side, side, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(0, 0.1, n))
            layer.moving_variance.assign(rng.uniform(0.5, 2, n))
            if layer.gamma is not None:
                layer.gamma.assign(rng.uniform(0.5, 1.5, n))
            layer.beta.assign(rng.normal(0, 0.1, n))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.05, layer.bias.shape))
    X = rng.uniform(0, 255 if name.startswith(("EfficientNet", "MobileNetV3")) else 1, (1, *model.input_shape[1:]))
    X = X.astype("float32")
    expected = model.predict(X, verbose=0)
    model.save(folder / "model.keras")
    np.savez(folder / "image.npz", X=X, expected=expected)
    prepared = sum(layer.count_params() for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    ones = sum(norm.moving_mean.shape[0] for norm in norms if norm.gamma is None)
    return {"other": prepared - ones, "counted": model.count_params(),
            "theirs": seconds(lambda: model.predict(X, verbose=0), 3)}


def read_network(name, folder, threads):
    """Read it here, compare, and time it."""
    import numpy as np

    from ldl_cy.interop import from_keras

    image = np.load(folder / "image.npz")
    X, expected = image["X"], image["expected"]
    before, start = peak(), time.perf_counter()
    model = from_keras(folder / "model.keras")
    loading, loaded = time.perf_counter() - start, peak()
    # with the statistics of BatchNorm; "other" are numbers by which the input is scaled there, and gammas of ones here
    own = model.n_parameters + sum(value.size for name, value in model.state.items()
                                   if f"{name.rpartition('.')[0]}.gamma" in model.parameters)
    found = model.predict(X, n_threads=threads)
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    record = {"parameters": own, "error": error, "spread": float(expected.std()), "load": loading,
              "megabytes": model.n_parameters * 4 / 2**20, "memory": loaded - before,
              "ours": seconds(lambda: model.predict(X, n_threads=threads), 5)}
    try:
        from ldl_cy.interop import to_onnx

        to_onnx(model, folder / "model.onnx")
    except (ImportError, ValueError) as refused:
        record["refused"] = str(refused)[:300]
    return record


def run_onnx(folder, threads):
    """Seconds and the error of ONNX Runtime on what to_onnx wrote."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    image = np.load(folder / "image.npz")
    given = {session.get_inputs()[0].name: image["X"]}
    found = session.run(None, given)[0]
    error = float(np.abs(found - image["expected"]).max() / np.abs(image["expected"]).max())
    return {"onnx": seconds(lambda: session.run(None, given), 5), "onnx error": error}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of keras.applications; default {STANDARD}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.step:
        name, = chosen.names
        call = {"write": lambda: write_network(name, chosen.folder),
                "read": lambda: read_network(name, chosen.folder, chosen.threads),
                "onnx": lambda: run_onnx(chosen.folder, chosen.threads)}[chosen.step]
        print(json.dumps(call()))
        return 0
    missing = [name for name in ("keras", "torch", "h5py", "onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        print(f"left out: {', '.join(missing)} not installed")
        return 0
    status = 0
    print(f"{'network':<18}{'parameters':>13}{'error':>10}{'ours s':>9}{'ONNX s':>9}{'ratio':>7}{'Keras s':>9}"
          f"{'load s':>8}{'weights MB':>12}{'memory MB':>11}")
    for name in chosen.names or STANDARD:
        record = {}
        with tempfile.TemporaryDirectory() as folder:
            for step in ("write", "read", "onnx"):
                if step == "onnx" and "refused" in record:
                    continue
                done = subprocess.run(
                    [sys.executable, __file__, name, "--step", step, "--folder", folder, "--threads",
                     str(chosen.threads)], capture_output=True, text=True, env={
                        **os.environ, "OMP_NUM_THREADS": str(chosen.threads)}, check=False)
                if done.returncode:
                    record["failed"] = f"{step}: {done.stderr.strip().splitlines()[-1][:400]}"
                    break
                record.update(json.loads(done.stdout.splitlines()[-1]))
        if "failed" in record:
            print(f"{name:<18}{record['failed']}")
            status = 1
            continue
        onnx = record.get("onnx", float("nan"))
        counted = record["parameters"] + record["other"] == PUBLISHED.get(name, record["counted"])
        print(f"{name:<18}{record['parameters']:>13,}{record['error']:>10.1e}{record['ours']:>9.4f}{onnx:>9.4f}"
              f"{record['ours'] / onnx:>7.2f}{record['theirs']:>9.4f}{record['load']:>8.2f}"
              f"{record['megabytes']:>12.0f}{record['memory']:>11.0f}{'' if counted else '  not as published'}"
              f"{'  ' + record['refused'] if 'refused' in record else ''}", flush=True)
        if not record["error"] < TOL or not counted:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
