"""ONNX graphs become models: files that ``to_onnx`` writes, and those of other exporters that are built of layers.

The graph is read node by node, in an order in which each comes after those whose values it reads. What depends only on
constants and shapes is folded; the rest becomes layers, of which those that lead to the output are the model.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ldl_cy import layers
from ldl_cy.interop.assembly import Imported, assemble
from ldl_cy.interop.chains import Node, as_chain, ordered
from ldl_cy.interop.onnx.reading import arithmetic, norms, recurrent, scan, shapes
from ldl_cy.interop.onnx.reading import layers as readers
from ldl_cy.interop.onnx.reading.constants import FOLDED, PAIRS, constant, fold
from ldl_cy.interop.onnx.reading.file import OWNER, File, Op, Unreadable, read_file
from ldl_cy.interop.onnx.reading.points import BINARY, UNARY
from ldl_cy.interop.onnx.reading.reader import Reader
from ldl_cy.interop.onnx.reading.values import BATCH, Filled, Lengths, Nothing, Value, plain
from ldl_cy.layers.base import Shape
from ldl_cy.messages import listed, shown
from ldl_cy.models import Sequential

# what a node raises that has other settings or constants than its operator can have
FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

READERS: dict[str, Callable[[Reader, Op], Any]] = {
    **dict.fromkeys(UNARY, arithmetic.unary), **dict.fromkeys(BINARY, arithmetic.binary),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), recurrent.recurrent),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum"), shapes.reduce),
    **dict.fromkeys(("MaxPool", "AveragePool"), readers.pool),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool"), readers.global_pool),
    "BatchNormalization": readers.batch_normalization, "Cast": shapes.cast, "Clip": arithmetic.clip,
    "Concat": shapes.concat, "Conv": readers.conv, "Dropout": readers.dropout, "Expand": shapes.expand,
    "Flatten": shapes.flatten, "Gather": shapes.gather, "Gemm": readers.gemm, "Identity": shapes.identity,
    "LayerNormalization": readers.layer_normalization, "MatMul": readers.matmul, "Pad": shapes.pad,
    "PRelu": readers.prelu, "Reshape": shapes.reshape, "Resize": shapes.resize,
    "ReverseSequence": shapes.reverse_sequence, "Shape": shapes.shape, "Slice": shapes.slice_,
    "Softmax": readers.softmax,
    "Squeeze": shapes.squeeze, "Sum": arithmetic.add_up, "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze, "Where": arithmetic.where, "Scan": scan.scan, "ai.onnx.ml.Scaler": readers.scaler,
}


def from_onnx(path_or_proto: Any) -> Sequential:
    """An ONNX graph as a model, with its weights.

    Parameters
    ----------
    path_or_proto : path or onnx.ModelProto
        A graph with its weights in the file itself, one output, and one input whose axes but the batch have fixed
        lengths. A second input of integers is taken to be the lengths of sequences, which ``predict(X, lengths=...)``
        takes here. The outputs may also be labels and probabilities, as ``to_onnx`` and skl2onnx write them.

    Returns
    -------
    Sequential, built, in float64 if the graph's input is, otherwise in float32.
        If the graph reads images or sequences channels-first, as PyTorch's do, the model reads (height, width,
        channels) or (time, channels), and an output with channels is channels-last too. A vector that is an output has
        the graph's order; rows of weights behind a Flatten are reordered where necessary.

        The model of a classifier predicts probabilities: its last layer is softmax or logistic. With two classes it
        predicts p, the second of (1 - p, p). Labels, and the bounds [eps, 1 - eps] of probabilities, are left out. The
        model of a regressor with the loss "poisson" predicts the raw output, of which the graph takes the exponential.

    Raises
    ------
    ValueError
        Nodes without a counterpart, up to 20 of them by name and operator, before anything is built; a file that is
        damaged or keeps its weights in other files; weights that are not finite.
    TypeError
        Neither a path nor a model.
    OSError
        A file that cannot be opened.
    ImportError
        The package onnx is not installed.

    Notes
    -----
    Activations are recognised by what they compute: gelu, silu or mish may be made of several nodes. A product or sum
    with constants becomes a BatchNorm that is not trained or, along several axes, a Normalization; in files that
    PyTorch writes, BatchNorm is already folded into the convolution before it.
    Most files lack what only training uses: Dropout, initializers, also the names of layers. A Scan is read if it is an
    RNN as ``to_onnx`` writes it.

    References
    ----------
    ONNX operators: https://onnx.ai/onnx/operators.

    Examples
    --------
    >>> from ldl_cy import Sequential, interop, layers
    >>> model = Sequential([layers.Dense(4, "relu"), layers.Dense(1)]).build(3)
    >>> again = interop.from_onnx(interop.to_onnx(model))
    >>> bool((again.theta == model.theta).all())
    True
    """
    file = read_file(path_or_proto)
    order, shape, samples = _input(file)
    reader, end = _read(file, shape, order, samples)
    if reader.first and order[0] == 0 and not file.ours:
        # the graph reads channels first: the model reads them last
        shape = (*shape[1:], shape[0])
        reader, end = _read(file, shape, [0, len(shape), *range(1, len(shape))], samples)
        turned = plain(end.shape, (0, len(end.shape), *range(1, len(end.shape))))
        end = end if end.axes == turned else _in_order(reader, end)
    else:
        end = _in_order(reader, end)
    nodes = _fused(reader.nodes, reader.start, end.key)
    chain = as_chain(OWNER, nodes, reader.start, end.key) or [Imported(layers.Activation("identity"), {}, "the graph")]
    file.budget.spend(sum(8 * array.size for each in chain for array in each.weights.values()))
    return assemble(OWNER, chain, shape, "float64" if file.double else "float32")


def _read(file: File, shape: Shape, order: list[int], samples: int) -> tuple[Reader, Value]:
    """The layers, for an input of this shape whose axes have this order in the graph, and the output."""
    reader = Reader(replace(file, budget=replace(file.budget)), samples)
    reader.shapes[reader.start] = shape
    reader.values[file.input] = Value(reader.start, shape, plain(shape, order))
    reader.values.update(dict.fromkeys(file.others, Lengths()))
    return reader, _read_nodes(reader)


def _in_order(reader: Reader, value: Value) -> Value:
    """The output with its axes in the graph's order."""
    try:
        return reader.exactly(value) if value.rank > 1 else value
    except Unreadable as error:
        raise ValueError(f"{OWNER}: the output {shown(reader.file.output)} cannot be read: {error}.") from None


