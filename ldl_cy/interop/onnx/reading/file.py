"""What is in an ONNX file: nodes, constants, the input and the output, all checked against the size of the file.

Format: https://github.com/onnx/onnx/blob/main/docs/IR.md
"""
from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldl_cy.interop.onnx.reading.outputs import labels_too, output_of
from ldl_cy.messages import shown
from ldl_cy.packages import import_package
from ldl_cy.replacing import as_path, check_regular

OWNER = "from_onnx"
MOST_NODES = 100_000
MOST_FIELDS = 1 << 20               # numbers in one attribute
DOMAINS = ("", "ai.onnx")
FEWEST, MOST = 7, 100               # versions of the operators
# bits of an element, by the number of its type
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16}
DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float16", 11: "float64", 12: "uint32", 13: "uint64"}
STRING, BFLOAT16 = 8, 16
# fields that hold elements one by one, and bits of an element in each
FIELDS = {"float_data": (1,), "int32_data": (2, 3, 4, 5, 6, 9, 10, 16), "int64_data": (7,), "double_data": (11,),
          "uint64_data": (12, 13)}


class Unreadable(ValueError):
    """A node that has no counterpart: the reason, and the node if it is another one than that being read."""

    def __init__(self, reason: str, node: Op | None = None) -> None:
        super().__init__(reason)
        self.node = node


