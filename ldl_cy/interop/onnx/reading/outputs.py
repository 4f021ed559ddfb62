"""Which value of a graph is the model's output: in classifiers and regressors the last one that a network computes.

After it come the labels, 1 - p beside p where there are two classes, the dicts of scikit-learn's pipelines with one
entry for each class, and the exponential of Poisson regression.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

# producers that write estimators, and the names that they give to labels and probabilities
PRODUCERS = ("ldl_cy", "skl2onnx")
CLASSES = (("label", "probabilities"), ("output_label", "output_probability"))
VALUES = ("variable",)
PASS_ON = ("Cast", "Identity", "ai.onnx.ml.ZipMap")


class Maker(Protocol):
    """The part of a node that is used here."""

    @property
    def kind(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...


def labels_too(names: Sequence[str], producer: str) -> bool:
    """Whether these are the outputs of a classifier."""
    return producer in PRODUCERS and tuple(names) in CLASSES


def output_of(names: Sequence[str], producer: str, ops: Sequence[Maker], constants: Mapping[str, np.ndarray]) -> str:
    """The name of the value that is read, of a graph with these outputs; "" if there are several."""
    several = labels_too(names, producer)
    if not several and len(names) != 1:
        return ""
    if not several and (producer not in PRODUCERS or tuple(names) != VALUES):
        return names[0]
    makers = {output: op for op in ops for output in op.outputs}
    name = names[-1]
    for _ in ops:
        op = makers.get(name)
        if op is None or op.kind not in PASS_ON or not op.inputs:
            break
        name = op.inputs[0]
    op = makers.get(name)
    if op is None:
        return names[-1]
    if not several:
        return op.inputs[0] if op.kind == "Exp" and op.inputs else names[-1]
    if op.kind == "Concat" and len(op.inputs) == 2:
        other, p = makers.get(op.inputs[0]), op.inputs[1]
        if other is not None and other.kind == "Sub" and len(other.inputs) == 2 and other.inputs[1] == p:
            one = constants.get(other.inputs[0])
            if one is not None and one.size == 1 and one.reshape(-1)[0] == 1:
                return p
    return name
