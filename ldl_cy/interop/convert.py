"""``ldl-cy convert``: a network from one kind of file to another, and the comparison of both files' outputs."""
from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ldl_cy import interop, layers
from ldl_cy.layers.base import Layer, layer_names
from ldl_cy.layers.inside import walk
from ldl_cy.models import Sequential
from ldl_cy.packages import import_package

OWNER = "convert"
ROWS = 8                        # of random numbers, for which outputs are compared
CLOSE = {"float32": 2e-5, "float64": 1e-10}


def _read_safetensors(path: str) -> Sequential:
    from ldl_cy.interop.safetensors import from_safetensors

    return from_safetensors(path)


READ: dict[str, Callable[[str], Sequential]] = {
    ".keras": lambda path: interop.from_keras(path), ".ldl": lambda path: Sequential.load(path),
    ".onnx": lambda path: interop.from_onnx(path), ".safetensors": _read_safetensors,
}


def _write_keras(model: Sequential, path: str) -> None:
    interop.to_keras(model).save(path)


WRITE: dict[str, Callable[[Sequential, str], Any]] = {
    ".keras": _write_keras, ".ldl": lambda model, path: model.save(path),
    ".onnx": lambda model, path: interop.to_onnx(model, path),
    ".safetensors": lambda model, path: model.save_weights(path),
}


def kind(path: str) -> str | None:
    """The kind of a file, its suffix in lower case; None if it is not one of ``READ``."""
    found = Path(path).suffix.lower()
    return found if found in READ else None