def _input(file: File) -> tuple[list[int], Shape, int]:
    """(order of our axes, our shape, number of samples or 0) of the input."""
    free = [i for i, n in enumerate(file.shape) if n is None]
    if len(free) > 1:
        raise ValueError(f"{OWNER}: the axes of the input must have fixed lengths but for the batch, got "
                         f"{tuple('?' if n is None else n for n in file.shape)}.")
    batch = free[0] if free else 0
    shape = tuple(n for i, n in enumerate(file.shape) if i != batch and n is not None)
    numbers = 1
    for n in shape:
        numbers *= n
    if numbers >= BATCH:
        raise ValueError(f"{OWNER}: a sample must have less than {BATCH} numbers, got the shape {shape}.")
    order = [*range(1, batch + 1), 0, *range(batch + 1, len(file.shape))]
    return order, shape, file.shape[batch] or 0


def _read_nodes(reader: Reader) -> Value:
    """The output; a ValueError with all nodes that cannot be read."""
    failed: dict[Op, str] = {}
    for op in reader.file.ops:
        results: Any = ()
        if all(not name or reader.values[name] is not None for name in op.inputs):
            try:
                results = _one(reader, op)
            except FAULTS as error:
                if str(error).startswith(OWNER):
                    raise
                failed.setdefault(getattr(error, "node", None) or op, _reason(error))
        elif op.kind not in READERS:            # it waits for a node that cannot be read, and is named as well
            failed.setdefault(op, "")
        results = results if isinstance(results, tuple) else (results,)
        for i, name in enumerate(op.outputs):
            if name:
                reader.values[name] = results[i] if i < len(results) else (
                    Nothing("a second output has no counterpart", op) if results else None)
    if not failed:
        try:
            return _output(reader)
        except Unreadable as error:
            op = error.node or next(op for op in reader.file.ops if reader.file.output in op.outputs)
            failed[op] = str(error)
    named = [f"{op.source}: {reason}" if op.kind in READERS else op.source for op, reason in failed.items()]
    raise ValueError(f"{OWNER}: these nodes have no counterpart: {listed(named, '; ')}.")


def _reason(error: Exception) -> str:
    """The message of a reader or a layer; settings of a wrong type raise errors of Python's own instead."""
    said = isinstance(error, Unreadable) or re.match(r"[A-Z]\w+: \w+ must ", str(error))
    return str(error).rstrip(".") if said else "its settings must have the types of its operator"


def _one(reader: Reader, op: Op) -> Any:
    """What a node computes."""
    if op.kind == "Constant":
        return constant(op)
    inputs = [reader.values[name] if name else None for name in op.inputs]
    known = [each for each in inputs if each is not None]
    if known and all(hasattr(each, "dtype") or isinstance(each, Filled) for each in known) and (
            op.kind in FOLDED or op.kind in PAIRS):
        return fold(op, inputs, reader.file.budget)
    if known and all(isinstance(each, Lengths) or hasattr(each, "dtype") for each in known):
        return Lengths()                        # a mask made of them
    if op.kind not in READERS:
        raise Unreadable("no layer does this")
    if not op.inputs or not op.inputs[0]:
        raise Unreadable("it must have an input")
    found = norms.part(reader, op) if op.kind in norms.KINDS else None
    return READERS[op.kind](reader, op) if found is None else found


def _output(reader: Reader) -> Value:
    """The value of the output."""
    found = reader.values[reader.file.output]
    if isinstance(found, Nothing):
        raise Unreadable(found.reason, found.op)
    if not isinstance(found, Value) or found.flipped:
        ops = [op for op in reader.file.ops if reader.file.output in op.outputs]
        raise Unreadable("it must depend on the input", ops[-1] if ops else None) if ops else ValueError(
            f"{OWNER}: the output must depend on the input.")
    return reader.settled(found)


def _fused(nodes: Mapping[str, Node], start: str, end: str) -> dict[str, Node]:
    """The nodes that lead to the output, with activations as part of the Dense or convolution before them."""
    order = ordered(OWNER, nodes, start, end)
    found = {key: nodes[key] for key in order}
    uses = Counter(key for node in found.values() for key in node.inputs)
    uses[end] += 1
    for key in order:
        made = found[key].made
        if not isinstance(made, Imported) or type(made.layer) is not layers.Activation:
            continue
        before = found.get(found[key].inputs[0])
        name, slope = made.layer.activation, made.layer.negative_slope
        if before is None or uses[found[key].inputs[0]] > 1 or (name == "leaky_relu" and slope != 0.01) or (
                not isinstance(before.made, Imported)):
            continue
        layer = before.made.layer
        if isinstance(layer, (layers.Dense, layers.Conv1D, layers.Conv2D)) and layer.activation is None:
            new = type(layer).from_config({**layer.get_config(), "activation": name})
            del found[found[key].inputs[0]]
            found[key] = before._replace(made=before.made._replace(layer=new))
    return found
