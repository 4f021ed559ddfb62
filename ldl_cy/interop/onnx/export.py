"""Networks as ONNX models: the layers of a ``Sequential``, estimators with what they read and predict."""
from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ldl_cy.checks import check_bool, check_choice, check_int
from ldl_cy.interop.onnx.writing.graph import OnnxGraph
from ldl_cy.interop.onnx.writing.model import network_model
from ldl_cy.messages import shown
from ldl_cy.models import Sequential
from ldl_cy.packages import import_package
from ldl_cy.replacing import as_path, check_regular, replace_file

if TYPE_CHECKING:
    from ldl_cy.estimators.base import BaseNetwork

OWNER = "to_onnx"
FIRST_OPSET = 18                # reductions take their axes as an input, Mish


def to_onnx(
    obj: Any, path: str | os.PathLike[str] | None = None, *, opset: int = FIRST_OPSET, dtype: str = "float32",
    lengths: bool = False,
) -> Any:
    """A network as an ONNX model.

    Parameters
    ----------
    obj : built Sequential or fitted estimator
    path : path, default=None
        Where the model is written as well; an existing file is replaced as a whole.
    opset : int, 18 to the latest that the package onnx knows, default=18
    dtype : "float32" or "float64", default="float32"
        The type of inputs, weights and outputs, whatever that of the network is: weights of a float64 network are
        rounded. In float64, ONNX Runtime has no convolutions and no recurrent layers; onnx's reference evaluator does.
    lengths : bool, default=False
        A second input "lengths", (n,) int64: the length of each sequence of x, in 1 .. time, as in
        ``Sequential.predict``. The model does not check them.

    Returns
    -------
    onnx.ModelProto
        IR version 10, with operators of ONNX's default domain only. The first axis of inputs and outputs is named "n".

        Sequential: input "x" (n, *input_shape), channels last, output "y" (n, *output_shape), the last layer's raw
        output.

        Estimators: input "X" (n, n_features), a row as ``predict`` takes it in an array of two axes, images and
        sequences flat. Classifiers have the outputs "label", int64 or string, (n,), or (n, n_labels) with several
        labels, and "probabilities" (n, n_classes), those of ``predict_proba``, in [eps, 1 - eps] of ``dtype``, or,
        fitted by squared errors, "scores" (n, n_outputs), those of ``decision_function``.
        Regressors have the output "variable" (n, n_outputs).

        Initializers have the names of the network's parameters, in the order of axes that ONNX wants. Nodes begin with
        the name of their layer.

    Raises
    ------
    ImportError
        The package onnx is not installed.
    ValueError, TypeError
        A network that is not built, an estimator that is not fitted, another object; Custom, the user's own layers and
        an RNN that leaks, by name; an estimator with columns of categories; ``lengths`` for a network that reads no
        sequences; weights too large for ``dtype``, or of more than 2 GiB; an invalid opset, dtype or path. Nothing has
        been written.
    OSError
        The file cannot be written; an old file at the path is left as it was.

    References
    ----------
    ONNX operators: https://onnx.ai/onnx/operators. Opsets and IR versions: ONNX's docs/Versioning.md.

    Examples
    --------
    >>> from ldl_cy import Sequential, interop, layers
    >>> model = Sequential([layers.Dense(4, "relu"), layers.Dense(1)]).build(3)
    >>> [node.op_type for node in interop.to_onnx(model).graph.node]
    ['MatMul', 'Add', 'Relu', 'MatMul', 'Add']
    """
    onnx = import_package(OWNER, "onnx", "onnx")
    target = None if path is None else as_path(OWNER, path)
    if target is not None:
        check_regular(OWNER, target)
    opset = check_opset(onnx, opset)
    dtype = check_choice(OWNER, "dtype", dtype, ("float32", "float64"))
    lengths = check_bool(OWNER, "lengths", lengths)
    graph = OnnxGraph(OWNER, onnx, opset, dtype)
    model: Any
    if isinstance(obj, Sequential):
        if obj.input_shape is None:
            raise ValueError(f"{OWNER}: the model must be built first: call build(input_shape) or fit.")
        model = network_model(graph, obj.network, lengths)
    else:
        from ldl_cy.interop.onnx.writing.estimators import estimator_model

        model = estimator_model(graph, check_estimator(obj), lengths)
    if target is not None:
        replace_file(OWNER, target, lambda file: file.write(model.SerializeToString()))
    return model


def check_opset(onnx: ModuleType, opset: Any) -> int:
    """An opset that can be written."""
    opset, latest = check_int(OWNER, "opset", opset, FIRST_OPSET), onnx.defs.onnx_opset_version()
    if opset > latest:
        raise ValueError(f"{OWNER}: opset must be in {FIRST_OPSET} .. {latest}, which onnx {onnx.__version__} knows, "
                         f"got {opset}.")
    return opset


def check_estimator(obj: Any) -> BaseNetwork:
    """A fitted estimator of the package."""
    from sklearn.utils.validation import check_is_fitted

    from ldl_cy.estimators.base import BaseNetwork

    if not isinstance(obj, BaseNetwork):
        raise TypeError(f"{OWNER}: obj must be a Sequential or an estimator of ldl_cy, got {shown(obj)}.")
    check_is_fitted(obj)
    return obj