def convert(source: str, target: str, check: bool) -> int:
    """Read one file and write the other; with ``check`` compare what both compute.

    Parameters
    ----------
    source, target : str
        Paths that end in .keras, .ldl, .onnx or .safetensors.
    check : bool

    Returns
    -------
    int
        The exit code: 1 for what cannot be read or written, and for outputs that differ; else 0.
    """
    if Path(source).resolve() == Path(target).resolve():
        print(f"ldl-cy convert: OUT must be another file than IN, got {target}.", file=sys.stderr)
        return 1
    try:
        model = READ[Path(source).suffix.lower()](source)
        network = model.network                 # a ValueError for a .ldl file of a model that is not built
        WRITE[Path(target).suffix.lower()](model, target)
        print(f"{source} -> {target}: {len(model.layers)} layers, {network.n_params} weights, "
              f"{network.input_shape} -> {network.output_shape}, {model.dtype}")
        return compare(model, source, target) if check else 0
    except (ImportError, OSError, TypeError, ValueError, MemoryError) as error:
        print(f"ldl-cy convert: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def compare(model: Sequential, source: str, target: str) -> int:
    """Print the largest difference of the outputs of two files; the exit code."""
    X = random_rows(model)
    there, here = (outputs(path, X, model.network.output_shape) for path in (source, target))
    scale = float(np.abs(there).max(initial=0)) or 1.0
    with np.errstate(invalid="ignore"):         # of infinite outputs, whose difference is NaN, which is refused below
        difference = float(np.abs(here - there).max(initial=0)) / scale
    # an ONNX file is in float32, whatever the model is, and Keras rounds to it within some layers on PyTorch
    dtype = "float32" if {".onnx", ".keras"} & {kind(source), kind(target)} else model.dtype
    print(f"{ROWS} random rows: largest difference {difference:.1e} of the largest output {scale:.3g}")
    if difference <= CLOSE[dtype]:
        return 0
    print(f"ldl-cy convert: the outputs must differ by at most {CLOSE[dtype]:g} of the largest one, got "
          f"{difference:.1e}.", file=sys.stderr)
    return 1


def random_rows(model: Sequential) -> np.ndarray:
    """Rows that the model can read: normal numbers, or ids where it begins with an Embedding or a CategoryEmbedding."""
    rng = np.random.default_rng(0)
    shape, ids = model.network.input_shape, id_counts(model.layers)
    if ids:
        return rng.integers(0, min(ids), (ROWS, *shape)).astype(model.dtype)
    return rng.standard_normal((ROWS, *shape)).astype(model.dtype)


def id_counts(stack: Sequence[Layer]) -> list[int]:
    """How many ids the tables of a model have, also in branches: all of them read the model's input."""
    found: list[int] = []
    for _, layer in walk(stack, layer_names(OWNER, stack)):
        if isinstance(layer, layers.Embedding):
            found.append(layer.input_dim)
        if isinstance(layer, layers.CategoryEmbedding):
            found += layer.input_dims
    return found


def outputs(path: str, X: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The outputs of a file's network for rows, in our order of axes; computed by its own library where installed."""
    if kind(path) == ".onnx":
        return _by_onnx(path, X, shape)
    if kind(path) == ".keras" and importlib.util.find_spec("keras"):
        with suppress(ImportError):             # of Keras's backend
            keras = import_package(OWNER, "keras")
            return _by_keras(keras, path, X)
    return READ[Path(path).suffix.lower()](path).predict(X).astype(np.float64)


def _by_keras(keras: Any, path: str, X: np.ndarray) -> np.ndarray:
    """Called as a function, in the dtype of the rows: Keras' predict makes them float32."""
    try:
        y = keras.models.load_model(path, compile=False)(keras.ops.convert_to_tensor(X, X.dtype), training=False)
        return np.asarray(keras.ops.convert_to_numpy(y), np.float64)
    except Exception as error:              # of Keras or its backend, which have classes of their own
        raise ValueError(f"{OWNER}: Keras cannot run {path}: {error}") from None


def _by_onnx(path: str, X: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """By ONNX Runtime or, where it is not installed or has no kernels for a graph, by onnx's reference evaluator."""
    from ldl_cy.interop.onnx.reading.file import read_file

    onnx = import_package(OWNER, "onnx", "onnx")
    model = onnx.load_model(path, load_external_data=False)
    graph, read = model.graph, read_file(path)
    given = {tensor.name for tensor in graph.initializer}
    first = next(value for value in graph.input if value.name not in given)
    steps = X.shape[1]
    sizes = tuple(dim.dim_value for dim in first.type.tensor_type.shape.dim)
    turned = tuple(sizes[1:]) != X.shape[1:] and X.ndim > 2       # the graph reads channels first
    X = np.ascontiguousarray(np.moveaxis(X, -1, 1)) if turned else X
    as_dtype = onnx.helper.tensor_dtype_to_np_dtype
    rows = X.astype(as_dtype(first.type.tensor_type.elem_type))
    batches = [rows[i:i + 1] for i in range(len(rows))] if sizes[0] else [rows]
    source: Any = path
    if [value.name for value in graph.output] != [read.output]:
        source = _up_to(model, onnx.ValueInfoProto(name=read.output))       # its type follows from the nodes
    # lengths of whole sequences
    ends = {value.name: np.full(len(batches[0]), steps, as_dtype(value.type.tensor_type.elem_type))
            for value in graph.input if value.name in read.others}
    y = np.concatenate([_run_onnx(source, path, {first.name: each, **ends}) for each in batches])
    if turned and y.ndim > 2 and y.shape[1:] != shape:
        y = np.moveaxis(y, 1, -1)
    return y.astype(np.float64)


def _up_to(model: Any, output: Any) -> Any:
    """The model with one of its values as its output, as of a classifier the probabilities, and what leads to it."""
    wanted, kept = {output.name}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    for values, new in ((model.graph.node, kept[::-1]), (model.graph.initializer, constants),
                        (model.graph.output, [output])):
        del values[:]
        values.extend(new)
    return model


def _run_onnx(source: Any, path: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray
    if importlib.util.find_spec("onnxruntime"):
        runtime = import_package(OWNER, "onnxruntime")
        try:
            session = runtime.InferenceSession(
                source if source is path else source.SerializeToString(), providers=["CPUExecutionProvider"])
            found, = session.run(None, inputs)
            return found
        except Exception as error:              # its exceptions have no public base class
            if "NOT_IMPLEMENTED" not in str(error):
                raise ValueError(f"{OWNER}: ONNX Runtime cannot run {path}: {error}") from None
    found, = import_package(OWNER, "onnx.reference", "onnx").ReferenceEvaluator(source).run(None, inputs)
    return found
