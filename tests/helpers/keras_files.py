"""Small ``.keras`` files without Keras: its config entries, and the archive of config.json and model.weights.h5."""
from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from ldl_cy.interop import from_keras

POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}


def entry(class_name, name, module="keras.layers", **config):
    """A layer as Keras 3 writes it."""
    return {"module": module, "class_name": class_name, "registered_name": None,
            "config": {"name": name, "trainable": True, "dtype": POLICY, **config}}


def input_layer(shape, name="input_layer", **config):
    return {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None, "config": {
        "name": name, "batch_shape": [None, *shape], "dtype": "float32", "sparse": False, "ragged": False, **config}}


def dense(name, units, **config):
    return entry("Dense", name, units=units, **{"activation": "linear", "use_bias": True, **config})


def recurrent(kind, name, units, **config):
    own = {"GRU": {"reset_after": True, "recurrent_activation": "sigmoid"}, "LSTM": {
        "recurrent_activation": "sigmoid", "unit_forget_bias": True}}.get(kind, {})
    return entry(kind, name, units=units, **{
        "activation": "tanh", "use_bias": True, "return_sequences": False, "return_state": False, "stateful": False,
        "go_backwards": False, "unroll": False, "zero_output_for_mask": False, "dropout": 0.0,
        "recurrent_dropout": 0.0, "seed": None, **own, **config})


def conv(kind, name, filters, size, **config):
    axes = len(size)
    counts = {} if kind.startswith("Depthwise") else {"filters": filters}
    return entry(kind, name, **counts, **{
        "kernel_size": list(size), "strides": [1] * axes, "padding": "valid", "data_format": "channels_last",
        "dilation_rate": [1] * axes, "activation": "linear", "use_bias": True, **config})


def sequential(*layers, name="sequential", module="keras", **build):
    return {"module": module, "class_name": "Sequential", "registered_name": None,
            "config": {"name": name, "trainable": True, "dtype": POLICY, "layers": list(layers), **build}}


def tensor(name, call=0):
    return {"class_name": "__keras_tensor__", "config": {
        "shape": [None, 3], "dtype": "float32", "keras_history": [name, call, 0]}}


def called(layer, *inputs, several=False, kwargs=None):
    """The entry of a layer in a functional model, with one call; ``several``: of one list of tensors."""
    tensors = [each if not isinstance(each, str) else tensor(each) for each in inputs]
    node = {"args": [tensors] if several else tensors, "kwargs": kwargs or {}}
    return {**layer, "name": layer["config"]["name"], "inbound_nodes": [node]}


def functional(*layers, start="input_layer", end, name="functional"):
    return {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
            "config": {"name": name, "trainable": True, "layers": list(layers),
                       "input_layers": [start, 0, 0], "output_layers": [end, 0, 0]}}


def archive(config: Any, h5: bytes, *, compression=zipfile.ZIP_STORED, version="3.15.1") -> bytes:
    """The bytes of a .keras file; ``config`` is bytes, or what becomes JSON."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target:
        target.writestr("metadata.json", json.dumps({"keras_version": version, "date_saved": "2026-01-01@00:00:00"}))
        target.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        target.writestr("model.weights.h5", h5)
    return file.getvalue()


def weights(groups: dict[str, list[np.ndarray]]) -> bytes:
    """The HDF5 file: the arrays of each group as ``<group>/vars/0``, 1, …, in a shuffled order of groups."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as target:
        for path in sorted(groups, key=lambda path: path[::-1]):
            group = target.create_group(f"{path}/vars")
            group.attrs["name"] = "no_matter"
            for i, array in enumerate(groups[path]):
                group.create_dataset(str(i), data=array)
    return file.getvalue()


def write(path, config, groups, **settings):
    path.write_bytes(archive(config, weights(groups), **settings))
    return path


def load(tmp_path, config, groups=(), **settings):
    """The model that from_keras makes of a file with this config and these arrays."""
    return from_keras(write(tmp_path / "model.keras", config, dict(groups)), **settings)


def one(tmp_path, layer, shape, arrays=(), group=None):
    """A model of one layer, or of the layers of a list."""
    several = layer if isinstance(layer, list) else [layer]
    return load(tmp_path, sequential(input_layer(shape), *several), {group or "layers/x": list(arrays)})
