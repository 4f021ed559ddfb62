"""Estimators as ONNX models: rows of two axes in, classes and probabilities or target values out."""
from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from ldl_cy.estimators.base import BaseNetwork
from ldl_cy.estimators.data import given_shape
from ldl_cy.interop.onnx.writing.graph import OnnxGraph
from ldl_cy.interop.onnx.writing.model import finish, write_network
from ldl_cy.messages import shown


def estimator_model(
    graph: OnnxGraph, estimator: BaseNetwork, lengths: bool, *, read: int | None = None, codes: bool = False,
) -> Any:
    """The ModelProto of a fitted estimator.

    Parameters
    ----------
    graph : OnnxGraph
    estimator : BaseNetwork
    lengths : bool
    read : int, default=None
        ONNX's number of the type of X, if that is not the type of the graph's numbers; if it is float64, so are the
        outputs.
    codes : bool, default=False
        Labels are the numbers of the classes.
    """
    if hasattr(estimator, "category_encoder_"):
        raise ValueError(f"{graph.owner}: estimators with categorical_features have no counterpart in ONNX; export "
                         "their model_, which reads numbers and the codes of categories.")
    network = estimator.model_.network
    double = int(graph.onnx.TensorProto.DOUBLE)
    read = graph.float_type if read is None else read
    written = double if read == double else graph.float_type
    classifier = is_classifier(estimator)
    classes = class_labels(graph.owner, estimator, codes) if classifier else np.empty(0)
    second = "scores" if classifier and estimator.without_probabilities() else "probabilities"
    X, *names = (graph.unique(name) for name in ("X", *(("label", second) if classifier else ("variable",))))
    x = X if read == graph.float_type else graph.node("Cast", "X", X, to=graph.float_type)
    if len(network.input_shape) > 1:
        first = getattr(estimator, "input_format", "") == "channels_first"
        shape = given_shape(network.input_shape, first)
        x = graph.node("Reshape", "X", x, graph.ints("X/shape", -1, *shape))
        if first:
            x = graph.node("Transpose", "X", x, perm=[0, *range(2, len(shape) + 1), 1])
    raw = write_network(graph, network, x, lengths)
    outputs = {}
    if classifier:
        label, y = write_classes(graph, estimator, raw, classes)
        several = estimator.multilabel_
        text = classes.dtype == object and not several
        width = estimator.n_outputs_ if second == "scores" else max(2, estimator.n_outputs_)
        kind = graph.onnx.TensorProto.STRING if text else graph.onnx.TensorProto.INT64
        outputs[names[0]] = kind, ("n", width) if several else ("n",)
        graph.rename(label, names[0])
    else:
        y = graph.node("Exp", "variable", raw) if estimator.out_activation_ == "exp" else raw
        width = estimator.n_outputs_
    outputs[names[-1]] = written, ("n", width)
    graph.rename(y if written == graph.float_type else graph.node("Cast", names[-1], y, to=written), names[-1])
    size = int(np.prod(network.input_shape))
    return finish(graph, {X: (read, ("n", size))}, outputs, type(estimator).__name__)


def class_labels(owner: str, estimator: Any, codes: bool) -> np.ndarray:
    """The classes as int64, or as an array of str."""
    classes = np.asarray(estimator.classes_)
    if codes:
        return np.arange(len(classes))
    if classes.dtype.kind in "OU" and all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    if classes.dtype.kind in "biuf":
        with np.errstate(invalid="ignore"):
            whole = classes.astype(np.int64)
        if (whole == classes).all():
            return whole
    raise ValueError(f"{owner}: classes must be strings or whole numbers of 64 bits, got {shown(classes)}.")


def write_classes(graph: OnnxGraph, estimator: BaseNetwork, raw: str, classes: np.ndarray) -> tuple[str, str]:
    """The values of labels and probabilities, or of labels and decision values, from that of the raw output."""
    softmax, several = estimator.out_activation_ == "softmax", estimator.multilabel_
    # a classifier that was fitted on one class has the outputs of two
    pair = np.repeat(classes, 2) if len(classes) == 1 else classes
    if estimator.without_probabilities():
        scores = graph.node("Identity", "scores", raw)
        if estimator.n_outputs_ == 1 or several:
            above = graph.node("Greater", "label", raw, graph.numbers("threshold", 0.0))
            best = graph.node("Cast", "label", above, to=graph.onnx.TensorProto.INT64)
            if several:
                return best, scores
            best = graph.node("Squeeze", "label", best, graph.ints("label/axis", 1))
        else:
            best = graph.node("ArgMax", "label", raw, axis=1, keepdims=0)
        return graph.node("Gather", "label", graph.labels("classes", pair), best), scores
    eps = np.finfo(graph.dtype).eps
    p = graph.node("Softmax" if softmax else "Sigmoid", "probabilities", raw)
    p = graph.node("Clip", "probabilities", p, graph.numbers("least", eps), graph.numbers("most", 1 - eps))
    if several:
        above = graph.node("Greater", "label", p, graph.numbers("threshold", 0.5))
        return graph.node("Cast", "label", above, to=graph.onnx.TensorProto.INT64), p
    if not softmax:
        other = graph.node("Sub", "probabilities", graph.numbers("one", 1.0), p)
        p = graph.node("Concat", "probabilities", other, p, axis=1)
    best = graph.node("ArgMax", "label", p, axis=1, keepdims=0)
    return graph.node("Gather", "label", graph.labels("classes", pair), best), p
