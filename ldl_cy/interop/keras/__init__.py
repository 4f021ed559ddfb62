"""Keras: its models here, and networks as its models.

Kernels, images and gates have the same layout as here, except the gates of a GRU; ``layers`` has what is read and
``writing`` what is written.
"""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from ldl_cy.archive import FAULTS
from ldl_cy.interop.assembly import assemble
from ldl_cy.interop.keras.files import LiveWeights, read_archive
from ldl_cy.interop.keras.graph import OWNER, Stored, read_graph
from ldl_cy.interop.keras.writing import write_model
from ldl_cy.interop.parts import parts
from ldl_cy.messages import shown
from ldl_cy.models import Sequential
from ldl_cy.network import check_input_shape
from ldl_cy.packages import import_package


def from_keras(path_or_model: Any, *, input_shape: int | Sequence[int] | None = None) -> Sequential:
    """A model of Keras 3 as a ``Sequential`` with its weights.

    Parameters
    ----------
    path_or_model : path, binary file object or keras.Model
        A ``.keras`` file, which is read with h5py, without Keras; or a live model. Sequential, or a functional graph
        of chains that branch and meet in Add, Concatenate (of the last axis) or Multiply; nested models become part
        of the graph. One input, one output.
    input_shape : int or tuple of ints, default=None
        Shape of one sample, required for a model with open sizes, such as ``Input((None, 4))``.

    Returns
    -------
    Sequential
        Layers have their names in Keras, characters that are no letters or digits replaced by "_". It computes in
        float64 if a layer of the model does, otherwise in float32, mixed precision included.

    Raises
    ------
    TypeError
        Neither a file nor a model.
    ValueError
        Layers without a counterpart, up to 20 of them named, before anything is built. A damaged file, or one whose
        weights are not those of its layers; weights that are not finite.
    ImportError
        h5py is not installed: ``pip install "ldl_cy[io]"``.

    Notes
    -----
    Predictions agree to rounding. What acts only in training is left out: initializers, regularizers, constraints,
    dropout within recurrent layers and other than of single numbers, random augmentation but RandomFlip and a
    RandomTranslation that fills with zeros, which shifts by whole pixels here. Masks have no counterpart: an Embedding
    with ``mask_zero`` is refused; use ``predict(X, lengths=...)`` instead. BatchNormalization and LayerNormalization
    without ``scale`` or ``center`` get ones or zeros, which a further fit trains.

    References
    ----------
    The format: keras.io/guides/serialization_and_saving, keras/src/saving/saving_lib.py.

    Examples
    --------
    >>> from ldl_cy.interop import from_keras
    >>> model = from_keras("model.keras")  # doctest: +SKIP
    >>> model.predict(X)  # doctest: +SKIP
    """
    shape = None if input_shape is None else check_input_shape(input_shape)

    def read(entry: Any, stored: Stored) -> Sequential:
        return assemble(OWNER, *read_graph(entry, stored, shape))

    if isinstance(path_or_model, (str, bytes, os.PathLike)) or hasattr(path_or_model, "read"):
        return read_archive(path_or_model, read)
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(path_or_model, keras.Model):
        raise TypeError(f"{OWNER}: path_or_model must be a .keras file or a Keras model, got {shown(path_or_model)}.")
    try:
        entry = json.loads(json.dumps(keras.saving.serialize_keras_object(path_or_model), default=shown))
        return read(entry, LiveWeights(path_or_model))
    except FAULTS as error:
        text = str(error).removeprefix(f"{OWNER}: ").rstrip(".")
        raise ValueError(f"{OWNER}: {text or type(error).__name__}.") from error


def to_keras(model: Sequential) -> Any:
    """A built model as one of Keras, with its weights.

    Parameters
    ----------
    model : Sequential
        Built; not changed.

    Returns
    -------
    keras.Sequential, or with branches a functional keras.Model
        In the model's dtype. Layers keep their names, with "_" for ".". Padding of a convolution other than "valid",
        "same" and "causal" becomes a ZeroPadding layer before it.

    Raises
    ------
    TypeError
        No ``Sequential``.
    ValueError
        It is not built; it has layers without a counterpart, up to 20 of them named: Custom; a convolution with both
        strides and dilation; a pooling whose padding is equivalent to neither "valid" nor "same" (for a maximum only
        where its input may be negative); a recurrent layer that leaks or with an activation that Keras has no name for;
        a Bidirectional around a layer that returns sequences and reads backwards.
    ImportError
        Keras is not installed: ``pip install keras``, and one of its backends.

    Examples
    --------
    >>> from ldl_cy.interop import to_keras
    >>> to_keras(model).save("model.keras")  # doctest: +SKIP
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"to_keras: model must be a Sequential, got {shown(model)}.")
    network = model.network
    keras = import_package("to_keras", "keras")
    return write_model(keras, parts(network), network.input_shape, network.dtype)
