"""Converters of the estimators for skl2onnx, alone and within scikit-learn's pipelines."""
from __future__ import annotations

from typing import Any

from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from ldl_cy.estimators import (
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    NeuralNetRegressor,
    RNNClassifier,
    RNNRegressor,
)
from ldl_cy.interop.onnx.writing.estimators import class_labels, estimator_model
from ldl_cy.interop.onnx.writing.graph import OnnxGraph
from ldl_cy.packages import import_package

OWNER = "register_skl2onnx"
FIRST_OPSET = 18
CLASSIFIERS = CNNClassifier, MLPClassifier, NeuralNetClassifier, RNNClassifier
REGRESSORS = CNNRegressor, MLPRegressor, NeuralNetRegressor, RNNRegressor
OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


def register_skl2onnx() -> None:
    """Tell skl2onnx how to convert the estimators of ldl_cy, alone and within pipelines; calling it again is harmless.

    ``skl2onnx.to_onnx`` and ``convert_sklearn`` then take them as steps of a ``Pipeline``, in searches and ensembles,
    with the options "zipmap", "nocl" and "output_class_labels" of scikit-learn's classifiers. The network computes in
    float32, also where X and the outputs are float64. The target opset must be 18 or later.

    Raises
    ------
    ImportError
        The package skl2onnx is not installed.

    Examples
    --------
    >>> import skl2onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from ldl_cy import MLPClassifier, interop
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0)).fit(X, y)
    >>> interop.register_skl2onnx()
    >>> onx = skl2onnx.to_onnx(model, X[:1].astype("float32"))
    >>> [output.name for output in onx.graph.output]
    ['output_label', 'output_probability']
    """
    skl2onnx = import_package(OWNER, "skl2onnx", "onnx")
    for kind in (*CLASSIFIERS, *REGRESSORS):
        options = OPTIONS if kind in CLASSIFIERS else None
        skl2onnx.update_registered_converter(kind, f"LdlCy{kind.__name__}", set_shapes, convert, options=options)


def set_shapes(operator: Any) -> None:
    """Set types and shapes of the outputs of one operator, as skl2onnx wants it of a shape calculator."""
    types = import_package(OWNER, "skl2onnx.common.data_types", "onnx")
    estimator, n = operator.raw_operator, operator.inputs[0].get_first_dimension()
    check_is_fitted(estimator)
    double = isinstance(operator.inputs[0].type, types.DoubleTensorType)
    numbers = types.DoubleTensorType if double else types.FloatTensorType
    if not is_classifier(estimator):
        operator.outputs[0].set_type(numbers([n, estimator.n_outputs_]))
        return
    classes = class_labels(OWNER, estimator, without_labels(operator))
    several = estimator.multilabel_
    labels = types.StringTensorType if classes.dtype == object and not several else types.Int64TensorType
    width = estimator.n_outputs_ if estimator.without_probabilities() else max(2, estimator.n_outputs_)
    operator.outputs[0].set_type(labels([n, width] if several else [n]))
    operator.outputs[1].set_type(numbers([n, width]))


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of one operator, as skl2onnx wants it of a converter."""
    onnx = import_package(OWNER, "onnx", "onnx")
    opset = container.target_opset_any_domain("")
    if opset < FIRST_OPSET:
        name = type(operator.raw_operator).__name__
        raise ValueError(f"{OWNER}: target_opset must be at least {FIRST_OPSET} for {name}, got {opset}.")
    read = operator.inputs[0].type.to_onnx_type().tensor_type.elem_type
    graph = OnnxGraph(OWNER, onnx, opset, "float32")
    model = estimator_model(graph, operator.raw_operator, False, read=read, codes=without_labels(operator))
    insert(scope, operator, container, model)


def insert(scope: Any, operator: Any, container: Any, model: Any) -> None:
    """Add a model's nodes and initializers under names that the container does not have yet.

    skl2onnx.helpers.add_onnx_graph may give an initializer the name of a value.
    """
    graph = model.graph
    names = {"": ""}
    for values, variables in ((graph.input, operator.inputs), (graph.output, operator.outputs)):
        names.update({value.name: variable.onnx_name for value, variable in zip(values, variables)})
    outputs = (name for node in graph.node for name in node.output)
    for name in (*(tensor.name for tensor in graph.initializer), *outputs):
        if name not in names:
            names[name] = scope.get_unique_variable_name(name)
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
        container.initializers.append(tensor)
    for node in graph.node:
        node.name = scope.get_unique_operator_name(node.name)
        for values in (node.input, node.output):
            values[:] = [names[each] for each in values]
        container.nodes.append(node)
    container.node_domain_version_pair_sets.update((each.domain, each.version) for each in model.opset_import)


def without_labels(operator: Any) -> bool:
    """Whether labels are to be the numbers of the classes."""
    if not is_classifier(operator.raw_operator):
        return False
    return bool(operator.scope_inst.get_options(operator.raw_operator, {"nocl": False})["nocl"])