@dataclass(frozen=True, eq=False)
class Op:
    """A node of the graph.

    Attributes
    ----------
    name : str
        Its own or, if it has none, that of its first output.
    kind : str
        The operator, with its domain unless that is ONNX's own.
    inputs, outputs : tuples of str
        "" is one that is left out.
    attributes : dict
        Numbers, strings, tuples of them, tensors, graphs.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def source(self) -> str:
        """For errors."""
        return f"{shown(self.name)} ({self.kind})"


@dataclass
class Budget:
    """How many bytes may be made of a file: an array that is used again and again must not fill the memory."""

    left: int

    def spend(self, n_bytes: int) -> None:
        self.left -= n_bytes
        if self.left < 0:
            raise ValueError(f"{OWNER}: the weights must not be many times as large as the file.")


@dataclass(frozen=True)
class File:
    """The graph of a file.

    Attributes
    ----------
    version : int
        Of the operators.
    ops : list of Op
        Those that lead to the output, each after those whose values it reads.
    constants : dict of arrays
        Names of classes are left out: an array of them is empty.
    input, output : str
        The output is the value that is read: of a classifier its probabilities.
    shape : tuple of ints and None
        Of the input, batch axis included; None is an axis of any length.
    integers, double : bool
        Whether the input has whole numbers, or numbers in float64.
    others : tuple of str
        Further inputs of whole numbers.
    budget : Budget
    ours : bool
        Whether ``to_onnx`` wrote it, whose inputs have channels last.
    """

    version: int
    ops: list[Op]
    constants: dict[str, np.ndarray]
    input: str
    output: str
    shape: tuple[int | None, ...]
    integers: bool
    double: bool
    budget: Budget
    others: tuple[str, ...]
    ours: bool


def parse(source: Any) -> tuple[Any, int]:
    """(ModelProto, bytes of it) of a path or a ModelProto; other files than this one are never opened."""
    onnx = import_package(OWNER, "onnx", "onnx")
    if isinstance(source, onnx.ModelProto):
        try:
            return source, source.ByteSize()
        except Exception as error:                  # protobuf's own class, of more than 2 GB
            raise ValueError(f"{OWNER}: the model cannot be read: {error}") from None
    if not isinstance(source, (str, bytes, os.PathLike)):
        raise TypeError(f"{OWNER}: path_or_proto must be a path or an onnx.ModelProto, got {shown(source)}.")
    path = as_path(OWNER, source)
    check_regular(OWNER, path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not 0 < size < 1 << 31:
            raise ValueError(f"{OWNER}: {path} must have 1 .. {(1 << 31) - 1} bytes, got {size}.")
        content = file.read(size)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:                      # protobuf's own class, which depends on how it was built
        raise ValueError(f"{OWNER}: {path} is not a readable ONNX file: {shown(str(error))}") from None
    return model, len(content)


def read_file(source: Any) -> File:
    """The graph of a path or a ModelProto; a ValueError if it is none that this library can read."""
    model, size = parse(source)
    graph = model.graph
    version = max((entry.version for entry in model.opset_import if entry.domain in DOMAINS), default=1)
    if not FEWEST <= version <= MOST:
        raise ValueError(f"{OWNER}: the file's operators must be of version {FEWEST} .. {MOST}, got {version}.")
    if model.functions:
        raise ValueError(f"{OWNER}: the file must have no functions of its own, got {shown(model.functions[0].name)}; "
                         "onnx.inliner.inline_local_functions takes them out.")
    if len(graph.node) > MOST_NODES or len(graph.initializer) > MOST_NODES:
        raise ValueError(f"{OWNER}: a graph must have at most {MOST_NODES} nodes, got "
                         f"{max(len(graph.node), len(graph.initializer))}.")
    if graph.sparse_initializer:
        raise ValueError(f"{OWNER}: the weights must be dense, got sparse ones.")
    constants: dict[str, np.ndarray] = {}
    names = [value.name for value in graph.output]
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise ValueError(f"{OWNER}: each value must be defined once, got {shown(tensor.name)} twice.")
        # names of classes are read by nodes that lead to labels alone
        classes = tensor.data_type == STRING and labels_too(names, model.producer_name)
        constants[tensor.name] = np.empty(0, "U1") if classes else as_array(
            tensor, f"the initializer {shown(tensor.name)}")
    inputs = [value for value in graph.input if value.name not in constants]
    if not inputs:
        raise ValueError(f"{OWNER}: the graph must have an input, got none.")
    first, *others = inputs
    for value in others:
        kind = value.type.tensor_type
        if kind.elem_type not in (6, 7) or len(kind.shape.dim) > 1:
            raise ValueError(f"{OWNER}: the graph must have one input, and may have one of lengths beside it, got "
                             f"{shown([value.name for value in inputs])}.")
    given = {value.name for value in inputs} | set(constants)
    nodes = [read_op(node) for node in graph.node]
    output = output_of(names, model.producer_name, nodes, constants)
    if not output:
        raise ValueError(f"{OWNER}: the graph must have one output, got {shown(names)}.")
    ops = ordered(nodes, given, output)
    tensor_type = first.type.tensor_type
    if tensor_type.elem_type not in DTYPES or not first.type.HasField("tensor_type"):
        raise ValueError(f"{OWNER}: the input {shown(first.name)} must have numbers, got another type.")
    shape = tuple(_axis(dim) for dim in tensor_type.shape.dim)
    if not tensor_type.HasField("shape") or not 2 <= len(shape) <= 31:
        raise ValueError(f"{OWNER}: the input {shown(first.name)} must have a shape (n, ...), got {shape}.")
    return File(version, ops, constants, first.name, output, shape,
                DTYPES[tensor_type.elem_type].startswith(("int", "uint")), tensor_type.elem_type == 11,
                Budget(8 * size + (1 << 22)), tuple(value.name for value in others), model.producer_name == "ldl_cy")


def _axis(dim: Any) -> int | None:
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def read_op(node: Any) -> Op:
    """A node."""
    name = node.name or next((output for output in node.output if output), "")
    kind = node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
    return Op(name, kind, tuple(node.input), tuple(node.output),
              {attribute.name: _attribute(attribute) for attribute in node.attribute})


def _attribute(attribute: Any) -> Any:
    """A number, a string, a tuple of them, a tensor or a graph; None for what else is no setting of a layer."""
    if attribute.ref_attr_name:
        return None
    kind = attribute.type
    if kind in (4, 5):
        return attribute.t if kind == 4 else attribute.g            # read when it is asked for
    if kind in (1, 2):
        return attribute.f if kind == 1 else attribute.i
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")
    if kind in (6, 7):
        numbers = attribute.floats if kind == 6 else attribute.ints
        return tuple(numbers) if len(numbers) <= MOST_FIELDS else None
    if kind == 8 and len(attribute.strings) <= MOST_FIELDS:
        return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
    return None


def short(number: Any) -> Any:
    """A setting that became float32 as the decimal number that it was before."""
    if not isinstance(number, float) or not math.isfinite(number):
        return number
    with np.errstate(over="ignore"):
        rounded = np.float32(number)
    return float(str(rounded)) if abs(float(rounded) - number) <= 1e-12 * abs(number) else number


def as_array(tensor: Any, what: str) -> np.ndarray:
    """The numbers of a TensorProto; whatever is in it, no more memory is taken than its own bytes."""
    if tensor.data_location == 1 or tensor.external_data:
        raise ValueError(f"{OWNER}: {what} must be in the file itself, got one in another file; onnx.save writes the "
                         "whole model into one file.")
    kind, shape = tensor.data_type, tuple(int(n) for n in tensor.dims)
    if kind not in BITS or tensor.HasField("segment"):
        raise ValueError(f"{OWNER}: {what} must have numbers of a known type, got type {kind}.")
    if len(shape) > 31 or any(n < 0 for n in shape):
        raise ValueError(f"{OWNER}: {what} must have a shape of ints >= 0, got {shown(shape)}.")
    size = math.prod(shape)
    if tensor.raw_data:
        found = len(tensor.raw_data) * 8
        if found != size * BITS[kind]:
            raise ValueError(f"{OWNER}: {what} must have {size * BITS[kind] // 8} bytes for its shape {shape}, got "
                             f"{found // 8}.")
        if kind == BFLOAT16:
            return (np.frombuffer(tensor.raw_data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
        return np.frombuffer(tensor.raw_data, np.dtype(DTYPES[kind]).newbyteorder("<")).reshape(shape)
    name = next(name for name, kinds in FIELDS.items() if kind in kinds)
    numbers = getattr(tensor, name)
    if len(numbers) != size:
        raise ValueError(f"{OWNER}: {what} must have {size} numbers for its shape {shape}, got {len(numbers)}.")
    if kind in (10, BFLOAT16):              # their bits, in an int each
        bits = np.fromiter((number & 0xFFFF for number in numbers), "<u2", size)
        return (bits.view("<f2") if kind == 10 else (bits.astype("<u4") << 16).view("<f4")).reshape(shape)
    dtypes = {"float_data": "f4", "double_data": "f8", "uint64_data": "u8"}
    return np.fromiter(numbers, dtypes.get(name, "i8"), size).astype(DTYPES[kind]).reshape(shape)


def ordered(ops: list[Op], given: set[str], end: str) -> list[Op]:
    """The nodes that lead to ``end``, each after those whose values it reads."""
    makers: dict[str, Op] = {}
    for op in ops:
        for output in op.outputs:
            if output and (output in makers or output in given):
                raise ValueError(f"{OWNER}: each value must be defined once, got {shown(output)} twice.")
            makers[output] = op
    makers.pop("", None)
    found: list[Op] = []
    begun: dict[Op, Iterator[str]] = {}
    done: set[Op] = set()
    stack: list[Op] = [makers[end]] if end in makers else []
    if not stack and end not in given:
        raise ValueError(f"{OWNER}: the graph must compute its output {shown(end)}.")
    while stack:
        op = stack[-1]
        if op in done:
            stack.pop()
            continue
        for name in begun.setdefault(op, iter(op.inputs)):
            if not name or name in given:
                continue
            if name not in makers:
                raise ValueError(f"{OWNER}: the node {op.source} must read values of the graph, got {shown(name)}.")
            if makers[name] in done:
                continue
            if makers[name] in begun:
                raise ValueError(f"{OWNER}: a graph must have no cycles, got one at {op.source}.")
            stack.append(makers[name])
            break
        else:
            done.add(op)
            found.append(op)
            stack.pop()
    return found
